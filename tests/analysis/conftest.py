"""Planted samples and planted figures: tests say only what they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from bench.model import (
    CaseRun,
    CaseSummary,
    Cold,
    Counts,
    Distribution,
    GeneratorCheck,
    Manifest,
    Percentile,
    PhaseSummary,
    RoundTrips,
    RunInfo,
    Summary,
    Threshold,
    ThresholdResult,
    Throughput,
    WireConnection,
)

MS = 1_000_000


@dataclass(frozen=True)
class Table:
    """What the store hands over, reduced to the one thing that analysis asks of it."""

    frame: pd.DataFrame

    def to_pandas(self) -> pd.DataFrame:
        return self.frame.copy()


def labels_of(case_id: str, **more: str) -> dict[str, str]:
    path, *settings = re.split(r"/(?=[\w.]+=)", case_id)
    labels = dict(zip(("provider", "transport", "connection"), path.split("/"), strict=False))
    labels |= {"load": "closed", "client": "aiosmtplib" if labels.get("transport") == "smtp" else "httpx"}
    return labels | dict(setting.split("=", 1) for setting in settings) | more


def make_rows(n: int, *, case: str = "generic/smtp/pooled", **columns: object) -> pd.DataFrame:
    """n accepted messages of 10 ms each, one after the other; columns by name replace the defaults."""
    ready = np.arange(n, dtype=np.int64) * 10 * MS
    service = columns.pop("service_ns", 10 * MS)
    frame = pd.DataFrame(
        {
            "case": pd.Series([case] * n, dtype=object),
            "key": pd.Series([f"run-{case}-{i}" for i in range(n)], dtype=object),
            "seq": np.arange(n, dtype=np.int64),
            "attempt": np.ones(n, dtype=np.int64),
            "warmup": False,
            "cold": False,
            "due_ns": np.full(n, np.nan),
            "ready_ns": ready.astype(np.float64),
            "outcome": pd.Series(["accepted"] * n, dtype=object),
            "round_trips": np.full(n, 4.0),
            "quit_ns": np.full(n, np.nan),
            "connection_id": np.zeros(n),
            "code": np.full(n, 250.0),
            "error": pd.Series([None] * n, dtype=object),
            "notes": pd.Series([None] * n, dtype=object),
        }
    )
    frame["start_ns"] = frame["ready_ns"]
    for name, values in columns.items():
        frame[name] = values  # type: ignore[call-overload]  # whatever pandas takes for a column
    if "end_ns" not in columns:
        frame["end_ns"] = frame["start_ns"] + np.asarray(service)
    return frame


def make_run(case: str = "generic/smtp/pooled", *, scheduled: int = 0, **changes: object) -> CaseRun:
    """A closed case of 1 s in which everything went well; pooled by its name."""
    values: dict[str, object] = {
        "id": case, "labels": labels_of(case), "scheduled": scheduled, "warmup": 0,
        "started_ns": 0, "ended_ns": 1000 * MS, "cpu_ns": 100 * MS, "open": False,
        "pooled": "/pooled" in case, "rtt_ns": None, "service_time_p50_ns": 0, "server": "mock",
    }  # fmt: skip
    return CaseRun(**(values | changes))  # type: ignore[arg-type]  # fields by name, from the tests


def make_manifest(*runs: CaseRun, thresholds: Sequence[Threshold] = (), state: str = "complete") -> Manifest:
    return Manifest(
        id="20260101T000000Z-planted-abc", scenario="planted", description="", tags={"team": "a"},
        state=state, reason=None, started_at="2026-01-01T00:00:00Z", clock_offset_ns=0, seed=1,
        tool_version="0.1.0", facts={"event_loop": "uvloop"}, thresholds=tuple(thresholds), cases=runs,
    )  # fmt: skip


def make_distribution(p50_ms: float, *, count: int = 400, spread: float = 0.01) -> Distribution:
    def percentile(value: float) -> Percentile:
        return Percentile(value, (value * (1 - spread), value * (1 + spread)))

    tail = {"p90": 1.02, "p95": 1.03, "p99": 1.05}
    known = {name: percentile(p50_ms * factor) for name, factor in tail.items()}
    return Distribution(
        count, p50_ms, p50_ms * 0.98, p50_ms * 1.1,
        p50=percentile(p50_ms) if count >= 6 else None,
        p90=known["p90"] if count >= 36 else None,
        p95=known["p95"] if count >= 72 else None,
        p99=known["p99"] if count >= 368 else None,
        p999=None,
    )  # fmt: skip


def make_case(
    case: str,
    p50_ms: float | None = 205.0,
    trips: float | None = 4.0,
    *,
    count: int = 400,
    spread: float = 0.01,
    rtt_ms: float | None = 50.0,
    rate: float | None = 20.0,
    offered: float | None = None,
    accepted: int | None = None,
    errors: dict[str, int] | None = None,
    reasons: tuple[str, ...] = (),
    valid: bool = True,
    cpu_share: float | None = 0.1,
    phases: dict[str, PhaseSummary] | None = None,
    thresholds: tuple[ThresholdResult, ...] = (),
    checked: tuple[int, int] = (0, 0),
    wait_ms: float = 0.01,
    labels: dict[str, str] | None = None,
    cold: Cold | None = None,
) -> CaseSummary:
    taken = count if accepted is None else accepted
    service = None if p50_ms is None else make_distribution(p50_ms, count=count, spread=spread)
    return CaseSummary(
        id=case,
        labels=labels_of(case) if labels is None else labels,
        counts=Counts(count, 0, count, taken, 0, count - taken, 0),
        throughput=Throughput(offered, rate),
        latency=service if offered is not None else None,
        service=service,
        wait=None if p50_ms is None else make_distribution(wait_ms, count=count),
        phases=phases or {},
        round_trips=RoundTrips(trips, *checked),
        cold=cold,
        thresholds=thresholds,
        generator=GeneratorCheck(0.1, 0.2, 100.0, cpu_share, "uvloop", valid, reasons),
        rtt_ms=rtt_ms,
        open=offered is not None,
        errors=errors or {},
    )


def make_summary(*cases: CaseSummary, state: str = "complete", reason: str | None = None) -> Summary:
    run = RunInfo(
        "run", "planted", "", state, "2026-01-01T00:00:00Z", "0.1.0", 1, {"event_loop": "uvloop"}, {}, reason
    )
    return Summary(run, cases)


def make_wire(connection: int, port: int, turn_arounds: int) -> WireConnection:
    return WireConnection(connection, port, turn_arounds, bytes_up=1000, bytes_down=500)


def make_taken(*keys: str) -> Table:
    return Table(pd.DataFrame({"key": pd.Series(keys, dtype=object)}))


@dataclass(frozen=True)
class Planted:
    """Everything above, for tests to take by name."""

    table: Callable[[pd.DataFrame], Table] = Table
    rows: Callable[..., pd.DataFrame] = make_rows
    run: Callable[..., CaseRun] = make_run
    manifest: Callable[..., Manifest] = make_manifest
    case: Callable[..., CaseSummary] = make_case
    summary: Callable[..., Summary] = make_summary
    distribution: Callable[..., Distribution] = make_distribution
    wire: Callable[[int, int, int], WireConnection] = make_wire
    taken: Callable[..., Table] = make_taken


@pytest.fixture(scope="session")
def planted() -> Planted:
    return Planted()
