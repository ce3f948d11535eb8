"""What `make peers` computes and checks; the programs it compares are not needed here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.model import Connection, Transport
from bench.scenario import load_scenario
from tests.peers import capping, lag, ours, servers, workers
from tests.peers.__main__ import exit_code
from tests.peers.compare import (
    Cost,
    Ended,
    HarnessError,
    Pair,
    Spread,
    alternate,
    efficiency,
    net,
    run_process,
)
from tests.peers.report import Results, render
from tests.peers.rows import Compared, Row, judge, rows
from tests.peers.servers import Kind, Taken
from tests.peers.work import Job, Side, Work, check_taken


def cost(messages: int, cpu_s: float, wall_s: float = 1.0) -> Cost:
    return Cost(messages, cpu_s, wall_s)


def nobody(timed: bool = False) -> Side:
    return Side("nobody", lambda: "1", lambda job: [], timed=timed)


# ------------------------------------------------------------------------------- costs and pairs


def test_start_up_is_what_a_tenth_of_the_messages_shows_too() -> None:
    """1 s of start-up, 1 ms of CPU and 2 ms of time a message."""
    found = net(lambda messages: cost(messages, 1 + messages / 1000, 1 + messages / 500), 1000)
    assert found.per_cpu_s == pytest.approx(1000)
    assert found.per_s == pytest.approx(500)
    assert found.messages == 900


@pytest.mark.parametrize("smaller", [cost(100, 2.0), cost(100, 0.5, 3.0), cost(1000, 0.5, 0.5)])
def test_a_larger_run_that_costs_no_more_is_no_figure(smaller: Cost) -> None:
    with pytest.raises(HarnessError, match="does not cost more"):
        _ = cost(1000, 1.0, 2.0) - smaller


def test_the_sides_take_turns() -> None:
    order = []

    def side(name: str) -> Cost:
        order.append(name)
        return cost(len(order), 1.0)

    pairs = alternate(lambda: side("A"), lambda: side("B"), 2)
    assert order == ["A", "B", "A", "B"]
    assert [(pair.ours.messages, pair.theirs.messages) for pair in pairs] == [(1, 2), (3, 4)]


def test_the_ratio_is_formed_within_each_pair() -> None:
    """A machine that slows down between the pairs changes neither ratio."""
    quick, slow = Pair(cost(100, 1.0), cost(200, 1.0)), Pair(cost(100, 4.0), cost(200, 5.0))
    odd = Pair(cost(100, 1.0), cost(50, 1.0))
    assert efficiency([quick, slow, odd]) == Spread(0.625, 0.5, 2.0)


def test_the_cpu_of_a_processes_children_is_counted(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.15: pass"
    ended = run_process([sys.executable, "-c", burn], tmp_path, {})
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('done')"
    of_child = run_process([sys.executable, "-c", parent], tmp_path, {})
    assert ended.cpu_s >= 0.15
    assert of_child.cpu_s >= 0.15
    assert (of_child.code, of_child.output) == (0, "done\n")


# ------------------------------------------------------------------------------- equal work


def test_other_work_than_ordered_is_an_error() -> None:
    work = Work(Kind.HTTP, 100, size_bytes=1000)
    check_taken(nobody(), work, Taken(100, frozenset({980, 1020})))
    check_taken(nobody(timed=True), work, Taken(7, frozenset({1000})))
    with pytest.raises(HarnessError, match="99 messages instead of 100"):
        check_taken(nobody(), work, Taken(99, frozenset({1000})))
    with pytest.raises(HarnessError, match="1021 bytes instead of 1000"):
        check_taken(nobody(), work, Taken(100, frozenset({1000, 1021})))
    with pytest.raises(HarnessError, match="0 messages"):
        check_taken(nobody(timed=True), work, Taken(0, frozenset()))


def test_smtp_sinks_last_counter_counts(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\rsess=0 quit=0 mesg=9\rsess=0 quit=0 mesg=10\rsess=1 quit=1 mesg=10\n")
    assert servers.COUNTS[Kind.SMTP](tmp_path).messages == 10


def test_a_dumped_message_has_its_size_on_the_wire(tmp_path: Path) -> None:
    (tmp_path / "dumps").mkdir()
    own = "X-Client-Addr: 127.0.0.1\nX-Mail-Args: <a@b>\nReceived: from a\n\tby smtp-sink id 1;\n\tMon\n"
    message = "X-Sendbench-Id: 1\nSubject: hello\n\ntext\n"
    (tmp_path / "dumps/m.1").write_text(own + message + "\n", encoding="ascii")
    size = len(message.replace("\n", "\r\n"))
    assert servers.COUNTS[Kind.DUMP](tmp_path) == Taken(1, frozenset({size}))


def test_nginx_tells_number_and_sizes_and_no_other_answer_passes(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("202 1024\n202 1024\n202 -\n", encoding="ascii")
    assert servers.COUNTS[Kind.HTTP](tmp_path) == Taken(3, frozenset({1024, 0}))
    (tmp_path / "taken").write_text("202 1024\n413 9\n", encoding="ascii")
    with pytest.raises(HarnessError, match="413"):
        servers.COUNTS[Kind.HTTP](tmp_path)


def answer(accepted: int, scheduled: int = 100) -> Ended:
    case = {
        "counts": {"scheduled": scheduled, "accepted": accepted},
        "throughput": {"accepted_per_s": 5.0},
        "generator": {"lag_p50_ms": None, "lag_p99_ms": None, "valid": True, "reasons": []},
    }
    return Ended(0, 1.0, 1.0, json.dumps({"cases": [case]}), "")


def test_our_own_account_must_be_of_the_same_work(tmp_path: Path) -> None:
    job = Job(Work(Kind.SMTP, 100), 2525, tmp_path)
    ours.check(job, answer(100))
    with pytest.raises(HarnessError, match="99 accepted of 100"):
        ours.check(job, answer(99))
    with pytest.raises(HarnessError, match="answered nothing: boom"):
        ours.check(job, Ended(1, 0.0, 0.0, "", "boom"))


# ------------------------------------------------------------------------------- our scenario


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.key)
def test_our_scenario_asks_for_the_rows_work(row: Row, tmp_path: Path) -> None:
    work = row.ours_work
    path = tmp_path / "scenario.yaml"
    path.write_text(ours.scenario_of(Job(work, 2525, tmp_path), ours.Clients()), encoding="utf-8")
    [case] = load_scenario(path).cases
    assert case.transport is (Transport.API if work.kind is Kind.HTTP else Transport.SMTP)
    assert case.connection is (Connection.POOLED if work.pooled else Connection.UNPOOLED)
    assert (case.client, case.workers) == ("wire", work.workers)


def test_both_sides_of_a_row_do_work_of_the_same_kind() -> None:
    for row in rows():
        mine, other = row.ours_work, row.their_work
        assert (mine.kind, mine.sessions, mine.size_bytes, mine.pooled) == (
            other.kind,
            other.sessions,
            other.size_bytes,
            other.pooled,
        ), row.key


# ------------------------------------------------------------------------------- verdicts


def test_verdicts() -> None:
    assert [judge(0.9, 0.9), judge(0.89, 0.9), judge(0.1, None)] == ["pass", "falls short", "-"]
    assert Compared(rows()[0]).verdict == "not installed"
    assert exit_code(["pass", "-", "not installed"]) == 0
    assert exit_code(["pass", "falls short: invalid"]) == 1
    assert exit_code(["falls short", "harness error"]) == 3


def late(p50_ms: float, p99_ms: float, valid: bool = True) -> ours.CaseFigures:
    return ours.CaseFigures(1, 1, 1.0, p50_ms, p99_ms, valid, () if valid else ("late",))


def test_lag_is_judged_by_rate() -> None:
    slow, quick = lag.LIMITS
    assert lag.judge(late(0.1, 0.3), slow) == "pass"
    assert lag.judge(late(0.11, 0.3), slow) == "falls short"
    assert lag.judge(late(0.1, 0.31), slow) == "falls short"
    assert lag.judge(late(0.0, 0.0, valid=False), slow) == "falls short: invalid"
    assert lag.judge(late(0.9, 1.0), quick) == "pass"
    assert lag.judge(late(0.9, 1.1), quick) == "falls short"
    assert lag.judge(late(9.0, 9.0, valid=False), quick) == "pass: it says that it is invalid"


def test_page_names_every_row_and_what_went_wrong() -> None:
    row = rows()[0]
    measured = Compared(row, (Pair(cost(1000, 1.0), cost(2000, 1.0)),), "3.7")
    broken = Compared(rows()[1], (), "3.7", error="sent 9 messages\ninstead of 10")
    scaled = workers.Scaled("workers/cpu", "CPU", 1.05, True, Spread(1.0, 0.9, 1.1))
    results = Results(
        [measured, broken], [lag.Late(lag.CHECKS[0], late(0.05, 0.1))], [scaled], 1, "0.1", "now"
    )
    page = render(results)
    assert results.verdicts == ["-", "harness error", "pass", "pass"]
    assert "0.50 (0.50 to 0.50)" in page
    assert f"- {broken.key}: sent 9 messages instead of 10" in page
    for text in (row.key, "lag/smtp/1000", "0.050 ms", "1.00 (0.90 to 1.10)", "tenth of the messages"):
        assert text in page


# ------------------------------------------------------------------------------- several processes

BUSY = "import time\nwhile time.process_time() < 0.3: pass"
TWO_BUSY = f"""
import subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", {BUSY!r}]) for _ in range(2)]
for child in children: child.wait()
"""


@pytest.mark.parametrize(("code", "expected"), [(BUSY, 1), (TWO_BUSY, 2)])
def test_the_processes_that_did_the_work_are_counted(code: str, expected: int, tmp_path: Path) -> None:
    shares = capping.Shares({})
    with capping.watched(shares.look) as watch:
        run_process([sys.executable, "-c", code], tmp_path, {}, watch)
    assert shares.busy(0.2) == expected
