"""The SMTP client's machine and servers that behave badly: what each makes of the message, row by row.

Rows bear the numbers of the fault catalogue. Each is told whole replies, and one byte at a time.
"""

from __future__ import annotations

import os
import random
import re

import pytest

from bench.model import Outcome, TlsMode
from bench.protocol.smtp_client import ClientConfig
from tests.protocol.smtp_faults import (
    CHUNKS,
    GO,
    GROUPS,
    LOGIN,
    OFFERS_LOGIN,
    OFFERS_TLS,
    OK,
    PLAIN,
    R5,
    ROWS,
    THREE,
    TLS,
    UP_TO_BODY,
    A,
    B,
    E,
    F,
    Row,
    U,
)
from tests.protocol.talking import LOST, PAYLOAD, TIMEOUT, Talk, commands, message, phases_of


def told(row: Row, *, byte_by_byte: bool) -> Talk:
    talk = Talk(row.config)
    talk.begin(message(PAYLOAD, *row.recipients))
    talk.hear_all(*row.replies, byte_by_byte=byte_by_byte)
    return talk


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_becomes_of_a_message(row: Row) -> None:
    for byte_by_byte in (False,) if row.one_segment else (False, True):
        talk = told(row, byte_by_byte=byte_by_byte)
        answer = talk.answer
        found = answer.outcome, answer.code, answer.error, answer.anomaly, talk.machine.usable
        assert found == (row.outcome, row.code, row.error, row.anomaly, row.usable)
        assert answer.recipients_accepted == (0 if row.outcome is not A else taken_in(row))
        assert answer.outcome is not U or talk.span.handed_over
        if row.sent is not None:
            assert " ".join(commands(talk.wire)) == row.sent
            assert b"the body" not in talk.wire
        assert " ".join(commands(talk.wire)).startswith(row.starts)


def taken_in(row: Row) -> int:
    return 1 if row.name.startswith("S38") else len(row.recipients)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name[:3] in ("S18", "S19", "S20")], ids=lambda r: r.name
)
def test_without_tls_nothing_is_said_that_others_may_not_hear(row: Row) -> None:
    wire = told(row, byte_by_byte=False).wire
    assert not any(secret in wire for secret in (b"AUTH", b"MAIL", b"RCPT", b"dQ==", b"body"))


def opened(config: ClientConfig = PLAIN, offers: str = E) -> Talk:
    """A connection that has taken a message."""
    talk = Talk(config)
    talk.begin()
    talk.hear_all(B, offers, *([OK, OK, GO, OK] if offers == E else ["250 ok\n250 ok\n250 ok"]))
    assert talk.answer.outcome is A
    return talk


# ------------------------------------------------------------------------------ what is kept


def test_of_an_accepted_message_the_codes_are_kept() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(B, E, OK, "251 x", GO, "250 2.0.0 queued")
    answer = talk.answer
    assert (answer.replies, answer.reply) == (b"220 250 250 251 354 250", b"250 2.0.0 queued\r\n")
    assert (answer.enhanced_code, answer.notes) == ("2.0.0", None)
    talk.begin()
    talk.hear_all(OK, OK, GO, OK)
    assert talk.answer.replies == b"250 250 354 250"


def test_of_any_other_message_the_replies_are_kept_within_bounds() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(B, E, "250 " + "m" * 2000, "451 4.7.1 " + "r" * 2000)
    answer = talk.answer
    assert answer.replies is not None
    assert answer.replies.startswith(b"220 here\r\n250 here\r\n250 mmm")
    assert (len(answer.replies), answer.enhanced_code) == (4038, "4.7.1")
    talk = Talk()
    talk.begin()
    talk.hear_all(B, ("250-" + "x" * 2000 + "\n") * 3 + "250 x", "550 no")
    assert talk.answer.replies is not None
    assert len(talk.answer.replies) == 4096


def test_what_came_of_a_reply_is_kept_where_the_rest_never_does() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(B, E)
    talk.hear(b"4")
    talk.hear(b"21 too ma")
    talk.hear_all(LOST)
    assert talk.answer.replies == b"220 here\r\n250 here\r\n421 too ma"


def test_each_recipient_has_its_reply_where_not_all_are_taken() -> None:
    talk = Talk()
    talk.begin(message(PAYLOAD, *THREE))
    talk.hear_all(B, E, OK, "250 fine", "550 5.1.1 nobody\x85", "452 full", GO, OK)
    replies = [(250, "fine"), (550, "5.1.1 nobody\\x85"), (452, "full")]
    assert (talk.answer.recipients_accepted, talk.answer.notes) == (1, {"replies": replies})


