"""Rules that decide whether B is slower: ours, and those in common use on the same data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np

from bench.analysis.gate import judge
from bench.analysis.paired import (
    ALPHA,
    LEAST,
    QUANTILES,
    Ints,
    Levelled,
    holm,
    p_value,
    slower_pairs,
    stratify,
)
from bench.model import DEFAULT_LIMITS, Paired, Ratio, Verdict
from tests.gate.noise import Floats

Rule = Callable[[Floats, Floats], bool]


def ours(a: Floats, b: Floats, alpha: float = ALPHA, parts: Ints | None = None) -> bool:
    """Whether the gate finds a regression; without the intervals, which do not decide that. `parts`: the
    process that each message of a side was sent to."""
    strata = stratify(a, b, None if parts is None else (parts, parts))
    assert strata is not None
    levelled = Levelled(strata)
    found = {
        name: p_value(slower_pairs(strata) if name == "p50" else levelled.exceeding(q))
        for name, q in QUANTILES.items()
        if strata.count >= LEAST[name]
    }
    ratios = tuple(
        Ratio(name, levelled.ratio(QUANTILES[name]), None, None, p, None) for name, p in holm(found).items()
    )
    paired = Paired("a", "b", strata.count, 0.95, ratios, None)
    return judge(paired, DEFAULT_LIMITS, alpha)[0] is Verdict.REGRESSION


def mean_5(a: Floats, b: Floats) -> bool:
    """As `--benchmark-compare-fail=mean:5%` has it."""
    return bool(b.mean() > 1.05 * a.mean())


def p99_10(a: Floats, b: Floats) -> bool:
    """As a script with a threshold on the ratio has it."""
    return bool(np.quantile(b, 0.99) > 1.10 * np.quantile(a, 0.99))


def mann_whitney(a: Floats, b: Floats) -> bool:
    """Two-sided at 5 %, and B slower: as benchstat has it, on messages (normal approximation, no ties)."""
    n, m = len(a), len(b)
    ranks = np.concatenate([a, b]).argsort().argsort()[n:] + 1
    u = float(ranks.sum()) - m * (m + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return z > NormalDist().inv_cdf(0.975)


RULES: Mapping[str, Rule] = {
    "sendbench": ours,
    "mean > 5 %": mean_5,
    "p99 > 10 %": p99_10,
    "Mann-Whitney .05": mann_whitney,
}
