"""Mailjet: Send API v3.1, as of the vendor's guide."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from random import Random

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts
from bench.providers.base import (
    AUTH,
    REFUSED,
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
    basic,
    batch_of,
    is_address,
    json_bytes,
    json_response,
    made_up,
    media_type,
    other_headers,
    parse_json,
    read_complaint,
    refused,
    refused_one,
    reply_to,
    rule_for,
    unclear,
    uuid_text,
)

_ENVIRONMENT = EnvironmentNames(password="MAILJET_SECRET_KEY", user="MAILJET_API_KEY")
_SEND = "/v3.1/send"
_MAX_BATCH = 50
_MAX_RECIPIENTS = 50
_LIMIT = 15 * 2**20
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))

FACTS = ProviderFacts(
    name="mailjet",
    title="Mailjet",
    smtp=SmtpFacts(
        hosts={"global": "in-v3.mailjet.com"},
        starttls_ports=(587, 25),
        tls_ports=(465,),
        user="the API key; the password is the secret key, both as for the API",
        environment=_ENVIRONMENT,
        headers=(
            "X-Mailjet-Campaign",
            "X-Mailjet-DeduplicateCampaign",
            "X-MJ-CustomID",
            "X-MJ-EventPayload",
            "X-Mailjet-TrackOpen",
            "X-Mailjet-TrackClick",
            "X-Mailjet-Prio",
            "X-MJ-TemplateID",
            "X-MJ-TemplateLanguage",
            "X-MJ-TemplateErrorReporting",
            "X-MJ-TemplateErrorDeliver",
            "X-MJ-Vars",
            "X-MJ-MonitoringCategory",
        ),
    ),
    api=ApiFacts(
        base_urls={"global": "https://api.mailjet.com", "us": "https://api.us.mailjet.com"},
        auth=AuthScheme.BASIC,
        environment=_ENVIRONMENT,
        max_request_bytes=_LIMIT,
        max_recipients=_MAX_RECIPIENTS,
        max_batch=_MAX_BATCH,
        meanings={"mj-0015": AUTH, "send-0008": AUTH},  # a wrong key; a sender it is not for
    ),
    sandbox=SandboxFacts(
        api="SandboxMode in the call",
        caveat="It is checked in full and not delivered; the ids in the answer are empty.",
    ),
    unconfirmed=(
        "port 2525, seen in one place, and 80 and 588",
        "SMTP limits",
        "the HTTP status of a batch of which a part was refused: the mock says 200",
        "numbers and headers of the rate limit; the mock's words for it are its own",
    ),
)


class Mailjet:
    """POST /v3.1/send; 200 with a `Status` for each message and an id for each recipient."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Mailjet:
        """See `Provider.configured`: no call differs by region."""
        return self

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`: a call with one message."""
        shape: dict[str, object] = {"Messages": [_message(parts)]}
        return Request("POST", _SEND, _JSON, json_bytes(shape | _switch(sandbox=sandbox)))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: the same call with several."""
        after = b"]" + (b"," + json_bytes(_switch(sandbox=True))[1:] if sandbox else b"}")
        return batch_of(parts, _SEND, _JSON, (b'{"Messages":[', Each(json_bytes(_message(parts))), after))

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`."""
        return basic(auth) if auth is not None else ()

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """See `Provider.judge`."""
        return self.judge_batch(response, 1, sandbox=sandbox)[0]

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: where there is a result for each message that counts, whatever the
        status; the good ones are sent even if others are refused."""
        results = _results(response.body)
        if results is None or len(results) != count:
            if not 200 <= response.status < 300:
                return alike(
                    refused(response, read_complaint(response.body, _complaint), FACTS.api.meanings), count
                )
            return alike(unclear("body"), count)
        if response.status not in (200, 400):
            return alike(unclear("status"), count)
        return tuple(_judged(each, sandbox=sandbox) for each in results)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`."""
        if sandbox:
            raise UsageError("Mailjet has no sandbox over SMTP; use transport: api")
        return (("X-MJ-CustomID", key),)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`: the same pair."""
        return auth

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        return Auth(made_up(f"{rng.getrandbits(128):032x}"), made_up(f"{rng.getrandbits(128):032x}"))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return json_response(429, {"StatusCode": 429, "ErrorMessage": "Too many requests"})

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        refusal = _refuse_call(request, self.auth_headers(auth)[0][1], rng)
        if refusal is not None:
            return Served(refusal)
        try:
            body = parse_json(request.body)
        except BodyError:
            return Served(_error(400, "mj-0002", "Malformed JSON, please review the syntax.", rng))
        listed = body.get("Messages") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(listed, list) or not listed:
            return Served(_error(400, "mj-0003", "At least one message is required.", rng))
        if len(listed) > _MAX_BATCH:
            text = f"The number of messages exceeds the limit of {_MAX_BATCH}."
            return Served(_error(400, "mj-0008", text, rng))
        sandbox = body.get("SandboxMode") is True
        problems = [_problem(each) for each in listed]
        results = [
            _taken(each, rng, sandbox=sandbox) if problem is None else _failed(*problem, rng)
            for each, problem in zip(listed, problems, strict=True)
        ]
        keys = tuple(_key_of(each) for each, problem in zip(listed, problems, strict=True) if problem is None)
        return Served(json_response(200 if keys else 400, {"Messages": results}), keys)


# -------------------------------------------------------------------- the request


def _switch(*, sandbox: bool) -> dict[str, object]:
    return {"SandboxMode": True} if sandbox else {}


def _message(parts: Parts) -> dict[str, object]:
    if not parts.text and not parts.html:
        raise UsageError("message: Mailjet's API needs a text or an HTML part")
    if len(parts.recipients) > _MAX_RECIPIENTS:
        raise UsageError(f"message.recipients: Mailjet takes at most {_MAX_RECIPIENTS} for a message")
    found: dict[str, object] = {
        "From": {"Email": parts.sender},
        "To": [{"Email": each} for each in parts.recipients],
        "Subject": parts.subject,
    }
    found |= {name: text for name, text in (("TextPart", parts.text), ("HTMLPart", parts.html)) if text}
    headers, answers = other_headers(parts.headers), reply_to(parts.headers)
    found |= {"Headers": headers} if headers else {}
    found |= {"ReplyTo": {"Email": bare(answers)}} if answers else {}
    if parts.attachments:
        found["Attachments"] = [_attachment(each) for each in parts.attachments]
    return {**found, "CustomID": parts.key}


def _attachment(each: Attachment) -> dict[str, str]:
    content = b64encode(each.content).decode("ascii")
    return {"ContentType": each.content_type, "Filename": each.filename, "Base64Content": content}


# --------------------------------------------------------------------- the answer


def _results(body: bytes) -> Sequence[object] | None:
    """The result of each message; None where the body has none."""
    try:
        shape = parse_json(body)
    except BodyError:
        return None
    match shape:
        case {"Messages": [*results]}:
            return results
    return None


def _judged(result: object, *, sandbox: bool) -> Judgement:
    match result:
        case {"Status": "success", "To": [_, *_] as listed}:
            ids = tuple(str(one.get("MessageID")) for one in listed if isinstance(one, dict) and _is_id(one))
            if sandbox:
                return Judgement(Outcome.ACCEPTED)
            return Judgement(Outcome.ACCEPTED, ids) if len(ids) == len(listed) else unclear("no_id")
        case {"Status": "success"}:
            return unclear("no_id")
        case {"Status": "error", "Errors": [{"ErrorCode": str(code), **rest}, *_]}:
            text, status = rest.get("ErrorMessage"), rest.get("StatusCode")
            found = Complaint(text if isinstance(text, str) else None, code=code[:64])
            otherwise = rule_for(status) if isinstance(status, int) and 400 <= status < 500 else REFUSED
            return refused_one(found, FACTS.api.meanings, otherwise)
    return unclear("body")


def _is_id(recipient: Mapping[object, object]) -> bool:
    """A MessageID is a 64-bit whole number, more than a float can hold exactly: it is kept as text."""
    found = recipient.get("MessageID")
    return isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**64


def _complaint(body: object) -> Complaint:
    match body:
        case {"ErrorCode": str(code), "ErrorMessage": str(text)}:
            return Complaint(text, code=code)
        case {"Messages": [{"Errors": [{"ErrorCode": str(code), "ErrorMessage": str(text)}, *_]}, *_]}:
            return Complaint(text, code=code)
    return Complaint()


# ---------------------------------------------------------------- the vendor's side


def _error(status: int, code: str, text: str, rng: Random) -> Response:
    shape = {
        "ErrorIdentifier": uuid_text(rng), "ErrorCode": code, "StatusCode": status, "ErrorMessage": text,
    }  # fmt: skip
    return json_response(status, shape)


def _failed(code: str, text: str, where: str, rng: Random) -> dict[str, object]:
    error = {
        "ErrorIdentifier": uuid_text(rng), "ErrorCode": code, "StatusCode": 400, "ErrorMessage": text,
        "ErrorRelatedTo": [where],
    }  # fmt: skip
    return {"Status": "error", "Errors": [error]}


def _refuse_call(request: Request, wanted: str, rng: Random) -> Response | None:
    if request.path.partition("?")[0] != _SEND:
        return _error(404, "mj-0009", "No such resource.", rng)
    if request.method != "POST":
        return _error(405, "mj-0010", "Method not allowed.", rng)
    if request.header("authorization") != wanted:
        text = "API key authentication/authorization failure. You may be unauthorized to access the API or "
        return _error(401, "mj-0015", text + "your API key may be expired.", rng)
    if media_type(request) != "application/json":
        return _error(400, "mj-0002", "The content type must be application/json.", rng)
    if len(request.body) > _LIMIT:
        return _error(413, "mj-0007", "The request is too large.", rng)
    return None


def _problem(body: object) -> tuple[str, str, str] | None:
    """The first thing that is wrong with a message: code, text and where; None where it is taken."""
    if not isinstance(body, dict):
        return "mj-0004", 'Type mismatch. Expected type "object".', "Messages"
    if not isinstance(sender := body.get("From"), dict) or not is_address(sender.get("Email")):
        return "mj-0003", '"From.Email" is mandatory and must be an email address.', "From.Email"
    listed = [one for name in ("To", "Cc", "Bcc") for one in _listed(body.get(name))]
    if not listed:
        return "mj-0003", 'At least one of "To", "Cc" or "Bcc" must be provided.', "To"
    if len(listed) > _MAX_RECIPIENTS:
        return "mj-0008", f"The number of recipients exceeds the limit of {_MAX_RECIPIENTS}.", "To"
    if not all(isinstance(one, dict) and is_address(one.get("Email")) for one in listed):
        return "mj-0013", '"To.Email" is an invalid email address.', "To.Email"
    if not any(isinstance(body.get(name), str) and body[name] for name in ("TextPart", "HTMLPart")):
        return "send-0003", 'At least "HTMLPart", "TextPart" or "TemplateID" must be provided.', "TextPart"
    return None


def _listed(shape: object) -> list[object]:
    return shape if isinstance(shape, list) else []


def _taken(body: Mapping[str, object], rng: Random, *, sandbox: bool) -> dict[str, object]:
    def one(recipient: object) -> dict[str, object]:
        address = recipient.get("Email") if isinstance(recipient, dict) else None
        if sandbox:
            return {"Email": address, "MessageUUID": "", "MessageID": 0, "MessageHref": ""}
        number = 2**56 + rng.getrandbits(56)
        href = f"https://api.mailjet.com/v3/REST/message/{number}"
        return {"Email": address, "MessageUUID": uuid_text(rng), "MessageID": number, "MessageHref": href}

    people = {name: [one(each) for each in _listed(body.get(name))] for name in ("To", "Cc", "Bcc")}
    return {"Status": "success", "CustomID": body.get("CustomID", ""), **people}


def _key_of(body: object) -> str:
    match body:
        case {"CustomID": str(key)}:
            return key
    return ""
