"""The paired test: known answers, slow obvious versions, symmetry, and error rates by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.analysis.paired import (
    ALPHA,
    CURVE,
    QUANTILES,
    STRATUM,
    UNITS,
    Levelled,
    Strata,
    _student,
    compare_strata,
    detectable,
    holm,
    interval,
    lost_more,
    p_value,
    shift,
    slower_pairs,
    stratify,
    stratify_each,
)
from bench.analysis.quantiles import Floats, quantile_rank
from bench.model import DEFAULT_LIMITS
from tests.gate.noise import ALL_5, NOISES, SAME, base, two_sides


def strata_of(a: Floats, b: Floats) -> Strata:
    found = stratify(a, b)
    assert found is not None
    return found


def sides(count: int, seed: int = 1, change: float = 1.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 0.3, count), rng.lognormal(0, 0.3, count) * change


@pytest.mark.parametrize("count", [0, 249])
def test_too_few_messages_are_not_compared(count: int) -> None:
    assert stratify(*sides(count)) is None


def test_what_does_not_fill_a_stratum_is_left_out() -> None:
    strata = strata_of(*sides(10 * STRATUM + 7))
    assert strata.count == 10 * STRATUM
    assert strata.flipped == 10


def test_many_strata_are_flipped_in_groups_of_neighbours() -> None:
    strata = strata_of(*sides(STRATUM * (3 * UNITS + 5)))
    assert strata.flipped == UNITS
    sizes = np.bincount(strata.units)
    assert set(sizes) == {3, 4}
    assert (np.diff(strata.units) >= 0).all()


def test_slower_pairs_are_those_counted_one_by_one() -> None:
    strata = strata_of(*sides(10 * STRATUM, change=1.2))
    for unit, found in enumerate(slower_pairs(strata)):
        pairs = list(itertools.product(strata.a[unit], strata.b[unit]))
        slower, faster = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
        assert found == pytest.approx((slower - faster) / len(pairs))


def test_lost_messages_tie_with_each_other_and_are_slower_than_all_others() -> None:
    a, b = (np.ones(10 * STRATUM) for _ in range(2))
    a[:5], b[:5] = math.inf, math.inf
    assert not slower_pairs(strata_of(a, b)).any()
    b[:10] = math.inf
    strata = strata_of(a, b)
    assert list(lost_more(strata)[:2]) == [5, 0]
    assert slower_pairs(strata)[0] > 0


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.07])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_exceeding_counts_what_is_above_the_pooled_quantile(q: float, ratio: float) -> None:
    strata = strata_of(*sides(40 * STRATUM, change=1.1))
    levelled = Levelled(strata)
    level = np.sqrt(np.median(strata.a, axis=1) * np.median(strata.b, axis=1))[:, None]
    a, b = strata.a / level, strata.b / level / ratio
    pooled = np.sort(np.concatenate([a.ravel(), b.ravel()]))
    limit = pooled[quantile_rank(len(pooled), q) - 1]
    expected = (b > limit).sum(axis=1) - (a > limit).sum(axis=1)
    assert list(levelled.exceeding(q, ratio)) == list(expected)


def test_a_p_value_is_that_of_all_exchanges() -> None:
    differences = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0, 5.0, 3.0])
    sums = [np.dot(signs, differences) for signs in itertools.product((-1, 1), repeat=len(differences))]
    exact = np.mean(np.array(sums) >= differences.sum())
    assert p_value(differences) == pytest.approx(exact, abs=0.015)
    assert p_value(np.zeros(10)) == 1.0
    assert p_value(np.ones(40)) == pytest.approx(1 / 10_001)


def test_holm_as_in_the_textbook() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({}) == {}


def test_all_pairs_of_a_comparison_have_the_same_strata_and_levels() -> None:
    (a, b), (c, _) = sides(20 * STRATUM + 3), sides(19 * STRATUM, seed=2)
    strata = stratify_each({"a": a, "b": b, "c": c})
    assert list(strata) == [("a", "b"), ("a", "c"), ("b", "c")]
    medians = [np.median(values[: 19 * STRATUM].reshape(19, STRATUM), axis=1) for values in (a, b, c)]
    for each in strata.values():
        assert each.count == 19 * STRATUM
        assert each.levels == pytest.approx(np.cbrt(np.prod(medians, axis=0)))


def test_intervals_hold_beside_a_variant_that_is_slow_by_turns() -> None:
    rng, held, rounds = np.random.default_rng(4), 0, 200
    for _ in range(rounds):
        a, b = two_sides(NOISES["noisy"], 1000, ALL_5, rng)
        slow = np.repeat(np.where(rng.random(10) < 0.2, 10.0, 1.0), 100)
        strata = stratify_each({"a": a, "b": b, "c": rng.permutation(a) * slow})[("a", "b")]
        levelled = Levelled(strata)
        low, high = interval(levelled, 0.5, levelled.ratio(0.5) or 0.0)
        held += (low or 0.0) <= 1.05 <= (high or math.inf)
    assert held >= 0.91 * rounds


def test_names_exchanged_turn_everything_round() -> None:
    a, b = sides(60 * STRATUM, change=1.1)
    there, back = Levelled(strata_of(a, b)), Levelled(strata_of(b, a))
    for q in QUANTILES.values():
        ratio, inverse = there.ratio(q), back.ratio(q)
        assert ratio is not None
        assert inverse is not None
        assert ratio == pytest.approx(1 / inverse)
        (low, high), (low_back, high_back) = interval(there, q, ratio), interval(back, q, inverse)
        assert low is not None
        assert high is not None
        assert low < ratio < high
        assert (low, high) == pytest.approx((1 / (high_back or 0), 1 / (low_back or 0)), rel=0.01)


def test_a_factor_moves_the_interval_and_nothing_else() -> None:
    a, b = sides(60 * STRATUM)
    once, twice = Levelled(strata_of(a, b)), Levelled(strata_of(a, b * 2))
    for q in QUANTILES.values():
        ratio, double = once.ratio(q), twice.ratio(q)
        assert ratio is not None
        assert double == pytest.approx(2 * ratio)
        ends, moved = interval(once, q, ratio), interval(twice, q, 2 * ratio)
        assert moved == pytest.approx([2 * (end or 0) for end in ends], rel=1e-3)


def test_drift_is_nobodys() -> None:
    a, b = sides(60 * STRATUM, change=1.1)
    drift = np.repeat(np.exp(np.random.default_rng(5).normal(0, 1, 60)), STRATUM)
    still, drifting = (compare_strata(strata_of(*pair), None)[0] for pair in ((a, b), (a * drift, b * drift)))
    assert [each.ratio for each in still] == pytest.approx([each.ratio for each in drifting])
    assert [each.low for each in still] == pytest.approx([each.low for each in drifting])


def test_a_side_that_loses_everything_is_slower_without_end() -> None:
    a, _ = sides(60 * STRATUM)
    ratios, lost = compare_strata(strata_of(a, np.full(len(a), math.inf)), DEFAULT_LIMITS.effect)
    assert lost is not None
    assert (lost.a, lost.b) == (0.0, 1.0)
    assert lost.p is not None
    assert lost.p <= ALPHA
    assert all(each.ratio is None for each in ratios)
    median = ratios[0].p
    assert median is not None
    assert median <= ALPHA


def test_p99_is_not_judged_below_a_thousand_messages() -> None:
    ratios, lost = compare_strata(strata_of(*sides(20 * STRATUM)), DEFAULT_LIMITS.effect)
    assert lost is None
    assert [each.p is None for each in ratios] == [False, False, True]
    assert "1000" in ratios[2].note
    ratios, _ = compare_strata(strata_of(*sides(40 * STRATUM)), DEFAULT_LIMITS.effect)
    assert ratios[2].p is not None


@pytest.mark.parametrize("noise", NOISES)
def test_alike_variants_are_told_apart_at_most_as_often_as_stated(noise: str) -> None:
    rng, found, rounds = np.random.default_rng(7), 0, 200
    for _ in range(rounds):
        ratios, _ = compare_strata(
            strata_of(*two_sides(NOISES[noise], 1000, SAME, rng)), DEFAULT_LIMITS.effect
        )
        found += any(each.p is not None and each.p <= ALPHA for each in ratios)
    assert found <= 7  # 2 expected at the most; more than 7 of 200 once in a thousand times


def test_a_slowdown_of_a_twentieth_is_found_and_its_size_known() -> None:
    rng, found, held = np.random.default_rng(8), 0, 0
    for _ in range(40):
        ratios, _ = compare_strata(
            strata_of(*two_sides(NOISES["quiet"], 1500, ALL_5, rng)), DEFAULT_LIMITS.effect
        )
        median = ratios[0]
        found += median.p is not None and median.p <= ALPHA
        held += (median.low or 0) <= 1.05 <= (median.high or math.inf)
    assert found >= 34
    assert held >= 34


def test_what_is_called_detectable_is_detected() -> None:
    noise, rng = NOISES["quiet"], np.random.default_rng(9)
    ratios, _ = compare_strata(strata_of(*two_sides(noise, 2000, SAME, rng)), DEFAULT_LIMITS.effect)
    least = ratios[0].detectable
    assert least is not None
    found = 0
    for _ in range(40):
        a, b = base(noise, 2000, rng), base(noise, 2000, rng) * (1 + least)
        again, _ = compare_strata(strata_of(a, b), DEFAULT_LIMITS.effect)
        p, ratio = again[0].p, again[0].ratio
        found += p is not None and p <= ALPHA / 3 and (ratio or 0) > 1.02
    assert found >= 34


def test_detectable_shrinks_with_the_interval_and_never_below_what_counts() -> None:
    wide, narrow = (detectable(width, 0.02, ALPHA) for width in (0.2, 0.02))
    assert wide > narrow > 0.02
    assert detectable(1e-9, 0.02, ALPHA) == pytest.approx(0.02)


def test_without_a_gate_what_is_detectable_is_found_by_an_interval() -> None:
    noise, rng = NOISES["quiet"], np.random.default_rng(10)
    least = compare_strata(strata_of(*two_sides(noise, 2000, SAME, rng)), None)[0][0].detectable
    assert least is not None
    found = 0
    for _ in range(40):
        a, b = base(noise, 2000, rng), base(noise, 2000, rng) * (1 + least)
        low = compare_strata(strata_of(a, b), None)[0][0].low
        found += low is not None and low > 1.0
    assert found >= 34


def test_the_curve_goes_through_what_is_judged_and_finds_where_the_variants_differ() -> None:
    a, b = sides(80 * STRATUM)
    b = np.where(b > np.quantile(b, 0.75), b * 1.5, b)
    ratios, _ = compare_strata(strata_of(a, b), DEFAULT_LIMITS.effect)
    curve = {each.q: each for each in shift(strata_of(a, b), ratios)}
    assert tuple(curve) == CURVE
    for each in ratios:
        point = curve[QUANTILES[each.quantity]]
        assert (point.ratio, point.low, point.high) == (each.ratio, each.low, each.high)
    for q, point in curve.items():
        truth = 1.5 if q > 0.75 else 1.0
        assert (point.low or 0) <= truth <= (point.high or math.inf)
        assert ((point.low or 0) > 1.0) is (q > 0.75)


def test_the_curve_ends_where_nothing_is_judged_and_where_messages_are_lost() -> None:
    strata = strata_of(*sides(20 * STRATUM))
    assert [each.q for each in shift(strata, compare_strata(strata, None)[0])] == list(CURVE[:-1])
    a, b = sides(60 * STRATUM)
    b[np.random.default_rng(2).random(len(b)) < 0.25] = math.inf
    strata = strata_of(a, b)
    assert [each.q for each in shift(strata, compare_strata(strata, None)[0])][-1] == 0.7


def test_no_stratum_has_messages_of_two_processes() -> None:
    a, b = sides(320)
    processes = np.repeat(np.arange(10), [40, 20, *[32] * 7, 36])
    strata = stratify(a, b, (processes, processes))
    assert strata is None, "nine have a stratum: 225 messages"
    a, b = sides(340)
    processes = np.repeat(np.arange(10), [52, 20, *[32] * 7, 44])
    strata = stratify(a, b, (processes, processes))
    assert strata is not None
    assert list(strata.units) == [0, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert list(strata.a[1]) == list(a[25:50])
    assert list(strata.b[2]) == list(b[72:97])
    assert strata.flipped == 10


def test_what_one_process_has_by_chance_is_not_taken_for_its_code() -> None:
    """Alike but for their processes, more of one side's being slower: as messages that is beyond doubt."""
    rng = np.random.default_rng(5)
    count, processes = 4000, 10
    parts = np.arange(count) * processes // count
    apart = np.array([1.1, 1.08, 0.95, 1.11, 0.98, 1.07, 0.94, 1.02, 1.09, 0.96])
    a, b = rng.lognormal(0, 0.1, count), rng.lognormal(0, 0.1, count) * apart[parts]
    told = {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    as_messages, as_processes = stratify(a, b), stratify(a, b, (parts, parts))
    assert as_messages is not None
    assert as_processes is not None
    as_one, as_ten = (compare_strata(strata, told)[0][0] for strata in (as_messages, as_processes))
    assert as_one.p is not None
    assert as_ten.p is not None
    assert as_one.p < 0.001 < 0.05 < as_ten.p
    assert as_ten.low is not None
    assert as_one.low is not None
    assert as_ten.low < 1.0 < as_one.low
    assert (as_ten.detectable or 0) > 2 * (as_one.detectable or 0)


@pytest.mark.parametrize(
    ("p", "freedom", "quantile"),
    [(0.975, 9, 2.262), (0.995, 9, 3.250), (0.999, 9, 4.297), (0.975, 199, 1.972)],
)
def test_quantiles_of_t_are_those_of_the_tables(p: float, freedom: int, quantile: float) -> None:
    assert _student(p, freedom) == pytest.approx(quantile, rel=0.015)


def test_a_variant_that_loses_everything_takes_no_level_from_the_others() -> None:
    rng = np.random.default_rng(3)
    drift = np.repeat(np.exp(rng.normal(0, 0.3, 40)), STRATUM)
    a, b = rng.lognormal(0, 0.1, 1000) * drift, rng.lognormal(0, 0.1, 1000) * drift
    pair = stratify(a, b)
    assert pair is not None
    three = stratify_each({"a": a, "b": b, "c": np.full(1000, math.inf)})
    assert np.array_equal(three["a", "b"].levels, pair.levels)
