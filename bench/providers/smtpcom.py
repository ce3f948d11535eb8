"""SMTP.com: /v4/messages, as of the vendor's own Python packages, as there is little documentation."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    reply_to,
    unclear,
    uuid_text,
)

_SEND = "/messages"
_ARGUMENTS, _KEYS = "X-SMTPAPI", "X-Sendbench-Ids"
_MOCK_BATCH = 1000
"""Where the mock draws the line; the vendor's own is not known."""
_NO_SANDBOX = "SMTP.com has no sandbox that its documentation speaks of: X-SMTPCOM-MOCK is unconfirmed"
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))

FACTS = ProviderFacts(
    name="smtpcom",
    title="SMTP.com",
    smtp=SmtpFacts(
        hosts={"global": "send.smtp.com"},
        starttls_ports=(2525, 25, 80, 25025, 2082),
        tls_ports=(465,),
        user="the login of a channel, and its password",
        environment=EnvironmentNames(password="SMTPCOM_SMTP_PASSWORD", user="SMTPCOM_SMTP_USER"),
        headers=(_ARGUMENTS,),
    ),
    api=ApiFacts(
        base_urls={"global": "https://api.smtp.com/v4"},
        auth=AuthScheme.BEARER,
        environment=EnvironmentNames(password="SMTPCOM_API_KEY", settings=("SMTPCOM_CHANNEL",)),
    ),
    sandbox=None,
    unconfirmed=(
        "port 587, which is in none of the vendor's own code",
        "whether a call must name a channel",
        "the text of a successful answer beside status and data.msg_id; whether the id is a number",
        "the most addresses of bulk_list, and what is answered to it: one id for the call is assumed",
        "413, 422 and 429, rate limits, idempotency, SMTP limits; the mock's words for 429 are its own",
        "the header X-SMTPCOM-MOCK",
        "whether custom_headers takes an object as the value of X-SMTPAPI: its own SDK writes JSON there",
    ),
)


