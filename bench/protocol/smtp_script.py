"""What an SMTP client says, as data: a message is a script of flights.

A flight is what is sent in one go and the replies that are then waited for: one round trip. Which commands
may share one is said by RFC 2920 (PIPELINING) and RFC 3030 (BDAT instead of DATA). Section numbers without
a name are of RFC 5321.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto
from functools import lru_cache
from typing import Final, NamedTuple

from bench.model import Auth, Message, TlsMode


class Step(IntEnum):
    """What a reply is the answer to. An IntEnum, as only its members are hashed in C."""

    BANNER = 0
    EHLO = auto()
    HELO = auto()
    STARTTLS = auto()
    AUTH_PLAIN = auto()
    AUTH_LOGIN = auto()
    AUTH_USER = auto()
    AUTH_PASSWORD = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    BODY = auto()
    """The text with its lone dot, or the last BDAT."""
    RSET = auto()
    NOOP = auto()
    QUIT = auto()


_ANY_2YZ = frozenset(range(200, 300))
_GOOD: Mapping[Step, frozenset[int]] = {
    Step.BANNER: frozenset({220}),
    Step.EHLO: frozenset({250}),
    Step.HELO: frozenset({250}),
    Step.STARTTLS: frozenset({220}),
    Step.AUTH_PLAIN: frozenset({235}),
    Step.AUTH_LOGIN: frozenset({334}),
    Step.AUTH_USER: frozenset({334}),
    Step.AUTH_PASSWORD: frozenset({235}),
    Step.MAIL: _ANY_2YZ,
    Step.RCPT: _ANY_2YZ,
    Step.DATA: frozenset({354}),
    Step.BODY: _ANY_2YZ,
    Step.RSET: frozenset({250}),
    Step.NOOP: frozenset({250}),
    Step.QUIT: frozenset({221}),
}
GOOD: Final[list[frozenset[int]]] = [_GOOD[step] for step in Step]
"""step -> the codes with which it has succeeded (4.3.2)."""


NO_SHORT_CUT: Final[tuple[int, ...]] = (0,)
"""Codes that never come."""


class Flight(NamedTuple):
    """Bytes to send, and the replies to wait for."""

    data: bytes
    steps: tuple[Step, ...]
    phase: str
    usual: tuple[int, ...] = NO_SHORT_CUT
    """The codes of the replies that nearly always come to it."""


BANNER: Final = Flight(b"", (Step.BANNER,), "banner")
STARTTLS: Final = Flight(b"STARTTLS\r\n", (Step.STARTTLS,), "starttls")
DATA: Final = Flight(b"DATA\r\n", (Step.DATA,), "data", (354,))
RSET: Final = Flight(b"RSET\r\n", (Step.RSET,), "")
NOOP: Final = Flight(b"NOOP\r\n", (Step.NOOP,), "")
QUIT: Final = Flight(b"QUIT\r\n", (Step.QUIT,), "")
END_OF_TEXT: Final = b".\r\n"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Who the client is and what it may use."""

    tls: TlsMode = TlsMode.NONE
    auth: Auth | None = None
    pipelining: bool = True
    chunking: bool = True
    local_name: str = "sendbench.example"


@dataclass(frozen=True, slots=True, eq=False)
class Capabilities:
    """What the server offers (4.1.1.1): keyword in upper case -> its parameters."""

    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def mechanisms(self) -> frozenset[str]:
        """For AUTH (RFC 4954), the form `AUTH=` of old servers included."""
        old = [(key[5:], *rest) for key, rest in self.keywords.items() if key.startswith("AUTH=")]
        return frozenset(name.upper() for names in (self.keywords.get("AUTH", ()), *old) for name in names)

    def refuses(self, size: int) -> bool:
        """Whether the server has said that so large a message will be refused (RFC 1870)."""
        limit = self.keywords.get("SIZE", ())[:1]
        return any(each.isdecimal() and 0 < int(each) < size for each in limit)

    @classmethod
    @lru_cache(64)  # a server says the same to every connection
    def of(cls, raw: bytes) -> Capabilities:
        """Those in the reply to EHLO; of a keyword that comes twice the first counts."""
        keywords: dict[str, tuple[str, ...]] = {}
        for line in raw.splitlines()[1:]:
            words = line[4:].decode("ascii", "replace").split()
            if words:
                keywords.setdefault(words[0].upper(), tuple(words[1:]))
        return cls(keywords)


NOTHING_OFFERED: Final = Capabilities()


@lru_cache(8)  # every connection begins with it
def hello(step: Step, name: str) -> Flight:
    """EHLO or HELO."""
    return Flight(f"{step.name} {name}\r\n".encode("ascii"), (step,), "ehlo")


