"""An HTTP server that goes wrong where its script says so, beside the ASGI application: what it does wrong
lies mostly below HTTP.

One request at a time, HTTP/1.1, TLS by `ServerTls`. The answer is the provider's own; the script may take
its place.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import cast

import httptools

from bench.clock import Alarm, monotonic_ns
from bench.mock.faults import ByteLog, FaultPlan
from bench.mock.log import TakenLog
from bench.mock.tamper import Tampering, serve_tampering
from bench.model import Fault, Taken
from bench.protocol.tls import ServerTls
from bench.providers.base import Request, Response, Served
from bench.redact import Redactor


@dataclass(frozen=True, slots=True)
class FaultyHttp:
    """What the connections of one server share."""

    decide: Callable[[Request, int], Served]
    """A request with its whole path, and the moment it was complete -> what the provider says."""
    service_ns: Callable[[], int]
    context: ssl.SSLContext | None
    plan: FaultPlan
    alarm: Alarm
    log: TakenLog
    byte_log: ByteLog
    connections: set[FaultyHttpConnection] = field(default_factory=set)


_REDACTOR = Redactor(())
"""Knows no secret of its own, but the headers that carry one."""


class FaultyHttpConnection(Tampering, asyncio.Protocol):
    """One client."""

    def __init__(self, server: FaultyHttp, restart: Callable[[int], None]) -> None:
        self._server = server
        self.script(server.plan, server.byte_log, server.alarm, restart)
        self._hello_seen = False
        self._waiting: list[bytes] = []
        self._decided: list[Taken] = []
        self._begin()

    def _begin(self) -> None:
        """Ready for the next request."""
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._headers, self._body = b"", list[tuple[str, str]](), list[bytes]()
        self._received_ns = 0
        self._whole = self._body_seen = False

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self.tamper("connect", b"", self._start)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        tls = self._tls
        if tls is None:
            self._heard(data)
        elif not self._hello_seen:
            self._hello_seen = True
            self.tamper("tls", b"", partial(self._records, tls, data))
        else:
            self._records(tls, data)

    def eof_received(self) -> bool:
        """The client says no more; it may still be told something."""
        return self._held

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. What was taken stays taken, though it has not heard of it."""
        self.untold()
        self._server.connections.discard(self)
        self._transport = None

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ called by the parser

    def on_url(self, url: bytes) -> None:
        """A piece of the request's path."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the request."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._whole = True

    # ------------------------------------------------------------------ the session

    def _start(self, _reply: bytes) -> None:
        if self._server.context is not None:
            self._tls = ServerTls(self._server.context)

    def _records(self, tls: ServerTls, data: bytes, reply: bytes = b"") -> None:
        if reply:  # what is no TLS, in its place
            self.write(reply)
            return
        try:
            plain = tls.receive(data)
        except ssl.SSLError:
            if self._transport is not None:
                self._transport.write(tls.data_to_send())
                self._transport.close()
            return
        if self._transport is not None and (records := tls.data_to_send()):
            self._transport.write(records)
        if plain:
            self._heard(plain)
        if tls.ended and self._transport is not None:
            self._transport.close()

    def _heard(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        self._server.byte_log.add(self._number, "client", _REDACTOR.bytes(data), now_ns)
        self._waiting.append(data)
        if not self._held:
            self._go_on(b"")

    def _go_on(self, _reply: bytes) -> None:
        """Read what has come; each part of a request may go wrong."""
        while self._waiting and not self._held and self._transport is not None:
            data = self._waiting.pop(0)
            if not self._received_ns:
                self._received_ns = monotonic_ns()
                self._waiting.insert(0, data)
                self.tamper("request", b"", self._go_on)
                continue
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                self._say(_raw(Response(400, (("connection", "close"),), b"")))
                return
            if self._body and not self._body_seen:
                self._body_seen = True
                self.tamper("body", b"", partial(self._after_body))
            elif self._whole:
                self._after_body(b"")

    def _after_body(self, _reply: bytes) -> None:
        if self._whole:
            self.tamper("end", b"", self._decide)

    def _decide(self, _reply: bytes) -> None:
        now_ns, service_ns = monotonic_ns(), self._server.service_ns()
        if service_ns:
            self._held = True
            self._later(service_ns, partial(self._answer, now_ns))
        else:
            self._answer(now_ns)

    def _answer(self, complete_ns: int) -> None:
        self._held = False
        request = Request(
            self._parser.get_method().decode("latin-1"),
            self._url.decode("latin-1"),
            tuple(self._headers),
            b"".join(self._body),
        )
        served = self._server.decide(request, complete_ns)
        taken_ns = monotonic_ns()
        self._decided = [Taken(key, self._received_ns, taken_ns, taken_ns) for key in served.keys]
        self.tamper("status", _raw(served.response), self._say)

    def _say(self, reply: bytes) -> None:
        """Write the answer: first its status line, then its headers, then its body; each may go wrong."""
        status, _, rest = reply.partition(b"\r\n")
        if not (self._plan.has("headers") or self._plan.has("reply")):
            self.write(reply)
            self._done(b"")
            return
        head, _, body = rest.partition(b"\r\n\r\n")
        self.write(status + b"\r\n")
        self.tamper("headers", head + b"\r\n\r\n", partial(self._say_body, body))

    def _say_body(self, body: bytes, head: bytes) -> None:
        half = len(body) // 2
        self.write(head + body[:half])
        self.tamper("reply", body[half:], self._done)

    def _done(self, rest: bytes) -> None:
        self.write(rest)
        self._note()
        self._begin()
        self.tamper("idle", b"", self._next_use)

    def _next_use(self, reply: bytes) -> None:
        self._use += 1
        self.write(reply)

    def _note(self) -> None:
        for taken in self._decided:
            self._server.log.add(taken)
        self._decided = []

    # ------------------------------------------------------------------ see `Tampering`

    def resume(self) -> None:
        self._go_on(b"")

    def answered_by(self, step: str, fault: Fault) -> None:
        refused = not fault.text.startswith(b"HTTP/1.1 2") if fault.taken is None else not fault.taken
        if fault.do == "reply" and step == "status" and refused:
            self._decided.clear()

    def untold(self) -> None:
        self._note()


def _raw(response: Response) -> bytes:
    """The answer as it travels."""
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    lines.append(f"content-length: {len(response.body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@asynccontextmanager
async def serve_faulty_http(server: FaultyHttp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a bound socket until the block ends; then every connection is dropped."""

    def connection(restart: Callable[[int], None]) -> FaultyHttpConnection:
        return FaultyHttpConnection(server, restart)

    async with serve_tampering(connection, lambda: tuple(server.connections), listener, server.alarm):
        yield
