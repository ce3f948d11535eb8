"""Percentiles and intervals: known answers, a slow exact version, and coverage by simulation."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.quantiles import (
    interval_ranks,
    percentile,
    point,
    quantile_rank,
    smallest_count,
    supported,
)

QS = (0.5, 0.9, 0.95, 0.99, 0.999)


def exact_ranks(n: int, q: str) -> tuple[int, int] | None:
    """The definition, spelled out in fractions: no float, no shortcut."""
    p, tail = Fraction(q), Fraction(25, 1000)
    pmf = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    lower = [rank for rank in range(1, n + 1) if sum(pmf[:rank]) <= tail]
    upper = [rank for rank in range(1, n + 1) if sum(pmf[rank:]) <= tail]
    return (max(lower), min(upper)) if lower and upper else None


def exact_coverage(n: int, q: float, ranks: tuple[int, int]) -> float:
    p = Fraction(str(q))
    return float(sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(ranks[0], ranks[1])))


@pytest.mark.parametrize(
    ("n", "ranks"),
    [(6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (30, (10, 21)), (50, (18, 33)), (100, (40, 61))],
)
def test_the_median_s_interval_is_that_of_the_printed_sign_test_tables(
    n: int, ranks: tuple[int, int]
) -> None:
    assert interval_ranks(n, 0.5) == ranks


@pytest.mark.parametrize("q", ["0.5", "0.9", "0.95", "0.99"])
@pytest.mark.parametrize("n", [1, 5, 6, 7, 35, 36, 71, 72, 73, 100])
def test_ranks_equal_the_definition_in_fractions(n: int, q: str) -> None:
    assert interval_ranks(n, float(q)) == exact_ranks(n, q)


@given(n=st.integers(1, 60), percent=st.integers(1, 99))
@settings(max_examples=60, deadline=None)
def test_ranks_equal_the_definition_for_any_quantile(n: int, percent: int) -> None:
    assert interval_ranks(n, percent / 100) == exact_ranks(n, f"0.{percent:02d}")


@pytest.mark.parametrize(
    ("q", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.1, 36), (0.05, 72)]
)
def test_the_fewest_values_that_support_a_percentile(q: float, least: int) -> None:
    assert smallest_count(q) == least
    assert not supported(least - 1, q)
    assert supported(least, q)


@pytest.mark.parametrize("q", QS)
def test_large_samples_agree_with_the_normal_approximation(q: float) -> None:
    n = 10_000_000
    half = 1.959964 * math.sqrt(n * q * (1 - q))
    ranks = interval_ranks(n, q)
    assert ranks is not None
    assert ranks[0] == pytest.approx(n * q - half, abs=3)
    assert ranks[1] == pytest.approx(n * q + half, abs=4)


def test_ranks_are_symmetric_for_opposite_quantiles() -> None:
    for n in (100, 1000, 54321):
        high, low = interval_ranks(n, 0.95), interval_ranks(n, 0.05)
        assert high is not None
        assert low == (n + 1 - high[1], n + 1 - high[0])


@pytest.mark.parametrize("q", QS)
@given(n=st.integers(1, 3000))
@settings(max_examples=40, deadline=None)
def test_the_rank_is_numpy_s_inverted_cdf(q: float, n: int) -> None:
    values = np.arange(n, dtype=np.float64)
    assert point(values, q) == np.quantile(values, q, method="inverted_cdf")


def test_a_quantile_is_read_as_the_decimal_it_is_written_as() -> None:
    # in floats 0.07 * 100 is 7.000000000000001 and 0.95 * 20 may be just below 19
    assert quantile_rank(100, 0.07) == 7
    assert [quantile_rank(20, 0.95), quantile_rank(1000, 0.999), quantile_rank(1, 0.5)] == [19, 999, 1]


@pytest.mark.parametrize(("n", "q"), [(0, 0.5), (-1, 0.5), (10, 0.0), (10, 1.0), (10, 1.5)])
def test_what_has_no_quantile_is_refused(n: int, q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile_rank(n, q)
    with pytest.raises(ValueError, match="quantile"):
        interval_ranks(n, q)


@pytest.mark.parametrize("q", [0.0, 1.0])
def test_the_ends_have_no_smallest_count(q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        smallest_count(q)


@pytest.mark.parametrize(("n", "q"), [(6, 0.5), (50, 0.5), (72, 0.95), (100, 0.9), (400, 0.95), (400, 0.99)])
def test_coverage_by_simulation_is_the_exact_binomial_one_and_at_least_95_percent(n: int, q: float) -> None:
    rng = np.random.default_rng(20260101)
    ranks = interval_ranks(n, q)
    assert ranks is not None
    samples = np.sort(rng.lognormal(0.0, 0.25, (6000, n)), axis=1)
    truth = math.exp(0.25 * _normal_quantile(q))
    covered = np.mean((samples[:, ranks[0] - 1] <= truth) & (truth < samples[:, ranks[1] - 1]))
    exact = exact_coverage(n, q, ranks)
    assert exact >= 0.95
    assert covered == pytest.approx(exact, abs=0.015)


def _normal_quantile(q: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(q)


def test_a_percentile_carries_value_and_interval_in_milliseconds() -> None:
    ordered = np.arange(1, 101, dtype=np.float64) * 1e6
    found = percentile(ordered, 0.5)
    assert found is not None
    assert (found.value_ms, found.ci95_ms) == (50.0, (40.0, 61.0))
    assert percentile(ordered, 0.99) is None
    assert percentile(ordered[:0], 0.5) is None


def test_ranks_of_usual_sample_sizes_cost_less_than_a_millisecond() -> None:
    def cost(n: int) -> float:
        interval_ranks.cache_clear()
        begun = time.process_time()
        for q in QS:
            interval_ranks(n, q)
        return (time.process_time() - begun) / len(QS)

    assert min(cost(n) for n in (400, 401, 402)) < 1e-3
    assert min(cost(n) for n in (100_000, 100_001, 100_002)) < 1e-3
