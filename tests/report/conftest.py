"""Runs that never happened: rows with known times, and the summary that belongs to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

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
    n = plan.n
    phases = {
        name: (trips * plan.rtt_ms * 1e6 + rng.lognormal(math.log(3e5), 0.9, n))
        for name, trips in plan.trips().items()
    }
    if plan.rtt_ms:
        busiest = max(phases, key=lambda name: phases[name][0])
        phases[busiest] = phases[busiest] * (1 + (rng.random(n) < 0.02) * rng.lognormal(0, 0.6, n))
    service = sum(np.rint(value) for value in phases.values())
    if plan.rate is None:
        workers = np.arange(n) % 4
        start = np.zeros(n)
        free = np.zeros(4)
        for index in range(n):
            start[index] = free[workers[index]]
            free[workers[index]] += service[index]
        due = np.full(n, np.nan)
        ready = start
    else:
        due = np.arange(n) * 1e9 / plan.rate
        ready = due + 2e5
        wait = np.where(np.abs(np.arange(n) - 0.6 * n) < 0.02 * n, 300e6, 0.0) * rng.random(n)
        start = ready + wait
    frame = pd.DataFrame(
        {
            "case": plan.id,
            "key": [f"run-{seq}" for seq in range(n)],
            "seq": np.arange(n),
            "attempt": 1,
            "worker": np.arange(n) % 4,
            "warmup": False,
            "cold": plan.connection == "unpooled",
            "due_ns": pd.array(due, dtype="Float64").astype("Int64"),
            "ready_ns": ready.astype("int64"),
            "start_ns": start.astype("int64"),
            "end_ns": pd.array((start + service).astype("int64"), dtype="Int64"),
            **{
                f"{name}_ns": pd.array(np.rint(value).astype("int64"), dtype="Int64")
                for name, value in phases.items()
            },
            "quit_ns": pd.array([round(plan.rtt_ms * 1e6)] * n, dtype="Int64"),
            "round_trips": sum(plan.trips().values()),
            "outcome": np.where(rng.random(n) < plan.failed, "failed", "accepted"),
        }
    )
    if plan.connection == "pooled":
        frame.loc[frame.index[:4], "cold"] = True
    if plan.transport == "api" or plan.connection == "pooled":
        frame["quit_ns"] = pd.array([None] * n, dtype="Int64")
    lost = frame["outcome"] == "failed"
    frame["error"] = np.where(lost, "timeout", None)
    frame["reply"] = [b"451 try again later\r\n" if bad else b"250 2.0.0 Ok" for bad in lost]
    return frame


def percentile(values: np.ndarray, q: float) -> Percentile | None:
    if len(values) < math.log(0.025) / math.log(max(q, 1 - q)):
        return None
    spread = 1.96 * math.sqrt(q * (1 - q) / len(values))
    low, value, high = (
        float(np.quantile(values, min(1.0, max(0.0, at)), method="inverted_cdf"))
        for at in (q - spread, q, q + spread)
    )
    return Percentile(value, (low, high))


def distribution(values: np.ndarray) -> Distribution | None:
    if not len(values):
        return None
    return Distribution(
        len(values),
        float(values.mean()),
        float(values.min()),
        float(values.max()),
        *(percentile(values, q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)),
    )


def case_summary(plan: Plan, frame: pd.DataFrame) -> CaseSummary:
    good = frame[frame["outcome"] == "accepted"]
    service = (good["end_ns"] - good["start_ns"]).to_numpy(float) / 1e6
    seconds = max(1e-9, float(frame["end_ns"].max() - frame["start_ns"].min()) / 1e9) if len(frame) else 1.0
    phases = {name: good[f"{name}_ns"].dropna().to_numpy(float) / 1e6 for name in plan.trips()}
    lost = len(frame) - len(good)
    is_open = plan.rate is not None
    latency = (
        (good["end_ns"] - good["due_ns"]).to_numpy(float, na_value=np.nan) / 1e6 if is_open else np.array([])
    )
    p50 = percentile(service, 0.5)
    share = len(good) / max(1, len(frame))
    verdict = ThresholdVerdict.PASS if share >= 0.999 else ThresholdVerdict.FAIL
    return CaseSummary(
        id=plan.id,
        labels={
            "provider": "sendgrid",
            "transport": plan.transport,
            "connection": plan.connection,
            "client": "wire",
            "load": "closed, 4 workers" if not is_open else "constant 50/s",
            **plan.labels,
        },
        counts=Counts(len(frame), 0, len(frame), len(good), 0, lost, 0),
        throughput=Throughput(plan.rate, len(good) / seconds),
        latency=distribution(latency),
        service=distribution(service),
        wait=distribution((good["start_ns"] - good["ready_ns"]).to_numpy(float) / 1e6) if is_open else None,
        phases={
            name: PhaseSummary(len(value), float(np.median(value)), float(np.quantile(value, 0.95)))
            for name, value in phases.items()
            if len(value)
        },
        round_trips=RoundTrips(float(good["round_trips"].median()) if len(good) else None, 40, 0),
        cold=Cold(4, None) if plan.connection == "pooled" else None,
        thresholds=(
            ThresholdResult("p50(service) < 800ms", p50.value_ms if p50 else None, ThresholdVerdict.PASS, 12),
            ThresholdResult("share(accepted) >= 99.9%", share, verdict, 13),
        ),
        generator=GeneratorCheck(
            0.05,
            0.21,
            88.0,
            0.03,
            "uvloop",
            plan.valid,
            () if plan.valid else ("lag p99 12 ms is more than 10 % of p50 latency: lower the rate",),
        ),
        rtt_ms=plan.rtt_ms,
        open=is_open,
        errors={"timeout": lost} if lost else {},
        referee=Referee(len(good), 0, 0, 0),
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


@pytest.fixture(scope="session")
def four() -> Planted:
    return plant(FOUR)


@pytest.fixture(scope="session")
def sixteen() -> Planted:
    return plant(SIXTEEN)


@pytest.fixture(scope="session")
def open_load() -> Planted:
    return plant(OPEN)


@pytest.fixture(scope="session")
def edges(four: Planted, sixteen: Planted, open_load: Planted) -> dict[str, Planted]:
    """Every shape of run that a report must survive."""
    return {
        "four": four,
        "sixteen": sixteen,
        "open": open_load,
        "one": plant((Plan("api", "pooled"),)),
        "few": plant((Plan("smtp", "unpooled", n=3), Plan("smtp", "pooled", n=3))),
        "all-failed": plant((Plan("smtp", "unpooled", failed=1.1), Plan("smtp", "pooled", failed=1.1))),
        "some-failed": plant((Plan("smtp", "unpooled", failed=0.05, valid=False), Plan("api", "pooled"))),
        "no-rows": plant((Plan("smtp", "unpooled", n=0),)),
        "no-cases": plant((), state="aborted"),
        "loopback": plant((Plan("smtp", "pooled", rtt_ms=0), Plan("api", "pooled", rtt_ms=0))),
        "many": plant(tuple(replace(FOUR[0], n=2500, failed=0.01) for _ in range(1))),
    }


@pytest.fixture(scope="session")
def planter() -> Callable[..., Planted]:
    return plant
