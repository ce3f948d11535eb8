"""Verdicts: a regression needs two reasons, a pass one, and what lies between says what it would take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.analysis.gate import LOOKS, change, judge
from bench.analysis.paired import ALPHA
from bench.model import DEFAULT_LIMITS, Lost, Paired, Ratio, Verdict


def ratio(
    quantity: str, seen: float | None, low: float | None, high: float | None, p: float | None = 0.5
) -> Ratio:
    return Ratio(quantity, seen, low, high, p, 0.03, "" if p is not None else "too few")


FINE = (ratio("p50", 1.0, 0.98, 1.02), ratio("p95", 1.01, 0.97, 1.05), ratio("p99", 1.0, 0.8, 1.2))


def judged(*ratios: Ratio, lost: Lost | None = None) -> tuple[Verdict, tuple[str, ...]]:
    rest = [each for each in FINE if each.quantity not in {one.quantity for one in ratios}]
    return judge(Paired("a", "b", 1500, 0.95, (*ratios, *rest), lost), DEFAULT_LIMITS, ALPHA)


def test_shown_to_be_within_the_limits_passes() -> None:
    verdict, reasons = judged()
    assert verdict is Verdict.PASS
    assert len(reasons) == 3


def test_significant_and_large_is_a_regression() -> None:
    verdict, reasons = judged(ratio("p50", 1.08, 1.05, 1.11, p=0.001))
    assert verdict is Verdict.REGRESSION
    assert reasons == ("p50 8.0 % slower (5.0 % slower to 11.0 % slower), where at most 2 % does not count",)


def test_significant_and_small_is_none() -> None:
    assert judged(ratio("p50", 1.019, 1.01, 1.03, p=0.001))[0] is Verdict.PASS


def test_large_and_not_significant_is_inconclusive() -> None:
    verdict, reasons = judged(ratio("p95", 1.2, 0.9, 1.4, p=0.3))
    assert verdict is Verdict.INCONCLUSIVE
    assert "limit of 10 %" in reasons[0]


def test_an_interval_without_end_is_inconclusive() -> None:
    assert judged(ratio("p99", None, None, None))[0] is Verdict.INCONCLUSIVE


def test_significant_as_the_percentile_is_that_of_a_lost_message() -> None:
    verdict, reasons = judged(ratio("p95", None, None, None, p=0.001))
    assert verdict is Verdict.REGRESSION
    assert "lost" in reasons[0]


def test_a_percentile_with_too_few_messages_decides_nothing() -> None:
    assert judged(ratio("p99", 2.0, None, None, p=None))[0] is Verdict.PASS


def test_a_limit_of_ones_own_that_cannot_be_judged_is_no_pass() -> None:
    few = replace(ratio("p99", 2.0, None, None, p=None), note="there are too few messages for p99")
    found = Paired("a", "b", 500, 0.95, (ratio("p50", 1.0, 0.99, 1.01), few), None)
    own = DEFAULT_LIMITS.within({"p99": 0.5})
    assert judge(found, DEFAULT_LIMITS, ALPHA)[0] is Verdict.PASS
    assert judge(found, own, ALPHA) == (Verdict.INCONCLUSIVE, ("there are too few messages for p99",))


@pytest.mark.parametrize(
    ("lost", "verdict"),
    [
        (Lost(0.0, 0.02, 0.01, 0.03, p=0.001), Verdict.REGRESSION),
        (Lost(0.01, 0.011, -0.02, 0.025, p=0.4), Verdict.INCONCLUSIVE),
        (Lost(0.01, 0.01, -0.005, 0.005, p=0.5), Verdict.PASS),
    ],
)
def test_lost_messages_are_part_of_the_family(lost: Lost, verdict: Verdict) -> None:
    assert judged(lost=lost)[0] is verdict


def test_two_looks_spend_what_one_would() -> None:
    assert sum(LOOKS) == pytest.approx(ALPHA)


def test_a_change_in_words() -> None:
    assert change(1.052) == "5.2 % slower"
    assert change(0.97) == "3.0 % faster"
