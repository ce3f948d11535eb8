"""AWS SES, API v2: outbound-emails and outbound-bulk-emails, as of the service model 2019-09-27."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from bench.clock import utc_now
from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts, Secret
from bench.providers import ses_signing
from bench.providers.base import (
    AUTH,
    CONFIG,
    OPEN,
    REFUSED,
    THROTTLED,
    UNAVAILABLE,
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
    Rule,
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
    other_headers,
    parse_json,
    read_complaint,
    refused,
    refused_one,
    reply_to,
    unclear,
    uuid_text,
)

_SINGLE, _BATCH = "/v2/email/outbound-emails", "/v2/email/outbound-bulk-emails"
_KEY = "sendbench_id"
_MAX_BATCH, _MAX_RECIPIENTS = 50, 50
_LIMIT = 40 * 2**20
_SIMULATOR = "success@simulator.amazonses.com"
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))
_REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1",
    "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1", "ap-south-1", "ap-southeast-1",
    "ap-southeast-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "me-south-1", "af-south-1",
    "il-central-1",
)  # fmt: skip
_ENVIRONMENT = EnvironmentNames(password="AWS_SECRET_ACCESS_KEY", user="AWS_ACCESS_KEY_ID")

_CLOCK = Rule(Outcome.REJECTED_PERM, "clock")
"""A signature whose time is not the server's."""
_EXCEPTIONS = {
    "TooManyRequestsException": THROTTLED,
    "ThrottlingException": THROTTLED,
    "LimitExceededException": THROTTLED,
    "MailFromDomainNotVerifiedException": CONFIG,
    "AccountSuspendedException": AUTH,
    "SendingPausedException": AUTH,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
}
"""What the type of an error means, where its status does not say it."""
_STATUSES = {
    "ACCOUNT_THROTTLED": THROTTLED,
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": THROTTLED,
    "TRANSIENT_FAILURE": UNAVAILABLE,
    "MESSAGE_REJECTED": REFUSED,
    "INVALID_PARAMETER": REFUSED,
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": CONFIG,
    "CONFIGURATION_SET_DOES_NOT_EXIST": CONFIG,
    "CONFIGURATION_SET_NOT_FOUND": CONFIG,
    "CONFIGURATION_SET_SENDING_PAUSED": CONFIG,
    "TEMPLATE_NOT_FOUND": CONFIG,
    "INVALID_SENDING_POOL_NAME": CONFIG,
    "ACCOUNT_SUSPENDED": AUTH,
    "ACCOUNT_SENDING_PAUSED": AUTH,
    "FAILED": OPEN,
}
"""What the status of an entry of a bulk call means; SUCCESS has an id instead."""

FACTS = ProviderFacts(
    name="ses",
    title="AWS SES",
    smtp=SmtpFacts(
        hosts={region: f"email-smtp.{region}.amazonaws.com" for region in _REGIONS},
        starttls_ports=(587, 25, 2587),
        tls_ports=(465, 2465),
        user="the access key id; the password is derived from the secret key and the region",
        environment=_ENVIRONMENT,
        max_message_bytes=_LIMIT,
        max_recipients=_MAX_RECIPIENTS,
        headers=(
            "X-SES-CONFIGURATION-SET",
            "X-SES-MESSAGE-TAGS",
            "X-SES-SOURCE-ARN",
            "X-SES-FROM-ARN",
        ),
        throttling=(
            (421, "Too many concurrent SMTP connections"),
            (454, "Throttling failure"),
        ),
        accepted="Ok {id}",
    ),
    api=ApiFacts(
        base_urls={region: f"https://email.{region}.amazonaws.com" for region in _REGIONS},
        auth=AuthScheme.SIGNED,
        environment=_ENVIRONMENT,
        max_request_bytes=_LIMIT,
        max_recipients=_MAX_RECIPIENTS,
        max_batch=_MAX_BATCH,
        meanings=_EXCEPTIONS | _STATUSES,
        labelled=False,  # botocore reads the body as the service model has it, whatever it is called
    ),
    sandbox=SandboxFacts(
        api=f"mail goes to {_SIMULATOR}",
        smtp=f"mail goes to {_SIMULATOR}",
        recipient=_SIMULATOR,
        caveat="The simulator is a real recipient and is billed; an account's own sandbox is no dry run.",
    ),
    unconfirmed=(
        "connections and messages for a connection over SMTP",
        "whether every region has an SMTP endpoint",
        "what is said to a message above the size: the mock's words are its own",
        "the status of a rate excess: 429 is in the model, the guide speaks of ThrottlingException",
    ),
)


