"""The server's side of AUTH PLAIN (RFC 4616) and AUTH LOGIN, as an exchange of lines (RFC 4954)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

from bench.model import Auth
from bench.protocol.smtp_commands import Refusal

MECHANISMS = ("PLAIN", "LOGIN")


class AuthExchange:
    """One attempt. Each call gives the next challenge, in base64, or whether the login is right."""

    def __init__(self, auth: Auth) -> None:
        self._expected = (auth.user.reveal().encode() if auth.user else b"", auth.password.reveal().encode())
        self._user = b""
        self._next: Callable[[bytes], bytes | bool] = self._plain

    def begin(self, mechanism: str, initial: str) -> bytes | bool:
        """Start; `initial` is empty where the client sent no initial response. Raises Refusal."""
        if mechanism == "PLAIN":
            challenge, self._next = b"", self._plain
        else:
            challenge, self._next = b"VXNlcm5hbWU6", self._login_user
        if not initial:
            return challenge
        return self.respond(b"" if initial == "=" else initial.encode())

    def respond(self, line: bytes) -> bytes | bool:
        """The client's answer to a challenge. Raises Refusal when it is not one or cancels the exchange."""
        if line == b"*":
            raise Refusal(501, "5.7.0", "Authentication cancelled")
        try:
            return self._next(base64.b64decode(line, validate=True))
        except binascii.Error:
            raise Refusal(501, "5.5.2", "Cannot decode base64") from None

    def _plain(self, response: bytes) -> bool:
        match response.split(b"\0"):
            case [identity, user, password] if user and identity in (b"", user):
                return self._is_right(user, password)
        raise Refusal(501, "5.5.2", "Malformed response")

    def _login_user(self, response: bytes) -> bytes:
        self._user = response
        self._next = self._login_password
        return b"UGFzc3dvcmQ6"

    def _login_password(self, response: bytes) -> bool:
        return self._is_right(self._user, response)

    def _is_right(self, user: bytes, password: bytes) -> bool:
        expected_user, expected_password = self._expected
        return hmac.compare_digest(user, expected_user) & hmac.compare_digest(password, expected_password)
