"""SendGrid (Twilio): v3 Mail Send, as of the vendor's OpenAPI file 1.0.0-rc.12 and its documentation."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from email.utils import parseaddr
from random import Random

from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts, Secret
from bench.providers import sendgrid_rules
from bench.providers.base import (
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
    SandboxFacts,
    Served,
    SmtpFacts,
    alike,
    batch_of,
    bearer,
    is_id,
    json_batch,
    json_bytes,
    json_response,
    made_up,
    media_type,
    parse_json,
    read_complaint,
    refused,
    unclear,
    url_safe,
)

_ENVIRONMENT = EnvironmentNames(password="SENDGRID_API_KEY")
_SEND = "/v3/mail/send"
_KEY_ARGUMENT = "sendbench_id"
_LIMIT = 20 * 2**20
"""Bytes of a whole message; the documentation says 20 MB and leaves open which."""

FACTS = ProviderFacts(
    name="sendgrid",
    title="SendGrid",
    smtp=SmtpFacts(
        hosts={"global": "smtp.sendgrid.net", "eu": "smtp.eu.sendgrid.net"},
        starttls_ports=(587, 25, 2525),
        tls_ports=(465,),
        user="the literal word apikey; the password is the API key",
        environment=_ENVIRONMENT,
        max_message_bytes=_LIMIT,
        max_connections=10_000,
        max_messages_per_connection=5_000,
        headers=("X-SMTPAPI",),
        throttling=((451, "Maximum credits exceeded"),),
        accepted="Ok: queued as {id}",
    ),
    api=ApiFacts(
        base_urls={"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"},
        auth=AuthScheme.BEARER,
        environment=_ENVIRONMENT,
        max_request_bytes=_LIMIT,
        max_recipients=sendgrid_rules.MAX_RECIPIENTS,
        max_batch=sendgrid_rules.MAX_PERSONALIZATIONS,
        max_batch_recipients=sendgrid_rules.MAX_RECIPIENTS,
        calls_per_s=10_000,
        success=202,
        rate_headers=("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    ),
    sandbox=SandboxFacts(
        api="mail_settings.sandbox_mode.enable in the call",
        caveat="It only validates, answers 200 instead of 202, and fires no events.",
    ),
    unconfirmed=(
        "smtp.eu.sendgrid.net: only in other people's code",
        "10,000 calls/s: from an old FAQ; no number is committed to today",
        "Retry-After on 429",
    ),
)


class SendGrid:
    """POST /v3/mail/send; 202 with an empty body and the id in `X-Message-Id`."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> SendGrid:
        """See `Provider.configured`: no call differs by region."""
        return self

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`. All recipients share one personalization, as one message has them."""
        body = {"personalizations": [_personalization(parts)], **_shared(parts, sandbox=sandbox)}
        return Request("POST", _SEND, _JSON, json_bytes(body))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: a personalization for each message, the rest once."""
        rest = json_bytes(_shared(parts, sandbox=sandbox)).decode("utf-8")
        body = json_batch('{"personalizations":[', _personalization(parts), f"],{rest[1:]}")
        return batch_of(parts, _SEND, _JSON, body)

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`."""
        return bearer(auth) if auth is not None else ()

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """See `Provider.judge`. In the sandbox 200 is the success, and an id is not promised."""
        if not 200 <= response.status < 300:
            return refused(response, read_complaint(response.body, _complaint), FACTS.api.meanings)
        if response.status != (200 if sandbox else FACTS.api.success):
            return unclear("status")
        if response.body:
            return unclear("body")
        ids = tuple(dict.fromkeys([each for each in response.all("x-message-id") if is_id(each)]))
        if len(ids) > 1:
            return unclear("dup_id")
        if not ids and not sandbox:
            return unclear("no_id")
        return Judgement(Outcome.ACCEPTED, message_ids=ids)

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: all or nothing, one id for the call."""
        return alike(self.judge(response, sandbox=sandbox), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`."""
        if sandbox:
            raise UsageError("SendGrid has no sandbox over SMTP; use transport: api")
        return (("X-SMTPAPI", json_bytes({"unique_args": {_KEY_ARGUMENT: key}}).decode("ascii")),)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`."""
        return Auth(Secret("apikey", "SendGrid's convention"), auth.password)

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        return Auth(None, made_up(f"SG.{url_safe(rng, 16)}.{url_safe(rng, 32)}"))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return _error(429, "too many requests")

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        refusal = _refuse_call(request, auth)
        if refusal is not None:
            return Served(refusal)
        try:
            body = parse_json(request.body)
        except BodyError:
            return Served(_read_failure(request.body))
        problems = sendgrid_rules.problems(body)
        if problems or not isinstance(body, dict):
            return Served(_errors(400, *problems))
        keys = sendgrid_rules.custom_arguments(body, _KEY_ARGUMENT)
        if sendgrid_rules.is_sandbox(body):
            return Served(Response(200, (), b""), keys)
        return Served(Response(202, (("x-message-id", url_safe(rng, 16)),), b""), keys)


# -------------------------------------------------------------------- the request

_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))


def _personalization(parts: Parts) -> dict[str, object]:
    return {
        "to": [{"email": address} for address in parts.recipients],
        "custom_args": {_KEY_ARGUMENT: parts.key},
    }


def _shared(parts: Parts, *, sandbox: bool) -> dict[str, object]:
    """What all personalizations have in common."""
    shared: dict[str, object] = {
        "from": {"email": parts.sender},
        **_headers(parts.headers),
        "subject": parts.subject,
        "content": _content(parts),
    }
    if parts.attachments:
        shared["attachments"] = [_attachment(each) for each in parts.attachments]
    if sandbox:
        shared["mail_settings"] = {"sandbox_mode": {"enable": True}}
    return shared


def _headers(headers: Headers) -> dict[str, object]:
    """`headers` and `reply_to` of the call. The reserved ones SendGrid makes itself."""
    found: dict[str, object] = {}
    taken: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower == "reply-to":
            found["reply_to"] = _reply_to(value)
        elif lower not in sendgrid_rules.RESERVED_HEADERS:
            if lower in map(str.lower, taken):
                raise UsageError(f"message.headers: SendGrid takes {name!r} only once")
            taken[name] = value
    return found | ({"headers": taken} if taken else {})


def _reply_to(value: str) -> dict[str, str]:
    name, address = parseaddr(value)
    if not address:
        raise UsageError(f"message.headers: Reply-To {value!r} is not an address")
    return {"email": address, "name": name} if name else {"email": address}


def _content(parts: Parts) -> list[dict[str, str]]:
    """Plain text first, as the vendor demands; it refuses empty values."""
    texts = (("text/plain", parts.text), ("text/html", parts.html))
    content = [{"type": kind, "value": value} for kind, value in texts if value]
    if not content:
        raise UsageError("message: SendGrid's API needs a text or an HTML part")
    return content


def _attachment(each: Attachment) -> dict[str, str]:
    if not each.content:
        raise UsageError(f"message.attachments: {each.filename!r} is empty, which SendGrid refuses")
    return {
        "content": b64encode(each.content).decode("ascii"),
        "type": each.content_type,
        "filename": each.filename,
        "disposition": "attachment",
    }


# --------------------------------------------------------------------- the answer


def _complaint(body: object) -> Complaint:
    """The first of `{"errors": [{"message", "field", "help"}]}`."""
    match body:
        case {"errors": [{"message": str(text), **rest}, *_]}:
            where = rest.get("field")
            return Complaint(text, where if isinstance(where, str) else None)
    return Complaint()


# ---------------------------------------------------------------- the vendor's side


def _errors(status: int, *problems: sendgrid_rules.Problem) -> Response:
    shape = [{"message": each.message, "field": each.field, "help": each.help} for each in problems]
    return json_response(status, {"errors": shape})


def _error(status: int, message: str) -> Response:
    return _errors(status, sendgrid_rules.Problem(message))


_NO_GRANT = "The provided authorization grant is invalid, expired, or revoked"
_NOT_ACCEPTABLE = Response(
    406,
    (("content-type", "text/html"),),
    b"<html>\r\n<head><title>406 Not Acceptable</title></head>\r\n<body>\r\n"
    b"<center><h1>406 Not Acceptable</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
)
"""Its front end's own page, without the API's error shape."""


def _wrong_grant(request: Request, key: str) -> bool:
    return request.header("authorization") != f"Bearer {key}"


_CALL_CHECKS: tuple[tuple[Callable[[Request, str], bool], Response], ...] = (
    (lambda request, _: request.path.partition("?")[0] != _SEND, _error(404, "not found")),
    (lambda request, _: request.method != "POST", _error(405, "method not allowed")),
    (lambda request, _: request.header("authorization") is None, _error(401, "authorization required")),
    (_wrong_grant, _error(401, _NO_GRANT)),
    (lambda request, _: request.header("accept") is None, _NOT_ACCEPTABLE),
    (
        lambda request, _: media_type(request) != "application/json",
        _error(415, "Content-Type should be application/json."),
    ),
    (
        lambda request, _: request.header("content-encoding") not in (None, "identity"),
        _error(415, "Content-Encoding gzip is not enabled for this account."),
    ),
    (lambda request, _: len(request.body) > _LIMIT, _error(413, "content too large")),
)
"""What is refused before the body is read, in this order: (is it wrong?, the answer)."""


def _refuse_call(request: Request, auth: Auth) -> Response | None:
    key = auth.password.reveal()
    return next((response for is_wrong, response in _CALL_CHECKS if is_wrong(request, key)), None)


def _read_failure(body: bytes) -> Response:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return _error(415, "Invalid UTF8 in request")
    return _error(400, "Bad Request")
