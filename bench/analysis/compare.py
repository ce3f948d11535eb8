"""Two runs side by side, case by case. No verdict: two runs at two times differ by more than their code."""

from __future__ import annotations

from dataclasses import dataclass

from bench.model import CaseSummary, Counts, Distribution, Percentile, RunInfo, Summary

DRIFT = (
    "The two runs were made at different times, so machine, network and neighbours may have changed between "
    "them, by far more than the intervals within a run say. Read this as a comparison, not as a verdict."
)

APART = "Cases that only one run sent to a sandbox are not compared: a sandbox takes no real mail."


@dataclass(frozen=True, slots=True)
class Change:
    """One percentile of the same case in both runs, each with its interval."""

    percentile: str
    """p50, p95 or p99"""
    a: Percentile | None
    b: Percentile | None

    @property
    def ratio(self) -> float | None:
        """B over A; None where one of them cannot be given."""
        if self.a is None or self.b is None or self.a.value_ms <= 0:
            return None
        return self.b.value_ms / self.a.value_ms

    @property
    def apart(self) -> bool | None:
        """Whether the two intervals have no point in common; None where one is missing."""
        if self.a is None or self.b is None:
            return None
        return self.a.ci95_ms[1] < self.b.ci95_ms[0] or self.b.ci95_ms[1] < self.a.ci95_ms[0]


@dataclass(frozen=True, slots=True)
class CaseComparison:
    """A case that both runs have."""

    id: str
    measure: str
    """latency where both ran on a schedule, else service"""
    changes: tuple[Change, ...]
    a_counts: Counts
    b_counts: Counts
    a_valid: bool
    b_valid: bool
    a_accepted_per_s: float | None
    b_accepted_per_s: float | None
    a_round_trips: float | None
    b_round_trips: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, paired by case id."""

    a: RunInfo
    b: RunInfo
    cases: tuple[CaseComparison, ...]
    only_a: tuple[str, ...]
    """Ids of cases that B does not have."""
    only_b: tuple[str, ...]
    notes: tuple[str, ...]
    """What to bear in mind, the reason why there is no verdict first."""


def compare(a: Summary, b: Summary) -> Comparison:
    """Pair the cases of two runs by id, in A's order."""
    in_b = {case.id: case for case in b.cases}
    both = [(case, in_b[case.id]) for case in a.cases if case.id in in_b]
    pairs = [(one, other) for one, other in both if _boxed(one) == _boxed(other)]
    paired = {case.id for case, _ in pairs}
    return Comparison(
        a=a.run,
        b=b.run,
        cases=tuple(_pair(one, other) for one, other in pairs),
        only_a=tuple(case.id for case in a.cases if case.id not in paired),
        only_b=tuple(case.id for case in b.cases if case.id not in paired),
        notes=(DRIFT, *([APART] if len(pairs) < len(both) else []), *_differences(a.run, b.run)),
    )


def _boxed(case: CaseSummary) -> bool:
    return case.labels.get("target") == "sandbox"


def _pair(a: CaseSummary, b: CaseSummary) -> CaseComparison:
    measure = "latency" if a.latency is not None and b.latency is not None else "service"
    left, right = (c.latency if measure == "latency" else c.service for c in (a, b))
    return CaseComparison(
        id=a.id,
        measure=measure,
        changes=tuple(
            Change(name, p, q)
            for name, p, q in zip(("p50", "p95", "p99"), _percentiles(left), _percentiles(right), strict=True)
        ),
        a_counts=a.counts,
        b_counts=b.counts,
        a_valid=a.generator.valid,
        b_valid=b.generator.valid,
        a_accepted_per_s=a.throughput.accepted_per_s,
        b_accepted_per_s=b.throughput.accepted_per_s,
        a_round_trips=a.round_trips.p50,
        b_round_trips=b.round_trips.p50,
    )


def _percentiles(
    times: Distribution | None,
) -> tuple[Percentile | None, Percentile | None, Percentile | None]:
    return (times.p50, times.p95, times.p99) if times else (None, None, None)


def _differences(a: RunInfo, b: RunInfo) -> list[str]:
    """Facts of the two runs that differ: what, besides time, may be behind a change."""
    notes = []
    if a.scenario != b.scenario:
        notes.append(f"The scenarios differ: {a.scenario} and {b.scenario}.")
    keys = dict.fromkeys([*a.facts, *b.facts])
    notes.extend(
        f"{key} differs: {a.facts.get(key, 'unknown')} and {b.facts.get(key, 'unknown')}."
        for key in keys
        if a.facts.get(key) != b.facts.get(key)
    )
    if a.tool_version != b.tool_version:
        notes.append(f"sendbench differs: {a.tool_version} and {b.tool_version}.")
    return notes
