"""SMTP by our own client: the machine of `protocol.smtp_client` on a `Link`.

Between a message's start and its end nothing runs but that machine and the system calls; the task that
sends is resumed inside the callback which read the final answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import anyio

from bench.clock import Clock
from bench.guard import Guard
from bench.model import Endpoint, Message, Outcome
from bench.protocol.smtp_client import ClientConfig, SmtpClient
from bench.protocol.smtp_script import END_OF_TEXT
from bench.protocol.tls import TlsSessions
from bench.transports.connect import begin_to_connect, connect, connected, tls_failure
from bench.transports.dial import Attempt, Socket
from bench.transports.link import Link
from bench.transports.session import ERRAND_LIMIT_S, Answer, AttemptFailed, Recovery, Span
from bench.transports.tcp_info import TcpInfo, tcp_info
from bench.transports.waiting import Deadlines, Handover

TCP_INFO_NS: Final = 100_000_000
"""The kernel is asked about a connection no more often than this."""


class WireSmtpSession:
    """One SMTP connection, and the next one where the server had closed it before a message was begun."""

    http_version: str | None = None
    watches_itself: bool = True

    def __init__(
        self,
        endpoint: Endpoint,
        guard: Guard,
        tls: TlsSessions | None,
        next_id: Callable[[], int],
        config: ClientConfig,
        deadlines: Deadlines,
        errand_deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.connection_id = next_id()
        self.uses = 0
        self.tls_version: str | None = None
        self._endpoint, self._guard, self._tls = endpoint, guard, tls
        self._next_id, self._config, self._deadlines = next_id, config, deadlines
        self._errand_deadlines = errand_deadlines
        self._machine = SmtpClient(config)
        self._link: Link | None = None
        self._loop = loop
        self._span: Span
        self._message: Message | None = None
        self._connecting: anyio.CancelScope | None = None
        self._waiter: Handover[None] | None = None
        """The task that waits for the end of a message or of an errand."""
        self._on_errand = False
        self._info: TcpInfo | None = None
        self._info_ns = -TCP_INFO_NS

    @property
    def first_phase(self) -> str:
        return "dns" if self._link is None else self._machine.first_phase

    @property
    def alive(self) -> bool:
        return self._link is not None and not self._link.closed and self._machine.usable

    # ------------------------------------------------------------------ messages

    async def send(self, message: Message, span: Span, timeout_ns: int) -> Answer:
        """See `Session.send`. A kept connection that turns out to be closed before the server heard of the
        message is replaced by a new one, once."""
        self.uses += 1
        try:
            link = self._link
            if link is None:
                span.begin("dns")
                self._deadlines.set(self, timeout_ns)  # after it: no timeout is recorded as a shorter one
                return await self._on_new(message, span)
            now_ns = span.clock()
            span.begin(self._machine.first_phase, now_ns)
            self._deadlines.set(self, timeout_ns)
            await self._exchange(link, message, span, now_ns)
            answer = self._answer()
            if self._was_stale(answer):
                answer = await self._retry(message, span)
            return answer
        except asyncio.CancelledError:
            await self.abort()
            raise
        finally:
            self._waiter = None
            self._deadlines.clear(self)
            span.end()
            self._tell_tcp_info(span)

    async def open(self, clock: Clock, timeout_ns: int) -> bool:
        """See `Session.open`."""
        span = Span(clock)
        span.begin("dns")
        self._deadlines.set(self, timeout_ns)
        self._on_errand = True
        try:
            await self._on_new(None, span)
        except asyncio.CancelledError:
            await self.abort()
            raise
        finally:
            self._on_errand, self._waiter = False, None
            self._deadlines.clear(self)
        return self.alive and self._machine.open

    async def _on_new(self, message: Message | None, span: Span) -> Answer:
        """Connect, and let the machine take the message from there."""
        failed: Answer | None = None
        try:
            begun = begin_to_connect(self._endpoint, span, self._guard)
            if begun is not None and begun.connected:
                sock: Socket | None = connected(begun, span)
            else:
                sock = await self._connect(span, begun)
        except AttemptFailed as error:
            failed = error.answer
        if failed is not None:
            return failed
        if sock is None:
            return Answer(span.cut_off, error="timeout")
        link = self._link = Link(sock, self, span.clock, self._loop)
        await self._exchange(link, message, span, span.clock())
        return self._answer()

    async def _connect(self, span: Span, begun: Attempt | None) -> Socket | None:
        """A connected socket; None where there was no time left. Raises AttemptFailed."""
        with anyio.CancelScope() as self._connecting:
            try:
                return await connect(self._endpoint, span, self._guard, begun)
            finally:
                self._connecting = None
        return None

    def _exchange(self, link: Link, message: Message | None, span: Span, now_ns: int) -> Handover[None]:
        """Let the machine take the message from here to its end, which the caller waits for."""
        self._message, self._span = message, span
        waiter: Handover[None] = Handover(self._loop)
        self._waiter = waiter
        self._act(link, self._machine.begin(message, span, now_ns), now_ns)
        return waiter

    def _answer(self) -> Answer:
        answer = self._machine.answer
        return Answer(Outcome.FAILED) if answer is None else answer

    def _was_stale(self, answer: Answer) -> bool:
        lost = answer.error == "disconnected" and answer.outcome is Outcome.FAILED
        return lost and not self._machine.heard

    async def _retry(self, message: Message, span: Span) -> Answer:
        self._machine, self._link = SmtpClient(self._config), None
        self.connection_id, self.uses = self._next_id(), 1
        span.enter("dns")
        answer = await self._on_new(message, span)
        notes = {**(answer.notes or {}), "conn_retry": 1}
        if answer.outcome is Outcome.FAILED:
            notes["stale"] = True  # the connection's end is the only reason there was a second try
        return answer._replace(notes=notes)

    # ------------------------------------------------------------------ errands

    async def recover(self) -> Recovery:
        """See `Session.recover`: RSET must be answered 250."""
        answered = await self._run(SmtpClient.prove)
        return Recovery(self.alive and self._machine.errand is True, rset=answered)

    async def ping(self) -> bool:
        """See `Session.ping`: NOOP must be answered 250."""
        await self._run(SmtpClient.ping)
        return self.alive and self._machine.errand is True

    async def close(self) -> bool:
        """See `Session.close`."""
        answered = await self._run(SmtpClient.leave)
        if self._link is not None:
            self._link.close()
        return answered

    async def abort(self) -> None:
        """See `Session.abort`."""
        if self._link is not None:
            self._link.abort()

    async def _run(self, errand: Callable[[SmtpClient], bytes]) -> bool:
        """Something said between two messages; whether it was answered."""
        link = self._link
        if link is None or not self.alive:
            return False
        self._on_errand = True
        self._errand_deadlines.set(self, int(ERRAND_LIMIT_S * 1e9))
        waiter: Handover[None]
        waiter = self._waiter = Handover(self._loop)
        link.write(errand(self._machine))
        try:
            await waiter
        except asyncio.CancelledError:
            link.abort()
            raise
        finally:
            self._on_errand, self._waiter = False, None
            self._errand_deadlines.clear(self)
        return self._machine.errand is not None

    # ------------------------------------------------------------------ what the link tells

    def data_received(self, data: bytes, now_ns: int) -> None:
        """See `Receiver`."""
        machine, link = self._machine, self._link
        assert link is not None
        out = machine.receive(data, now_ns)
        if out and not machine.carries:
            link.write(out)
        else:
            self._act(link, out, now_ns)

    def secured(self, now_ns: int) -> None:
        """See `Receiver`."""
        link = self._link
        assert link is not None
        assert link.tls is not None
        self.tls_version = link.tls.version
        self._span.round_trip(link.tls.round_trips)
        self._act(link, self._machine.secured(now_ns), now_ns)

    def drained(self, now_ns: int) -> None:
        """See `Receiver`."""
        if self._machine.carries and self._link is not None:
            self._note_handed_over(self._link)

    def ended(self, error: OSError | None, now_ns: int) -> None:
        """See `Receiver`."""
        machine, waiter = self._machine, self._waiter
        machine.usable = False
        if machine.carries and self._link is not None:
            self._note_sent(self._link)
        if waiter is not None and machine.answer is None and machine.errand is None:
            tls = None if error is None else tls_failure(error)
            errno = None if error is None else error.errno
            if tls is None:
                machine.lost("disconnected", errno)
            else:
                machine.lost(tls[0], errno, {"reason": tls[1]})
        self._waiter = None
        if waiter is not None:
            waiter.finish(None)  # the span is ended there: it may go on, with another connection

    def expire(self) -> None:
        """See `waiting.Expiring`."""
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._link is not None and self._waiter is not None:
            if self._machine.carries:
                self._note_sent(self._link)
            self._machine.lost("timeout")
            self._link.abort()
            self._finish(self._span.clock())

    def _act(self, link: Link, out: bytes, now_ns: int) -> None:
        """Do what the machine wants done."""
        machine = self._machine
        if out:
            if machine.carries:
                link.write(out, machine.tail)
                self._note_handed_over(link)
            else:
                link.write(out)
        elif machine.answer is not None or machine.errand is not None:
            self._finish(now_ns)
        elif machine.wants_tls and link.tls is None:
            assert self._tls is not None
            self._span.enter("tls", now_ns)
            link.start_tls(self._tls.new())

    def _note_handed_over(self, link: Link) -> None:
        """The message is handed over once less than its end waits here; in TLS nothing less than all of it is
        of use to the server."""
        self._note_sent(link)
        if link.unsent < (len(END_OF_TEXT) if link.tls is None else 1):
            self._machine.handed_over(self._span.clock())

    def _note_sent(self, link: Link) -> None:
        if self._message is not None:
            self._span.bytes_sent = max(0, self._message.size - link.unsent)

    def _finish(self, now_ns: int) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            if not self._on_errand:
                self._span.end(now_ns)
            waiter.finish(None)
        elif self._link is not None:
            self._link.abort()  # the server has said something between two messages, and may go on

    def _tell_tcp_info(self, span: Span) -> None:
        link, now_ns = self._link, span.end_ns or 0
        if link is not None and not link.closed and now_ns - self._info_ns > TCP_INFO_NS:
            self._info, self._info_ns = tcp_info(link.socket), now_ns
        if self._info is not None:
            span.tcp_rtt_ns, span.retransmits = self._info
        if self.uses == 1 and link is not None and link.tls is not None and self._tls is not None:
            self._tls.keep(link.tls)  # a ticket of TLS 1.3 has come with the first replies
