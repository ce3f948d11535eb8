from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts, Secret
from bench.providers import get_provider
from bench.providers.base import Request, Served

SENDGRID = get_provider("sendgrid")
AUTH = SENDGRID.mock_credentials(Random(5))
PARTS = Parts(
    sender="a@x.example",
    recipients=("b@y.example", "c@y.example"),
    subject="Grüße",
    text="hello ✓",
    html="<p>hello</p>",
    headers=(("X-Tag", "one"), ("Subject", "not this"), ("Content-Type", "nor/this")),
    attachments=(Attachment("a.bin", "application/octet-stream", bytes(range(256))),),
    key="run-7",
    mime=b"",
)


def body_of(parts: Parts = PARTS, *, sandbox: bool = False) -> dict[str, object]:
    shape = json.loads(SENDGRID.request(parts, sandbox=sandbox).body)
    assert isinstance(shape, dict)
    return shape


def call(body: bytes | None = None, auth: Auth | None = AUTH, *, without: str = "") -> Request:
    request = SENDGRID.request(PARTS)
    headers = ((name.lower(), value) for name, value in (*request.headers, *SENDGRID.auth_headers(auth)))
    kept = tuple(each for each in headers if each[0] != without)
    return replace(request, headers=kept, body=request.body if body is None else body)


def serve(request: Request) -> Served:
    return SENDGRID.answer(request, AUTH, Random(1))


# ------------------------------------------------------------------------- request


def test_the_request_is_mail_send_as_documented() -> None:
    request = SENDGRID.request(PARTS)
    assert (request.method, request.path) == ("POST", "/v3/mail/send")
    assert request.headers == (("Accept", "application/json"), ("Content-Type", "application/json"))
    shape = json.loads(request.body)
    attachment = shape.pop("attachments")
    assert shape == {
        "personalizations": [
            {
                "to": [{"email": "b@y.example"}, {"email": "c@y.example"}],
                "custom_args": {"sendbench_id": "run-7"},
            }
        ],
        "from": {"email": "a@x.example"},
        "headers": {"X-Tag": "one"},
        "subject": "Grüße",
        "content": [
            {"type": "text/plain", "value": "hello ✓"},
            {"type": "text/html", "value": "<p>hello</p>"},
        ],
    }
    assert b64decode(attachment[0].pop("content")) == bytes(range(256))
    assert attachment == [
        {"type": "application/octet-stream", "filename": "a.bin", "disposition": "attachment"}
    ]


def test_what_is_not_there_is_not_sent() -> None:
    shape = body_of(replace(PARTS, html=None, headers=(), attachments=()))
    assert set(shape) == {"personalizations", "from", "subject", "content"}
    assert shape["content"] == [{"type": "text/plain", "value": "hello ✓"}]


def test_placeholders_survive_as_they_are() -> None:
    parts = replace(PARTS, key="@@KEY-0123@@", recipients=("@@TO-0123@@",))
    body = SENDGRID.request(parts).body
    assert body.count(b"@@KEY-0123@@") == 1
    assert body.count(b"@@TO-0123@@") == 1


