"""Absolute limits on a case's point estimates.

Every function sees the accepted messages that enter the case's figures, and every measured
message that was not accepted - rejected, failed, unknown or dropped - as an infinitely slow
one: a case cannot pass by losing its slow messages. So `min` is that of the accepted, and
`max` and `mean` are infinite as soon as one message is lost.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.analysis.frame import numbers, present, span_ns
from bench.analysis.quantiles import NS_PER_MS, Floats, quantile_rank, smallest_count, supported
from bench.model import Counts, Outcome, Threshold, ThresholdResult, ThresholdVerdict, Throughput

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Population:
    """What a case has to set against a threshold."""

    main: pd.DataFrame
    """Accepted messages that enter the figures."""
    counts: Counts
    throughput: Throughput
    by_outcome: Mapping[Outcome, int]
    """How many measured messages ended how."""

    @property
    def lost(self) -> int:
        """Messages that were not accepted, dropped ones included."""
        return self.counts.dropped + self.counts.attempted - self.counts.accepted


def matches(threshold: Threshold, labels: Mapping[str, str]) -> bool:
    """Whether the threshold is about a case with these labels."""
    return all(labels.get(key) == value for key, value in threshold.where)


def unmatched(
    thresholds: Sequence[Threshold], cases: Sequence[Mapping[str, str]]
) -> tuple[ThresholdResult, ...]:
    """The thresholds that are about none of the cases, as inconclusive results."""
    return tuple(
        _result(threshold, None, "no case of this run matches it")
        for threshold in thresholds
        if not any(matches(threshold, labels) for labels in cases)
    )


def evaluate(
    thresholds: Sequence[Threshold], labels: Mapping[str, str], population: Population
) -> tuple[ThresholdResult, ...]:
    """The verdict on each threshold that is about the case."""
    return tuple(_judge(threshold, population) for threshold in thresholds if matches(threshold, labels))


def _judge(threshold: Threshold, population: Population) -> ThresholdResult:
    if threshold.function == "share":
        return _share(threshold, population)
    if threshold.function == "rate":
        rate = population.throughput.accepted_per_s
        return _result(threshold, rate, "" if rate is not None else "the case took no time")
    return _time(threshold, population)


def _share(threshold: Threshold, population: Population) -> ThresholdResult:
    scheduled = population.counts.scheduled
    if not scheduled:
        return _result(threshold, None, "no message was scheduled")
    if threshold.subject == "rejected":
        return _result(threshold, population.counts.rejected / scheduled)
    return _result(threshold, population.by_outcome.get(Outcome(threshold.subject), 0) / scheduled)


def _time(threshold: Threshold, population: Population) -> ThresholdResult:
    ordered = _times(threshold.subject, population.main)
    n = len(ordered) + population.lost
    if not len(ordered) and len(population.main):
        return _result(threshold, None, f"{threshold.subject} does not occur in this case")
    if not n:
        return _result(threshold, None, "no message was measured")
    q = QUANTILES.get(threshold.function)
    if q is not None and not supported(n, q):
        note = f"{threshold.function} needs {smallest_count(q)} messages and the case has {n}"
        return _result(threshold, None, note)
    value_ns = _statistic(threshold.function, ordered, population.lost)
    note = f"{population.lost} of {n} messages were not accepted and count as infinitely slow"
    return _result(threshold, value_ns, note if math.isinf(value_ns) else "", scale=NS_PER_MS)


def _times(subject: str, main: pd.DataFrame) -> Floats:
    """Ascending ns where the span or phase was recorded."""
    if subject.startswith("phase."):
        return present(numbers(main, f"{subject.removeprefix('phase.')}_ns"))
    return present(span_ns(main, subject))


def _statistic(function: str, ordered: Floats, lost: int) -> float:
    if function in QUANTILES:
        rank = quantile_rank(len(ordered) + lost, QUANTILES[function])
        return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf
    if function == "min":
        return float(ordered[0]) if len(ordered) else math.inf
    if lost:
        return math.inf
    return float(ordered[-1] if function == "max" else ordered.mean())


def _result(
    threshold: Threshold, value: float | None, note: str = "", *, scale: float = 1.0
) -> ThresholdResult:
    verdict = ThresholdVerdict.INCONCLUSIVE
    if value is not None:
        holds = _OPERATORS[threshold.operator](value, threshold.limit)
        verdict = ThresholdVerdict.PASS if holds else ThresholdVerdict.FAIL
    shown = None if value is None or math.isinf(value) else value / scale
    return ThresholdResult(threshold.text, shown, verdict, threshold.line, note)
