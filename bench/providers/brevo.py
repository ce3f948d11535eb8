"""Brevo: /v3/smtp/email, as of the vendor's documentation and the models of its own Python package."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from random import Random

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts
from bench.providers.base import (
    Answered,
    ApiFacts,
    AuthScheme,
    BatchRequest,
    BodyError,
    Complaint,
    Each,
    EnvironmentNames,
    Headers,
    Judgement,
    ProviderFacts,
    Request,
    Response,
    SandboxFacts,
    Served,
    SmtpFacts,
    alike,
    bare,
    batch_of,
    is_address,
    is_id,
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
)

_SEND = "/smtp/email"
_KEY_HEADER = "X-Mailin-custom"
_KEY = "sendbench_id"
_MAX_RECIPIENTS = 2000
_MAX_PER_VERSION = 99
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))

FACTS = ProviderFacts(
    name="brevo",
    title="Brevo",
    smtp=SmtpFacts(
        hosts={"global": "smtp-relay.brevo.com"},
        starttls_ports=(587, 2525),
        tls_ports=(465,),
        user="the login of the SMTP page; the password is an SMTP key, not the API key",
        environment=EnvironmentNames(password="BREVO_SMTP_KEY", user="BREVO_SMTP_LOGIN"),
        headers=("X-Mailin-Tag", _KEY_HEADER, "sender.ip"),
    ),
    api=ApiFacts(
        base_urls={"global": "https://api.brevo.com/v3"},
        auth=AuthScheme.HEADER,
        environment=EnvironmentNames(password="BREVO_API_KEY"),
        max_recipients=_MAX_PER_VERSION,
        max_batch=_MAX_RECIPIENTS,
        max_batch_recipients=_MAX_RECIPIENTS,
        calls_per_s=1000,
        success=201,
        rate_headers=("x-sib-ratelimit-limit", "x-sib-ratelimit-remaining", "x-sib-ratelimit-reset"),
        idempotency="idempotencyKey among the headers in the body, kept for 30 min",
    ),
    sandbox=SandboxFacts(
        api="X-Sib-Sandbox: drop among the headers in the body",
        caveat="It is answered as usual; no mail goes out and no log is written.",
    ),
    unconfirmed=(
        "STARTTLS on 587 and 2525: the documentation only says that they are not encrypted",
        "SMTP limits, and other headers over SMTP",
        "the sandbox over SMTP",
        "the batch form's 100 calls a minute: from a changelog of 2022",
        "the answer to a repeated idempotencyKey: the mock gives the first one again",
        "Retry-After on 429",
        "the words of 429: the mock's are its own",
    ),
)


class Brevo:
    """POST /smtp/email; 201 with `messageId`. A batch is the same call with `messageVersions`.

    The maximum of a batch is that of the recipients, as each message has one at least.
    """

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Brevo:
        """See `Provider.configured`: no call differs by region."""
        return self

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`."""
        shape = _shared(parts, {_KEY_HEADER: f"{_KEY}:{parts.key}"}, sandbox=sandbox)
        return Request("POST", _SEND, _JSON, json_bytes({**shape, "to": _people(parts)}))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: a version has no headers of its own, so the key is a parameter."""
        version = {"to": _people(parts), "params": {_KEY: parts.key}}
        before = json_bytes(_shared(parts, {}, sandbox=sandbox))[:-1] + b',"messageVersions":['
        return batch_of(parts, _SEND, _JSON, (before, Each(json_bytes(version)), b"]}"))

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`."""
        return (("api-key", auth.password.reveal()),) if auth is not None else ()

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """See `Provider.judge`."""
        if not 200 <= response.status < 300:
            return refused(response, read_complaint(response.body, _complaint), FACTS.api.meanings)
        if response.status != FACTS.api.success:
            return unclear("status")
        match _read(response.body):
            case {"messageId": str(found)} if is_id(found):
                return Judgement(Outcome.ACCEPTED, (found,))
            case {"messageId": _} | {"messageIds": _}:
                return unclear("no_id")
        return unclear("body")

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: an id for each version, in order; there are no errors of their own."""
        if response.status != FACTS.api.success:
            return alike(self.judge(response), count)
        match _read(response.body):
            case {"messageIds": [*ids]} if len(ids) == count:
                return tuple(
                    Judgement(Outcome.ACCEPTED, (each,))
                    if isinstance(each, str) and is_id(each)
                    else unclear("no_id")
                    for each in ids
                )
        return alike(unclear("body"), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`."""
        if sandbox:
            raise UsageError("whether Brevo has a sandbox over SMTP is unconfirmed; use transport: api")
        return ((_KEY_HEADER, f"{_KEY}:{key}"),)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`: credentials of their own, as given."""
        return auth

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`: the mock takes the API key as the SMTP key as well."""
        login = f"{rng.getrandbits(24):06x}001@smtp-brevo.example"
        return Auth(
            made_up(login), made_up(f"xkeysib-{rng.getrandbits(256):064x}-{rng.getrandbits(64):016x}")
        )

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return json_response(429, {"code": "too_many_requests", "message": "Rate limit exceeded"})

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        refusal = _refuse_call(request, auth.password.reveal())
        if refusal is not None:
            return Served(refusal)
        try:
            body = parse_json(request.body)
        except BodyError:
            return Served(_error(400, "bad_request", "Input must be a valid JSON object"))
        if not isinstance(body, dict):
            return Served(_error(400, "bad_request", "Input must be a valid JSON object"))
        problem = _problem(body)
        if problem is not None:
            return Served(_error(400, *problem))
        versions = body.get("messageVersions")
        if not isinstance(versions, list):
            response = json_response(201, {"messageId": _message_id(rng)})
            return Served(response, (_key_of(body),), named=_header(body, "idempotencyKey"))
        response = json_response(201, {"messageIds": [_message_id(rng) for _ in versions]})
        keys = tuple(_version_key(each) for each in versions)
        return Served(response, keys, named=_header(body, "idempotencyKey"))


# -------------------------------------------------------------------- the request


def _shared(parts: Parts, ours: Mapping[str, str], *, sandbox: bool) -> dict[str, object]:
    """All but the recipients."""
    if not parts.text and not parts.html:
        raise UsageError("message: Brevo's API needs a text or an HTML part")
    if len(parts.recipients) > _MAX_PER_VERSION:
        raise UsageError(f"message.recipients: Brevo takes at most {_MAX_PER_VERSION} for a message")
    found: dict[str, object] = {"sender": {"email": parts.sender}, "subject": parts.subject}
    found |= {name: text for name, text in (("textContent", parts.text), ("htmlContent", parts.html)) if text}
    headers = {**other_headers(parts.headers), **ours, **({"X-Sib-Sandbox": "drop"} if sandbox else {})}
    answers = reply_to(parts.headers)
    found |= {"headers": headers} if headers else {}
    found |= {"replyTo": {"email": bare(answers)}} if answers else {}
    if parts.attachments:
        found["attachment"] = [_attachment(each) for each in parts.attachments]
    return found


def _people(parts: Parts) -> list[dict[str, str]]:
    return [{"email": each} for each in parts.recipients]


def _attachment(each: Attachment) -> dict[str, str]:
    return {"name": each.filename, "content": b64encode(each.content).decode("ascii")}


# --------------------------------------------------------------------- the answer


def _read(body: bytes) -> object:
    try:
        return parse_json(body)
    except BodyError:
        return None


def _complaint(body: object) -> Complaint:
    match body:
        case {"code": str(code), "message": str(text)}:
            return Complaint(text, code=code)
    return Complaint()


# ---------------------------------------------------------------- the vendor's side


def _error(status: int, code: str, text: str) -> Response:
    return json_response(status, {"code": code, "message": text})


def _refuse_call(request: Request, key: str) -> Response | None:
    if request.path.partition("?")[0] != _SEND:
        return _error(404, "document_not_found", "Route not found")
    if request.method != "POST":
        return _error(405, "method_not_allowed", "Method not allowed")
    if request.header("api-key") != key:
        return _error(401, "unauthorized", "Key not found")
    if media_type(request) != "application/json":
        return _error(406, "not_acceptable", "Content-Type must be application/json")
    return None


def _problem(body: Mapping[str, object]) -> tuple[str, str] | None:
    """The first thing that is wrong with a call: code and text; None where it is taken."""
    sender = body.get("sender")
    if not isinstance(sender, dict):
        return "missing_parameter", "sender is missing"
    if not is_address(sender.get("email")):
        return "invalid_parameter", "valid sender email required"
    if not any(isinstance(body.get(name), str) and body[name] for name in ("textContent", "htmlContent")):
        return "missing_parameter", "Either of htmlContent or textContent is required"
    if not body.get("subject"):
        return "missing_parameter", "subject is required"
    versions = body.get("messageVersions")
    if versions is None:
        return _people_problem(body.get("to"))
    if not isinstance(versions, list) or not versions or not all(isinstance(each, dict) for each in versions):
        return "invalid_parameter", "messageVersions is not valid"
    if sum(len(each["to"]) for each in versions if isinstance(each.get("to"), list)) > _MAX_RECIPIENTS:
        return "invalid_parameter", f"at most {_MAX_RECIPIENTS} recipients are allowed in messageVersions"
    return next((found for each in versions if (found := _people_problem(each.get("to"))) is not None), None)


def _people_problem(listed: object) -> tuple[str, str] | None:
    if not isinstance(listed, list) or not listed:
        return "missing_parameter", "to is missing"
    if len(listed) > _MAX_PER_VERSION:
        return "invalid_parameter", f"at most {_MAX_PER_VERSION} recipients are allowed in to"
    if not all(isinstance(each, dict) and is_address(each.get("email")) for each in listed):
        return "invalid_parameter", "email is not valid in to"
    return None


def _message_id(rng: Random) -> str:
    return f"<202601010000.{rng.getrandbits(44):011d}@smtp-relay.mailin.fr>"


def _header(body: Mapping[str, object], name: str) -> str | None:
    headers = body.get("headers")
    value = headers.get(name) if isinstance(headers, dict) else None
    return value if isinstance(value, str) else None


def _key_of(body: Mapping[str, object]) -> str:
    return (_header(body, _KEY_HEADER) or "").removeprefix(f"{_KEY}:")


def _version_key(version: object) -> str:
    match version:
        case {"params": {"sendbench_id": str(key)}}:
            return key
    return ""
