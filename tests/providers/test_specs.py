"""Our requests to SendGrid and its mock's answers against the vendor's own specification file."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import jsonschema
import pytest

from bench.model import Attachment, Parts
from bench.providers import get_provider
from bench.providers.base import Request
from tests.providers.specs import at, closed, load, needs_specs, resolved

pytestmark = needs_specs

SENDGRID = get_provider("sendgrid")
AUTH = SENDGRID.mock_credentials(Random(5))
PLAIN = Parts("a@x.example", ("b@y.example",), "s", "text", None, (), (), "run-7", b"")
RICH = replace(
    PLAIN,
    recipients=tuple(f"u{n}@y.example" for n in range(1000)),
    html="<p>é</p>",
    headers=(("X-Tag", "one"), ("Reply-To", "R <r@x.example>")),
    attachments=(Attachment("é.pdf", "application/pdf", b"%PDF"), Attachment("b.txt", "text/plain", b"b")),
)


@pytest.fixture(scope="module")
def spec() -> dict[str, object]:
    return load("sendgrid.yaml")


def body_schema(spec: dict[str, object]) -> dict[str, object]:
    path = ("components", "requestBodies", "PostMailSend", "content", "application/json", "schema")
    schema = closed(resolved(at(spec, *path), spec))
    assert isinstance(schema, dict)
    return schema


@pytest.mark.parametrize("sandbox", [False, True])
@pytest.mark.parametrize("parts", [PLAIN, RICH], ids=["plain", "rich"])
def test_sendgrid_request(spec: dict[str, object], parts: Parts, sandbox: bool) -> None:
    request = SENDGRID.request(parts, sandbox=sandbox)
    assert "post" in at(spec, "paths", request.path)
    jsonschema.validate(
        json.loads(request.body),
        body_schema(spec),
        jsonschema.Draft202012Validator,
        format_checker=jsonschema.FormatChecker(["email"]),
    )


@pytest.mark.parametrize("parts", [PLAIN, RICH], ids=["plain", "rich"])
def test_sendgrid_batch(spec: dict[str, object], parts: Parts) -> None:
    batch = SENDGRID.batch_request(replace(parts, key="@@KEY@@", recipients=("@@TO@@",)))
    request = batch.filled([(f"run-{n}", f"u{n}@y.example") for n in range(1000)])
    jsonschema.validate(json.loads(request.body), body_schema(spec), jsonschema.Draft202012Validator)


def test_the_schema_would_notice(spec: dict[str, object]) -> None:
    spoils: tuple[dict[str, object], ...] = (
        {"personalizations": [{}]},
        {"subject": ""},
        {"no_such_field": 1},
        {"content": [{}]},
    )
    for spoil in spoils:
        shape = json.loads(SENDGRID.request(PLAIN).body) | spoil
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(shape, body_schema(spec), jsonschema.Draft202012Validator)


def test_the_mock_takes_the_examples_of_the_specification(spec: dict[str, object]) -> None:
    path = ("components", "requestBodies", "PostMailSend", "content", "application/json", "examples")
    for name, example in at(spec, *path).items():
        shape = at(example, "value")
        for each in shape.get("attachments", []):  # type: ignore[attr-defined]  # a list in every example
            each["content"] = "QQ=="  # the specification's own is cut off and no base64
        served = SENDGRID.answer(call(json.dumps(shape).encode()), AUTH, Random(1))
        assert served.response.status == 202, (name, served.response.body)


def test_sendgrid_errors_have_the_documented_shape_and_status(spec: dict[str, object]) -> None:
    schema = resolved(at(spec, "components", "schemas", "ErrorResponse"), spec)
    assert isinstance(schema, dict)
    documented = at(spec, "paths", "/v3/mail/send", "post", "responses")
    good = call(SENDGRID.request(PLAIN).body)
    for request in (
        replace(good, body=b"{}"),
        replace(good, headers=()),
        replace(good, path="/v3/mail"),
        replace(good, method="PUT"),
        replace(good, body=b" " * (20 * 2**20 + 1)),
    ):
        response = SENDGRID.answer(request, AUTH, Random(1)).response
        assert str(response.status) in documented
        shape = json.loads(response.body)
        # the file says `nullable`, which JSON Schema does not know, and shows an object for help where the
        # service sends a text or null
        jsonschema.validate({"errors": [{"message": each["message"]} for each in shape["errors"]]}, schema)


def call(body: bytes) -> Request:
    request = SENDGRID.request(PLAIN)
    headers = tuple((k.lower(), v) for k, v in (*request.headers, *SENDGRID.auth_headers(AUTH)))
    return replace(request, headers=headers, body=body)
