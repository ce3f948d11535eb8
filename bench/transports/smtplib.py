"""SMTP by the standard library's smtplib, as an application with threads uses it.

Each connection has a thread of its own, in which its messages run from their first command to
their final answer, command by command so that each step can be timed; the event loop opens the
TCP connection and then waits. Handing a message over to the thread is part of its first phase.

The library's own `data` sends DATA, body and dot, so the phase `data` covers the final reply,
too, and `starttls` the handshake. From the answer 354 on, what ends without an answer is unknown.
"""

from __future__ import annotations

import asyncio
import binascii
import smtplib
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import anyio

from bench.guard import Guard
from bench.model import Auth, Endpoint, Message, Outcome, TlsMode
from bench.transports.connect import connect, for_library, handshake_round_trips, os_errno, tls_failure
from bench.transports.library import LibrarySession
from bench.transports.replies import accepted, goes_on, per_recipient, refusal
from bench.transports.session import Answer, AttemptFailed, Recovery, Span

T = TypeVar("T")

_LOCAL_NAME = "sendbench.example"


class SmtplibSession(LibrarySession):
    """An SMTP connection driven through smtplib, in a thread that lives as long as it does."""

    http_version: str | None = None

    def __init__(
        self, endpoint: Endpoint, guard: Guard, context: ssl.SSLContext | None, connection_id: int
    ) -> None:
        self.connection_id = connection_id
        self.uses = 0
        self.tls_version: str | None = None
        self._endpoint = endpoint
        self._guard = guard
        self._context = context
        self._timeout_s = 0.0
        self._client: _Client | None = None
        self._line: socket.socket | None = None
        """Another handle of the connection, never wrapped in TLS: what the event loop may touch."""
        self._thread = ThreadPoolExecutor(1, f"smtplib-{connection_id}")

    @property
    def first_phase(self) -> str:
        return "dns" if self._client is None else "mail"

    @property
    def alive(self) -> bool:
        """Open, and silent: what an idle server says, or its end, leaves no connection to go on with."""
        if self._client is None or self._client.sock is None or self._line is None:
            return False
        try:
            self._line.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def send(self, message: Message, span: Span, timeout_ns: int) -> Answer:
        """See `Session.send`."""
        self._timeout_s = timeout_ns / 1e9
        return await super().send(message, span, timeout_ns)

    async def exchange(self, message: Message, span: Span) -> Answer:
        """See `LibrarySession.exchange`."""
        self.uses += 1
        sock = None
        if self._client is None:
            sock = for_library(await connect(self._endpoint, span, self._guard))
            span.enter("tls" if self._endpoint.tls.mode is TlsMode.IMPLICIT else "banner")
            self._line = _second_handle(sock)
        return await self._in_thread(lambda: self._converse(sock, message, span))

    async def _in_thread(self, job: Callable[[], T]) -> T:
        """The result of a job in the connection's thread.

        A thread cannot be cancelled. Instead the connection is ended under it, which wakes it, and then
        its end is waited for: before that nobody else may touch the client or the span.
        """
        running = asyncio.wrap_future(self._thread.submit(job))
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            self._cut()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([running])
            running.exception()  # nobody else will look at it: it tells how the thread was woken
            raise
        return running.result()

    def _cut(self) -> None:
        if self._line is not None:
            with suppress(OSError):  # not connected any more
                self._line.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------------ in the thread

    def _converse(self, sock: socket.socket | None, message: Message, span: Span) -> Answer:
        """One message from its first command to its final answer; `sock`, if given, is yet to be greeted."""
        try:
            if sock is not None:
                sock.settimeout(self._timeout_s)
                self._open(sock, span)
            assert self._client is not None
            return self._send(self._client, message, span)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise AttemptFailed(_answer_for(error, span)) from error
        finally:
            span.end()  # here, where the answer was read: telling the event loop takes time of its own

    def _open(self, sock: socket.socket, span: Span) -> None:
        endpoint, mode = self._endpoint, self._endpoint.tls.mode
        wrap = self._context if mode is TlsMode.IMPLICIT else None
        client = self._client = _Client(endpoint, sock, wrap, span)
        self._ehlo(client, span)
        if mode is TlsMode.STARTTLS:
            self._starttls(client, span)
        self.tls_version = client.tls_version
        if endpoint.auth is not None:
            _log_in(client, endpoint.auth, span)

    def _ehlo(self, client: _Client, span: Span) -> None:
        span.enter("ehlo")
        code, text = client.ehlo()
        if code != 250:
            raise smtplib.SMTPHeloError(code, text)

    def _starttls(self, client: _Client, span: Span) -> None:
        span.enter("starttls")
        if not client.has_extn("starttls"):
            raise AttemptFailed(Answer(Outcome.FAILED, error="tls_missing"))
        client.starttls(context=self._context)
        span.round_trip(handshake_round_trips(client.tls_version))
        self._ehlo(client, span)

    def _send(self, client: _Client, message: Message, span: Span) -> Answer:
        client.span = span
        span.enter("mail")
        size = [f"size={message.size}"] if client.has_extn("size") else []
        code, text = client.mail(message.sender, size)
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        span.enter("rcpt")
        replies = _recipients(client, message, span)
        span.enter("data")
        code, text = client.data(message.payload)
        span.bytes_sent = message.size
        if not 200 <= code < 300:
            raise smtplib.SMTPDataError(code, text)
        return accepted(code, _text(text), message.payload, replies, span)

    def _reset(self) -> bool | None:
        """Whether an RSET was answered well; None if it was not answered."""
        try:
            return self._client is not None and self._client.rset()[0] == 250
        except (smtplib.SMTPException, OSError):
            return None

    def _quit(self) -> bool:
        try:
            if self._client is not None:
                self._client.quit()
        except (smtplib.SMTPException, OSError):
            return False
        return True

    # ------------------------------------------------------------ in the event loop again

    async def recover(self) -> Recovery:
        """See `Session.recover`: RSET must be answered 250."""
        clean = await self._in_thread(self._reset) if self.alive else None
        return Recovery(clean=bool(clean), rset=clean is not None)

    async def close(self) -> bool:
        """See `Session.close`."""
        answered = self.alive and await self._in_thread(self._quit)
        await self.abort()
        return answered

    async def abort(self) -> None:
        """See `Session.abort`. The thread has nothing to do and ends."""
        self._thread.shutdown(wait=False)
        if self._client is not None:
            self._client.close()
        if self._line is not None:
            self._line.close()


