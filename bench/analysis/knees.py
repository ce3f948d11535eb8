"""Where more load no longer means more messages."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.generator import CPU_LIMIT
from bench.analysis.groups import family, shorten
from bench.model import CaseSummary, Summary

FLAT = 0.95
"""A rate within this share of the best counts as the best; one within it of the offered, as kept up."""


@dataclass(frozen=True, slots=True)
class Knee:
    """Accepted messages per second over the concurrency of otherwise equal closed cases."""

    name: str
    """The cases' id without the concurrency (and without the provider, where there is only one)."""
    transport: str
    connection: str
    concurrency: int
    """The smallest that reaches 95 % of the best rate."""
    rate_per_s: float
    """What was accepted there."""
    best_per_s: float
    reached: bool
    """False: the highest concurrency tried was still needed, the knee lies beyond."""
    generator_bound: bool
    """The generator used up its core at the knee or before it: the limit may be ours."""
    rtt_ms: float | None
    points: tuple[tuple[int, float], ...]
    """(concurrency, accepted per second), by concurrency"""


def knees(summary: Summary) -> tuple[Knee, ...]:
    """One for all valid closed cases that differ only in `load.concurrency`, where that took two values."""
    families: dict[str, list[CaseSummary]] = {}
    for case in summary.cases:
        if not case.open and case.generator.valid and case.throughput.accepted_per_s and _concurrency(case):
            families.setdefault(family(case, "load.concurrency"), []).append(case)
    return tuple(
        _knee(shorten(name, summary), sorted(cases, key=_concurrency))
        for name, cases in families.items()
        if len({_concurrency(case) for case in cases}) > 1
    )


def _knee(name: str, cases: list[CaseSummary]) -> Knee:
    best = max(_rate(case) for case in cases)
    knee = next(case for case in cases if _rate(case) >= FLAT * best)
    upto = [case for case in cases if _concurrency(case) <= _concurrency(knee)]
    return Knee(
        name=name,
        transport=knee.labels.get("transport", ""),
        connection=knee.labels.get("connection", ""),
        concurrency=_concurrency(knee),
        rate_per_s=_rate(knee),
        best_per_s=best,
        reached=_concurrency(knee) < _concurrency(cases[-1]),
        generator_bound=any((case.generator.cpu_share or 0.0) > CPU_LIMIT for case in upto),
        rtt_ms=knee.rtt_ms,
        points=tuple((_concurrency(case), _rate(case)) for case in cases),
    )


def keeps_up(case: CaseSummary) -> bool:
    """Whether an open case accepted what was offered."""
    offered, accepted = case.throughput.offered_per_s, case.throughput.accepted_per_s
    return offered is not None and accepted is not None and accepted >= FLAT * offered


def _rate(case: CaseSummary) -> float:
    return case.throughput.accepted_per_s or 0.0


def _concurrency(case: CaseSummary) -> int:
    text = case.labels.get("load.concurrency", "")
    return int(text) if text.isdigit() else 0
