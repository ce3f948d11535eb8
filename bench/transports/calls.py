"""Calls of a provider's API, whichever client makes them: who calls, and what the answer means."""

from __future__ import annotations

from bench.model import Endpoint, Message, Outcome, TlsMode
from bench.providers.base import (
    Answered,
    AuthScheme,
    BatchRequest,
    Headers,
    Judgement,
    Provider,
    Request,
    alike,
    unclear,
)
from bench.transports.session import REPLY_LIMIT, Answer, Notes


def host_header(endpoint: Endpoint) -> tuple[str, str]:
    """The server's name, with its port where that is not the usual one."""
    name = f"[{endpoint.server_name}]" if ":" in endpoint.server_name else endpoint.server_name
    usual = 80 if endpoint.tls.mode is TlsMode.NONE else 443
    return "Host", name if endpoint.port == usual else f"{name}:{endpoint.port}"


def is_signed(endpoint: Endpoint, provider: Provider) -> bool:
    """Whether who calls is proved by headers that depend on what is in the call."""
    return provider.facts.api.auth is AuthScheme.SIGNED and endpoint.auth is not None


def usual_headers(endpoint: Endpoint, provider: Provider) -> Headers:
    """The headers that prove who calls, where they are the same in every call."""
    return () if is_signed(endpoint, provider) else provider.auth_headers(endpoint.auth)


def signature(
    endpoint: Endpoint, provider: Provider, request: Request | BatchRequest, message: Message
) -> Headers:
    """The headers that prove who makes this call; of a path only what follows the base URL is signed."""
    headers = (*request.headers, host_header(endpoint))
    whole = Request(request.method, request.path, headers, message.payload)
    return provider.auth_headers(endpoint.auth, whole)


def answer_to(
    provider: Provider, response: Answered, message: Message, *, sandbox: bool, extra: bool = False
) -> Answer:
    """How the message, or each message of the call, ended. `extra`: whether more came than the response."""
    mislabelled = _is_mislabelled(provider, response)
    if not message.members:
        judgement = unclear("body") if mislabelled else provider.judge(response, sandbox=sandbox)
        return _answer(judgement, response, len(message.recipients), extra=extra)
    count = len(message.members)
    judgements = (
        alike(unclear("body"), count)
        if mislabelled
        else provider.judge_batch(response, count, sandbox=sandbox)
    )
    each = tuple(
        _answer(judgement, response, len(member.recipients), extra=extra)
        for judgement, member in zip(judgements, message.members, strict=True)
    )
    whole = next((one for one in each if one.outcome is not Outcome.ACCEPTED), each[0])
    return whole._replace(each=each)


def _is_mislabelled(provider: Provider, response: Answered) -> bool:
    """Whether a success says that its body is no JSON, as a proxy's page would."""
    if not 200 <= response.status < 300 or not response.body or not provider.facts.api.labelled:
        return False
    declared = response.header("content-type")
    return declared is not None and "json" not in declared.lower()


def _answer(judgement: Judgement, response: Answered, recipients: int, *, extra: bool) -> Answer:
    notes: Notes = judgement.notes
    if judgement.code:
        notes = {**notes, "code": judgement.code}
    return Answer(
        judgement.outcome,
        response.status,
        None,
        response.body[:REPLY_LIMIT],
        judgement.error,
        None,
        judgement.anomaly or ("unsolicited" if extra else None),
        judgement.message_id,
        recipients if judgement.outcome is Outcome.ACCEPTED else 0,
        notes or None,
    )
