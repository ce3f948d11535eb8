"""Absolute limits on a case: does what was measured show that they hold, or that they do not?

A threshold passes where the whole 95 % interval of what it is about lies within the limit and fails where
none of it does: each of the two is wrong at most 2.5 times in 100. What lies between is inconclusive. The
intervals: order statistics for percentiles, Clopper and Pearson for a share, batch means for `mean` and
`rate`. `min`, `max` and a share with a limit of 0 or 100 % are statements about the messages that were sent,
and have none.

Every function sees the accepted messages that enter the case's figures, and every measured
message that was not accepted - rejected, failed, unknown or dropped - as an infinitely slow
one: a case cannot pass by losing its slow messages. So `min` is that of the accepted, and
`max` and `mean` are infinite as soon as one message is lost.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.frame import SPANS, numbers, span_ns
from bench.analysis.intervals import MEAN_LEAST, RATE_LEAST, mean_half_width, rate_interval, share_interval
from bench.analysis.quantiles import NS_PER_MS, TAIL, Floats, interval_ranks, quantile_rank, smallest_count
from bench.model import (
    PHASES,
    CaseRun,
    Counts,
    Outcome,
    Threshold,
    ThresholdResult,
    ThresholdVerdict,
    Throughput,
)

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_TIMES = {*QUANTILES, "mean", "min", "max"}
_SUBJECTS = {*SPANS, *(f"phase.{phase}" for phase in PHASES)}
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
    began_ns: int
    ends_ns: Floats
    """When the accepted ones ended, ascending; `began_ns` is when the measuring began."""

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


def cut_short(thresholds: Sequence[Threshold], run: CaseRun) -> tuple[ThresholdResult, ...]:
    """The verdicts on a case that a threshold has ended early: that failed, of others nothing is known."""
    results = []
    for threshold in thresholds:
        if matches(threshold, run.labels) and threshold.text == run.stopped_by:
            note = "the run was ended, as it could no longer pass"
            results.append(_result(threshold, None, note, verdict=ThresholdVerdict.FAIL))
        elif matches(threshold, run.labels):
            results.append(_result(threshold, None, "the run was ended before this case had been measured"))
    return tuple(results)


def forgiven(threshold: Threshold, n: int) -> int | None:
    """How many of n messages may be beyond the limit and the threshold passes; None where it cannot with n.

    For what `abort` goes with: `max` and percentiles from above, and shares.
    """
    if threshold.function == "max":
        return 0
    if threshold.function in QUANTILES:
        ranks = interval_ranks(n, QUANTILES[threshold.function])
        return None if ranks is None else n - ranks[1]

    def fails(beyond: int) -> bool:
        estimate = _share_of(beyond if threshold.operator.startswith("<") else n - beyond, n, threshold)
        return not (_holds(threshold, estimate.low) and _holds(threshold, estimate.high))

    first = bisect_left(range(n + 1), True, key=fails)
    return first - 1 if first else None


def evaluate(
    thresholds: Sequence[Threshold], labels: Mapping[str, str], population: Population
) -> tuple[ThresholdResult, ...]:
    """The verdict on each threshold that is about the case."""
    return tuple(_judge(threshold, population) for threshold in thresholds if matches(threshold, labels))


def _judge(threshold: Threshold, population: Population) -> ThresholdResult:
    if not _known(threshold):
        return _result(threshold, None, "this version knows no such threshold")
    estimate = _ESTIMATES.get(threshold.function, _time)(threshold, population)
    if isinstance(estimate, str):
        return _result(threshold, None, estimate)
    if any(math.isnan(each) for each in (estimate.value, estimate.low, estimate.high)):
        return _result(threshold, None, "what was measured is not a number")
    holds = [_holds(threshold, end) for end in (estimate.low, estimate.high)]
    if all(holds):
        return _result(threshold, estimate, verdict=ThresholdVerdict.PASS)
    if not any(holds):
        return _result(threshold, estimate, estimate.note, verdict=ThresholdVerdict.FAIL)
    return _result(threshold, estimate, estimate.note or "the limit lies within the 95 % interval")


def _known(threshold: Threshold) -> bool:
    """Whether it can be judged: those of a run folder come from a file, which may be anybody's."""
    if threshold.operator not in _OPERATORS:
        return False
    if threshold.function == "share":
        return threshold.subject in {"rejected", *Outcome}
    if threshold.function == "rate":
        return True
    return threshold.function in _TIMES and threshold.subject in _SUBJECTS


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What was seen and its 95 % interval, in the unit of the limit."""

    value: float
    low: float
    high: float
    note: str = ""
    """What to say of it where it does not pass."""


def _seen(value: float, note: str = "") -> _Estimate:
    """An estimate of nothing but itself."""
    return _Estimate(value, value, value, note)


def _share(threshold: Threshold, population: Population) -> _Estimate | str:
    n = population.counts.scheduled
    if not n:
        return "no message was scheduled"
    if threshold.subject == "rejected":
        k = population.counts.rejected
    else:
        k = population.by_outcome.get(Outcome(threshold.subject), 0)
    return _share_of(k, n, threshold)


def _share_of(k: int, n: int, threshold: Threshold) -> _Estimate:
    if threshold.limit in (0.0, 1.0):  # none, or all: no sample shows that of other messages
        return _seen(k / n)
    low, high = share_interval(k, n)
    return _Estimate(k / n, low, high, _more_needed(threshold, k, n))


def _more_needed(threshold: Threshold, k: int, n: int) -> str:
    """Of a share that could not be better and is not shown to be within the limit all the same."""
    upper = threshold.operator.startswith("<")
    if k != (0 if upper else n):
        return ""
    kept = 1 - threshold.limit if upper else threshold.limit
    least = math.ceil(math.log(TAIL) / math.log(kept))
    edge = f"share({threshold.subject}) {'<= 0%' if upper else '>= 100%'}"
    return f"to show it takes {least} messages and the case has {n}; {edge} is about these alone"


def _rate(_threshold: Threshold, population: Population) -> _Estimate | str:
    rate, ends_ns = population.throughput.accepted_per_s, population.ends_ns
    if rate is None:
        return "the case took no time"
    if not len(ends_ns):
        return _seen(rate)
    if len(ends_ns) < RATE_LEAST:
        return _Estimate(rate, 0.0, math.inf, _too_few("rate()", RATE_LEAST, len(ends_ns)))
    low, high = rate_interval(population.began_ns, ends_ns)
    return _Estimate(rate, rate * low, rate * high)


def _too_few(function: str, least: int, n: int) -> str:
    return f"{function} needs {least} messages and the case has {n}"


def _time(threshold: Threshold, population: Population) -> _Estimate | str:
    function, subject, lost = threshold.function, threshold.subject, population.lost
    times = _times(subject, population.main)
    n = len(times) + lost
    if not len(times) and len(population.main):
        return f"{subject} does not occur in this case"
    if not n:
        return "no message was measured"
    note = f"{lost} of {n} messages were not accepted and count as infinitely slow" if lost else ""
    if function in QUANTILES:
        return _quantile(function, np.sort(times), n, note)
    if function == "mean" and not lost:
        return _mean(times)
    if function == "min":
        return _seen(float(times.min()) if len(times) else math.inf, note)
    return _seen(math.inf if lost else float(times.max()), note)


def _quantile(function: str, ordered: Floats, n: int, note: str) -> _Estimate | str:
    """Of n messages, of which those that are not in `ordered` are infinitely slow."""
    q = QUANTILES[function]
    ranks = interval_ranks(n, q)
    if ranks is None:
        return _too_few(function, smallest_count(q), n)
    all_ranks = (quantile_rank(n, q), *ranks)
    value, low, high = (float(ordered[rank - 1]) if rank <= len(ordered) else math.inf for rank in all_ranks)
    return _Estimate(value, low, high, note if math.isinf(high) else "")


def _mean(times: Floats) -> _Estimate:
    mean = float(times.mean())
    if len(times) < MEAN_LEAST:
        return _Estimate(mean, 0.0, math.inf, _too_few("mean", MEAN_LEAST, len(times)))
    off = mean_half_width(times)
    return _Estimate(mean, max(0.0, mean - off), mean + off)


_ESTIMATES: dict[str, Callable[[Threshold, Population], _Estimate | str]] = {"share": _share, "rate": _rate}
"""The others are of times."""


def _times(subject: str, main: pd.DataFrame) -> Floats:
    """ns in the order of sending, where the span or phase was recorded."""
    sent = main.iloc[np.argsort(numbers(main, "start_ns"), kind="stable")]
    if subject.startswith("phase."):
        times = numbers(sent, f"{subject.removeprefix('phase.')}_ns")
    else:
        times = span_ns(sent, subject)
    return times[~np.isnan(times)]


def _holds(threshold: Threshold, value: float) -> bool:
    return _OPERATORS[threshold.operator](value, threshold.limit)


def _result(
    threshold: Threshold,
    estimate: _Estimate | None,
    note: str = "",
    *,
    verdict: ThresholdVerdict = ThresholdVerdict.INCONCLUSIVE,
) -> ThresholdResult:
    scale = 1.0 if threshold.function in _ESTIMATES else NS_PER_MS
    value, interval = None, None
    if estimate is not None:
        value = _finite(estimate.value / scale)
        if estimate.low != estimate.high:
            interval = (_finite(estimate.low / scale), _finite(estimate.high / scale))
    return ThresholdResult(
        threshold.text, value, verdict, threshold.line, note, threshold.limit / scale, interval
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
