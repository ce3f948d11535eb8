"""SMTP by aiosmtplib, driven command by command so that each step can be timed.

What the library does not let us see stays merged: `data` covers the body and the final
reply, `starttls` the handshake, and with implicit TLS `banner` covers the handshake too.
After DATA it raises the same errors whether or not the message had been handed over, so
everything but a plain refusal is `unknown` there, and how many round trips and bytes there
were is only known of a message that was accepted.
"""

from __future__ import annotations

import ssl
from base64 import b64encode

import aiosmtplib
from aiosmtplib import SMTP, SMTPResponseException

from bench.guard import Guard
from bench.model import Auth, Endpoint, Message, Outcome, TlsMode
from bench.transports.connect import connect, for_library, handshake_round_trips, os_errno, tls_failure
from bench.transports.library import LibrarySession
from bench.transports.replies import accepted, goes_on, per_recipient, refusal
from bench.transports.session import Answer, AttemptFailed, Recovery, Span

_LOCAL_NAME = "sendbench.example"


class AioSmtpSession(LibrarySession):
    """An SMTP connection opened, kept and closed through aiosmtplib."""

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
        self._client: SMTP | None = None

    @property
    def first_phase(self) -> str:
        return "dns" if self._client is None else "mail"

    @property
    def alive(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def exchange(self, message: Message, span: Span) -> Answer:
        """See `LibrarySession.exchange`."""
        self.uses += 1
        try:
            if self._client is None:
                await self._open(span)
            return await self._send(message, span)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise AttemptFailed(_answer_for(error, span)) from error

    async def _open(self, span: Span) -> None:
        endpoint, mode = self._endpoint, self._endpoint.tls.mode
        sock = for_library(await connect(endpoint, span, self._guard))
        client = self._client = SMTP(
            hostname=endpoint.server_name,
            local_hostname=_LOCAL_NAME,
            timeout=None,  # one deadline around the whole exchange instead of one for each read
            use_tls=mode is TlsMode.IMPLICIT,
            start_tls=False,
            tls_context=self._context,
            sock=sock,
        )
        span.enter("banner")
        await client.connect()
        span.round_trip()
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
        span.round_trip()

    async def _starttls(self, client: SMTP, span: Span) -> None:
        span.enter("starttls")
        if not client.supports_extension("starttls"):
            raise AttemptFailed(Answer(Outcome.FAILED, error="tls_missing"))
        await client.starttls(server_hostname=self._endpoint.server_name)
        span.round_trip()
        self._note_handshake(client, span)
        await self._ehlo(client, span)

    def _note_handshake(self, client: SMTP, span: Span) -> None:
        ssl_object = client.get_transport_info("ssl_object")
        self.tls_version = ssl_object.version() if ssl_object is not None else None
        span.round_trip(handshake_round_trips(self.tls_version))

    async def _login(self, client: SMTP, auth: Auth, span: Span) -> None:
        span.enter("auth")
        user, password = (auth.user.reveal() if auth.user else ""), auth.password.reveal()
        if "plain" in client.server_auth_methods:
            await client.auth_plain(user, password)
            span.round_trip()
        elif "login" in client.server_auth_methods:
            await self._auth_login(client, user, password, span)
        else:
            raise AttemptFailed(Answer(Outcome.FAILED, error="auth_missing"))

    async def _auth_login(self, client: SMTP, user: str, password: str, span: Span) -> None:
        """What the library's `auth_login` does, which does not tell which of the two was refused."""
        response = await client.execute_command(b"AUTH", b"LOGIN", b64encode(user.encode()))
        if response.code == 334:
            span.round_trip()
            response = await client.execute_command(b64encode(password.encode()))
        if response.code != 235:
            raise aiosmtplib.SMTPAuthenticationError(response.code, response.message)
        span.round_trip()

    async def _send(self, message: Message, span: Span) -> Answer:
        client = self._client
        assert client is not None
        span.enter("mail")
        size = [f"SIZE={message.size}"] if client.supports_extension("size") else []
        await client.mail(message.sender, options=size)
        span.round_trip()
        span.enter("rcpt")
        replies = await self._recipients(client, message, span)
        span.enter("data")
        # From here on the library tells neither what had been sent nor how often it waited.
        span.handed_over, span.round_trips_known, span.bytes_sent = True, False, None
        response = await client.data(message.payload)
        span.round_trips_known = True
        span.round_trip(2)
        return accepted(response.code, response.message, message.payload, replies, span)

    async def _recipients(self, client: SMTP, message: Message, span: Span) -> list[tuple[int, str]]:
        """The reply to each recipient; raises the last refusal when all were refused."""
        replies: list[tuple[int, str]] = []
        for recipient in message.recipients:
            try:
                response = await client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                replies.append((error.code, error.message))
                if not goes_on(replies, len(message.recipients)):
                    raise AttemptFailed(
                        _refusal(error, span)._replace(notes=per_recipient(replies))
                    ) from error
            else:
                replies.append((response.code, response.message))
            span.round_trip()
        return replies

    async def recover(self) -> Recovery:
        """See `Session.recover`: RSET must be answered 250."""
        if self._client is None:
            return Recovery(clean=False)
        try:
            await self._client.rset()
        except SMTPResponseException:
            return Recovery(clean=False, rset=True)
        except (aiosmtplib.SMTPException, OSError):
            return Recovery(clean=False)
        return Recovery(clean=True, rset=True)

    async def close(self) -> bool:
        """See `Session.close`."""
        if not self.alive or self._client is None:
            return False
        try:
            await self._client.quit()
        except SMTPResponseException:  # an answer, but not one after which the library closes
            await self.abort()
            return True
        except (aiosmtplib.SMTPException, OSError):
            await self.abort()
            return False
        return True

    async def abort(self) -> None:
        """See `Session.abort`."""
        if self._client is not None:
            transport = self._client.transport
            if transport is not None and hasattr(transport, "abort"):
                transport.abort()
            self._client.close()


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
    span.round_trip()  # a refusal is an answer, too
    if span.phase == "data" and error.code == 250:
        # After the dot it would be no error: the answer to DATA itself, and nothing was sent.
        span.handed_over, span.round_trips_known, span.bytes_sent = False, True, 0
    return refusal(error.code, error.message, span)
