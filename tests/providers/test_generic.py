from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts, Secret, Template
from bench.providers import get_provider
from bench.providers.base import Request, Response, Served
from bench.providers.generic import Generic

GENERIC = get_provider("generic")
MIME = b"From: a@x.example\r\nX-Sendbench-Id: run-7\r\nSubject: s\r\n\r\nbody\r\nX-Sendbench-Id: not-this\r\n"
PARTS = Parts("a@x.example", ("b@y.example",), "s", "body", None, (), (), "run-7", MIME)
AUTH = GENERIC.mock_credentials(Random(5))


def call(auth: Auth = AUTH, body: bytes = MIME) -> Request:
    request = GENERIC.request(replace(PARTS, mime=body))
    headers = (*request.headers, *GENERIC.auth_headers(auth))
    return replace(request, headers=tuple((name.lower(), value) for name, value in headers))


def serve(request: Request) -> Served:
    return GENERIC.answer(request, AUTH, Random(1))


def test_the_message_is_the_body_and_the_target_is_the_address() -> None:
    request = GENERIC.request(PARTS, sandbox=True)
    assert (request.method, request.path, request.body) == ("POST", "", MIME)
    assert request.header("content-type") == "message/rfc822"


def test_there_and_back() -> None:
    served = serve(call())
    assert served.keys == ("run-7",)
    judged = GENERIC.judge(served.response)
    assert judged.outcome is Outcome.ACCEPTED
    assert judged.message_id == json.loads(served.response.body)["id"]


def test_a_message_without_our_key_is_taken_all_the_same() -> None:
    assert serve(call(body=b"Subject: s\r\n\r\nbody")).keys == ("",)


def test_credentials_with_a_user_are_basic_and_without_one_bearer() -> None:
    assert GENERIC.auth_headers(AUTH)[0][1].startswith("Basic ")
    assert GENERIC.auth_headers(Auth(None, Secret("k"))) == (("Authorization", "Bearer k"),)
    assert GENERIC.smtp_auth(AUTH) is AUTH


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (replace(call(), method="GET"), 405),
        (call(auth=Auth(AUTH.user, Secret("wrong"))), 401),
        (call(auth=Auth(None, AUTH.password)), 401),
        (replace(call(), headers=()), 401),
        (replace(call(), headers=(*GENERIC.auth_headers(AUTH), ("content-type", "text/plain"))), 415),
        (call(body=b"\r\n\r\n" + bytes(50 * 2**20)), 413),
        (call(body=b"no header ends here"), 400),
        (call(body=b""), 400),
    ],
)
def test_refusals(request_: Request, status: int) -> None:
    served = serve(request_)
    assert served.response.status == status
    assert served.keys == ()
    assert GENERIC.judge(served.response).outcome is Outcome.REJECTED_PERM


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207, 299])
def test_any_2xx_is_accepted_whatever_it_says(status: int) -> None:
    judged = GENERIC.judge(Response(status, (), b"<html>"))
    assert (judged.outcome, judged.message_id, judged.error) == (Outcome.ACCEPTED, None, None)


def test_an_id_in_a_header_is_kept_if_it_is_one() -> None:
    assert GENERIC.judge(Response(200, (("message-id", "<1@x>"),), b"")).message_id == "<1@x>"
    assert GENERIC.judge(Response(200, (("x-message-id", "no id"),), b"")).message_id is None


@given(st.integers(), st.lists(st.tuples(st.text(), st.text())), st.binary())
def test_judging_never_raises(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    judged = GENERIC.judge(Response(status, tuple(headers), body))
    assert (judged.outcome is Outcome.ACCEPTED) == (200 <= status < 300)


NAMED = Generic(Template('{"to": {to}}', id="data.id"))


@pytest.mark.parametrize(
    ("body", "outcome", "anomaly"),
    [
        (b'{"data": {"id": "a-1"}}', Outcome.ACCEPTED, None),
        (b'{"data": {"id": 17}}', Outcome.ACCEPTED, None),
        (b'{"data": {"id": true}}', Outcome.UNKNOWN, "no_id"),
        (b'{"data": ["id"]}', Outcome.UNKNOWN, "no_id"),
        (b"[]", Outcome.UNKNOWN, "no_id"),
        (b"<html>", Outcome.UNKNOWN, "body"),
    ],
)
def test_where_a_template_names_an_id_it_has_to_be(
    body: bytes, outcome: Outcome, anomaly: str | None
) -> None:
    judged = NAMED.judge(Response(200, (), body))
    assert (judged.outcome, judged.anomaly) == (outcome, anomaly)


def test_a_template_without_an_id_takes_any_success() -> None:
    assert Generic(Template("{}")).judge(Response(204, (), b"")).outcome is Outcome.ACCEPTED


def test_what_a_template_has_no_place_for_is_said() -> None:
    parts = replace(PARTS, attachments=(Attachment("a", "text/plain", b"a"),))
    with pytest.raises(UsageError, match="attachments"):
        NAMED.request(parts)
