"""Mailgun: /v3/{domain}/messages, as of the vendor's OpenAPI file 3.0.0 and its documentation.

The body is always multipart/form-data: in a urlencoded one keys and addresses would not stand as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from bench.errors import UsageError
from bench.model import Auth, Outcome, Parts, Secret
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
    basic,
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
    reply_to,
    unclear,
)
from bench.providers.forms import Field, FormError, boundary_for, end, part, read_form

_KEY = "sendbench_id"
_MAX_RECIPIENTS = 1000
_LIMIT = 25 * 2**20
_REQUEST_LIMIT = int(52.4 * 2**20)

FACTS = ProviderFacts(
    name="mailgun",
    title="Mailgun",
    smtp=SmtpFacts(
        hosts={"us": "smtp.mailgun.org", "eu": "smtp.eu.mailgun.org"},
        starttls_ports=(587, 25, 2525),
        tls_ports=(465,),
        user="a full address at the sending domain, with the password of its own",
        environment=EnvironmentNames(password="MAILGUN_SMTP_PASSWORD", user="MAILGUN_SMTP_USER"),
        max_message_bytes=_LIMIT,
        headers=(
            "X-Mailgun-Tag",
            "X-Mailgun-Variables",
            "X-Mailgun-Drop-Message",
            "X-Mailgun-Deliver-By",
            "X-Mailgun-Track",
            "X-Mailgun-Track-Clicks",
            "X-Mailgun-Track-Opens",
            "X-Mailgun-Dkim",
            "X-Mailgun-Sending-Ip",
            "X-Mailgun-Sending-Ip-Pool",
            "X-Mailgun-Require-TLS",
            "X-Mailgun-Skip-Verification",
            "X-Mailgun-Recipient-Variables",
            "X-Mailgun-Template-Variables",
            "X-Mailgun-Delivery-Time-Optimize-Period",
            "X-Mailgun-Time-Zone-Localize",
        ),
    ),
    api=ApiFacts(
        base_urls={"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"},
        auth=AuthScheme.BASIC,
        environment=EnvironmentNames(password="MAILGUN_API_KEY", settings=("MAILGUN_DOMAIN",)),
        max_request_bytes=_REQUEST_LIMIT,
        max_recipients=_MAX_RECIPIENTS,
        max_batch=_MAX_RECIPIENTS,
        batch_by_recipient=True,
    ),
    sandbox=SandboxFacts(
        api="the field o:testmode=yes",
        smtp="the header X-Mailgun-Drop-Message: yes",
        caveat="It is accepted and not sent, and charged all the same.",
    ),
    unconfirmed=(
        "smtp.eu.mailgun.org: only in other people's documentation",
        "connections and messages for a connection over SMTP",
        "numbers of the rate limit, Retry-After and rate headers",
        "that MIME and attachments must come as multipart/form-data",
    ),
)


@dataclass(frozen=True, slots=True)
class Mailgun:
    """POST /v3/{domain}/messages; 200 with `id`. A batch is the same call with `recipient-variables`."""

    domain: str | None = None
    """The sending domain; None: that of the sender's address."""

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Mailgun:
        """See `Provider.configured`: no call differs by region."""
        return replace(self, domain=settings.get("MAILGUN_DOMAIN", self.domain))

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`."""
        people = [Field("to", each.encode()) for each in parts.recipients]
        fields = [*people, *_shared(parts, parts.key, sandbox=sandbox)]
        boundary = boundary_for(fields)
        body = b"".join((*(part(each, boundary) for each in fields), end(boundary)))
        return Request("POST", self._path(parts), _headers(boundary), body)

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`: everybody gets the variables that stand under the own address."""
        if len(parts.recipients) != 1:
            raise UsageError("message.recipients: a batch of Mailgun's has one for each message")
        shared = _shared(parts, f"%recipient.{_KEY}%", sandbox=sandbox)
        boundary, recipient = boundary_for(shared), parts.recipients[0]
        variables = json_bytes({recipient: {_KEY: parts.key}})[1:-1]
        before = part(Field("recipient-variables", b"{"), boundary).removesuffix(b"\r\n")
        rest = b"".join(part(each, boundary) for each in shared)
        body = (
            Each(part(Field("to", recipient.encode()), boundary), b""),
            before,
            Each(variables),
            b"}\r\n" + rest + end(boundary),
        )
        return batch_of(parts, self._path(parts), _headers(boundary), body)

    def _path(self, parts: Parts) -> str:
        return f"/v3/{self.domain or parts.sender.rpartition('@')[2]}/messages"

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`: Basic, whose user is the word api."""
        if auth is None:
            return ()
        return basic(Auth(Secret("api", "Mailgun's convention"), auth.password))

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
            case {"id": str(found), "message": str()} if is_id(found):
                return Judgement(Outcome.ACCEPTED, (found,))
            case {"message": str()}:
                return unclear("no_id")
        return unclear("body")

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`: all or nothing, one id for the call."""
        return alike(self.judge(response, sandbox=sandbox), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`."""
        ours = ("X-Mailgun-Variables", json_bytes({_KEY: key}).decode("ascii"))
        return (ours, ("X-Mailgun-Drop-Message", "yes")) if sandbox else (ours,)

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`: credentials of their own, as given."""
        return auth

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`: the mock takes the API key as the SMTP password as well."""
        key = f"{rng.getrandbits(128):032x}-{rng.getrandbits(32):08x}-{rng.getrandbits(32):08x}"
        return Auth(made_up("postmaster@mg.sendbench.example"), made_up(key))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return _error(429, f"account-requests-per-sec limit exceeded, try again after {reset_s} seconds")

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        domain = _domain_of(request.path.partition("?")[0])
        refusal = _refuse_call(request, domain, self.auth_headers(auth)[0][1])
        if refusal is not None:
            return Served(refusal)
        try:
            form = _Form(read_form(request.header("content-type") or "", request.body))
        except FormError:
            return Served(_error(400, "Expecting multipart/form-data"))
        problem = form.problem()
        if problem is not None:
            return Served(_error(400, problem))
        message_id = f"<{rng.getrandbits(80):020x}@{domain}>"
        return Served(json_response(200, {"id": message_id, "message": "Queued. Thank you."}), form.keys())


# -------------------------------------------------------------------- the request


def _headers(boundary: str) -> Headers:
    return (("Accept", "application/json"), ("Content-Type", f"multipart/form-data; boundary={boundary}"))


def _shared(parts: Parts, key: str, *, sandbox: bool) -> list[Field]:
    """All but the recipients."""
    if not parts.text and not parts.html:
        raise UsageError("message: Mailgun's API needs a text or an HTML part")
    texts: list[tuple[str, str | None]] = [
        ("from", parts.sender),
        ("subject", parts.subject),
        ("text", parts.text),
        ("html", parts.html),
        ("h:Reply-To", reply_to(parts.headers)),
        *((f"h:{name}", value) for name, value in other_headers(parts.headers).items()),
        (f"v:{_KEY}", key),
        ("o:testmode", "yes" if sandbox else None),
    ]
    files = [
        Field("attachment", each.content, each.filename, each.content_type) for each in parts.attachments
    ]
    return [*(Field(name, text.encode()) for name, text in texts if text), *files]


# --------------------------------------------------------------------- the answer


def _complaint(body: object) -> Complaint:
    match body:
        case {"message": str(text)}:
            return Complaint(text)
        case str(text):
            return Complaint(text)
    return Complaint()


# ---------------------------------------------------------------- the vendor's side


def _error(status: int, text: str) -> Response:
    return json_response(status, {"message": text})


def _domain_of(path: str) -> str | None:
    match path.split("/"):
        case ["", "v3", domain, "messages"] if domain:
            return domain
    return None


def _refuse_call(request: Request, domain: str | None, wanted: str) -> Response | None:
    if domain is None:
        return _error(404, "page not found")
    if request.method != "POST":
        return _error(405, "Method not allowed")
    if request.header("authorization") != wanted:
        return Response(401, (("content-type", "text/plain"),), b"Forbidden")
    if len(request.body) > _REQUEST_LIMIT:
        return _error(413, "request size exceeds 52.4MiB limit")
    return None


_CONTENTS = ("text", "html", "amp-html", "template")


class _Form:
    """The fields of a call by name."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields: defaultdict[str, list[bytes]] = defaultdict(list)
        for field in fields:
            self._fields[field.name].append(field.value)

    def _texts(self, name: str) -> list[str]:
        return [each.decode("utf-8", "replace") for each in self._fields.get(name, ())]

    def _people(self, name: str = "to") -> list[str]:
        """Fields of one name may hold several addresses, parted by commas."""
        return [one.strip() for listed in self._texts(name) for one in listed.split(",") if one.strip()]

    def problem(self) -> str | None:
        """The first thing that is wrong; None where the message is taken."""
        senders, people = self._texts("from"), self._people()
        if not senders or not is_address(bare(senders[0])):
            return "from parameter is not a valid address. please check documentation"
        if not people:
            return "to parameter is missing"
        if len(people) + len(self._people("cc")) + len(self._people("bcc")) > _MAX_RECIPIENTS:
            return f"Too many recipients, max is {_MAX_RECIPIENTS}"
        if not all(is_address(bare(each)) for each in people):
            return "to parameter is not a valid address. please check documentation"
        if not any(self._fields.get(name, [b""])[0] for name in _CONTENTS):
            return "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"
        if "recipient-variables" in self._fields and self._variables() is None:
            return "recipient-variables is not a valid JSON"
        return None

    def _variables(self) -> Mapping[str, object] | None:
        try:
            found = parse_json(self._fields["recipient-variables"][0])
        except BodyError:
            return None
        return found if isinstance(found, dict) else None

    def keys(self) -> tuple[str, ...]:
        """The key of each message: one for everybody, or one under each address."""
        if "recipient-variables" not in self._fields:
            return (next(iter(self._texts(f"v:{_KEY}")), ""),)
        variables = self._variables() or {}
        return tuple(_key_in(variables.get(str(bare(each)))) for each in self._people())


def _key_in(variables: object) -> str:
    match variables:
        case {"sendbench_id": str(key)}:
            return key
    return ""
