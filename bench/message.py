"""Messages: MIME bytes that depend on nothing but their description, a seed and a date.

A message is built once per case with placeholders where the key (and, when recipients take
turns, the recipient) goes; `Composer` patches those in, outside the timed span. Header lines are
written here byte by byte: `email.generator` folds, re-encodes and, on older Pythons, lets a line
break in a header name through.

`size_bytes` is the exact length of the whole MIME message with a key of typical length (40
characters) and, when recipients take turns, an address of 27: the length of the placeholders. A
longer or shorter key moves it by twice the difference (Message-ID and X-Sendbench-Id).
"""

from __future__ import annotations

import base64
import email
import email.header
import email.policy
import email.utils
import quopri
import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from email.headerregistry import (
    ContentDispositionHeader,
    ContentTransferEncodingHeader,
    ContentTypeHeader,
    HeaderRegistry,
)
from email.message import EmailMessage, MIMEPart
from urllib.parse import quote

from bench.model import Attachment, Message, MessageSpec, Parts, check_address, check_header, check_media_type

__all__ = [
    "KEY_PLACEHOLDER",
    "RECIPIENT_PLACEHOLDER",
    "Composer",
    "build_parts",
    "check_address",
    "check_header",
]

KEY_PLACEHOLDER = "SbKey7f3a9c1e5d2b8046e1c7a95f3b0d8e264a9"
"""As long as a typical key, 40 characters: `<UTC time>-<scenario>-<random>-<seq>`."""
RECIPIENT_PLACEHOLDER = "SbRecipient9c41e7d05ab2f638"
"""As long as `recipient@sendbench.example`."""

MAX_LINE = 998
"""Longest line of a message without its CRLF (RFC 5322 section 2.1.1)."""
FOLD_AT = 76
_KEY_DOMAIN = "sendbench.example"
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")
_WORDS = (
    "account", "address", "agree", "answer", "arrive", "balance", "before", "begin", "between", "bring",
    "calendar", "carry", "change", "choose", "city", "clear", "collect", "common", "company", "confirm",
    "copy", "cover", "customer", "daily", "decide", "deliver", "detail", "document", "during", "early",
    "email", "enter", "every", "example", "expect", "family", "figure", "final", "follow", "friend",
    "future", "general", "group", "happen", "history", "house", "include", "invoice", "journey", "keep",
    "language", "later", "letter", "listen", "little", "maybe", "measure", "meeting", "message",
    "minute", "month", "morning", "moment", "number", "office", "open", "order", "other", "paper",
    "payment", "people", "perhaps", "person", "place", "please", "point", "price", "project",
    "question", "quick", "quiet", "reach", "ready", "reason", "receive", "record", "remember", "reply",
    "report", "result", "return", "season", "second", "service", "short", "simple", "small", "special",
    "station", "stay", "street", "summer", "system", "thank", "think", "ticket", "today", "together",
    "travel", "under", "update", "value", "village", "visit", "water", "week", "welcome", "window",
    "winter", "without", "wonder", "write", "yesterday",
)  # fmt: skip
_FILLER_BLOCK = 64 * 1024


def build_parts(spec: MessageSpec, *, seed: int, date: datetime) -> Parts:
    """The message of a case in pieces and as MIME, with placeholders for what changes per message.

    Raises ValueError: an unsafe address or header, a size too small for what must be in it, a
    message of the user's that is not one.
    """
    check_address(spec.sender)
    for address in spec.recipients:
        check_address(address)
    if not spec.recipients:
        raise ValueError("a message needs a recipient")
    if spec.eml is not None:
        return _user_message(spec, spec.eml)
    return _Draft(spec, seed, date).parts()


Fill = Callable[[Sequence[tuple[str, str]]], bytes]


