"""What a scenario would do, worked out without opening a socket."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.model import Case, Connection, Scenario, ServiceTime, TargetKind, TlsMode, Transport
from bench.scenario import known

KEPT_CPU_NS = 1_000_000
"""A guess at the CPU time client and mock spend on a message over a kept connection."""
FRESH_CPU_NS = 5_000_000
"""The same where each message has a connection of its own: most of it is the TLS handshake."""


START_NS = 500_000_000
"""A guess at what starting the mock, the shaper or a command takes: each case has its own."""


PORT_REST_S = 60
"""How long Linux keeps a port after its connection (TIME_WAIT)."""


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
    """From the start of one message to its final answer, as a report counts them; without a retry or a
    fallback, and on a kept connection without what opens it."""
    assumed: str
    """What must be true of the server for that, as the end of a sentence; empty where the mock answers."""
    leave_taking: int
    """Round trips after the answer, before the next message: 1 for QUIT where connections are not kept."""
    duration_ns: int
    """An estimate; for targets other than the mock it knows nothing of their service time."""
    remark: str = ""
    """What may keep the case from going well; empty where nothing is known to."""


def plan_case(case: Case, ports: int | None = None, together: int = 1) -> PlannedCase:
    """What running this case would mean, on a machine with this many local ports; `together` messages travel
    in a call."""
    return PlannedCase(
        id=case.id,
        target="mock on this machine"
        if case.target.kind is TargetKind.MOCK
        else case.target.url or case.target.kind,
        messages=case.load.count,
        recipients=case.message.recipients_each,
        round_trips=round_trips(case),
        assumed=assumed(case),
        leave_taking=leave_taking(case),
        duration_ns=(START_NS * case.load.parts if _is_served_here(case) else 0)
        + _duration_ns(case, together),
        remark=_port_remark(case, ports),
    )


def whole_duration_ns(scenario: Scenario, planned: Iterable[PlannedCase]) -> int:
    """Of all cases one after another; of those that are interleaved, as long as the longest takes on its
    schedule, and as long as all of them where they take turns."""
    alone_ns = {each.id: each.duration_ns for each in planned}
    return sum(
        (max if all(case.load.open for case in cases) else sum)(alone_ns[case.id] for case in cases)
        for cases in scenario.groups
    )


def _port_remark(case: Case, ports: int | None) -> str:
    """A fresh connection for every message: a port rests for a while before it can be used again."""
    if ports is None or case.connection is not Connection.UNPOOLED:
        return ""
    rate_per_s = max(case.load.rates_per_s, default=1e9 / _gap_ns(case))
    taken = min(rate_per_s * PORT_REST_S, case.load.messages or math.inf)
    if taken <= ports:
        return ""
    return (
        f"a fresh connection for each of {rate_per_s:.0f} messages/s takes about {taken:.0f} local ports in "
        f"{PORT_REST_S} s and this machine has {ports}: some may fail for want of one; keep connections, "
        "lower the rate, or widen net.ipv4.ip_local_port_range"
    )


def round_trips(case: Case) -> int:
    """The round trips that the protocol demands for one message, without QUIT.

    What the client may use of PIPELINING and CHUNKING counts as offered, as it is by the mock.
    """
    secure = case.tls.mode is not TlsMode.NONE
    unpooled = case.connection is Connection.UNPOOLED
    if case.transport is Transport.API:
        return 1 + (1 + secure if unpooled else 0)
    message = _envelope_and_body(case)
    if not unpooled:
        return message
    starttls = case.tls.mode is TlsMode.STARTTLS
    authenticated = case.auth is not None or (case.target.kind is TargetKind.MOCK and case.mock_auth)
    # connect, banner, EHLO; TLS; STARTTLS and the second EHLO; AUTH PLAIN
    return message + 3 + secure + 2 * starttls + authenticated


def _envelope_and_body(case: Case) -> int:
    extensions = used_extensions(case)
    body = 1 if "CHUNKING" in extensions else 2  # BDAT brings the body; DATA waits for leave to send it
    if "PIPELINING" not in extensions:
        return 1 + case.message.recipients_each + body
    return body  # MAIL and every RCPT travel with the DATA or the BDAT


def used_extensions(case: Case) -> tuple[str, ...]:
    """The extensions that save a round trip and that the client uses where the server offers them."""
    if case.transport is Transport.API or case.client not in known.GROUPING_CLIENTS:
        return ()
    settings = {"PIPELINING": case.smtp.pipelining, "CHUNKING": case.smtp.chunking}
    return tuple(name for name, setting in settings.items() if setting == "auto")


def assumed(case: Case) -> str:
    """`if the server offers PIPELINING and CHUNKING`: said of targets that a plan knows nothing of."""
    extensions = used_extensions(case)
    if not extensions or case.target.kind is TargetKind.MOCK:
        return ""
    return f"if the server offers {' and '.join(extensions)}"


def leave_taking(case: Case) -> int:
    """1 where QUIT and its answer lie between one message and the next, else 0."""
    return int(case.transport is Transport.SMTP and case.connection is Connection.UNPOOLED)


def _is_served_here(case: Case) -> bool:
    return case.target.kind is TargetKind.MOCK or case.network.shaped or case.command is not None


def _duration_ns(case: Case, together: int) -> int:
    """Warm-up and the measured messages; an open load that is not kept up with takes longer than it says."""
    load, gap_ns = case.load, _gap_ns(case)
    if load.duration_ns is None:
        return round((load.count or 0) / together * gap_ns)
    if not load.open:
        return load.duration_ns + round(load.warmup * gap_ns)
    warmup = load.warmup * load.parts
    scheduled_ns = load.duration_ns + (round(warmup * 1e9 / load.rates_per_s[0]) if warmup else 0)
    return max(scheduled_ns, round((load.count or 0) * gap_ns))


def _gap_ns(case: Case) -> float:
    """The least time from one message to the next: all slots busy, or all of one core."""
    trips = round_trips(case) + leave_taking(case)
    cpu_ns = FRESH_CPU_NS if _handshakes(case) else KEPT_CPU_NS
    planted_ns = mean_ns(case.service_time) if case.target.kind is TargetKind.MOCK else 0.0
    message_ns = trips * case.network.rtt_ns + planted_ns + cpu_ns
    slots = min(case.load.concurrency or case.load.max_in_flight or case.pool.size, case.pool.size)
    return max(message_ns / slots, cpu_ns)


def _handshakes(case: Case) -> bool:
    return case.connection is Connection.UNPOOLED and case.tls.mode is not TlsMode.NONE


def mean_ns(service_time: ServiceTime) -> float:
    """The mean of a planted service time."""
    match service_time.kind:
        case "lognormal":
            return service_time.p50_ns * math.exp(service_time.sigma**2 / 2)
        case "uniform":
            return (service_time.p50_ns + service_time.high_ns) / 2
        case "observed":
            return math.fsum(service_time.values_ns) / len(service_time.values_ns)
        case _:
            return service_time.p50_ns
