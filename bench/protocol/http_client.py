"""HTTP/1.1, the client's side of a response: bytes in, `Reply` out; no sockets, no clock.

llhttp (by httptools) judges every byte, strictly: no bare LF, no folded lines, no Content-Length twice or
beside Transfer-Encoding. What it does not tell is where a response ends in the bytes it was given, which
is what shows bytes that nobody asked for. So it is fed no further than to a place where one can end: the
head, a counted body, one line of a chunked one. It gets no callback for headers; most of them are never
read, and a head that llhttp has passed is safe to search.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import httptools

HEAD_LIMIT = 64 * 1024
"""Bytes of a status line with its headers."""
HEADERS_LIMIT = 256
BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a body as it travels, with the framing of its chunks."""
INTERIM_LIMIT = 8
"""Answers of the 1xx kind that are skipped before one response."""

COMMON_LIMIT: Final = 1024
"""Bytes of a head that is read at once; there is no room in it for too many headers."""

_END: Final = b"\r\n\r\n"
_SUCCESSES: Final = {b"HTTP/1.1 %d " % status: status for status in (200, 201, 202)}


class ResponseError(Exception):
    """The other side does not speak HTTP/1.x, or more of it than we listen to; the connection is lost."""

    def __init__(self, anomaly: str, status: int | None = None) -> None:
        super().__init__(anomaly)
        self.anomaly = anomaly
        """`malformed` or `too_long`"""
        self.status = status
        """That of the response, where its head was in order."""


@cache
def _key(name: str) -> bytes:
    """What stands before the value of a header; asked with names of ours only, so they are few."""
    return f"\r\n{name}:".encode("latin-1")


class Head:
    """Status line and headers, searched only when somebody asks. Names are given in lower case."""

    __slots__ = ("_lower", "_raw", "status")

    def __init__(self, raw: bytes, status: int) -> None:
        self._raw, self._lower, self.status = raw, raw.lower(), status

    @property
    def version(self) -> str:
        """`1.1` or `1.0`."""
        return self._raw[5:8].decode("ascii")

    def first(self, name: str) -> bytes | None:
        """The value of the first header of that name."""
        key = _key(name)
        at = self._lower.find(key)
        return None if at < 0 else self._value(at + len(key))

    def all(self, name: str) -> list[bytes]:
        """The values of all headers of that name."""
        found, key = [], _key(name)
        at = self._lower.find(key)
        while at >= 0:
            at += len(key)
            found.append(self._value(at))
            at = self._lower.find(key, at)
        return found

    def items(self) -> list[tuple[bytes, bytes]]:
        """All headers in their order."""
        lines = self._raw.split(b"\r\n")[1:-2]
        pairs = (line.partition(b":") for line in lines)
        return [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]

    def keeps_alive(self) -> bool:
        """Whether the server says that it keeps the connection (RFC 9112 section 9.3)."""
        persistent = self._raw.startswith(b"HTTP/1.1")
        if persistent and not self.may_close():
            return True
        options = {each.strip(b" \t") for each in b",".join(self.all("connection")).lower().split(b",")}
        return b"close" not in options and (persistent or b"keep-alive" in options)

    def may_close(self) -> bool:
        """Whether something in it could be a `Connection: close`."""
        return self._lower.find(b"close") >= 0

    def _value(self, at: int) -> bytes:
        return self._raw[at : self._raw.find(b"\r\n", at)].strip(b" \t")


class Reply(NamedTuple):
    """A whole response."""

    head: Head
    body: bytes
    kept: bool
    """Whether the connection can take another request."""
    extra: bool
    """Whether bytes came after its end, in the same breath."""

    @property
    def status(self) -> int:
        """That of the status line."""
        return self.head.status

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name, else None."""
        value = self.head.first(name)
        return None if value is None else value.decode("latin-1")

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of that (lower-case) header."""
        return tuple([value.decode("latin-1") for value in self.head.all(name)])