class Composer:
    """Makes message number `seq` out of a payload with placeholders.

    The payload is split once; composing is one join, up to where the last placeholder was. With `fill`,
    which puts (key, recipient) of several messages into the body of a batch call, it makes calls.
    """

    __slots__ = (
        "_dotted", "_eight_bit", "_fill", "_pieces", "_recipients", "_rotate", "_run_id", "_sender", "_tail",
        "batch",
    )  # fmt: skip

    def __init__(
        self,
        spec: MessageSpec,
        payload: bytes,
        run_id: str,
        *,
        fill: Fill | None = None,
        batch: int = 1,
    ) -> None:
        if _RUN_ID.match(run_id) is None:
            raise ValueError(f"{run_id!r} cannot stand in a message id")
        self._run_id, self._fill = run_id, fill
        self.batch = batch
        """Messages in a call."""
        self._sender, self._recipients = spec.sender, spec.recipients
        self._rotate = spec.rotate_recipients
        # What is put in for the placeholders is ASCII, begins with a letter or digit and has no line ends.
        self._dotted = payload.startswith(b".") or b"\n." in payload
        self._eight_bit = not payload.isascii()
        by_recipient = payload.split(RECIPIENT_PLACEHOLDER.encode()) if self._rotate else [payload]
        self._pieces = [piece.split(KEY_PLACEHOLDER.encode()) for piece in by_recipient]
        self._tail = b""
        if self._pieces != [[payload]]:
            self._tail, self._pieces[-1][-1] = self._pieces[-1][-1], b""

    def compose(self, seq: int) -> Message:
        """Message `seq`; its key is `<run id>-<seq>`, its recipient the next one where they take turns."""
        key = f"{self._run_id}-{seq}"
        if not self._rotate:
            head = key.encode().join(self._pieces[0])
            values = (
                seq, key, self._sender, self._recipients, head, self._tail, self._dotted, self._eight_bit,
                (),
            )  # fmt: skip
            return tuple.__new__(Message, values)  # see `Engine._sample`
        recipient = self._recipients[seq % len(self._recipients)]
        patched = [key.encode().join(piece) for piece in self._pieces]
        head = recipient.encode().join(patched)
        return Message(seq, key, self._sender, (recipient,), head, self._tail, self._dotted, self._eight_bit)

    def compose_call(self, seqs: Sequence[int]) -> Message:
        """The call that carries these messages, at least one."""
        assert self._fill is not None
        members = tuple([self.envelope(seq) for seq in seqs])
        body = self._fill([(each.key, each.recipients[0]) for each in members])
        first = members[0]
        return Message(first.seq, first.key, first.sender, first.recipients, body, members=members)

    def envelope(self, seq: int) -> Message:
        """Message `seq` without its payload, for the record of one that will not be sent."""
        recipients = (self._recipients[seq % len(self._recipients)],) if self._rotate else self._recipients
        return Message(seq, f"{self._run_id}-{seq}", self._sender, recipients, b"")


class _Draft:
    """A message while it is being put together."""

    def __init__(self, spec: MessageSpec, seed: int, date: datetime) -> None:
        self._spec, self._date = spec, date
        self._random = random.Random(f"sendbench message {seed}")
        self._boundaries = tuple(f"=_sendbench_{self._random.randbytes(12).hex()}" for _ in range(2))
        self.recipients = (RECIPIENT_PLACEHOLDER,) if spec.rotate_recipients else spec.recipients

    def parts(self) -> Parts:
        spec = self._spec
        text = _lines(spec.text or "")
        if spec.text is None and spec.size_bytes is None:
            text = _lines(filler(200, self._random).decode())
        mime, padding = self._sized(text)
        return Parts(
            sender=spec.sender,
            recipients=self.recipients,
            subject=spec.subject,
            text=_join(text, padding.replace("\r\n", "\n")),
            html=spec.html,
            headers=spec.headers,
            attachments=spec.attachments,
            key=KEY_PLACEHOLDER,
            mime=mime,
        )

    def _sized(self, text: str) -> tuple[bytes, str]:
        """The message, with filler text where it has to have a size; and that filler."""
        encoded, encoding = _encode_text(text)
        bare = self._render(encoded, encoding)
        if self._spec.size_bytes is None:
            return bare, ""
        missing = self._spec.size_bytes - len(bare)
        smallest_gap = 1 if text else 2
        if missing < 0 or 0 < missing < smallest_gap:
            least = len(bare) + (smallest_gap if missing > 0 else 0)
            raise ValueError(
                f"a message of {self._spec.size_bytes} bytes is too small; this one needs {least}"
            )
        padding = filler(missing, self._random)
        return self._render(_pad(encoded, padding), encoding), padding.decode()

    def _render(self, text: bytes, encoding: str) -> bytes:
        lines = [
            _header("From", self._spec.sender),
            b"To: " + ",\r\n ".join(self.recipients).encode(),
            _header("Subject", self._spec.subject),
            _header("Date", email.utils.format_datetime(self._date)),
            f"Message-ID: <{KEY_PLACEHOLDER}@{_KEY_DOMAIN}>".encode(),
            f"X-Sendbench-Id: {KEY_PLACEHOLDER}".encode(),
            *(_header(name, value) for name, value in self._spec.headers),
            b"MIME-Version: 1.0",
        ]
        return b"\r\n".join((*lines, self._body(text, encoding)))

    def _body(self, text: bytes, encoding: str) -> bytes:
        """The body as a MIME entity: its header lines, an empty line, its content."""
        entity = _entity("text/plain; charset=utf-8", encoding, text)
        if self._spec.html is not None:
            content, html_encoding = _encode_text(_lines(self._spec.html))
            html = _entity("text/html; charset=utf-8", html_encoding, content)
            entity = _multipart("alternative", self._boundaries[0], (entity, html))
        if self._spec.attachments:
            attached = map(_attachment, self._spec.attachments)
            entity = _multipart("mixed", self._boundaries[1], (entity, *attached))
        return entity


