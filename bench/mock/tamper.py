"""What a connection with a fault script does to its answers, whatever the protocol."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from bench.clock import Alarm, monotonic_ns
from bench.mock.faults import ENDLESS, ByteLog, FaultPlan
from bench.model import Fault
from bench.protocol.tls import ServerTls

BACKLOG = 4096
PIECE = 65536
HELD_BYTES = 256 << 10
"""What the kernel is asked to hold for a server that does not read. Left to itself it grows that to tens of
MiB, and takes the end of a message from a client whose server had stopped in the middle of it."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: the connection ends with RST."""
_ANSWERS = ("reply", "inject")
_SLOW = ("split", "drip")


class Tampering:
    """A connection whose steps go through `tamper`. What is asked of the protocol stands at the end."""

    _transport: asyncio.Transport | None = None
    """None once the client is gone."""
    _tls: ServerTls | None = None

    def script(
        self, plan: FaultPlan, byte_log: ByteLog, alarm: Alarm, restart: Callable[[int], None]
    ) -> None:
        """Give the connection its script; once, before anything else."""
        self._plan, self._bytes, self._alarm, self._restart = plan, byte_log, alarm, restart
        self._number = plan.new_connection()
        self._use = 1
        self._held = False
        """Whether a fault is at work; until it is over nothing that comes is acted upon."""

    def tamper(self, step: str, reply: bytes, then: Callable[[bytes], None]) -> None:
        """Let the script have its way with a step, then go on with what is left of the reply."""
        faults = deque(self._plan.at(step, self._number, self._use))
        if not faults:
            then(reply)
            return
        self._held = True
        self._next(faults, step, reply, then)

    def _next(self, faults: deque[Fault], step: str, reply: bytes, then: Callable[[bytes], None]) -> None:
        """The next fault of a step; nothing comes after one that ends the conversation."""
        if self._transport is None or self._transport.is_closing():
            return
        if not faults:
            self._held = False
            then(reply)
            self.resume()
            return
        fault = faults.popleft()
        if fault.do == "certificate":  # the server has shown it from the start
            self._next(faults, step, reply, then)
        elif fault.do in _ANSWERS:
            self.answered_by(step, fault)
            self._next(faults, step, fault.text if fault.do == "reply" else reply + fault.text, then)
        elif fault.do == "delay":
            self._later(fault.delay_ns, partial(self._next, faults, step, reply, then))
        elif fault.do in _SLOW:
            self._drip(deque(reply), fault.delay_ns, partial(self._next, faults, step, b"", then))
        else:
            self._end_by(fault, reply)
            self.untold()

    def _end_by(self, fault: Fault, reply: bytes) -> None:
        """What no conversation goes on after."""
        assert self._transport is not None
        match fault.do:
            case "flood":
                self._flood(fault.text or b"x", fault.size or ENDLESS)
            case "throttle":
                self._transport.pause_reading()
            case "restart":
                self._restart(fault.delay_ns)
            case "close" | "halfclose":  # and read on: what is closed with input unread ends by a reset
                if fault.do == "close":
                    self.write(reply)
                self._transport.write_eof()
            case "rst":
                self.reset()
            case "fin":
                self._transport.close()
            case _:  # stall: nothing more is ever said
                pass

    def _later(self, delay_ns: int, then: Callable[[], None]) -> None:
        self._alarm.call_at(monotonic_ns() + delay_ns, then)

    def _drip(self, rest: deque[int], delay_ns: int, then: Callable[[], None]) -> None:
        """One byte at a time, each in a segment of its own."""
        while rest:
            if self._transport is None or self._transport.is_closing():
                return
            self.write(bytes([rest.popleft()]))
            if delay_ns and rest:
                self._later(delay_ns, partial(self._drip, rest, delay_ns, then))
                return
        then()

    def _flood(self, text: bytes, left: int) -> None:
        """As fast as it is taken, and no faster; then nothing more is said."""
        if self._transport is None or self._transport.is_closing():
            return
        piece = (text * (PIECE // len(text) + 1))[: min(PIECE, left)]
        self.write(piece)
        if left > len(piece):
            wait_ns = 1_000_000 if self._transport.get_write_buffer_size() else 0
            self._later(wait_ns, partial(self._flood, text, left - len(piece)))

    def reset(self) -> None:
        """End the connection with RST."""
        if self._transport is not None:
            connected = self._transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Say something, by TLS where that is on."""
        if not data or self._transport is None or self._transport.is_closing():
            return
        self._bytes.add(self._number, "mock", data, monotonic_ns())
        tls = self._tls
        if tls is not None and tls.established:
            tls.send(data)
            data = tls.data_to_send()
        self._transport.write(data)

    # ------------------------------------------------------------------ what the protocol does

    def resume(self) -> None:
        """The fault is over: act on what has come meanwhile."""
        raise NotImplementedError

    def answered_by(self, step: str, fault: Fault) -> None:
        """The script answers in the server's place: who is refused there has been refused, unless the rule
        says otherwise (`taken`)."""
        raise NotImplementedError

    def untold(self) -> None:
        """The client is told nothing more: note what was taken."""
        raise NotImplementedError


@asynccontextmanager
async def serve_tampering(
    make: Callable[[Callable[[int], None]], asyncio.Protocol],
    connections: Callable[[], tuple[Tampering, ...]],
    listener: socket.socket,
    alarm: Alarm,
) -> AsyncIterator[None]:
    """Serve on a bound socket until the block ends; then every connection is dropped. `make` is given what
    restarts the server: all connections are reset, and for so many ns nobody listens."""
    loop = asyncio.get_running_loop()
    family, address = listener.family, listener.getsockname()[:2]
    running: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit both
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD_BYTES)
        running.append(await loop.create_server(lambda: make(restart), sock=sock, backlog=BACKLOG))

    def restart(down_ns: int) -> None:
        while running:
            running.pop().close()
        drop()
        alarm.call_at(monotonic_ns() + down_ns, lambda: tasks.add(loop.create_task(rise())))

    async def rise() -> None:
        if not running:
            await start(socket.create_server(address, family=family))

    def drop() -> None:
        for each in connections():
            each.untold()  # now: the log may be closed by the time the connection is lost
            each.reset()

    await start(listener)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for server in running:
            server.close()
        drop()
