"""Mailgun, Resend, Mailtrap, Brevo, SES: requests and the mock's answers against the vendors' own files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import jsonschema
import pytest

from bench.errors import UsageError
from bench.model import Attachment, Parts
from bench.providers import get_provider
from bench.providers.base import Provider, Request, Response
from bench.providers.forms import read_form
from tests.providers.specs import at, load, needs_specs, resolved
from tests.providers.test_all import call, credentials, serve

pytestmark = needs_specs

PLAIN = Parts("a@x.example", ("b@y.example",), "s", "text", None, (), (), "run-7", b"")
FULL = replace(
    PLAIN,
    recipients=("b@y.example", "c@y.example"),
    html="<p>é</p>",
    headers=(("X-Tag", "one"), ("Reply-To", "r@x.example")),
    attachments=(Attachment("b.txt", "text/plain", b"b"),),
)
PARTS = pytest.mark.parametrize("parts", [PLAIN, FULL], ids=["plain", "full"])
MANY = [(f"run-{n}", f"u{n}@y.example") for n in range(50)]


def batch(provider: Provider, parts: Parts) -> Request:
    """A batch call; without attachments where the provider's cannot carry them."""
    shared = replace(parts, key="@@KEY@@", recipients=("@@TO@@",))
    try:
        call = provider.batch_request(shared)
    except UsageError:
        call = provider.batch_request(replace(shared, attachments=()))
    return call.filled(MANY)


# ------------------------------------------------------------------------- OpenAPI


@dataclass(frozen=True)
class Described:
    """A provider whose API is described by an OpenAPI file."""

    file: str
    provider: str
    sandbox: bool = False
    batches: bool = True

    @property
    def name(self) -> str:
        return self.file.partition(".")[0]


DESCRIBED = (
    Described("mailgun.yaml", "mailgun"),
    Described("resend.yaml", "resend"),
    Described("mailtrap-transactional.yml", "mailtrap"),
    Described("mailtrap-bulk.yml", "mailtrap"),
    Described("mailtrap-sandbox.yml", "mailtrap", sandbox=True),
    Described("brevo.yml", "brevo", batches=False),  # from before `messageVersions`
)
EACH = pytest.mark.parametrize("described", DESCRIBED, ids=lambda each: each.name)
spec = cache(load)


def operation(file: str, request: Request) -> dict[str, object]:
    """The `post` of the path that the request's fits; of several the one with the fewest placeholders."""
    found = [
        (template.count("{"), at(path, "post"))
        for template, path in at(spec(file), "paths").items()
        if "post" in at(path) and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), request.path)
    ]
    assert found, f"{file} has no {request.path}"
    return min(found, key=lambda each: each[0])[1]


def request_schema(file: str, request: Request) -> object:
    post, root = operation(file, request), spec(file)
    if "requestBody" not in post:  # Swagger 2.0
        (body,) = (each for each in _listed(post["parameters"]) if each["in"] == "body")
        return resolved(body["schema"], root)
    ((_, content),) = at(resolved(post["requestBody"], root), "content").items()
    return at(content, "schema")


def response_schema(file: str, request: Request, status: int) -> object | None:
    """None where the file says nothing about the status."""
    documented = at(operation(file, request), "responses").get(str(status))
    if documented is None:
        return None
    shape = resolved(documented, spec(file))
    if "schema" in (top := at(shape)):
        return top["schema"]
    return at(shape, "content", "application/json")["schema"]


def _listed(shape: object) -> list[dict[str, object]]:
    assert isinstance(shape, list)
    return shape


def strict(schema: object) -> object:
    """The schema of a body that may hold nothing the file does not name."""
    match schema:
        case {"type": "array", "items": dict(items)}:
            return {**at(schema), "items": strict(items)}
        case {"oneOf": list(alternatives)}:  # Mailtrap's overlap: text and HTML together fit three
            return {"anyOf": alternatives, "unevaluatedProperties": False}
        case dict():
            return {**schema, "unevaluatedProperties": False}
    return schema


def validate(shape: object, schema: object) -> None:
    jsonschema.validate(shape, schema, jsonschema.Draft202012Validator)  # type: ignore[arg-type]


def shape_of(request: Request) -> object:
    """The body as the file describes it; a form as an object, fields of one's own names left out."""
    kind = request.header("content-type") or ""
    if kind == "application/json":
        return json.loads(request.body)
    found: dict[str, object] = {}
    for field in read_form(kind, request.body):
        if not field.name.startswith(("h:", "v:")):
            value = field.value.decode("utf-8") if field.filename is None else ""
            earlier = found.get(field.name)
            found[field.name] = value if earlier is None else [*_as_list(earlier), value]
    return found


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


