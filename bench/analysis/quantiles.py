"""Percentiles and their intervals from order statistics: no distribution is assumed.

A percentile is the ceil(q n)-th smallest value (numpy's `inverted_cdf`, definition 1 of
Hyndman and Fan, The American Statistician 50 (1996) 361-365). Its interval runs from the
l-th to the u-th smallest value: the number K of values that lie below the true quantile
is Bin(n, q), so X(l) is above it with P(K < l) and X(u) is below it with P(K >= u).
Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2; David and Nagaraja, Order
Statistics, 3rd ed., section 7.1; Hahn and Meeker, Statistical Intervals, section 5.2.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.model import Percentile

Floats = NDArray[np.float64]

TAIL = 0.025
"""What may lie outside on each side of an equal-tailed 95 % interval."""
NS_PER_MS = 1e6


def quantile_rank(n: int, q: float) -> int:
    """The rank, from 1, of the q-quantile of n values; q is read as the decimal it is written as."""
    if n < 1 or not 0 < q < 1:
        raise ValueError(f"no q = {q} quantile of {n} values")
    return math.ceil(Fraction(str(q)) * n)


@lru_cache(maxsize=4096)
def interval_ranks(n: int, q: float, tail: float = TAIL) -> tuple[int, int] | None:
    """Ranks l < u, from 1, of the equal-tailed interval; None where either side has no end.

    l is the largest rank with P(K < l) <= tail and u the smallest with P(K >= u) <= tail.
    """
    if n < 1 or not 0 < q < 1:
        raise ValueError(f"no q = {q} quantile of {n} values")
    first, weights = binomial_weights(n, q)
    below = int(np.count_nonzero(np.cumsum(weights) <= tail))
    above = int(np.count_nonzero(np.cumsum(weights[::-1]) <= tail))
    lower, upper = first + below, first + len(weights) - above
    return (lower, upper) if lower >= 1 and upper <= n else None


def binomial_weights(n: int, q: float) -> tuple[int, Floats]:
    """(k0, P(K = k0), P(K = k0 + 1), ...) for all k that matter of K ~ Bin(n, q).

    Ratios of neighbours are multiplied up from the mode, where every product only shrinks,
    and then scaled to the sum 1: no factorial, no logarithm, no cancellation. What lies
    beyond 12 standard deviations and 60 more is below 1e-20.
    """
    mode = min(n, math.floor((n + 1) * q))
    reach = int(12 * math.sqrt(n * q * (1 - q))) + 60
    first, last = max(0, mode - reach), min(n, mode + reach)
    odds = q / (1 - q)
    up = np.arange(mode, last, dtype=np.float64)
    down = np.arange(mode, first, -1, dtype=np.float64)
    rising = np.cumprod((n - up) / (up + 1) * odds)
    falling = np.cumprod(down / (n - down + 1) / odds)
    weights = np.concatenate([falling[::-1], np.ones(1), rising])
    return first, weights / weights.sum()


def supported(n: int, q: float) -> bool:
    """Whether n values carry a finite equal-tailed 95 % interval of the q-quantile."""
    return n > 0 and interval_ranks(n, q) is not None


@lru_cache(maxsize=64)
def smallest_count(q: float) -> int:
    """The fewest values that support the q-quantile: 6 for .5, 36 .9, 72 .95, 368 .99, 3688 .999."""
    if not 0 < q < 1:
        raise ValueError(f"no quantile: {q}")
    guess = max(1, math.floor(math.log(TAIL) / math.log(max(q, 1 - q))) - 1)
    return next(n for n in range(guess, guess + 5) if supported(n, q))


def point(ordered: Floats, q: float) -> float:
    """The q-quantile of values in ascending order, in their unit."""
    return float(ordered[quantile_rank(len(ordered), q) - 1])


def percentile(ordered_ns: Floats, q: float) -> Percentile | None:
    """The q-quantile of ascending nanoseconds and its interval; None where n is too small for it."""
    count = len(ordered_ns)
    ranks = interval_ranks(count, q) if count else None
    if ranks is None:
        return None
    lower, upper = (float(ordered_ns[rank - 1]) / NS_PER_MS for rank in ranks)
    return Percentile(value_ms=point(ordered_ns, q) / NS_PER_MS, ci95_ms=(lower, upper))
