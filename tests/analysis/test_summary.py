"""Figures of planted samples, against the truth and against a slow obvious implementation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import sample_frame, summarize
from bench.model import CaseSummary, Outcome, Threshold, ThresholdVerdict

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

MS = 1_000_000
CASE = "generic/smtp/pooled"


def only(planted: Planted, rows: pd.DataFrame, **run: object) -> CaseSummary:
    """The summary of a run of one case, for which `run` describes what is unusual."""
    case_run = planted.run(str(run.pop("case", CASE)), scheduled=run.pop("scheduled", len(rows)), **run)
    return summarize(sample_frame(planted.table(rows)), planted.manifest(case_run), {}, {}).cases[0]


def test_percentiles_of_a_known_sample(planted: Planted) -> None:
    service = np.random.default_rng(1).permutation(np.arange(1, 401)) * MS
    case = only(planted, planted.rows(400, service_ns=service))
    assert case.service is not None
    assert (case.service.count, case.service.min_ms, case.service.max_ms) == (400, 1.0, 400.0)
    assert case.service.mean_ms == pytest.approx(200.5)
    values = [case.service.p50, case.service.p90, case.service.p95, case.service.p99]
    assert [value and value.value_ms for value in values] == [200.0, 360.0, 380.0, 396.0]
    assert case.service.p999 is None
    assert case.service.p50 is not None
    assert case.service.p50.ci95_ms == (180.0, 221.0)


def test_warm_up_is_in_no_figure(planted: Planted) -> None:
    rows = planted.rows(20, warmup=np.arange(20) < 10, service_ns=np.where(np.arange(20) < 10, 99, 7) * MS)
    case = only(planted, rows, scheduled=10, warmup=10)
    assert case.service is not None
    assert (case.service.count, case.service.max_ms) == (10, 7.0)
    assert (case.counts.attempted, case.counts.accepted) == (10, 10)


def test_cold_messages_stand_apart_where_connections_are_pooled(planted: Planted) -> None:
    cold = np.arange(30) < 4
    rows = planted.rows(
        30, cold=cold, service_ns=np.where(cold, 500, 50) * MS, tls_ns=np.where(cold, 5e7, np.nan)
    )
    case = only(planted, rows)
    assert case.service is not None
    assert (case.service.count, case.service.max_ms) == (26, 50.0)
    assert case.cold is not None
    assert case.cold.count == 4
    assert case.cold.service is not None
    assert (case.cold.service.min_ms, case.cold.service.p50) == (500.0, None)
    assert "tls" not in case.phases
    assert case.counts.accepted == 30


def test_cold_messages_are_the_product_where_connections_are_not_pooled(planted: Planted) -> None:
    rows = planted.rows(30, case="generic/smtp/unpooled", cold=True)
    case = only(planted, rows, case="generic/smtp/unpooled")
    assert case.cold is None
    assert case.service is not None
    assert case.service.count == 30


def test_an_open_case_is_timed_from_the_due_time(planted: Planted) -> None:
    due = np.arange(100) * 20 * MS
    rows = planted.rows(100, due_ns=due, ready_ns=due + 0.1 * MS, start_ns=due + 3.1 * MS, service_ns=50 * MS)
    case = only(planted, rows, open=True, started_ns=0, ended_ns=2 * 1000 * MS)
    assert case.latency is not None
    assert case.service is not None
    assert case.wait is not None
    assert case.latency.max_ms == pytest.approx(53.1)
    assert case.wait.mean_ms == pytest.approx(3.0)
    assert case.service.mean_ms == pytest.approx(50.0)
    assert case.generator.lag_p50_ms == pytest.approx(0.1)
    assert case.throughput.offered_per_s == pytest.approx(50.0)
    assert case.throughput.accepted_per_s == pytest.approx(50.0)
    assert case.generator.valid


def test_a_closed_case_has_no_latency_no_lag_and_no_offer(planted: Planted) -> None:
    case = only(planted, planted.rows(10))
    assert (case.latency, case.generator.lag_p99_ms, case.throughput.offered_per_s) == (None, None, None)
    assert case.throughput.accepted_per_s == pytest.approx(10.0)


def test_phases_count_only_where_they_occurred(planted: Planted) -> None:
    body = np.where(np.arange(10) % 2 == 0, 2.0 * MS, np.nan)
    case = only(planted, planted.rows(10, body_ns=body, reply_ns=np.arange(1, 11) * MS))
    assert list(case.phases) == ["body", "reply"]
    assert (case.phases["body"].count, case.phases["body"].p50_ms) == (5, 2.0)
    assert (case.phases["reply"].p50_ms, case.phases["reply"].p95_ms) == (5.0, 10.0)


def test_every_outcome_is_counted_and_only_accepted_messages_are_timed(planted: Planted) -> None:
    ends = ["accepted", "rejected_temp", "rejected_perm", "failed", "unknown", "dropped"]
    rows = planted.rows(
        6,
        outcome=ends,
        error=[None, "rejected", "rejected", "timeout", None, None],
        code=[250, 451, np.nan, np.nan, np.nan, np.nan],
        service_ns=np.array([1, 900, 900, 900, 900, 900]) * MS,
    )
    case = only(planted, rows, scheduled=6)
    counts = case.counts
    assert (counts.scheduled, counts.attempted, counts.dropped) == (6, 5, 1)
    assert (counts.accepted, counts.rejected, counts.failed, counts.unknown) == (1, 2, 1, 1)
    assert case.errors == {"451": 1, "dropped": 1, "rejected": 1, "timeout": 1, "unknown": 1}
    assert case.service is not None
    assert case.service.max_ms == 1.0


def test_errors_are_ordered_by_frequency(planted: Planted) -> None:
    rows = planted.rows(5, outcome="failed", error=["auth", "timeout", "timeout", "auth", "timeout"])
    assert list(only(planted, rows).errors.items()) == [("timeout", 3), ("auth", 2)]


@pytest.mark.parametrize(("rtt_ns", "expected"), [(50 * MS, 50.0), (0, 0.0), (None, 0.2)])
def test_the_rtt_is_the_configured_one_else_the_shortest_tcp_phase_even_of_warm_up(
    planted: Planted, rtt_ns: int | None, expected: float
) -> None:
    rows = planted.rows(10, warmup=np.arange(10) < 2, tcp_ns=[0.9 * MS, 0.2 * MS, *[np.nan] * 8])
    assert only(planted, rows, scheduled=8, rtt_ns=rtt_ns).rtt_ms == pytest.approx(expected)


def test_without_connections_the_rtt_is_unknown(planted: Planted) -> None:
    assert only(planted, planted.rows(10)).rtt_ms is None


def test_an_empty_table_gives_cases_without_figures(planted: Planted) -> None:
    case = only(planted, planted.rows(0), scheduled=5)
    assert (case.service, case.latency, case.wait, dict(case.phases)) == (None, None, None, {})
    assert (case.counts.attempted, case.round_trips.p50) == (0, None)
    assert not case.generator.valid
    assert summarize(sample_frame(planted.table(planted.rows(0))), planted.manifest(), {}, {}).cases == ()


def test_a_table_without_any_column_is_an_empty_one(planted: Planted) -> None:
    assert (
        summarize(sample_frame(planted.table(pd.DataFrame())), planted.manifest(planted.run()), {}, {})
        .cases[0]
        .service
        is None
    )


def test_one_row(planted: Planted) -> None:
    case = only(planted, planted.rows(1))
    assert case.service is not None
    assert (case.service.mean_ms, case.service.p50) == (10.0, None)
    assert case.round_trips.p50 == 4.0
    assert case.generator.valid


def test_all_dropped(planted: Planted) -> None:
    nothing = np.full(8, np.nan)
    rows = planted.rows(
        8, outcome="dropped", start_ns=nothing, end_ns=nothing, due_ns=np.arange(8) * MS, code=nothing
    )
    case = only(planted, rows, open=True, interrupted=True)
    assert (case.counts.dropped, case.counts.attempted, case.errors) == (8, 0, {"dropped": 8})
    assert case.service is None
    assert case.generator.reasons == ("no message was started",)


def test_columns_of_nothing_but_null_are_understood_whatever_their_type(planted: Planted) -> None:
    rows = planted.rows(3)
    for name in ("due_ns", "error", "notes", "code", "round_trips", "tls_ns"):
        rows[name] = pd.Series([None] * 3, dtype=object)
    case = only(planted, rows)
    assert case.service is not None
    assert (case.service.count, case.round_trips.p50) == (3, None)


def test_a_case_that_the_manifest_does_not_know_is_reported_as_unfinished(planted: Planted) -> None:
    name = "generic/smtp/unpooled/load.rate=50/s/network.rtt=20ms"
    rows = pd.concat([planted.rows(10), planted.rows(7, case=name, due_ns=np.arange(7) * 10.0 * MS)])
    done, died = summarize(
        sample_frame(planted.table(rows)), planted.manifest(planted.run(scheduled=10)), {}, {}
    ).cases
    assert done.generator.valid
    assert died.id == name
    assert died.labels == {
        "provider": "generic", "transport": "smtp", "connection": "unpooled",
        "load.rate": "50/s", "network.rtt": "20ms",
    }  # fmt: skip
    assert (died.counts.scheduled, died.counts.accepted, died.open) == (7, 7, True)
    assert not died.generator.valid
    assert "the run ended before this case did" in died.generator.reasons[0]
    assert died.generator.cpu_us_per_message is None


def test_cases_come_in_the_manifest_s_order_with_their_own_rows(planted: Planted) -> None:
    rows = pd.concat([planted.rows(3, case="b"), planted.rows(5, case="a"), planted.rows(2, case="b")])
    manifest = planted.manifest(
        planted.run("a", scheduled=5), planted.run("b", scheduled=5), planted.run("c")
    )
    cases = summarize(sample_frame(planted.table(rows)), manifest, {}, {}).cases
    assert [(case.id, case.counts.accepted) for case in cases] == [("a", 5), ("b", 5), ("c", 0)]


def test_what_the_manifest_says_is_carried_over(planted: Planted) -> None:
    manifest = replace(planted.manifest(planted.run(), state="aborted"), reason="interrupted by SIGINT")
    run = summarize(sample_frame(planted.table(planted.rows(0))), manifest, {}, {}).run
    assert (run.state, run.reason, run.seed, run.tags) == (
        "aborted",
        "interrupted by SIGINT",
        1,
        {"team": "a"},
    )


def test_generator_cost_is_told_per_message_and_as_a_share_of_a_core(planted: Planted) -> None:
    generator = only(planted, planted.rows(100), cpu_ns=50 * MS).generator
    assert generator.cpu_us_per_message == pytest.approx(500.0)
    assert generator.cpu_share == pytest.approx(0.05)
    assert generator.event_loop == "uvloop"


def test_thresholds_are_evaluated_and_one_that_matches_nothing_is_inconclusive(planted: Planted) -> None:
    limits = (
        Threshold("p50(service) < 20ms", "p50", "service", "<", 20.0 * MS, line=3),
        Threshold(
            "max(wait) < 1ms where transport=fax", "max", "wait", "<", MS, (("transport", "fax"),), line=4
        ),
    )
    manifest = planted.manifest(planted.run(scheduled=10), planted.run("b", scheduled=0), thresholds=limits)
    first, second = summarize(sample_frame(planted.table(planted.rows(10))), manifest, {}, {}).cases
    assert [result.verdict for result in first.thresholds] == [
        ThresholdVerdict.PASS,
        ThresholdVerdict.INCONCLUSIVE,
    ]
    assert first.thresholds[0].value == 10.0
    assert "no case" in first.thresholds[1].note
    assert len(second.thresholds) == 1


def test_the_frame_for_reports_holds_spans_in_milliseconds(planted: Planted) -> None:
    rows = planted.rows(2, due_ns=[0.0, np.nan], ready_ns=[1.0 * MS, 2.0 * MS], start_ns=[4.0 * MS, 4.0 * MS])
    frame = sample_frame(planted.table(rows))
    assert frame["lag_ms"].tolist()[0] == 1.0
    assert math.isnan(frame["latency_ms"].tolist()[1])
    assert frame["wait_ms"].tolist() == [3.0, 2.0]
    assert frame["service_ms"].tolist() == [10.0, 10.0]
    assert frame["warmup"].dtype == np.bool_


# ------------------------------------------------------------- fast against obvious


Row = tuple[bool, bool, str, int]

ROWS = st.lists(
    st.tuples(
        st.booleans(),
        st.booleans(),
        st.sampled_from([outcome.value for outcome in Outcome]),
        st.integers(0, 10**9),
    ),
    max_size=120,
)


@given(rows=ROWS, pooled=st.booleans())
@settings(max_examples=60, deadline=None)
def test_figures_equal_those_of_an_obvious_implementation(
    planted: Planted, rows: list[Row], pooled: bool
) -> None:
    warmup, cold, outcome, service = ([row[i] for row in rows] for i in range(4))
    frame = planted.rows(
        len(rows),
        warmup=np.array(warmup, dtype=np.bool_),
        cold=np.array(cold, dtype=np.bool_),
        outcome=pd.Series(outcome, dtype=object),
        service_ns=np.array(service, dtype=np.int64),
    )
    case = only(planted, frame, scheduled=sum(not w for w in warmup), pooled=pooled)
    measured = [row for row in rows if not row[0]]
    times = sorted(s for _, c, o, s in measured if o == "accepted" and not (pooled and c))
    assert case.counts.accepted == sum(o == "accepted" for _, _, o, _ in measured)
    assert case.counts.attempted == sum(o != "dropped" for _, _, o, _ in measured)
    assert case.counts.rejected == sum(o.startswith("rejected") for _, _, o, _ in measured)
    assert sum(case.errors.values()) == sum(o != "accepted" for _, _, o, _ in measured)
    if not times:
        assert case.service is None
        return
    assert case.service is not None
    assert case.service.count == len(times)
    assert case.service.mean_ms == pytest.approx(sum(times) / len(times) / 1e6)
    if len(times) >= 6:
        assert case.service.p50 is not None
        assert case.service.p50.value_ms == times[-(-len(times) // 2) - 1] / 1e6
    else:
        assert case.service.p50 is None


def test_the_messages_of_a_call_are_one_observation(planted: Planted) -> None:
    """Ten messages in two calls, of which the second had its first message refused."""
    rows = planted.rows(
        10,
        connection_id=0,
        ready_ns=[0.0] * 5 + [50.0 * MS] * 5,
        start_ns=[0.0] * 5 + [50.0 * MS] * 5,
        service_ns=np.where(np.arange(10) < 5, 20, 40) * MS,
        batch_index=[0, 1, 2, 3, 4] * 2,
        outcome=["accepted"] * 5 + ["rejected_perm"] + ["accepted"] * 4,
    )
    case = only(planted, rows)
    assert case.counts.accepted == 9
    assert case.service is not None
    assert case.service.count == 2
    assert case.service.mean_ms == pytest.approx(30.0)


def test_the_messages_of_a_first_call_are_one_observation_too(planted: Planted) -> None:
    rows = planted.rows(
        10,
        connection_id=[0] * 5 + [1] * 5,
        ready_ns=0.0,
        start_ns=0.0,
        service_ns=np.where(np.arange(10) < 5, 20, 40) * MS,
        batch_index=[0, 1, 2, 3, 4] * 2,
        cold=True,
    )
    case = only(planted, rows)
    assert case.cold is not None
    assert case.cold.count == 10
    assert case.cold.service is not None
    assert case.cold.service.count == 2
    assert case.cold.service.mean_ms == pytest.approx(30.0)


@pytest.mark.parametrize("end", [float("nan"), -1.0])
def test_an_accepted_message_without_a_time_or_with_a_negative_one_is_no_valid_record(
    planted: Planted, end: float
) -> None:
    rows = planted.rows(30)
    assert only(planted, rows).generator.valid
    rows.loc[7, "end_ns"] = end
    check = only(planted, rows).generator
    assert not check.valid
    assert check.reasons[0].startswith("1 of 30 accepted messages have no time or a negative one")