def login(auth: Auth, mechanisms: frozenset[str]) -> tuple[Flight, ...] | None:
    """The flights that log in; None where the server offers no mechanism that we know."""
    user = auth.user.reveal().encode() if auth.user else b""
    password = auth.password.reveal().encode()
    if "PLAIN" in mechanisms:
        plain = b64encode(b"\0%b\0%b" % (user, password))
        return (Flight(b"AUTH PLAIN %b\r\n" % plain, (Step.AUTH_PLAIN,), "auth"),)
    if "LOGIN" in mechanisms:
        return (
            Flight(b"AUTH LOGIN\r\n", (Step.AUTH_LOGIN,), "auth"),
            Flight(b64encode(user) + b"\r\n", (Step.AUTH_USER,), "auth"),
            Flight(b64encode(password) + b"\r\n", (Step.AUTH_PASSWORD,), "auth"),
        )
    return None


class Unsendable(Exception):
    """The server lacks what the message needs; nothing was sent. Never leaves this package."""


class Envelope(NamedTuple):
    """Sender and recipients, ready to be said."""

    flights: tuple[Flight, ...]
    """All before the one that carries the message."""
    ahead: Flight | None
    """What goes in front of the message in the same flight: all of it where chunks may be pipelined."""


@lru_cache(64)  # nearly every message of a case has the same
def envelope(
    sender: str,
    recipients: tuple[str, ...],
    size: int,
    eight_bit: bool,
    offered: Capabilities,
    pipelining: bool,
    chunking: bool,
) -> Envelope:
    """The flights before the message, with the extensions that the client would use. Raises Unsendable."""
    mail = _mail(sender, recipients, size, eight_bit, offered)
    rcpts = [f"RCPT TO:<{each}>\r\n".encode() for each in recipients]
    chunks = chunking and "CHUNKING" in offered
    if not (pipelining and "PIPELINING" in offered):
        flights = [
            Flight(mail, (Step.MAIL,), "mail", (250,)),
            *(Flight(each, (Step.RCPT,), "rcpt", (250,)) for each in rcpts),
        ]
        return Envelope((*flights, *(() if chunks else (DATA,))), None)
    steps = (Step.MAIL, *(Step.RCPT for _ in rcpts))
    together = b"".join((mail, *rcpts))
    if chunks and offered.refuses(size):  # no need for the message to travel for that
        return Envelope((Flight(together, steps, "envelope"),), None)
    if chunks:
        return Envelope((), Flight(together, steps, "envelope"))
    # RFC 2920 section 3.1: DATA may only be the last of a group.
    usual = (*(250 for _ in steps), 354)
    return Envelope((Flight(together + DATA.data, (*steps, Step.DATA), "envelope", usual),), None)


def uses_pipeline(offered: Capabilities, config: ClientConfig) -> bool:
    """Whether commands go out in groups."""
    return config.pipelining and "PIPELINING" in offered


def _mail(sender: str, recipients: Sequence[str], size: int, eight_bit: bool, offered: Capabilities) -> bytes:
    words = [f"MAIL FROM:<{sender}>"]
    if "SIZE" in offered:
        words.append(f"SIZE={size}")
    if eight_bit:
        if "8BITMIME" not in offered:
            raise Unsendable("the message has 8-bit bytes and the server does not offer 8BITMIME")
        words.append("BODY=8BITMIME")
    if not all(address.isascii() for address in (sender, *recipients)):
        if "SMTPUTF8" not in offered:
            raise Unsendable("an address is not ASCII and the server does not offer SMTPUTF8")
        words.append("SMTPUTF8")
    return (" ".join(words) + "\r\n").encode()


def as_text(message: Message) -> tuple[bytes, bytes]:
    """A message as it travels after DATA, in two parts: dots doubled at line starts, the lone dot at the end
    (4.5.2)."""
    head, tail = message.head, message.tail
    if message.dotted:
        head, tail = message.payload.replace(b"\n.", b"\n.."), b""
        if head.startswith(b"."):
            head = b"." + head
    return (head, _ended(tail)) if tail else (head + _end_of(head), b"")


@lru_cache(1)  # a case has one
def _ended(tail: bytes) -> bytes:
    return tail + _end_of(tail)


def _end_of(text: bytes) -> bytes:
    return END_OF_TEXT if text.endswith(b"\r\n") or not text else b"\r\n" + END_OF_TEXT


def as_chunk(message: Message) -> tuple[bytes, bytes]:
    """A message as the one and last chunk (RFC 3030), in two parts."""
    return b"BDAT %d LAST\r\n%b" % (len(message.head) + len(message.tail), message.head), message.tail
