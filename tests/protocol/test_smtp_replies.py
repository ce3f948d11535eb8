"""The reply parser: what is a reply, what cannot be one, and that cuts do not matter."""

from __future__ import annotations

import asyncio
import io
import os
import random
import smtplib
from collections.abc import Callable

import pytest
from aiosmtplib.protocol import SMTPProtocol

from bench.protocol.smtp_replies import Reply, ReplyError, ReplyParser, enhanced_code, text_of

DIALOGUES = int(os.environ.get("FUZZ_DIALOGUES", "10000"))
"""Valid dialogues that are also read by the standard library; a long run takes a hundred thousand."""


def read(*pieces: bytes) -> list[Reply]:
    parser, replies = ReplyParser(), []
    for piece in pieces:
        parser.receive(piece)
        while (reply := parser.next()) is not None:
            replies.append(reply)
    return replies


def test_replies_come_out_as_they_came_in() -> None:
    assert read(b"220 a\r\n250-b\r\n250-c\r\n250 d\r\n354\r\n") == [
        Reply(220, b"220 a\r\n"),
        Reply(250, b"250-b\r\n250-c\r\n250 d\r\n"),
        Reply(354, b"354\r\n"),
    ]


def test_what_is_not_whole_is_pending() -> None:
    parser = ReplyParser()
    parser.receive(b"250 a\r\n250-b\r\n25")
    assert parser.next() == Reply(250, b"250 a\r\n")
    assert parser.next() is None
    assert parser.pending == b"250-b\r\n25"
    parser.receive(b"0 c\r\n")
    assert parser.next() == Reply(250, b"250-b\r\n250 c\r\n")
    assert parser.pending == b""


def test_a_bare_line_feed_is_noted_of_the_reply_that_has_it() -> None:
    assert [reply.anomaly for reply in read(b"250 a\r\n250-b\n250 c\r\n250 d\r\n")] == [None, "bare_lf", None]


@pytest.mark.parametrize(
    ("said", "anomaly"),
    [
        (b"\r\n", "malformed"),
        (b"\n", "malformed"),
        (b"x", "malformed"),
        (b"\x15", "malformed"),
        (b"abc hello\r\n", "malformed"),
        (b"250 a\rb\r\n", "malformed"),
        (b"250 a\r\r\n", "malformed"),
        (b"25\r\n", "bad_code"),
        (b"2500\r\n", "bad_code"),
        (b" 25\r\n", "bad_code"),
        (b"2_5 x\r\n", "bad_code"),
        (b"-25 x\r\n", "bad_code"),
        (b"000 x\r\n", "bad_code"),
        (b"199 x\r\n", "bad_code"),
        (b"600 x\r\n", "bad_code"),
        (b"999 x\r\n", "bad_code"),
        (b"250x\r\n", "bad_code"),
        (b"250\tx\r\n", "bad_code"),
        (b"\t250 x\r\n", "bad_code"),
        (b"250-a\r\n\r\n", "malformed"),
        (b"250-a\r\n251 b\r\n", "code_mismatch"),
        (b"550-a\r\n250 b\r\n", "code_mismatch"),
        (b"250 " + b"x" * 2043 + b"\r\n", "too_long"),
        (b"250 " + b"x" * 2045, "too_long"),
        (b"250-x\r\n" * 257, "too_long"),
        (b"250-" + b"250-".join([b"x" * 2000 + b"\r\n"] * 33), "too_long"),
    ],
)
def test_what_cannot_be_a_reply(said: bytes, anomaly: str) -> None:
    for pieces in ([said], [said[at : at + 1] for at in range(len(said))]):
        with pytest.raises(ReplyError) as raised:
            read(*pieces)
        assert (raised.value.anomaly, said.startswith(raised.value.raw)) == (anomaly, True)


@pytest.mark.parametrize("said", [b"250 " + b"x" * 2042 + b"\r\n", b"250-x\r\n" * 255 + b"250 x\r\n"])
def test_the_longest_that_is_read(said: bytes) -> None:
    assert read(said) == read(*[said[at : at + 1] for at in range(len(said))]) == [Reply(250, said)]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"250 2.0.0 ok\r\n", "2.0.0"),
        (b"250 2.0.0\r\n", "2.0.0"),
        (b"250-2.1.5 a\r\n250 2.1.6 b\r\n", "2.1.5"),
        (b"550 5.123.456 no\r\n", "5.123.456"),
        (b"550 5.1234.1 no\r\n", None),
        (b"550 3.1.1 no\r\n", None),
        (b"550 5.1 no\r\n", None),
        (b"550 5.1.1no\r\n", None),
        (b"550 no 5.1.1\r\n", None),
        (b"250\r\n", None),
        (b"250 2.0.0", None),
    ],
)
def test_enhanced_codes(raw: bytes, code: str | None) -> None:
    """RFC 3463 section 2, at the beginning of the text only."""
    assert enhanced_code(raw) == code


