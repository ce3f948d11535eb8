"""What an SMTP client says, as data."""

from __future__ import annotations

from base64 import b64encode

import pytest

from bench.model import Auth, Message, Secret
from bench.protocol.smtp_script import (
    Capabilities,
    Step,
    Unsendable,
    as_chunk,
    as_text,
    envelope,
    login,
)

ALL = Capabilities.of(b"250-here\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..a\r\n", b"...a\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.b\r\n..c\r\n", b"a\r\n..b\r\n...c\r\n.\r\n"),
        (b"a.\r\nb.c\r\n", b"a.\r\nb.c\r\n.\r\n"),
    ],
)
def test_a_text_is_stuffed_and_ended(payload: bytes, text: bytes) -> None:
    for cut in range(len(payload) + 1):
        assert b"".join(as_text(in_two(payload, cut))) == text


def test_of_a_text_without_dots_the_end_is_made_once() -> None:
    tail = b"b\r\n" * 10
    first, second = (as_text(Message(0, "k", "s", ("r",), head, tail, dotted=False)) for head in (b"a", b"."))
    assert first == (b"a", tail + b".\r\n")
    assert second[0] == b"."
    assert second[1] is first[1]


def test_a_chunk_is_the_message_as_it_is() -> None:
    for cut in range(5):
        assert b"".join(as_chunk(in_two(b".\r\na", cut))) == b"BDAT 4 LAST\r\n.\r\na"
    assert as_chunk(in_two(b"", 0)) == (b"BDAT 0 LAST\r\n", b"")


def in_two(payload: bytes, cut: int) -> Message:
    return Message(0, "k", "s@x.example", ("r@x.example",), payload[:cut], payload[cut:])


def test_what_a_server_offers() -> None:
    offered = Capabilities.of(
        b"250-STARTTLS here\r\n250-size 10\r\n250-SIZE 20\r\n250-\r\n250 x-y\t z\xff\r\n"
    )
    assert dict(offered.keywords) == {"SIZE": ("10",), "X-Y": ("z\ufffd",)}
    assert "STARTTLS" not in offered  # the first line is a greeting
    assert dict(Capabilities.of(b"250 here\r\n").keywords) == {}


@pytest.mark.parametrize(
    ("lines", "mechanisms"),
    [
        (b"250 AUTH PLAIN login\r\n", {"PLAIN", "LOGIN"}),
        (b"250 AUTH=PLAIN LOGIN\r\n", {"PLAIN", "LOGIN"}),
        (b"250-AUTH CRAM-MD5\r\n250 AUTH=LOGIN\r\n", {"CRAM-MD5", "LOGIN"}),
        (b"250 AUTH\r\n", set()),
    ],
)
def test_the_mechanisms_in_both_ways_of_saying_so(lines: bytes, mechanisms: set[str]) -> None:
    assert Capabilities.of(b"250-here\r\n" + lines).mechanisms == mechanisms


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [(b"", False), (b" 0", False), (b" 9", True), (b" 10", False), (b" x", False), (b" -1", False)],
)
def test_the_declared_limit(parameter: bytes, refused: bool) -> None:
    """RFC 1870 section 4: zero is no limit, and neither is none."""
    assert Capabilities.of(b"250-here\r\n250 SIZE" + parameter + b"\r\n").refuses(10) is refused


def test_logins() -> None:
    auth = Auth(Secret("us\u00e9r"), Secret("pass word"))
    [plain] = login(auth, frozenset({"PLAIN", "LOGIN"})) or ()
    assert plain.data == b"AUTH PLAIN " + b64encode("\0us\u00e9r\0pass word".encode()) + b"\r\n"
    flights = login(auth, frozenset({"LOGIN", "CRAM-MD5"})) or ()
    assert [flight.data for flight in flights] == [
        b"AUTH LOGIN\r\n", b64encode("us\u00e9r".encode()) + b"\r\n", b64encode(b"pass word") + b"\r\n",
    ]  # fmt: skip
    assert login(auth, frozenset({"GSSAPI"})) is None
    [plain] = login(Auth(None, Secret("key")), frozenset({"PLAIN"})) or ()
    assert plain.data == b"AUTH PLAIN " + b64encode(b"\0\0key") + b"\r\n"


def test_nothing_follows_data_in_its_group() -> None:
    """RFC 2920 section 3.1."""
    [flight] = envelope("s@x", ("a@x", "b@x"), 5, False, ALL, True, False).flights
    assert flight.data == b"MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    assert flight.steps == (Step.MAIL, Step.RCPT, Step.RCPT, Step.DATA)


@pytest.mark.parametrize(
    ("sender", "recipient", "eight_bit", "words"),
    [
        ("s@x", "a@x", False, b""),
        ("s@x", "a@x", True, b" BODY=8BITMIME"),
        ("\u00e9@x", "a@x", False, b" SMTPUTF8"),
        ("s@x", "\u00e9@x", True, b" BODY=8BITMIME SMTPUTF8"),
    ],
)
def test_what_the_message_needs_is_said_or_not_there(
    sender: str, recipient: str, eight_bit: bool, words: bytes
) -> None:
    ahead = envelope(sender, (recipient,), 5, eight_bit, ALL, True, True).ahead
    assert ahead is not None
    assert ahead.data.split(b"\r\n")[0] == b"MAIL FROM:<%b>%b" % (sender.encode(), words)
    if words:
        with pytest.raises(Unsendable):
            envelope(sender, (recipient,), 5, eight_bit, Capabilities(), True, True)
