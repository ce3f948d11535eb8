"""The mock's SMTP server: the sans-I/O machine of `protocol.smtp_server` on a socket, with TLS between."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from bench.clock import Alarm, monotonic_ns
from bench.mock.log import TakenLog
from bench.mock.service import Decider, RateLimit
from bench.model import Taken, TlsMode
from bench.protocol.smtp_server import (
    Closed,
    Event,
    MessageReceived,
    ServerConfig,
    SmtpServer,
    TlsRequested,
)
from bench.protocol.tls import ServerTls

BACKLOG = 4096
WAITING_LIMIT_BYTES = 2**20
"""So much may wait behind an undecided message before no more is read."""

_KEY_HEADER = b"\r\nX-Sendbench-Id: "
_KEY = re.compile(rb"^X-Sendbench-Id:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^Message-ID:(?:\r\n)?[ \t]*<?([^\r\n>]*)", re.IGNORECASE | re.MULTILINE)


def key_of(body: bytes) -> str:
    """What X-Sendbench-Id says, else Message-ID without its brackets, else nothing."""
    end = body.find(b"\r\n\r\n")
    start = body.find(_KEY_HEADER, 0, end if end >= 0 else len(body))
    if start >= 0:
        start += len(_KEY_HEADER)
        key = body[start : body.index(b"\r", start)]
    else:
        head = body if end < 0 else body[:end]
        match = _KEY.search(head) or _MESSAGE_ID.search(head)
        key = match[1] if match else b""
    return key.strip().decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Throttle:
    """How many messages a second are taken, and what is said to those above."""

    limit: RateLimit
    code: int
    text: str


@dataclass(slots=True)
class SmtpMock:
    """What the connections of one server share."""

    config: ServerConfig
    tls: TlsMode
    context: ssl.SSLContext | None
    """Needed unless `tls` is none."""
    decider: Decider
    alarm: Alarm
    log: TakenLog
    throttle: Throttle | None = None
    connections: set[SmtpConnection] = field(default_factory=set)
    _queue_ids: itertools.count[int] = field(default_factory=itertools.count)
    _prefix: str = field(default_factory=partial(secrets.token_hex, 6))

    @property
    def crowded(self) -> bool:
        """Whether there are more connections than there may be."""
        most = self.config.max_connections
        return most is not None and len(self.connections) > most

    def queue_id(self) -> str:
        """A new name for a message taken."""
        return f"{self._prefix}{next(self._queue_ids):08x}"


class SmtpConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, mock: SmtpMock) -> None:
        self._mock = mock
        self._machine = SmtpServer(mock.config, secured=mock.tls is TlsMode.IMPLICIT)
        self._transport: asyncio.Transport | None = None
        """None once the client is gone."""
        self._tls: ServerTls | None = None
        self._deciding: MessageReceived | None = None
        self._decided: list[tuple[str, int, int]] = []
        """Key, received and taken of messages whose answer has not been written yet."""
        self._paused = False

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._mock.connections.add(self)
        self._machine.crowded = self._mock.crowded
        self._machine.greet()
        if self._mock.tls is TlsMode.IMPLICIT:
            self._start_tls()  # the greeting waits for it
        else:
            self._flush()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        now_ns = monotonic_ns()
        if self._tls is None:
            self._take(data, now_ns)
        else:
            self._take_records(self._tls, data, now_ns)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. A message it no longer waits for is not taken."""
        self._mock.connections.discard(self)
        self._transport = self._deciding = None

    # ------------------------------------------------------------------ the session

    def _take(self, data: bytes, now_ns: int) -> None:
        self._machine.receive(data, now_ns)
        if self._deciding is None:
            self._go_on(now_ns)
        elif self._machine.waiting_bytes > WAITING_LIMIT_BYTES and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _go_on(self, now_ns: int) -> None:
        """Read on until the machine waits for something; `now_ns`: when the input came."""
        while (event := self._machine.next_event()) is not None:
            self._handle(event, now_ns)
        self._flush()

    def _handle(self, event: Event, now_ns: int) -> None:
        match event:
            case MessageReceived() if self._is_too_much(now_ns):
                pass
            case MessageReceived():
                self._consider(event, now_ns)
            case TlsRequested():
                self._flush()
                self._start_tls()
                self._machine.tls_started()  # from here on it only hears what has come by TLS
            case Closed():
                self._close()

    def _consider(self, event: MessageReceived, now_ns: int) -> None:
        """Decide on a message once its service time is over."""
        service_ns = self._mock.decider.next_ns()
        if service_ns:
            self._deciding = event
            self._mock.alarm.call_at(now_ns + service_ns, partial(self._decide_late, event))
        else:
            self._decide(event)

    def _is_too_much(self, now_ns: int) -> bool:
        """Whether a message is above the rate; then it has been refused."""
        throttle = self._mock.throttle
        if throttle is None or throttle.limit.take(now_ns).granted:
            return False
        self._machine.refuse(throttle.code, f"{throttle.code // 100}.7.0", throttle.text)
        return True

    def _decide_late(self, event: MessageReceived) -> None:
        if self._deciding is not event or self._transport is None or self._transport.is_closing():
            return  # the client has gone meanwhile
        self._deciding = None
        self._decide(event)
        self._go_on(monotonic_ns())
        if self._paused and self._deciding is None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _decide(self, event: MessageReceived) -> None:
        """Take the message; it enters the log together with the moment its answer was written."""
        self._machine.accept(self._mock.queue_id())
        self._decided.append((key_of(event.body), event.mark, monotonic_ns()))

    def _flush(self) -> None:
        """Write what the machine says, and what TLS says."""
        data = self._machine.data_to_send() if self._tls is None or self._tls.established else b""
        if data and self._tls is not None:
            self._tls.send(data)
        if self._tls is not None:
            data = self._tls.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        if self._decided:
            self._note(monotonic_ns())

    def _note(self, answered_ns: int) -> None:
        for key, received_ns, taken_ns in self._decided:
            self._mock.log.add(Taken(key, received_ns, taken_ns, answered_ns))
        self._decided.clear()

    # ------------------------------------------------------------------ TLS and the end

    def _start_tls(self) -> None:
        assert self._mock.context is not None
        self._tls = ServerTls(self._mock.context)

    def _take_records(self, tls: ServerTls, records: bytes, now_ns: int) -> None:
        try:
            data = tls.receive(records)
        except ssl.SSLError:  # the alert that says so is the last there is to say
            self._hang_up(tls.data_to_send())
            return
        if data:
            self._take(data, now_ns)
        else:
            self._flush()
        if tls.ended:
            self._close()

    def _close(self) -> None:
        """Say what there is to say, close_notify and FIN, and wait for nothing."""
        last = self._machine.data_to_send()
        if self._tls is not None:
            if last:
                self._tls.send(last)
            self._tls.close()
            last = self._tls.data_to_send()
        self._hang_up(last)

    def _hang_up(self, last: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(last)
            self._transport.close()
        if self._decided:
            self._note(monotonic_ns())

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def serve_smtp(mock: SmtpMock, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a bound socket until the block ends; then every connection is dropped."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    server = await asyncio.get_running_loop().create_server(
        lambda: SmtpConnection(mock), sock=listener, backlog=BACKLOG
    )
    try:
        yield
    finally:
        server.close()
        for connection in tuple(mock.connections):
            connection.abort()
        await server.wait_closed()
