"""The mock's SMTP server: the sans-I/O machine of `protocol.smtp_server` on a socket.

TLS is always started here, on a plain connection, for implicit TLS too: so the connection below TLS is at
hand when a session ends, and QUIT is answered by 221, close_notify and FIN in one go. asyncio alone would
hold the FIN back until the client's own close_notify came, a turn-around no provider charges for.
"""

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
from bench.mock.service import Decider
from bench.model import Taken, TlsMode
from bench.protocol.smtp_server import (
    Closed,
    Event,
    MessageReceived,
    ServerConfig,
    SmtpServer,
    TlsRequested,
)

BACKLOG = 4096
HANDSHAKE_S = 30.0
"""The longest a TLS handshake may take."""
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
    connections: set[SmtpConnection] = field(default_factory=set)
    handshakes: set[asyncio.Task[None]] = field(default_factory=set)
    _queue_ids: itertools.count[int] = field(default_factory=itertools.count)
    _prefix: str = field(default_factory=partial(secrets.token_hex, 6))

    def queue_id(self) -> str:
        """A new name for a message taken."""
        return f"{self._prefix}{next(self._queue_ids):08x}"


class SmtpConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, mock: SmtpMock) -> None:
        self._mock = mock
        self._machine = SmtpServer(mock.config, secured=mock.tls is TlsMode.IMPLICIT)
        self._below: asyncio.Transport | None = None
        """The connection itself; None once it is gone."""
        self._transport: asyncio.Transport | None = None
        """What the machine's bytes go through: the connection, or TLS on it."""
        self._deciding: MessageReceived | None = None
        self._decided: list[tuple[str, int, int]] = []
        self._paused = False
        self._shaking_hands = False
        self._early: list[tuple[bytes, int]] = []
        """What came by TLS before the loop told us that TLS is on: Finished and EHLO share a packet."""

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._below = self._transport = cast(asyncio.Transport, transport)  # uvloop's derive from nothing
        self._mock.connections.add(self)
        if self._machine.secured:
            self._start_tls()
        else:
            self._greet()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client, decrypted."""
        now_ns = monotonic_ns()
        if self._shaking_hands:
            self._early.append((data, now_ns))
        else:
            self._take(data, now_ns)

    def _take(self, data: bytes, now_ns: int) -> None:
        self._machine.receive(data, now_ns)
        if self._deciding is None:
            self._go_on(now_ns)
        elif self._machine.waiting_bytes > WAITING_LIMIT_BYTES and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. A message it no longer waits for is not taken."""
        self._mock.connections.discard(self)
        self._below = self._transport = self._deciding = None

    # ------------------------------------------------------------------ the session

    def _greet(self) -> None:
        self._machine.greet()
        self._flush()

    def _go_on(self, now_ns: int) -> None:
        """Read on until the machine waits for something; `now_ns`: when the input came."""
        while (event := self._machine.next_event()) is not None:
            self._handle(event, now_ns)
        self._flush()
        if self._machine.closed:
            self.close()

    def _handle(self, event: Event, now_ns: int) -> None:
        match event:
            case MessageReceived():
                service_ns = self._mock.decider.next_ns()
                if service_ns:
                    self._deciding = event
                    self._mock.alarm.call_at(now_ns + service_ns, partial(self._decide_late, event))
                else:
                    self._decide(event)
            case TlsRequested():
                self._flush()
                self._start_tls()
            case Closed():
                pass

    def _decide_late(self, event: MessageReceived) -> None:
        if self._deciding is not event or self._transport is None or self._transport.is_closing():
            return  # the client has gone meanwhile
        self._deciding = None
        self._decide(event)
        self._go_on(monotonic_ns())
        if self._paused and self._deciding is None and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _decide(self, event: MessageReceived) -> None:
        """Take the message; it enters the log together with the moment its answer was written."""
        self._machine.accept(f"Ok: queued as {self._mock.queue_id()}")
        self._decided.append((key_of(event.body), event.mark, monotonic_ns()))

    def _flush(self) -> None:
        data = self._machine.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)
        if self._decided:
            answered_ns = monotonic_ns()
            for key, received_ns, taken_ns in self._decided:
                self._mock.log.add(Taken(key, received_ns, taken_ns, answered_ns))
            self._decided.clear()

    # ------------------------------------------------------------------ TLS and the end

    def _start_tls(self) -> None:
        """Read nothing more in the clear, and shake hands."""
        assert self._below is not None
        self._shaking_hands = True
        self._below.pause_reading()
        task = asyncio.get_running_loop().create_task(self._shake_hands(self._below))
        self._mock.handshakes.add(task)
        task.add_done_callback(self._mock.handshakes.discard)

    async def _shake_hands(self, below: asyncio.Transport) -> None:
        assert self._mock.context is not None
        try:
            transport = await asyncio.get_running_loop().start_tls(
                below, self, self._mock.context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError:  # a failed handshake, a client that has gone: nothing more can be said to it
            transport = None
        if transport is None or self._below is None:
            below.abort()
            self.connection_lost(None)
            return
        self._transport = transport
        self._secured()

    def _secured(self) -> None:
        self._shaking_hands = False
        if self._mock.tls is TlsMode.IMPLICIT:
            self._greet()
        else:
            self._machine.tls_started()
        early, self._early = self._early, []
        for data, now_ns in early:
            self._take(data, now_ns)

    def close(self) -> None:
        """Say what has been written, close_notify and FIN, and wait for nothing."""
        below = self._below
        if self._transport is not None:
            self._transport.close()
        if below is not None:
            below.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self._below is not None:
            self._below.abort()


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
        for task in tuple(mock.handshakes):
            task.cancel()
        await asyncio.gather(*mock.handshakes, return_exceptions=True)
        for connection in tuple(mock.connections):
            connection.abort()
        await server.wait_closed()
