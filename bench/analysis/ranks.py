"""Two small samples of which nothing is known but their order: is the second higher, and by how much?

The rank-sum test (Wilcoxon, Biometrics Bulletin 1 (1945) 80-83; Mann and Whitney, Ann. Math. Stat. 18 (1947)
50-60) with every way of dealing out the labels counted: exact whatever the distribution, with ties too. The
interval of the shift is the test inverted (Hodges and Lehmann, Ann. Math. Stat. 34 (1963) 598-611; Hollander,
Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., section 4.3).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.analysis.quantiles import Floats

Ints = NDArray[np.int64]


def p_higher(a: Floats, b: Floats) -> float:
    """How probable it is that B ranks as high as it does or higher, were the labels dealt out by chance.

    Infinite values rank as equals above all others.
    """
    both = np.concatenate([a, b])
    ordered = np.sort(both)
    ranks = np.searchsorted(ordered, both, "left") + np.searchsorted(ordered, both, "right") + 1
    chances = _sums(ranks, len(b))  # of twice the mid-ranks, which are whole numbers
    return min(1.0, float(chances[int(ranks[len(a) :].sum()) :].sum()))


def shift(a: Floats, b: Floats, level: float) -> tuple[float, float | None, float | None]:
    """By how much B lies above A: the estimate and the ends of its interval, in the unit of the values.

    An end is None where so few values have none; any of the three may be infinite where values are.
    """
    with np.errstate(invalid="ignore"):
        apart = np.subtract.outer(b, a).ravel()
    pairs = np.sort(np.where(np.isnan(apart), 0.0, apart))  # not a number: both infinite
    beyond = int(np.count_nonzero(np.cumsum(_untied(len(a), len(b))) <= (1 - level) / 2))
    middle = (float(pairs[(len(pairs) - 1) // 2]), float(pairs[len(pairs) // 2]))
    estimate = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    if not beyond:
        return estimate, None, None
    return estimate, float(pairs[beyond - 1]), float(pairs[-beyond])


def least_p(a: int, b: int) -> float:
    """The smallest that `p_higher` can be for samples of these sizes."""
    return 1 / math.comb(a + b, b)


@lru_cache(maxsize=64)
def _untied(a: int, b: int) -> Floats:
    """U -> the probability of so many pairs in which B is the higher, where no two values are alike."""
    return _sums(np.arange(1, a + b + 1), b)[b * (b + 1) // 2 :]


def _sums(ranks: Ints, taken: int) -> Floats:
    """Sum -> the probability that so many of the ranks, chosen by chance, have it."""
    ways = np.zeros((taken + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    return np.asarray(ways[taken] / math.comb(len(ranks), taken), dtype=np.float64)
