"""The words around the figures: how they were measured, how to read them, what they do not mean."""

from __future__ import annotations

from bench.model import Summary

PERCENTILES = (
    "Percentiles are the ceil(q n)-th smallest of all accepted messages, warm-up left out; nothing is "
    "averaged or put into buckets. Every other outcome is counted beside them."
)
INTERVALS = (
    "Intervals are equal-tailed 95 % intervals from order statistics. Where a sample is too small to "
    "have one, the percentile is not shown."
)
SERVICE = (
    "Service runs from the moment a message has its slot or pooled connection, connecting included, to "
    "its final answer. QUIT comes after the end and is not in it."
)
LATENCY = (
    "Latency runs from the moment a message was due by the schedule, so it contains the wait behind a "
    "stalled server (no coordinated omission): latency = lag + wait + service."
)
ROUND_TRIPS = (
    "A round trip is one wait for the peer that the protocol demands: the TCP connect, a banner, a "
    "TLS 1.3 handshake, and each flush of bytes followed by a wait."
)
SET_UP = (
    "Set-up is the share of the time that went into opening connections: DNS, TCP, banner, EHLO, TLS, AUTH."
)
DELIVERED = (
    "Accepted is not delivered. A message counts when the server has taken responsibility for it; when, "
    "or whether, it reaches an inbox is not measured here."
)
MOCKED = (
    "A mock on this machine measures the protocol and the client, not a provider. What a provider adds "
    "(queues, filters, limits, its own distance) is not in these figures."
)
SHAPED = (
    "The network is imitated by delaying bytes. The shaper pays no TCP slow start and loses no packets: "
    "on a real link a large message or a fresh connection may cost more round trips than here."
)
CLOSED = (
    "A closed loop is not response time under load. Each worker waits for its answer before it sends the "
    "next message, so a slow server slows the load down too; use an open load for that question."
)
INTERLEAVED = (
    "Cases of one comparison ran interleaved in time, message by message in random order: what "
    "happened to the machine or the network meanwhile happened to all of them. The CPU of a message is the "
    "mean over them."
)
ONE_RUN = (
    "The intervals say how sure this run is of itself. Another machine, another hour or another version "
    "may differ by more."
)


def facts(summary: Summary) -> list[tuple[str, str]]:
    """Name and value of everything that is known about the run, in the order to show."""
    run = summary.run
    own = [
        ("scenario", run.scenario),
        ("run", run.id),
        ("started", run.started_at),
        ("state", run.state),
        ("sendbench", run.tool_version),
        ("seed", str(run.seed)),
    ]
    origin = [("made from", f"{run.rows} rows, raw log SHA-256 {run.log_sha256}")] if run.log_sha256 else []
    tags = [(f"tag {name}", value) for name, value in run.tags.items()]
    return [*own, *run.facts.items(), *tags, *origin]


def method(summary: Summary) -> list[str]:
    """How the figures of this run came about."""
    latency = [LATENCY] if any(case.open for case in summary.cases) else []
    return [PERCENTILES, INTERVALS, SERVICE, *latency, ROUND_TRIPS, SET_UP]


def caveats(summary: Summary) -> list[str]:
    """What these figures must not be taken for; only what concerns this run."""
    mocked = [case for case in summary.cases if case.referee is not None]
    concerned = (
        (DELIVERED, True),
        (MOCKED, bool(mocked)),
        (SHAPED, any(case.rtt_ms for case in mocked)),
        (CLOSED, any(not case.open for case in summary.cases)),
        (INTERLEAVED, any(case.comparison for case in summary.cases)),
        (ONE_RUN, True),
    )
    return [text for text, concerns in concerned if concerns]
