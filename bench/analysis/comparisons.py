"""The comparisons of a run: its interleaved cases set against each other, each with each.

What is said of several pairs is said of all of them at once: intervals are made so wide that all of a
comparison hold together as often as one alone would (Bonferroni; Dunn, JASA 56 (1961) 52-64). Which variants
cannot be told apart is shown by letters (Piepho, J. Comput. Graph. Stat. 13 (2004) 456-466).
"""

from __future__ import annotations

import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.analysis.frame import flags, numbers, only, outcomes, span_ns
from bench.analysis.gate import alpha_of, judge
from bench.analysis.paired import LEVEL, QUANTILES, Ints, Strata, compare_strata, shift, stratify_each
from bench.analysis.quantiles import Floats, quantile_rank
from bench.model import CaseRun, ComparisonSummary, Gate, Outcome, Paired, Place, Verdict

UNEVEN = 0.02
"""By how much the numbers of two variants' observations may differ; after that their slots do not match."""


def compare_cases(
    frame: pd.DataFrame,
    runs: Sequence[CaseRun],
    gate: Gate | None,
    looks: int = 1,
    invalid: Collection[str] = (),
) -> tuple[ComparisonSummary, ...]:
    """Every comparison of a run, from its `sample_frame`. With a gate, which has judged `looks` times by now,
    there is a verdict on the case that stands second in the scenario; none where one of the cases is invalid.
    """
    groups: dict[str, list[CaseRun]] = {}
    for run in runs:
        if run.comparison:
            groups.setdefault(run.comparison, []).append(run)
    if gate is not None and not groups:
        return (ComparisonSummary("gate", "service", (), (), "nothing was compared", Verdict.INCONCLUSIVE),)
    return tuple(
        _believed(_compare(name, frame, cases, gate, looks), cases, invalid) for name, cases in groups.items()
    )


def _believed(
    found: ComparisonSummary, cases: Sequence[CaseRun], invalid: Collection[str]
) -> ComparisonSummary:
    if not any(case.id in invalid for case in cases):
        return found
    verdict = None if found.verdict is None else Verdict.INVALID
    return replace(found, note="not all of its cases are valid", verdict=verdict, places=(), reasons=())


def _compare(
    name: str, frame: pd.DataFrame, cases: Sequence[CaseRun], gate: Gate | None, looks: int
) -> ComparisonSummary:
    measure = measure_of(*cases)
    rows = {case.id: frame[frame["case"].eq(case.id)] for case in cases}
    times = {case.id: observed(rows[case.id], measure) for case in cases}
    return compare_times(name, measure, times, gate, looks, processes_of(rows, cases, gate))


def compare_times(
    name: str,
    measure: str,
    times: Mapping[str, Floats],
    gate: Gate | None,
    looks: int = 1,
    processes: Mapping[str, Ints] | None = None,
) -> ComparisonSummary:
    """Variants by their times in the order of their slots, infinite where a message was lost; with a gate,
    which has judged `looks` times by now, there are two, and a verdict on the second. `processes`: see
    `processes_of`."""
    strata = stratify_each(times, processes)
    note = _unmatched(times) if len(times) > 1 else "only one of its cases has ended"
    if not note and not strata:
        note = f"{min(map(len, times.values()))} messages a variant are too few to compare"
    if note:
        told = ComparisonSummary(name, measure, (), (), note)
        if gate is None:
            return told
        return replace(
            told,
            verdict=Verdict.INCONCLUSIVE,
            looks=looks,
            stages=gate.stages,
            processes=gate.processes * looks,
        )
    if gate is None:
        pairs = _each_with_each(strata)
        return ComparisonSummary(name, measure, pairs, _places(strata, pairs))
    return _judged(name, measure, strata, gate, looks)


def _each_with_each(strata: Mapping[tuple[str, str], Strata]) -> tuple[Paired, ...]:
    level = 1 - (1 - LEVEL) / len(strata)
    pairs = []
    for couple, each in strata.items():
        ratios, lost = compare_strata(each, None, level=level)
        curve = shift(each, ratios, level) if len(strata) == 1 else ()
        pairs.append(Paired(*couple, each.count, level, ratios, lost, curve))
    return tuple(pairs)


def _judged(
    name: str, measure: str, strata: Mapping[tuple[str, str], Strata], gate: Gate, looks: int
) -> ComparisonSummary:
    alpha = alpha_of(gate, looks)
    ((couple, two),) = strata.items()
    ratios, lost = compare_strata(two, gate.limits.effect, alpha=alpha)
    pair = Paired(*couple, two.count, LEVEL, ratios, lost, shift(two, ratios))
    verdict, reasons = judge(pair, gate.limits, alpha)
    places = _places(strata, (pair,))
    return ComparisonSummary(
        name, measure, (pair,), places,
        verdict=verdict, reasons=reasons, alpha=alpha, limits=gate.limits, looks=looks, stages=gate.stages,
        processes=gate.processes * looks,
    )  # fmt: skip


