"""Intervals of shares, means and rates: known answers, the slow way, and coverage by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from bench.analysis.intervals import MEAN_LEAST, RATE_LEAST, mean_half_width, rate_interval, share_interval
from bench.analysis.quantiles import Floats


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # as R's binom.test and published tables have them
        (0, 10, 0.0, 0.3084971),
        (10, 10, 0.6915029, 1.0),
        (1, 10, 0.0025286, 0.4450161),
        (5, 10, 0.1870860, 0.8129140),
    ],
)
def test_known_shares(k: int, n: int, low: float, high: float) -> None:
    assert share_interval(k, n) == pytest.approx((low, high), abs=2e-6)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (59, 60), (20, 200), (999_990, 1_000_000)])
def test_each_end_leaves_what_was_seen_its_tail(k: int, n: int) -> None:
    low, high = share_interval(k, n)
    assert low <= k / n <= high
    if k:
        assert tail(range(k, min(n, k + 4000) + 1), n, low) == pytest.approx(0.025, rel=1e-6)
    if k < n:
        assert tail(range(max(0, k - 4000), k + 1), n, high) == pytest.approx(0.025, rel=1e-6)


def tail(counts: range, n: int, p: float) -> float:
    """By logarithms of factorials, term by term."""
    terms = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in counts
    )  # fmt: skip
    return math.fsum(map(math.exp, terms))


def test_what_makes_no_share() -> None:
    for k, n in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="no share"):
            share_interval(k, n)


@pytest.mark.parametrize("p", [0.5, 0.95, 0.999])
def test_shares_are_covered(p: float) -> None:
    rng = np.random.default_rng(7)
    found, times = np.unique(rng.binomial(500, p, 10_000), return_counts=True)
    ends = [share_interval(int(k), 500) for k in found]
    assert np.average([low <= p <= high for low, high in ends], weights=times) >= 0.95


def lognormal(rng: np.random.Generator, n: int) -> Floats:
    """Bodies and spikes as of a busy service, mean known."""
    body = rng.lognormal(0.0, 0.25, n) / math.exp(0.25**2 / 2)
    return body * np.where(rng.random(n) < 0.01, 5.0, 1.0) / 1.04


def hanging_together(rng: np.random.Generator, n: int) -> Floats:
    """An autoregressive level: neighbours are alike over some ten messages."""
    level, noise = np.zeros(n), rng.normal(0, 0.1, n)
    for i in range(1, n):
        level[i] = 0.9 * level[i - 1] + noise[i]
    return np.asarray(1.0 + level + rng.normal(0, 0.1, n))


@pytest.mark.parametrize(
    ("series", "n"), [(lognormal, MEAN_LEAST), (lognormal, 2000), (hanging_together, 2000)]
)
def test_means_are_covered(series: Callable[[np.random.Generator, int], Floats], n: int) -> None:
    rng = np.random.default_rng(11)
    samples = [series(rng, n) for _ in range(1000)]
    off = [(values.mean() - 1.0) / mean_half_width(values) for values in samples]
    assert np.mean(np.array(off) < -1) <= 0.065  # as the docstring says
    assert np.mean(np.array(off) > 1) <= 0.035


@pytest.mark.parametrize("n", [RATE_LEAST, 500])
def test_rates_are_covered(n: int) -> None:
    """Messages that end as of a Poisson process at 100 a second."""
    rng = np.random.default_rng(13)
    hits = 0
    for _ in range(1000):
        ends = np.cumsum(rng.exponential(1e7, n))
        seen = n / (ends[-1] / 1e9)
        low, high = rate_interval(0, ends)
        hits += seen * low <= 100 <= seen * high
    assert 0.93 <= hits / 1000 <= 0.97


def test_rates_with_a_stall_have_a_wide_interval_and_maybe_no_end() -> None:
    steady = np.cumsum(np.full(400, 1e6))
    stalled = steady + np.where(np.arange(400) >= 200, 3e9, 0.0)
    low, high = rate_interval(0, stalled)
    assert low < 0.5
    assert math.isinf(high)
    assert rate_interval(0, steady) == pytest.approx((1.0, 1.0), rel=1e-4)
