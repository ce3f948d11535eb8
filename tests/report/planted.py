"""Runs that never happened: rows with known times, and the summary that belongs to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.quantiles import Floats
from bench.model import (
    Answer,
    CaseSummary,
    Claim,
    ClaimVerdict,
    Cold,
    Counts,
    Distribution,
    GeneratorCheck,
    Percentile,
    PhaseSummary,
    Referee,
    RoundTrips,
    RunInfo,
    Summary,
    ThresholdResult,
    ThresholdVerdict,
    Throughput,
)

SMTP_SET_UP = {"tcp": 0, "banner": 2, "ehlo": 2, "starttls": 1, "tls": 1, "auth": 1}

SMTP_MESSAGE = {"mail": 1, "rcpt": 1, "data": 1, "body": 0, "reply": 1}
API_SET_UP = {"tcp": 0, "tls": 2}
Whole = NDArray[np.int64]

API_MESSAGE = {"send": 0, "server": 1, "receive": 0}


@dataclass(frozen=True)
class Plan:
    """One case to make up. `rtt_ms` is its link, `failed` the share that comes to grief."""

    transport: str = "smtp"
    connection: str = "unpooled"
    rtt_ms: float = 50
    n: int = 400
    failed: float = 0.0
    rate: float | None = None
    """Messages per second of an open load; None: closed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    valid: bool = True

    @property
    def id(self) -> str:
        parts = ["sendgrid", self.transport, self.connection]
        return "/".join(parts + [f"{key}={value}" for key, value in sorted(self.labels.items())])

    def trips(self) -> dict[str, int]:
        smtp = self.transport == "smtp"
        set_up, message = (SMTP_SET_UP, SMTP_MESSAGE) if smtp else (API_SET_UP, API_MESSAGE)
        return {**set_up, **message} if self.connection == "unpooled" else dict(message)


@dataclass(frozen=True)
class Planted:
    """What a renderer is given."""

    summary: Summary
    answer: Answer
    frame: pd.DataFrame


FOUR = (
    Plan("smtp", "unpooled"),
    Plan("smtp", "pooled"),
    Plan("api", "unpooled"),
    Plan("api", "pooled"),
)
SIXTEEN = tuple(
    replace(plan, rtt_ms=rtt, labels={"network.rtt": f"{rtt}ms"}) for rtt in (5, 20, 50, 100) for plan in FOUR
)
OPEN = (
    Plan("smtp", "pooled", rate=50.0, n=1500, labels={}),
    Plan("api", "pooled", rate=50.0, n=1500, labels={}),
)


def rows(plan: Plan, rng: np.random.Generator) -> pd.DataFrame:
    """The sample rows of a case: trips x RTT plus a little in every phase, and now and then much more."""
    n = plan.n
    phases = {
        name: trips * plan.rtt_ms * 1e6 + rng.lognormal(math.log(3e5), 0.9, n)
        for name, trips in plan.trips().items()
    }
    last = list(phases)[-1]
    phases[last] = phases[last] + (rng.random(n) < 0.02) * rng.lognormal(math.log(5e7), 0.6, n)
    whole = {name: np.rint(value).astype(np.int64) for name, value in phases.items()}
    service = np.sum(list(whole.values()), axis=0)
    times = closed_times(service) if plan.rate is None else open_times(n, plan.rate, rng)
    lost = (rng.random(n) < plan.failed).tolist()
    waits_for_quit = plan.transport == "smtp" and plan.connection == "unpooled"
    return pd.DataFrame(
        {
            "case": plan.id,
            "key": [f"run-{seq}" for seq in range(n)],
            "seq": np.arange(n),
            "attempt": 1,
            "worker": np.arange(n) % 4,
            "warmup": False,
            "cold": np.arange(n) < (4 if plan.connection == "pooled" else n),
            **times,
            "end_ns": times["start_ns"] + service,
            **{f"{name}_ns": value for name, value in whole.items()},
            "quit_ns": np.full(n, plan.rtt_ms * 1e6 if waits_for_quit else np.nan),
            "round_trips": sum(plan.trips().values()),
            "outcome": ["failed" if bad else "accepted" for bad in lost],
            "error": ["timeout" if bad else None for bad in lost],
            "reply": [b"451 try again later\r\n" if bad else b"250 2.0.0 Ok" for bad in lost],
        }
    )