class _Events:
    """What llhttp tells. Apart from the reader, so that no circle has to be collected."""

    __slots__ = ("body", "complete", "on_body")

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.on_body = self.body.append
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class ResponseReader:
    """Reads one response after another from a connection, each to a request that has been sent."""

    __slots__ = (
        "_between", "_events", "_familiar", "_familiar_bytes", "_feed", "_framing", "_head", "_interim",
        "_left", "_partial",
    )  # fmt: skip

    def __init__(self) -> None:
        self._events = _Events()
        self._feed = httptools.HttpResponseParser(self._events).feed_data
        self._between = True
        """Whether nothing has come since the last response, not even a 1xx answer."""
        self._familiar: Reply | None = None
        """The last response that came in one piece and left the connection fit for another."""
        self._familiar_bytes: bytes | None = None
        self._partial = b""
        """Of a head."""
        self._head: Head | None = None
        """That of the response whose body is being read."""
        self._framing = ""
        """How the body ends: `length`, `chunked` or `close`."""
        self._left = 0
        """Bytes that the body has still to come (length), or may (otherwise)."""
        self._interim = 0

    @property
    def begun(self) -> bool:
        """Whether something of the response has come; 1xx answers before it do not count."""
        return self._head is not None or bool(self._partial)

    def receive(self, data: bytes) -> Reply | None:
        """The response, once its last byte has come. Raises ResponseError, after which there is none.

        What a reader makes of bytes depends on nothing but the bytes since the last response, so the same
        bytes again are the same response: the same object, by which a caller knows it, too.
        """
        if not self._between:
            return self._read(data)
        if data == self._familiar_bytes:
            return self._familiar
        self._between = False
        reply = self._at_once(data) or self._read(data)
        if reply is not None and reply.kept:
            self._familiar_bytes, self._familiar = data, reply
        return reply

    def end(self) -> Reply | None:
        """No more will come, in good order: the response that ends by that, if that is how it ends."""
        if self._head is None or self._framing != "close":
            return None
        return self._finished(self._head, kept=False, extra=False)

    def _at_once(self, data: bytes) -> Reply | None:
        """What nearly always comes: a head in its common form and its counted body, all of it and no more.
        None where it is anything else, which then goes the long way; what this finds, that would find too."""
        status, end = _SUCCESSES.get(data[:13]), data.find(_END) + 4
        if status is None or not 4 <= end <= COMMON_LIMIT or len(data) > BODY_LIMIT:
            return None
        head = Head(data[:end], status)
        length = head.first("content-length")
        if length is None or not length.isdigit() or end + int(length) != len(data) or head.may_close():
            return None
        self._parse(data)
        assert self._events.complete
        return self._finished(head, kept=True, extra=False)

    def _read(self, data: bytes) -> Reply | None:
        while self._head is None:
            if not data and not self._partial:
                return None
            end = self._read_head(data)
            if end is None:
                return None
            head = self._headed()
            if head is not None and self._events.complete:
                return self._finished(head, kept=head.keeps_alive(), extra=end < len(data))
            self._head = head
            data = data[end:]
        return self._read_body(self._head, data)

    # --------------------------------------------------------------------------- the head

    def _read_head(self, data: bytes) -> int | None:
        """Where the head ends in these bytes; `_partial` is then the whole of it."""
        seen = len(self._partial)
        self._partial = head = self._partial + data if seen else data
        if head[0] != 0x48:  # H; llhttp would skip empty lines
            raise ResponseError("malformed")
        end = head.find(_END, seen - 3 if seen > 3 else 0) + 4
        found = end >= 4
        if found and end <= HEAD_LIMIT:
            self._partial = head[:end]
            self._parse(data[: end - seen])
            return end - seen
        self._parse(data[: HEAD_LIMIT - seen])
        if found or len(head) >= HEAD_LIMIT:
            raise ResponseError("too_long")
        return None

    def _headed(self) -> Head | None:
        """What a whole head means: a response, or a 1xx that is skipped."""
        raw, self._partial = self._partial, b""
        if not raw.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
            raise ResponseError("malformed")
        if len(raw) > 4 * HEADERS_LIMIT and raw.count(b"\r\n") > HEADERS_LIMIT + 2:  # none is shorter than 4
            raise ResponseError("too_long")
        head = Head(raw, int(raw[9:12]))
        if head.status < 200:
            self._skip(head.status)
            return None
        if not self._events.complete:
            self._frame(head)
        return head

    def _skip(self, status: int) -> None:
        self._interim += 1
        if status < 100 or status == 101:  # nobody asked for another protocol
            raise ResponseError("malformed", status)
        if self._interim > INTERIM_LIMIT:
            raise ResponseError("too_long", status)
        self._events.complete = False

    def _frame(self, head: Head) -> None:
        """Where the body will end (RFC 9112 section 6.3); what contradicts itself, llhttp has refused."""
        length, codings = head.first("content-length"), head.all("transfer-encoding")
        if length is not None:
            self._framing, self._left = "length", int(length)
            if self._left > BODY_LIMIT:
                raise ResponseError("too_long", head.status)
            return
        self._framing, self._left = "chunked" if codings else "close", BODY_LIMIT
        if codings and [each.lower() for each in codings] != [b"chunked"]:
            raise ResponseError("malformed", head.status)  # a coding that we did not offer to read

    # --------------------------------------------------------------------------- the body

    def _read_body(self, head: Head, data: bytes) -> Reply | None:
        if self._framing == "chunked":
            return self._read_chunks(head, data)
        taken = data[: self._left]
        self._left -= len(taken)
        self._parse(taken)
        if self._framing == "length":
            if self._left:
                return None
            return self._finished(head, kept=head.keeps_alive(), extra=len(data) > len(taken))
        if len(data) > len(taken):
            raise ResponseError("too_long", head.status)
        return None

    def _read_chunks(self, head: Head, data: bytes) -> Reply | None:
        """Line by line, as the last one can only end with a line's end."""
        at = 0
        while at < len(data):
            end = data.find(b"\n", at) + 1 or len(data)
            stop = min(end, at + self._left)
            self._parse(data[at:stop])
            self._left -= stop - at
            if self._events.complete:
                # HTTP/1.0 knows no chunks, so who sends them is not to be trusted with more (section 6.1)
                kept = head.keeps_alive() and head.version == "1.1"
                return self._finished(head, kept=kept, extra=end < len(data))
            if stop < end:
                raise ResponseError("too_long", head.status)
            at = end
        return None

    def _finished(self, head: Head, *, kept: bool, extra: bool) -> Reply:
        events, pieces = self._events, self._events.body
        body = b"".join(pieces)
        pieces.clear()
        events.complete, self._head, self._interim, self._between = False, None, 0, True
        return Reply(head, body, kept and not extra, extra)

    def _parse(self, data: bytes) -> None:
        try:
            self._feed(data)
        except httptools.HttpParserError:
            status = None if self._head is None else self._head.status
            raise ResponseError("malformed", status) from None
        except httptools.HttpParserUpgrade:
            raise ResponseError("malformed") from None
