"""The client's side of HTTP/1.1 on bytes alone: framing, limits, hostile servers, every way to split."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.protocol.http_client import (
    BODY_LIMIT,
    HEAD_LIMIT,
    HEADERS_LIMIT,
    Head,
    ResponseError,
    ResponseReader,
)

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

Result = tuple[object, ...]


def read(pieces: Iterable[bytes], *, end: bool = False) -> Result:
    """(status, body, kept, extra), (anomaly, status), or what the reader still waits for."""
    reader, late = ResponseReader(), False
    found = None
    try:
        for piece in pieces:
            if found is not None:
                late = True  # the session sees these as bytes that nobody asked for
                break
            found = reader.receive(piece)
        if found is None and end:
            found = reader.end()
    except ResponseError as error:
        return error.anomaly, error.status
    if found is None:
        return ("begun",) if reader.begun else ("waiting",)
    extra = found.extra or late
    return found.head.status, found.body, found.kept and not extra, extra


def bytewise(data: bytes) -> list[bytes]:
    return [bytes((each,)) for each in data]


def accepted(body: bytes = b"", *, status: int = 200, kept: bool = True, extra: bool = False) -> Result:
    return status, body, kept, extra


MALFORMED: Result = ("malformed", None)
BAD_BODY: Result = ("malformed", 200)
MANY = b"".join(b"X-%d: y\r\n" % number for number in range(HEADERS_LIMIT - 1))

ANSWERS = {
    "empty": (OK + EMPTY, accepted()),
    "body": (OK + b"content-LENGTH:  5 \r\n\r\nhello", accepted(b"hello")),
    "no reason": (b"HTTP/1.1 202\r\n" + EMPTY, accepted(status=202)),
    "empty value": (OK + b"X-Empty:\r\n" + EMPTY, accepted()),
    "obs-text": (OK + b"X-A: \xe9\r\n" + EMPTY, accepted()),
    "value says close": (OK + b"X-A: close\r\n" + EMPTY, accepted()),
    "204": (b"HTTP/1.1 204 No\r\n\r\n", accepted(status=204)),
    "304 with a length": (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", accepted(status=304)),
    "204 with a body": (
        b"HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\nhi",
        accepted(status=204, kept=False, extra=True),
    ),
    "upgrade refused": (OK + b"Upgrade: x\r\nConnection: upgrade\r\n" + EMPTY, accepted()),
    "most headers": (OK + MANY + EMPTY, accepted()),
    "longest head": (OK + b"X: " + b"y" * (HEAD_LIMIT - len(OK + EMPTY) - 5) + b"\r\n" + EMPTY, accepted()),
    # --- how it ends
    "chunked": (OK + CHUNKED + b"3\r\nabc\r\n2;x=y\r\n\n\n\r\n0\r\n\r\n", accepted(b"abc\n\n")),
    "chunked in capitals": (OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n", accepted()),
    "trailers": (OK + CHUNKED + b"1\r\na\r\n0\r\nX-T: v\r\nX-U:\r\n\r\n", accepted(b"a")),
    "a chunk like an end": (OK + CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", accepted(b"0\r\n\r\n")),
    # --- interim
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + EMPTY, accepted()),
    "103 with headers": (b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + OK + EMPTY, accepted()),
    "eight interim": (b"HTTP/1.1 100 C\r\n\r\n" * 8 + OK + EMPTY, accepted()),
    "nine interim": (b"HTTP/1.1 100 C\r\n\r\n" * 9 + OK + EMPTY, ("too_long", 100)),
    "interim only": (b"HTTP/1.1 100 C\r\n\r\n", ("waiting",)),
    "101": (b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", MALFORMED),
    "101 unasked": (b"HTTP/1.1 101 S\r\n\r\n", MALFORMED),
    "099": (b"HTTP/1.1 099 S\r\n\r\n", ("malformed", 99)),
    # --- kept or not
    "close": (OK + b"Connection: close\r\n" + EMPTY, accepted(kept=False)),
    "close among others": (OK + b"Connection: x\r\nConnection: y , CLOSE\r\n" + EMPTY, accepted(kept=False)),
    "1.0": (b"HTTP/1.0 200 OK\r\n" + EMPTY, accepted(kept=False)),
    "1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + EMPTY, accepted()),
    "1.0 both": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n" + EMPTY, accepted(kept=False)),
    "1.0 chunked": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CHUNKED + b"0\r\n\r\n",
        accepted(kept=False),
    ),
    # --- bytes that nobody asked for
    "two answers": (OK + EMPTY + OK + EMPTY, accepted(kept=False, extra=True)),
    "garbage after": (OK + EMPTY + b"x", accepted(kept=False, extra=True)),
    "an empty line after": (OK + EMPTY + b"\r\n", accepted(kept=False, extra=True)),
    "more than its length": (OK + b"Content-Length: 2\r\n\r\nabc", accepted(b"ab", kept=False, extra=True)),
    "empty line after chunks": (OK + CHUNKED + b"0\r\n\r\n\r\n", accepted(kept=False, extra=True)),
    "answer after chunks": (OK + CHUNKED + b"0\r\n\r\n" + OK, accepted(kept=False, extra=True)),
    # --- unfinished
    "nothing": (b"", ("waiting",)),
    "half a head": (OK, ("begun",)),
    "half a body": (OK + b"Content-Length: 9\r\n\r\nhalf", ("begun",)),
    "half a chunk": (OK + CHUNKED + b"9\r\nhalf", ("begun",)),
    "no last chunk": (OK + CHUNKED + b"1\r\na\r\n", ("begun",)),
    "no end of trailers": (OK + CHUNKED + b"0\r\nX: y\r\n", ("begun",)),
    # --- malformed
    "SMTP": (b"220 hello\r\n", MALFORMED),
    "nonsense": (b"nonsense\r\n\r\n", MALFORMED),
    "lower case": (b"http/1.1 200 OK\r\n" + EMPTY, MALFORMED),
    "empty line first": (b"\r\n" + OK + EMPTY, MALFORMED),
    "2.0": (b"HTTP/2.0 200 OK\r\n" + EMPTY, MALFORMED),
    "0.9": (b"HTTP/0.9 200 OK\r\n" + EMPTY, MALFORMED),
    "status of two": (b"HTTP/1.1 20 OK\r\n" + EMPTY, MALFORMED),
    "status of four": (b"HTTP/1.1 2000 OK\r\n" + EMPTY, MALFORMED),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", MALFORMED),
    "bare CR": (OK + b"X: a\rb\r\n" + EMPTY, MALFORMED),
    "folded": (OK + b"X: a\r\n b\r\n" + EMPTY, MALFORMED),
    "NUL": (OK + b"X: a\0\r\n" + EMPTY, MALFORMED),
    "control": (OK + b"X: a\x1b\r\n" + EMPTY, MALFORMED),
    "space before colon": (OK + b"X : a\r\n" + EMPTY, MALFORMED),
    "no colon": (OK + b"X\r\n" + EMPTY, MALFORMED),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", MALFORMED),
    "list of lengths": (OK + b"Content-Length: 5, 6\r\n\r\nhello!", MALFORMED),
    "signed length": (OK + b"Content-Length: +5\r\n\r\nhello", MALFORMED),
    "underscored length": (OK + b"Content-Length: 1_0\r\n\r\nhello", MALFORMED),
    "no length": (OK + b"Content-Length:\r\n\r\n", MALFORMED),
    "endless length": (OK + b"Content-Length: %b\r\n\r\n" % (b"9" * 40), MALFORMED),
    "length and chunks": (OK + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n", MALFORMED),
    "chunks and length": (OK + b"Transfer-Encoding: chunked\r\n" + EMPTY, MALFORMED),
    "gzip": (OK + b"Transfer-Encoding: gzip\r\n\r\nx", BAD_BODY),
    "gzip, chunked": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BAD_BODY),
    "chunked twice": (OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n", BAD_BODY),
    "xchunked": (OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", BAD_BODY),
    "negative chunk": (OK + CHUNKED + b"-1\r\na\r\n0\r\n\r\n", BAD_BODY),
    "endless chunk": (OK + CHUNKED + b"f" * 17 + b"\r\n", BAD_BODY),
    "chunk too long": (OK + CHUNKED + b"1\r\nab\r\n0\r\n\r\n", BAD_BODY),
    "chunk with bare LF": (OK + CHUNKED + b"1\na\n0\n\n", BAD_BODY),
    "bad trailer": (OK + CHUNKED + b"0\r\nX\r\n\r\n", BAD_BODY),
    "length in trailer": (OK + CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", BAD_BODY),
    # --- too long
    "one header more": (OK + MANY + b"Y: z\r\n" + EMPTY, ("too_long", None)),
    "one byte more": (
        OK + b"X: " + b"y" * (HEAD_LIMIT - len(OK + EMPTY) - 4) + b"\r\n" + EMPTY,
        ("too_long", None),
    ),
    "endless header": (OK + b"X: " + b"y" * HEAD_LIMIT, ("too_long", None)),
    "length over the limit": (OK + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), ("too_long", 200)),
}


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Some ways to cut it, the same each time; byte by byte where that is no waste of time."""
    if len(data) < 6000:
        yield bytewise(data)
    numbers = random.Random(len(data))
    for count in (1, 1, 2, 3, 5):
        cuts = sorted(numbers.randrange(len(data) + 1) for _ in range(count))
        yield [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


@pytest.mark.parametrize(("data", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_however_it_is_split(data: bytes, expected: Result) -> None:
    assert read([data] if data else []) == expected
    for pieces in splits(data):
        assert read(pieces) == expected


@pytest.mark.parametrize("cut", [-3, -2, -1])
def test_an_end_of_the_head_in_two_pieces_is_found(cut: int) -> None:
    data = OK + b"Content-Length: 4\r\n\r\n"
    assert read([data[:cut], data[cut:] + b"\r\n\r\n"]) == accepted(b"\r\n\r\n")


# ---------------------------------------------------------------------------- the end of file


@pytest.mark.parametrize(
    "head", [OK + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n", OK + b"Connection: close\r\n\r\n"]
)
def test_a_body_may_end_with_the_connection(head: bytes) -> None:
    for pieces in ([head + b"hello"], [head, b"hello"], bytewise(head + b"hello")):
        assert read(pieces) == ("begun",)
        assert read(pieces, end=True) == accepted(b"hello", kept=False)
    assert read([head], end=True) == accepted(kept=False)


@pytest.mark.parametrize(
    "data", [b"", OK, OK + b"Content-Length: 9\r\n\r\nhalf", OK + CHUNKED + b"1\r\na\r\n"], ids=len
)
def test_the_end_of_the_connection_does_not_complete_anything_else(data: bytes) -> None:
    assert read([data] if data else [], end=True) in (("begun",), ("waiting",))


# ------------------------------------------------------------------------------------- limits


def chunks(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_body_up_to_the_limit_is_read_and_none_above() -> None:
    body = b"x" * BODY_LIMIT
    length = OK + b"Content-Length: %d\r\n\r\n" % BODY_LIMIT
    assert read([length + body]) == accepted(body)
    assert read([OK + b"\r\n" + body], end=True) == accepted(body, kept=False)
    assert read([OK + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1) + body + b"x"]) == ("too_long", 200)
    assert read([OK + b"\r\n" + body + b"x"]) == ("too_long", 200)
    assert read([OK + b"\r\n" + body, b"x"]) == ("too_long", 200)


def test_the_framing_of_chunks_counts() -> None:
    inner = BODY_LIMIT - len(b"xxxxx\r\n" + b"\r\n0\r\n\r\n")
    fits = chunks(b"x" * inner, BODY_LIMIT)
    assert len(fits) == BODY_LIMIT
    assert read([OK + CHUNKED + fits]) == accepted(b"x" * inner)
    over = chunks(b"x" * (inner + 1), BODY_LIMIT)
    for pieces in ([OK + CHUNKED + over], [OK + CHUNKED, over[:-1], over[-1:]]):
        assert read(pieces) == ("too_long", 200)


def test_chunks_of_one_byte_and_endless_extensions_are_bounded() -> None:
    assert read([OK + CHUNKED + b"1\r\n\n\r\n" * (BODY_LIMIT // 6 + 1)]) == ("too_long", 200)
    assert read([OK + CHUNKED + b"1;" + b"x" * BODY_LIMIT]) == ("too_long", 200)


# --------------------------------------------------------------------- one after another


def test_a_reader_starts_each_answer_afresh() -> None:
    reader = ResponseReader()
    interim = b"HTTP/1.1 100 C\r\n\r\n" * 8
    one = interim + OK + CHUNKED + b"1\r\na\r\n0\r\nX-T: v\r\n\r\n"
    two = interim + OK + b"Content-Length: 1\r\n\r\nb"
    three = b"HTTP/1.1 204 N\r\nX-T: w\r\n\r\n"
    for data, body in ((one, b"a"), (two, b"b"), (three, b""), (two, b"b")):
        reply = reader.receive(data)
        assert reply is not None
        assert (reply.body, reply.kept, reader.begun) == (body, True, False)
        assert reply.head.first("x-t") == (b"w" if data is three else None)


def test_the_same_bytes_again_are_the_same_reply() -> None:
    reader, data = ResponseReader(), OK + b"Content-Length: 2\r\n\r\nhi"
    first, again = reader.receive(data), reader.receive(data)
    assert first is not None
    assert again is first
    other = reader.receive(data.replace(b"hi", b"ho"))
    assert (other and other.body, reader.begun) == (b"ho", False)


def test_the_same_bytes_in_the_middle_of_a_response_are_its_body() -> None:
    reader, familiar = ResponseReader(), OK + EMPTY
    assert reader.receive(familiar) is not None
    assert reader.receive(OK + b"Content-Length: %d\r\n\r\n" % len(familiar)) is None
    reply = reader.receive(familiar)
    assert reply is not None
    assert reply.body == familiar


def test_the_same_bytes_after_a_1xx_answer_end_its_count() -> None:
    reader, familiar = ResponseReader(), OK + EMPTY
    for _ in range(3):  # more than the limit of one response in all
        assert reader.receive(familiar) is not None
        assert reader.receive(b"HTTP/1.1 100 C\r\n\r\n" * 7) is None
        assert not reader.begun
        assert reader.receive(familiar) is not None


def test_nothing_is_familiar_after_a_response_that_closes() -> None:
    reader, data = ResponseReader(), OK + b"Connection: close\r\n" + EMPTY
    reply = reader.receive(data)
    assert reply is not None
    assert not reply.kept
    with pytest.raises(ResponseError, match="malformed"):
        reader.receive(data)


def test_headers_are_found_as_written() -> None:
    head = Head(OK + b"X-Id:  a b \t\r\nNote: x-id: no\r\nx-ID: c\r\nX-Empty:\r\n\r\n", 200)
    assert head.first("x-id") == b"a b"
    assert head.all("x-id") == [b"a b", b"c"]
    assert (head.first("x-empty"), head.first("id"), head.all("x")) == (b"", None, [])
    assert head.items() == [(b"x-id", b"a b"), (b"note", b"x-id: no"), (b"x-id", b"c"), (b"x-empty", b"")]
    assert head.version == "1.1"


# ------------------------------------------------------------------- against another reader

TOKEN = st.text("abcXYZ-", min_size=1, max_size=8).map(lambda text: f"X-{text}".encode())
VALUE = st.text("abc close,:\xe9", max_size=12).map(lambda text: text.strip().encode("latin-1"))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A valid response of any kind, 1xx answers before it included."""
    version = draw(st.sampled_from([b"1.0", b"1.1", b"1.1"]))
    status = draw(st.sampled_from([200, 202, 204, 302, 304, 400, 429, 500, 503]))
    headers = draw(st.lists(st.tuples(TOKEN, VALUE), max_size=4))
    options = [b"close", b"keep-alive", b"x, Close"]
    headers += [(b"Connection", each) for each in draw(st.lists(st.sampled_from(options), max_size=1))]
    body = b"" if status in (204, 304) else draw(st.binary(max_size=40))
    framing = draw(
        st.sampled_from(["length", "chunked", "close"] if version == b"1.1" else ["length", "close"])
    )
    if status in (204, 304):
        framing = "none"
    if framing == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    if framing == "chunked":
        headers.append((b"Transfer-Encoding", b"chunked"))
        body = chunks(body, draw(st.integers(1, 12)))
    interim = draw(st.integers(0, 2)) * b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" if version == b"1.1" else b""
    lines = b"".join(b"%b: %b\r\n" % each for each in draw(st.permutations(headers)))
    return interim + b"HTTP/%b %d Reason\r\n%b\r\n%b" % (version, status, lines, body)


def read_with_h11(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    head, body = None, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
    assert head is not None
    return head.status_code, list(head.headers), body


@settings(max_examples=500)
@given(responses(), st.randoms(use_true_random=False))
def test_valid_responses_are_read_as_h11_reads_them(data: bytes, numbers: random.Random) -> None:
    status, headers, body = read_with_h11(data)
    cuts = sorted(numbers.randrange(len(data) + 1) for _ in range(3))
    for pieces in ([data], [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]):
        reader = ResponseReader()
        replies = [reader.receive(piece) for piece in pieces]
        reply = replies[-1] or reader.end()
        assert reply is not None
        assert (reply.head.status, reply.head.items(), reply.body) == (status, headers, body)
        assert not reply.extra


PIECES = [b"\r\n", b"\n", b"\r", b" ", b":", b",", b"0", b"5", b"\0", b"close", b"HTTP/1.1 204 ", b"hello"]
PIECES += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"\r\n\r\n"]
COMMON = [
    OK + b"Content-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 202 Accepted\r\nServer: x\r\nConnection: keep-alive\r\nX-Message-Id: a\r\n" + EMPTY,
    *(data for data, _ in ANSWERS.values() if len(data) < 500),
]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """An answer of the corpus, or the kind that nearly always comes, with up to three small changes."""
    data = draw(st.sampled_from(COMMON[:2]) | st.sampled_from(COMMON))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from([0, 0, 1, 2]))
        data = data[:at] + draw(st.sampled_from(PIECES)) + data[at + gone :]
    return data


@settings(max_examples=1000)
@given(mutations())
def test_the_short_ways_find_what_the_long_way_finds(data: bytes) -> None:
    """Byte by byte only the long way is gone; what is familiar is known only where it came in one piece."""
    expected = read(bytewise(data), end=True)
    assert read([data] if data else [], end=True) == expected
    if len(expected) != 4 or not expected[2]:
        return  # nothing follows it on the connection
    long, short = ResponseReader(), ResponseReader()
    for _ in range(3):
        by_bytes = [long.receive(each) for each in bytewise(data)][-1]
        at_once = short.receive(data)
        assert by_bytes is not None
        assert at_once is not None
        assert at_once[1:] == by_bytes[1:]
        assert (at_once.status, at_once.head.items()) == (by_bytes.status, by_bytes.head.items())


@given(st.binary(max_size=300))
def test_nothing_but_one_error_comes_out(data: bytes) -> None:
    for start in (b"", b"H", OK, OK + CHUNKED, OK + b"Content-Length: 3\r\n\r\n"):
        assert read([start + data], end=True) == read(bytewise(start + data), end=True)
