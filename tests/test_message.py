from __future__ import annotations

import email
import email.policy
import json
import random
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.message import (
    KEY_PLACEHOLDER,
    RECIPIENT_PLACEHOLDER,
    Composer,
    build_parts,
    canonical,
    check_address,
    check_header,
    filler,
)
from bench.model import Attachment, MessageSpec, Parts
from bench.scenario.mail import room_needed

DATE = datetime(2026, 11, 23, 18, 20, tzinfo=UTC)
RUN = "20261123T182000Z-smtp-vs-api-1a2b3c"


def build(**fields: Any) -> Parts:
    return build_parts(MessageSpec(**fields), seed=1, date=DATE)


def parse(mime: bytes) -> EmailMessage:
    message = email.message_from_bytes(mime, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def check_wire(mime: bytes) -> None:
    """What RFC 5322 asks of every message: CRLF only, lines of at most 998 bytes, ASCII, a last line end."""
    assert mime.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", mime)
    assert max(map(len, mime.split(b"\r\n"))) <= 998
    assert mime.isascii()


def test_placeholders() -> None:
    assert len(KEY_PLACEHOLDER) == 40 == len(f"{RUN}-1234")
    assert len(RECIPIENT_PLACEHOLDER) == len("recipient@sendbench.example")
    for text in (KEY_PLACEHOLDER, RECIPIENT_PLACEHOLDER):
        assert re.fullmatch(r"[A-Za-z0-9]+", text)


def test_headers_of_a_plain_message() -> None:
    message = parse(build(size_bytes=2048, subject="Hello").mime)
    assert message["From"] == "sender@sendbench.example"
    assert message["To"] == "recipient@sendbench.example"
    assert message["Subject"] == "Hello"
    assert message["Date"] == "Mon, 23 Nov 2026 18:20:00 +0000"
    assert message["Message-ID"] == f"<{KEY_PLACEHOLDER}@sendbench.example>"
    assert message["X-Sendbench-Id"] == KEY_PLACEHOLDER
    assert message["MIME-Version"] == "1.0"
    assert message.get_content_type() == "text/plain"
    assert not message.defects


@pytest.mark.parametrize("size", [*range(400, 480), 1024, 10_240, 65_535, 65_536, 65_537, 200_001])
def test_size_is_exact(size: int) -> None:
    mime = build(size_bytes=size).mime
    assert len(mime) == size
    check_wire(mime)


@pytest.mark.parametrize("extra", range(12))
def test_size_is_exact_beside_text_html_and_attachments(extra: int) -> None:
    fields: dict[str, Any] = {
        "text": "Grüße\nund mehr",
        "html": "<p>" + "x" * 2000 + "</p>",
        "attachments": (Attachment("a.bin", "application/octet-stream", b"\0\xff" * 100),),
        "headers": (("X-Campaign", "autumn"),),
    }
    least = len(build(**fields).mime)
    parts = build(size_bytes=least + extra, **fields)
    assert len(parts.mime) == least + extra
    check_wire(parts.mime)
    assert parts.text is not None
    assert parts.text.startswith("Grüße\nund mehr")
    body = parse(parts.mime).get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == parts.text


def test_too_small_a_size_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match="too small; this one needs 351"):
        build(size_bytes=100)
    assert len(build(size_bytes=351).mime) == 351


def test_filler_is_readable_and_exact() -> None:
    for count in (*range(200), 65_536, 65_540, 300_000):
        data = filler(count, random.Random(1))
        assert len(data) == count
        lines = data.decode("ascii").split("\r\n")
        assert max(map(len, lines)) <= 76
        if count >= 2:
            assert lines[-1] == ""
        assert not any(line.endswith(" ") or line.startswith(".") for line in lines)


def test_the_same_seed_gives_the_same_bytes() -> None:
    attached = (Attachment("a.bin", "application/octet-stream", b"x"),)
    one, again = (build(size_bytes=4096, html="<b>x</b>", attachments=attached) for _ in range(2))
    assert one == again
    other = build_parts(MessageSpec(size_bytes=4096), seed=2, date=DATE)
    assert other.mime != build(size_bytes=4096).mime


def test_structure() -> None:
    attached = (Attachment("übersicht.pdf", "application/pdf", b"%PDF\n" * 50),)
    message = parse(build(text="Hello", html="<b>Hello</b>", attachments=attached).mime)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf",
    ]  # fmt: skip
    (part,) = message.iter_attachments()
    assert part.get_filename() == "übersicht.pdf"
    assert part.get_payload(decode=True) == b"%PDF\n" * 50
    assert all(not part.defects for part in message.walk())


