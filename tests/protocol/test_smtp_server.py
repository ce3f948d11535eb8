"""The SMTP server's machine: bytes in, events and bytes out."""

from __future__ import annotations

import base64

import pytest

from bench.model import Auth, Secret
from bench.protocol.smtp_server import Closed, Event, MessageReceived, ServerConfig, SmtpServer, TlsRequested

OPEN = ServerConfig()
LOCKED = ServerConfig(auth=Auth(Secret("apikey"), Secret("pass word")))
PLAIN = base64.b64encode(b"\0apikey\0pass word")
WRONG = base64.b64encode(b"\0apikey\0pass Word")
ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"


def talk(
    config: ServerConfig, data: bytes, *, secured: bool = False, mark: int = 0
) -> tuple[list[Event], list[bytes]]:
    """Feed everything; messages are accepted, TLS starts at once. Events, and reply lines."""
    machine = SmtpServer(config, secured=secured)
    machine.receive(data, mark)
    return drain(machine)


def drain(machine: SmtpServer) -> tuple[list[Event], list[bytes]]:
    events = []
    while (event := machine.next_event()) is not None:
        events.append(event)
        if isinstance(event, MessageReceived):
            machine.accept("1")
        elif isinstance(event, TlsRequested):
            machine.tls_started()
    return events, machine.data_to_send().split(b"\r\n")[:-1]


def codes(lines: list[bytes]) -> list[str]:
    return [line[:4].decode().replace(" ", "") for line in lines if line[3:4] == b" "]


def codes_of(data: bytes, config: ServerConfig = OPEN) -> list[str]:
    return codes(talk(config, data)[1])


def message(events: list[Event]) -> MessageReceived:
    [found] = [event for event in events if isinstance(event, MessageReceived)]
    return found


# ------------------------------------------------------------------------ sessions


def test_the_banner_greets() -> None:
    machine = SmtpServer(OPEN)
    machine.greet()
    assert machine.data_to_send() == b"220 mock.sendbench.example ESMTP sendbench mock\r\n"
    assert machine.data_to_send() == b""


def test_a_whole_session() -> None:
    events, lines = talk(
        OPEN,
        b"EHLO me\r\nmail from:<a@b.example> SIZE=42 BODY=8BITMIME SMTPUTF8\r\nrcpt TO:<c@d.example>\r\n"
        b"RCPT TO:<e@f.example>\r\ndata\r\nSubject: x\r\n\r\nhello\r\n.\r\nquit\r\n",
        mark=7,
    )
    found = message(events)
    assert found.envelope.sender == "a@b.example"
    assert found.envelope.recipients == ("c@d.example", "e@f.example")
    assert (found.envelope.size_bytes, found.envelope.body, found.envelope.smtputf8) == (42, "8BITMIME", True)
    assert found.body == b"Subject: x\r\n\r\nhello\r\n"
    assert found.mark == 7
    assert events[-1] == Closed()
    assert codes(lines) == ["250", "250", "250", "250", "354", "250", "221"]
    assert lines[-2:] == [b"250 2.0.0 Ok: queued as 1", b"221 2.0.0 Bye"]


def test_ehlo_names_what_is_offered() -> None:
    lines = talk(ServerConfig(starttls=True, auth=LOCKED.auth, max_message_bytes=1000), b"EHLO me\r\n")[1]
    assert lines == [
        b"250-mock.sendbench.example", b"250-SIZE 1000", b"250-PIPELINING", b"250-8BITMIME", b"250-SMTPUTF8",
        b"250-CHUNKING", b"250-ENHANCEDSTATUSCODES", b"250 STARTTLS",
    ]  # fmt: skip
    assert talk(LOCKED, b"EHLO me\r\n")[1][-1] == b"250 AUTH PLAIN LOGIN"


def test_enhanced_codes_only_where_offered() -> None:
    lines = talk(ServerConfig(extensions=()), b"EHLO me\r\nRSET\r\nDATA\r\nBDAT 1 LAST\r\n")[1]
    assert lines == [
        b"250-mock.sendbench.example",
        b"250 SIZE 52428800",
        b"250 Ok",
        b"503 Bad sequence of commands",
        b"502 CHUNKING is not offered",
    ]