def closed_times(service: Whole) -> dict[str, Whole | Floats]:
    """Four workers, each sending its next message as soon as it has its answer."""
    start, free = np.zeros(len(service), dtype=np.int64), [0, 0, 0, 0]
    for index, length in enumerate(service.tolist()):
        start[index] = free[index % 4]
        free[index % 4] += length
    return {"due_ns": np.full(len(service), np.nan), "ready_ns": start, "start_ns": start}


def open_times(n: int, rate: float, rng: np.random.Generator) -> dict[str, Whole | Floats]:
    """A constant rate, and a while in which messages wait for a connection."""
    due = (np.arange(n) * 1e9 / rate).astype(np.int64)
    stalled = np.abs(np.arange(n) - 0.6 * n) < 0.02 * n
    wait = (np.where(stalled, 300e6, 0.0) * rng.random(n)).astype(np.int64)
    return {"due_ns": due, "ready_ns": due + 200_000, "start_ns": due + 200_000 + wait}


def percentile(values: Floats, q: float) -> Percentile | None:
    if len(values) < math.log(0.025) / math.log(max(q, 1 - q)):
        return None
    spread = 1.96 * math.sqrt(q * (1 - q) / len(values))
    low, value, high = (
        float(np.quantile(values, min(1.0, max(0.0, at)), method="inverted_cdf"))
        for at in (q - spread, q, q + spread)
    )
    return Percentile(value, (low, high))


def distribution(values: Floats) -> Distribution | None:
    if not len(values):
        return None
    return Distribution(
        len(values),
        float(values.mean()),
        float(values.min()),
        float(values.max()),
        *(percentile(values, q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)),
    )


def milliseconds(frame: pd.DataFrame, begin: str, end: str) -> Floats:
    return np.asarray(frame[f"{end}_ns"] - frame[f"{begin}_ns"], dtype=np.float64) / 1e6


def case_summary(plan: Plan, frame: pd.DataFrame) -> CaseSummary:
    """The figures of a case as analysis would give them."""
    pooled, is_open = plan.connection == "pooled", plan.rate is not None
    accepted = frame[frame["outcome"] == "accepted"]
    main = accepted[~accepted["cold"]] if pooled else accepted
    cold = accepted[accepted["cold"]]
    service = distribution(milliseconds(main, "start", "end"))
    lost = len(frame) - len(accepted)
    reason = "lag p99 12 ms is more than 10 % of p50 latency: lower the rate"
    return CaseSummary(
        id=plan.id,
        labels=labels(plan),
        counts=Counts(len(frame), 0, len(frame), len(accepted), 0, lost, 0),
        throughput=Throughput(plan.rate, rate_of(frame, len(accepted))),
        latency=distribution(milliseconds(main, "due", "end")) if is_open else None,
        service=service,
        wait=distribution(milliseconds(main, "ready", "start")) if is_open else None,
        phases=phase_summaries(plan, main),
        round_trips=RoundTrips(float(main["round_trips"].median()) if len(main) else None, 40, 0),
        cold=Cold(len(cold), distribution(milliseconds(cold, "start", "end"))) if pooled else None,
        thresholds=verdicts(service, len(accepted) / max(1, len(frame))),
        generator=GeneratorCheck(
            0.05, 0.21, 88.0, 0.03, "uvloop", plan.valid, () if plan.valid else (reason,)
        ),
        rtt_ms=plan.rtt_ms,
        open=is_open,
        errors={"timeout": lost} if lost else {},
        referee=Referee(len(accepted), 0, 0, 0),
    )


def labels(plan: Plan) -> dict[str, str]:
    return {
        "provider": "sendgrid",
        "transport": plan.transport,
        "connection": plan.connection,
        "client": "wire",
        "load": "closed" if plan.rate is None else "constant",
        **plan.labels,
    }


def rate_of(frame: pd.DataFrame, accepted: int) -> float | None:
    if not len(frame):
        return None
    return accepted / (float(frame["end_ns"].max() - frame["start_ns"].min()) / 1e9)


