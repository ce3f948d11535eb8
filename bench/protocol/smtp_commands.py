"""What an SMTP client may say, and when: replies, command arguments, and the table of legal transitions.

Section numbers without a name are of RFC 5321.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from functools import lru_cache

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES")


class State(IntEnum):
    """Where a session stands. An IntEnum, as only its members are hashed in C."""

    GREETED = auto()
    """Before EHLO, and again after STARTTLS (RFC 3207 section 4.2)."""
    READY = auto()
    MAIL = auto()
    """A sender, and no recipient yet."""
    RCPT = auto()
    TEXT = auto()
    """After 354, up to the lone dot."""
    CHUNK = auto()
    """Within the octets of one BDAT."""
    CHUNKS = auto()
    """Between two BDATs of a message."""
    DECIDING = auto()
    """The whole message is here; the answer is the shell's to give."""
    CHALLENGED = auto()
    """Within an AUTH exchange."""
    TLS = auto()
    """220 has been said; waiting for the shell to start TLS."""
    CLOSED = auto()


_BETWEEN_COMMANDS = (State.GREETED, State.READY, State.MAIL, State.RCPT, State.CHUNKS)
_ANY = {state: state for state in _BETWEEN_COMMANDS}
_RESET = {state: State.GREETED if state is State.GREETED else State.READY for state in _BETWEEN_COMMANDS}

SEQUENCE: Mapping[bytes, Mapping[State, State]] = {
    b"EHLO": dict.fromkeys(_BETWEEN_COMMANDS, State.READY),
    b"HELO": dict.fromkeys(_BETWEEN_COMMANDS, State.READY),
    b"STARTTLS": {State.READY: State.TLS},
    b"AUTH": {State.READY: State.READY},
    b"MAIL": {State.READY: State.MAIL},
    b"RCPT": {State.MAIL: State.RCPT, State.RCPT: State.RCPT},
    b"DATA": {State.RCPT: State.TEXT},
    b"BDAT": {State.RCPT: State.CHUNK, State.CHUNKS: State.CHUNK},
    b"RSET": _RESET,
    b"NOOP": _ANY,
    b"HELP": _ANY,
    b"VRFY": _ANY,
    b"EXPN": _ANY,
    b"QUIT": dict.fromkeys(_BETWEEN_COMMANDS, State.CLOSED),
}
"""command -> state in which it is legal -> state it leads to when it is granted (section 4.1.4)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of one line. `enhanced` (RFC 3463) is empty where none belongs."""

    code: int
    enhanced: str
    text: str

    def wire(self, enhanced: bool) -> bytes:
        """The bytes to send, with or without the enhanced code."""
        status = f"{self.enhanced} " if enhanced and self.enhanced else ""
        return f"{self.code} {status}{self.text}\r\n".encode()


class Refusal(Exception):
    """A command that is answered with an error; never leaves this package."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        self.reply = Reply(code, enhanced, text)
        super().__init__(text)


MESSAGE_TOO_LARGE = (552, "5.3.4", "Message exceeds the maximum size")


@dataclass(frozen=True, slots=True)
class MailCommand:
    """`MAIL FROM:<sender>` and its parameters; the null sender is empty."""

    sender: str
    size_bytes: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False


_BEYOND = "\u0080-\U0010ffff"  # RFC 6531 section 3.3
_ATOM = rf"[\w!#$%&'*+/=?^`{{|}}~{_BEYOND}-]+"
_QUOTED = rf'"(?:[ !#-\[\]-~{_BEYOND}]|\\[ -~])*"'
_LABEL = rf"[A-Za-z0-9{_BEYOND}](?:[A-Za-z0-9{_BEYOND}-]*[A-Za-z0-9{_BEYOND}])?"
_LITERAL = r"\[(?:[0-9.]+|[Ii][Pp][Vv]6:[0-9A-Fa-f:.]+)\]"
_MAILBOX = re.compile(
    rf"(?:@[^<>:,\s]+(?:,@[^<>:,\s]+)*:)?"  # a source route: taken and ignored (appendix C)
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?P<domain>{_LABEL}(?:\.{_LABEL})*|{_LITERAL})"
)
_PATH = re.compile(r'<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>(?: (.*))?', re.DOTALL)
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~{_BEYOND}]+))?")


def check_mailbox(address: str, enhanced: str, *, smtputf8: bool) -> str:
    """The address without a source route (sections 4.1.2, 4.5.3). Raises Refusal with the `enhanced` code."""
    match = _MAILBOX.fullmatch(address)
    if match is None:
        raise Refusal(501, enhanced, "bad address syntax")
    local, domain = match["local"], match["domain"]
    if len(local.encode()) > 64 or len(domain.encode()) > 255:
        raise Refusal(501, enhanced, "address too long")
    if not smtputf8 and not address.isascii():
        raise Refusal(553, "5.6.7", "this address needs SMTPUTF8")
    return f"{local}@{domain}"


def _path(argument: str, keyword: str) -> tuple[str, str]:
    """`FROM:<a@b> X=1` -> (`a@b`, `X=1`)."""
    match = _PATH.fullmatch(argument, len(keyword)) if argument[: len(keyword)].upper() == keyword else None
    if match is None:
        raise Refusal(501, "5.5.4", f"syntax: {keyword}<address> [parameters]")
    return match[1], match[2] or ""


def _parameters(text: str) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for each in text.split():
        match = _PARAMETER.fullmatch(each)
        if match is None or match[1].upper() in values:
            raise Refusal(501, "5.5.4", "malformed or repeated parameter")
        values[match[1].upper()] = match[2]
    return values


@lru_cache(1024)
def parse_mail(argument: str) -> MailCommand:
    """What stands after `MAIL `. Raises Refusal."""
    sender, text = _path(argument, "FROM:")
    size, body, smtputf8 = None, "7BIT", False
    for name, value in _parameters(text).items() if text else ():
        match name, value:
            case "SIZE", str(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 20:
                size = int(digits)
            case "BODY", str(kind) if kind.upper() in ("7BIT", "8BITMIME"):
                body = kind.upper()
            case "SMTPUTF8", None:
                smtputf8 = True
            case "AUTH", str():
                pass  # who wrote it, RFC 4954 section 5: taken and ignored
            case "SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _:
                raise Refusal(501, "5.5.4", f"bad value of {name}")
            case _:
                raise Refusal(555, "5.5.4", f"parameter {name} not recognized")
    if sender:
        sender = check_mailbox(sender, "5.1.7", smtputf8=smtputf8)
    return MailCommand(sender, size, body, smtputf8)


@lru_cache(1024)
def parse_rcpt(argument: str, *, smtputf8: bool) -> str:
    """What stands after `RCPT `: the recipient. Raises Refusal."""
    recipient, text = _path(argument, "TO:")
    for name in _parameters(text) if text else ():
        raise Refusal(555, "5.5.4", f"parameter {name} not recognized")
    if recipient.lower() == "postmaster":  # the one mailbox without a domain, section 4.1.1.3
        return recipient
    return check_mailbox(recipient, "5.1.3", smtputf8=smtputf8)


def parse_bdat(argument: str) -> tuple[int, bool]:
    """What stands after `BDAT `: octets to come, and whether they are the last. Raises Refusal."""
    match = re.fullmatch(r"([0-9]{1,20})( +LAST)?", argument, re.IGNORECASE)
    if match is None:
        raise Refusal(501, "5.5.4", "syntax: BDAT octets [LAST]")
    return int(match[1]), match[2] is not None
