"""Thresholds: point estimates over accepted messages, with every other one as infinitely slow."""

from __future__ import annotations

import math
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


@pytest.mark.parametrize(
    ("function", "value"),
    [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("mean", 50.5), ("min", 1.0), ("max", 100.0)],
)
def test_each_function_of_a_known_sample(planted: Planted, function: str, value: float) -> None:
    rows = planted.rows(100, service_ns=np.arange(1, 101) * MS)
    result = verdict(planted, rows, limit(function, "service", "<=", value * MS))
    assert (result.value, result.verdict, result.line, result.note) == (value, PASS, 7, "")
    assert verdict(planted, rows, limit(function, "service", "<", value * MS)).verdict is FAIL
    assert verdict(planted, rows, limit(function, "service", ">=", value * MS)).verdict is PASS
    assert verdict(planted, rows, limit(function, "service", ">", value * MS)).verdict is FAIL


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
    rows = planted.rows(100, outcome=np.where(np.arange(100) < 5, outcome, "accepted"))
    assert verdict(planted, rows, limit("p95", "service", "<", 11.0 * MS)).verdict is PASS
    rows = planted.rows(100, outcome=np.where(np.arange(100) < 6, outcome, "accepted"))
    result = verdict(planted, rows, limit("p95", "service", "<", 11.0 * MS))
    assert (result.value, result.verdict) == (None, FAIL)
    assert "6 of 100 messages were not accepted" in result.note
    assert verdict(planted, rows, limit("p90", "service", "<", 11.0 * MS)).value == 10.0
    assert verdict(planted, rows, limit("max", "service", "<", 11.0 * MS)).verdict is FAIL
    assert verdict(planted, rows, limit("mean", "service", "<", 11.0 * MS)).verdict is FAIL
    assert verdict(planted, rows, limit("min", "service", "<", 11.0 * MS)).verdict is PASS


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
    assert verdict(planted, rows, limit("share", subject, ">", share + 0.01)).verdict is FAIL


def test_the_rate_is_that_of_accepted_messages(planted: Planted) -> None:
    rows = planted.rows(10, outcome=["accepted"] * 8 + ["failed"] * 2)
    assert verdict(planted, rows, limit("rate", "", ">=", 8.0)).verdict is PASS
    assert verdict(planted, rows, limit("rate", "", ">=", 9.0)).value == pytest.approx(8.0)
    assert verdict(planted, rows, limit("rate", "", ">=", 9.0), ended_ns=0).verdict is INCONCLUSIVE


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
    value = sorted([*map(float, service), *[math.inf] * lost])[-(-q * n // 100) - 1]
    assert result.verdict is (PASS if value < 5e8 else FAIL)
    assert result.value == (None if math.isinf(value) else pytest.approx(value / 1e6))
