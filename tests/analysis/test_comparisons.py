"""Interleaved cases set against each other: what is observed, which pairs there are, who is told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from bench.analysis.comparisons import compare_cases, compare_times, observed
from bench.model import DEFAULT_LIMITS, CaseRun, Gate, Verdict

GATE = Gate(DEFAULT_LIMITS)


def run(case: str, *, opened: bool = True) -> CaseRun:
    return CaseRun(case, {}, 0, 0, 0, 0, 0, opened, True, None, None, comparison="provider")


def rows(case: str, times: Sequence[float], **more: object) -> pd.DataFrame:
    seq = np.arange(len(times))
    begun = seq * 1e6
    frame = pd.DataFrame(
        {
            "case": case,
            "seq": seq,
            "attempt": 1,
            "warmup": False,
            "cold": False,
            "outcome": ["accepted" if math.isfinite(each) else "failed" for each in times],
            "due_ns": begun,
            "ready_ns": begun + 1000,
            "start_ns": begun + 2000,
            "end_ns": begun + 2000 + np.where(np.isfinite(times), times, 0.0),
        }
    )
    return frame.assign(**more)  # type: ignore[arg-type]


def spread(factor: float, seed: int, count: int = 1500) -> list[float]:
    return list(np.random.default_rng(seed).lognormal(0, 0.25, count) * factor * 2e7)


def test_service_and_latency_of_what_was_accepted() -> None:
    frame = rows("a", [5e6, math.inf, 7e6])
    assert list(observed(frame, "service")) == [5e6, math.inf, 7e6]
    assert list(observed(frame, "latency")) == [5e6 + 2000, math.inf, 7e6 + 2000]


def test_slots_have_an_order_whatever_that_of_the_rows() -> None:
    frame = rows("a", [1e6, 2e6, 3e6])
    assert list(observed(frame.iloc[::-1], "service")) == [1e6, 2e6, 3e6]


def test_warm_up_and_later_attempts_are_left_out_and_cold_messages_are_not() -> None:
    frame = rows(
        "a", [1e6, 2e6, 3e6, 4e6], warmup=[True, False, False, False], cold=[True, True, False, False]
    )
    frame.loc[3, "attempt"] = 2
    assert list(observed(frame, "service")) == [2e6, 3e6]


def test_a_call_is_one_observation_and_lost_with_one_of_its_messages() -> None:
    frame = rows("a", [4e6, 4e6, 5e6, math.inf], batch_index=[0, 1, 0, 1])
    assert list(observed(frame, "service")) == [4e6, math.inf]


def test_each_with_each_and_who_cannot_be_told_apart() -> None:
    frames = [rows("slow", spread(1.3, 1)), rows("one", spread(1.0, 2)), rows("other", spread(1.0, 12))]
    (found,) = compare_cases(pd.concat(frames), [run("slow"), run("one"), run("other")], None)
    assert found.measure == "latency"
    assert [(pair.a, pair.b) for pair in found.pairs] == [
        ("slow", "one"),
        ("slow", "other"),
        ("one", "other"),
    ]
    assert found.pairs[0].level == pytest.approx(1 - 0.05 / 3)
    assert not any(pair.shift for pair in found.pairs)
    assert {place.id: place.groups for place in found.places} == {"one": "a", "other": "a", "slow": "b"}
    assert found.places[2].id == "slow"
    assert found.verdict is None


def test_overlapping_groups_share_a_letter() -> None:
    frames = [rows("x", spread(1.0, 1)), rows("y", spread(1.02, 12)), rows("z", spread(1.05, 2))]
    (found,) = compare_cases(pd.concat(frames), [run("x"), run("y"), run("z")], None)
    letters = [place.groups for place in found.places]
    assert letters == ["a", "ab", "b"]


@pytest.mark.parametrize("seed", range(5))
def test_no_place_is_contradicted_by_a_ratio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drift = np.repeat(np.exp(0.5 * rng.standard_normal(20)), 25)
    times = {name: rng.lognormal(0, 0.2, 500) * drift * 2e7 for name in "abcd"}
    found = compare_times("four", "service", times, None)
    order = [place.id for place in found.places]
    ratios = {(pair.a, pair.b): pair.ratios for pair in found.pairs}
    assert len(ratios) == 6
    for (a, b), (median, *_) in ratios.items():
        assert median.ratio is not None
        assert (median.ratio >= 1.0) is (order.index(a) < order.index(b))
    for quantity in range(2):
        ab, bc, ac = (ratios[pair][quantity].ratio or 0.0 for pair in (("a", "b"), ("b", "c"), ("a", "c")))
        assert ac == pytest.approx(ab * bc)


def test_who_loses_more_than_half_stands_last() -> None:
    times = {name: np.array(spread(1.0, seed, 500)) for seed, name in enumerate("abc")}
    times["a"][:300] = math.inf
    found = compare_times("three", "service", times, None)
    assert found.places[-1].id == "a"
    assert [pair.ratios[0].ratio is None for pair in found.pairs] == [True, True, False]


def test_who_is_not_shown_to_differ_shares_a_letter_whoever_stands_between() -> None:
    times = {"x": np.array(spread(1.0, 1)), "y": np.array(spread(1.05, 2))}
    times["wide"] = np.random.default_rng(3).lognormal(0, 2.0, 1500) * 1.07 * 2e7
    found = compare_times("three", "service", times, None)
    assert [(place.id, place.groups) for place in found.places] == [("x", "a"), ("y", "b"), ("wide", "ab")]


def test_a_gate_judges_the_second() -> None:
    runs = [run("base", opened=False), run("head", opened=False)]
    frame = pd.concat([rows("base", spread(1.0, 1)), rows("head", spread(1.2, 2))])
    (found,) = compare_cases(frame, runs, GATE)
    assert found.measure == "service"
    assert found.verdict is Verdict.REGRESSION
    assert found.limits == GATE.limits
    assert all(point.low and point.low > 1.0 for point in found.pairs[0].shift)
    (back,) = compare_cases(frame, runs[::-1], GATE)
    assert back.verdict is not Verdict.REGRESSION


def test_with_an_invalid_case_nothing_is_judged() -> None:
    frame = pd.concat([rows("base", spread(1.0, 1)), rows("head", spread(1.2, 2))])
    for gate, verdict in ((GATE, Verdict.INVALID), (None, None)):
        (found,) = compare_cases(frame, [run("base"), run("head")], gate, invalid={"base"})
        assert found.verdict is verdict
        assert found.note == "not all of its cases are valid"
        assert not found.places
        assert not found.reasons


def test_unequal_numbers_are_not_paired() -> None:
    frame = pd.concat([rows("a", spread(1.0, 1)), rows("b", spread(1.0, 2, count=300))])
    (found,) = compare_cases(frame, [run("a"), run("b")], GATE)
    assert not found.pairs
    assert "1500" in found.note
    assert "300" in found.note
    assert found.verdict is Verdict.INCONCLUSIVE


def test_too_few_are_not_compared() -> None:
    frame = pd.concat([rows("a", spread(1.0, 1, count=40)), rows("b", spread(1.0, 2, count=40))])
    (found,) = compare_cases(frame, [run("a"), run("b")], GATE)
    assert not found.pairs
    assert "40 messages" in found.note


def test_a_case_that_is_left_alone_is_not_compared() -> None:
    (found,) = compare_cases(rows("a", spread(1.0, 1)), [run("a")], GATE)
    assert found.note == "only one of its cases has ended"
    assert found.verdict is Verdict.INCONCLUSIVE
