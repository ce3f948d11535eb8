"""The wire under our own clients: a non-blocking socket, with or without TLS, and who is told what it brings.

Not an asyncio transport. Those hold a write back to the end of the loop's round and cost several times as
much on asyncio's own loop; here `write` is the system call, so the time after it is when the kernel had
the bytes, and what the kernel did not take is known (`unsent`).
"""

from __future__ import annotations

import asyncio
import select
import ssl
import sys
from contextlib import suppress
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from bench.clock import Clock
from bench.protocol.tls import ClientTls
from bench.transports.dial import Socket

READ_BYTES: Final = 16384
FIRST_READ_BYTES: Final = 448
"""Asked for until a read brings as much: most answers are short, and an object that small is Python's own
to allocate, with nothing to give back."""
EVENTS: Final = 256
"""Sockets with something to read that are looked after before the event loop gets a turn."""
JOINED_BYTES: Final = 8192
"""Up to here to copy what is written in two parts into one takes less time than to hand over both."""


class Receiver(Protocol):
    """Who is told what happens on a link. Times are on the clock the link was given."""

    def data_received(self, data: bytes, now_ns: int) -> None:
        """Bytes have come, at least one."""
        ...

    def secured(self, now_ns: int) -> None:
        """The TLS handshake that was asked for is over."""
        ...

    def drained(self, now_ns: int) -> None:
        """The kernel has taken the last byte of a write that it could not take at once."""
        ...

    def ended(self, error: OSError | None, now_ns: int) -> None:
        """Nothing more will come: end of file (None), or an error (ssl.SSLError is an OSError)."""
        ...