@dataclass(frozen=True, slots=True)
class Ses:
    """POST /v2/email/outbound-emails; 200 with `MessageId`. Every call is signed (SigV4)."""

    region: str = _REGIONS[0]

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Ses:
        """See `Provider.configured`: the region is part of every signature."""
        return replace(self, region=region or self.region)

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`."""
        shape = {**_envelope(parts), "Destination": _destination(parts, sandbox=sandbox)}
        shape |= {"Content": {"Simple": _simple(parts)}, "EmailTags": _tags(parts)}
        return Request("POST", _SINGLE, _JSON, json_bytes(shape))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: a bulk call takes templates only; its content is one."""
        template = {
            "TemplateContent": _template(parts), "TemplateData": "{}", **_extras(parts),
        }  # fmt: skip
        shared = json_bytes({**_envelope(parts), "DefaultContent": {"Template": template}})
        entry = {"Destination": _destination(parts, sandbox=sandbox), "ReplacementTags": _tags(parts)}
        body = (shared[:-1] + b',"BulkEmailEntries":[', Each(json_bytes(entry)), b"]}")
        return batch_of(parts, _BATCH, _JSON, body)

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`: X-Amz-Date and the signature of now. Nothing without a request."""
        if auth is None or request is None:
            return ()
        stamp = ses_signing.time_stamp(utc_now())
        host = request.header("host") or f"email.{self.region}.amazonaws.com"
        signed = {
            "content-type": request.header("content-type") or "", "host": host, "x-amz-date": stamp,
        }  # fmt: skip
        proof = ses_signing.authorization(
            request.method,
            request.path,
            signed,
            request.body,
            user=auth.user.reveal() if auth.user else "",
            secret=auth.password.reveal(),
            region=self.region,
            stamp=stamp,
        )
        return (("X-Amz-Date", stamp), ("Authorization", proof))

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """See `Provider.judge`."""
        if not 200 <= response.status < 300:
            return _refusal(response)
        if response.status != FACTS.api.success:
            return unclear("status")
        match _read(response.body):
            case {"MessageId": found}:
                return _accepted(found)
        return unclear("body")

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: a status for each entry, in order."""
        if response.status != FACTS.api.success:
            return alike(self.judge(response), count)
        match _read(response.body):
            case {"BulkEmailEntryResults": [*results]} if len(results) == count:
                return tuple(_judged(each) for each in results)
        return alike(unclear("body"), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`: the sandbox is an address."""
        return (("X-SES-MESSAGE-TAGS", f"{_KEY}={key}"),)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`."""
        derived = ses_signing.smtp_password(auth.password.reveal(), self.region)
        return Auth(auth.user, Secret(derived, "derived for SMTP"))

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        user = "AKIA" + "".join(rng.choice(letters) for _ in range(16))
        return Auth(made_up(user), made_up(b64encode(rng.randbytes(30)).decode("ascii")))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return _error(429, "TooManyRequestsException", "Too many requests have been made to the operation.")

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`. The region is the one that the caller has signed for."""
        path = request.path.partition("?")[0]
        refusal = _refuse_call(request, path, auth)
        if refusal is not None:
            return Served(refusal)
        body = _read(request.body)
        if not isinstance(body, dict):
            return Served(_error(400, "SerializationException", "the body is no JSON object"))
        if not is_address(bare(body.get("FromEmailAddress"))):
            return Served(_error(400, "BadRequestException", "Missing or invalid FromEmailAddress"))
        if path == _BATCH:
            return _serve_bulk(body, rng)
        problem = _destination_problem(body.get("Destination")) or _content_problem(body.get("Content"))
        if problem is not None:
            return Served(_error(400, "BadRequestException", problem))
        return Served(json_response(200, {"MessageId": _message_id(rng)}), (_key_in(body.get("EmailTags")),))


# -------------------------------------------------------------------- the request


def _envelope(parts: Parts) -> dict[str, object]:
    if len(parts.recipients) > _MAX_RECIPIENTS:
        raise UsageError(f"message.recipients: SES takes at most {_MAX_RECIPIENTS} for a message")
    answers = reply_to(parts.headers)
    found: dict[str, object] = {"FromEmailAddress": parts.sender}
    return found | ({"ReplyToAddresses": [answers]} if answers else {})


def _destination(parts: Parts, *, sandbox: bool) -> dict[str, object]:
    return {"ToAddresses": [_SIMULATOR] if sandbox else list(parts.recipients)}


def _tags(parts: Parts) -> list[dict[str, str]]:
    """A tag's value may hold letters, digits, _ and -, as our keys do."""
    return [{"Name": _KEY, "Value": parts.key}]


def _texts(parts: Parts) -> dict[str, str]:
    found = {name: text for name, text in (("Text", parts.text), ("Html", parts.html)) if text}
    if not found:
        raise UsageError("message: SES's API needs a text or an HTML part")
    return found


def _simple(parts: Parts) -> dict[str, object]:
    body = {name: {"Data": text} for name, text in _texts(parts).items()}
    return {"Subject": {"Data": parts.subject}, "Body": body, **_extras(parts)}


def _template(parts: Parts) -> dict[str, str]:
    texts = _texts(parts)
    if any("{{" in text for text in (parts.subject, *texts.values())):
        raise UsageError("message: SES's bulk call reads {{ as the beginning of a template's variable")
    return {"Subject": parts.subject, **texts}


def _extras(parts: Parts) -> dict[str, object]:
    headers = [{"Name": name, "Value": value} for name, value in other_headers(parts.headers).items()]
    files = [_attachment(each) for each in parts.attachments]
    return {**({"Headers": headers} if headers else {}), **({"Attachments": files} if files else {})}


def _attachment(each: Attachment) -> dict[str, str]:
    return {
        "RawContent": b64encode(each.content).decode("ascii"),
        "FileName": each.filename,
        "ContentType": each.content_type,
        "ContentDisposition": "ATTACHMENT",
        "ContentTransferEncoding": "BASE64",
    }


# --------------------------------------------------------------------- the answer


def _read(body: bytes) -> object:
    try:
        return parse_json(body)
    except BodyError:
        return None


def _accepted(message_id: object) -> Judgement:
    return Judgement(Outcome.ACCEPTED, (str(message_id),)) if is_id(message_id) else unclear("no_id")


def _refusal(response: Answered) -> Judgement:
    """The type of the error stands in a header, before a colon."""
    kind = (response.header("x-amzn-errortype") or "").partition(":")[0] or None
    found = read_complaint(response.body, _complaint)
    judged = refused(response, Complaint(found.text, code=kind), FACTS.api.meanings)
    if response.status == 403 and "Signature expired" in (found.text or ""):
        return judged._replace(error=_CLOCK.error)
    return judged


def _complaint(body: object) -> Complaint:
    match body:
        case {"message": str(text)} | {"Message": str(text)}:
            return Complaint(text)
    return Complaint()


def _judged(result: object) -> Judgement:
    match result:
        case {"Status": "SUCCESS", "MessageId": found}:
            return _accepted(found)
        case {"Status": "SUCCESS"}:
            return unclear("no_id")
        case {"Status": str(status), **rest} if status in _STATUSES:
            text = rest.get("Error")
            return refused_one(Complaint(text if isinstance(text, str) else None, code=status), _STATUSES)
    return unclear("body")


# ---------------------------------------------------------------- the vendor's side

_PROOF = re.compile(
    rf"{ses_signing.ALGORITHM} Credential=([^/\s]+)/(\d{{8}})/([a-z0-9-]+)/ses/aws4_request, *"
    r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})"
)
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)


