"""What every provider's file is made of: facts, requests, answers, and how they are judged.

A provider is addressed from two sides. Towards the real service (or its mock) it builds a
`Request` and judges the `Response`; on the mock's side it answers a request as the vendor
does. Both sides read the same facts.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import NamedTuple, NoReturn, Protocol
from uuid import UUID

from bench.model import Auth, Outcome, Parts, Secret

Headers = tuple[tuple[str, str], ...]

TEXT_LIMIT = 4096
"""Characters of a provider's error text that are kept until it has been masked; the record keeps fewer."""
ID_LIMIT = 512
"""A message id longer than this is none."""

# --------------------------------------------------------------------------- facts


class AuthScheme(StrEnum):
    """How an HTTP API is told who calls."""

    NONE = "none"
    BEARER = "bearer"
    BASIC = "basic"
    HEADER = "header"
    """The bare key in a header of the provider's own."""
    SIGNED = "signed"
    """Each request carries a signature made over it: `auth_headers` must be given the request."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a refusal means for the message."""

    outcome: Outcome
    error: str

    def __str__(self) -> str:
        return f"{self.outcome} {self.error}"


REFUSED = Rule(Outcome.REJECTED_PERM, "invalid")
AUTH = Rule(Outcome.REJECTED_PERM, "auth")
CONFIG = Rule(Outcome.REJECTED_PERM, "config")
CONFLICT = Rule(Outcome.REJECTED_PERM, "conflict")
THROTTLED = Rule(Outcome.REJECTED_TEMP, "throttle")
UNAVAILABLE = Rule(Outcome.REJECTED_TEMP, "unavailable")
REDIRECTED = Rule(Outcome.REJECTED_PERM, "redirect")
OPEN = Rule(Outcome.UNKNOWN, "server")
NO_RULES: Mapping[str, Rule] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EnvironmentNames:
    """The environment variables a user keeps the credentials in."""

    password: str
    """The key, token or password."""
    user: str | None = None
    settings: tuple[str, ...] = ()
    """What else the provider must be told: a domain, a region ..."""

    @property
    def secret(self) -> tuple[str, ...]:
        """Those whose values are credentials."""
        return (self.password,) if self.user is None else (self.user, self.password)


@dataclass(frozen=True, slots=True)
class SmtpFacts:
    """A provider's SMTP side as documented; None: not published."""

    hosts: Mapping[str, str]
    """region -> host; the first is the default"""
    starttls_ports: tuple[int, ...]
    tls_ports: tuple[int, ...]
    """TLS from the first byte."""
    user: str
    """What user name and password are, in words."""
    environment: EnvironmentNames | None = None
    max_message_bytes: int | None = None
    max_recipients: int | None = None
    max_connections: int | None = None
    max_messages_per_connection: int | None = None
    headers: tuple[str, ...] = ()
    """Header fields of a message that mean something to the provider."""
    throttling: tuple[tuple[int, str], ...] = ()
    """(code, part of the text) of the replies that say: too much, later"""
    accepted: str | None = None
    """What follows 250 when a message is taken, `{id}` standing for its name; None: not documented"""


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """A provider's HTTP side as documented; None: not published."""

    base_urls: Mapping[str, str]
    """region -> URL without a trailing slash; the first is the default"""
    auth: AuthScheme
    environment: EnvironmentNames | None = None
    max_request_bytes: int | None = None
    max_recipients: int | None = None
    max_batch: int | None = None
    """Messages in one batch call."""
    max_batch_recipients: int | None = None
    """Of all messages in one batch call together."""
    calls_per_s: float | None = None
    batch_by_recipient: bool = False
    """Whether the messages of a batch are told apart by their recipients: no two may have the same."""
    max_batch_bytes: int | None = None
    """Of one batch call, where that is another limit than a single call's."""
    rate_headers: tuple[str, ...] = ()
    """Response headers, in lower case, that tell how much of a rate limit is left."""
    retry_after: bool = False
    """Whether a throttled call is documented to be told when to come again."""
    success: int = 200
    """The status of a call that was taken; what else is below 300 is not in the contract."""
    meanings: Mapping[str, Rule] = field(default_factory=dict)
    """What its own error codes mean, where the HTTP status does not say it."""
    labelled: bool = True
    """Whether a success has to call its body JSON by its content type, as what a proxy says does not."""
    idempotency: str | None = None
    """What keeps a repeated call from sending twice, in words; None: nothing documented."""


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    """How a send is made harmless; at least one of the two ways exists."""

    api: str | None = None
    """The switch over the API, in words; None: there is none."""
    smtp: str | None = None
    """The same over SMTP."""
    recipient: str | None = None
    """The simulator's address, where the switch is to send to that instead."""
    key: str | None = None
    """The literal API key that is the switch, where it is one."""
    base_url: str | None = None
    """Of the API, where the sandbox is a service of its own."""
    smtp_host: str | None = None
    """The same over SMTP."""
    caveat: str = ""
    """What such a number is not, as a sentence for reports."""


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """Everything known about a provider, in one place."""

    name: str
    title: str
    smtp: SmtpFacts
    api: ApiFacts
    sandbox: SandboxFacts | None = None
    """None: there is none."""
    unconfirmed: tuple[str, ...] = ()
    """Facts above or about it that no source of the vendor's states; greetings and acceptances over SMTP that
    `smtp.accepted` does not tell are the mock's own."""