def test_many_messages_in_one_session() -> None:
    one = ENVELOPE + b"DATA\r\nbody %d\r\n.\r\n"
    events, _ = talk(OPEN, b"EHLO me\r\n" + b"".join(one % number for number in range(5)))
    bodies = [event.body for event in events if isinstance(event, MessageReceived)]
    assert bodies == [b"body %d\r\n" % number for number in range(5)]


def test_each_message_has_the_mark_of_the_first_byte_of_its_mail() -> None:
    machine = SmtpServer(OPEN)
    rest = b"RCPT TO:<c@d.example>\r\nDATA\r\n"
    pieces = [
        b"EHLO me\r\nMA",
        b"IL FROM:<>\r\n",
        rest,
        b"x\r\n",
        b".\r\nMAI",
        b"L FROM:<>\r\n" + rest + b".\r\n",
    ]
    marks = []
    for mark, piece in enumerate(pieces):
        machine.receive(piece, mark)
        marks += [event.mark for event in drain(machine)[0] if isinstance(event, MessageReceived)]
    assert marks == [0, 4]


def test_nothing_is_read_while_a_message_waits_for_its_decision() -> None:
    machine = SmtpServer(OPEN)
    machine.receive(b"EHLO me\r\n" + ENVELOPE + b"DATA\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n")
    assert isinstance(machine.next_event(), MessageReceived)
    machine.data_to_send()
    assert machine.next_event() is None
    machine.receive(b"more")
    assert machine.data_to_send() == b""
    assert machine.waiting_bytes == len(b"NOOP\r\nQUIT\r\nmore")
    machine.refuse(451, "4.3.0", "Try again")
    assert machine.next_event() == Closed()
    assert machine.data_to_send() == b"451 4.3.0 Try again\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"


def test_decisions_nobody_asked_for_are_bugs() -> None:
    machine = SmtpServer(OPEN)
    with pytest.raises(RuntimeError, match="no message"):
        machine.accept("1")
    with pytest.raises(RuntimeError, match="not asked"):
        machine.tls_started()


def test_input_after_quit_is_thrown_away() -> None:
    machine = SmtpServer(OPEN)
    machine.receive(b"QUIT\r\nNOOP\r\n")
    assert machine.next_event() == Closed()
    machine.receive(b"NOOP\r\n")
    assert machine.next_event() is None
    assert machine.data_to_send() == b"221 2.0.0 Bye\r\n"