def test_a_reply_to_header_becomes_the_field_of_that_name() -> None:
    shape = body_of(replace(PARTS, headers=(("Reply-To", "Desk <desk@x.example>"),)))
    assert shape["reply_to"] == {"email": "desk@x.example", "name": "Desk"}
    assert "headers" not in shape
    plain = body_of(replace(PARTS, headers=(("reply-to", "desk@x.example"),)))
    assert plain["reply_to"] == {"email": "desk@x.example"}


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (replace(PARTS, text=None, html=None), "text or an HTML part"),
        (replace(PARTS, text="", html=""), "text or an HTML part"),
        (replace(PARTS, headers=(("X-A", "1"), ("x-a", "2"))), "'x-a' only once"),
        (replace(PARTS, headers=(("Reply-To", ""),)), "Reply-To '' is not an address"),
        (replace(PARTS, attachments=(Attachment("a", "text/plain", b""),)), "'a' is empty"),
    ],
)
def test_what_the_api_cannot_carry_is_refused_before_anything_is_sent(parts: Parts, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        SENDGRID.request(parts)


def test_the_sandbox_switch() -> None:
    assert body_of(sandbox=True)["mail_settings"] == {"sandbox_mode": {"enable": True}}
    assert "mail_settings" not in body_of()


def test_credentials() -> None:
    assert re.fullmatch(r"SG\.[\w-]{22}\.[\w-]{43}", AUTH.password.reveal())
    assert SENDGRID.auth_headers(AUTH) == (("Authorization", f"Bearer {AUTH.password.reveal()}"),)
    smtp = SENDGRID.smtp_auth(Auth(Secret("someone"), Secret("SG.k")))
    assert smtp == Auth(Secret("apikey"), Secret("SG.k"))


def test_facts() -> None:
    facts = SENDGRID.facts
    assert facts.api.base_urls["global"] == "https://api.sendgrid.com"
    assert facts.smtp.hosts["global"] == "smtp.sendgrid.net"
    assert facts.smtp.starttls_ports[0] == 587
    assert facts.smtp.tls_ports == (465,)
    assert facts.api.environment is not None
    assert facts.api.environment.password == "SENDGRID_API_KEY"
    assert facts.unconfirmed


# ------------------------------------------------------------------ the vendor's side


def test_there_and_back() -> None:
    served = serve(call())
    assert served.keys == ("run-7",)
    assert (served.response.status, served.response.body) == (202, b"")
    judged = SENDGRID.judge(served.response)
    assert judged.outcome is Outcome.ACCEPTED
    assert judged.message_id is not None
    assert re.fullmatch(r"[\w-]{22}", judged.message_id)


def test_the_sandbox_answers_200_without_an_id() -> None:
    served = serve(call(SENDGRID.request(PARTS, sandbox=True).body))
    assert (served.response.status, served.response.body, served.keys) == (200, b"", ("run-7",))
    assert SENDGRID.judge(served.response, sandbox=True).outcome is Outcome.ACCEPTED
    assert SENDGRID.judge(served.response).outcome is Outcome.UNKNOWN


def test_every_message_gets_an_id_of_its_own() -> None:
    rng = Random(1)
    ids = {SENDGRID.answer(call(), AUTH, rng).response.header("x-message-id") for _ in range(100)}
    assert len(ids) == 100


def test_a_batch_takes_the_key_of_each_personalization_and_falls_back_to_the_whole_message() -> None:
    shape = body_of()
    shape["custom_args"] = {"sendbench_id": "all"}
    shape["personalizations"] = [
        {"to": [{"email": "a@y.example"}], "custom_args": {"sendbench_id": "one"}},
        {"to": [{"email": "b@y.example"}]},
    ]
    assert serve(call(json.dumps(shape).encode())).keys == ("one", "all")


def test_a_message_without_our_key_is_taken_all_the_same() -> None:
    shape = body_of()
    shape["personalizations"] = [{"to": [{"email": "a@y.example"}]}]
    assert serve(call(json.dumps(shape).encode())).keys == ("",)


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (replace(call(), path="/v3/mail/sent"), 404, "not found"),
        (replace(call(), path=""), 404, "not found"),
        (replace(call(), method="GET"), 405, "method not allowed"),
        (call(auth=None), 401, "authorization required"),
        (
            call(auth=Auth(None, Secret("SG.wrong"))),
            401,
            "The provided authorization grant is invalid, expired, or revoked",
        ),
        (call(without="content-type"), 415, "Content-Type should be application/json."),
        (
            replace(call(), headers=(*call(without="content-type").headers, ("content-type", "text/plain"))),
            415,
            "Content-Type should be application/json.",
        ),
        (
            replace(call(), headers=(*call().headers, ("content-encoding", "gzip"))),
            415,
            "Content-Encoding gzip is not enabled for this account.",
        ),
        (call(b" " * (20 * 2**20 + 1)), 413, "content too large"),
        (call(b"\xff"), 415, "Invalid UTF8 in request"),
        (call(b""), 400, "Bad Request"),
        (call(b"{"), 400, "Bad Request"),
        (call(b"[]"), 400, "Bad Request"),
        (call(b"[" * 100_000), 400, "Bad Request"),
    ],
)
def test_calls_that_are_refused_as_a_whole(request_: Request, status: int, message: str) -> None:
    served = serve(request_)
    assert served.response.status == status
    assert served.keys == ()
    assert json.loads(served.response.body) == {"errors": [{"message": message, "field": None, "help": None}]}
    judged = SENDGRID.judge(served.response)
    assert judged.outcome is Outcome.REJECTED_PERM
    assert judged.notes == {"message": message}


def test_a_call_without_an_accept_header_gets_the_front_ends_own_page() -> None:
    served = serve(call(without="accept"))
    assert served.response.status == 406
    assert served.response.body.startswith(b"<html>")
    assert SENDGRID.judge(served.response).outcome is Outcome.REJECTED_PERM


def test_the_content_type_may_have_parameters_and_the_path_a_query() -> None:
    headers = (*call(without="content-type").headers, ("content-type", "Application/JSON; charset=utf-8"))
    assert serve(replace(call(), headers=headers)).response.status == 202
    assert serve(replace(call(), path="/v3/mail/send?x=1")).response.status == 202


Shape = dict[str, object]
PERSON: Shape = {"to": [{"email": "b@y.example"}]}


