"""New runs against those of a baseline. The unit is the run, not the message.

Two runs of the same program on the same machine differ by more than chance within a run: a test on messages
takes that for a change, and the surer the more messages there are. So each run is one observation of each
percentile, and the ranks of runs are compared (see `ranks`): that is exact as long as new runs differ from
those of the baseline by no more than these do from each other. A t-test is not: percentiles of runs are
skewed, and of a few new runs it finds 2 to 4 in a hundred slower that are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bench.analysis.comparisons import measure_of, observed
from bench.analysis.gate import judge
from bench.analysis.paired import ALPHA, LEVEL, QUANTILES, detectable, holm
from bench.analysis.quantiles import NS_PER_MS, Floats, quantile_rank, supported
from bench.analysis.ranks import least_p, p_higher, shift
from bench.model import (
    Baseline,
    BaselineCheck,
    BaselineRun,
    CaseRun,
    CheckedCase,
    Figures,
    Limits,
    Lost,
    Paired,
    Ratio,
    Verdict,
)

LEAST_RUNS = 10
"""Runs in a baseline before anything is held against it."""
_WORST_FIRST = (Verdict.REGRESSION, Verdict.INCONCLUSIVE, Verdict.PASS)


def figures_of(frame: pd.DataFrame, case: CaseRun) -> Figures:
    """A case of a run in short, from the run's `sample_frame`; a message that was not accepted is infinitely
    slow, and cold ones count."""
    times = np.sort(observed(frame[frame["case"].eq(case.id)], measure_of(case)))
    p50, p95, p99 = (_percentile_ms(times, q) for q in QUANTILES.values())
    return p50, p95, p99, float(np.isinf(times).mean()) if len(times) else 1.0


def _percentile_ms(ascending: Floats, q: float) -> float | None:
    count = len(ascending)
    if not supported(count, q):
        return None
    return float(ascending[quantile_rank(count, q) - 1]) / NS_PER_MS


def check(baseline: Baseline, machine: str, new: Sequence[BaselineRun], limits: Limits) -> BaselineCheck:
    """What new runs say against a baseline of at least `LEAST_RUNS`; `machine` is what its class is called.

    The runs must have the baseline's cases, in its order.
    """
    sides = {
        case: (_columns(baseline.runs, number), _columns(new, number))
        for number, case in enumerate(baseline.cases)
    }
    p = holm({key: value for case, side in sides.items() for key, value in _p_values(case, *side).items()})
    alpha = ALPHA / max(1, len(p))
    short = _too_few(len(baseline.runs), len(new), alpha, len(p))
    cases = tuple(
        _checked(case, baseline.cases[case], *side, p, alpha, limits, short) for case, side in sides.items()
    )
    verdict = min((case.verdict for case in cases), key=_WORST_FIRST.index)
    ids = tuple(run.id for run in new)
    return BaselineCheck(baseline.scenario, machine, len(baseline.runs), ids, LEVEL, ALPHA, cases, verdict)


def runs_needed(kept: int, alpha: float) -> int:
    """How many new runs can be significant at alpha beside so many of a baseline."""
    return next(new for new in range(1, kept + 100) if least_p(kept, new) <= alpha)


def _too_few(kept: int, new: int, alpha: float, family: int) -> str:
    """Why so few runs show nothing; empty where they can."""
    needed = runs_needed(kept, alpha)
    if new >= needed:
        return ""
    return (
        f"{new} new run{'s' * (new != 1)} beside {kept} cannot show that any of {family} figures is worse: "
        f"that takes {needed}"
    )


def _columns(runs: Sequence[BaselineRun], case: int) -> Mapping[str, Floats]:
    """p50, p95, p99 and lost -> a value a run, NaN where there is none."""
    rows = np.array([run.figures[case] for run in runs], dtype=np.float64)  # None becomes NaN
    return dict(zip((*QUANTILES, "lost"), rows.T, strict=True))


def _p_values(case: str, old: Mapping[str, Floats], new: Mapping[str, Floats]) -> dict[str, float]:
    return {
        f"{case} {name}": p_higher(old[name], new[name])
        for name in old
        if not _missing(old[name], new[name]) and (name != "lost" or old[name].any() or new[name].any())
    }


def _missing(old: Floats, new: Floats) -> int:
    return int(np.isnan(old).sum() + np.isnan(new).sum())


def _checked(
    case: str,
    measure: str,
    old: Mapping[str, Floats],
    new: Mapping[str, Floats],
    p: Mapping[str, float],
    alpha: float,
    limits: Limits,
    short: str,
) -> CheckedCase:
    ratios = tuple(
        _ratio(name, old[name], new[name], p.get(f"{case} {name}"), alpha, limits) for name in QUANTILES
    )
    lost = _lost(old["lost"], new["lost"], p.get(f"{case} lost"))
    found = Paired("baseline", case, len(new["lost"]), LEVEL, ratios, lost)
    verdict, reasons = judge(found, limits, ALPHA)
    if all(ratio.p is None for ratio in ratios):
        short = short or "there are too few messages in a run to judge any percentile"
    if short and verdict is not Verdict.REGRESSION:
        verdict, reasons = Verdict.INCONCLUSIVE, (short,)
    return CheckedCase(case, measure, ratios, lost, verdict, reasons)


def _ratio(name: str, old: Floats, new: Floats, p: float | None, alpha: float, limits: Limits) -> Ratio:
    if p is None:
        note = f"{name} is not judged: {_missing(old, new)} runs have too few messages for it"
        return Ratio(name, None, None, None, None, None, note)
    estimate, low, high = (_factor(end) for end in shift(np.log(old), np.log(new), LEVEL))
    can = low and high and least_p(len(old), len(new)) <= alpha
    least = detectable(math.log(high / low), limits.effect[name], alpha) if can and low and high else None
    return Ratio(name, estimate, low, high, p, least)


def _factor(logarithm: float | None) -> float | None:
    """None where it has no end."""
    return math.exp(logarithm) if logarithm is not None and math.isfinite(logarithm) else None


def _lost(old: Floats, new: Floats, p: float | None) -> Lost | None:
    if p is None:
        return None
    _, low, high = shift(old, new, LEVEL)
    ends = (-1.0 if low is None else low, 1.0 if high is None else high)
    return Lost(float(old.mean()), float(new.mean()), *ends, p)
