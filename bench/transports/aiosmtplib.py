"""SMTP by aiosmtplib, driven command by command so that each step can be timed.

What the library does not let us see stays merged: `data` covers the body and the final
reply, `starttls` the handshake, and with implicit TLS `banner` covers the handshake too.
After DATA it raises the same errors whether or not the message had been handed over, so
everything but a plain refusal is `unknown` there.
"""

from __future__ import annotations

import re

import aiosmtplib
from aiosmtplib import SMTP, SMTPResponseException

from bench.guard import Guard
from bench.model import Auth, Endpoint, Message, Outcome, TlsMode
from bench.transports.connect import (
    client_context,
    connect,
    handshake_round_trips,
    os_errno,
    tls_failure,
)
from bench.transports.session import REPLY_LIMIT, Answer, AttemptFailed, Span

_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")
_LOCAL_NAME = "sendbench.example"


class AioSmtpSession:
    """An SMTP connection opened, kept and closed through aiosmtplib."""

    http_version: str | None = None

    def __init__(self, endpoint: Endpoint, guard: Guard, connection_id: int) -> None:
        self.connection_id = connection_id
        self.uses = 0
        self.tls_version: str | None = None
        self._endpoint = endpoint
        self._guard = guard
        self._client: SMTP | None = None

    @property
    def first_phase(self) -> str:
        return "dns" if self._client is None else "mail"

    @property
    def alive(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def exchange(self, message: Message, span: Span) -> Answer:
        """See `Session.exchange`."""
        self.uses += 1
        try:
            if self._client is None:
                await self._open(span)
            return await self._send(message, span)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise AttemptFailed(_answer_for(error, span)) from error

    async def _open(self, span: Span) -> None:
        endpoint, mode = self._endpoint, self._endpoint.tls.mode
        context = client_context(endpoint.tls) if mode is not TlsMode.NONE else None
        sock = await connect(endpoint, span, self._guard)
        client = self._client = SMTP(
            hostname=endpoint.server_name,
            local_hostname=_LOCAL_NAME,
            timeout=None,  # one deadline around the whole exchange instead of one for each read
            use_tls=mode is TlsMode.IMPLICIT,
            start_tls=False,
            tls_context=context,
            sock=sock,
        )
        span.enter("banner")
        await client.connect()
        span.round_trips += 1
        if mode is TlsMode.IMPLICIT:
            self._note_handshake(client, span)
        await self._ehlo(client, span)
        if mode is TlsMode.STARTTLS:
            await self._starttls(client, span)
        if endpoint.auth is not None:
            await self._login(client, endpoint.auth, span)

    async def _ehlo(self, client: SMTP, span: Span) -> None:
        span.enter("ehlo")
        await client.ehlo()
        span.round_trips += 1

    async def _starttls(self, client: SMTP, span: Span) -> None:
        span.enter("starttls")
        if not client.supports_extension("starttls"):
            raise AttemptFailed(Answer(Outcome.FAILED, error="tls_missing"))
        await client.starttls(server_hostname=self._endpoint.server_name)
        span.round_trips += 1
        self._note_handshake(client, span)
        await self._ehlo(client, span)

    def _note_handshake(self, client: SMTP, span: Span) -> None:
        ssl_object = client.get_transport_info("ssl_object")
        self.tls_version = ssl_object.version() if ssl_object is not None else None
        span.round_trips += handshake_round_trips(self.tls_version)

    async def _login(self, client: SMTP, auth: Auth, span: Span) -> None:
        span.enter("auth")
        user, password = (auth.user.reveal() if auth.user else ""), auth.password.reveal()
        if "plain" in client.server_auth_methods:
            await client.auth_plain(user, password)
            span.round_trips += 1
        elif "login" in client.server_auth_methods:
            await client.auth_login(user, password)
            span.round_trips += 2
        else:
            raise AttemptFailed(Answer(Outcome.FAILED, error="auth_missing"))

    async def _send(self, message: Message, span: Span) -> Answer:
        client = self._client
        assert client is not None
        span.enter("mail")
        size = [f"SIZE={len(message.payload)}"] if client.supports_extension("size") else []
        await client.mail(message.sender, options=size)
        span.round_trips += 1
        span.enter("rcpt")
        taken = await self._recipients(client, message, span)
        span.enter("data")
        span.handed_over = True  # from here on the library does not tell what had been sent
        span.bytes_sent = len(message.payload)
        response = await client.data(message.payload)
        span.round_trips += 2
        return Answer(
            Outcome.ACCEPTED,
            code=response.code,
            enhanced_code=_enhanced(response.message),
            reply=_reply(response.code, response.message),
            recipients_accepted=taken,
        )

    async def _recipients(self, client: SMTP, message: Message, span: Span) -> int:
        """How many recipients were taken; raises the last refusal when none was."""
        refusals = []
        for recipient in message.recipients:
            try:
                await client.rcpt(recipient)
                span.round_trips += 1
            except aiosmtplib.SMTPRecipientRefused as error:
                refusals.append(error)
                if error.code == 421 or len(refusals) == len(message.recipients):
                    raise
                span.round_trips += 1
        return len(message.recipients) - len(refusals)

    async def recover(self) -> bool:
        """See `Session.recover`: RSET must be answered 250."""
        if self._client is None:
            return False
        try:
            return (await self._client.rset()).code == 250
        except (aiosmtplib.SMTPException, OSError):
            return False

    async def close(self) -> bool:
        """See `Session.close`."""
        if not self.alive or self._client is None:
            return False
        try:
            await self._client.quit()
        except (aiosmtplib.SMTPException, OSError):
            return False
        return True

    async def abort(self) -> None:
        """See `Session.abort`."""
        if self._client is not None:
            transport = self._client.transport
            if transport is not None and hasattr(transport, "abort"):
                transport.abort()
            self._client.close()


def _enhanced(text: str) -> str | None:
    match = _ENHANCED.match(text)
    return match[1] if match else None


def _reply(code: int, text: str) -> bytes:
    return f"{code} {text}".encode("utf-8", "surrogateescape")[:REPLY_LIMIT]


_BEFORE_MAIL = ("banner", "ehlo", "starttls", "auth")


def _answer_for(error: Exception, span: Span) -> Answer:
    """What an error of the library means for the message."""
    if isinstance(error, SMTPResponseException):
        return _refusal(error, span)
    tls = tls_failure(error)
    if tls is not None:
        kind, reason = tls
        return Answer(span.cut_off, error=kind, errno=os_errno(error), notes={"reason": reason})
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return Answer(span.cut_off, error="timeout")
    if isinstance(error, OSError):
        return Answer(span.cut_off, error="disconnected", errno=os_errno(error))
    # ValueError and what else the library says about its own arguments: nothing was sent
    return Answer(span.cut_off, error="local", notes={"reason": str(error)})


def _refusal(error: SMTPResponseException, span: Span) -> Answer:
    code, phase = error.code, span.phase
    span.round_trips += 2 if phase == "data" else 1  # a refusal is an answer, too
    enhanced, reply = _enhanced(error.message), _reply(code, error.message)
    if code < 200 or code >= 600:
        anomaly = "malformed" if code == -1 else "bad_code"
        return Answer(span.cut_off, code, enhanced, reply, error="protocol", anomaly=anomaly)
    if phase in _BEFORE_MAIL:
        kind = "auth" if phase == "auth" else "refused"
        return Answer(Outcome.FAILED, code, enhanced, reply, error=kind)
    if code >= 500:
        return Answer(Outcome.REJECTED_PERM, code, enhanced, reply, error="rejected")
    if code >= 400:
        return Answer(Outcome.REJECTED_TEMP, code, enhanced, reply, error="rejected")
    return Answer(span.cut_off, code, enhanced, reply, error="protocol", anomaly="bad_code")