def test_the_fallback_to_helo_is_noted_once() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(B, "502 what", E, OK, OK, GO, OK)
    assert talk.answer.notes == {"helo_fallback": True}
    assert talk.span.trips == 7
    talk.begin()
    talk.hear_all(OK, OK, GO, OK)
    assert talk.answer.notes is None


@pytest.mark.parametrize("outcome", [A, R5])
def test_a_bare_line_feed_is_read_and_noted_and_ends_the_connection(outcome: Outcome) -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(*UP_TO_BODY)
    talk.hear(b"250 ok\n" if outcome is A else b"554 no\n")
    assert (talk.answer.outcome, talk.answer.anomaly, talk.machine.usable) == (outcome, "bare_lf", False)
    assert not talk.answer.notes


def test_a_refusal_says_how_the_connection_ended_before_the_rest_was_answered() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(B, GROUPS, "550 no", TIMEOUT)
    assert talk.answer.notes == {"ended_by": "timeout"}


def test_the_text_of_what_came_behind_the_answer_is_kept() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(*UP_TO_BODY, "250 ok\n421 4.3.2 bye")
    assert talk.answer.notes == {"unsolicited": "421 4.3.2 bye"}


@pytest.mark.parametrize("real", [b"554 real\r\n", b"250 real\r\n"])
def test_half_a_fake_answer_is_none_when_its_rest_comes(real: bytes) -> None:
    """S47: cut in the middle of the line that came too early."""
    talk = Talk()
    talk.begin()
    talk.hear_all(B, E, OK, OK)
    for piece in (b"354 go\r\n250 fa", b"k", b"e\r\n"):
        talk.hear(piece)
        assert talk.machine.answer is None
    talk.hear(real)
    assert (talk.answer.outcome, talk.answer.anomaly) == (R5 if real[:1] == b"5" else U, "unsolicited")
    assert talk.answer.replies is not None
    assert b"250 fa" in talk.answer.replies


def test_an_empty_text_is_no_message_that_may_have_been_taken() -> None:
    talk = Talk()
    talk.begin()
    talk.hear_all(B, GROUPS, "250 ok\n550 no\n354 go", "x")
    assert talk.sent[-1] == b".\r\n"
    assert (talk.answer.outcome, talk.answer.anomaly, talk.span.handed_over) == (F, "malformed", False)


# --------------------------------------------------------------------------- what goes out


@pytest.mark.parametrize(
    ("config", "offers", "flights"),
    [
        (ClientConfig(), E, ["MAIL", "RCPT", "RCPT", "DATA", "(text)"]),
        (ClientConfig(), "250-here\n250 CHUNKING", ["MAIL", "RCPT", "RCPT", "BDAT(text)"]),
        (ClientConfig(), GROUPS, ["MAIL RCPT RCPT DATA", "(text)"]),
        (ClientConfig(), CHUNKS, ["MAIL RCPT RCPT BDAT(text)"]),
        (ClientConfig(pipelining=False), CHUNKS, ["MAIL", "RCPT", "RCPT", "BDAT(text)"]),
        (ClientConfig(chunking=False), CHUNKS, ["MAIL RCPT RCPT DATA", "(text)"]),
        (ClientConfig(pipelining=False, chunking=False), CHUNKS, ["MAIL", "RCPT", "RCPT", "DATA", "(text)"]),
    ],
)
def test_what_shares_a_flight(config: ClientConfig, offers: str, flights: list[str]) -> None:
    """RFC 2920 section 3.1: EHLO and DATA are the last of their group, and nothing is grouped unoffered."""
    talk = Talk(config)
    talk.begin(message(PAYLOAD, *THREE[:2]))
    talk.hear_all(B, offers)
    for flight in flights:
        talk.hear_all("\n".join("354 go" if word == "DATA" else OK for word in flight.split()))
    assert talk.answer.outcome is A
    assert talk.span.trips == 2 + len(flights)
    ehlo, *rest = talk.sent
    assert ehlo == b"EHLO sendbench.example\r\n"
    assert [shortened(each) for each in rest] == flights


def shortened(flight: bytes) -> str:
    text = re.sub(rb"(BDAT \d+ LAST\r\n)?" + re.escape(PAYLOAD) + rb"(\.\r\n)?", b"(text)", flight)
    chunk = b"BDAT %d LAST\r\n" % len(PAYLOAD) in flight
    return " ".join(commands(text)).replace("(text)", "BDAT(text)" if chunk else "(text)")


