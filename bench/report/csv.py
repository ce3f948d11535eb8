"""CSV for spreadsheets: one row a case, and the raw records one row a message."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bench.model import PHASES, Answer, CaseSummary, Distribution, PhaseSummary
from bench.report.figures import QUANTILES, percentile, set_up_share
from bench.report.text import for_csv, from_bytes

if TYPE_CHECKING:
    from bench.model import Summary

Cell = str | int | float | None


def render(summary: Summary, answer: Answer, frame: pd.DataFrame | None = None) -> bytes:
    """One row a case: labels, counts, rates, and every time with all its percentiles and intervals."""
    labels = sorted({key for case in summary.cases for key in case.labels})
    phases = [name for name in PHASES if any(name in case.phases for case in summary.cases)]
    rows = [_row(case, labels, phases) for case in summary.cases]
    header = tuple(rows[0]) if rows else ("case",)
    return _written([header, *(tuple(row.values()) for row in rows)])


def _row(case: CaseSummary, labels: list[str], phases: list[str]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"case": case.id}
    row |= {f"label.{key}": case.labels.get(key) for key in labels}
    counts = case.counts
    row |= {
        "scheduled": counts.scheduled,
        "dropped": counts.dropped,
        "attempted": counts.attempted,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "failed": counts.failed,
        "unknown": counts.unknown,
        "offered_per_s": case.throughput.offered_per_s,
        "accepted_per_s": case.throughput.accepted_per_s,
        "rtt_ms": case.rtt_ms,
        "round_trips_p50": case.round_trips.p50,
        "set_up_share": set_up_share(case),
    }
    for name in ("latency", "service", "wait"):
        row |= _times(name, getattr(case, name))
    for name in phases:
        row |= _phase(name, case.phases.get(name))
    check = case.generator
    return row | {
        "lag_p50_ms": check.lag_p50_ms,
        "lag_p99_ms": check.lag_p99_ms,
        "hiccup_p999_ms": check.hiccup_p999_ms,
        "hiccup_max_ms": check.hiccup_max_ms,
        "cpu_us_per_message": check.cpu_us_per_message,
        "valid": "yes" if check.valid else "no",
        "remarks": "; ".join((*check.reasons, *([case.error] if case.error else []))),
    }


def _times(name: str, times: Distribution | None) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        f"{name}_count": times.count if times else 0,
        f"{name}_mean_ms": times.mean_ms if times else None,
        f"{name}_min_ms": times.min_ms if times else None,
        f"{name}_max_ms": times.max_ms if times else None,
    }
    for quantile in QUANTILES:
        value = percentile(times, quantile)
        row[f"{name}_{quantile}_ms"] = value.value_ms if value else None
        row[f"{name}_{quantile}_low_ms"] = value.ci95_ms[0] if value else None
        row[f"{name}_{quantile}_high_ms"] = value.ci95_ms[1] if value else None
    return row


def _phase(name: str, phase: PhaseSummary | None) -> dict[str, Cell]:
    return {
        f"phase.{name}_count": phase.count if phase else 0,
        f"phase.{name}_p50_ms": phase.p50_ms if phase else None,
        f"phase.{name}_p95_ms": phase.p95_ms if phase else None,
    }


def render_samples(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """The raw records, every column as it is: times in ns, bytes as visible text, nothing for null."""
    columns = [_column(frame, name) for name in frame.columns]
    return _written([tuple(frame.columns), *zip(*columns, strict=True)])


def _column(frame: pd.DataFrame, name: str) -> list[object]:
    """Whole numbers as such, also where a missing one has turned the column into floats."""
    values: list[object] = frame[name].tolist()
    if name.endswith("_ms"):
        return values
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def _written(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: object) -> Cell:
    """Numbers stay numbers; text is escaped; null and what is not finite become an empty cell."""
    if isinstance(value, str):
        return for_csv(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return for_csv(from_bytes(value))
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is None or value is pd.NA else for_csv(str(value))