def measure_of(*cases: CaseRun) -> str:
    """What their times are: latency where all of them ran on a schedule, else service."""
    return "latency" if all(case.open for case in cases) else "service"


def observed(rows: pd.DataFrame, measure: str) -> Floats:
    """A case's times in ns in the order of their slots: of first attempts without warm-up, infinite where the
    message was not accepted. Cold ones are among them: a server that closes connections is slower.

    The messages of a call are one observation, lost where any of them was.
    """
    rows, begins = _observations(rows)
    times = np.where(outcomes(rows, Outcome.ACCEPTED), span_ns(rows, measure), np.inf)
    if len(begins) < len(times):
        times = np.maximum.reduceat(times, begins)
    return np.where(np.isnan(times), np.inf, times)


def processes_of(
    rows: Mapping[str, pd.DataFrame], cases: Iterable[CaseRun], gate: Gate | None
) -> Mapping[str, Ints]:
    """The process, from 0, that each of the `observed` times of these cases is of; nothing where each variant
    was one, and the parts of its load, if there are several, are the stages of the gate."""
    if gate is None or gate.processes == 1:
        return {}
    return {case.id: _parts(rows[case.id], case) for case in cases}


def _parts(rows: pd.DataFrame, run: CaseRun) -> Ints:
    rows, begins = _observations(rows)
    return np.searchsorted(run.begins, numbers(rows, "seq")[begins], side="right") - 1


def _observations(rows: pd.DataFrame) -> tuple[pd.DataFrame, Ints]:
    """First attempts without warm-up in the order of their slots, and where each observation begins."""
    rows = only(rows, ~flags(rows, "warmup") & ~(numbers(rows, "attempt") > 1))
    rows = rows.iloc[np.argsort(numbers(rows, "seq"), kind="stable")]
    together = numbers(rows, "batch_index")
    begins = np.flatnonzero((together == 0) | np.isnan(together))
    return rows, begins if len(begins) else np.arange(len(rows))


def _unmatched(times: Mapping[str, Floats]) -> str:
    """Why slots cannot be paired; empty where they can."""
    counts = {case: len(values) for case, values in times.items()}
    most, fewest = max(counts, key=lambda case: counts[case]), min(counts, key=lambda case: counts[case])
    if counts[most] - counts[fewest] <= UNEVEN * counts[most]:
        return ""
    return (
        f"{most} has {counts[most]} observations and {fewest} {counts[fewest]}: they do not stand slot by "
        "slot beside each other, so nothing is said of them"
    )


def _places(strata: Mapping[tuple[str, str], Strata], pairs: Sequence[Paired]) -> tuple[Place, ...]:
    """By the levelled medians, of which the ratios are too, so that none is below 1 to one before it; with a
    letter for each group."""
    medians: dict[str, float] = {}
    for couple, each in strata.items():
        medians.update(zip(couple, map(_median, each.levelled()), strict=True))
    order = sorted(medians, key=lambda case: medians[case])
    lettered = list(zip(string.ascii_letters, _groups(order, pairs), strict=False))
    return tuple(
        Place(case, "".join(letter for letter, group in lettered if case in group)) for case in order
    )


def _groups(order: Sequence[str], pairs: Sequence[Paired]) -> list[frozenset[str]]:
    """The largest groups of variants of which no two differ, that of the first first. Two that are not shown
    to differ share one even where somebody between them differs from one of them."""
    groups = {frozenset(order)}
    for pair in pairs:
        if _apart(pair):
            both = {group for group in groups if {pair.a, pair.b} <= group}
            groups |= {group - {each} for group in both for each in (pair.a, pair.b)}
            groups -= both
            groups = {group for group in groups if not any(group < other for other in groups)}
    return sorted(groups, key=lambda group: sorted(map(order.index, group)))


def _median(times: Floats) -> float:
    return float(np.sort(times)[quantile_rank(len(times), 0.5) - 1])


def _apart(pair: Paired) -> bool:
    """Whether the medians differ: the interval of their ratio leaves 1 out."""
    median = next(ratio for ratio in pair.ratios if QUANTILES[ratio.quantity] == 0.5)
    if median.low is None and median.high is None:
        return False
    return (median.low or 0.0) > 1.0 or (median.high is not None and median.high < 1.0)
