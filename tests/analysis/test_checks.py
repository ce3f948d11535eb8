"""The referee, the wire check and the self-check: each must find what was planted, and nothing else."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import sample_frame, summarize
from bench.model import CaseSummary, RunInfo, WireConnection

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

MS = 1_000_000
CASE = "generic/smtp/pooled"
FRESH = "generic/smtp/unpooled"


def judge(
    planted: Planted,
    rows: pd.DataFrame,
    *,
    case: str = CASE,
    takes: list[str] | None = None,
    wires: list[WireConnection] | None = None,
    **run: object,
) -> CaseSummary:
    manifest = planted.manifest(planted.run(case, scheduled=run.pop("scheduled", len(rows)), **run))
    taken = {} if takes is None else {case: planted.taken(*takes)}
    return summarize(
        sample_frame(planted.table(rows)), manifest, taken, {} if wires is None else {case: wires}
    ).cases[0]


# ------------------------------------------------------------------------- referee


def test_the_referee_agrees_when_every_accepted_message_was_taken_once(planted: Planted) -> None:
    rows = planted.rows(5, warmup=np.arange(5) < 2)
    case = judge(planted, rows, takes=list(rows["key"]), scheduled=3)
    assert case.referee is not None
    assert (case.referee.taken, case.referee.false_accepted) == (5, 0)
    assert (case.referee.unaccounted, case.referee.duplicates) == (0, 0)
    assert case.generator.valid


def test_the_referee_finds_false_accepts_strays_and_duplicates(planted: Planted) -> None:
    rows = planted.rows(6, outcome=["accepted", "accepted", "accepted", "unknown", "failed", "rejected_perm"])
    k = list(rows["key"])
    case = judge(planted, rows, takes=[k[0], k[0], k[0], k[2], k[3], k[4], "stranger"])
    assert case.referee is not None
    assert case.referee.taken == 7
    assert case.referee.false_accepted == 1  # the second, which the mock never took
    assert case.referee.unaccounted == 2  # the failed one, and one nobody sent
    assert case.referee.duplicates == 2
    assert not case.generator.valid
    assert len([reason for reason in case.generator.reasons if reason.startswith("accounting")]) == 3


def account(planted: Planted, takes: list[str], state: str = "complete") -> RunInfo:
    rows = planted.rows(2)
    manifest = planted.manifest(planted.run(CASE, scheduled=2), state=state)
    return summarize(sample_frame(planted.table(rows)), manifest, {CASE: planted.taken(*takes)}, {}).run


@pytest.mark.parametrize(
    "taken",
    [[0], [0, 1, 1], [0, 1, 2]],
    ids=["false accept", "duplicate", "stranger"],
)
def test_a_run_whose_accounts_do_not_balance_is_invalid(planted: Planted, taken: list[int]) -> None:
    keys = [f"run-{CASE}-{i}" for i in taken]
    run = account(planted, keys)
    assert (run.state, run.reason) == (
        "invalid",
        f"accounting: client and mock disagree about what was taken in {CASE}",
    )
    assert account(planted, keys, state="running").state == "running"  # its logs are still being written
    assert account(planted, [f"run-{CASE}-{i}" for i in (0, 1)]).state == "complete"


def test_unknown_messages_may_or_may_not_have_been_taken(planted: Planted) -> None:
    rows = planted.rows(4, outcome=["accepted", "accepted", "unknown", "unknown"])
    case = judge(planted, rows, takes=list(rows["key"][:3]))
    assert case.generator.valid


def test_without_a_log_there_is_no_referee(planted: Planted) -> None:
    assert judge(planted, planted.rows(3)).referee is None


@given(
    client=st.lists(st.sampled_from(["accepted", "unknown", "failed"]), min_size=1, max_size=30),
    taken=st.lists(st.integers(0, 35), max_size=60),
)
@settings(max_examples=50, deadline=None)
def test_the_referee_equals_counting_one_by_one(
    planted: Planted, client: list[str], taken: list[int]
) -> None:
    rows = planted.rows(len(client), outcome=client)
    takes = [f"run-{CASE}-{i}" for i in taken]
    jury = judge(planted, rows, takes=takes).referee
    outcome = dict(zip(rows["key"], client, strict=True))
    assert jury is not None
    assert jury.false_accepted == sum(o == "accepted" and k not in takes for k, o in outcome.items())
    assert jury.unaccounted == sum(outcome.get(k, "none") in ("none", "failed") for k in set(takes))
    assert jury.duplicates == sum(takes.count(k) - 1 for k in set(takes))


# ----------------------------------------------------------------------- wire check


def note(port: int) -> str:
    return json.dumps({"address": "127.0.0.1", "local_port": port})


def pooled_rows(planted: Planted, *, warm: int = 4, cold: int = 11) -> pd.DataFrame:
    """Two connections, 0 and 1, of three messages each."""
    return planted.rows(
        6,
        connection_id=[0, 1, 0, 1, 0, 1],
        cold=[True, True, False, False, False, False],
        round_trips=[cold, cold, warm, warm, warm, warm],
        notes=[note(40000), note(40001), None, None, None, None],
    )


@pytest.mark.parametrize(("turns", "wrong"), [(18, (1, 0)), (19, (0, 1))])
@pytest.mark.parametrize("quitted", [False, True])
def test_the_quit_of_a_kept_connection_counts_where_the_case_says_so(
    planted: Planted, turns: int, wrong: tuple[int, int], quitted: bool
) -> None:
    """11 + 4 + 4 round trips, less the connect, and one more where QUIT was answered."""
    wires = [planted.wire(0, 40000, turns), planted.wire(1, 40001, 18)]
    found = judge(planted, pooled_rows(planted), wires=wires, quits=(0,) if quitted else ()).round_trips
    assert (found.checked_connections, found.mismatched_connections) == (2, wrong[0 if quitted else 1])


def test_a_reset_after_a_refusal_is_a_turn_of_its_own(planted: Planted) -> None:
    rows = pooled_rows(planted)
    rows.loc[2, "outcome"] = "rejected_perm"
    rows.loc[2, "notes"] = json.dumps({"rset": True, "rejected": []})
    rows.loc[3, "notes"] = json.dumps({"rset": False})
    for turns, wrong in ((19, 0), (18, 1)):
        wires = [planted.wire(0, 40000, turns), planted.wire(1, 40001, 18)]
        found = judge(planted, rows, wires=wires).round_trips
        assert (found.checked_connections, found.mismatched_connections) == (2, wrong)


@pytest.mark.parametrize("extra", [-1, 1, 2, 5])
def test_a_pooled_connection_with_another_number_of_turns_is_a_mismatch(planted: Planted, extra: int) -> None:
    wires = [planted.wire(0, 40000, 18), planted.wire(1, 40001, 18 + extra)]
    found = judge(planted, pooled_rows(planted), wires=wires).round_trips
    assert (found.checked_connections, found.mismatched_connections) == (2, 1)


def test_warm_up_s_round_trips_belong_to_the_connection_too(planted: Planted) -> None:
    rows = pooled_rows(planted)
    rows["warmup"] = rows["seq"] < 2
    wires = [planted.wire(0, 40000, 18), planted.wire(1, 40001, 18)]
    found = judge(planted, rows, wires=wires, scheduled=4).round_trips
    assert (found.checked_connections, found.mismatched_connections, found.p50) == (2, 0, 4.0)


@pytest.mark.parametrize(("turns", "wrong"), [(10, 1), (11, 0), (12, 1)])
def test_an_unpooled_connection_s_quit_is_in_its_row(planted: Planted, turns: int, wrong: int) -> None:
    rows = planted.rows(1, case=FRESH, cold=True, round_trips=11, quit_ns=5.0 * MS, notes=[note(40000)])
    found = judge(planted, rows, case=FRESH, wires=[planted.wire(0, 40000, turns)]).round_trips
    assert (found.checked_connections, found.mismatched_connections) == (1, wrong)


def test_an_api_connection_sends_no_quit(planted: Planted) -> None:
    name = "generic/api/pooled"
    rows = planted.rows(2, case=name, cold=[True, False], round_trips=[3, 1], notes=[note(40000), None])
    for turns, wrong in ((3, 0), (4, 1)):
        found = judge(planted, rows, case=name, wires=[planted.wire(0, 40000, turns)]).round_trips
        assert (found.checked_connections, found.mismatched_connections) == (1, wrong)


def test_a_port_that_was_used_again_is_matched_in_order(planted: Planted) -> None:
    rows = planted.rows(
        3, case=FRESH, cold=True, connection_id=[7, 8, 9], round_trips=[11, 3, 5], quit_ns=1.0,
        notes=[note(40000), note(40000), note(40001)],
    )  # fmt: skip
    wires = [planted.wire(2, 40000, 3), planted.wire(1, 40000, 11), planted.wire(3, 40001, 5)]
    rows = rows.iloc[[2, 1, 0]]  # rows are in order of their end, not of their connection
    found = judge(planted, rows, case=FRESH, wires=wires).round_trips
    assert (found.checked_connections, found.mismatched_connections) == (3, 0)


@pytest.mark.parametrize("outcome", ["failed", "unknown"])
def test_connections_with_an_unanswered_message_are_not_judged(planted: Planted, outcome: str) -> None:
    rows = pooled_rows(planted)
    rows.loc[3, "outcome"] = outcome
    wires = [planted.wire(0, 40000, 18), planted.wire(1, 40001, 3)]
    found = judge(planted, rows, wires=wires).round_trips
    assert (found.checked_connections, found.mismatched_connections) == (1, 0)


def test_the_round_trips_of_a_batch_are_those_of_its_one_call(planted: Planted) -> None:
    rows = planted.rows(
        5,
        connection_id=0,
        cold=[True, False, False, False, False],
        round_trips=[2, 1, 1, 1, 1],
        notes=[note(40000), None, None, None, None],
        batch_id=[None, 1, 1, 1, 1],
        batch_index=[None, 0, 1, 2, 3],
    )
    found = judge(planted, rows, wires=[planted.wire(0, 40000, 2)]).round_trips
    assert (found.checked_connections, found.mismatched_connections) == (1, 0)


def test_connections_whose_round_trips_or_port_are_unknown_are_not_judged(planted: Planted) -> None:
    rows = pooled_rows(planted)
    rows.loc[2, "round_trips"] = np.nan
    rows.loc[1, "notes"] = '{"other": 1}'
    wires = [planted.wire(0, 40000, 18), planted.wire(1, 40001, 18)]
    assert judge(planted, rows, wires=wires).round_trips.checked_connections == 0


def test_an_empty_wire_log_checks_nothing(planted: Planted) -> None:
    assert judge(planted, pooled_rows(planted), wires=[]).round_trips.checked_connections == 0
    assert judge(planted, planted.rows(0), wires=[planted.wire(0, 1, 1)]).round_trips.checked_connections == 0


# ----------------------------------------------------------------------- self-check


def open_rows(planted: Planted, n: int, lag_ms: float, service_ms: float) -> pd.DataFrame:
    due = np.arange(n) * 10.0 * MS
    return planted.rows(
        n, due_ns=due, ready_ns=due + lag_ms * MS, start_ns=due + lag_ms * MS, service_ns=service_ms * MS
    )


@pytest.mark.parametrize(
    ("lag_ms", "service_ms", "valid"),
    [(0.9, 1.0, True), (1.1, 1.0, False), (4.0, 50.0, True), (6.0, 50.0, False)],
)
def test_an_open_case_that_started_late_is_invalid(
    planted: Planted, lag_ms: float, service_ms: float, valid: bool
) -> None:
    case = judge(planted, open_rows(planted, 200, lag_ms, service_ms), open=True)
    assert case.generator.valid is valid
    assert valid or "late: lag p99" in case.generator.reasons[0]
    assert valid or "wire client" not in case.generator.reasons[0]


def test_one_late_message_in_two_hundred_does_not_make_a_case_invalid(planted: Planted) -> None:
    rows = open_rows(planted, 200, 0.1, 5.0)
    rows["ready_ns"] += np.where(rows["seq"] == 17, 500.0 * MS, 0.0)
    assert judge(planted, rows, open=True).generator.valid


def test_the_lag_of_messages_that_failed_counts_too(planted: Planted) -> None:
    rows = open_rows(planted, 200, 0.1, 5.0)
    rows["ready_ns"] += np.where(rows["seq"] < 10, 500.0 * MS, 0.0)
    rows.loc[:9, "outcome"] = "failed"
    assert not judge(planted, rows, open=True).generator.valid


@pytest.mark.parametrize(("started", "valid"), [(990, True), (989, False)])
def test_an_open_case_that_started_too_few_is_invalid(planted: Planted, started: int, valid: bool) -> None:
    rows = open_rows(planted, 1000, 0.1, 5.0)
    rows.loc[started:, "outcome"] = "dropped"
    case = judge(planted, rows, open=True)
    assert case.generator.valid is valid
    assert judge(planted, rows, open=True, interrupted=True).generator.valid


@pytest.mark.parametrize(
    ("hiccup_ms", "service_ms", "valid"),
    [(0.9, 0.5, True), (1.1, 0.5, False), (2.4, 5.0, True), (2.6, 5.0, False), (None, 0.5, True)],
)
def test_an_open_case_on_a_machine_that_stood_still_is_invalid(
    planted: Planted, hiccup_ms: float | None, service_ms: float, valid: bool
) -> None:
    """The floor is 1 ms, then half of p99 latency."""
    seen = None if hiccup_ms is None else int(hiccup_ms * MS)
    rows = open_rows(planted, 400, 0.0, service_ms)
    generator = judge(planted, rows, open=True, hiccup_p999_ns=seen, hiccup_max_ns=9 * MS).generator
    assert generator.valid is valid
    assert (generator.hiccup_p999_ms, generator.hiccup_max_ms) == (hiccup_ms, 9.0)
    assert valid or ("the machine held" in generator.reasons[0] and "stop what else" in generator.reasons[0])


def test_hiccups_do_not_make_a_closed_case_invalid(planted: Planted) -> None:
    generator = judge(planted, planted.rows(400), hiccup_p999_ns=900 * MS).generator
    assert (generator.valid, generator.reasons, generator.hiccup_p999_ms) == (True, (), 900.0)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EADDRNOTAVAIL, "ip_local_port_range"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
    ],
)
@pytest.mark.parametrize(("failed", "valid"), [(2, True), (3, False)])
def test_a_machine_out_of_ports_or_files_makes_any_case_invalid(
    planted: Planted, number: int, advice: str, failed: int, valid: bool
) -> None:
    """Above 1 message in 1000; two of 2000 are not."""
    rows = planted.rows(2000, outcome=["accepted"] * (2000 - failed) + ["failed"] * failed)
    rows.loc[2000 - failed :, "error"] = "local"
    rows["errno"] = np.where(rows["error"].eq("local"), float(number), np.nan)
    generator = judge(planted, rows).generator
    assert generator.valid is valid
    assert valid or (f"{failed} of 2000" in generator.reasons[0] and advice in generator.reasons[0])


@pytest.mark.parametrize(("error", "number"), [("connect", errno.EMFILE), ("local", errno.EAFNOSUPPORT)])
def test_other_failures_say_nothing_of_ports_and_files(planted: Planted, error: str, number: int) -> None:
    rows = planted.rows(10, outcome=["accepted"] + ["failed"] * 9, error=[None] + [error] * 9, errno=number)
    assert judge(planted, rows).generator.valid


def test_a_closed_case_that_uses_up_its_core_is_marked_in_words_but_valid(planted: Planted) -> None:
    case = judge(planted, planted.rows(10), cpu_ns=910 * MS)
    assert case.generator.valid
    assert "generator-bound" in case.generator.reasons[0]
    assert "wire client" not in case.generator.reasons[0]
    assert judge(planted, planted.rows(10), cpu_ns=890 * MS).generator.reasons == ()


def test_a_mock_that_uses_up_its_core_is_named_as_the_limit(planted: Planted) -> None:
    case = judge(planted, planted.rows(10), mock_share=0.93)
    assert case.generator.valid
    assert case.generator.reasons[0].startswith("mock-bound: the mock used 93% of a core")
    assert judge(planted, planted.rows(10), mock_share=0.9).generator.reasons == ()
    assert judge(planted, planted.rows(10, outcome="failed"), mock_share=0.99).generator.valid is False


def test_a_sandbox_is_remarked_upon(planted: Planted) -> None:
    case = judge(
        planted, planted.rows(10), caveat="X's sandbox answered, not the way real mail takes. No id."
    )
    assert case.generator.valid
    assert case.generator.reasons == (
        "not the real path: X's sandbox answered, not the way real mail takes. No id",
    )


def test_the_cpu_of_interleaved_cases_is_the_mean_over_all_of_them(planted: Planted) -> None:
    case = judge(planted, planted.rows(10), cpu_ns=900 * MS, interleaved=3, comparison="provider")
    assert case.generator.cpu_us_per_message == pytest.approx(30_000)
    assert case.comparison == "provider"


def test_each_process_that_shares_the_load_has_a_core_of_its_own(planted: Planted) -> None:
    busy = judge(planted, planted.rows(10), cpu_ns=2 * 910 * MS, workers=2).generator
    assert busy.cpu_share == pytest.approx(0.91)
    assert "each of sendbench's 2 processes used 91% of a core" in busy.reasons[0]
    assert judge(planted, planted.rows(10), cpu_ns=2 * 890 * MS, workers=2).generator.reasons == ()


def test_nothing_is_said_of_the_generator_s_limit_where_little_was_done(planted: Planted) -> None:
    brief = judge(planted, planted.rows(10), cpu_ns=499 * MS, ended_ns=499 * MS)
    assert brief.generator.reasons == ()
    failed = judge(planted, planted.rows(10, outcome="failed", error="connect"), cpu_ns=990 * MS)
    assert not any("generator-bound" in reason for reason in failed.generator.reasons)
    assert judge(planted, planted.rows(10), cpu_ns=500 * MS, ended_ns=500 * MS).generator.reasons


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("connect", "target is up"),
        ("auth", "password"),
        ("tls_verify", "certificate"),
        ("odd", "samples table"),
    ],
)
def test_a_case_in_which_nothing_was_accepted_names_the_prevailing_error(
    planted: Planted, error: str, advice: str
) -> None:
    rows = planted.rows(10, outcome="failed", error=[error] * 7 + ["protocol"] * 3, code=np.nan)
    (reason,) = judge(planted, rows).generator.reasons
    assert f"{error} (7 of 10)" in reason
    assert advice in reason


def test_a_case_that_could_not_be_run_says_why(planted: Planted) -> None:
    case = judge(planted, planted.rows(0), scheduled=400, error="the mock did not start")
    assert not case.generator.valid
    assert "the mock did not start" in case.generator.reasons[0]
    assert case.error == "the mock did not start"


@pytest.mark.parametrize("scheduled", [9, 11])
def test_a_record_that_does_not_add_up_is_invalid(planted: Planted, scheduled: int) -> None:
    assert not judge(planted, planted.rows(10), scheduled=scheduled).generator.valid
    assert judge(planted, planted.rows(10), scheduled=scheduled, interrupted=True).generator.valid
