"""95 % intervals of what is no percentile: a share, a mean, a rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.analysis.quantiles import TAIL, Floats, binomial_weights

BATCHES = 20
MEAN_LEAST = 500
"""The fewest times whose mean is judged: a few slow ones decide it, and less hold too few of those."""
RATE_LEAST = 100
"""The fewest messages whose rate is judged."""
_STUDENT = 2.0930
"""The 97.5 % point of Student's t with BATCHES - 1 = 19 degrees of freedom."""
_HALVINGS = 50


def share_interval(k: int, n: int) -> tuple[float, float]:
    """The interval of a probability of which k of n were seen: Clopper and Pearson, Biometrika 26 (1934)
    404-413. Exact for messages that end independently; losses in bursts say less than their number.
    """
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"no share: {k} of {n}")
    low = 0.0 if k == 0 else _where(lambda p: _at_least(k, n, p) > TAIL)
    high = 1.0 if k == n else _where(lambda p: 1.0 - _at_least(k + 1, n, p) <= TAIL)
    return low, high


def _where(reached: Callable[[float], bool]) -> float:
    """The least probability, to 1e-15, for which something holds that holds for all above it."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return (low + high) / 2


def _at_least(k: int, n: int, p: float) -> float:
    """P(K >= k) for K ~ Bin(n, p)."""
    first, weights = binomial_weights(n, p)
    return float(weights[max(0, k - first) :].sum())


def mean_half_width(values: Floats) -> float:
    """Half the interval of the mean of values in their order, in their unit, by batch means.

    The values are cut into 20 batches of neighbours, whose means are taken as independent and near normal:
    that allows for what hangs together over less than a batch (Conway, Management Science 9 (1963) 47-61;
    Schmeiser, Operations Research 30 (1982) 556-568, for 10 to 30 batches). Where one time in a hundred is
    five times as long as the others, the mean of 500 is above its interval 5 times in 100, not 2.5.
    """
    means = np.array([batch.mean() for batch in np.array_split(values, BATCHES)])
    return _STUDENT * float(means.std(ddof=1)) / math.sqrt(BATCHES)


def rate_interval(began_ns: int, ends_ns: Floats) -> tuple[float, float]:
    """How far the rate of messages that ended at these ascending moments may be from the one seen, as two
    factors of it: the gaps between them have a mean, and the rate is one over that."""
    gaps = np.diff(ends_ns, prepend=float(began_ns))
    off = mean_half_width(gaps) / float(gaps.mean()) if ends_ns[-1] > began_ns else math.inf
    return 1 / (1 + off), 1 / (1 - off) if off < 1 else math.inf
