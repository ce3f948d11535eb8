"""How many messages a gate needs: the arithmetic, and whether so many find what they are said to find."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from bench.analysis.paired import (
    ALPHA,
    LEAST,
    QUANTILES,
    STRATUM,
    Levelled,
    holm,
    p_value,
    slower_pairs,
    stratify,
)
from bench.analysis.planning import Needed, Spread, against_itself, plan, spread_of
from bench.model import DEFAULT_LIMITS
from tests.gate.noise import NOISES, SAME, Change, Noise, two_sides

SPREAD = Spread(1000, {"p50": 0.06, "p95": 0.10, "p99": 0.40}, 200, 0.2)


def needed(spread: Spread = SPREAD, effect: float = 0.05, power: float = 0.95) -> Mapping[str, Needed]:
    return {each.quantity: each for each in plan(spread, effect, power, DEFAULT_LIMITS.effect, ALPHA)}


def test_four_times_the_messages_find_half_the_slowdown() -> None:
    wide, wider = (Spread(1000, {**SPREAD.widths, "p50": width}, 200, 0.2) for width in (0.3, 0.6))
    few, many = (needed(wide, effect=math.expm1(log))["p50"].count for log in (0.2, 0.1))
    assert few is not None
    assert many == pytest.approx(4 * few, abs=4 * STRATUM)
    assert needed(wider, math.expm1(0.2))["p50"].count == pytest.approx(many, abs=STRATUM)


def test_more_power_takes_more_messages() -> None:
    counts = [needed(power=power)["p50"].count or 0 for power in (0.5, 0.8, 0.95, 0.99)]
    assert counts == sorted(set(counts))


def test_what_p50_takes_finds_its_effect_there_and_larger_ones_in_the_tails() -> None:
    found = needed()
    median, p95, p99 = (found[name].found or 0 for name in QUANTILES)
    assert 0.05 * 0.97 <= median <= 0.05 < p95 < p99
    assert (found["p95"].count or 0) > (found["p50"].count or 0)


def test_what_the_gate_takes_for_no_regression_is_never_found() -> None:
    p99 = needed()["p99"]
    assert p99.count is None
    assert "up to 8%" in p99.note
    assert needed(effect=0.02)["p50"].count is None


def test_a_percentile_is_planned_from_the_count_on_from_which_it_is_judged() -> None:
    narrow = Spread(1000, dict.fromkeys(QUANTILES, 1e-4), 200, 0.2)
    assert {name: each.count for name, each in needed(narrow, 0.5).items()} == LEAST
    assert needed(narrow, 0.5)["p99"].found is None  # p50 takes fewer than p99 is judged from


def test_what_takes_too_many_or_is_not_known_is_told_in_words() -> None:
    wide = Spread(1000, {"p50": 50.0, "p95": None, "p99": None}, 200, 0.2)
    found = needed(wide)
    assert found["p50"].note.startswith("more than 10,000,000")
    assert "too few accepted messages" in found["p95"].note


def test_one_variant_is_dealt_out_block_by_block() -> None:
    times = np.arange(501.0)
    a, b = against_itself(times)
    assert sorted([*a, *b]) == list(times[:500])
    assert set(np.abs(a - b)) == {1.0}
    assert 50 < (a > b).sum() < 200


def test_so_few_that_nothing_is_judged_say_nothing() -> None:
    assert spread_of(np.ones(249), np.ones(249)) is None
    rng = np.random.default_rng(1)
    spread = spread_of(*two_sides(NOISES["quiet"], 500, SAME, rng))
    assert spread is not None
    assert spread.widths["p99"] is None
    assert spread.widths["p50"]


def finds(noise: Noise, count: int, effect: float, name: str, rng: np.random.Generator) -> bool:
    """Whether a gate calls a variant that is slower by the effect a regression, by this percentile."""
    strata = stratify(*two_sides(noise, count, Change(1 + effect), rng))
    assert strata is not None
    levelled = Levelled(strata)
    p = {
        each: p_value(slower_pairs(strata) if each == "p50" else levelled.exceeding(q))
        for each, q in QUANTILES.items()
    }
    ratio = levelled.ratio(QUANTILES[name]) or 0
    return holm(p)[name] <= ALPHA and ratio > 1 + DEFAULT_LIMITS.effect[name]


@pytest.mark.parametrize(
    ("noise", "name", "effect"),
    [("quiet", "p50", 0.05), ("noisy", "p50", 0.05), ("wide", "p50", 0.08), ("quiet", "p95", 0.10)],
)
def test_the_number_of_messages_named_has_the_power_named(noise: str, name: str, effect: float) -> None:
    """Planned from long runs, as a short one knows the spread only roughly; every other is of one variant."""
    rng, found, rounds = np.random.default_rng(11), 0, 50
    for number in range(6):
        sides = two_sides(NOISES[noise], 10_000, SAME, rng)
        spread = spread_of(*(sides if number % 2 else against_itself(np.column_stack(sides).ravel())))
        assert spread is not None
        count = needed(spread, effect)[name].count
        assert count is not None
        found += sum(finds(NOISES[noise], count, effect, name, rng) for _ in range(rounds))
    assert found / (6 * rounds) == pytest.approx(0.95, abs=0.05)
