"""HTTP/1.1 by our own client: one connection, one request at a time, one write for each.

A kept connection costs little more than the system calls: what all requests of a session share is written
down once, the task that waits is resumed by the last byte itself, and of the answer nothing is decoded
that nobody reads. Times are those at which the link saw the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import anyio

from bench import __version__
from bench.clock import Clock
from bench.guard import Guard
from bench.model import Endpoint, Message, Outcome, check_header
from bench.protocol.http_client import Reply, ResponseError, ResponseReader
from bench.protocol.tls import TlsSessions
from bench.providers.base import BatchRequest, Headers, Provider, Request
from bench.transports.calls import answer_to, host_header, is_signed, signature, usual_headers
from bench.transports.connect import connect, handshake_round_trips, os_errno, tls_failure
from bench.transports.link import Link
from bench.transports.session import Answer, AttemptFailed, Recovery, Span
from bench.transports.tcp_info import TcpInfo, tcp_info
from bench.transports.waiting import Deadlines, Handover

UNSENDABLE = Answer(
    Outcome.FAILED, error="local", notes={"reason": "HTTP has no way to write the address or a header"}
)
"""Nothing was sent. The header's value is not told, as it may be a key."""

_GONE = Answer(Outcome.FAILED, error="disconnected")
"""The connection had ended before anything of the message was written."""

TCP_INFO_NS: Final = 100_000_000
"""The kernel is asked about a connection no more often than this."""

_PATH_SAFE = "!$%&'()*+,/:;=?@[]~"
"""Stands in a request target as it is (RFC 3986 section 3.3); what else there is, is percent-encoded."""