# ------------------------------------------------------------- requests and answers


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a provider's API, without credentials."""

    method: str
    path: str
    """Relative to the base URL; empty where the base URL itself is the address."""
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name (lower case on the mock's side), else None."""
        return _first(self.headers, name)


@dataclass(frozen=True, slots=True)
class Each:
    """What stands in a batch call once for every message, with that message's placeholders filled in."""

    item: bytes
    separator: bytes = b","
    """Between two items."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A call that carries several messages, without credentials and before they are put in."""

    method: str
    path: str
    headers: Headers
    body: tuple[bytes | Each, ...]
    key: str
    """The placeholder of a message's key in every item."""
    recipient: str | None = None
    """The placeholder of a message's recipient, where each message has one of its own."""

    def filled(self, messages: Sequence[tuple[str, str]]) -> Request:
        """The call for these messages, at least one: the key and the recipient of each."""
        pieces = [
            piece if isinstance(piece, bytes) else piece.separator.join(self._items(piece, messages))
            for piece in self.body
        ]
        return Request(self.method, self.path, self.headers, b"".join(pieces))

    def _items(self, piece: Each, messages: Sequence[tuple[str, str]]) -> Iterator[bytes]:
        for key, recipient in messages:
            item = piece.item.replace(self.key.encode(), key.encode())
            yield (
                item if self.recipient is None else item.replace(self.recipient.encode(), recipient.encode())
            )


def batch_of(
    parts: Parts, path: str, headers: Headers, body: tuple[bytes | Each, ...], method: str = "POST"
) -> BatchRequest:
    """The batch call that is made of a message's parts. With one recipient its address counts as that of
    the message, to be replaced by each message's own."""
    recipient = parts.recipients[0] if len(parts.recipients) == 1 else None
    return BatchRequest(method, path, headers, body, parts.key, recipient)


def json_batch(before: str, item: object, after: str) -> tuple[bytes | Each, ...]:
    """The body of a batch call that lists its messages as JSON, between two pieces of JSON text."""
    return before.encode(), Each(json_bytes(item)), after.encode()


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are in lower case."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name, else None."""
        return _first(self.headers, name)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of that (lower-case) header."""
        return tuple(value for each, value in self.headers if each == name)


def _first(headers: Headers, name: str) -> str | None:
    return next((value for each, value in headers if each.lower() == name), None)


class Answered(Protocol):
    """What a judge asks of a response; `Response` is one. Header names are in lower case."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    def header(self, name: str) -> str | None:
        """The first header of that name, else None."""
        ...

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of that header."""
        ...


class Judgement(NamedTuple):
    """What a response says about the message that was sent."""

    outcome: Outcome
    message_ids: tuple[str, ...] = ()
    """The provider's ids: one for the call, or one for each recipient, in order."""
    error: str | None = None
    """The class of error; None only where accepted."""
    code: str | None = None
    """The provider's own error code, where it has one beside the HTTP status."""
    anomaly: str | None = None
    """body: not what the contract says; no_id: no message id; dup_id: several; status: not in the contract"""
    notes: Mapping[str, str] = MappingProxyType({})
    """message and field of the provider's first error, retry_after and location as they came"""

    @property
    def message_id(self) -> str | None:
        """The first id, if there is any."""
        return self.message_ids[0] if self.message_ids else None


@dataclass(frozen=True, slots=True)
class Served:
    """What a provider's server does with a request."""

    response: Response
    keys: tuple[str, ...] = ()
    """The key of each message that was taken, "" for one without; none when nothing was taken."""
    named: str | None = None
    """What the sender called this call, by which the vendor recognises it when it comes again."""
    conflict: Response | None = None
    """The answer to another call of that name; None: the same as to the first."""


class Provider(Protocol):
    """One provider, from both sides. Stateless."""

    @property
    def name(self) -> str:
        """As written in scenarios."""
        ...

    @property
    def title(self) -> str:
        """As written in reports."""
        ...

    @property
    def facts(self) -> ProviderFacts:
        """What is known about it."""
        ...

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Provider:
        """The same provider for one of its regions, told what else it must be told
        (`EnvironmentNames.settings`, by name). Without them it has made-up ones, which a mock takes."""
        ...

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """The call that sends `parts`; addresses and key appear in it as given, so that placeholders
        survive. `sandbox` sets the provider's own switch. Raises UsageError for what it cannot carry."""
        ...

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """The call that sends many messages like `parts`, each with its own key. Raises UsageError where the
        provider has no such call, or one that cannot carry this."""
        ...

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """The headers that prove who calls. `request` matters only where the scheme is SIGNED."""
        ...

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """What became of the message. Never raises, whatever the response holds."""
        ...

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """What became of each of the `count` messages of a batch call, in order. Never raises."""
        ...

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """Header fields that a message needs towards this provider over SMTP: the key where the provider's
        events show it again, the sandbox's switch. Raises UsageError where there is no such switch."""
        ...

    def smtp_auth(self, auth: Auth) -> Auth:
        """The same credentials as SMTP wants them: the provider's user convention."""
        ...

    def mock_credentials(self, rng: Random) -> Auth:
        """Credentials of the vendor's form, made up."""
        ...

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """The vendor's side: check the credentials `auth` and the request, and answer as it does.
        The request's header names are in lower case, its path relative to the mock's base URL."""
        ...

    def throttled(self, reset_s: int) -> Response:
        """The vendor's answer to one call too many; there is room again in so many seconds."""
        ...


# ------------------------------------------------------------------- credentials


def bearer(auth: Auth) -> Headers:
    """`Authorization: Bearer KEY`."""
    return (("Authorization", f"Bearer {auth.password.reveal()}"),)


def basic(auth: Auth) -> Headers:
    """`Authorization: Basic` of user and password."""
    user = auth.user.reveal() if auth.user else ""
    pair = f"{user}:{auth.password.reveal()}".encode()
    return (("Authorization", f"Basic {b64encode(pair).decode('ascii')}"),)


def made_up(text: str) -> Secret:
    """A secret that opens nothing but a mock."""
    return Secret(text, "the mock's own")


def url_safe(rng: Random, size: int) -> str:
    """`size` random bytes in base64url without padding."""
    return urlsafe_b64encode(rng.randbytes(size)).rstrip(b"=").decode("ascii")


# ------------------------------------------------------------------------ reading


class BodyError(ValueError):
    """A body that is not the JSON it should be."""


def parse_json(body: bytes) -> object:
    """Strict JSON: UTF-8 without a byte order mark, no NaN, no duplicate names, no depth that overflows
    the stack. Raises BodyError, and nothing else."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BodyError(str(error)) from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    shape = dict(pairs)
    if len(shape) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return shape


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


ENVELOPE = frozenset(
    {"reply-to", "from", "to", "cc", "bcc", "subject", "content-type", "mime-version", "date", "message-id"}
)
"""Header fields that an API has places of their own for, or that the provider writes itself."""


def other_headers(headers: Headers) -> dict[str, str]:
    """The headers of a message that an API takes as such."""
    return {name: value for name, value in headers if name.lower() not in ENVELOPE}


def reply_to(headers: Headers) -> str | None:
    """The message's Reply-To, which has a place of its own."""
    return _first(headers, "reply-to")


def bare(address: object) -> object:
    """`Name <address>` without the name; whatever else it is, as it is."""
    if isinstance(address, str) and address.endswith(">"):
        return address.rpartition("<")[2].removesuffix(">")
    return address


def uuid_text(rng: Random) -> str:
    """A random UUID."""
    return str(UUID(int=rng.getrandbits(128), version=4))


_ADDRESS = re.compile(
    r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+@[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+\.[^\s@.<>(),;:]+"
)


def is_address(text: object) -> bool:
    """Whether a provider would take this for a bare address."""
    return isinstance(text, str) and len(text) <= 320 and _ADDRESS.fullmatch(text) is not None


def is_id(text: object) -> bool:
    """Whether this can be a provider's message id: printable ASCII without spaces, of sane length."""
    if not isinstance(text, str) or not 0 < len(text) <= ID_LIMIT:
        return False
    return text.isascii() and text.isprintable() and " " not in text


# ----------------------------------------------------------------------- judging


STATUS_RULES: Mapping[int, Rule] = MappingProxyType(
    {
        401: AUTH,
        403: AUTH,
        404: CONFIG,
        405: CONFIG,
        410: CONFIG,
        408: OPEN,
        409: CONFLICT,
        413: Rule(Outcome.REJECTED_PERM, "size"),
        429: THROTTLED,
        503: UNAVAILABLE,
    }
)
"""Statuses that mean more than their class does, unless a provider's contract says otherwise.

408, 500, 502 and 504 leave it open: a gateway may have passed the message on before it gave up.
"""


def rule_for(status: int) -> Rule:
    """What a status that is not the provider's success means."""
    if status in STATUS_RULES:
        return STATUS_RULES[status]
    if 300 <= status < 400:
        return REDIRECTED
    if 400 <= status < 500:
        return REFUSED
    return OPEN if 500 <= status < 600 else Rule(Outcome.UNKNOWN, "protocol")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A provider's own words in an error body."""

    text: str | None = None
    field: str | None = None
    code: str | None = None


def refused(response: Answered, complaint: Complaint, meanings: Mapping[str, Rule] = NO_RULES) -> Judgement:
    """The judgement on a response whose status is not the provider's success. What its own code means
    counts for more than the status, but that leaves open whether the message was passed on."""
    rule = rule_for(response.status)
    if 400 <= response.status < 500:
        rule = meanings.get(complaint.code or "", rule)
    found = {
        "message": complaint.text,
        "field": complaint.field,
        "retry_after": response.header("retry-after"),
        "location": response.header("location") if rule is REDIRECTED else None,
    }
    notes = {name: value[:TEXT_LIMIT] for name, value in found.items() if value is not None}
    anomaly = "status" if rule.error == "protocol" else None
    return Judgement(rule.outcome, error=rule.error, code=complaint.code, anomaly=anomaly, notes=notes)


def read_complaint(body: bytes, read: Callable[[object], Complaint]) -> Complaint:
    """What `read` finds in a JSON error body; nothing where the body is something else."""
    try:
        return read(parse_json(body))
    except BodyError:
        return Complaint()


def refused_one(
    complaint: Complaint, meanings: Mapping[str, Rule] = NO_RULES, otherwise: Rule = REFUSED
) -> Judgement:
    """The judgement on a message that was refused within an answer that is a success."""
    rule = meanings.get(complaint.code or "", otherwise)
    notes = {"message": complaint.text[:TEXT_LIMIT]} if complaint.text is not None else {}
    return Judgement(rule.outcome, error=rule.error, code=complaint.code, notes=notes)


def unclear(anomaly: str) -> Judgement:
    """A success that is not the one the contract describes: nobody knows."""
    return Judgement(Outcome.UNKNOWN, error="protocol", anomaly=anomaly)


def alike(judgement: Judgement, count: int) -> tuple[Judgement, ...]:
    """The same for every message of a call."""
    return (judgement,) * count


# ----------------------------------------------------------------------- serving


def json_bytes(shape: object) -> bytes:
    """JSON as we send it: UTF-8, nothing escaped that need not be, so that placeholders survive."""
    return json.dumps(shape, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def json_response(status: int, shape: object, headers: Headers = ()) -> Response:
    """A JSON answer of the mock."""
    body = json.dumps(shape, separators=(",", ":")).encode("ascii")  # a lone surrogate must not end it
    return Response(status, (("content-type", "application/json"), *headers), body)


def media_type(request: Request) -> str:
    """The request's Content-Type in lower case without parameters; "" where there is none."""
    return (request.header("content-type") or "").partition(";")[0].strip().lower()