class _Client(smtplib.SMTP):
    """smtplib's client on a socket that is connected already; it tells the span of each reply."""

    def __init__(
        self, endpoint: Endpoint, sock: socket.socket, wrap: ssl.SSLContext | None, span: Span
    ) -> None:
        self.span = span
        self._connected = sock
        self._wrap = wrap
        # On its way out of here the library closes the socket, whatever went wrong.
        super().__init__(endpoint.server_name, endpoint.port, _LOCAL_NAME)

    def _get_socket(self, host: str, _port: int, _timeout: float) -> socket.socket:
        """Where the library would connect; with TLS what its SMTP_SSL does."""
        if self._wrap is None:
            return self._connected
        self.sock = self._wrap.wrap_socket(self._connected, server_hostname=host)
        self.span.round_trip(handshake_round_trips(self.tls_version))
        self.span.enter("banner")
        return self.sock

    @property
    def tls_version(self) -> str | None:
        return self.sock.version() if isinstance(self.sock, ssl.SSLSocket) else None

    def getreply(self) -> tuple[int, bytes]:
        """The library's own, seen through: each reply is a round trip, and after 354 there is no way back."""
        code, text = super().getreply()
        span = self.span
        if span.end_ns is None:  # QUIT and RSET come after the end
            span.round_trip()
            if code == 354 and span.phase == "data":
                span.handed_over = True
                span.bytes_sent = None  # how much of it, is known only at the end
        return code, text


def _second_handle(sock: socket.socket) -> socket.socket:
    try:
        return sock.dup()
    except OSError as error:  # no free descriptor
        sock.close()
        raise AttemptFailed(Answer(Outcome.FAILED, error="local", errno=error.errno)) from error


def _log_in(client: _Client, auth: Auth, span: Span) -> None:
    """By the first mechanism that is offered; after a refusal the library's `login` would try the next."""
    span.enter("auth")
    client.user, client.password = (auth.user.reveal() if auth.user else ""), auth.password.reveal()
    offered = client.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in offered:
        code, text = client.auth("PLAIN", client.auth_plain)
    elif "LOGIN" in offered:
        code, text = client.auth("LOGIN", client.auth_login)
    else:
        raise AttemptFailed(Answer(Outcome.FAILED, error="auth_missing"))
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, text)


def _recipients(client: _Client, message: Message, span: Span) -> list[tuple[int, str]]:
    """The reply to each recipient; raises the last refusal when all were refused."""
    replies: list[tuple[int, str]] = []
    for recipient in message.recipients:
        code, raw = client.rcpt(recipient)
        replies.append((code, _text(raw)))
        if code not in (250, 251) and not goes_on(replies, len(message.recipients)):
            answer = refusal(code, replies[-1][1], span)
            raise AttemptFailed(answer._replace(notes=per_recipient(replies)))
    return replies


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _answer_for(error: Exception, span: Span) -> Answer:
    """What an error of the library means for the message."""
    if isinstance(error, smtplib.SMTPResponseException):
        if isinstance(error.smtp_error, str):  # the library's own words; those of a server are bytes
            return Answer(span.cut_off, error="protocol", anomaly="too_long")
        return refusal(error.smtp_code, _text(error.smtp_error), span)
    tls = tls_failure(error)
    if tls is not None:
        kind, reason = tls
        return Answer(span.cut_off, error=kind, errno=os_errno(error), notes={"reason": reason})
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return Answer(span.cut_off, error="timeout")
    if isinstance(error, binascii.Error) or type(error) is smtplib.SMTPException:
        # A challenge that is no base64, or one after the other without end: both while logging in.
        return Answer(span.cut_off, error="protocol", anomaly="malformed")
    if isinstance(error, OSError):
        return Answer(span.cut_off, error="disconnected", errno=os_errno(error))
    # ValueError: the library writes ASCII only. What it says about it may hold a part of a secret.
    return Answer(span.cut_off, error="local", notes={"reason": "smtplib cannot write this down"})
