"""What a case asks for above what its provider documents: a real run would be throttled, or refused."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.model import Case, Connection, Transport
from bench.providers import provider_of
from bench.providers.base import ApiFacts, SmtpFacts


def beyond_limits(case: Case) -> list[str]:
    """A sentence for each limit that the case goes beyond. Raises ValueError for an unknown provider."""
    facts = provider_of(case).facts
    limits = _smtp(case, facts.smtp) if case.transport is Transport.SMTP else _api(case, facts.api)
    return [
        f"{asked:.15g} {what}: {facts.title} documents at most {most:.15g}"
        for what, asked, most in limits
        if asked is not None and most is not None and asked > most
    ]


_Limit = tuple[str, float | None, float | None]
"""What it is about, how much is asked for, how much is documented; None: not known."""


def _smtp(case: Case, facts: SmtpFacts) -> Iterator[_Limit]:
    message = case.message
    yield "connections at a time", case.pool.size, facts.max_connections
    yield "messages over a connection", _uses(case), facts.max_messages_per_connection
    yield "recipients of a message", message.recipients_each, facts.max_recipients
    yield "bytes in a message", message.size_bytes, facts.max_message_bytes


def _api(case: Case, facts: ApiFacts) -> Iterator[_Limit]:
    message, batch = case.message, case.batch or 1
    most_bytes = facts.max_batch_bytes if case.batch is not None else None
    yield "calls a second", max(case.load.rates_per_s, default=0.0) / batch, facts.calls_per_s
    yield "recipients of a message", message.recipients_each, facts.max_recipients
    if message.size_bytes is not None:
        yield "bytes in a call", message.size_bytes * batch, most_bytes or facts.max_request_bytes


def _uses(case: Case) -> int | None:
    """How many messages a connection carries before the client gives it up; None where that is open."""
    if case.connection is Connection.UNPOOLED:
        return 1
    if case.load.count is None:
        return case.pool.max_messages
    each = math.ceil(case.load.count / case.pool.size)
    return min(each, case.pool.max_messages or each)
