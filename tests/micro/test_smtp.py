"""The reply parser and the SMTP client's machine."""

from __future__ import annotations

import time

import pytest

from bench.model import Message, Outcome
from bench.protocol.smtp_client import ClientConfig, SmtpClient
from bench.protocol.smtp_replies import Reply, ReplyParser, familiar, plain_replies, remember
from bench.transports.session import Span
from tests.micro.conftest import Measure

LINE = b"250 2.1.0 Ok\r\n"
LINES = b"250-mail.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 CHUNKING\r\n"
PAYLOAD = (b"x" * 76 + b"\r\n") * 13
MESSAGE = Message(1, "run-1", "sender@x.example", ("recipient@x.example",), PAYLOAD, dotted=False)


@pytest.mark.parametrize("count", [1, 3])
def test_replies_of_one_line(measure: Measure, count: int) -> None:
    assert len(measure(lambda: plain_replies(LINE * count)).codes) == count


def test_reply_familiar(measure: Measure) -> None:
    remember(LINE, plain_replies(LINE))
    assert measure(lambda: familiar.get(LINE) or plain_replies(LINE)).codes == (250,)


def test_reply_of_five_lines(measure: Measure) -> None:
    def parse() -> Reply | None:
        parser = ReplyParser()
        parser.receive(LINES)
        return parser.next()

    assert measure(parse) == Reply(250, LINES)


def test_reply_byte_by_byte(measure: Measure) -> None:
    pieces = [LINE[at : at + 1] for at in range(len(LINE))]

    def parse() -> Reply | None:
        parser, found = ReplyParser(), None
        for piece in pieces:
            parser.receive(piece)
            found = parser.next()
        return found

    assert measure(parse) == Reply(250, LINE)


ENDED, GO = b"250 2.0.0 Ok\r\n", b"354 End data with <CR><LF>.<CR><LF>\r\n"
RCPT = b"250 2.1.5 Ok\r\n"
MODES = {
    "command by command": (b"250-x\r\n250 8BITMIME\r\n", [LINE, RCPT, GO], [ENDED], 4),
    "pipelined": (b"250-x\r\n250-8BITMIME\r\n250 PIPELINING\r\n", [LINE + RCPT + GO], [ENDED], 2),
    "chunked": (b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n", [], [LINE + RCPT + ENDED], 1),
}


@pytest.mark.parametrize("mode", MODES)
def test_smtp_message(measure: Measure, mode: str) -> None:
    """A whole message of 1 KiB on a kept connection, its span included."""
    hello, before, after, trips = MODES[mode]
    machine, clock = SmtpClient(ClientConfig()), time.monotonic_ns
    opened = Span(clock)
    opened.begin("banner")
    machine.begin(None, opened, 1)
    machine.receive(b"220 x\r\n", 2)
    machine.receive(hello, 3)

    def send() -> Span:
        span = Span(clock)
        now_ns = clock()
        span.begin(machine.first_phase, now_ns)
        machine.begin(MESSAGE, span, now_ns)
        for reply in before:
            machine.receive(reply, clock())
        machine.handed_over(clock())
        for reply in after:
            machine.receive(reply, clock())
        span.end(clock())
        return span

    span = measure(send)
    assert machine.answer is not None
    assert machine.answer.outcome is Outcome.ACCEPTED
    assert machine.usable
    assert span.trips == trips