def test_what_was_offered_before_tls_is_forgotten() -> None:
    talk = Talk(TLS)
    talk.begin()
    talk.hear_all(
        B,
        "250-here\n250-PIPELINING\n250-CHUNKING\n250-SIZE\n250 STARTTLS",
        "220 go",
        "250-here\n250 AUTH PLAIN",
        "235 in",
        OK,
    )
    assert talk.sent[-2:] == [b"MAIL FROM:<s@x.example>\r\n", b"RCPT TO:<a@x.example>\r\n"]


def test_with_implicit_tls_nothing_comes_before_the_handshake() -> None:
    talk = Talk(ClientConfig(TlsMode.IMPLICIT))
    talk.begin()
    assert talk.sent == [b"(handshake)"]
    talk.hear_all(B, E, OK, OK, GO, OK)
    assert (talk.answer.outcome, talk.span.trips) == (A, 6)


@pytest.mark.parametrize(
    ("payload", "sender", "offers", "mail"),
    [
        (b"caf\xc3\xa9\r\n", "s@x.example", "8BITMIME", " BODY=8BITMIME"),
        (b"plain\r\n", "s\xe9@x.example", "SMTPUTF8", " SMTPUTF8"),
        (b"plain\r\n", "s@x.example", "SIZE 1000", " SIZE=7"),
        (b"plain\r\n", "s@x.example", "size", " SIZE=7"),
        (b"plain\r\n", "s@x.example", "8BITMIME", ""),
    ],
)
def test_parameters_of_mail_are_those_offered_and_needed(
    payload: bytes, sender: str, offers: str, mail: str
) -> None:
    talk = Talk()
    talk.begin(message(payload, sender=sender))
    talk.hear_all(B, f"250-here\n250 {offers}")
    assert talk.sent[-1] == f"MAIL FROM:<{sender}>{mail}\r\n".encode()


@pytest.mark.parametrize(
    ("payload", "sender", "recipient", "reason"),
    [
        (b"caf\xc3\xa9\r\n", "s@x.example", "a@x.example", "8BITMIME"),
        (b"plain\r\n", "s\xe9@x.example", "a@x.example", "SMTPUTF8"),
        (b"plain\r\n", "s@x.example", "\xe9@x.example", "SMTPUTF8"),
    ],
)
def test_what_the_server_does_not_offer_to_take_is_not_begun(
    payload: bytes, sender: str, recipient: str, reason: str
) -> None:
    """S43, S44."""
    talk = Talk()
    talk.begin(message(payload, recipient, sender=sender))
    talk.hear_all(B, E)
    answer = talk.answer
    assert (answer.outcome, answer.error, talk.machine.usable) == (F, "local", True)
    assert answer.notes is not None
    assert reason in str(answer.notes["reason"])
    assert commands(talk.wire) == ["EHLO"]
    talk.begin()
    talk.hear_all(OK, OK, GO, OK)
    assert talk.answer.outcome is A


# -------------------------------------------------------------------------------- errands


@pytest.mark.parametrize(
    ("name", "reply", "went_well"),
    [
        ("prove", "250 ok", True),
        ("prove", "251 ok", False),
        ("prove", "451 no", False),
        ("prove", "x", False),
        ("ping", "250 ok", True),
        ("ping", "421 bye", False),
        ("ping", "250 ok\n250 ok", None),
        ("leave", "221 bye", True),
        ("leave", "250 ok", False),
    ],
)
def test_errands(name: str, reply: str, went_well: bool | None) -> None:
    """S70, S71: whatever is not the one right answer ends the connection."""
    talk = opened()
    talk.act({"prove": talk.machine.prove, "ping": talk.machine.ping, "leave": talk.machine.leave}[name]())
    talk.hear_all(reply)
    assert talk.machine.errand is (went_well is not False)
    assert talk.machine.usable is (went_well is True)


def test_opening_without_a_message_is_an_errand() -> None:
    talk = Talk()
    talk.act(talk.machine.begin(None, talk.span, 0))
    talk.hear_all(B, CHUNKS)
    assert (talk.machine.errand, talk.machine.open, talk.machine.first_phase) == (True, True, "envelope")
    talk.begin()
    talk.hear_all("250 ok\n250 ok\n250 ok")
    assert (talk.answer.outcome, talk.span.trips, phases_of(talk.span)) == (A, 1, ["envelope", "reply"])