def filler(count: int, rng: random.Random) -> bytes:
    """`count` bytes of readable ASCII text: words, lines of at most 76 characters, CRLF at the end.

    One byte is a single letter, to be put at the end of a line. The words repeat after 64 KiB.
    """
    if count < 3:
        return (b"", b"x", b"\r\n")[count]
    lines: list[str] = []
    line, length = "", 0
    while length < min(count, _FILLER_BLOCK):
        word = rng.choice(_WORDS)
        if len(line) + 1 + len(word) > FOLD_AT - 1:  # one short, for the letter put in below
            lines.append(line)
            length += len(line) + 2
            line = word
        else:
            line = f"{line} {word}" if line else word
    block = ("\r\n".join(lines) + "\r\n").encode()
    cut = (block * (count // len(block) + 1))[: count - 2]
    if cut[-1:] in (b"\r", b" "):
        cut = cut[:-1] + b"x"
    return cut + b"\r\n"


def _pad(text: bytes, padding: bytes) -> bytes:
    if len(padding) == 1:
        return text.removesuffix(b"\r\n") + padding + b"\r\n"
    return text + padding


def _join(text: str, padding: str) -> str:
    if len(padding) == 1 and padding != "\n":
        return text.removesuffix("\n") + padding + "\n"
    return text + padding


def _lines(text: str) -> str:
    """`text` with plain line feeds, the last line ended."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if not text or text.endswith("\n") else text + "\n"


def _encode_text(text: str) -> tuple[bytes, str]:
    """Text as 7-bit bytes with CRLF, and its transfer encoding."""
    plain = text.isascii() and all(
        len(line) <= MAX_LINE and (line.isprintable() or line.replace("\t", "").isprintable())
        for line in text.split("\n")
    )
    data = text.encode("utf-8") if plain else quopri.encodestring(text.encode("utf-8"))
    return data.replace(b"\n", b"\r\n"), "7bit" if plain else "quoted-printable"


def _entity(content_type: str, encoding: str, content: bytes, *more: str) -> bytes:
    head = (f"Content-Type: {content_type}", f"Content-Transfer-Encoding: {encoding}", *more)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def _multipart(subtype: str, boundary: str, entities: Iterable[bytes]) -> bytes:
    mark = boundary.encode()
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode()
    # The CRLF before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
    return head + b"".join(b"--%b\r\n%b\r\n" % (mark, entity) for entity in entities) + b"--%b--\r\n" % mark


def _attachment(part: Attachment) -> bytes:
    kind = part.content_type
    check_media_type(kind)
    name = part.filename
    if not name or not name.isprintable() or any(c in name for c in '"\\/') or len(name) > 200:
        raise ValueError(f"{name!r} is not a plain file name")
    value = f'filename="{name}"' if name.isascii() else f"filename*=utf-8''{quote(name)}"
    content = base64.encodebytes(part.content).replace(b"\n", b"\r\n")
    return _entity(kind, "base64", content, f"Content-Disposition: attachment; {value}")


def _header(name: str, value: str) -> bytes:
    """One header line without its last CRLF, folded where it is long (RFC 5322, RFC 2047)."""
    check_header(name, value)
    if not value.isascii() or not value.replace("\t", " ").isprintable():
        encoded = email.header.Header(value, "utf-8", FOLD_AT, name).encode(linesep="\r\n")
        return f"{name}: {encoded}".encode("ascii")
    lines = [f"{name}:"]
    for word in value.split(" "):
        if len(lines[-1]) + 1 + len(word) > FOLD_AT and word and lines[-1].strip(" \t"):
            lines.append("")
        lines[-1] += " " + word
    if max(map(len, lines)) > MAX_LINE:
        raise ValueError(f"the value of header {name} has a word longer than a line may be")
    return "\r\n".join(lines).encode("ascii")


# ------------------------------------------------------------- the user's own message

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_OURS = (b"message-id", b"x-sendbench-id")
_HIDDEN = (b"bcc", b"resent-bcc")
_STRUCTURE = frozenset(
    {
        "from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version",
        "received", "return-path", "dkim-signature", "x-sendbench-id", "resent-bcc",
    }
)  # fmt: skip
"""Fields that an API has other places for, or that must not be repeated."""

_STRUCTURED = HeaderRegistry(use_default_map=False)
for _kind, _parser in {
    "content-type": ContentTypeHeader,
    "content-disposition": ContentDispositionHeader,
    "content-transfer-encoding": ContentTransferEncodingHeader,
}.items():
    _STRUCTURED.map_to_type(_kind, _parser)  # type: ignore[arg-type]  # mix-ins, made whole by the registry
_READING = email.policy.EmailPolicy(header_factory=_STRUCTURED)
"""Only what says how a body is made up is taken apart: `email` fails on some odd address fields."""


def canonical(data: bytes) -> bytes:
    """`data` with CRLF line ends only, a lone CR or LF counting as one, and a last CRLF."""
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not text.endswith(b"\n"):
        text += b"\n"
    return text.replace(b"\n", b"\r\n")


def _user_message(spec: MessageSpec, eml: bytes) -> Parts:
    """The user's message with our key in it; Bcc never travels."""
    head, _, body = canonical(eml).partition(b"\r\n\r\n")
    kept = [field for field in _fields(head) if _name(field) not in _OURS + _HIDDEN]
    key = KEY_PLACEHOLDER.encode()
    ours = [b"Message-ID: <%b@%b>" % (key, _KEY_DOMAIN.encode()), b"X-Sendbench-Id: " + key]
    mime = b"\r\n".join((*kept, *ours, b"", body))
    if not mime.endswith(b"\r\n"):
        mime += b"\r\n"
    return _derived(spec, mime)


def _fields(head: bytes) -> list[bytes]:
    """The header fields, each with its continuation lines. Raises ValueError."""
    fields: list[bytes] = []
    for line in head.removesuffix(b"\r\n").split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\r\n" + line
        elif _FIELD.match(line) and b"\0" not in line:
            fields.append(line)
        else:
            raise ValueError(f"not a mail message: {line[:60]!r} is not a header line")
    return fields


def _name(field: bytes) -> bytes:
    match = _FIELD.match(field)
    assert match is not None
    return match[1].lower()


def _derived(spec: MessageSpec, mime: bytes) -> Parts:
    """The pieces of a finished message, for APIs that want them apart."""
    message = email.message_from_bytes(mime, policy=_READING)
    assert isinstance(message, EmailMessage)
    if any(part.get_content_maintype() == "multipart" and not part.is_multipart() for part in message.walk()):
        raise ValueError("the message has a multipart entity without parts: its boundary is missing or wrong")
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    others = [(n, str(v).strip()) for n, v in message.items() if _passes(n)]
    return Parts(
        sender=spec.sender,
        recipients=(RECIPIENT_PLACEHOLDER,) if spec.rotate_recipients else spec.recipients,
        subject=str(message["Subject"] or ""),
        text=None if plain is None else _text_of(plain),
        html=None if html is None else _text_of(html),
        headers=tuple(others),
        attachments=_attachments_of(message),
        key=KEY_PLACEHOLDER,
        mime=mime,
    )


def _passes(name: str) -> bool:
    lower = name.lower()
    return lower not in _STRUCTURE and not lower.startswith("content-")


def _text_of(part: MIMEPart) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    charset = part.get_content_charset("utf-8")
    try:
        return payload.decode(charset, "replace").replace("\r\n", "\n")
    except (LookupError, UnicodeError):  # UnicodeError: a codec of Python's that is no charset, as `idna`
        raise ValueError(f"the message has the unknown charset {charset!r}") from None


def _attachments_of(message: EmailMessage) -> tuple[Attachment, ...]:
    if not message.is_multipart():
        return ()
    found: list[Attachment] = []
    parts: Sequence[MIMEPart] = list(message.iter_attachments())
    for number, part in enumerate(parts, 1):
        name = part.get_filename() or f"part-{number}"
        found.append(Attachment(name, part.get_content_type(), _content_of(part)))
    return tuple(found)


def _content_of(part: MIMEPart) -> bytes:
    """The bytes of a file, or of the entities inside (a forwarded message), written out as they came."""
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        return payload
    if part.get_content_maintype() == "multipart":
        return part.as_bytes(policy=email.policy.compat32)
    return b"".join(inner.as_bytes(policy=email.policy.compat32) for inner in part.iter_parts())