# ------------------------------------------------------------------------ commands


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # unknown and malformed
        (b"FOO\r\n", ["500"]),
        (b"\r\n", ["500"]),
        (b" NOOP\r\n", ["500"]),
        (b"NOOP \xff\xfe\r\n", ["500"]),
        (b"NOOP\n", ["500"]),
        (b"NO\rOP\r\n", ["500"]),
        (b"NOOP\r\r\n", ["500"]),
        (b"NOOP " + b"x" * 2041 + b"\r\n", ["250"]),  # 2048 octets with the line's end
        (b"NOOP " + b"x" * 2042 + b"\r\nNOOP\r\n", ["500", "250"]),
        (b"NOOP " + b"x" * 9000 + b"\r\nNOOP\r\n", ["500", "250"]),
        # at any time
        (b"NOOP\r\nNOOP it\r\nHELP\r\nVRFY a@b.example\r\nVRFY\r\nEXPN list\r\nRSET\r\n",
         ["250", "250", "214", "252", "501", "502", "250"]),
        (b"RSET now\r\nQUIT now\r\nNOOP\r\n", ["501", "501", "250"]),
        (b"EHLO\r\nEHLO a b\r\nHELO\r\nHELO me\r\nEHLO me\r\n", ["501", "501", "501", "250", "250"]),
        (b"EHLO me  \r\n", ["250"]),
        # sequence
        (b"MAIL FROM:<a@b.example>\r\n", ["503"]),
        (b"RCPT TO:<a@b.example>\r\nDATA\r\nAUTH PLAIN\r\nSTARTTLS\r\n", ["503", "503", "503", "503"]),
        (b"EHLO me\r\nRCPT TO:<a@b.example>\r\nDATA\r\n", ["250", "503", "503"]),
        (b"EHLO me\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n", ["250", "250", "503"]),
        (b"EHLO me\r\nMAIL FROM:<>\r\nDATA\r\n", ["250", "250", "554"]),
        (b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<bad>\r\nDATA\r\n", ["250", "250", "501", "554"]),
        (b"EHLO me\r\nMAIL FROM:<>\r\nRSET\r\nRCPT TO:<a@b.example>\r\n", ["250", "250", "250", "503"]),
        (b"EHLO me\r\nMAIL FROM:<>\r\nEHLO me\r\nMAIL FROM:<>\r\n", ["250", "250", "250", "250"]),
        (b"EHLO me\r\n" + ENVELOPE + b"DATA now\r\nSTARTTLS\r\nAUTH PLAIN\r\n",
         ["250", "250", "250", "501", "503", "503"]),
        # not offered
        (b"EHLO me\r\nSTARTTLS\r\nAUTH PLAIN\r\n", ["250", "502", "502"]),
    ],
)  # fmt: skip
def test_replies(said: bytes, expected: list[str]) -> None:
    assert codes_of(said) == expected


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"FROM:<>", "250"),
        (b"FROM:<a@b>", "250"),
        (b"from:<a.b+c@d-e.example>", "250"),
        (b'FROM:<"a b\\" > c"@d.example>', "250"),
        (b"FROM:<a@[127.0.0.1]>", "250"),
        (b"FROM:<a@[IPv6:::1]>", "250"),
        (b"FROM:<@x.example,@y.example:a@b.example>", "250"),
        (b"FROM:<a@b.example> size=1 body=7bit", "250"),
        (b"FROM:<a@b.example> AUTH=<>", "250"),
        (b"FROM:<a@b.example> SIZE=99999999999", "552"),
        ("FROM:<jörg@müller.example> SMTPUTF8".encode(), "250"),
        ("FROM:<jörg@müller.example>".encode(), "553"),
        (b"", "501"),
        (b"FROM: <a@b.example>", "501"),
        (b"FROM:a@b.example", "501"),
        (b"TO:<a@b.example>", "501"),
        (b"FROM:<a@b.example>SIZE=1", "501"),
        (b"FROM:<a@b.example> SIZE=", "501"),
        (b"FROM:<a@b.example> SIZE=-1", "501"),
        (b"FROM:<a@b.example> SIZE=1 SIZE=1", "501"),
        (b"FROM:<a@b.example> SIZE", "501"),
        (b"FROM:<a@b.example> BODY=BINARYMIME", "501"),
        (b"FROM:<a@b.example> SMTPUTF8=1", "501"),
        (b"FROM:<a@b.example> =", "501"),
        (b"FROM:<a@b.example> RET=FULL", "555"),
        (b"FROM:<a>", "501"),
        (b"FROM:<@b.example>", "501"),
        (b"FROM:<a..b@c.example>", "501"),
        (b"FROM:<a b@c.example>", "501"),
        (b"FROM:<a@-b.example>", "501"),
        (b"FROM:<a@b..example>", "501"),
        (b"FROM:<a@b.example\0>", "501"),
        (b"FROM:<" + b"a" * 64 + b"@b.example>", "250"),
        (b"FROM:<" + b"a" * 65 + b"@b.example>", "501"),
        (b"FROM:<a@" + b"b." * 126 + b"example>", "501"),
    ],
)
def test_mail(argument: bytes, code: str) -> None:
    assert codes_of(b"EHLO me\r\nMAIL " + argument + b"\r\n")[-1] == code


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"TO:<a@b.example>", "250"),
        (b"TO:<Postmaster>", "250"),
        (b"TO:<>", "501"),
        (b"TO:<someone>", "501"),
        (b"FROM:<a@b.example>", "501"),
        (b"TO:<a@b.example> NOTIFY=NEVER", "555"),
        ("TO:<ä@b.example>".encode(), "553"),
    ],
)
def test_rcpt(argument: bytes, code: str) -> None:
    assert codes_of(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT " + argument + b"\r\n")[-1] == code


def test_smtputf8_holds_for_the_recipients_too() -> None:
    events, _ = talk(
        OPEN, "EHLO me\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<ä@b.example>\r\nDATA\r\n.\r\n".encode()
    )
    assert message(events).envelope.recipients == ("ä@b.example",)


def test_a_source_route_is_ignored() -> None:
    events, _ = talk(OPEN, b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<@x.example:a@b.example>\r\nDATA\r\n.\r\n")
    assert message(events).envelope.recipients == ("a@b.example",)


def test_the_recipients_limit() -> None:
    said = b"EHLO me\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<a@b.example>\r\n" * 4 + b"DATA\r\n.\r\n"
    events, lines = talk(ServerConfig(max_recipients=3), said)
    assert codes(lines) == ["250", "250", "250", "250", "250", "452", "354", "250"]
    assert len(message(events).envelope.recipients) == 3


# ------------------------------------------------------------------------ text


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..a\r\n...\r\nb\r\n.\r\n", b".a\r\n..\r\nb\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"x" * 5000 + b"\r\n.\r\n", b"x" * 5000 + b"\r\n"),
        (b"\xe4\0\xff\r\n.\r\n", b"\xe4\0\xff\r\n"),
    ],
)
def test_text_ends_at_the_lone_dot_and_loses_its_stuffing(text: bytes, body: bytes) -> None:
    events, lines = talk(OPEN, b"EHLO me\r\n" + ENVELOPE + b"DATA\r\n" + text + b"NOOP\r\n")
    assert message(events).body == body
    assert codes(lines)[-2:] == ["250", "250"]


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n"]
)
def test_nothing_but_crlf_dot_crlf_ends_the_text(end: bytes) -> None:
    """Smuggling, CVE-2023-51764 and its kin: one message, refused, and the commands inside it not heard."""
    smuggled = b"x" + end + b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nevil"
    events, lines = talk(OPEN, b"EHLO me\r\n" + ENVELOPE + b"DATA\r\n" + smuggled + b"\r\n.\r\nNOOP\r\n")
    assert events == []
    assert codes(lines) == ["250", "250", "250", "354", "550", "250"]


