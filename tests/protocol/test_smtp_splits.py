"""However the input is cut, the SMTP server's machine hears the same."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import Auth, Secret
from bench.protocol.smtp_server import Envelope, MessageReceived, ServerConfig, SmtpServer

CONFIG = ServerConfig(auth=Auth(Secret("u"), Secret("p")), max_message_bytes=200, max_recipients=3)
LOGIN = b"EHLO me\r\nAUTH PLAIN " + base64.b64encode(b"\0u\0p") + b"\r\n"

PHRASES = st.sampled_from(
    [
        b"EHLO me\r\n", b"RSET\r\n", b"NOOP\r\n", b"FOO\r\n", b"NOOP \xff\r\n", b"STARTTLS\r\n",
        b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<a@b.example> SIZE=201\r\n",
        b"RCPT TO:<c@d.example>\r\n", b"RCPT TO:<bad>\r\n",
        b"DATA\r\n", b"Subject: x\r\n\r\nbody\r\n", b".\r\n", b"..\r\n", b"\r\n.\r\n", b"\n.\r\n",
        b"\r", b"\n", b".", b"x" * 150, b"x" * 3000,
        b"BDAT 4\r\nab\r\n", b"BDAT 0 LAST\r\n", b"BDAT 300\r\n", b"BDAT 5 LAST\r\nabc\r\n", b"BDAT x\r\n",
        b"AUTH LOGIN\r\nQQ==\r\nQQ==\r\n", b"AUTH PLAIN\r\n*\r\n",
    ]
)  # fmt: skip
MESSAGE = st.binary(max_size=300).map(
    lambda body: b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n" + body + b"\r\n.\r\n"
)
SESSIONS = st.lists(PHRASES | MESSAGE, max_size=12).map(
    lambda parts: LOGIN + b"".join(parts) + b"\r\n.\r\nQUIT\r\n"
)


def hear(pieces: list[bytes], config: ServerConfig = CONFIG) -> tuple[list[tuple[Envelope, bytes]], bytes]:
    """Messages, and all that was said; the end of the session is in what was said."""
    machine, heard, said = SmtpServer(config), [], b""
    for piece in pieces:
        machine.receive(piece)
        while (event := machine.next_event()) is not None:
            said += machine.data_to_send()
            if isinstance(event, MessageReceived):
                heard.append((event.envelope, event.body))
                machine.accept("1")
        said += machine.data_to_send()
    return heard, said


@settings(deadline=None)
@given(SESSIONS)
def test_one_byte_at_a_time(session: bytes) -> None:
    assert hear([session[index : index + 1] for index in range(len(session))]) == hear([session])


@settings(deadline=None)
@given(SESSIONS, st.data())
def test_any_cut(session: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(session)), max_size=20)))
    pieces = [session[start:end] for start, end in zip([0, *cuts], [*cuts, len(session)], strict=True)]
    assert hear(pieces) == hear([session])


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_garbage_is_answered_and_never_raises(garbage: bytes) -> None:
    _, said = hear([LOGIN, garbage, b"\r\n"])
    assert all(line[:1] in b"2345" for line in said.split(b"\r\n")[:-1])


@settings(deadline=None)
@given(st.lists(st.text("ab. \t\xe4", max_size=20), max_size=20))
def test_what_is_stuffed_comes_out_as_it_was(lines: list[str]) -> None:
    body = b"".join(line.encode() + b"\r\n" for line in lines)
    stuffed = b"".join((b"." if line.startswith(".") else b"") + line.encode() + b"\r\n" for line in lines)
    config = ServerConfig()
    messages, _ = hear(
        [b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n" + stuffed + b".\r\n"], config
    )
    [(_, heard)] = messages
    assert heard == body
