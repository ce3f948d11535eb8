"""What a scenario would do, worked out without opening a socket."""

from __future__ import annotations

from dataclasses import dataclass

from bench.model import Case, Connection, TargetKind, TlsMode, Transport

CLIENT_COST_NS = 3_000_000
"""A guess at what client and mock add to a message, so that loopback estimates are not zero."""


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """One case of a plan."""

    id: str
    target: str
    messages: int | None
    """Warm-up included; None where only a duration bounds them."""
    recipients: int
    """Deliveries asked for by one message."""
    round_trips: int
    """For one message on its connection, leave-taking included; without a retry or a fallback."""
    duration_ns: int
    """An estimate; for real targets it knows nothing of their service time."""


def plan_case(case: Case) -> PlannedCase:
    """What running this case would mean."""
    trips = round_trips(case)
    message_ns = trips * case.network.rtt_ns + case.service_time.p50_ns + CLIENT_COST_NS
    return PlannedCase(
        id=case.id,
        target="mock on this machine" if case.target.kind is TargetKind.MOCK else case.target.url,
        messages=None if case.load.messages is None else case.load.warmup + case.load.messages,
        recipients=1 if case.message.rotate_recipients else len(case.message.recipients),
        round_trips=trips,
        duration_ns=_duration_ns(case, message_ns),
    )


def round_trips(case: Case) -> int:
    """The round trips that the protocol demands for one message, command by command."""
    recipients = 1 if case.message.rotate_recipients else len(case.message.recipients)
    secure = case.tls.mode is not TlsMode.NONE
    unpooled = case.connection is Connection.UNPOOLED
    if case.transport is Transport.API:
        return 1 + (1 + secure if unpooled else 0)
    message = 3 + recipients  # MAIL, RCPT for each, DATA, body
    if not unpooled:
        return message
    starttls = case.tls.mode is TlsMode.STARTTLS
    authenticated = case.auth is not None or case.target.kind is TargetKind.MOCK
    # connect, banner, EHLO, QUIT; TLS; STARTTLS and the second EHLO; AUTH PLAIN
    return message + 4 + secure + 2 * starttls + authenticated


def _duration_ns(case: Case, message_ns: int) -> int:
    load = case.load
    if load.duration_ns is not None:
        return load.duration_ns
    messages = (load.messages or 0) + load.warmup
    if not load.open:
        return messages * message_ns // min(load.concurrency or 1, case.pool_size)
    if load.step_ns is not None:
        return load.step_ns * len(load.rates_per_s)
    return round(messages / (sum(load.rates_per_s) / len(load.rates_per_s)) * 1e9)