def test_after_a_refused_text_the_session_goes_on() -> None:
    events, lines = talk(
        OPEN, b"EHLO me\r\n" + ENVELOPE + b"DATA\r\na\nb\r\n.\r\n" + ENVELOPE + b"DATA\r\nc\r\n.\r\n"
    )
    assert message(events).body == b"c\r\n"
    assert codes(lines) == ["250", "250", "250", "354", "550", "250", "250", "354", "250"]


@pytest.mark.parametrize(("size", "code"), [(98, "250"), (99, "552"), (5000, "552"), (50_000, "552")])
def test_the_size_limit_counts_the_message_not_its_stuffing(size: int, code: str) -> None:
    stuffed = b".." + b"x" * (size - 1) + b"\r\n.\r\n"
    said = b"EHLO me\r\n" + ENVELOPE + b"DATA\r\n" + stuffed + b"NOOP\r\n"
    assert codes_of(said, ServerConfig(max_message_bytes=100))[-2:] == [code, "250"]


def test_the_declared_size_is_checked_at_once() -> None:
    said = b"EHLO me\r\nMAIL FROM:<> SIZE=101\r\nMAIL FROM:<> SIZE=100\r\n"
    assert codes_of(said, ServerConfig(max_message_bytes=100)) == ["250", "552", "250"]


def test_an_endless_text_takes_no_endless_memory() -> None:
    machine = SmtpServer(ServerConfig(max_message_bytes=1000))
    machine.receive(b"EHLO me\r\n" + ENVELOPE + b"DATA\r\n")
    for _ in range(100):
        machine.receive(b"x" * 998 + b"\r\n")
        assert machine.next_event() is None
        assert machine.waiting_bytes < 10_000
    machine.data_to_send()
    machine.receive(b".\r\n")
    assert machine.next_event() is None
    assert machine.data_to_send() == b"552 5.3.4 Message exceeds the maximum size\r\n"


# ------------------------------------------------------------------------ chunks


