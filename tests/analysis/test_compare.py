"""Two runs side by side: paired by id, never judged."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from bench.analysis.compare import APART, DRIFT, CaseComparison, Comparison, compare

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

CASE = "generic/smtp/pooled"


def test_cases_are_paired_by_id_in_the_first_run_s_order(planted: Planted) -> None:
    a = planted.summary(
        planted.case("p/smtp/pooled"), planted.case("p/api/pooled"), planted.case("p/smtp/unpooled")
    )
    b = planted.summary(
        planted.case("p/api/unpooled"), planted.case("p/smtp/unpooled"), planted.case("p/smtp/pooled")
    )
    found = compare(a, b)
    assert [case.id for case in found.cases] == ["p/smtp/pooled", "p/smtp/unpooled"]
    assert (found.only_a, found.only_b) == (("p/api/pooled",), ("p/api/unpooled",))


def test_a_change_is_the_ratio_of_b_to_a_with_both_intervals(planted: Planted) -> None:
    (case,) = compare(
        planted.summary(planted.case(CASE, 200.0)), planted.summary(planted.case(CASE, 220.0))
    ).cases
    p50, p95, p99 = case.changes
    assert [change.percentile for change in case.changes] == ["p50", "p95", "p99"]
    assert [change.ratio for change in (p50, p95, p99)] == pytest.approx([1.1] * 3)
    assert p50.a is not None
    assert p50.b is not None
    assert p50.a.ci95_ms == (198.0, 202.0)
    assert p50.b.value_ms == 220.0
    assert p50.apart


def test_a_sandbox_is_compared_with_sandboxes_alone(planted: Planted) -> None:
    real = planted.case(CASE, 200.0)
    boxed = replace(real, labels={**real.labels, "target": "sandbox"})
    found = compare(planted.summary(real), planted.summary(boxed))
    assert found.cases == ()
    assert (found.only_a, found.only_b) == ((CASE,), (CASE,))
    assert APART in found.notes
    same = compare(planted.summary(boxed), planted.summary(boxed))
    assert len(same.cases) == 1
    assert APART not in same.notes


@pytest.mark.parametrize(("b_ms", "apart"), [(201.0, False), (198.0, False), (190.0, True), (210.0, True)])
def test_intervals_are_apart_when_they_share_no_point(planted: Planted, b_ms: float, apart: bool) -> None:
    (case,) = compare(
        planted.summary(planted.case(CASE, 200.0)), planted.summary(planted.case(CASE, b_ms))
    ).cases
    assert case.changes[0].apart is apart


def test_what_a_sample_cannot_support_has_no_ratio(planted: Planted) -> None:
    few = planted.summary(planted.case(CASE, 200.0, count=50))
    (case,) = compare(few, planted.summary(planted.case(CASE, 200.0))).cases
    assert [change.ratio is None for change in case.changes] == [False, True, True]
    assert [change.apart is None for change in case.changes] == [False, True, True]
    (empty,) = compare(planted.summary(planted.case(CASE, None)), few).cases
    assert all(change.ratio is None for change in empty.changes)


def test_latency_is_compared_only_where_both_runs_had_a_schedule(planted: Planted) -> None:
    scheduled, closed = planted.summary(planted.case(CASE, offered=50.0)), planted.summary(planted.case(CASE))
    assert compare(scheduled, scheduled).cases[0].measure == "latency"
    assert compare(scheduled, closed).cases[0].measure == "service"
    assert compare(closed, scheduled).cases[0].measure == "service"


def test_counts_validity_rate_and_round_trips_stand_beside(planted: Planted) -> None:
    a = planted.case(CASE, accepted=390, rate=20.0)
    b = planted.case(CASE, trips=2.0, rate=40.0, valid=False)
    (case,) = compare(planted.summary(a), planted.summary(b)).cases
    assert (case.a_counts.accepted, case.b_counts.accepted) == (390, 400)
    assert (case.a_valid, case.b_valid) == (True, False)
    assert (case.a_accepted_per_s, case.b_accepted_per_s) == (20.0, 40.0)
    assert (case.a_round_trips, case.b_round_trips) == (4.0, 2.0)


def test_no_verdict_is_given_and_the_reason_why_comes_first(planted: Planted) -> None:
    summary = planted.summary(planted.case(CASE))
    assert compare(summary, summary).notes == (DRIFT,)
    assert not any("verdict" in f.name for kind in (Comparison, CaseComparison) for f in fields(kind))


def test_facts_that_differ_are_noted(planted: Planted) -> None:
    a = planted.summary(planted.case(CASE))
    other = replace(
        a.run, facts={"event_loop": "asyncio", "kernel": "6.1"}, scenario="smoke", tool_version="0.2.0"
    )
    notes = compare(a, replace(a, run=other)).notes[1:]
    assert "The scenarios differ: planted and smoke." in notes
    assert "event_loop differs: uvloop and asyncio." in notes
    assert "kernel differs: unknown and 6.1." in notes
    assert "sendbench differs: 0.1.0 and 0.2.0." in notes