def test_the_text_of_a_reply() -> None:
    assert text_of(b"550 caf\xc3\xa9 \xff\r\n", 100) == "caf\u00e9 \\xff"
    assert text_of(b"550 abcdef\r\n", 3) == "abc"


# ------------------------------------------------------------------------- against smtplib


def dialogue(rng: random.Random) -> tuple[list[tuple[int, list[bytes]]], bytes]:
    """Replies as a server may give them, and how they travel."""
    replies = []
    for _ in range(rng.randrange(1, 8)):
        lines = [
            bytes(rng.choices(range(32, 256), k=rng.randrange(60)))
            if rng.random() < 0.3
            else b" ".join(
                rng.choices([b"2.0.0", b"ok", b"-", b"250", b"SIZE", b"5.1.1", b"queued as 1A"], k=3)
            )
            for _ in range(rng.choice([1, 1, 1, 2, 5, 20]))
        ]
        replies.append((rng.randrange(200, 600), lines))
    wire = b""
    for code, lines in replies:
        wire += b"".join(b"%d-%b\r\n" % (code, line) for line in lines[:-1])
        wire += b"%d %b\r\n" % (code, lines[-1]) if lines[-1] or rng.random() < 0.5 else b"%d\r\n" % code
    return replies, wire


def by_the_standard_library(wire: bytes, count: int) -> list[tuple[int, bytes]]:
    client = smtplib.SMTP()
    client.file = io.BufferedReader(io.BytesIO(wire))
    return [client.getreply() for _ in range(count)]


LOOP = asyncio.new_event_loop()
"""What aiosmtplib's protocol wants to be made with; nothing runs in it."""
LOOP.close()


def by_aiosmtplib(wire: bytes, count: int) -> list[tuple[int, bytes]]:
    client = SMTPProtocol(LOOP)
    client._buffer.extend(wire)
    replies = [client._read_response_from_buffer() for _ in range(count)]
    return [(each.code, each.message.encode("utf-8", "surrogateescape")) for each in replies if each]


def stripped(reply: Reply) -> tuple[int, bytes]:
    return reply.code, b"\n".join(line[4:].strip(b" \t\r\n") for line in reply.raw.split(b"\r\n")[:-1])


EXPLAINED = {
    "malformed": "no digit where a code has to be, an empty line or a lone CR: theirs read past it, or guess",
    "bad_code": "no code between 200 and 599, or no space behind it: to theirs whatever int() takes is one",
    "code_mismatch": "lines of one reply disagree: theirs take the last code, so a 550 can become a 250",
    "too_long": "more than a server may say: theirs read on, up to 8192 bytes a line and without a last line",
    "bare_lf": "read as they do, but said",
}
"""What our parser says about a dialogue that is not valid -> why the others may read something else."""


def check_libraries(wire: bytes, ours: list[Reply]) -> None:
    found = [stripped(reply) for reply in ours]
    assert found == by_the_standard_library(wire, len(ours))
    # aiosmtplib forgets the line break behind lines that are empty, as long as it has seen no other
    assert [(code, text.lstrip(b"\n")) for code, text in found] == by_aiosmtplib(wire, len(ours))


def test_the_libraries_read_the_same(record_property: Callable[[str, object], None]) -> None:
    """F21."""
    rng = random.Random(20261123)
    record_property("valid dialogues", DIALOGUES)
    for _ in range(DIALOGUES):
        replies, wire = dialogue(rng)
        cuts = sorted(rng.choices(range(len(wire) + 1), k=rng.randrange(6)))
        pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
        ours = read(*pieces)
        assert b"".join(reply.raw for reply in ours) == wire
        assert [reply.anomaly for reply in ours] == [None] * len(replies)
        check_libraries(wire, ours)


def test_where_they_read_something_else_ours_says_why(
    record_property: Callable[[str, object], None],
) -> None:
    """F21: dialogues with a byte or two wrong. Without a complaint of ours there is no difference."""
    rng, complaints = random.Random(20261124), dict.fromkeys(EXPLAINED, 0)
    for _ in range(DIALOGUES):
        wire = dialogue(rng)[1]
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(wire))
            wire = wire[:at] + rng.choice((b"", b"\n", b"\r", b"5", b"-", b" ", b"\xff")) + wire[at + 1 :]
        wire += b"250-" + b"x" * 2100 + b"\r\n" if rng.random() < 0.01 else b""
        try:
            ours = read(wire)
        except ReplyError as error:
            complaints[error.anomaly] += 1
            continue
        anomalies = {reply.anomaly for reply in ours} - {None}
        for anomaly in anomalies:
            complaints[str(anomaly)] += 1
        if not anomalies:
            check_libraries(wire, ours)
    for anomaly, count in complaints.items():
        record_property(f"invalid, {anomaly}", count)
    assert all(complaints.values()), complaints