def test_chunks_are_joined_and_dots_left_alone() -> None:
    first = ENVELOPE + b"BDAT 6\r\nab\r\n.\rBDAT 4 \r\n\n.\r\nNOOP\r\nBDAT 0 LAST\r\n"
    second = ENVELOPE + b"bdat 3 last\r\nx\r\n"
    events, lines = talk(OPEN, b"EHLO me\r\n" + first + second)
    bodies = [event.body for event in events if isinstance(event, MessageReceived)]
    assert bodies == [b"ab\r\n.\r\n.\r\n", b"x\r\n"]
    assert b"250 2.0.0 6 octets received" in lines
    assert codes(lines) == ["250"] * 10


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # out of sequence: the octets are swallowed all the same
        (b"BDAT 6\r\nQUIT\r\nNOOP\r\n", ["503", "250"]),
        (b"EHLO me\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", ["250", "503", "250"]),
        (b"EHLO me\r\nMAIL FROM:<>\r\nBDAT 2\r\n\r\nRCPT TO:<a@b.example>\r\n", ["250", "250", "503", "250"]),
        # never mixed with DATA, and no other command starts anew without RSET
        (b"EHLO me\r\n" + ENVELOPE
         + b"BDAT 2\r\n\r\nDATA\r\nRCPT TO:<a@b.example>\r\nMAIL FROM:<>\r\nBDAT 0 LAST\r\n",
         ["250", "250", "250", "250", "503", "503", "503", "250"]),
        (b"EHLO me\r\n" + ENVELOPE + b"BDAT 2\r\n\r\nRSET\r\nBDAT 2 LAST\r\n\r\nNOOP\r\n",
         ["250", "250", "250", "250", "250", "503", "250"]),
        # bare CR or LF
        (b"EHLO me\r\n" + ENVELOPE + b"BDAT 2 LAST\r\na\nNOOP\r\n", ["250", "250", "250", "550", "250"]),
        # too large: this one and what follows of it
        (b"EHLO me\r\n" + ENVELOPE
         + b"BDAT 90\r\n" + b"x" * 90 + b"BDAT 11\r\n" + b"x" * 11 + b"BDAT 1 LAST\r\nxNOOP\r\n",
         ["250", "250", "250", "250", "552", "503", "250"]),
        # where the octets end is unknown: the session is over
        (b"EHLO me\r\n" + ENVELOPE + b"BDAT\r\nNOOP\r\n", ["250", "250", "250", "501"]),
        (b"EHLO me\r\n" + ENVELOPE + b"BDAT -1\r\nNOOP\r\n", ["250", "250", "250", "501"]),
        (b"EHLO me\r\n" + ENVELOPE + b"BDAT 2 FIRST\r\nNOOP\r\n", ["250", "250", "250", "501"]),
    ],
)  # fmt: skip
def test_chunk_replies(said: bytes, expected: list[str]) -> None:
    assert codes_of(said, ServerConfig(max_message_bytes=100)) == expected


# ------------------------------------------------------------------------ AUTH


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"AUTH PLAIN " + PLAIN + b"\r\n", ["235"]),
        (b"auth plain\r\n" + PLAIN + b"\r\n", ["334", "235"]),
        (b"AUTH PLAIN " + base64.b64encode(b"apikey\0apikey\0pass word") + b"\r\n", ["235"]),
        (b"AUTH LOGIN\r\nYXBpa2V5\r\ncGFzcyB3b3Jk\r\n", ["334", "334", "235"]),
        (b"AUTH LOGIN YXBpa2V5\r\ncGFzcyB3b3Jk\r\n", ["334", "235"]),
        (b"AUTH PLAIN " + WRONG + b"\r\nAUTH PLAIN " + PLAIN + b"\r\n", ["535", "235"]),
        (b"AUTH LOGIN\r\nYXBpa2V5\r\ncGFzcw==\r\nNOOP\r\n", ["334", "334", "535", "250"]),
        (b"AUTH LOGIN =\r\ncGFzcw==\r\n", ["334", "535"]),
        (b"AUTH PLAIN =\r\n", ["501"]),
        (b"AUTH PLAIN\r\n*\r\nNOOP\r\n", ["334", "501", "250"]),
        (b"AUTH LOGIN\r\n*\r\nNOOP\r\n", ["334", "501", "250"]),
        (b"AUTH PLAIN\r\nnot base64!\r\nNOOP\r\n", ["334", "501", "250"]),
        (b"AUTH PLAIN AAAA\r\nAUTH PLAIN AGE=\r\n", ["501", "501"]),
        (b"AUTH PLAIN " + base64.b64encode(b"other\0apikey\0pass word") + b"\r\n", ["501"]),
        (b"AUTH CRAM-MD5\r\nAUTH\r\n", ["504", "504"]),
        (b"AUTH PLAIN\r\n" + b"A" * 12286 + b"\r\n", ["334", "501"]),
        (b"AUTH PLAIN\r\n" + b"A" * 13000 + b"\r\nNOOP\r\n", ["334", "500", "250"]),
        (b"AUTH PLAIN " + PLAIN + b"\r\nAUTH PLAIN " + PLAIN + b"\r\n", ["235", "503"]),
        (b"AUTH PLAIN " + PLAIN + b"\r\nRSET\r\nEHLO me\r\nMAIL FROM:<>\r\n", ["235", "250", "250", "250"]),
        (b"MAIL FROM:<a@b.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n", ["530", "503", "503"]),
    ],
)
def test_auth(said: bytes, expected: list[str]) -> None:
    assert codes_of(b"EHLO me\r\n" + said, LOCKED)[1:] == expected


