"""The one place through which everything passes that might show a secret: replies, errors, notes, logs.

A secret is found in the forms in which servers and libraries echo it: as it is, in another case, percent-
encoded, escaped for JSON, HTML, Python or quoted-printable (each character on its own, so mixtures too),
in hexadecimal, and inside base64 and base64url at any of the three alignments, which covers AUTH PLAIN
(`\\0user\\0password`), AUTH LOGIN and HTTP Basic.

A secret of fewer than `SHORT` characters cannot be told from ordinary text, and masking it everywhere would
leave nothing to read. It is masked behind a word such as `password`, as a base64 token of its own, and
inside the base64 of AUTH PLAIN and HTTP Basic together with another secret.

Cut a text only after masking it: the first half of a secret is not a form of it.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Iterator

from bench.model import Auth, Secret

MASK = "***"
SHORT = 4
"""Secrets with fewer characters are only masked in context."""

_HEADER_NAME = (
    r"(?:proxy-)?authorization|(?:set-)?cookie2?|x-amz-[a-z0-9-]+"
    r"|(?:[a-z0-9]+-){0,6}(?:api-?key|access-?key|secret(?:-?key)?|token|password|signature|credentials?)"
    r"|(?:[a-z0-9]+-){0,4}auth(?:-[a-z0-9]+){0,4}"
)
_SECRET_HEADER = re.compile(_HEADER_NAME, re.IGNORECASE)
_HEADER_LINE = re.compile(
    rb"^([ \t]*(?:%b)[ \t]*:[ \t]*)[^\r\n]+" % _HEADER_NAME.encode(), re.IGNORECASE | re.MULTILINE
)
_PASSWORD_WORD = rb"(?:pass(?:word|wd)?|key|secret|token|user(?:name)?|login)"


def is_secret_header(name: str) -> bool:
    """Whether a header of this name carries a credential, whatever its value."""
    return _SECRET_HEADER.fullmatch(name.strip()) is not None


def mask_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Headers fit to be shown: the values of those that carry a credential are masked."""
    return tuple((name, MASK if is_secret_header(name) else value) for name, value in headers)


def secrets_of(auth: Auth | None) -> list[Secret]:
    """What must never be shown of these credentials: the password, and a user name kept out of the file.

    A user name written in the scenario is no secret, and often a word such as `apikey` or `resend`.
    """
    if auth is None:
        return []
    user = [auth.user] if auth.user is not None and auth.user.reference.startswith("${") else []
    return [*user, auth.password]