def test_parts_of_an_own_message() -> None:
    parts = build(subject="S", text="Hello", html="<i>x</i>", headers=(("X-A", "b"),))
    assert (parts.sender, parts.recipients) == ("sender@sendbench.example", ("recipient@sendbench.example",))
    assert (parts.subject, parts.text, parts.html) == ("S", "Hello\n", "<i>x</i>")
    assert parts.headers == (("X-A", "b"),)
    assert parts.key == KEY_PLACEHOLDER


def test_without_size_and_content_there_is_a_little_text() -> None:
    assert len(build().text or "") > 100


def test_long_and_foreign_headers_are_folded() -> None:
    foreign, long = "Grüße aus Zürich " * 30, "word " * 300
    people = tuple(f"person{n}@example.org" for n in range(100))
    mime = build(
        subject=foreign.strip(), headers=(("X-Long", long.strip()), ("X-Tab", "a\tb")), recipients=people
    ).mime
    check_wire(mime)
    message = parse(mime)
    assert message["Subject"] == foreign.strip()
    assert message["X-Long"] == long.strip()
    assert [address.addr_spec for address in message["To"].addresses] == list(people)
    assert max(map(len, mime.partition(b"\r\n\r\n")[0].split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    "text", ["é" * 2000, "x" * 2000, "a\0b", "a\x1bb", "a=b é", ".\n..\nFrom x é", " é "]
)
def test_text_that_needs_quoting_survives(text: str) -> None:
    parts = build(text=text, size_bytes=20_000)
    check_wire(parts.mime)
    payload = parse(parts.mime).get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().replace("\r\n", "\n").startswith(text + "\n")


def test_line_ends_of_given_text_become_canonical() -> None:
    assert b"\r\n\r\na\r\nb\r\nc\r\n" in build(text="a\rb\nc\r\n").mime


# --------------------------------------------------------------------------- addresses and headers


@pytest.mark.parametrize(
    "text",
    [
        "a@x",
        "ann@example.org",
        "a.b+c_d-e@sub.example.org",
        "o'neil@example.org",
        "x=y@127",
        "a" * 64 + "@b.c",
    ],
)
def test_addresses(text: str) -> None:
    assert check_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "@x", "a@", "a@x, b@y", "a@x,b@y", "a@x b@y", "a@x>\r\nRCPT TO:<evil@y", "real@z <ok@x>",
        "<a@x>", "Ann <a@x>", '"a b"@x', '"a@x"@y', "a@x\n", "a@x\r\n", "a@x\0", " a@x", "a@x ",
        "a@@x", "a@x@y",
        "a..b@x", ".a@x", "a.@x", "a@-x", "a@x-", "a@x..y", "a@.x", "a@x.", "a@[127.0.0.1]", "é@x", "a@é",
        "a\t@x", "a(c)@x", "a@x;b@y", "a:b@x", "a\\@x", "a" * 65 + "@x", "a@" + "b." * 130 + "c", "a@x%0d%0a",
    ],
)  # fmt: skip
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|ASCII"):
        check_address(text)
    for fields in ({"sender": text}, {"recipients": (text,)}):
        with pytest.raises(ValueError, match=r"address|ASCII"):
            build(**fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-a: b\r\nBcc", "c"), ("X-a\n", "c"), ("X a", "c"), ("X:a", "c"), ("", "c"), ("X-é",
        "c"), ("X\0", "c"),
        ("X-a", "b\r\nBcc: evil@y"), ("X-a", "b\n c"), ("X-a", "b\rc"), ("X-a", "b\0"), ("X-a",
        "é\nBcc: evil@y"),
    ],
)  # fmt: skip
def test_no_headers(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        check_header(name, value)
    with pytest.raises(ValueError, match="header"):
        build(headers=((name, value),))


def test_subject_cannot_start_another_header() -> None:
    with pytest.raises(ValueError, match="line break"):
        build(subject="x\r\nBcc: evil@example.org")


def test_a_word_longer_than_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a line"):
        build(headers=(("X-A", "x" * 1200),))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ('a".pdf', "application/pdf"),
        ("a\r\n.pdf", "a/b"),
        ("../a", "a/b"),
        ("a", "multipart/mixed"),
        ("a", "a/b\r\nX: y"),
    ],
)
def test_unsafe_attachments(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"file name|media type"):
        build(attachments=(Attachment(name, kind, b""),))


def test_a_message_needs_a_recipient() -> None:
    with pytest.raises(ValueError, match="recipient"):
        build(recipients=())


# --------------------------------------------------------------------------- composing


