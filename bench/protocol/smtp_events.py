"""What an SMTP server is told, and what it tells its caller."""

from __future__ import annotations

from dataclasses import dataclass

from bench.model import Auth
from bench.protocol.smtp_auth import MECHANISMS
from bench.protocol.smtp_commands import EXTENSIONS


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What the server offers and demands."""

    hostname: str = "mock.sendbench.example"
    starttls: bool = False
    """Offer STARTTLS, and take neither AUTH nor MAIL without it."""
    auth: Auth | None = None
    """The one login that is right; None: no AUTH, and none demanded."""
    mechanisms: tuple[str, ...] = MECHANISMS
    extensions: tuple[str, ...] = EXTENSIONS
    max_message_bytes: int = 50 * 2**20
    max_recipients: int = 1000
    max_connections: int | None = None
    """At a time; who is above is told so when it authenticates. None: no limit."""
    accepted: tuple[str, str] = ("2.0.0", "Ok: queued as {id}")
    """Enhanced code, if any, and text with which a message is taken."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who a message is from and for."""

    sender: str
    """Empty: the null sender."""
    recipients: tuple[str, ...]
    size_bytes: int | None
    """What the client declared."""
    body: str
    """7BIT | 8BITMIME"""
    smtputf8: bool


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A whole message, waiting for `accept` or `refuse`."""

    envelope: Envelope
    body: bytes
    """As it was meant: dots unstuffed, CRLF line ends."""
    mark: int
    """That of the input which held the first byte of MAIL."""


@dataclass(frozen=True, slots=True)
class TlsRequested:
    """Send what there is to send, start TLS, then call `tls_started`."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session has ended: send what there is to send and close."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something has been answered; only a machine that goes step by step says so."""

    step: str
    """The command in lower case; `challenge` within AUTH; empty for what is no command."""


Event = MessageReceived | TlsRequested | Closed | Said
