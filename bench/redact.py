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
import logging
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TextIO

from bench.model import Auth, Case, Secret

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


def secrets_of_case(case: Case) -> list[Secret]:
    """Those of its credentials, and what its message's own header carries under such a name."""
    carried = [Secret(value) for name, value in case.message.headers if is_secret_header(name)]
    return secrets_of(case.auth) + carried


class Redactor:
    """Masks secrets in bytes and text. Making one compiles its patterns; using it is cheap."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        values = sorted({secret.reveal() for secret in secrets} - {""})
        self._forms = tuple(_forms(values))
        self._patterns = tuple(re.compile(b"(?=(%b))" % form.pattern, re.DOTALL) for form in self._forms)
        self._escape = _escape_of("".join(values))

    def finds(self, data: bytes) -> bool:
        """Whether any form of any secret is there. Much quicker than `bytes` where there is seldom one."""
        folded = data.lower()
        escaped = self._escape.search(folded) is not None
        return any(
            form.may_be_in(data, folded, escaped) and pattern.search(data) is not None
            for form, pattern in zip(self._forms, self._patterns, strict=True)
        )

    def bytes(self, data: bytes) -> bytes:
        """The same bytes with every form of every secret replaced by `***`."""
        spans = [match.span(1) for pattern in self._patterns for match in pattern.finditer(data)]
        return _HEADER_LINE.sub(rb"\g<1>***", _blank(data, spans) if spans else data)

    def text(self, text: str) -> str:
        """The same text with every form of every secret replaced by `***`."""
        return self.bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


class MaskedStream:
    """A text stream that masks secrets in whatever is written to it, tracebacks as well."""

    buffer = None
    """Nobody shall write bytes past the mask."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream, self._redactor = stream, redactor

    def write(self, text: str) -> int:
        """Write the text, masked; its whole length."""
        self._stream.write(self._redactor.text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the lines, masked."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


TALKATIVE = ("asyncio", "httpx", "httpcore", "httpx2", "httpcore2", "hpack", "h11", "uvicorn")
"""Loggers of libraries that tell whole URLs, headers or arguments to whoever listens below WARNING."""


def quiet_libraries() -> None:
    """Keep other people's loggers at WARNING, whatever level the program around us has set for all."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


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


class _Form(NamedTuple):
    """A pattern, and what is quicker to look for than the pattern."""

    pattern: bytes
    needles: tuple[bytes, ...] = (b"",)
    """Every match holds one of these, unless it holds an escape and `escapes`."""
    folded: bool = False
    """The needles are in lower case, and so has to be what they are looked for in."""
    escapes: bool = False

    def may_be_in(self, data: bytes, folded: bytes, escaped: bool) -> bool:
        if self.escapes and escaped:
            return True
        hay = folded if self.folded else data
        return any(needle in hay for needle in self.needles)


def _forms(values: list[str]) -> Iterator[_Form]:
    """Patterns; each is searched for on its own, so that overlapping secrets are all found."""
    short = [value for value in values if len(value) < SHORT]
    for value in values:
        cases = sorted({value, value.lower(), value.upper()})
        if value in short:
            yield from _short_forms(cases)
        else:
            escaped = "".join(_any_escape(character) for character in value).encode("latin-1")
            yield _Form(escaped, (_longest_ascii(value),), folded=True, escapes=True)
            yield from _base64_forms(cases)
            digits = tuple(case.encode("utf-8", "surrogatepass").hex().encode() for case in cases)
            yield _Form(b"(?i:%b)" % b"|".join(digits), digits, folded=True)
    for one, other in itertools.product(values, repeat=2):
        if one in short or other in short:
            yield from _base64_forms([f"{one}:{other}", f"\0{one}\0{other}", f"{one}\0{one}\0{other}"])


def _longest_ascii(value: str) -> bytes:
    """What stands in the text in one case or another if nothing of the value is escaped."""
    runs: list[str] = re.findall(r"[\0-\x7f]*", value)
    return max(runs, key=len).lower().encode()


def _escape_of(characters: str) -> re.Pattern[bytes]:
    """Finds where one of the characters may be escaped, in lower case.

    It begins with a set of bytes, for which the regex engine looks without trying the rest.
    """
    faces = characters + characters.lower() + characters.upper()
    codes = sorted({f"{byte:02x}".encode() for byte in faces.encode("utf-8", "surrogatepass")})
    space = rb"|(?<=\+)" if " " in characters else b""
    return re.compile(
        rb"[%%=&\\+](?:(?<=[%%=])(?:%b)|(?<=&)[#a-z]|(?<=\\)%b)" % (b"|".join(codes) or b"(?!)", space)
    )


def _short_forms(cases: list[str]) -> Iterator[_Form]:
    raw = b"|".join(re.escape(case.encode("utf-8", "surrogatepass")) for case in cases)
    yield _Form(rb"(?i:%b)[\"']?[:= ]{1,3}[\"']?(?i:%b)(?!\w)" % (_PASSWORD_WORD, raw))
    for case in cases:
        token = base64.b64encode(case.encode("utf-8", "surrogatepass")).rstrip(b"=")
        pattern = rb"(?<![A-Za-z0-9+/_-])%b(?![A-Za-z0-9+/_-])={0,2}" % re.escape(token)
        yield _Form(pattern, (token,))


def _base64_forms(cases: list[str]) -> Iterator[_Form]:
    """What stays the same of a value's base64 wherever it stands, and digits it shares with neighbours."""
    cores = sorted({core for case in cases for core in _cores(case.encode("utf-8", "surrogatepass"))})
    if cores:
        shared = rb"[A-Za-z0-9+/_-]"
        yield _Form(rb"%b?(?:%b)%b?={0,2}" % (shared, b"|".join(map(re.escape, cores)), shared), tuple(cores))


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