def test_compose_patches_every_key() -> None:
    spec = MessageSpec(size_bytes=10_240)
    parts = build_parts(spec, seed=1, date=DATE)
    composer = Composer(spec, parts.mime, RUN)
    first, second = composer.compose(0), composer.compose(1234)
    assert (second.seq, second.key) == (1234, f"{RUN}-1234")
    assert second.recipients == spec.recipients
    assert second.payload.count(second.key.encode()) == 2
    assert KEY_PLACEHOLDER.encode() not in second.payload
    assert len(second.payload) == 10_240  # a key of typical length
    assert len(first.payload) == 10_240 - 2 * 3
    assert first.head.endswith(first.key.encode())
    assert first.tail is second.tail
    assert first.payload.replace(first.key.encode(), b"") == second.payload.replace(second.key.encode(), b"")


def test_compose_takes_turns_among_recipients() -> None:
    spec = MessageSpec(
        size_bytes=1024, recipients=("ann@example.org", "bob@example.org"), rotate_recipients=True
    )
    parts = build_parts(spec, seed=1, date=DATE)
    assert parts.recipients == (RECIPIENT_PLACEHOLDER,)
    assert len(parts.mime) == 1024
    composer = Composer(spec, parts.mime, RUN)
    for seq in range(4):
        message = composer.compose(seq)
        expected = spec.recipients[seq % 2]
        assert message.recipients == (expected,)
        assert parse(message.payload)["To"] == expected
        assert RECIPIENT_PLACEHOLDER.encode() not in message.payload
        assert len(message.tail) > 700


def test_compose_works_on_any_payload() -> None:
    spec = MessageSpec(recipients=("ann@example.org",), rotate_recipients=True)
    parts = build_parts(spec, seed=1, date=DATE)
    body = json.dumps({"to": parts.recipients, "id": parts.key, "again": [parts.key, "x"]}).encode()
    message = Composer(spec, body, "run").compose(7)
    assert json.loads(message.payload) == {"to": ["ann@example.org"], "id": "run-7", "again": ["run-7", "x"]}
    plain = Composer(spec, b"no placeholder", "run").compose(7)
    assert (plain.head, plain.tail) == (b"no placeholder", b"")


@pytest.mark.parametrize("rotate", [False, True])
def test_compose_knows_what_bytes_there_are(rotate: bool) -> None:
    spec = MessageSpec(recipients=("ann@example.org", "bob@example.org"), rotate_recipients=rotate)
    parts = build_parts(spec, seed=1, date=DATE)
    composer, eight_bit = Composer(spec, parts.mime, RUN), Composer(spec, parts.mime + b"\xff", RUN)
    for seq in range(2):
        message = composer.compose(seq)
        assert message.eight_bit == (not message.payload.isascii())
        assert eight_bit.compose(seq).eight_bit


