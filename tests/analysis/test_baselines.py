"""New runs against a baseline: planted truth, how often it cries wolf, and what it says of too few."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from bench.analysis.baselines import check, figures_of, runs_needed
from bench.model import (
    DEFAULT_LIMITS,
    Baseline,
    BaselineCheck,
    BaselineRun,
    CaseRun,
    Figures,
    Verdict,
)
from tests.gate.noise import MEDIAN_MS, NOISES, base

WORSE = Verdict.REGRESSION


def runs(
    count: int,
    rng: np.random.Generator,
    *,
    sd: float,
    factor: float = 1.0,
    outliers: float = 0.0,
) -> tuple[BaselineRun, ...]:
    """Runs of a noisy machine: `sd` from run to run, and a share `outliers` of them 1.3 times as slow."""

    def one(number: int) -> BaselineRun:
        level = math.exp(rng.normal(0, sd)) * (1.3 if rng.random() < outliers else 1.0) * factor
        times = base(NOISES["quiet"], 400, rng) * MEDIAN_MS * level
        p50, p95, p99 = (float(np.quantile(times, q, method="inverted_cdf")) for q in (0.5, 0.95, 0.99))
        return BaselineRun(str(number), "", "", ((p50, p95, p99, 0.0),))

    return tuple(one(number) for number in range(count))


def checked(old: Sequence[BaselineRun], new: Sequence[BaselineRun]) -> BaselineCheck:
    cases = {f"case {number}": "service" for number in range(len(old[0].figures))}
    return check(Baseline("s", "h", 1, {}, cases, tuple(old)), "m", new, DEFAULT_LIMITS)


def regressions(
    rounds: int, kept: int, new: int, *, sd: float, seed: int = 1, factor: float = 1.0, outliers: float = 0.0
) -> int:
    rng = np.random.default_rng(seed)

    def found() -> bool:
        old = runs(kept, rng, sd=sd, outliers=outliers)
        return checked(old, runs(new, rng, sd=sd, factor=factor, outliers=outliers)).verdict is WORSE

    return sum(found() for _ in range(rounds))


def by_hand(*figures: Figures) -> list[BaselineRun]:
    return [BaselineRun(str(number), "", "", (each,)) for number, each in enumerate(figures)]


STEADY = by_hand(*((20.0 + n / 100, 30.0 + n / 10, 40.0 + n / 5, 0.0) for n in range(10)))

# -------------------------------------------------------------------- what it says


@pytest.mark.parametrize(
    ("kept", "new", "sd", "outliers"),
    [(10, 4, 0.05, 0.0), (10, 10, 0.02, 0.0), (20, 3, 0.10, 0.0), (12, 5, 0.05, 0.05)],
    ids=["few", "many", "wild", "outliers"],
)
def test_alike_runs_are_called_slower_at_most_once_in_a_hundred(
    kept: int, new: int, sd: float, outliers: float
) -> None:
    """Of 1,000 each, so many as have a probability of 1 % were the rate 1 %: at most 18."""
    assert regressions(1000, kept, new, sd=sd, outliers=outliers) <= 18


@pytest.mark.parametrize(
    ("kept", "new", "factor", "sd", "share"),
    [
        (10, 10, 1.10, 0.02, 0.95),
        (10, 10, 1.10, 0.05, 0.70),
        (20, 20, 1.10, 0.05, 0.95),
        (10, 4, 1.20, 0.05, 0.85),
    ],
)
def test_planted_slowdowns_are_found(kept: int, new: int, factor: float, sd: float, share: float) -> None:
    """Near what a t-test of one percentile finds, with three of them judged and nothing assumed."""
    assert regressions(100, kept, new, factor=factor, sd=sd) >= 100 * share


def test_what_is_called_detectable_is_detected() -> None:
    rng = np.random.default_rng(2)
    (case,) = checked(runs(20, rng, sd=0.03), runs(10, rng, sd=0.03)).cases
    least = case.ratios[0].detectable
    assert least is not None
    assert regressions(100, 20, 10, seed=3, sd=0.03, factor=1 + least) >= 85


def test_alike_and_steady_passes_with_ratios_and_intervals() -> None:
    found = checked(STEADY, STEADY[:5])
    (case,) = found.cases
    assert (found.verdict, case.verdict, case.lost) == (Verdict.PASS, Verdict.PASS, None)
    assert (found.kept, len(found.new)) == (10, 5)
    for ratio in case.ratios:
        assert ratio.ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        assert ratio.low <= ratio.ratio <= ratio.high


def test_the_same_data_give_the_same_verdict_in_any_order() -> None:
    rng = np.random.default_rng(5)
    old, new = runs(10, rng, sd=0.05), runs(5, rng, sd=0.05)
    assert checked(old, new).cases == checked(old[::-1], new[::-1]).cases


@pytest.mark.parametrize(("kept", "needed"), [(10, 4), (20, 3), (40, 2)])
def test_runs_that_three_figures_take(kept: int, needed: int) -> None:
    assert runs_needed(kept, 0.01 / 3) == needed


def test_too_few_new_runs_are_inconclusive_however_slow() -> None:
    slow = by_hand((90.0, 99.0, 120.0, 0.0))
    found = checked(STEADY, slow)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "1 new run beside 10" in found.cases[0].reasons[0]
    assert "that takes 4" in found.cases[0].reasons[0]
    assert found.cases[0].ratios[0].detectable is None


def test_a_case_is_a_regression_beside_others_that_are_not() -> None:
    def two(runs: Sequence[BaselineRun], factor: float) -> list[BaselineRun]:
        doubled = []
        for run in runs:
            p50, p95, p99, lost = run.figures[0]
            assert p50 is not None
            doubled.append(BaselineRun(run.id, "", "", (run.figures[0], (p50 * factor, p95, p99, lost))))
        return doubled

    found = checked(two(STEADY, 1.0), two(STEADY[:6], 1.2))
    assert [case.verdict for case in found.cases] == [Verdict.PASS, Verdict.REGRESSION]
    assert found.verdict is Verdict.REGRESSION
    assert found.cases[1].reasons[0].startswith("p50 19.9 % slower")


# -------------------------------------------------------------- lost, and too little


def test_more_lost_messages_are_a_regression() -> None:
    new = by_hand(*((20.05, 30.5, 41.0, 0.03 + n / 1000) for n in range(5)))
    (case,) = checked(STEADY, new).cases
    assert case.verdict is Verdict.REGRESSION
    assert case.reasons == ("more messages are lost: 3.20% instead of 0.00%",)


def test_one_lost_message_is_none() -> None:
    new = by_hand(*((20.05, 30.5, 41.0, 0.0025 * (n == 0)) for n in range(5)))
    assert checked(STEADY, new).verdict is Verdict.PASS


def test_a_percentile_that_is_that_of_a_lost_message() -> None:
    new = by_hand(*((20.05, 30.5, math.inf, 0.015) for _ in range(5)))
    (case,) = checked(STEADY, new).cases
    assert case.verdict is Verdict.REGRESSION
    assert "p99 is that of a lost message" in case.reasons


def test_a_percentile_without_enough_messages_is_not_judged() -> None:
    old = by_hand(*((20.0 + n / 100, 30.0 + n / 10, None, 0.0) for n in range(10)))
    (case,) = checked(old, old[:5]).cases
    assert (case.verdict, case.ratios[2].p) == (Verdict.PASS, None)
    assert case.ratios[2].note == "p99 is not judged: 15 runs have too few messages for it"


def test_nothing_judged_is_no_pass() -> None:
    old = by_hand(*((None, None, None, 0.0) for _ in range(10)))
    assert checked(old, old[:5]).verdict is Verdict.INCONCLUSIVE


def test_figures_of_a_run_rank_lost_messages_last() -> None:
    count = 400
    times = np.arange(1, count + 1) * 1e6
    frame = pd.DataFrame(
        {
            "case": "a", "seq": np.arange(count), "attempt": 1, "warmup": False, "cold": False,
            "outcome": ["accepted"] * 390 + ["failed"] * 10,
            "due_ns": 0.0, "ready_ns": 0.0, "start_ns": 0.0, "end_ns": times,
        }
    )  # fmt: skip
    case = CaseRun("a", {}, count, 0, 0, 0, 0, False, True, None, None)
    assert figures_of(frame, case) == (200.0, 380.0, math.inf, 0.025)
    assert figures_of(frame[:100], case)[2] is None