def people(**more: object) -> dict[str, object]:
    return {"personalizations": [PERSON | more]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"personalizations": None}, "personalizations"),
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": {}}, "personalizations"),
        ({"personalizations": [PERSON] * 1001}, "personalizations"),
        (people(to=[{"email": f"u{n}@y.example"} for n in range(1001)]), "personalizations"),
        ({"personalizations": [None]}, "personalizations.0.to"),
        ({"personalizations": [PERSON, {}]}, "personalizations.1.to"),
        (people(to=[]), "personalizations.0.to"),
        (people(to="b@y.example"), "personalizations.0.to"),
        (people(to=["b@y.example"]), "personalizations.0.to.0.email"),
        (people(to=[{"name": "B"}]), "personalizations.0.to.0.email"),
        (people(to=[{"email": "b@y.example"}, {"email": "nobody"}]), "personalizations.0.to.1.email"),
        (people(to=[{"email": "b@localhost"}]), "personalizations.0.to.0.email"),
        (people(to=[{"email": "a@y.example, b@y.example"}]), "personalizations.0.to.0.email"),
        (people(to=[{"email": "b@y.example\r\nBcc: c@z.example"}]), "personalizations.0.to.0.email"),
        (people(to=[{"email": "b" * 320 + "@y.example"}]), "personalizations.0.to.0.email"),
        (people(cc=[{"email": "nobody"}]), "personalizations.0.cc.0.email"),
        (people(bcc=5), "personalizations.0.bcc"),
        (people(cc=[{"email": "B@Y.example"}]), "personalizations.0"),
        (people(to=[{"email": "b@y.example"}] * 2), "personalizations.0"),
        (people(subject=""), "personalizations.0.subject"),
        (people(headers={"X-A": 1}), "personalizations.0.headers"),
        (people(headers={"Subject": "x"}), "personalizations.0.headers"),
        (people(custom_args=[]), "personalizations.0.custom_args"),
        (people(custom_args={}), "personalizations.0.custom_args"),
        (people(custom_args={"a": 1}), "personalizations.0.custom_args"),
        (people(custom_args={"a": "x" * 10_000}), "personalizations.0.custom_args"),
        ({"from": None}, "from.email"),
        ({"from": "a@x.example"}, "from.email"),
        ({"from": {"name": "A"}}, "from.email"),
        ({"from": {"email": "nobody"}}, "from.email"),
        ({"reply_to": {"email": 5}}, "reply_to.email"),
        ({"subject": None}, "subject"),
        ({"subject": ""}, "subject"),
        ({"content": None}, "content"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"type": "text/plain"}]}, "content.0.value"),
        ({"content": [{"value": "x"}]}, "content.0.type"),
        ({"content": [{"type": "text/plain; charset=utf-8", "value": "x"}]}, "content.0.type"),
        ({"content": ["x"]}, "content.0.type"),
        (
            {"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]},
            "content",
        ),
        ({"attachments": [{"filename": "a"}]}, "attachments.0.content"),
        ({"attachments": [{"filename": "a", "content": "???"}]}, "attachments.0.content"),
        ({"attachments": [{"filename": "a", "content": "é"}]}, "attachments.0.content"),
        ({"attachments": [{"content": "QQ=="}]}, "attachments.0.filename"),
        (
            {"attachments": [{"filename": "a", "content": "QQ==", "disposition": "\ud800"}]},
            "attachments.0.disposition",
        ),
        ({"attachments": 7}, "attachments.0.content"),
        ({"headers": {"X A": "1"}}, "headers"),
        ({"headers": {"X-A": "1", "x-a": "1"}}, "headers"),
        ({"headers": []}, "headers"),
    ],
)
def test_bodies_that_are_refused_name_the_field(change: dict[str, object], field: str) -> None:
    body = json.dumps(body_of() | change).encode()
    served = serve(call(body))
    assert served.response.status == 400
    assert served.keys == ()
    first = json.loads(served.response.body)["errors"][0]
    assert first["field"] == field
    assert first["message"]
    assert first["help"].startswith("http")
    judged = SENDGRID.judge(served.response)
    assert (judged.outcome, judged.error) == (Outcome.REJECTED_PERM, "invalid")
    assert judged.notes["field"] == field


@pytest.mark.parametrize("name", ["personalizations", "from", "subject", "content"])
def test_what_is_missing_is_refused(name: str) -> None:
    shape = body_of()
    del shape[name]
    errors = json.loads(serve(call(json.dumps(shape).encode())).response.body)["errors"]
    assert name in [each["field"].split(".")[0] for each in errors]


@pytest.mark.parametrize(
    "change",
    [
        lambda shape: shape.pop("content") and shape.update(template_id="d-1"),
        lambda shape: shape.pop("subject") and shape.update(template_id="d-1"),
        lambda shape: shape.pop("subject") and shape["personalizations"][0].update(subject="s"),
        lambda shape: shape["personalizations"][0].update(cc=[{"email": "d@z.example", "name": "D"}]),
        lambda shape: shape.update(custom_args="text"),
        lambda shape: shape.update(reply_to={"email": "r@x.example"}, categories=["a"]),
        lambda shape: shape.update(
            personalizations=[{"to": [{"email": f"u{n}@y.example"}]} for n in range(1000)]
        ),
    ],
)
def test_bodies_that_are_taken(change: Callable[[dict[str, object]], object]) -> None:
    shape = body_of()
    change(shape)
    assert serve(call(json.dumps(shape).encode())).response.status == 202


def test_every_problem_is_named_at_once() -> None:
    errors = json.loads(serve(call(b'{"content": [{"type": "", "value": ""}]}')).response.body)["errors"]
    assert [each["field"] for each in errors] == [
        "personalizations", "from.email", "subject", "content.0.type", "content.0.value",
    ]  # fmt: skip