class Link:
    """One connection. Tells its receiver nothing more once it is closed."""

    __slots__ = (
        "_clock",
        "_fd",
        "_loop",
        "_out",
        "_poller",
        "_receiver",
        "_recv",
        "_room",
        "_send",
        "_sock",
        "closed",
        "tls",
    )

    def __init__(
        self, sock: Socket, receiver: Receiver, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._sock, self._clock = sock, clock
        self._receiver: Receiver | None = receiver
        """Forgotten once the link is closed, as it knows the link, too."""
        self._send, self._recv, self._fd = sock.send, sock.recv, sock.fileno()
        self._room = FIRST_READ_BYTES
        self._out = bytearray()
        self.closed = False
        self.tls: ClientTls | None = None
        """What stands between the receiver and the socket; set by `start_tls`."""
        self._loop = loop
        self._poller = _poller_of(self._loop)
        self._poller.watch(self._fd, self)

    @property
    def socket(self) -> Socket:
        """For its options."""
        return self._sock

    @property
    def unsent(self) -> int:
        """Bytes on the wire's side of TLS that the kernel has not taken yet."""
        return len(self._out)

    def start_tls(self, tls: ClientTls) -> None:
        """Begin the handshake; `secured` or `ended` tells how it went."""
        self.tls = tls
        self._room = READ_BYTES
        tls.start()
        self._write(tls.data_to_send())

    def close(self) -> None:
        """Close in order: what the kernel has is still sent, with TLS a close_notify before it."""
        if not self.closed and self.tls is not None and self.tls.established and not self._out:
            self.tls.close()
            with suppress(OSError):
                self._send(self.tls.data_to_send())
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        if not self.closed:
            self.closed, self._receiver = True, None
            self._poller.forget(self._fd)
            if self._out:
                self._loop.remove_writer(self._fd)
            self._sock.close()

    def write(self, data: bytes, tail: bytes = b"") -> None:
        """Send the data and what follows it; an error comes to `ended`, not from here."""
        if tail and len(tail) <= JOINED_BYTES:
            data, tail = data + tail, b""
        if self.tls is None:
            self._write(data, tail)
        else:
            self.tls.send(data + tail if tail else data)
            self._write(self.tls.data_to_send())

    def _write(self, data: bytes, tail: bytes = b"") -> None:
        if self._out:
            self._out += data
            self._out += tail
            return
        try:
            sent = self._sock.sendmsg((data, tail)) if tail else self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._out += data
            self._out += tail
            self._loop.call_soon(self._write_failed, error)  # the receiver is in the middle of something
            return
        if sent < len(data) + len(tail):
            self._out += memoryview(data + tail if tail else data)[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        failure: OSError | None = None
        sent = 0
        try:
            sent = self._send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            failure = error
        if failure is not None:  # not in the handler: see `Handover.finish`
            self._write_failed(failure)
            return
        del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._fd)
            if self._receiver is not None:
                self._receiver.drained(self._clock())

    def _write_failed(self, error: OSError) -> None:
        """The other side has reset the connection. What it said before still waits to be read, and counts."""
        last: bytes | None = b""
        while last is not None and not self.closed:
            last = None
            with suppress(OSError):
                last = self._recv(READ_BYTES) or None
            if last is not None:
                self._bring(last)
        self._end(error)

    def readable(self) -> None:
        """There is something to read: by the poller only."""
        failure: OSError | None = None
        data = b""
        try:
            data = self._recv(self._room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            failure = error
        if len(data) == self._room:  # what an answer ends with may lie behind it, or what nobody asked for
            self._room = READ_BYTES
            with suppress(OSError):
                data += self._recv(READ_BYTES)
        if data:
            self._bring(data)
        else:
            self._end(failure)

    def _bring(self, data: bytes) -> None:
        now_ns, receiver = self._clock(), self._receiver
        if receiver is None:
            return
        if self.tls is None:
            receiver.data_received(data, now_ns)
        else:
            self._decrypt(self.tls, receiver, data, now_ns)

    def _decrypt(self, tls: ClientTls, receiver: Receiver, records: bytes, now_ns: int) -> None:
        established = tls.established
        failure: OSError | None = None
        data = b""
        try:
            data = tls.receive(records)
        except ssl.SSLError as error:
            failure = error
        self._flush(tls)  # after an error, the alert that tells the server why
        if failure is not None:
            self._end(failure)
            return
        if tls.established and not established:
            receiver.secured(self._clock())
        if data and not self.closed:
            receiver.data_received(data, now_ns)
        if tls.ended and not self.closed:
            self._end(None)

    def _flush(self, tls: ClientTls) -> None:
        records = tls.data_to_send()
        if records:
            self._write(records)

    def _end(self, error: OSError | None) -> None:
        receiver = self._receiver
        if receiver is not None:
            self.abort()
            receiver.ended(error, self._clock())


class _Poller:
    """Watches the links of an event loop by an epoll of its own; the loop sees nothing but its descriptor.

    A loop's own readers cost three system calls more for each connection, and a handle for each event.
    Where there is no epoll, they do.
    """

    __slots__ = ("_epoll", "_links", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._links: dict[int, Link] = {}
        self._epoll: select.epoll | None = None
        if sys.platform == "linux":
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, fd: int, link: Link) -> None:
        """Have the link read whatever comes, from now on."""
        if self._epoll is None:
            self._loop.add_reader(fd, link.readable)
        else:
            self._links[fd] = link
            self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """The link is about to close the socket, which takes it out of the epoll."""
        if self._epoll is None:
            self._loop.remove_reader(fd)
        else:
            self._links.pop(fd, None)

    def _look(self) -> None:
        assert self._epoll is not None
        for fd, _ in self._epoll.poll(0, EVENTS):
            link = self._links.get(fd)
            if link is None:
                continue  # closed by what was done for one before
            try:
                link.readable()
            except Exception as error:  # as a loop does: the others are not to suffer
                self._loop.call_exception_handler({"message": "reading failed", "exception": error})


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Poller] = WeakKeyDictionary()


def _poller_of(loop: asyncio.AbstractEventLoop) -> _Poller:
    poller = _pollers.get(loop)
    if poller is None:
        poller = _pollers[loop] = _Poller(loop)
    return poller
