"""SMTP replies, read strictly: what a server says decides what became of a message, so nothing is guessed.

Section numbers are of RFC 5321. A reply that cannot be one (`ReplyError`) ends the connection; what is odd
but clear (a line that ends with a bare LF) is read and noted.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LINE_LIMIT = 2048
"""Bytes of a line with its end. The standard asks for 512 (4.5.3.1.5), Postfix reads 2048."""
REPLY_BYTES = 65536
REPLY_LINES = 256

CODES: Final[dict[bytes, int]] = {b"%d" % code: code for code in range(200, 600)}
"""The three digits of every code that can be one (4.2.1)."""

_BEGINNINGS = b" \t+-0123456789"
"""What a line that is at least meant to be a reply begins with."""
_NUMERIC = re.compile(rb"[ \t]*[+-]?[0-9]")
_ENHANCED = re.compile(rb"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?=[ \r\n])")
_COMMON: Final[dict[bytes, str]] = {b"2.0.0 ": "2.0.0", b"2.6.0 ": "2.6.0"}


class Reply(NamedTuple):
    """A whole reply."""

    code: int
    raw: bytes
    """All its lines as they came."""
    anomaly: str | None = None
    """bare_lf: clear, but not as it should be."""


class ReplyError(Exception):
    """What came cannot be a reply; never leaves this package."""

    def __init__(self, anomaly: str, raw: bytes) -> None:
        super().__init__(anomaly)
        self.anomaly = anomaly
        """too_long | bad_code | code_mismatch | malformed"""
        self.raw = raw


class ReplyParser:
    """Cuts what a server says into replies, however it comes in pieces. Holds a bounded amount of it."""

    __slots__ = ("_anomaly", "_buffer", "_code", "_lines", "_reply_start", "_scanned")

    def __init__(self) -> None:
        self._buffer = b""
        self._scanned = 0
        """Where the line that is being read begins."""
        self._reply_start = 0
        self._lines = 0
        self._code = 0
        self._anomaly: str | None = None

    @property
    def pending(self) -> bytes:
        """What has come and is not part of a whole reply yet."""
        return self._buffer[self._reply_start :]

    def receive(self, data: bytes) -> None:
        """Take what came."""
        if self._reply_start:
            self._buffer = self._buffer[self._reply_start :]
            self._scanned -= self._reply_start
            self._reply_start = 0
        self._buffer = self._buffer + data if self._buffer else data

    def next(self) -> Reply | None:
        """The next whole reply, None where it is not all here yet. Raises ReplyError."""
        buffer = self._buffer
        while True:
            start = self._scanned
            if start < len(buffer) and buffer[start] not in _BEGINNINGS:
                raise self._error("malformed")  # not worth waiting for its end, which may never come
            end = buffer.find(b"\n", start)
            if (len(buffer) if end < 0 else end + 1) - start > LINE_LIMIT:
                raise self._error("too_long")
            if end < 0:
                return None
            self._scanned = end + 1
            if self._line(buffer[start : end + 1]):
                return self._whole()

    def _line(self, line: bytes) -> bool:
        """Take one line; whether it is the reply's last."""
        text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        if b"\r" in text:
            raise self._error("malformed")
        if len(text) == len(line) - 1:
            self._anomaly = "bare_lf"
        code = CODES.get(text[:3])
        if code is None or text[3:4] not in (b" ", b"-", b""):
            raise self._error("bad_code" if _NUMERIC.match(text) else "malformed")
        if self._lines and code != self._code:
            raise self._error("code_mismatch")
        self._code = code
        self._lines += 1
        if self._lines > REPLY_LINES or self._scanned - self._reply_start > REPLY_BYTES:
            raise self._error("too_long")
        return text[3:4] != b"-"

    def _whole(self) -> Reply:
        reply = Reply(self._code, self._buffer[self._reply_start : self._scanned], self._anomaly)
        self._reply_start, self._lines, self._anomaly = self._scanned, 0, None
        if self._scanned == len(self._buffer):
            self._buffer, self._scanned, self._reply_start = b"", 0, 0
        return reply

    def _error(self, anomaly: str) -> ReplyError:
        return ReplyError(anomaly, self.pending)


class Heard(NamedTuple):
    """Whole, well-formed replies."""

    codes: tuple[int, ...]
    raws: tuple[bytes, ...]


NOTHING_PLAIN: Final = Heard((), ())
familiar: Final[dict[bytes, Heard]] = {}
"""What servers have said before, and what it was: they repeat themselves."""
_FAMILIAR_LIMIT = 64
_FAMILIAR_BYTES = 512


def plain_replies(data: bytes) -> Heard:
    """What `data` says where it is nothing but such replies, as nearly always; else `NOTHING_PLAIN`."""
    lines = data.split(b"\r\n")
    ends = len(lines) - 1
    if lines[-1] or data.count(b"\n") != ends or data.count(b"\r") != ends:
        return NOTHING_PLAIN
    codes = []
    for line in lines[:-1]:
        code = CODES.get(line[:3])
        if code is None or line[3:4] != b" " or len(line) > LINE_LIMIT - 2:
            return NOTHING_PLAIN
        codes.append(code)
    heard = Heard(tuple(codes), tuple([line + b"\r\n" for line in lines[:-1]]))
    remember(data, heard)
    return heard


def remember(data: bytes, heard: Heard) -> None:
    """Know it at sight from now on, if there is room."""
    if len(familiar) < _FAMILIAR_LIMIT and len(data) <= _FAMILIAR_BYTES:
        familiar[data] = heard


def enhanced_code(raw: bytes) -> str | None:
    """The enhanced status code of a reply (RFC 3463), if it has one."""
    common = _COMMON.get(raw[4:10])
    if common is not None:
        return common
    match = _ENHANCED.match(raw, 4)
    return None if match is None else match[0].decode("ascii")


def text_of(raw: bytes, limit: int, skip: int = 4) -> str:
    """A reply's text for notes: without code and line end of its first line, escaped, cut."""
    return raw[skip:].rstrip(b"\r\n").decode("utf-8", "backslashreplace")[:limit]