def _error(status: int, kind: str, text: str) -> Response:
    return json_response(status, {"message": text}, (("x-amzn-errortype", kind),))


def _refuse_call(request: Request, path: str, auth: Auth) -> Response | None:
    if path not in (_SINGLE, _BATCH):
        return _error(404, "NotFoundException", "no such operation")
    if request.method != "POST":
        return _error(405, "BadRequestException", "method not allowed")
    if len(request.body) > _LIMIT:  # before its signature: the mock keeps no more of a body than shows this
        return _error(400, "BadRequestException", f"the request is larger than {_LIMIT} bytes")
    given = request.header("authorization")
    if given is None:
        return _error(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    proof, stamp = _PROOF.fullmatch(given), request.header("x-amz-date")
    if proof is None or stamp is None or stamp[:8] != proof[2]:
        return _error(403, "IncompleteSignatureException", "the Authorization header is incomplete")
    if auth.user is None or proof[1] != auth.user.reveal():
        text = "The security token included in the request is invalid."
        return _error(403, "UnrecognizedClientException", text)
    signed = {name: request.header(name) or "" for name in proof[4].split(";")}
    wanted = ses_signing.signature(
        request.method,
        request.path,
        signed,
        request.body,
        secret=auth.password.reveal(),
        region=proof[3],
        stamp=stamp,
    )
    return None if wanted == proof[5] else _error(403, "InvalidSignatureException", _MISMATCH)


def _serve_bulk(body: Mapping[str, object], rng: Random) -> Served:
    match body:
        case {"DefaultContent": {"Template": {"TemplateContent": _} | {"TemplateName": str()}}}:
            entries = body.get("BulkEmailEntries")
        case _:
            return Served(_error(400, "BadRequestException", "DefaultContent.Template is required"))
    if not isinstance(entries, list) or not entries:
        return Served(_error(400, "BadRequestException", "BulkEmailEntries is required"))
    if len(entries) > _MAX_BATCH:
        text = f"The number of destinations must not exceed {_MAX_BATCH}."
        return Served(_error(400, "BadRequestException", text))
    results, keys = [], []
    for each in entries:
        problem = _destination_problem(each.get("Destination") if isinstance(each, dict) else None)
        if problem is None:
            results.append({"Status": "SUCCESS", "MessageId": _message_id(rng)})
            keys.append(_key_in(each.get("ReplacementTags")))
        else:
            results.append({"Status": "INVALID_PARAMETER", "Error": problem})
    return Served(json_response(200, {"BulkEmailEntryResults": results}), tuple(keys))


def _destination_problem(destination: object) -> str | None:
    listed = [
        one
        for name in ("ToAddresses", "CcAddresses", "BccAddresses")
        for one in _listed(destination.get(name) if isinstance(destination, dict) else None)
    ]
    if not listed:
        return "Missing destination"
    if len(listed) > _MAX_RECIPIENTS:
        return f"Recipient count exceeds {_MAX_RECIPIENTS}."
    return None if all(is_address(bare(one)) for one in listed) else "Illegal address"


def _listed(shape: object) -> list[object]:
    return shape if isinstance(shape, list) else []


def _content_problem(content: object) -> str | None:
    match content:
        case {
            "Simple": {
                "Subject": {"Data": str()},
                "Body": {"Text": {"Data": str()}} | {"Html": {"Data": str()}},
            }
        }:
            return None
        case {"Raw": {"Data": str()}} | {"Template": dict()}:
            return None
    return "Content must be Simple, Raw or Template, and whole"


def _message_id(rng: Random) -> str:
    return f"{rng.getrandbits(64):016x}-{uuid_text(rng)}-000000"


def _key_in(tags: object) -> str:
    for tag in _listed(tags):
        match tag:
            case {"Name": "sendbench_id", "Value": str(key)}:
                return key
    return ""