@pytest.mark.parametrize("run_id", ["", "a b", "a\r\nb", "a>b", "é", "x" * 201])
def test_run_ids_that_cannot_stand_in_a_header(run_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        Composer(MessageSpec(), b"", run_id)


# --------------------------------------------------------------------------- the user's own message

EML = (
    b"Received: from a\n\tby b\nFrom: Ann <ann@example.org>\nTo: Bob <bob@example.org>\nBcc: eve@b.example\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nmessage-id: <former@example.org>\nReply-To: re@example.org\n"
    b"X-Mine:\n folded value\nX-Sendbench-Id: former\nContent-Type: text/plain; charset=utf-8\n\n"
    b"one\r\ntwo\rthree\n.\nend without a line end"
)


def test_own_message_keeps_its_bytes_but_for_the_key() -> None:
    mime = build(eml=EML).mime
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", mime)
    assert mime.endswith(b"one\r\ntwo\r\nthree\r\n.\r\nend without a line end\r\n")
    assert b"X-Mine:\r\n folded value\r\n" in mime
    assert b"former" not in mime
    assert b"eve@" not in mime
    message = parse(mime)
    assert message.get_all("Message-ID") == [f"<{KEY_PLACEHOLDER}@sendbench.example>"]
    assert message.get_all("X-Sendbench-Id") == [KEY_PLACEHOLDER]
    assert message["To"] == "Bob <bob@example.org>"


def test_own_message_in_pieces() -> None:
    parts = build(eml=EML, sender="ann@example.org", recipients=("test@example.org",))
    assert (parts.sender, parts.recipients) == ("ann@example.org", ("test@example.org",))
    assert parts.subject == "Grüße"
    assert parts.text == "one\ntwo\nthree\n.\nend without a line end\n"
    assert parts.html is None
    assert parts.headers == (("Reply-To", "re@example.org"), ("X-Mine", "folded value"))
    assert parts.attachments == ()


def test_own_message_with_html_and_attachment() -> None:
    mime = build(
        text="Hello", html="<b>Hello</b>", attachments=(Attachment("a.pdf", "application/pdf", b"%PDF"),)
    ).mime
    parts = build(eml=mime)
    assert (parts.text, parts.html) == ("Hello\n", "<b>Hello</b>\n")
    assert parts.attachments == (Attachment("a.pdf", "application/pdf", b"%PDF"),)
    assert build(eml=parts.mime).mime == parts.mime


def test_own_message_with_recipients_in_turn_leaves_its_to_alone() -> None:
    spec = MessageSpec(eml=EML, recipients=("x@example.org", "y@example.org"), rotate_recipients=True)
    message = Composer(spec, build_parts(spec, seed=1, date=DATE).mime, RUN).compose(1)
    assert message.recipients == ("y@example.org",)
    assert parse(message.payload)["To"] == "Bob <bob@example.org>"


@pytest.mark.parametrize(
    "eml",
    [
        b"",
        b"no header here\n\nbody",
        b" folded first: x\n\n",
        b"X: a\0b\n\n",
        b"From ann Mon\nSubject: x\n\n",
    ],
)
def test_what_is_no_message(eml: bytes) -> None:
    with pytest.raises(ValueError, match="not a mail message"):
        build(eml=eml)


def test_unknown_charset() -> None:
    with pytest.raises(ValueError, match="charset 'x-none'"):
        build(eml=b"Subject: x\nContent-Type: text/plain; charset=x-none\n\nbody\n")


@pytest.mark.parametrize("charset", ["idna", "undefined", "base64"])
def test_codecs_of_python_that_are_no_charsets(charset: str) -> None:
    with pytest.raises(ValueError, match=f"charset '{charset}'"):
        build(eml=f"Subject: x\nContent-Type: text/plain; charset={charset}\n\nbody\xe4\n".encode())


def test_a_multipart_without_its_boundary() -> None:
    eml = b"Subject: x\nContent-Type: multipart/mixed; boundary=a\n\n--b\n\nbody\n--b--\n"
    with pytest.raises(ValueError, match="boundary is missing"):
        build(eml=eml)


def test_an_odd_address_field_is_passed_on_as_it_is() -> None:
    assert build(eml=b"Sender: group: a;\nReply-To: =?utf-8?q?=C3=A4?= <a@b.example>\n\nx").headers == (
        ("Reply-To", "ä <a@b.example>"),
    )


def test_a_forwarded_message_is_an_attachment_of_its_own_bytes() -> None:
    eml = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhi\n"
        b"--b\nContent-Type: message/rfc822\n\nSubject: inner\n\nfoo\n--b--\n"
    )
    (attached,) = build(eml=eml).attachments
    assert (attached.content_type, attached.content) == ("message/rfc822", b"Subject: inner\n\nfoo")


def test_headers_alone_are_a_message() -> None:
    mime = build(eml=b"Subject: x").mime
    assert mime.startswith(b"Subject: x\r\nMessage-ID:")
    assert mime.endswith(b"\r\n\r\n")


@given(st.binary(max_size=200))
def test_canonical_has_crlf_only(data: bytes) -> None:
    result = canonical(data)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", result)
    assert result.endswith(b"\r\n")
    assert canonical(result) == result


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    try:
        parts = build(eml=b"Subject: x\n" + data)
    except ValueError:
        return
    assert parts.mime.count(KEY_PLACEHOLDER.encode()) >= 2


# --------------------------------------------------------------------------- the scenario's own bound


TEXTS = st.one_of(st.none(), st.text(max_size=200), st.text(alphabet="ab \n.", max_size=3000))
VALUES = st.text(alphabet=st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=80)


@given(
    text=TEXTS,
    html=TEXTS,
    subject=VALUES,
    value=VALUES,
    content=st.lists(st.binary(max_size=400), max_size=3),
    people=st.integers(1, 30),
)
def test_room_needed_is_never_too_little(
    text: str | None, html: str | None, subject: str, value: str, content: list[bytes], people: int
) -> None:
    """The loader refuses a size below this bound, so that building a message cannot fail later."""
    fields: dict[str, Any] = {
        "text": text,
        "html": html,
        "subject": subject,
        "headers": (("X-A", value),),
        "attachments": tuple(Attachment("ä b.bin", "application/octet-stream", part) for part in content),
        "recipients": tuple(f"recipient{n}@sendbench.example" for n in range(people)),
    }
    needed = room_needed(MessageSpec(**fields))
    parts = build(size_bytes=needed, **fields)
    assert len(parts.mime) == needed


def test_room_needed_is_not_much_too_much() -> None:
    assert room_needed(MessageSpec()) - 351 < 150