class Redactor:
    """Masks secrets in bytes and text. Making one compiles its patterns; using it is cheap."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        values = sorted({secret.reveal() for secret in secrets} - {""})
        self._patterns = tuple(re.compile(b"(?=(%b))" % form, re.DOTALL) for form in _forms(values))

    def finds(self, data: bytes) -> bool:
        """Whether any form of any secret is there. Quicker than `bytes` where there is seldom one."""
        return any(pattern.search(data) is not None for pattern in self._patterns)

    def bytes(self, data: bytes) -> bytes:
        """The same bytes with every form of every secret replaced by `***`."""
        spans = [match.span(1) for pattern in self._patterns for match in pattern.finditer(data)]
        return _HEADER_LINE.sub(rb"\g<1>***", _blank(data, spans) if spans else data)

    def text(self, text: str) -> str:
        """The same text with every form of every secret replaced by `***`."""
        return self.bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _blank(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    """Cut out the spans, which may overlap; one mask for each stretch they cover."""
    pieces, done = [], 0
    covered_to = -1
    for begin, end in sorted(spans):
        if begin > covered_to:
            pieces += [data[done:begin], MASK.encode()]
        covered_to = max(covered_to, end)
        done = covered_to
    return b"".join((*pieces, data[done:]))


def _forms(values: list[str]) -> Iterator[bytes]:
    """Patterns; each is searched for on its own, so that overlapping secrets are all found."""
    short = [value for value in values if len(value) < SHORT]
    for value in values:
        cases = sorted({value, value.lower(), value.upper()})
        if value in short:
            yield from _short_forms(cases)
        else:
            yield "".join(_any_escape(character) for character in value).encode("latin-1")
            yield from _base64_forms(cases)
            yield b"(?i:%b)" % b"|".join(
                case.encode("utf-8", "surrogatepass").hex().encode() for case in cases
            )
    for one, other in itertools.product(values, repeat=2):
        if one in short or other in short:
            yield from _base64_forms([f"{one}:{other}", f"\0{one}\0{other}", f"{one}\0{one}\0{other}"])


def _short_forms(cases: list[str]) -> Iterator[bytes]:
    raw = b"|".join(re.escape(case.encode("utf-8", "surrogatepass")) for case in cases)
    yield rb"(?i:%b)[\"']?[:= ]{1,3}[\"']?(?i:%b)(?!\w)" % (_PASSWORD_WORD, raw)
    for case in cases:
        token = base64.b64encode(case.encode("utf-8", "surrogatepass")).rstrip(b"=")
        yield rb"(?<![A-Za-z0-9+/_-])%b(?![A-Za-z0-9+/_-])={0,2}" % re.escape(token)


def _base64_forms(cases: list[str]) -> Iterator[bytes]:
    """What stays the same of a value's base64 wherever it stands, and digits it shares with neighbours."""
    cores = sorted({core for case in cases for core in _cores(case.encode("utf-8", "surrogatepass"))})
    if cores:
        shared = rb"[A-Za-z0-9+/_-]"
        yield rb"%b?(?:%b)%b?={0,2}" % (shared, b"|".join(map(re.escape, cores)), shared)


def _cores(value: bytes) -> Iterator[bytes]:
    for shift in range(3):
        digits = base64.b64encode(bytes(shift) + value)
        core = digits[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]
        if len(core) >= SHORT:
            yield core
            yield core.translate(_TO_URL)


_TO_URL = bytes.maketrans(b"+/", b"-_")

_HTML = {'"': "quot", "&": "amp", "<": "lt", ">": "gt", "'": "apos"}
_BACKSLASHED = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\0": "0"}


def _any_escape(character: str) -> str:
    """A pattern (one Latin-1 character a byte) for all the ways in which a character may be written."""
    faces = {character, character.lower(), character.upper()}
    ways = {way for face in faces for way in _ways(face)}
    return f"(?:{'|'.join(sorted(ways, key=lambda way: (-len(way), way)))})"


def _ways(text: str) -> Iterator[str]:
    raw = text.encode("utf-8", "surrogatepass")
    yield _quoted(raw)
    yield "(?i:" + "".join(f"[%=]{byte:02x}" for byte in raw) + ")"
    yield r"(?i:" + "".join(rf"\\x{byte:02x}" for byte in raw) + ")"
    yield r"(?i:" + "".join(rf"\\u{unit}" for unit in _utf16(text)) + ")"
    if len(text) == 1:
        yield from _code_point_ways(ord(text))
    if text in _HTML:
        yield f"&{_HTML[text]};"
    if text in _BACKSLASHED:
        yield rf"\\{_BACKSLASHED[text]}"
    if text in "\"'\\/":
        yield r"\\" + _quoted(raw)
    if text == " ":
        yield r"\+"


def _code_point_ways(point: int) -> Iterator[str]:
    yield f"(?i:&#(?:0*{point}|x0*{point:x});)"
    yield rf"(?i:\\U{point:08x})"
    if point < 0x100:
        yield rf"(?i:\\x{point:02x})"


def _quoted(raw: bytes) -> str:
    return re.escape(raw).decode("latin-1")


def _utf16(text: str) -> list[str]:
    raw = text.encode("utf-16-be", "surrogatepass")
    return [raw[at : at + 2].hex() for at in range(0, len(raw), 2)]
