"""X02 and X03: no form of a secret gets past the one place that masks them."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import traceback
import urllib.parse

import click
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import Auth, Secret
from bench.redact import (
    MASK,
    SHORT,
    TALKATIVE,
    MaskedStream,
    Redactor,
    is_secret_header,
    mask_headers,
    quiet_libraries,
    secrets_of,
)
from tests.canary import cores, forms, found_in

CANARY = "Cän4ry/s3cret+\"w'\\x<y>&z %k"

# Secrets made of the mask's own character would be "found" in what is left.
secret_text = st.text(
    st.characters(codec="utf-8", exclude_characters="*"), min_size=SHORT, max_size=24
).filter(lambda text: len(text.lower()) >= SHORT)
around = st.binary(max_size=12).map(lambda data: data.replace(b"*", b""))


@settings(deadline=None)
@given(secret_text, around, around)
def test_no_form_survives(secret: str, before: bytes, after: bytes) -> None:
    redactor = Redactor([Secret(secret)])
    for name, form in forms(secret).items():
        masked = redactor.bytes(before + form + after)
        assert MASK.encode() in masked, name
        assert form not in masked, name
        assert redactor.finds(before + form + after)


@settings(deadline=None)
@given(secret_text, st.binary(max_size=7), st.binary(max_size=7))
def test_no_alignment_of_base64_survives(secret: str, before: bytes, after: bytes) -> None:
    redactor = Redactor([Secret(secret)])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        masked = redactor.bytes(b"535 bad " + encode(before + secret.encode() + after))
        for core in cores(secret.encode()):
            assert core not in masked
            assert core.translate(bytes.maketrans(b"+/", b"-_")) not in masked


@settings(deadline=None)
@given(secret_text, secret_text)
def test_auth_plain_login_and_basic(user: str, password: str) -> None:
    redactor = Redactor([Secret(user), Secret(password)])
    for joined in (f"\0{user}\0{password}", f"{user}:{password}", f"{user}\0{user}\0{password}"):
        masked = redactor.bytes(b"535 " + base64.b64encode(joined.encode()) + b"\r\n")
        for value in (user, password):
            assert not any(core in masked for core in cores(value.encode()))


def test_the_words_around_a_credential_stay() -> None:
    redactor = Redactor([Secret("user@example.com"), Secret("hunter22")])
    plain = base64.b64encode(b"\0user@example.com\0hunter22").decode()
    assert redactor.text(f"535 bad AUTH PLAIN {plain}\r\n").startswith("535 bad AUTH PLAIN ")
    assert redactor.text(f"535 bad AUTH PLAIN {plain}\r\n").endswith("***\r\n")


@settings(deadline=None)
@given(st.lists(secret_text, min_size=2, max_size=4), st.data())
def test_secrets_that_overlap_are_all_masked(secrets: list[str], data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.sampled_from([*secrets, secrets[0][1:], " ", "x"]), max_size=6))
    text = "".join(pieces)
    masked = Redactor(map(Secret, secrets)).text(text)
    assert not any(secret in masked for secret in secrets)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_without_secrets_only_header_lines_change(data: bytes) -> None:
    assert Redactor([]).bytes(data.replace(b":", b"")) == data.replace(b":", b"")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_can_be_masked(text: str) -> None:
    Redactor([Secret(CANARY)]).text(text + "\udc80")


def test_the_rest_of_a_reply_stays() -> None:
    redactor = Redactor([Secret("hunter22"), Secret("user@example.com")])
    assert redactor.text("535 5.7.8 bad login USER@example.com / hunter22, go away") == (
        "535 5.7.8 bad login *** / ***, go away"
    )
    assert redactor.bytes(b"250 2.0.0 queued as 4F2A") == b"250 2.0.0 queued as 4F2A"


def test_one_secret_inside_another() -> None:
    redactor = Redactor([Secret("hunter"), Secret("hunter22"), Secret("22tail")])
    assert redactor.text("<hunter22tail> <hunter> <hunter22>") == "<***> <***> <***>"


def test_a_text_of_a_megabyte_of_almost_matches() -> None:
    redactor = Redactor([Secret("aaaaaaaaaaaab")])
    data = b"a" * 20_000 + b"auth-" * 4_000 + b"password" + b" " * 20_000
    assert redactor.bytes(data) == data


def test_short_secrets_leave_ordinary_text_alone() -> None:
    redactor = Redactor([Secret("ab"), Secret("hunter22"), Secret("")])
    assert redactor.text("250 about a cab, able") == "250 about a cab, able"
    assert redactor.text("password=ab, user: 'AB'") == "***, ***'"
    assert redactor.text("334 YWI= bad") == "334 *** bad"
    plain = base64.b64encode(b"\0ab\0hunter22").decode()
    assert redactor.text(f"535 {plain}!") == "535 ***!"


def test_a_very_short_pair_is_masked_in_auth_plain() -> None:
    redactor = Redactor([Secret("u"), Secret("p")])
    for joined in (b"\0u\0p", b"u:p", b"u\0u\0p"):
        assert redactor.bytes(b"535 " + base64.b64encode(joined)) == b"535 ***"
    assert redactor.text("550 unknown user, please stop") == "550 unknown user, please stop"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "authorization ", "X-Postmark-Server-Token", "X-Auth-Token",
        "api-key", "Api-Key", "X-Api-Key", "apikey", "Api-Token", "Cookie", "Set-Cookie",
        "X-Amz-Security-Token", "x-amz-date", "X-Amz-Content-Sha256", "X-Client-Secret",
        "X-Smtp-Password", "X-Auth", "X-Signature",
    ],
)  # fmt: skip
def test_headers_that_carry_credentials(name: str) -> None:
    assert is_secret_header(name)
    assert mask_headers([(name, "value"), ("Date", "today")]) == ((name, MASK), ("Date", "today"))
    text = f"HTTP/1.1 401 no\r\n{name}: abc def\r\nDate: today\r\n"
    assert Redactor([]).text(text) == f"HTTP/1.1 401 no\r\n{name}: ***\r\nDate: today\r\n"


@pytest.mark.parametrize(
    "name",
    ["Date", "Content-Type", "X-Sendbench-Id", "X-Request-Id", "WWW-Authenticate", "Authentication-Results",
     "Idempotency-Key", "Message-Id", "Keep-Alive", "Author", "X-Tokens-Left", ""],
)  # fmt: skip
def test_headers_that_do_not(name: str) -> None:
    assert not is_secret_header(name)


# ----------------------------------------------------------------------- the Secret type


def dumps_of(value: object) -> list[str]:
    """Every way in which somebody might put a value into text."""
    return [
        repr(value),
        str(value),
        f"{value}",
        f"{value!r:>60}",
        "%s %r" % (value, value),  # noqa: UP031 (logging formats like this)
        pprint.pformat(value),
        json.dumps(value, default=repr),
        json.dumps(value, default=str),
        repr(pickle.dumps(value)),
        repr(pickle.dumps(value, 0)),
        repr(pickle.loads(pickle.dumps(value))),
        repr(copy.copy(value)),
        repr(copy.deepcopy(value)),
        repr(value.__reduce_ex__(4)),
        repr(getattr(value, "__getstate__", lambda: None)()),
        repr(getattr(value, "__dict__", None)),
    ]


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=20))
def test_a_secret_shows_in_no_dump(value: str) -> None:
    value = f"Zq9{value}"  # not to be met by chance
    secret = Secret(value, "${env:X}")
    auth = Auth(Secret(value), Secret(value))
    shown = dumps_of(secret) + dumps_of([secret, {"a": secret}])
    shown += [repr(auth), repr(dataclasses.asdict(auth)), repr(dataclasses.astuple(auth))]
    shown += [json.dumps(dataclasses.asdict(auth), default=str), repr(copy.deepcopy(auth))]
    for text in shown:
        assert value not in text
        assert base64.b64encode(value.encode()).decode() not in text


def test_a_secret_has_no_json_form() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret("hunter22"))


def test_a_copy_of_a_secret_has_lost_it() -> None:
    assert copy.deepcopy(Secret("hunter22")).reveal() == MASK
    assert pickle.loads(pickle.dumps(Secret("hunter22"))).reveal() == MASK


def test_a_secret_does_not_show_in_a_traceback_with_locals() -> None:
    secret = Secret("hunter22")
    try:
        raise ValueError(secret)
    except ValueError as error:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = "".join(trace.format())
    assert f"secret = {secret!r}" in shown
    assert "ValueError: ***" in shown


def test_secrets_compare_and_hash_by_value() -> None:
    assert Secret("a", "x") == Secret("a", "y")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_user_name_written_in_the_scenario_is_no_secret() -> None:
    password, written, referred = Secret("hunter22"), Secret("apikey"), Secret("me", "${env:SMTP_USER}")
    assert secrets_of(None) == []
    assert secrets_of(Auth(None, password)) == [password]
    assert secrets_of(Auth(written, password)) == [password]
    assert secrets_of(Auth(referred, password)) == [referred, password]


@settings(deadline=None)
@given(secret_text, around, around, st.data())
def test_a_secret_written_in_several_ways_at_once_is_found(
    secret: str, before: bytes, after: bytes, data: st.DataObject
) -> None:
    """What is looked for first, as it is quick, must be there in each of them."""
    written = "".join(
        data.draw(st.sampled_from([one, one.upper(), urllib.parse.quote(one, safe=""), f"&#{ord(one)};"]))
        for one in secret
    ).encode()
    redactor = Redactor([Secret(secret)])
    assert redactor.finds(before + written + after)
    assert redactor.finds(before + secret.encode().hex().upper().encode() + after)


def test_libraries_do_not_log_whole_urls_whatever_everybody_else_logs(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """X04: httpx tells every request's URL at INFO, httpcore its headers at DEBUG."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    url = f"http://127.0.0.1/x?key={urllib.parse.quote(CANARY)}"
    caplog.set_level(logging.DEBUG)
    for name in TALKATIVE:  # a test before may have quieted them
        caplog.set_level(logging.NOTSET, logger=name)
    with httpx.Client(transport=transport) as client:
        client.get(url)
        assert urllib.parse.quote(CANARY) in caplog.text
        caplog.clear()
        quiet_libraries()
        client.get(url)
    assert caplog.text == ""
    assert {logging.getLogger(name).level for name in TALKATIVE} == {logging.WARNING}
    assert found_in("".join(capfd.readouterr()).encode(), [CANARY]) == []


def test_a_masked_stream_has_no_way_past_the_mask() -> None:
    below = io.StringIO()
    stream = MaskedStream(below, Redactor([Secret(CANARY)]))
    assert stream.write(f"a {CANARY} b") == len(CANARY) + 4
    stream.writelines([f"{CANARY[:4]}", f"{CANARY[4:]}\n"])
    print(CANARY, file=stream)
    click.echo(CANARY, file=stream)  # type: ignore[arg-type]  # what click makes of it is the point
    assert below.getvalue() == "a *** b***\n***\n***\n"
    assert stream.buffer is None