@dataclass(frozen=True, slots=True)
class SmtpCom:
    """POST /messages; 200 with `data.msg_id`."""

    channel: str = "sendbench"
    """The channel that sends."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> SmtpCom:
        """See `Provider.configured`."""
        return replace(self, channel=settings.get("SMTPCOM_CHANNEL", self.channel))

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`."""
        people = {"to": [{"address": each} for each in parts.recipients]}
        arguments = {_ARGUMENTS: {"unique_args": {"sendbench_id": parts.key}}}
        shape = self._shared(parts, sandbox=sandbox) | {
            "recipients": people, "custom_headers": {**other_headers(parts.headers), **arguments},
        }  # fmt: skip
        return Request("POST", _SEND, _JSON, json_bytes(shape))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: one mail for each address. As a message has no place of its own for
        a key there, all keys stand in one header, in the order of the addresses."""
        if len(parts.recipients) != 1:
            raise UsageError("message.recipients: a batch of SMTP.com's has one for each message")
        head = json_bytes(self._shared(parts, sandbox=sandbox))[:-1]
        own = json_bytes(other_headers(parts.headers))[:-1]
        body = (
            head + b',"recipients":{"bulk_list":[',
            Each(json_bytes({"address": parts.recipients[0]})),
            b']},"custom_headers":' + own + (b"," if len(own) > 1 else b"") + b'"%b":"' % _KEYS.encode(),
            Each(parts.key.encode()),
            b'"}}',
        )
        return batch_of(parts, _SEND, _JSON, body)

    def _shared(self, parts: Parts, *, sandbox: bool) -> dict[str, object]:
        if sandbox:
            raise UsageError(_NO_SANDBOX)
        if not parts.text and not parts.html:
            raise UsageError("message: SMTP.com's API needs a text or an HTML part")
        texts = (("text/plain", parts.text), ("text/html", parts.html))
        body: dict[str, object] = {"parts": [{"type": kind, "content": text} for kind, text in texts if text]}
        if parts.attachments:
            body["attachments"] = [_attachment(each) for each in parts.attachments]
        originator: dict[str, object] = {"from": {"address": parts.sender}}
        if answers := reply_to(parts.headers):
            originator["reply_to"] = {"address": bare(answers)}
        return {"channel": self.channel, "originator": originator, "subject": parts.subject, "body": body}

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
            shape = parse_json(response.body)
        except BodyError:
            return unclear("body")
        match shape:
            case {"data": {"errors": _}}:
                return unclear("body")
            case {"data": {"msg_id": found}} if is_id(found) or (type(found) is int and found > 0):
                return Judgement(Outcome.ACCEPTED, (str(found),))
            case {"data": {"msg_id": _}}:
                return unclear("no_id")
        return unclear("body")

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: one id for the call."""
        return alike(self.judge(response, sandbox=sandbox), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`."""
        if sandbox:
            raise UsageError(_NO_SANDBOX)
        return ((_ARGUMENTS, json_bytes({"unique_args": {"sendbench_id": key}}).decode("ascii")),)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`: credentials of their own, as given."""
        return auth

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`: the mock takes the API key as the channel's password as well."""
        return Auth(made_up("sendbench"), made_up(f"{rng.getrandbits(160):040x}"))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return json_response(429, {"status": "fail", "data": {"errors": {"rate_limit": "Too many requests"}}})

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        refusal = _refuse_call(request, auth.password.reveal())
        if refusal is not None:
            return Served(refusal)
        try:
            body = parse_json(request.body)
        except BodyError:
            return Served(_error(400, "body", "invalid JSON"))
        problem = _problem(body)
        if problem is not None or not isinstance(body, dict):
            return Served(_error(400, *(problem or ("body", "must be an object"))))
        shape = {"status": "success", "data": {"msg_id": uuid_text(rng)}}
        return Served(json_response(200, shape), _keys_of(body))


def _attachment(each: Attachment) -> dict[str, str]:
    return {
        "content": b64encode(each.content).decode("ascii"),
        "filename": each.filename,
        "type": each.content_type,
        "disposition": "attachment",
        "encoding": "base64",
    }


# --------------------------------------------------------------------- the answer


def _complaint(body: object) -> Complaint:
    match body:
        case {"data": {"errors": dict(errors)}} if errors:
            field, text = next(iter(errors.items()))
            return Complaint(text if isinstance(text, str) else None, str(field))
    return Complaint()


# ---------------------------------------------------------------- the vendor's side


def _error(status: int, field: str, text: str) -> Response:
    return json_response(status, {"status": "fail", "data": {"errors": {field: text}}})


def _refuse_call(request: Request, key: str) -> Response | None:
    if request.path.partition("?")[0] != _SEND:
        return _error(404, "path", "not found")
    if request.method != "POST":
        return _error(405, "method", "method not allowed")
    if request.header("authorization") != f"Bearer {key}" and request.header("x-smtpcom-api") != key:
        return _error(401, "api_key", "invalid API key")
    if media_type(request) != "application/json":
        return _error(400, "content_type", "must be application/json")
    return None


def _problem(body: object) -> tuple[str, str] | None:
    """The first thing that is wrong with a call: field and text; None where it is taken."""
    match body:
        case {"originator": {"from": {"address": sender}}} if is_address(sender):
            pass
        case dict():
            return "originator", "from must be an address"
        case _:
            return "body", "must be an object"
    match body:
        case {"recipients": {"bulk_list": [_, *_] as listed}}:
            most = _MOCK_BATCH
        case {"recipients": {"to": [_, *_] as listed}}:
            most = _MOCK_BATCH
        case _:
            return "recipients", "must have a recipient"
    if len(listed) > most:
        return "recipients", f"at most {most}"
    if not all(isinstance(each, dict) and is_address(each.get("address")) for each in listed):
        return "recipients", "must be addresses"
    match body:
        case {"body": {"parts": [{"content": str(text)}, *_]}} if text:
            return None
    return "body", "must have a part"


def _keys_of(body: Mapping[str, object]) -> tuple[str, ...]:
    match body:
        case {"custom_headers": {"X-Sendbench-Ids": str(keys)}}:
            return tuple(keys.split(","))
        case {"custom_headers": {"X-SMTPAPI": {"unique_args": {"sendbench_id": str(key)}}}}:
            return (key,)
        case {"recipients": {"bulk_list": list(listed)}}:
            return ("",) * len(listed)
    return ("",)