@pytest.mark.parametrize("said", [b"421 idle\r\n", b"4", b"\x15\x03", b"250 ok\n", b"\r\n"])
def test_whatever_comes_between_two_messages_ends_the_connection(said: bytes) -> None:
    for byte_by_byte in (False, True):
        talk = opened()
        talk.hear(said, byte_by_byte=byte_by_byte)
        assert (talk.machine.usable, talk.answer.outcome) == (False, A)


# ------------------------------------------------------------------------------------ fuzz


@pytest.mark.parametrize(
    "line", [b"250-x\r\n", b"250-" + b"x" * 1000 + b"\r\n", b"2", b"x", b"250 x\r\n250-y\r\n"]
)
@pytest.mark.parametrize("step", range(6))
def test_a_flood_ends_soon_and_is_not_kept(line: bytes, step: int) -> None:
    """S61, S62: after a bounded amount there is an answer, and what comes then costs no memory."""
    talk = Talk()
    talk.begin()
    talk.hear_all(*(B, E, OK, OK, GO)[:step])
    taken = 0
    while talk.machine.answer is None and taken < 200_000:
        talk.hear(line)
        taken += len(line)
    assert taken < 80_000
    talk.hear(line * 1000)
    assert not talk.machine.usable
    assert talk.answer.reply is None or len(talk.answer.reply) <= 4096
    for _ in range(100):
        talk.hear(line * 100)
    parser = talk.machine._parser
    assert parser is None or len(parser.pending) < 80_000


ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "20000"))
"""Sessions of random bytes; a long run takes a million."""
PIECES = [
    B,
    E,
    OK,
    GO,
    CHUNKS,
    GROUPS,
    OFFERS_TLS,
    OFFERS_LOGIN,
    "235 in",
    "334 QQ==",
    "220 go",
    "250 2.0.0 ok",
    "421 x",
    "451 x",
    "550 5.1.1 x",
    "554 x",
    "250-a",
    "250-a\n251 b",
    "250",
    "25",
    "2500",
    "999 x",
    "354",
    "",
    " ",
    "\x00\xff",
    "OK",
    "150 x",
    "650 x",
    "250\tx",
    "250 x\r",
]
ENDS = ["\r\n"] * 12 + ["\n", "", "\r"]
USUAL = [[B, E, OK, OK, GO, OK], [B, CHUNKS, OK, OK, OK], [B, GROUPS, OK, OK, GO, OK]]
CONFIGS = [PLAIN, PLAIN, LOGIN, TLS, ClientConfig(chunking=False)]


def session(rng: random.Random) -> list[bytes]:
    """What a server might say: mostly as it should be, with something else here and there, cut anywhere."""
    usual = list(rng.choice(USUAL))
    for _ in range(rng.randrange(4)):
        usual[rng.randrange(len(usual))] = rng.choice(PIECES)
    if rng.random() < 0.2:
        usual.insert(rng.randrange(len(usual)), rng.choice(PIECES))
    segments = [(text.replace("\n", "\r\n") + rng.choice(ENDS)).encode("latin-1") for text in usual]
    if rng.random() < 0.3:
        at = rng.randrange(len(segments))
        cut = rng.randrange(len(segments[at]) + 1)
        segments[at : at + 1] = [segments[at][:cut], segments[at][cut:]]
    if rng.random() < 0.3:
        at = rng.randrange(len(segments))
        segments[at : at + 2] = [b"".join(segments[at : at + 2])]
    if rng.random() < 0.1:
        segments[rng.randrange(len(segments))] = rng.randbytes(rng.randrange(40))
    return [segment for segment in segments if segment]


def test_random_servers_never_break_it_nor_make_it_believe_too_much() -> None:
    """F7: accepted only by a well-formed 2yz that came when the message had gone out."""
    rng, accepted = random.Random(20261123), 0
    for _ in range(ROUNDS):
        talk = Talk(rng.choice(CONFIGS))
        talk.begin()
        after = b""
        for segment in session(rng):
            gone = talk.sent[-1:] != [] and PAYLOAD in talk.sent[-1]
            after = after + segment if gone else b""
            talk.hear(segment)
            if talk.machine.answer is not None:
                break
        answer = talk.machine.answer
        if answer is not None and answer.outcome is A:
            accepted += 1
            assert answer.reply is not None
            assert re.fullmatch(rb"(2\d\d-[^\r\n]*\r?\n)*2\d\d( [^\r\n]*)?\r?\n", answer.reply)
            assert answer.reply in after
    assert accepted > ROUNDS / 30
