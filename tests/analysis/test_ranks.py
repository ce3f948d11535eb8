"""The exact rank test: against all deals counted one by one, against tables, and its interval."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from bench.analysis.quantiles import Floats
from bench.analysis.ranks import least_p, p_higher, shift


def counted(a: list[float], b: list[float]) -> float:
    """The share of all deals in which B's mid-ranks sum to at least what they do."""
    both = [*a, *b]
    ranks = [sum(x < y for x in both) + (sum(x == y for x in both) + 1) / 2 for y in both]
    seen = sum(ranks[len(a) :])
    deals = list(combinations(ranks, len(b)))
    return sum(sum(deal) >= seen for deal in deals) / len(deals)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0, 2.0, 3.0, 4.0], [2.5, 5.0, 6.0]),
        ([1.0, 2.0, 2.0, 4.0], [2.0, 2.0, 6.0]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.1]),
        ([1.0, 2.0, math.inf], [math.inf, math.inf]),
        ([5.0, 6.0], [1.0, 2.0, 3.0]),
    ],
    ids=["plain", "ties", "mostly-zero", "infinite", "lower"],
)
def test_p_is_the_share_of_all_deals(a: list[float], b: list[float]) -> None:
    assert p_higher(np.array(a), np.array(b)) == pytest.approx(counted(a, b), abs=1e-12)


def test_the_interval_is_that_of_the_published_table() -> None:
    """For 10 and 10 values P(U <= 23) is at most .025 and P(U <= 24) is not: Mann and Whitney's table."""
    a, b = np.arange(10.0), np.arange(10.0) * 1.37 + 100
    pairs = np.sort(np.subtract.outer(b, a).ravel())
    _, low, high = shift(a, b, 0.95)
    assert (low, high) == (pairs[23], pairs[-24])


def test_the_interval_holds_the_shift_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)

    def held() -> bool:
        a, b = skewed(10), skewed(5) + 0.3
        _, low, high = shift(a, b, 0.95)
        assert low is not None
        assert high is not None
        return low <= 0.3 <= high

    def skewed(count: int) -> Floats:
        return rng.exponential(1.0, count)

    assert sum(held() for _ in range(1000)) >= 935


def test_too_few_values_have_no_interval() -> None:
    assert shift(np.arange(5.0), np.array([7.0]), 0.95) == (5.0, None, None)


def test_a_lost_percentile_is_beyond_every_other() -> None:
    old, new = np.log(np.arange(1.0, 11.0)), np.full(4, math.inf)
    assert p_higher(old, new) == pytest.approx(least_p(10, 4)) == pytest.approx(1 / 1001)
    assert shift(old, new, 0.95) == (math.inf, math.inf, math.inf)
    assert shift(np.array([1.0, math.inf]), np.array([math.inf]), 0.95)[0] == math.inf
