"""An SMTP server that goes wrong where its script says so.

The machine goes step by step and each of its answers may be tampered with before it is written. It is a
class of its own so that the mock that measures stays as small as it is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from bench.clock import monotonic_ns
from bench.mock.faults import ByteLog, FaultPlan
from bench.mock.smtp import SmtpConnection, SmtpMock, key_of
from bench.mock.tamper import Tampering, serve_tampering
from bench.model import Fault, TlsMode
from bench.protocol.smtp_commands import State
from bench.protocol.smtp_server import Closed, Event, MessageReceived, Said, SmtpServer, TlsRequested

_IN_BODY = (State.TEXT, State.CHUNK)


class FaultySmtpConnection(Tampering, SmtpConnection):
    """One client of a mock with a fault script."""

    def __init__(
        self, mock: SmtpMock, plan: FaultPlan, byte_log: ByteLog, restart: Callable[[int], None]
    ) -> None:
        super().__init__(mock)
        self._machine = SmtpServer(mock.config, secured=mock.tls is TlsMode.IMPLICIT, stepwise=True)
        self.script(plan, byte_log, mock.alarm, restart)
        self._hello_seen = False
        self._body_bytes: int | None = 0
        """Of the body that is coming; None once its fault has been."""

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._mock.connections.add(self)
        self._machine.crowded = self._mock.crowded
        self.tamper("connect", b"", self._greet)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        now_ns = monotonic_ns()
        if self._tls is None:
            self._bytes.add(self._number, "client", self._shown(data), now_ns)
            self._heard(data, now_ns)
        elif not self._hello_seen:
            self._hello_seen = True
            self.tamper("tls", b"", partial(self._records, data))
        else:
            self._records(data)

    def eof_received(self) -> bool:
        """The client says no more; it may still be told something."""
        return self._held

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. What was taken stays taken, though it has not heard of it."""
        self.untold()
        super().connection_lost(error)

    # ------------------------------------------------------------------ the session

    def _greet(self, _reply: bytes) -> None:
        if self._mock.tls is TlsMode.IMPLICIT:
            self._start_tls()
        else:
            self._banner()

    def _banner(self) -> None:
        self._machine.greet()
        self.tamper("banner", self._machine.data_to_send(), self._say)

    def _records(self, data: bytes, reply: bytes = b"") -> None:
        tls = self._tls
        if tls is None or self._transport is None:
            return
        if reply:  # what is no TLS, in its place
            self.write(reply)
            return
        fresh = not tls.established
        try:
            plain = tls.receive(data)
        except ssl.SSLError:
            self._hang_up(tls.data_to_send())
            return
        self._flush()
        if fresh and tls.established and self._mock.tls is TlsMode.IMPLICIT:
            self._banner()
        if plain:
            now_ns = monotonic_ns()
            self._bytes.add(self._number, "client", self._shown(plain), now_ns)
            self._heard(plain, now_ns)
        if tls.ended:
            self._close()

    def _shown(self, data: bytes) -> bytes:
        """What the log may know: a login is nobody's affair, not even on a mock."""
        if self._machine.state is State.CHALLENGED or data[:5].upper() == b"AUTH ":
            return b"***\r\n"
        return data

    def _heard(self, data: bytes, now_ns: int) -> None:
        if self._machine.state in _IN_BODY and self._body_bytes is not None and not self._held:
            self._body_bytes += len(data)
            if self._body_bytes >= self._plan.least("body"):
                self._body_bytes = None
                self.tamper("body", b"", partial(self._go_on_with, data))
                return
        self._go_on_with(data)

    def _go_on_with(self, data: bytes, _reply: bytes = b"") -> None:
        now_ns = monotonic_ns()
        self._machine.receive(data, now_ns)
        if not self._held and self._deciding is None:
            self._go_on(now_ns)

    def _go_on(self, now_ns: int) -> None:
        while not self._held and self._transport is not None:
            event = self._machine.next_event()
            if event is None:
                break
            self._handle(event, now_ns)
        if not self._held:
            self._flush()

    def _handle(self, event: Event, now_ns: int) -> None:
        match event:
            case Said(step):
                if step == "ehlo" and self._machine.secured and self._mock.tls is TlsMode.STARTTLS:
                    step = "ehlo2"
                self.tamper(step, self._machine.data_to_send(), self._say)
            case MessageReceived() if self._is_too_much(now_ns):
                self.tamper("dot", self._machine.data_to_send(), self._say)
            case MessageReceived():
                self._consider(event, now_ns)
            case TlsRequested() | Closed():  # a machine that goes step by step says so by its state
                pass

    def _decide(self, event: MessageReceived) -> None:
        self._body_bytes = 0
        self._machine.accept(self._mock.queue_id())
        self._decided.append((key_of(event.body), event.mark, monotonic_ns()))
        self.tamper("dot", self._machine.data_to_send(), self._decided_and_said)

    def _decided_and_said(self, reply: bytes) -> None:
        self._say(reply)
        self.tamper("idle", b"", self._say)
        self._use += 1

    def _say(self, reply: bytes) -> None:
        """Write an answer, and do what the machine's new state asks for."""
        self.write(reply)
        if self._decided:
            self._note(monotonic_ns())
        if self._machine.state is State.TLS:
            self._start_tls()
            self._machine.tls_started()
        elif self._machine.state is State.CLOSED:
            self._close()

    # ------------------------------------------------------------------ see `Tampering`

    def resume(self) -> None:
        self._go_on(monotonic_ns())

    def answered_by(self, step: str, fault: Fault) -> None:
        refused = fault.text[:1] in (b"4", b"5") if fault.taken is None else not fault.taken
        if fault.do != "reply" or not refused:
            return
        if step == "dot":
            self._decided.clear()
        else:
            self._machine.take_back()

    def untold(self) -> None:
        self._note(monotonic_ns())


@asynccontextmanager
async def serve_faulty_smtp(
    mock: SmtpMock, listener: socket.socket, plan: FaultPlan, byte_log: ByteLog
) -> AsyncIterator[None]:
    """Serve on a bound socket until the block ends; then every connection is dropped."""

    def connection(restart: Callable[[int], None]) -> FaultySmtpConnection:
        return FaultySmtpConnection(mock, plan, byte_log, restart)

    def connections() -> tuple[FaultySmtpConnection, ...]:
        return tuple(each for each in mock.connections if isinstance(each, FaultySmtpConnection))

    async with serve_tampering(connection, connections, listener, mock.alarm):
        yield