@EACH
@PARTS
def test_requests_are_as_described(described: Described, parts: Parts) -> None:
    provider = get_provider(described.provider)
    requests = [provider.request(parts, sandbox=described.sandbox)]
    if described.batches and not described.sandbox:
        requests.append(batch(provider, parts))
    for request in requests:
        schema = request_schema(described.file, request)
        shape = shape_of(request)
        if described.provider == "mailgun":
            _fits_form(shape, schema)
        else:
            validate(shape, strict(schema))


def _fits_form(shape: object, schema: object) -> None:
    """A form's values are texts, whatever the type of the field; its names and what must be there count."""
    properties, given = at(schema, "properties"), at(shape)
    assert set(given) <= set(properties)
    required = at(schema).get("required", [])
    assert isinstance(required, list)
    assert set(required) <= set(given)


@EACH
def test_a_description_would_notice(described: Described) -> None:
    if described.provider == "mailgun":
        return  # see `_fits_form`
    request = get_provider(described.provider).request(PLAIN, sandbox=described.sandbox)
    shape = json.loads(request.body) | {"no_such_field": 1}
    with pytest.raises(jsonschema.ValidationError):
        validate(shape, strict(request_schema(described.file, request)))


@EACH
def test_answers_are_as_described(described: Described) -> None:
    provider = get_provider(described.provider)
    good = provider.request(PLAIN, sandbox=described.sandbox)
    wrong_key = provider.mock_credentials(Random(6))
    invalid = provider.request(replace(PLAIN, recipients=("nobody",)), sandbox=described.sandbox)
    asked = [call(provider, good), call(provider, good, wrong_key), call(provider, invalid)]
    if described.batches and not described.sandbox:
        asked.append(call(provider, batch(provider, PLAIN)))
    checked = 0
    for request in asked:
        response = serve(provider, request).response
        schema = response_schema(described.file, request, response.status)
        if schema is not None:
            validate(_body(response), schema)
            checked += 1
    assert checked >= (2 if described.provider == "resend" else len(asked) - 1)


def _body(response: Response) -> object:
    if response.header("content-type") == "text/plain":
        return response.body.decode("ascii")
    return json.loads(response.body)


# ---------------------------------------------------------------- the SES service model


def problems(shape: object, name: str, model: dict[str, object], where: str = "") -> Iterator[str]:
    """What is wrong with a shape by the service model: unknown, missing, of the wrong type, too many."""
    described = at(model, "shapes", name)
    match described["type"], shape:
        case "structure", dict():
            members, required = at(described, "members"), described.get("required", [])
            assert isinstance(required, list)
            yield from (f"{where}: no {each}" for each in required if each not in shape)
            for member, value in shape.items():
                if member not in members:
                    yield f"{where}: {member} is unknown"
                else:
                    kind = at(members, member)["shape"]
                    yield from problems(value, str(kind), model, f"{where}.{member}")
        case "list", list():
            yield from _bounds(len(shape), described, where)
            for each in shape:
                yield from problems(each, str(at(described, "member")["shape"]), model, f"{where}[]")
        case "string", str():
            yield from _bounds(len(shape), described, where)
            allowed = described.get("enum")
            if isinstance(allowed, list) and shape not in allowed:
                yield f"{where}: {shape!r} is none of {allowed}"
        case "blob", str():
            pass
        case kind, _:
            yield f"{where}: no {kind}"


def _bounds(size: int, described: dict[str, object], where: str) -> Iterator[str]:
    low, high = described.get("min", 0), described.get("max", 2**31)
    assert isinstance(low, int)
    assert isinstance(high, int)
    if not low <= size <= high:
        yield f"{where}: {size} of {low} to {high}"


@PARTS
def test_ses_requests_and_answers_are_as_the_model_has_them(parts: Parts) -> None:
    provider, model = get_provider("ses"), spec("ses.json")
    for request, kind in (
        (provider.request(parts), "SendEmail"),
        (batch(provider, parts), "SendBulkEmail"),
    ):
        assert at(model, "operations", kind, "http")["requestUri"] == request.path
        assert list(problems(json.loads(request.body), f"{kind}Request", model)) == []
        response = serve(provider, call(provider, request)).response
        assert list(problems(json.loads(response.body), f"{kind}Response", model)) == []


def test_the_model_would_notice() -> None:
    model = spec("ses.json")
    found = list(problems({"Contents": {}, "EmailTags": [{"Name": 1}]}, "SendEmailRequest", model))
    assert len(found) == 4


def test_ses_refusals_are_errors_of_the_model() -> None:
    provider, model = get_provider("ses"), spec("ses.json")
    invalid = call(provider, provider.request(replace(PLAIN, recipients=("nobody",))))
    for response in (serve(provider, invalid).response, provider.throttled(1)):
        kind = response.header("x-amzn-errortype")
        assert at(model, "shapes", str(kind), "error")["httpStatusCode"] == response.status
    wrong = call(provider, provider.request(PLAIN), replace(credentials(provider), user=None))
    assert serve(provider, wrong).response.status == 403  # signatures are the business of no service