class WireHttpSession:
    """One HTTP/1.1 connection by our own client; see `Session`. Also the receiver of its link."""

    watches_itself: bool = True

    __slots__ = (
        "_connecting", "_deadlines", "_endpoint", "_guard", "_info", "_info_ns", "_judged", "_link",
        "_loop", "_message", "_prefix", "_provider", "_reader", "_sandbox", "_sign", "_size", "_span", "_tls",
        "_waiting", "alive", "connection_id", "http_version", "tls_version", "uses",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        guard: Guard,
        tls: TlsSessions | None,
        connection_id: int,
        provider: Provider,
        prefix: bytes,
        deadlines: Deadlines,
        sign: Sign | None = None,
        *,
        sandbox: bool = False,
    ) -> None:
        self.connection_id = connection_id
        self.uses = 0
        self.http_version: str | None = None
        self.tls_version: str | None = None
        self.alive = False
        """See `Session.alive`; False while a request is on its way, so that whatever ends it leaves it so."""
        self._endpoint, self._guard, self._tls = endpoint, guard, tls
        self._provider, self._prefix, self._deadlines = provider, prefix, deadlines
        self._sign, self._sandbox = sign, sandbox
        self._loop = asyncio.get_running_loop()
        self._reader = ResponseReader()
        self._judged: tuple[Reply, tuple[int, int], Answer] | None = None
        """What the last reply was found to mean, for how many recipients of how many messages."""
        self._link: Link | None = None
        self._connecting: anyio.CancelScope | None = None
        self._waiting: Handover[Answer | None] | None = None
        self._span: Span | None = None
        """That of the attempt under way."""
        self._message: Message | None = None
        self._size = 0
        """Bytes of the request under way; 0 before it has been written."""
        self._info: TcpInfo | None = None
        self._info_ns = -TCP_INFO_NS

    # --------------------------------------------------------------------------- the session

    @property
    def first_phase(self) -> str:
        """See `Session`."""
        return "dns" if self._link is None else "send"

    async def send(self, message: Message, span: Span, timeout_ns: int) -> Answer:
        """See `Session.send`."""
        self.uses += 1
        link = self._link
        signature = b"" if self._sign is None else self._sign(message)
        span.begin("dns" if link is None else "send")
        self._span, self._message, self._size = span, message, 0
        self._deadlines.set(self, timeout_ns)
        try:
            if link is None:
                link = await self._open(span)
            waiting: Handover[Answer | None] = Handover(self._loop)
            self._waiting = waiting
            self._write(link, message, signature, span)
            answer = await waiting
            assert answer is not None
            return answer
        except AttemptFailed as failed:
            return failed.answer
        finally:
            if span.end_ns is None:
                span.end()
            self._deadlines.clear(self)
            self._span = self._message = self._waiting = None
            if not self.alive:
                self._drop()

    async def open(self, clock: Clock, timeout_ns: int) -> bool:
        """See `Session.open`."""
        self._span = span = Span(clock)
        span.begin("dns")
        self._deadlines.set(self, timeout_ns)
        try:
            await self._open(span)
            self.alive = True
        except AttemptFailed:
            pass  # the message that is to use it will find out, and say so
        finally:
            self._deadlines.clear(self)
            self._span = self._waiting = None
            if not self.alive:
                self._drop()
        return self.alive

    async def ping(self) -> bool:
        """See `Session.ping`: HTTP/1.1 has no way that costs the server nothing."""
        return self.alive

    async def recover(self) -> Recovery:
        """See `Session.recover`: every HTTP answer leaves a kept connection clean."""
        return Recovery(self.alive)

    async def close(self) -> bool:
        """See `Session.close`: HTTP has no leave-taking, TLS has."""
        if self._link is not None:
            self._link.close()
        self._drop()
        return False

    async def abort(self) -> None:
        """See `Session.abort`."""
        self._drop()

    def _drop(self) -> None:
        """Give the connection up, and with it the circle of session and link."""
        link, self._link, self.alive = self._link, None, False
        if link is not None:
            link.abort()

    # ------------------------------------------------------------------------- connecting

    async def _open(self, span: Span) -> Link:
        """A link that a request can be written to. Raises AttemptFailed."""
        if self.uses > 1:
            raise AttemptFailed(_GONE)
        if not self._prefix:
            raise AttemptFailed(UNSENDABLE)
        scope = self._connecting = anyio.CancelScope()
        try:
            with scope:
                self._link = Link(
                    await connect(self._endpoint, span, self._guard), self, span.clock, self._loop
                )
                if self._tls is not None:
                    await self._secure(self._link, self._tls, span)
        finally:
            self._connecting = None
        if scope.cancel_called or self._link is None:
            raise AttemptFailed(Answer(span.cut_off, error="timeout"))
        span.enter("send")
        return self._link

    async def _secure(self, link: Link, sessions: TlsSessions, span: Span) -> None:
        span.enter("tls")
        waiting: Handover[Answer | None] = Handover(self._loop)
        self._waiting = waiting
        link.start_tls(sessions.new())
        failed = await waiting
        if failed is not None:
            raise AttemptFailed(failed)
        assert link.tls is not None
        self.tls_version = link.tls.version
        span.round_trip(link.tls.round_trips or handshake_round_trips(self.tls_version))

    # --------------------------------------------------------------------------- one request

    def _write(self, link: Link, message: Message, signature: bytes, span: Span) -> None:
        """The whole request at once; what the kernel does not take now, the link sends later."""
        self.alive = False
        head, tail = message.head, message.tail
        size = len(head) + len(tail)
        request = b"%b%d\r\n%b\r\n%b" % (self._prefix, size, signature, head)
        self._size = len(request) + len(tail)
        link.write(request, tail)
        if link.unsent:
            self._note_unsent(link, span)
        else:
            span.handed_over, span.bytes_sent = True, size
            span.enter("server")

    def _note_unsent(self, link: Link, span: Span) -> None:
        """How much of the request the kernel has by now."""
        if self._size and self._message is not None:
            unsent = link.unsent
            span.handed_over = unsent < self._size
            span.bytes_sent = max(0, self._message.size - unsent)

    def _finish(self, answer: Answer | None) -> None:
        """Resume the task that waits; what comes after this in the caller sees its next request."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.finish(answer)

    # ------------------------------------------------------------------- what the link tells

    def data_received(self, data: bytes, now_ns: int) -> None:
        """See `Receiver`."""
        link, span = self._link, self._span
        if span is None or link is None:  # nobody asked
            self._drop()
            return
        failure: ResponseError | None = None
        reply = None
        try:
            reply = self._reader.receive(data)
        except ResponseError as error:
            failure = error
        if failure is not None:  # not in the handler: see `Handover.finish`
            self._note_unsent(link, span)
            span.end(now_ns)
            self._finish(Answer(span.cut_off, failure.status, error="protocol", anomaly=failure.anomaly))
        elif reply is not None:
            self._complete(link, span, reply, now_ns)
        elif self._reader.begun:
            span.enter("receive", now_ns)
        elif span.phase == "receive":  # what came was a 1xx answer only
            span.enter("server", now_ns)

    def secured(self, now_ns: int) -> None:
        """See `Receiver`."""
        if self._span is not None:
            self._span.enter("send", now_ns)
            self._finish(None)

    def drained(self, now_ns: int) -> None:
        """See `Receiver`."""
        if self._link is not None and self._span is not None:
            self._note_unsent(self._link, self._span)
            if self._span.phase == "send":
                self._span.enter("server", now_ns)

    def ended(self, error: OSError | None, now_ns: int) -> None:
        """See `Receiver`."""
        link, span = self._link, self._span
        if link is None or span is None:
            self._drop()
            return
        in_order = error is None and (link.tls is None or link.tls.ended)
        reply = self._reader.end() if in_order else None
        if reply is not None:
            self._complete(link, span, reply, now_ns)
            return
        self._note_unsent(link, span)
        span.end(now_ns)
        self._finish(_lost(span, error))

    def expire(self) -> None:
        """See `waiting.Expiring`."""
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._link is not None and self._span is not None:
            self._note_unsent(self._link, self._span)
            self._span.end()
            self._finish(Answer(self._span.cut_off, error="timeout"))

    def _complete(self, link: Link, span: Span, reply: Reply, now_ns: int) -> None:
        span.enter("receive", now_ns)
        span.end(now_ns)
        span.trips += 1
        if link.unsent:  # an answer to less than the whole request: what is left of it must not follow
            self._note_unsent(link, span)
        else:
            self.alive = reply.kept and not link.closed and (link.tls is None or not link.tls.ended)
        if now_ns - self._info_ns > TCP_INFO_NS:
            self._look_closer(link, reply, now_ns)
        if self._info is not None:
            span.tcp_rtt_ns, span.retransmits = self._info
        assert self._message is not None
        self._finish(self._judge(reply, self._message))

    def _judge(self, reply: Reply, message: Message) -> Answer:
        """The reader gives the same reply for the same bytes, and a judgement depends on nothing else but
        how many there are."""
        judged, count = self._judged, (len(message.recipients), len(message.members))
        if judged is not None and judged[0] is reply and judged[1] == count:
            return judged[2]
        answer = answer_to(self._provider, reply, message, sandbox=self._sandbox, extra=reply.extra)
        self._judged = reply, count, answer
        return answer

    def _look_closer(self, link: Link, reply: Reply, now_ns: int) -> None:
        """What is not worth its time after every message."""
        self._info, self._info_ns = tcp_info(link.socket), now_ns
        if self.http_version is None:
            self.http_version = reply.head.version
            if link.tls is not None and self._tls is not None:
                self._tls.keep(link.tls)  # a ticket of TLS 1.3 comes before the first answer


def _lost(span: Span, error: OSError | None) -> Answer:
    """The answer when the connection ended before its time."""
    if error is None:
        return Answer(span.cut_off, error="disconnected")
    tls = tls_failure(error)
    if tls is not None:
        kind, reason = tls
        return Answer(span.cut_off, error=kind, errno=os_errno(error), notes={"reason": reason})
    return Answer(span.cut_off, error="disconnected", errno=error.errno)


# ---------------------------------------------------------------------------- what goes out


Sign = Callable[[Message], bytes]
"""Makes the header lines that prove a request to be ours, where they depend on what is in it."""


def signer(endpoint: Endpoint, provider: Provider, request: Request | BatchRequest) -> Sign | None:
    """None where who calls is proved by the same lines in every request."""
    if not is_signed(endpoint, provider):
        return None

    def sign(message: Message) -> bytes:
        headers = signature(endpoint, provider, request, message)
        return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("ascii")

    return sign


def request_prefix(endpoint: Endpoint, provider: Provider, request: Request | BatchRequest) -> bytes:
    """What every request of a case begins with, up to the number of its body's bytes; empty where a header
    cannot be written down."""
    base = endpoint.path.rstrip("/") if request.path else endpoint.path
    target = quote(base + request.path, safe=_PATH_SAFE) or "/"
    lines = [f"{request.method} {target} HTTP/1.1"]
    try:
        for name, value in _headers(endpoint, provider, request):
            check_header(name, value)
            lines.append(f"{name}: {value}")
        return "\r\n".join((*lines, "Content-Length: ")).encode("ascii")
    except ValueError:  # the error would hold the value
        return b""


def _headers(endpoint: Endpoint, provider: Provider, request: Request | BatchRequest) -> Headers:
    """Each name once; what the provider wants goes before what we would say."""
    ours = (
        host_header(endpoint),
        ("User-Agent", f"sendbench/{__version__}"),
        ("Accept-Encoding", "identity"),
    )
    found = (*ours, *request.headers, *usual_headers(endpoint, provider))
    return tuple({each[0].lower(): each for each in found}.values())
