from __future__ import annotations

import json
import math
from base64 import b64decode
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import Auth, Outcome, Secret
from bench.providers import PROVIDERS, get_provider
from bench.providers.base import (
    BodyError,
    Complaint,
    Response,
    basic,
    bearer,
    is_id,
    json_response,
    parse_json,
    refused,
    rule_for,
    url_safe,
)


def test_a_provider_is_found_by_its_name() -> None:
    assert " ".join(PROVIDERS) == (
        "sendgrid mailgun postmark resend ses mailjet brevo smtpcom mailtrap generic"
    )
    for name, provider in PROVIDERS.items():
        assert get_provider(name) is provider
        assert provider.name == provider.facts.name == name
        assert provider.title == provider.facts.title


def test_an_unknown_provider_is_refused_with_the_names_that_are_known() -> None:
    with pytest.raises(ValueError, match="unknown provider 'sendgird'; known: sendgrid, mailgun"):
        get_provider("sendgird")


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_mock_credentials_come_from_the_seed_alone_and_differ_between_seeds(name: str) -> None:
    make = PROVIDERS[name].mock_credentials
    assert make(Random(1)) == make(Random(1))
    assert make(Random(1)) != make(Random(2))


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_no_credentials_no_headers(name: str) -> None:
    assert PROVIDERS[name].auth_headers(None) == ()


def test_authorization_headers() -> None:
    auth = Auth(Secret("me"), Secret("p:ss"))
    assert bearer(auth) == (("Authorization", "Bearer p:ss"),)
    ((name, value),) = basic(auth)
    assert name == "Authorization"
    assert b64decode(value.removeprefix("Basic ")) == b"me:p:ss"


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (400, Outcome.REJECTED_PERM, "invalid"),  # H01
        (422, Outcome.REJECTED_PERM, "invalid"),
        (406, Outcome.REJECTED_PERM, "invalid"),
        (415, Outcome.REJECTED_PERM, "invalid"),
        (401, Outcome.REJECTED_PERM, "auth"),  # H02
        (403, Outcome.REJECTED_PERM, "auth"),
        (404, Outcome.REJECTED_PERM, "config"),  # H03
        (405, Outcome.REJECTED_PERM, "config"),
        (410, Outcome.REJECTED_PERM, "config"),
        (409, Outcome.REJECTED_PERM, "conflict"),  # H04
        (413, Outcome.REJECTED_PERM, "size"),  # H05
        (429, Outcome.REJECTED_TEMP, "throttle"),  # H06
        (500, Outcome.UNKNOWN, "server"),  # H07
        (502, Outcome.UNKNOWN, "server"),
        (504, Outcome.UNKNOWN, "server"),
        (599, Outcome.UNKNOWN, "server"),
        (503, Outcome.REJECTED_TEMP, "unavailable"),  # H08
        (408, Outcome.UNKNOWN, "server"),  # H09
        (301, Outcome.REJECTED_PERM, "redirect"),  # H30
        (307, Outcome.REJECTED_PERM, "redirect"),
        (308, Outcome.REJECTED_PERM, "redirect"),
        (101, Outcome.UNKNOWN, "protocol"),
        (0, Outcome.UNKNOWN, "protocol"),
        (-1, Outcome.UNKNOWN, "protocol"),
        (999, Outcome.UNKNOWN, "protocol"),
    ],
)
def test_what_a_status_means(status: int, outcome: Outcome, error: str) -> None:
    rule = rule_for(status)
    assert (rule.outcome, rule.error) == (outcome, error)


@pytest.mark.parametrize("value", ["120", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "9" * 200, "soon", ""])
def test_retry_after_is_kept_as_it_came(value: str) -> None:
    judged = refused(Response(429, (("retry-after", value),), b""), Complaint())
    assert judged.notes == {"retry_after": value}


def test_the_place_a_redirect_points_to_is_noted_and_cut_to_a_sane_length() -> None:
    judged = refused(Response(302, (("location", "http://169.254.169.254/" + "x" * 9000),), b""), Complaint())
    assert judged.notes["location"].startswith("http://169.254.169.254/")
    assert len(judged.notes["location"]) == 4096
    assert "location" not in refused(Response(400, (("location", "x"),), b""), Complaint()).notes


def test_a_status_outside_the_protocol_is_an_anomaly() -> None:
    assert refused(Response(101, (), b""), Complaint()).anomaly == "status"
    assert refused(Response(500, (), b""), Complaint()).anomaly is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>login</html>",
        b"\xef\xbb\xbf{}",  # a byte order mark
        '{"a": 1}'.encode("utf-16"),
        b"\xff\xfe",
        b'{"a": NaN}',
        b"Infinity",
        b"[-Infinity]",
        b'{"a": 1, "a": 2}',
        b'[{"b": {"a": 1, "a": 1}}]',
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"1" * 10_000,
        b"{} {}",
        b"\x00",
    ],
)
def test_what_is_not_json_is_a_body_error(body: bytes) -> None:
    with pytest.raises(BodyError):
        parse_json(body)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_json_is_read_as_it_was_written(shape: object) -> None:
    assert parse_json(json.dumps(shape, ensure_ascii=False).encode("utf-8", "replace")) == shape


@given(st.binary())
def test_reading_json_raises_nothing_but_a_body_error(body: bytes) -> None:
    try:
        parse_json(body)
    except BodyError:
        return


def test_a_huge_number_is_no_crash() -> None:
    assert parse_json(b"1e999") == math.inf


@pytest.mark.parametrize("text", ["a", "Qm4-_x.1", "<a@b>", "x" * 512])
def test_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "é", "\x1b[31m", "x" * 513, None, 7])
def test_not_an_id(text: object) -> None:
    assert not is_id(text)


def test_random_ids_are_url_safe_and_of_the_length_asked_for() -> None:
    made = {url_safe(Random(seed), 16) for seed in range(200)}
    assert {len(each) for each in made} == {22}
    assert len(made) == 200
    assert all(each.replace("-", "").replace("_", "").isalnum() for each in made)


def test_an_answer_can_hold_what_utf_8_cannot() -> None:
    assert json.loads(json_response(400, {"text": "\ud800"}).body) == {"text": "\ud800"}
