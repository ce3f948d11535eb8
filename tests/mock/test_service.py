"""The planted service times are the ones that were asked for."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from bench.errors import UsageError
from bench.mock.service import Decider, RateLimit
from bench.model import ServiceTime

N = 20_000


def draw(
    kind: str, *, p50_ns: int = 5_000_000, sigma: float = 0.0, high_ns: int = 0, seed: int = 1
) -> list[int]:
    decider = Decider(ServiceTime(kind, p50_ns, sigma, high_ns), seed)
    return sorted(decider.next_ns() for _ in range(N))


def quantile(values: list[int], q: float) -> int:
    return values[math.ceil(q * len(values)) - 1]


def covers(values: list[int], q: float, truth: float) -> bool:
    """Whether the order statistics 4 standard errors about the quantile enclose the truth."""
    width = 4 * math.sqrt(q * (1 - q) / len(values))
    return quantile(values, q - width) <= truth <= quantile(values, q + width)


def test_constant() -> None:
    assert set(draw("constant")) == {5_000_000}
    assert Decider(ServiceTime(), 0).next_ns() == 0


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_lognormal(q: float) -> None:
    truth = 5e6 * math.exp(0.25 * NormalDist().inv_cdf(q))
    assert covers(draw("lognormal", sigma=0.25), q, truth)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_exponential(q: float) -> None:
    assert covers(draw("exponential"), q, -5e6 * math.log(1 - q))


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_uniform(q: float) -> None:
    values = draw("uniform", high_ns=9_000_000)
    assert covers(values, q, 5e6 + q * 4e6)
    assert values[0] >= 5_000_000
    assert values[-1] <= 9_000_000


def test_observed_values_are_drawn_alike() -> None:
    decider = Decider(ServiceTime("observed", 2, values_ns=(1, 2, 2, 7)), 1)
    drawn = [decider.next_ns() for _ in range(4000)]
    assert [round(drawn.count(value) / 1000) for value in (1, 2, 7)] == [1, 2, 1]


def test_the_seed_decides() -> None:
    assert draw("lognormal", sigma=0.25) == draw("lognormal", sigma=0.25)
    assert draw("lognormal", sigma=0.25) != draw("lognormal", sigma=0.25, seed=2)


def test_an_unknown_distribution_is_an_error() -> None:
    with pytest.raises(UsageError, match="unknown distribution 'weibull'"):
        Decider(ServiceTime("weibull"), 0)


def test_a_rate_limit_is_counted_in_windows() -> None:
    limit = RateLimit(2)
    asked = [limit.take(at) for at in (0, 1, 2, 999_999_999, 1_000_000_000)]
    assert [each.granted for each in asked] == [True, True, False, False, True]
    assert [each.remaining for each in asked] == [1, 0, 0, 0, 1]
    assert {each.limit for each in asked} == {2}
    assert [each.reset_s for each in asked] == [1, 1, 1, 1, 1]


def test_below_one_a_second_the_window_is_longer() -> None:
    limit = RateLimit(0.1)
    assert limit.take(0).granted
    assert not limit.take(9_999_999_999).granted
    assert limit.take(10_000_000_000) == (1, 0, 10, True)
