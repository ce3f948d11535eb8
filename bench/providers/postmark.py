"""Postmark: /email and /email/batch, as of the vendor's developer documentation (see `FACTS.unconfirmed`)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from random import Random

from bench.clock import utc_now
from bench.errors import UsageError
from bench.model import Attachment, Auth, Outcome, Parts
from bench.providers.base import (
    AUTH,
    CONFIG,
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
    bare,
    batch_of,
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
    refused_one,
    reply_to,
    unclear,
    uuid_text,
)

_ENVIRONMENT = EnvironmentNames(password="POSTMARK_SERVER_TOKEN")
_SINGLE, _BATCH = "/email", "/email/batch"
_KEY = "sendbench_id"
_MESSAGE_LIMIT, _BATCH_LIMIT = 10 * 2**20, 50 * 2**20
_MAX_BATCH = 500
_MAX_RECIPIENTS = 50
_TOKEN_HEADER = "X-Postmark-Server-Token"
_TEST_TOKEN = "POSTMARK_API_TEST"
_STREAM = "outbound"
_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))

FACTS = ProviderFacts(
    name="postmark",
    title="Postmark",
    smtp=SmtpFacts(
        hosts={"transactional": "smtp.postmarkapp.com", "broadcast": "smtp-broadcasts.postmarkapp.com"},
        starttls_ports=(587, 25, 2525),
        tls_ports=(),
        user="the server token, which is the password as well",
        environment=_ENVIRONMENT,
        max_message_bytes=_MESSAGE_LIMIT,
        max_recipients=_MAX_RECIPIENTS,
        headers=("X-PM-Message-Stream", "X-PM-TrackOpens"),
    ),
    api=ApiFacts(
        base_urls={"transactional": "https://api.postmarkapp.com"},
        auth=AuthScheme.HEADER,
        environment=_ENVIRONMENT,
        max_request_bytes=_MESSAGE_LIMIT,
        max_recipients=_MAX_RECIPIENTS,
        max_batch=_MAX_BATCH,
        max_batch_bytes=_BATCH_LIMIT,
        meanings={"10": AUTH, "412": CONFIG},  # a wrong token; an account that is still pending
    ),
    sandbox=SandboxFacts(
        api=f"the server token {_TEST_TOKEN}, which checks the call and sends nothing",
        key=_TEST_TOKEN,
        caveat="It is checked and answered as usual, and nothing is sent.",
    ),
    unconfirmed=(
        "10 concurrent SMTP connections for an address: advised, not enforced",
        "X-PM-Tag, X-PM-Metadata-*, X-PM-TrackLinks, X-PM-Message-Id over SMTP",
        "the test token and Sandbox servers over SMTP",
        "rate limits: 429 exists, no number and no header is published; the mock's words for it are its own",
    ),
)


class Postmark:
    """POST /email; 200 with `ErrorCode` 0 and a `MessageID`. The code numbers are not HTTP statuses."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Postmark:
        """See `Provider.configured`: no call differs by region."""
        return self

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`: the sandbox is another token, the call is the same."""
        return Request("POST", _SINGLE, _JSON, json_bytes(_message(parts)))

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: a bare array of whole messages."""
        return batch_of(parts, _BATCH, _JSON, json_batch("[", _message(parts), "]"))

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`."""
        return ((_TOKEN_HEADER, auth.password.reveal()),) if auth is not None else ()

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
            results = parse_json(response.body)
        except BodyError:
            return alike(unclear("body"), count)
        if not isinstance(results, list) or len(results) != count:
            return alike(unclear("body"), count)
        return tuple(_judged(each) for each in results)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`: no header that carries metadata is confirmed."""
        if sandbox:
            raise UsageError("whether Postmark has a sandbox over SMTP is unconfirmed; use transport: api")
        return ()

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`."""
        return Auth(auth.password, auth.password)

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        return Auth(None, made_up(uuid_text(rng)))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return json_response(429, {"ErrorCode": 429, "Message": "Rate limit exceeded"})

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`. The test token is let in as well, and takes nothing on its way."""
        path = request.path.partition("?")[0]
        refusal = _refuse_call(request, path, auth.password.reveal())
        if refusal is not None:
            return Served(refusal)
        try:
            body = parse_json(request.body)
        except BodyError:
            return Served(_error(422, 402, "Received invalid JSON input."))
        if path == _BATCH:
            return _serve_batch(body, rng)
        problem = _problem(body)
        if problem is not None or not isinstance(body, dict):
            return Served(_error(422, *(problem or _NO_OBJECT)))
        return Served(json_response(200, _taken(body, rng)), (_key_of(body),))


# -------------------------------------------------------------------- the request


def _message(parts: Parts) -> dict[str, object]:
    if not parts.text and not parts.html:
        raise UsageError("message: Postmark's API needs a text or an HTML part")
    if len(parts.recipients) > _MAX_RECIPIENTS:
        raise UsageError(f"message.recipients: Postmark takes at most {_MAX_RECIPIENTS} for a message")
    found: dict[str, object] = {
        "From": parts.sender,
        "To": ",".join(parts.recipients),
        "Subject": parts.subject,
    }
    found |= {name: text for name, text in (("TextBody", parts.text), ("HtmlBody", parts.html)) if text}
    found |= _headers(parts.headers)
    if parts.attachments:
        found["Attachments"] = [_attachment(each) for each in parts.attachments]
    return {**found, "Metadata": {_KEY: parts.key}, "MessageStream": _STREAM}


def _headers(headers: Headers) -> dict[str, object]:
    answers = reply_to(headers)
    others = [{"Name": name, "Value": value} for name, value in other_headers(headers).items()]
    return {**({"ReplyTo": answers} if answers else {}), **({"Headers": others} if others else {})}


def _attachment(each: Attachment) -> dict[str, str]:
    content = b64encode(each.content).decode("ascii")
    return {"Name": each.filename, "Content": content, "ContentType": each.content_type}


# --------------------------------------------------------------------- the answer


def _judged(result: object) -> Judgement:
    """What `{"ErrorCode", "Message", "MessageID"}` says of one message."""
    match result:
        case {"ErrorCode": 0, "MessageID": str(found)} if is_id(found):
            return Judgement(Outcome.ACCEPTED, (found,))
        case {"ErrorCode": 0}:
            return unclear("no_id")
        case {"ErrorCode": int(code), **rest} if code is not True and code is not False:
            text = rest.get("Message")
            complaint = Complaint(text if isinstance(text, str) else None, code=str(code))
            return refused_one(complaint, FACTS.api.meanings)
    return unclear("body")


def _complaint(body: object) -> Complaint:
    match body:
        case {"ErrorCode": int(code), "Message": str(text)}:
            return Complaint(text, code=str(code))
    return Complaint()


# ---------------------------------------------------------------- the vendor's side

_NO_OBJECT = (402, "Received invalid JSON input.")


def _error(status: int, code: int, text: str) -> Response:
    return json_response(status, {"ErrorCode": code, "Message": text})


def _refuse_call(request: Request, path: str, token: str) -> Response | None:
    if path not in (_SINGLE, _BATCH):
        return _error(404, 404, "The requested resource was not found.")
    if request.method != "POST":
        return _error(405, 405, "Method not allowed.")
    if request.header(_TOKEN_HEADER.lower()) not in (token, _TEST_TOKEN):
        return _error(401, 10, "Request does not contain a valid Server token.")
    if media_type(request) != "application/json":
        return _error(415, 409, "The 'Content-Type' header must be 'application/json'.")
    if len(request.body) > (_BATCH_LIMIT if path == _BATCH else _MESSAGE_LIMIT):
        return _error(413, 413, "The request payload is too large.")
    return None


def _serve_batch(body: object, rng: Random) -> Served:
    if not isinstance(body, list):
        return Served(_error(422, 402, "Received invalid JSON input."))
    if len(body) > _MAX_BATCH:
        text = f"You may send up to {_MAX_BATCH} messages in a single batch."
        return Served(_error(422, 410, text))
    results, keys = [], []
    for each in body:
        problem = _problem(each)
        if problem is not None or not isinstance(each, dict):
            code, text = problem or _NO_OBJECT
            results.append({"ErrorCode": code, "Message": text})
        else:
            results.append(_taken(each, rng))
            keys.append(_key_of(each))
    return Served(json_response(200, results), tuple(keys))


def _problem(body: object) -> tuple[int, str] | None:
    """The first thing that is wrong with a message: code and text; None where it is taken."""
    if not isinstance(body, dict):
        return _NO_OBJECT
    if not _are_addresses(body.get("From"), most=1):
        return 300, "Invalid 'From' address."
    listed = [body[name] for name in ("To", "Cc", "Bcc") if body.get(name)]
    if not listed:
        return 300, "Zero recipients specified"
    if sum(len(each.split(",")) for each in listed if isinstance(each, str)) > _MAX_RECIPIENTS:
        return 300, f"Invalid email request: at most {_MAX_RECIPIENTS} recipients are allowed."
    if not all(_are_addresses(each) for each in listed):
        return 300, "Invalid 'To' address."
    if not any(isinstance(body.get(name), str) and body[name] for name in ("TextBody", "HtmlBody")):
        return 300, "Provide either email TextBody or HtmlBody or both."
    return None


def _are_addresses(listed: object, most: int = _MAX_RECIPIENTS) -> bool:
    """Whether this is a list of addresses, with names or without, parted by commas."""
    if not isinstance(listed, str):
        return False
    each = [bare(one.strip()) for one in listed.split(",")]
    return len(each) <= most and all(map(is_address, each))


def _taken(body: Mapping[str, object], rng: Random) -> dict[str, object]:
    return {
        "To": body.get("To"),
        "SubmittedAt": utc_now().isoformat(timespec="microseconds").replace("+00:00", "0Z"),
        "MessageID": uuid_text(rng),
        "ErrorCode": 0,
        "Message": "OK",
    }


def _key_of(body: Mapping[str, object]) -> str:
    match body:
        case {"Metadata": {"sendbench_id": str(key)}}:
            return key
    return ""
