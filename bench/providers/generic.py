"""Any server of one's own: SMTP as it comes, and over HTTP the MIME message, or JSON by a template.

There is no contract to hold it to, so any 2xx answer counts as accepted; only where a template says
where the message's id stands, it has to be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from bench.errors import UsageError
from bench.model import Auth, Outcome, Parts, Template
from bench.providers.base import (
    Answered,
    ApiFacts,
    AuthScheme,
    BatchRequest,
    BodyError,
    Complaint,
    Headers,
    Judgement,
    ProviderFacts,
    Request,
    Response,
    Served,
    SmtpFacts,
    alike,
    basic,
    bearer,
    is_id,
    json_bytes,
    json_response,
    made_up,
    media_type,
    parse_json,
    refused,
    unclear,
    url_safe,
)

_LIMIT = 50 * 2**20

FACTS = ProviderFacts(
    name="generic",
    title="Generic",
    smtp=SmtpFacts(hosts={}, starttls_ports=(), tls_ports=(), user="as given"),
    api=ApiFacts(base_urls={}, auth=AuthScheme.BASIC, max_request_bytes=_LIMIT, labelled=False),
)

_KEY = re.compile(rb"^x-sendbench-id:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_ID_HEADERS = ("x-message-id", "message-id")
_NAMELESS = Judgement(Outcome.ACCEPTED)
"""Taken, without a word on what it is called there."""


@dataclass(frozen=True, slots=True)
class Generic:
    """Takes anything."""

    template: Template | None = None

    name = FACTS.name
    title = FACTS.title
    facts = FACTS

    def configured(self, region: str | None, settings: Mapping[str, str]) -> Generic:
        """See `Provider.configured`: there is nothing to be told."""
        return self

    def request(self, parts: Parts, *, sandbox: bool = False) -> Request:
        """See `Provider.request`: a server of one's own needs no sandbox."""
        if self.template is not None:
            return Request(self.template.method, "", _JSON, _filled(self.template.body, parts))
        headers = (("Accept", "*/*"), ("Content-Type", "message/rfc822"))
        return Request("POST", "", headers, parts.mime)

    def auth_headers(self, auth: Auth | None, request: Request | None = None) -> Headers:
        """See `Provider.auth_headers`: Basic with a user, Bearer without, nothing without credentials."""
        if auth is None:
            return ()
        return bearer(auth) if auth.user is None else basic(auth)

    def judge(self, response: Answered, *, sandbox: bool = False) -> Judgement:
        """See `Provider.judge`."""
        if not 200 <= response.status < 300:
            return refused(response, Complaint())
        if self.template is not None and self.template.id is not None:
            return _named(response.body, self.template.id)
        for name in _ID_HEADERS:
            found = response.header(name)
            if found is not None and is_id(found):
                return Judgement(Outcome.ACCEPTED, (found,))
        return _NAMELESS

    def batch_request(self, parts: Parts, *, sandbox: bool = False) -> BatchRequest:
        """See `Provider.batch_request`."""
        raise UsageError("batch: a server of one's own (provider: generic) takes one message a call")

    def judge_batch(self, response: Answered, count: int, *, sandbox: bool = False) -> tuple[Judgement, ...]:
        """See `Provider.judge_batch`."""
        return alike(self.judge(response, sandbox=sandbox), count)

    def smtp_headers(self, key: str, *, sandbox: bool = False) -> Headers:
        """See `Provider.smtp_headers`: none."""
        return ()

    def smtp_auth(self, auth: Auth) -> Auth:
        """See `Provider.smtp_auth`: as given."""
        return auth

    def mock_credentials(self, rng: Random) -> Auth:
        """See `Provider.mock_credentials`."""
        return Auth(made_up(f"user-{url_safe(rng, 6)}"), made_up(url_safe(rng, 24)))

    def throttled(self, reset_s: int) -> Response:
        """See `Provider.throttled`."""
        return _problem(429, "too many requests", (("retry-after", str(reset_s)),)).response

    def answer(self, request: Request, auth: Auth, rng: Random) -> Served:
        """See `Provider.answer`."""
        if request.method != "POST":
            return _problem(405, "POST the message", (("allow", "POST"),))
        if request.header("authorization") != self.auth_headers(auth)[0][1]:
            return _problem(401, "wrong credentials", (("www-authenticate", "Basic"),))
        if media_type(request) != "message/rfc822":
            return _problem(415, "Content-Type must be message/rfc822")
        if len(request.body) > _LIMIT:
            return _problem(413, "message too large")
        head, blank, _ = request.body.partition(b"\r\n\r\n")
        if not blank:
            return _problem(400, "not a MIME message: no empty line ends its header")
        found = _KEY.search(head)
        message_id = url_safe(rng, 16)
        response = json_response(202, {"id": message_id}, (("x-message-id", message_id),))
        return Served(response, (found[1].decode("ascii", "replace") if found else "",))


_JSON = (("Accept", "application/json"), ("Content-Type", "application/json"))
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _filled(body: str, parts: Parts) -> bytes:
    """The template with the message's own in the place of its placeholders, each as a JSON value."""
    if parts.attachments:
        raise UsageError("message.attachments: a template has no place for them")
    values = {
        "from": parts.sender, "to": parts.recipients, "subject": parts.subject, "text": parts.text,
        "html": parts.html, "headers": dict(parts.headers), "key": parts.key,
    }  # fmt: skip

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise UsageError(f"template: there is no {found[0]}; known: {known}")
        return json_bytes(values[found[1]]).decode("utf-8")

    filled = _PLACEHOLDER.sub(value, body).encode("utf-8")
    try:
        parse_json(filled)
    except BodyError as error:
        raise UsageError(f"template: body is no JSON once it is filled in: {error}") from error
    return filled


def _named(body: bytes, where: str) -> Judgement:
    """What an answer says whose id stands there."""
    try:
        found = parse_json(body)
    except BodyError:
        return unclear("body")
    for name in where.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    text = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    return Judgement(Outcome.ACCEPTED, (text,)) if isinstance(text, str) and is_id(text) else unclear("no_id")


def _problem(status: int, text: str, headers: Headers = ()) -> Served:
    return Served(json_response(status, {"error": text}, headers))
