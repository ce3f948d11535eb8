"""A gate of two stages: when it goes on, how, and what is left of it where it is cut off."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.errors import ExitCode
from bench.model import Outcome, Verdict
from bench.store import open_run
from tests.integration.peers import wait_until
from tests.integration.test_cli import ENVIRONMENT, command, latest, sendbench
from tests.runs import Finished, run_text

PAIR = """\
version: 1
name: pair
transport: smtp
tls: none
compare: mock.service_time
gate: {stages: 2}
"""
TWENTY = "matrix: {mock.service_time: [20ms, 30ms]}\n"
SLOW = "matrix: {mock.service_time: [200ms, 203ms]}\n"  # so that a busy machine makes no case invalid
CLOSED = "load: {model: closed, concurrency: 4, messages: %d, warmup: 6}\n"
OPEN = "network: {rtt: 1ms}\nload: {model: %s, rate: 40/s, messages: 50, warmup: 6}\n"


def check_whole(done: Finished, count: int, parts: int) -> None:
    """Every message of all parts was sent once, by its key, and the figures are about all of them but those
    of each part's warm-up."""
    for case in done.summary.cases:
        rows = done.rows(case.id).sort_values("seq")
        sent = count + 6 * parts
        assert list(rows["seq"]) == list(range(sent))
        each = sent // parts
        assert list(rows.loc[rows["warmup"], "seq"]) == [
            part * each + number for part in range(parts) for number in range(6)
        ]
        assert (case.counts.scheduled, case.counts.accepted) == (count, count)
        assert case.referee is not None
        assert (case.referee.taken, case.referee.unaccounted, case.referee.duplicates) == (sent, 0, 0)
        assert case.round_trips.mismatched_connections == 0


def test_the_second_stage_is_needed(tmp_path: Path) -> None:
    """150 messages are too few to say anything, 300 are enough."""
    done = run_text(PAIR + TWENTY + CLOSED % 150, tmp_path)
    check_whole(done, 300, 2)
    (found,) = done.summary.comparisons
    assert (found.verdict, found.looks, found.stages, found.alpha) == (Verdict.REGRESSION, 2, 2, 0.002)
    assert found.pairs[0].count == 300
    assert done.stored.manifest.looks == 2
    assert any("the second look of two" in each for each in done.answer.sentences)
    assert not [reason for case in done.summary.cases for reason in case.generator.reasons]
    for run, case in zip(done.stored.manifest.cases, done.summary.cases, strict=True):
        rows = done.rows(case.id).sort_values("seq")
        between_ns = rows["ready_ns"].iloc[162] - rows["end_ns"].iloc[:156].max()
        assert run.paused_ns == pytest.approx(between_ns, rel=0.05), "as long as what it was not sent in"
        took_s = case.counts.accepted / (case.throughput.accepted_per_s or 1)
        assert took_s == pytest.approx(run.took_ns / 1e9)


def test_the_second_stage_is_not_needed(tmp_path: Path) -> None:
    done = run_text(PAIR + TWENTY + CLOSED % 300, tmp_path)
    check_whole(done, 300, 1)
    (found,) = done.summary.comparisons
    assert (found.verdict, found.looks, found.stages, found.alpha) == (Verdict.REGRESSION, 1, 2, 0.008)
    assert any("the first of at most two looks" in each for each in done.answer.sentences)


@pytest.mark.alone  # a first stage that is late on a busy machine is invalid, and then there is no second
@pytest.mark.parametrize("model", ["constant", "poisson"])
def test_an_open_schedule_goes_on_and_there_is_no_third_stage(tmp_path: Path, model: str) -> None:
    done = run_text(PAIR + SLOW + OPEN % model, tmp_path)
    check_whole(done, 100, 2)
    (found,) = done.summary.comparisons
    assert (found.verdict, found.looks) == (Verdict.INCONCLUSIVE, 2)
    for stage in (done.frame["seq"] < 56, done.frame["seq"] >= 56):
        due_s = np.sort(done.frame.loc[stage, "due_ns"].to_numpy()) / 1e9
        if model == "constant":
            assert np.allclose(np.diff(due_s), 1 / 80, atol=1e-6), "both share the slots of one schedule"
        begun = done.frame.loc[stage, "ready_ns"].min() / 1e9
        assert abs(begun - due_s[0]) < 0.5, "what was due in the first stage is not waited for again"


def test_two_comparisons_go_on_together(tmp_path: Path) -> None:
    text = PAIR + "matrix: {connection: [pooled, unpooled], mock.service_time: [20ms, 21ms]}\n"
    done = run_text(text + "network: {rtt: 1ms}\n" + CLOSED % 30, tmp_path)
    check_whole(done, 60, 2)
    assert [each.looks for each in done.summary.comparisons] == [2, 2]
    assert len(done.summary.cases) == 4


def test_nothing_goes_on_where_a_case_is_not_valid(tmp_path: Path) -> None:
    text = PAIR.replace("mock.service_time", "target")
    done = run_text(text + "matrix: {target: [mock, 'smtp://127.0.0.1:9']}\n" + CLOSED % 30, tmp_path)
    assert done.stored.manifest.looks == 1
    assert [case.counts.scheduled for case in done.summary.cases] == [30, 30]


def cut_off(folder: Path, number: int) -> Path:
    """The run whose process got a signal in its second stage."""
    (folder / "pair.yaml").write_text(PAIR + TWENTY + CLOSED % 200, encoding="utf-8")
    arguments = command("run", "pair.yaml")
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)
    wait_until(lambda: (folder / "results" / "latest").exists(), "the run")
    wait_until(
        lambda: (latest(folder) / "manifest.json").read_text().find('"looks": 2') > 0, "a second stage"
    )
    log = latest(folder) / "samples.log"
    size = log.stat().st_size
    wait_until(lambda: log.stat().st_size > size + 20_000, "messages of it")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (ExitCode.SIGINT if number == signal.SIGINT else -number)
    return latest(folder)


def test_interrupted_in_its_second_stage(tmp_path: Path) -> None:
    stored = open_run(cut_off(tmp_path, signal.SIGINT))
    assert (stored.manifest.state, stored.manifest.looks) == ("aborted", 2)
    rows = stored.table().to_pylist()
    assert Counter(row["case"] for row in rows) == dict.fromkeys(
        (case.id for case in stored.manifest.cases), 412
    )
    assert {row["outcome"] for row in rows} == {Outcome.ACCEPTED, Outcome.DROPPED}
    assert [case.scheduled for case in stored.manifest.cases] == [400, 400]


def test_killed_in_its_second_stage(tmp_path: Path) -> None:
    run = cut_off(tmp_path, signal.SIGKILL)
    stored = open_run(run)
    assert (stored.manifest.state, len(stored.manifest.cases)) == ("aborted", 2)
    rows = stored.table().to_pylist()
    for case in stored.manifest.cases:
        mine = sorted(row["seq"] for row in rows if row["case"] == case.id)
        assert mine == list(range(len(mine)))
        assert len(mine) > 212
        assert case.scheduled == len(mine) - 12
    assert any(row["outcome"] == Outcome.UNKNOWN for row in rows), (
        "reserved, and nobody knows what became of it"
    )
    assert sendbench("report", str(run), "--format", "md", folder=tmp_path).returncode == ExitCode.INVALID
    again = sendbench("run", "pair.yaml", "--resume", str(run), folder=tmp_path)
    assert (again.returncode, "a comparison cannot be gone on with" in again.stderr) == (ExitCode.USAGE, True)
