"""Mailtrap: /api/send and /api/batch, as of the vendor's OpenAPI files 2.0.0 and its documentation."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts, Secret
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
    bearer,
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
    refused_one,
    reply_to,
    unclear,
    uuid_text,
)

_ENVIRONMENT = EnvironmentNames(password="MAILTRAP_API_KEY", settings=("MAILTRAP_SANDBOX_ID",))
_SINGLE, _BATCH = "/api/send", "/api/batch"
_KEY = "sendbench_id"
_MAX_BATCH = 500
_MESSAGE_LIMIT, _BATCH_LIMIT = 10 * 2**20, 50 * 2**20
_MAX_RECIPIENTS = 1000
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))

FACTS = ProviderFacts(
    name="mailtrap",
    title="Mailtrap",
    smtp=SmtpFacts(
        hosts={"transactional": "live.smtp.mailtrap.io", "bulk": "bulk.smtp.mailtrap.io"},
        starttls_ports=(587, 25, 2525),
        tls_ports=(465,),
        user="the literal word api; the password is the API token",
        environment=_ENVIRONMENT,
        max_message_bytes=_MESSAGE_LIMIT,
        max_connections=10,
        max_messages_per_connection=100,
        headers=("X-MT-Category", "X-MT-Custom-Variables"),
        throttling=((535, "Too many connections"), (550, "too many emails per second")),
    ),
    api=ApiFacts(
        base_urls={
            "transactional": "https://send.api.mailtrap.io",
            "bulk": "https://bulk.api.mailtrap.io",
        },
        auth=AuthScheme.BEARER,
        environment=_ENVIRONMENT,
        max_recipients=_MAX_RECIPIENTS,
        max_batch=_MAX_BATCH,
        max_batch_bytes=_BATCH_LIMIT,
        calls_per_s=15,
    ),
    sandbox=SandboxFacts(
        api="a service of its own that delivers nothing, by its own token and sandbox id",
        smtp="the same service, with a user and password of each sandbox",
        base_url="https://sandbox.api.mailtrap.io",
        smtp_host="sandbox.smtp.mailtrap.io",
        caveat="It is another service than the one that delivers, has narrow rates, and sends no events.",
    ),
    unconfirmed=(
        "port 465 of live.smtp.mailtrap.io",
        "headers of the rate limit, and Retry-After on 429",
        "template headers over SMTP",
    ),
)


@dataclass(frozen=True, slots=True)
class Mailtrap:
    """POST /api/send; 200 with an id for each recipient."""

    sandbox_id: str = "1"
    """Which sandbox takes what is sent there."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Mailtrap:
        """See `Provider.configured`: the region is a stream, which has hosts of its own."""
        return replace(self, sandbox_id=settings.get("MAILTRAP_SANDBOX_ID", self.sandbox_id))

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`."""
        shape = {**_shared(parts), **_own(parts)}
        return Request("POST", self._path(_SINGLE, sandbox=sandbox), _JSON, json_bytes(shape))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: what all have in common as the base, the rest for each."""
        before = b'{"base":' + json_bytes(_shared(parts)) + b',"requests":['
        body = (before, Each(json_bytes(_own(parts))), b"]}")
        return batch_of(parts, self._path(_BATCH, sandbox=sandbox), _JSON, body)

    def _path(self, path: str, *, sandbox: bool) -> str:
        return f"{path}/{self.sandbox_id}" if sandbox else path

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
        """See `Provider.judge_batch`: always 200, with a result for each message in order."""
        if response.status != FACTS.api.success:
            return alike(self.judge(response), count)
        try:
            shape = parse_json(response.body)
        except BodyError:
            return alike(unclear("body"), count)
        match shape:
            case {"success": True, "responses": [*results]} if len(results) == count:
                return tuple(_judged(each) for each in results)
            case {"success": False, "errors": [str(text), *_]}:
                return alike(_rejected(text), count)
        return alike(unclear("body"), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`: the sandbox is another host."""
        return (("X-MT-Custom-Variables", json_bytes({_KEY: key}).decode("ascii")),)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`. A sandbox has a user of its own."""
        return auth if auth.user is not None else Auth(Secret("api", "Mailtrap's convention"), auth.password)

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        return Auth(None, made_up(f"{rng.getrandbits(128):032x}"))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return _error(429, "Rate limit exceeded")

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`: the live service's paths and the sandbox's."""
        path = _known(request.path.partition("?")[0])
        refusal = _refuse_call(request, path, auth.password.reveal())
        if refusal is not None:
            return Served(refusal)
        try:
            body = parse_json(request.body)
        except BodyError:
            return Served(_error(400, "Invalid JSON body"))
        if path == _BATCH:
            return _serve_batch(body, rng)
        problem = _problem(body)
        if problem is not None or not isinstance(body, dict):
            return Served(_error(400, problem or _NO_OBJECT))
        return Served(json_response(200, _taken(body, rng)), (_key_of(body),))


# -------------------------------------------------------------------- the request


def _shared(parts: Parts) -> dict[str, object]:
    """What the messages of a batch have in common."""
    if not parts.text and not parts.html:
        raise UsageError("message: Mailtrap's API needs a text or an HTML part")
    found: dict[str, object] = {"from": {"email": parts.sender}, "subject": parts.subject}
    found |= {name: text for name, text in (("text", parts.text), ("html", parts.html)) if text}
    headers, answers = other_headers(parts.headers), reply_to(parts.headers)
    found |= {"headers": headers} if headers else {}
    found |= {"reply_to": {"email": bare(answers)}} if answers else {}
    if parts.attachments:
        found["attachments"] = [_attachment(each) for each in parts.attachments]
    return found


def _own(parts: Parts) -> dict[str, object]:
    """What is each message's own."""
    return {
        "to": [{"email": each} for each in parts.recipients],
        "custom_variables": {_KEY: parts.key},
    }


def _attachment(each: Attachment) -> dict[str, str]:
    return {
        "content": b64encode(each.content).decode("ascii"),
        "filename": each.filename,
        "type": each.content_type,
        "disposition": "attachment",
    }


# --------------------------------------------------------------------- the answer


def _judged(result: object) -> Judgement:
    match result:
        case {"success": True, "message_ids": [_, *_] as ids}:
            found = tuple(each for each in ids if isinstance(each, str) and is_id(each))
            return Judgement(Outcome.ACCEPTED, found) if len(found) == len(ids) else unclear("no_id")
        case {"success": True}:
            return unclear("no_id")
        case {"success": False, "errors": [str(text), *_]}:
            return _rejected(text)
    return unclear("body")


def _rejected(text: str) -> Judgement:
    return refused_one(Complaint(text), FACTS.api.meanings)


def _complaint(body: object) -> Complaint:
    match body:
        case {"errors": [str(text), *_]}:
            return Complaint(text)
        case {"error": str(text)}:
            return Complaint(text)
    return Complaint()


# ---------------------------------------------------------------- the vendor's side

_NO_OBJECT = "the message must be an object"


def _error(status: int, *texts: str) -> Response:
    return json_response(status, {"success": False, "errors": list(texts)})


def _known(path: str) -> str | None:
    """The call that a path names; a sandbox's has its number behind it."""
    for known in (_SINGLE, _BATCH):
        if path == known or (path.startswith(f"{known}/") and path[len(known) + 1 :].isdigit()):
            return known
    return None


def _refuse_call(request: Request, path: str | None, token: str) -> Response | None:
    if path is None:
        return _error(404, "Not found")
    if request.method != "POST":
        return _error(405, "Method not allowed")
    given = request.header("authorization"), request.header("api-token")
    if given[0] != f"Bearer {token}" and given[1] != token:
        return _error(401, "Unauthorized")
    if media_type(request) != "application/json":
        return _error(400, "Content-Type must be application/json")
    if len(request.body) > (_BATCH_LIMIT if path == _BATCH else _MESSAGE_LIMIT):
        return _error(413, "the request is too large")
    return None


def _serve_batch(body: object, rng: Random) -> Served:
    listed = body.get("requests") if isinstance(body, dict) else None
    base = body.get("base", {}) if isinstance(body, dict) else None
    if not isinstance(listed, list) or not listed:
        return Served(_error(400, "'requests' is required"))
    if len(listed) > _MAX_BATCH:
        return Served(_error(400, f"'requests' must have at most {_MAX_BATCH} items"))
    if not isinstance(base, dict):
        return Served(_error(400, "'base' must be an object"))
    results, keys = [], []
    for each in listed:
        whole = {**base, **each} if isinstance(each, dict) else None
        problem = _problem(whole)
        if problem is not None or whole is None:
            results.append({"success": False, "errors": [problem or _NO_OBJECT]})
        else:
            results.append(_taken(whole, rng))
            keys.append(_key_of(whole))
    return Served(json_response(200, {"success": True, "responses": results}), tuple(keys))


def _problem(body: object) -> str | None:
    """The first thing that is wrong with a message; None where it is taken."""
    if not isinstance(body, dict):
        return _NO_OBJECT
    sender = body.get("from")
    if not isinstance(sender, dict) or not is_address(sender.get("email")):
        return "'from' address is required"
    listed = [one for name in ("to", "cc", "bcc") for one in _listed(body.get(name))]
    if not listed:
        return "'to' address is required"
    if len(listed) > _MAX_RECIPIENTS:
        return f"at most {_MAX_RECIPIENTS} recipients are allowed"
    if not all(isinstance(one, dict) and is_address(one.get("email")) for one in listed):
        return "'to' address is invalid"
    if not body.get("subject"):
        return "'subject' is required"
    if not any(isinstance(body.get(name), str) and body[name] for name in ("text", "html")):
        return "must specify either text or html body"
    return None


def _listed(shape: object) -> list[object]:
    return shape if isinstance(shape, list) else [] if shape is None else [shape]


def _taken(body: Mapping[str, object], rng: Random) -> dict[str, object]:
    count = sum(len(_listed(body.get(name))) for name in ("to", "cc", "bcc"))
    return {
        "success": True,
        "message_ids": [uuid_text(rng) for _ in range(count)],
    }


def _key_of(body: Mapping[str, object]) -> str:
    match body:
        case {"custom_variables": {"sendbench_id": str(key)}}:
            return key
    return ""
