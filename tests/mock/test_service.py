"""The planted service times are the ones that were asked for."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from bench.errors import UsageError
from bench.mock.service import Decider
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


def test_the_seed_decides() -> None:
    assert draw("lognormal", sigma=0.25) == draw("lognormal", sigma=0.25)
    assert draw("lognormal", sigma=0.25) != draw("lognormal", sigma=0.25, seed=2)


def test_an_unknown_distribution_is_an_error() -> None:
    with pytest.raises(UsageError, match="unknown distribution 'weibull'"):
        Decider(ServiceTime("weibull"), 0)
