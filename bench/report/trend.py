"""A figure an entry, for what follows them over time: pytest-benchmark and github-action-benchmark.

Neither knows percentiles, so each statistic of a case is a benchmark of its own: `<case>/service/p99`. What a
case is not valid for is left out; a tool that only draws lines would draw it like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.model import Percentile
from bench.report.figures import QUANTILES, percent, percentile, times_of
from bench.report.json import dump
from bench.report.text import visible

if TYPE_CHECKING:
    import pandas as pd

    from bench.model import Answer, CaseSummary, Summary

VERSION = "5.3.1"
"""The version of pytest-benchmark whose form this is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One statistic of one time of a case."""

    case: CaseSummary
    time: str
    """latency or service"""
    statistic: str
    """p50 ... p999, mean"""
    value_ms: float
    ci95_ms: tuple[float, float] | None

    @property
    def name(self) -> str:
        return visible(f"{self.case.id}/{self.time}/{self.statistic}")


def entries(summary: Summary) -> Iterator[Entry]:
    """The statistics of all valid cases, as far as their samples support them."""
    for case in summary.cases:
        for time, distribution in times_of(case):
            if distribution is None or not case.generator.valid:
                continue
            for statistic in QUANTILES:
                value = percentile(distribution, statistic)
                if isinstance(value, Percentile):
                    yield Entry(case, time, statistic, value.value_ms, value.ci95_ms)
            yield Entry(case, time, "mean", distribution.mean_ms, None)


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """What `pytest --benchmark-json` writes, in seconds. A run is one round: all of a statistic's own
    statistics are its value, and `ops` is its inverse, which is what github-action-benchmark reads."""
    facts = summary.run.facts
    return dump(
        {
            "machine_info": {
                "node": "",
                "machine": visible(facts.get("machine", "")),
                "system": visible(facts.get("kernel", "")),
                "python_version": visible(facts.get("python", "")),
                "cpu": {"brand_raw": visible(facts.get("machine", ""))},
            },
            "commit_info": _commit(facts.get("git_commit", "")),
            "benchmarks": [_benchmark(entry, summary) for entry in entries(summary)],
            "datetime": visible(summary.run.started_at),
            "version": VERSION,
        }
    )


def _commit(described: str) -> dict[str, object]:
    return {"id": visible(described.removesuffix("+")) or "unversioned", "dirty": described.endswith("+")}


def _benchmark(entry: Entry, summary: Summary) -> dict[str, object]:
    value_s = entry.value_ms / 1000
    counts = entry.case.counts
    return {
        "group": f"{entry.time} {entry.statistic}",
        "name": entry.name,
        "fullname": f"{visible(summary.run.scenario)}::{entry.name}",
        "params": None,
        "param": None,
        "extra_info": {
            "run": visible(summary.run.id),
            "scheduled": counts.scheduled,
            "accepted": counts.accepted,
            "ci95_ms": entry.ci95_ms,
        },
        "options": {},
        "stats": {
            **dict.fromkeys(("min", "max", "mean", "median", "q1", "q3", "ld15iqr", "hd15iqr"), value_s),
            **dict.fromkeys(("stddev", "iqr", "stddev_outliers", "iqr_outliers"), 0),
            "outliers": "0;0",
            "rounds": 1,
            "iterations": 1,
            "ops": 1 / value_s if value_s else 0.0,
            "total": value_s,
        },
    }


def render_smaller(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """github-action-benchmark's customSmallerIsBetter: the same in ms, and how much was not accepted."""
    found = [
        {
            "name": entry.name,
            "unit": "ms",
            "value": entry.value_ms,
            "range": _range(entry),
            "extra": _extra(entry.case),
        }
        for entry in entries(summary)
    ]
    found += [
        {
            "name": visible(f"{case.id}/not accepted"),
            "unit": "%",
            "value": 100 * (1 - case.counts.accepted / case.counts.scheduled),
            "range": "",
            "extra": _extra(case),
        }
        for case in summary.cases
        if case.generator.valid and case.counts.scheduled
    ]
    return dump(found)


def _range(entry: Entry) -> str:
    return f"{entry.ci95_ms[0]:.3f} to {entry.ci95_ms[1]:.3f}" if entry.ci95_ms else ""


def _extra(case: CaseSummary) -> str:
    share = case.counts.accepted / case.counts.scheduled if case.counts.scheduled else None
    return f"{case.counts.accepted} of {case.counts.scheduled} messages accepted ({percent(share)})"