def phase_summaries(plan: Plan, main: pd.DataFrame) -> dict[str, PhaseSummary]:
    values = {name: np.asarray(main[f"{name}_ns"], dtype=np.float64) / 1e6 for name in plan.trips()}
    return {
        name: PhaseSummary(len(value), float(np.median(value)), float(np.quantile(value, 0.95)))
        for name, value in values.items()
        if len(value)
    }


def verdicts(service: Distribution | None, share: float) -> tuple[ThresholdResult, ...]:
    p50 = service.p50.value_ms if service and service.p50 else None
    verdict = ThresholdVerdict.PASS if share >= 0.999 else ThresholdVerdict.FAIL
    quick = ThresholdVerdict.INCONCLUSIVE if p50 is None else ThresholdVerdict.PASS
    return (
        ThresholdResult("p50(service) < 2s", p50, quick, 12),
        ThresholdResult("share(accepted) >= 99.9%", share, verdict, 13),
    )


def plant(plans: tuple[Plan, ...], *, state: str = "complete") -> Planted:
    """The same plans give the same run."""
    rng = np.random.default_rng(7)
    frames = [rows(plan, rng) for plan in plans]
    run = RunInfo(
        id="20260101T120000Z-smtp-vs-api-3f9a",
        scenario="smtp-vs-api",
        description="What a sign-up page waits for.",
        state=state,
        started_at="2026-01-01T12:00:00Z",
        tool_version="0.1.0",
        seed=42,
        facts={
            "machine": "x86_64, 2 cores",
            "kernel": "Linux 6.1",
            "python": "3.11.9",
            "event loop": "uvloop 0.21",
            "timer": "timerfd",
            "clients": "aiosmtplib 5.1.3, httpx 0.28.1",
        },
        tags={"team": "signup"},
    )
    cases = tuple(case_summary(plan, frame) for plan, frame in zip(plans, frames, strict=True))
    answer = Answer(
        (
            "Pooling saves 7 of 11 round trips: 363 of 568 ms; the API saves 3 more.",
            "At 50 ms of RTT a message costs 11 round trips on a fresh SMTP connection, 4 on a kept one.",
        ),
        (
            Claim(
                "SMTP with full handshake takes 500-1500 ms a message",
                ClaimVerdict.HOLDS,
                "p50 568 ms at 50 ms RTT; 11 round trips",
            ),
            Claim(
                "The API is 5-10x faster",
                ClaimVerdict.DOES_NOT_HOLD,
                "10.7x over unpooled, 3.9x over pooled SMTP",
            ),
            Claim(
                "From 100 messages/s on, set-up is the bottleneck",
                ClaimVerdict.NOT_TESTED,
                "no load above 20 /s",
            ),
        ),
    )
    return Planted(
        Summary(run, cases), answer, pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    )


EDGES: dict[str, tuple[Plan, ...]] = {
    "four": FOUR,
    "sixteen": SIXTEEN,
    "open": OPEN,
    "one": (Plan("api", "pooled"),),
    "few": (Plan("smtp", "unpooled", n=3), Plan("smtp", "pooled", n=3)),
    "all-failed": (Plan("smtp", "unpooled", failed=1.1), Plan("smtp", "pooled", failed=1.1)),
    "some-failed": (Plan("smtp", "unpooled", failed=0.05, valid=False), Plan("api", "pooled")),
    "no-rows": (Plan("smtp", "unpooled", n=0),),
    "no-cases": (),
    "loopback": (Plan("smtp", "pooled", rtt_ms=0), Plan("api", "pooled", rtt_ms=0)),
    "many": (Plan("smtp", "unpooled", n=2500, failed=0.01),),
    "rising": tuple(
        replace(plan, n=200, labels={"load.concurrency": str(workers)})
        for workers in (1, 4, 16)
        for plan in FOUR[:2]
    ),
}
"""Every shape of run that a report must survive."""


@cache
def edge(name: str) -> Planted:
    """One of `EDGES`, made once."""
    return plant(EDGES[name], state="aborted" if name == "no-cases" else "complete")
