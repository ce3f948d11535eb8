"""Thresholds: by the interval, over accepted messages with every other one as infinitely slow."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import sample_frame, summarize
from bench.model import Threshold, ThresholdResult, ThresholdVerdict

if TYPE_CHECKING:
    import pandas as pd

    from tests.analysis.conftest import Planted

MS = 1_000_000
PASS, FAIL, INCONCLUSIVE = ThresholdVerdict.PASS, ThresholdVerdict.FAIL, ThresholdVerdict.INCONCLUSIVE


def limit(
    function: str, subject: str, operator: str, value: float, where: tuple[tuple[str, str], ...] = ()
) -> Threshold:
    return Threshold(
        f"{function}({subject}) {operator} {value}", function, subject, operator, value, where, 7
    )


def verdict(planted: Planted, rows: pd.DataFrame, threshold: Threshold, **run: object) -> ThresholdResult:
    case = planted.run(scheduled=int((~rows["warmup"]).sum()), **run)
    manifest = planted.manifest(case, thresholds=[threshold])
    (result,) = summarize(sample_frame(planted.table(rows)), manifest, {}, {}).cases[0].thresholds
    return result


def holds(operator: str, value: float, bound: float) -> bool:
    return {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[operator]


@pytest.mark.parametrize(
    ("function", "value", "interval"),
    [
        ("p50", 50.0, (40.0, 61.0)),  # the ranks that tables give for n = 100
        ("p90", 90.0, (84.0, 96.0)),
        ("p95", 95.0, (90.0, 100.0)),
        ("min", 1.0, None),
        ("max", 100.0, None),
    ],
)
def test_each_function_of_a_known_sample(
    planted: Planted, function: str, value: float, interval: tuple[float, float] | None
) -> None:
    rows = planted.rows(100, service_ns=np.arange(1, 101) * MS)
    low, high = interval or (value, value)
    for operator in ("<", "<=", ">", ">="):
        for bound in (low - 0.5, low, low + 0.5, value, high - 0.5, high, high + 0.5):
            result = verdict(planted, rows, limit(function, "service", operator, bound * MS))
            inside = {holds(operator, low, bound), holds(operator, high, bound)}
            expected = INCONCLUSIVE if len(inside) == 2 else PASS if True in inside else FAIL
            assert (result.verdict, result.value, result.line) == (expected, value, 7), (operator, bound)
            assert (result.interval, result.limit) == (interval, bound)
            assert bool(result.note) is (expected is INCONCLUSIVE)


def test_a_mean_is_judged_by_its_batch_means(planted: Planted) -> None:
    rows = planted.rows(1000, service_ns=(np.arange(1000) % 2 * 2 + 9) * MS)  # every batch has mean 10
    result = verdict(planted, rows, limit("mean", "service", "<", 10.1 * MS))
    assert (result.value, result.verdict, result.interval) == (10.0, PASS, None)
    rows = planted.rows(1000, service_ns=np.where(np.arange(1000) < 500, 9, 11) * MS)  # ten of 9, ten of 11
    half = 2.0930 * 2 / 2 * math.sqrt(20 / 19) / math.sqrt(20)
    for bound, expected in ((10 + half + 0.01, PASS), (10.0, INCONCLUSIVE), (10 - half - 0.01, FAIL)):
        result = verdict(planted, rows, limit("mean", "service", "<", bound * MS))
        assert (result.value, result.verdict) == (10.0, expected)
        assert result.interval == pytest.approx((10 - half, 10 + half))


def test_a_mean_of_few_messages_is_shown_and_not_judged(planted: Planted) -> None:
    result = verdict(planted, planted.rows(499), limit("mean", "service", "<", 1e15))
    assert (result.value, result.verdict) == (10.0, INCONCLUSIVE)
    assert "needs 500 messages and the case has 499" in result.note


@pytest.mark.parametrize(
    ("function", "least"), [("p50", 6), ("p90", 36), ("p95", 72), ("p99", 368), ("p999", 3688)]
)
def test_a_percentile_that_the_sample_cannot_support_is_inconclusive(
    planted: Planted, function: str, least: int
) -> None:
    threshold = limit(function, "service", "<", 800.0 * MS)
    few = verdict(planted, planted.rows(least - 1), threshold)
    assert (few.value, few.verdict) == (None, INCONCLUSIVE)
    assert f"needs {least} messages and the case has {least - 1}" in few.note
    assert verdict(planted, planted.rows(least), threshold).verdict is PASS


@pytest.mark.parametrize("outcome", ["rejected_temp", "rejected_perm", "failed", "unknown", "dropped"])
def test_messages_that_were_not_accepted_rank_as_infinitely_slow(planted: Planted, outcome: str) -> None:
    def lost(count: int, function: str) -> ThresholdResult:
        rows = planted.rows(100, outcome=np.where(np.arange(100) < count, outcome, "accepted"))
        return verdict(planted, rows, limit(function, "service", "<", 11.0 * MS))

    assert lost(0, "p95").verdict is PASS
    assert lost(1, "p95").verdict is INCONCLUSIVE  # the interval of p95 of 100 messages ends with the last
    assert (lost(1, "p95").value, lost(5, "p95").value) == (10.0, 10.0)
    assert lost(1, "p95").interval == (10.0, None)
    assert (lost(10, "p95").value, lost(10, "p95").verdict) == (None, INCONCLUSIVE)
    assert lost(11, "p95").verdict is FAIL  # and begins with the 90th
    assert "11 of 100 messages were not accepted" in lost(11, "p95").note
    assert (lost(1, "max").verdict, lost(1, "mean").verdict, lost(1, "min").verdict) == (FAIL, FAIL, PASS)


def test_when_nothing_was_accepted_every_upper_limit_on_time_fails(planted: Planted) -> None:
    rows = planted.rows(100, outcome="failed")
    for function in ("p50", "p95", "mean", "min", "max"):
        assert verdict(planted, rows, limit(function, "service", "<", 1e15)).verdict is FAIL
    assert verdict(planted, rows, limit("p50", "phase.tls", "<", 1e15)).verdict is FAIL


def test_warm_up_and_cold_messages_are_not_held_against_a_pooled_case(planted: Planted) -> None:
    slow = np.arange(100) < 10
    rows = planted.rows(100, service_ns=np.where(slow, 900, 10) * MS, cold=slow & (np.arange(100) >= 5))
    rows["warmup"] = np.arange(100) < 5
    assert verdict(planted, rows, limit("max", "service", "<", 11.0 * MS)).verdict is PASS


def test_a_cold_message_that_failed_is_held_against_a_pooled_case(planted: Planted) -> None:
    rows = planted.rows(10, cold=np.arange(10) < 1, outcome=np.where(np.arange(10) < 1, "failed", "accepted"))
    assert verdict(planted, rows, limit("max", "service", "<", 11.0 * MS)).verdict is FAIL


@pytest.mark.parametrize(
    ("subject", "value"),
    [("latency", 16.0), ("wait", 5.0), ("lag", 1.0), ("service", 10.0), ("phase.body", 2.0)],
)
def test_every_time_can_be_limited(planted: Planted, subject: str, value: float) -> None:
    due = np.arange(10) * 100.0 * MS
    rows = planted.rows(10, due_ns=due, ready_ns=due + MS, start_ns=due + 6 * MS, body_ns=2.0 * MS)
    assert verdict(planted, rows, limit("p50", subject, "<", 1e12), open=True).value == pytest.approx(value)


@pytest.mark.parametrize("subject", ["latency", "lag", "phase.starttls"])
def test_a_time_that_does_not_occur_is_inconclusive(planted: Planted, subject: str) -> None:
    result = verdict(planted, planted.rows(100), limit("p50", subject, "<", 1e12))
    assert (result.value, result.verdict) == (None, INCONCLUSIVE)
    assert f"{subject} does not occur" in result.note


@pytest.mark.parametrize(
    ("subject", "share"),
    [
        ("accepted", 0.5),
        ("rejected", 0.3),
        ("rejected_temp", 0.1),
        ("failed", 0.1),
        ("dropped", 0.1),
        ("unknown", 0.0),
    ],
)
def test_shares_are_of_everything_scheduled(planted: Planted, subject: str, share: float) -> None:
    rows = planted.rows(
        10, outcome=["accepted"] * 5 + ["rejected_perm"] * 2 + ["rejected_temp", "failed", "dropped"]
    )
    assert verdict(planted, rows, limit("share", subject, ">=", share)).value == pytest.approx(share)
    assert verdict(planted, rows, limit("share", subject, ">", 0.95)).verdict is FAIL
    assert verdict(planted, rows, limit("share", subject, "<", 0.95)).verdict is PASS
    assert verdict(planted, rows, limit("share", subject, ">", share + 0.01)).verdict is INCONCLUSIVE


def accepted(planted: Planted, n: int, lost: int, operator: str, bound: float) -> ThresholdResult:
    rows = planted.rows(n, outcome=np.where(np.arange(n) < lost, "failed", "accepted"))
    return verdict(planted, rows, limit("share", "accepted", operator, bound))


def test_a_share_is_judged_by_what_the_number_of_messages_can_show(planted: Planted) -> None:
    few = accepted(planted, 400, 0, ">=", 0.999)
    assert (few.value, few.verdict) == (1.0, INCONCLUSIVE)
    assert few.note == (
        "to show it takes 3688 messages and the case has 400; share(accepted) >= 100% is about these alone"
    )
    assert accepted(planted, 3687, 0, ">=", 0.999).verdict is INCONCLUSIVE
    assert accepted(planted, 3688, 0, ">=", 0.999).verdict is PASS
    assert accepted(planted, 3688, 1, ">=", 0.999).verdict is INCONCLUSIVE
    assert accepted(planted, 400, 3, ">=", 0.999).verdict is FAIL
    assert accepted(planted, 400, 2, ">=", 0.999).verdict is INCONCLUSIVE


def test_a_limit_at_the_edge_is_about_the_messages_that_were_sent(planted: Planted) -> None:
    assert accepted(planted, 3, 0, ">=", 1.0).verdict is PASS
    assert accepted(planted, 5000, 1, ">=", 1.0).verdict is FAIL
    rows = planted.rows(3)
    assert verdict(planted, rows, limit("share", "failed", "<=", 0.0)).verdict is PASS
    assert verdict(planted, rows, limit("share", "failed", "<=", 0.0)).interval is None


def test_the_rate_is_that_of_accepted_messages(planted: Planted) -> None:
    rows = planted.rows(1000, outcome=np.where(np.arange(1000) % 5 < 4, "accepted", "failed"))
    for bound, expected in ((79.0, PASS), (80.0, INCONCLUSIVE), (81.0, FAIL)):
        result = verdict(planted, rows, limit("rate", "", ">=", bound), ended_ns=10**10)
        assert result.value == pytest.approx(80.0)
        assert result.verdict is expected
    assert verdict(planted, rows, limit("rate", "", ">=", 9.0), ended_ns=0).verdict is INCONCLUSIVE
    few = verdict(planted, planted.rows(99), limit("rate", "", ">=", 1.0))
    assert few.value == pytest.approx(99.0)
    assert few.verdict is INCONCLUSIVE
    assert "rate() needs 100 messages" in few.note
    none = planted.rows(10, outcome="failed")
    assert verdict(planted, none, limit("rate", "", ">=", 1.0)).verdict is FAIL


def test_a_case_without_messages_is_inconclusive(planted: Planted) -> None:
    rows = planted.rows(0)
    for threshold in (
        limit("p50", "service", "<", 1.0),
        limit("max", "wait", "<", 1.0),
        limit("share", "accepted", ">", 0),
    ):
        assert verdict(planted, rows, threshold).verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("where", "hits"),
    [
        ((("connection", "pooled"),), ["generic/smtp/pooled", "generic/api/pooled"]),
        ((("connection", "pooled"), ("transport", "api")), ["generic/api/pooled"]),
        ((("network.rtt", "5ms"),), ["generic/smtp/unpooled/network.rtt=5ms"]),
        ((), ["generic/smtp/pooled", "generic/api/pooled", "generic/smtp/unpooled/network.rtt=5ms"]),
    ],
)
def test_where_chooses_cases_by_label(
    planted: Planted, where: tuple[tuple[str, str], ...], hits: list[str]
) -> None:
    names = ["generic/smtp/pooled", "generic/api/pooled", "generic/smtp/unpooled/network.rtt=5ms"]
    manifest = planted.manifest(
        *(planted.run(name) for name in names), thresholds=[limit("max", "service", "<", 1.0, where)]
    )
    cases = summarize(sample_frame(planted.table(planted.rows(0))), manifest, {}, {}).cases
    assert [case.id for case in cases if case.thresholds] == hits


@given(
    service=st.lists(st.integers(0, 10**9), max_size=150),
    lost=st.integers(0, 20),
    function=st.sampled_from(["p50", "p90", "p95"]),
)
@settings(max_examples=60, deadline=None)
def test_a_percentile_equals_sorting_a_list_with_infinities(
    planted: Planted, service: list[int], lost: int, function: str
) -> None:
    n = len(service) + lost
    rows = planted.rows(
        n,
        outcome=["accepted"] * len(service) + ["failed"] * lost,
        service_ns=np.array(service + [0] * lost, dtype=np.int64),
    )
    result = verdict(planted, rows, limit(function, "service", "<", 5e8))
    q, least = {"p50": (50, 6), "p90": (90, 36), "p95": (95, 72)}[function]
    if n < least:
        assert result.verdict is INCONCLUSIVE
        return
    ordered = sorted([*map(float, service), *[math.inf] * lost])
    value, (low, high) = ordered[-(-q * n // 100) - 1], slow_interval(ordered, q)
    verdicts = {(True, True): PASS, (False, False): FAIL, (True, False): INCONCLUSIVE}
    assert result.verdict is verdicts[low < 5e8, high < 5e8]
    assert result.value == (None if math.isinf(value) else pytest.approx(value / 1e6))


def slow_interval(ordered: list[float], percent: int) -> tuple[float, float]:
    """With the binomial's terms added up one by one, as exact fractions."""
    n, q, tail = len(ordered), Fraction(percent, 100), Fraction(25, 1000)
    terms = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    low = max(rank for rank in range(n + 1) if sum(terms[:rank]) <= tail)
    high = min(rank for rank in range(n + 2) if sum(terms[rank:]) <= tail)
    return ordered[low - 1], ordered[high - 1]


@pytest.mark.parametrize(
    ("function", "subject", "operator"),
    [
        ("p50", "service", "!="), ("p51", "service", "<"), ("p50", "dns", "<"), ("p50", "phase.lunch", "<"),
        ("share", "wonderful", "<"), ("", "", ""),
    ],
)  # fmt: skip
def test_a_threshold_of_a_damaged_manifest_is_inconclusive(
    planted: Planted, function: str, subject: str, operator: str
) -> None:
    result = verdict(planted, planted.rows(20), limit(function, subject, operator, 1e12))
    assert result.verdict is INCONCLUSIVE
    assert result.note == "this version knows no such threshold"
