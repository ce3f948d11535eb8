"""Resend: /emails and /emails/batch, as of the vendor's OpenAPI file 1.5.0 and its documentation.

A repeated `Idempotency-Key` is not recognised by the mock, which remembers no call.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from random import Random

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts, Secret
from bench.providers.base import (
    CONFLICT,
    REFUSED,
    Answered,
    ApiFacts,
    AuthScheme,
    BatchRequest,
    BodyError,
    Complaint,
    EnvironmentNames,
    Headers,
    Judgement,
    ProviderFacts,
    Request,
    Response,
    Rule,
    SandboxFacts,
    Served,
    SmtpFacts,
    alike,
    bare,
    batch_of,
    bearer,
    is_address,
    is_id,
    json_batch,
    json_bytes,
    json_response,
    made_up,
    media_type,
    other_headers,
    parse_json,
    read_complaint,
    refused,
    reply_to,
    unclear,
    url_safe,
    uuid_text,
)

_ENVIRONMENT = EnvironmentNames(password="RESEND_API_KEY")
_SINGLE, _BATCH = "/emails", "/emails/batch"
_KEY = "sendbench_id"
_MAX_BATCH = 100
_MAX_RECIPIENTS = 50
_SIMULATOR = "delivered@resend.dev"
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))

FACTS = ProviderFacts(
    name="resend",
    title="Resend",
    smtp=SmtpFacts(
        hosts={"global": "smtp.resend.com"},
        starttls_ports=(587, 25, 2587),
        tls_ports=(465, 2465),
        user="the literal word resend; the password is the API key",
        environment=_ENVIRONMENT,
        headers=("Resend-Idempotency-Key",),
    ),
    api=ApiFacts(
        base_urls={"global": "https://api.resend.com"},
        auth=AuthScheme.BEARER,
        environment=_ENVIRONMENT,
        max_recipients=_MAX_RECIPIENTS,
        max_batch=_MAX_BATCH,
        calls_per_s=5,
        rate_headers=("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
        retry_after=True,
        meanings={
            "validation_error": REFUSED,  # also where 403 says that the sender's domain is not verified
            "concurrent_idempotent_requests": Rule(Outcome.UNKNOWN, "conflict"),  # the first may yet be sent
            "invalid_idempotent_request": CONFLICT,
        },
        idempotency="header Idempotency-Key, 1 to 256 characters, kept for 24 h",
    ),
    sandbox=SandboxFacts(
        api=f"mail goes to {_SIMULATOR}",
        smtp=f"mail goes to {_SIMULATOR}",
        recipient=_SIMULATOR,
        caveat="It is a real send to an address of the vendor's own, with real events.",
    ),
    unconfirmed=(
        "SMTP limits, and whether the API's rate limit binds SMTP",
        "5 calls/s: in the newer pages; 2 in older ones",
        "the names of the errors that come with 409",
        "40 MB for attachments: from other people's reports",
    ),
)


class Resend:
    """POST /emails; 200 with `{"id"}`."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Resend:
        """See `Provider.configured`: no call differs by region."""
        return self

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`."""
        shape = _message(parts, sandbox=sandbox)
        if parts.attachments:
            shape["attachments"] = [_attachment(each) for each in parts.attachments]
        return Request("POST", _SINGLE, _JSON, json_bytes(shape))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: a bare array of whole messages, all of them taken or none."""
        if parts.attachments:
            raise UsageError("message.attachments: Resend drops them in a batch; use batch: off")
        return batch_of(parts, _BATCH, _JSON, json_batch("[", _message(parts, sandbox=sandbox), "]"))

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`."""
        return bearer(auth) if auth is not None else ()

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """See `Provider.judge`."""
        if not 200 <= response.status < 300:
            return refused(response, read_complaint(response.body, _complaint), FACTS.api.meanings)
        if response.status != FACTS.api.success:
            return unclear("status")
        try:
            return _judged(parse_json(response.body))
        except BodyError:
            return unclear("body")

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: an id for each message, in order."""
        if response.status != FACTS.api.success:
            return alike(self.judge(response), count)
        try:
            shape = parse_json(response.body)
        except BodyError:
            return alike(unclear("body"), count)
        match shape:
            case {"errors": [_, *_]}:
                return alike(unclear("body"), count)  # we ask for all or nothing
            case {"data": [*results]} if len(results) == count:
                return tuple(_judged(each) for each in results)
        return alike(unclear("body"), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`: the sandbox is an address."""
        return ()

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`."""
        return Auth(Secret("resend", "Resend's convention"), auth.password)

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        return Auth(None, made_up(f"re_{url_safe(rng, 6)}_{url_safe(rng, 18)}"))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return _error(429, "rate_limit_exceeded", f"Too many requests. Try again in {reset_s} s.")

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        served = _serve(request, auth.password.reveal(), rng)
        return replace(served, named=request.header("idempotency-key"), conflict=_CONFLICT)


# -------------------------------------------------------------------- the request


def _message(parts: Parts, *, sandbox: bool) -> dict[str, object]:
    if not parts.text and not parts.html:
        raise UsageError("message: Resend's API needs a text or an HTML part")
    if len(parts.recipients) > _MAX_RECIPIENTS:
        raise UsageError(f"message.recipients: Resend takes at most {_MAX_RECIPIENTS} for a message")
    found: dict[str, object] = {
        "from": parts.sender,
        "to": [_SIMULATOR] if sandbox else list(parts.recipients),
        "subject": parts.subject,
    }
    found |= {name: text for name, text in (("text", parts.text), ("html", parts.html)) if text}
    return found | _headers(parts)


def _headers(parts: Parts) -> dict[str, object]:
    answers = reply_to(parts.headers)
    headers = other_headers(parts.headers)
    return {
        **({"reply_to": answers} if answers else {}),
        **({"headers": headers} if headers else {}),
        "tags": [{"name": _KEY, "value": parts.key}],  # letters, digits, _ and -: as our keys are
    }


def _attachment(each: Attachment) -> dict[str, str]:
    content = b64encode(each.content).decode("ascii")
    return {"filename": each.filename, "content": content, "content_type": each.content_type}


# --------------------------------------------------------------------- the answer


def _judged(result: object) -> Judgement:
    match result:
        case {"id": str(found)} if is_id(found):
            return Judgement(Outcome.ACCEPTED, (found,))
        case {"id": _}:
            return unclear("no_id")
    return unclear("body")


def _complaint(body: object) -> Complaint:
    match body:
        case {"name": str(name), "message": str(text)}:
            return Complaint(text, code=name)
    return Complaint()


# ---------------------------------------------------------------- the vendor's side

_NO_OBJECT = ("validation_error", "The request body must be a JSON object.")


def _error(status: int, name: str, text: str) -> Response:
    return json_response(status, {"statusCode": status, "name": name, "message": text})


_CONFLICT = _error(
    409, "invalid_idempotent_request", "This idempotency key has been used with another request."
)


def _refuse_call(request: Request, path: str, key: str) -> Response | None:
    if path not in (_SINGLE, _BATCH):
        return _error(404, "not_found", "The requested endpoint does not exist")
    if request.method != "POST":
        return _error(405, "method_not_allowed", "Method is not allowed for the requested path")
    given = request.header("authorization")
    if given is None:
        return _error(401, "missing_api_key", "Missing API key in the authorization header")
    if given != f"Bearer {key}":
        return _error(403, "invalid_api_key", "API key is invalid")
    if media_type(request) != "application/json":
        return _error(400, "validation_error", "The Content-Type header must be application/json.")
    return None


def _serve(request: Request, key: str, rng: Random) -> Served:
    path = request.path.partition("?")[0]
    refusal = _refuse_call(request, path, key)
    if refusal is not None:
        return Served(refusal)
    try:
        body = parse_json(request.body)
    except BodyError:
        return Served(_error(400, "validation_error", "The request body is not valid JSON."))
    if path == _BATCH:
        permissive = request.header("x-batch-validation") == "permissive"
        return _serve_batch(body, rng, permissive=permissive)
    problem = _problem(body)
    if problem is not None or not isinstance(body, dict):
        return Served(_error(422, *(problem or _NO_OBJECT)))
    return Served(json_response(200, {"id": uuid_text(rng)}), (_key_of(body),))


def _serve_batch(body: object, rng: Random, *, permissive: bool) -> Served:
    if not isinstance(body, list) or not body:
        return Served(_error(422, "validation_error", "The request body must be an array of emails."))
    if len(body) > _MAX_BATCH:
        text = f"The batch may hold at most {_MAX_BATCH} emails."
        return Served(_error(422, "validation_error", text))
    problems = {index: found for index, each in enumerate(body) if (found := _problem(each)) is not None}
    if problems and not permissive:
        return Served(_error(422, *next(iter(problems.values()))))
    taken = [each for index, each in enumerate(body) if index not in problems]
    shape: dict[str, object] = {"data": [{"id": uuid_text(rng)} for _ in taken]}
    if permissive:
        shape["errors"] = [{"index": index, "message": text} for index, (_, text) in problems.items()]
    return Served(json_response(200, shape), tuple(_key_of(each) for each in taken))


def _problem(body: object) -> tuple[str, str] | None:
    """The first thing that is wrong with a message: name and text; None where it is taken."""
    if not isinstance(body, dict):
        return _NO_OBJECT
    for name in ("from", "to", "subject"):
        if not body.get(name):
            return "missing_required_field", f"Missing `{name}` field."
    if not is_address(bare(body["from"])):
        return "validation_error", "Invalid `from` field."
    listed = body["to"] if isinstance(body["to"], list) else [body["to"]]
    if len(listed) > _MAX_RECIPIENTS or not all(is_address(bare(each)) for each in listed):
        return "validation_error", "Invalid `to` field."
    if not any(isinstance(body.get(name), str) and body[name] for name in ("text", "html")):
        return "missing_required_field", "Missing `html` or `text` field."
    return None


def _key_of(body: Mapping[str, object]) -> str:
    tags = body.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        match tag:
            case {"name": "sendbench_id", "value": str(key)}:
                return key
    return ""