def test_the_challenges_are_the_usual_ones() -> None:
    lines = talk(LOCKED, b"EHLO me\r\nAUTH LOGIN\r\nYXBpa2V5\r\ncGFzcyB3b3Jk\r\n")[1]
    assert lines[-3:-1] == [b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6"]
    assert talk(LOCKED, b"EHLO me\r\nAUTH PLAIN\r\n")[1][-1] == b"334 "


def test_without_mechanisms_there_is_no_auth() -> None:
    config = ServerConfig(auth=LOCKED.auth, mechanisms=())
    assert codes_of(b"EHLO me\r\nAUTH PLAIN\r\nMAIL FROM:<>\r\n", config) == ["250", "502", "250"]


def test_no_credential_shows() -> None:
    assert "pass word" not in repr(LOCKED)


# ------------------------------------------------------------------------ STARTTLS

TLS = ServerConfig(starttls=True, auth=LOCKED.auth)


def test_nothing_of_worth_before_tls() -> None:
    said = b"EHLO me\r\nAUTH PLAIN " + PLAIN + b"\r\nMAIL FROM:<>\r\n"
    lines = talk(TLS, said)[1]
    assert codes(lines) == ["250", "530", "530"]
    assert not any(b"AUTH" in line for line in lines)


def test_what_is_pipelined_behind_starttls_is_thrown_away() -> None:
    """CVE-2011-0411: plain text must not be heard as if it had come by TLS."""
    machine = SmtpServer(TLS)
    machine.receive(b"EHLO me\r\nSTARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b.example>\r\n")
    assert machine.next_event() == TlsRequested()
    assert machine.data_to_send().endswith(b"220 2.0.0 Ready to start TLS\r\n")
    machine.receive(b"MAIL FROM:<evil@b.example>\r\n")
    assert machine.next_event() is None
    machine.tls_started()
    assert machine.next_event() is None
    assert machine.data_to_send() == b""
    machine.receive(b"MAIL FROM:<>\r\n")
    assert machine.next_event() is None
    assert machine.data_to_send().startswith(b"503 ")


def test_with_tls_all_is_forgotten_and_auth_offered() -> None:
    machine = SmtpServer(TLS)
    machine.receive(b"EHLO me\r\nSTARTTLS\r\n")
    drain(machine)
    machine.receive(b"EHLO me\r\nSTARTTLS\r\nAUTH PLAIN " + PLAIN + b"\r\nMAIL FROM:<>\r\n")
    events, lines = drain(machine)
    assert events == []
    assert lines[-4] == b"250 AUTH PLAIN LOGIN"
    assert codes(lines) == ["250", "503", "235", "250"]
    assert not any(b"STARTTLS" in line for line in lines)
    assert machine.secured
    assert machine.authenticated


def test_starttls_takes_no_argument() -> None:
    assert codes_of(b"EHLO me\r\nSTARTTLS now\r\nNOOP\r\n", TLS) == ["250", "501", "250"]


def test_implicit_tls_offers_auth_at_once() -> None:
    assert talk(TLS, b"EHLO me\r\n", secured=True)[1][-1] == b"250 AUTH PLAIN LOGIN"
