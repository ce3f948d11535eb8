"""Cases shared by several processes, from the command line to the rows, and what a death leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.store import open_run
from tests.integration.peers import wait_until
from tests.integration.test_cli import ENVIRONMENT, command, latest, sendbench
from tests.runs import run_text

HEAD = """\
version: 1
name: shared
target: mock
provider: generic
"""
CLOSED = "load: {model: closed, concurrency: 5, messages: 301, warmup: 11}\n"
CONSTANT = "load: {model: constant, rate: 400/s, messages: 301, warmup: 11, max_in_flight: 20}\n"
LONG = "load: {model: closed, concurrency: 4, messages: 100000}\nmock: {service_time: 2ms}\n"
SMTP = "transport: smtp\nconnection: pooled\n"


def taken(folder: Path, case_index: int = 0) -> list[str]:
    """The keys in the log of a case's mock."""
    lines = (folder / f"mock-{case_index:03d}.jsonl").read_bytes().splitlines(keepends=True)
    return [json.loads(line)["key"] for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(("load", "kept"), [(CLOSED, "smtp"), (CONSTANT, "api")], ids=["closed", "constant"])
def test_every_message_is_sent_once_and_recorded_once(
    tmp_path: Path, load: str, kept: str, workers: int
) -> None:
    """Over SMTP and the API, one with connections kept and one without."""
    exclude = ", ".join(
        f"{{transport: {name}, connection: {'unpooled' if name == kept else 'pooled'}}}"
        for name in ("smtp", "api")
    )
    matrix = f"matrix: {{transport: [smtp, api], connection: [pooled, unpooled], exclude: [{exclude}]}}\n"
    done = run_text(f"{HEAD}workers: {workers}\n{load}{matrix}", tmp_path)
    manifest = done.stored.manifest
    assert (manifest.state, manifest.rows) == ("complete", 2 * 312)
    for index, run in enumerate(manifest.cases):
        rows = done.rows(run.id).sort_values("seq")
        assert rows["seq"].tolist() == list(range(312))
        assert set(rows["outcome"]) == {"accepted"}
        assert Counter(taken(done.stored.folder, index)) == Counter(rows["key"])
        assert (run.scheduled, run.workers, run.error, run.interrupted) == (301, workers, None, False)
        assert rows["warmup"].tolist() == [True] * 11 + [False] * 301
        of_process = {number: rows[rows["seq"] % workers == number] for number in range(workers)}
        used = [set(mine["connection_id"]) for mine in of_process.values()]
        assert sum(map(len, used)) == len(set().union(*used)), "a connection has two owners"
        tasks = [set(mine["worker"]) for mine in of_process.values()]
        assert sum(map(len, tasks)) == len(set().union(*tasks)), "a number has two owners"
        assert max(set().union(*tasks)) < max(5, workers)
        measured = rows[~rows["warmup"]]
        assert run.started_ns <= measured["ready_ns"].min() + 5_000_000
        assert run.ended_ns == measured["end_ns"].max()
        assert run.cpu_ns > 0
    assert all(case.referee is not None and case.referee.false_accepted == 0 for case in done.summary.cases)


def test_the_schedule_is_one(tmp_path: Path) -> None:
    """The due times of all processes are those of one pacer that began at one moment."""
    done = run_text(f"{HEAD}{SMTP}workers: 3\n{CONSTANT}", tmp_path)
    rows = done.frame.sort_values("seq")
    gaps = rows["due_ns"].astype("int64").diff().dropna()
    assert set(gaps) == {2_500_000}


def test_a_closed_load_may_be_bounded_by_time(tmp_path: Path) -> None:
    load = "load: {model: closed, concurrency: 4, duration: 500ms, warmup: 8}\n"
    done = run_text(f"{HEAD}{SMTP}workers: 2\n{load}", tmp_path)
    (run,) = done.stored.manifest.cases
    rows = done.frame
    assert rows["key"].is_unique
    assert run.scheduled == (~rows["warmup"]).sum() > 20
    assert run.ended_ns - run.started_ns >= 450_000_000
    assert {number % 2 for number in rows["seq"]} == {0, 1}


def test_all_begin_to_measure_together_after_a_warm_up_each(tmp_path: Path) -> None:
    load = "load: {model: closed, concurrency: 2, messages: 200, warmup: 40}\nmock: {service_time: 1ms}\n"
    rows = run_text(f"{HEAD}{SMTP}workers: 2\n{load}", tmp_path).frame
    warm, measured = rows[rows["warmup"]], rows[~rows["warmup"]]
    assert warm["end_ns"].max() <= measured["ready_ns"].min()
    first = measured.groupby(measured["seq"] % 2)["ready_ns"].min()
    assert abs(int(first.iloc[0]) - int(first.iloc[1])) < 200_000_000


# ---------------------------------------------------------------------------- ends


@contextmanager
def running(folder: Path, workers: int = 2, load: str = LONG) -> Iterator[subprocess.Popen[str]]:
    """`sendbench run` whose workers have rows on record; ended with the block at the latest."""
    (folder / "long.yaml").write_text(f"{HEAD}{SMTP}workers: {workers}\n{load}", encoding="utf-8")
    with subprocess.Popen(
        command("run", "long.yaml"),
        cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            wait_until(lambda: all(rows_on_record(folder, number + 1) for number in range(workers)), "rows")
            yield process
        finally:
            process.kill()


def rows_on_record(folder: Path, number: int) -> bool:
    path = folder / "results" / "latest" / f"samples-000-{number}.log"
    return path.exists() and path.stat().st_size > 60_000


def children(pid: int, module: str) -> list[int]:
    """The processes of this one that run a module, in the order in which they were started."""
    found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
    return [each for each in found if module in Path(f"/proc/{each}/cmdline").read_text(encoding="ascii")]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def worker_number(pid: int, folder: Path) -> int:
    """From 1, by the log it holds open."""
    logs = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    (log,) = [Path(name).name for name in logs if Path(name).match("samples-*.log")]
    return int(log.removesuffix(".log").rpartition("-")[2])


def accounted(folder: Path) -> Counter[str]:
    """The outcomes of all rows of a run, each message having exactly one, whose mock disagrees with none."""
    stored = open_run(folder)
    table = stored.table()
    keys, outcomes = table["key"].to_pylist(), table["outcome"].to_pylist()
    assert len(set(keys)) == len(keys)
    by_key = dict(zip(keys, outcomes, strict=True))
    taken_keys = set(taken(folder))
    accepted = {key for key, outcome in by_key.items() if outcome == "accepted"}
    assert (
        accepted <= taken_keys <= accepted | {key for key, outcome in by_key.items() if outcome == "unknown"}
    )
    return Counter(outcomes)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_every_worker_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path) as process:
        workers = children(process.pid, "bench.worker")
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    assert process.returncode == code, errors
    assert len(workers) == 2
    assert not any(map(is_there, workers))
    outcomes = accounted(latest(tmp_path))
    assert outcomes.keys() == {"accepted", "dropped"}
    assert sum(outcomes.values()) == 100_000
    manifest = open_run(latest(tmp_path)).manifest
    assert (manifest.state, manifest.reason) == ("aborted", f"interrupted by {number.name}")
    assert not list(latest(tmp_path).glob("*.log"))


def test_a_second_ctrl_c_cuts_off_what_is_in_flight(tmp_path: Path) -> None:
    slow = "load: {model: closed, concurrency: 4, messages: 4000, warmup: 0}\nmock: {service_time: 20s}\n"
    (tmp_path / "slow.yaml").write_text(f"{HEAD}{SMTP}workers: 2\ntimeout: 60s\n{slow}", encoding="utf-8")
    with subprocess.Popen(
        command("run", "slow.yaml"),
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            logs = [tmp_path / "results" / "latest" / f"samples-000-{number}.log" for number in (1, 2)]
            wait_until(
                lambda: all(log.exists() and b'"count":' in log.read_bytes() for log in logs), "reservations"
            )
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - begun < 8
    outcomes = accounted(latest(tmp_path))
    assert sum(outcomes.values()) == 4000
    assert outcomes["unknown"] + outcomes["failed"] == 4


def test_a_worker_that_is_killed_leaves_its_reserved_messages_unknown(tmp_path: Path) -> None:
    with running(tmp_path, workers=3, load=LONG.replace("4", "6", 1)) as process:
        victim = children(process.pid, "bench.worker")[1]
        number = worker_number(victim, tmp_path)
        os.kill(victim, signal.SIGKILL)
        output, errors = process.communicate(timeout=50)
    assert process.returncode == 3, errors
    words = " ".join(output.split())
    assert f"worker {number} of 3 was ended by SIGKILL" in words
    outcomes = accounted(latest(tmp_path))
    table = open_run(latest(tmp_path)).table().to_pandas()
    unknown = table[table["outcome"] == "unknown"]
    assert 0 < len(unknown) <= 200
    assert set(unknown["seq"] % 3) == {number - 1}
    assert set(unknown["worker"]) == {-1}
    others = table[table["seq"] % 3 != number - 1]
    expected = [seq for seq in range(100_000) if seq % 3 != number - 1]
    assert sorted(others["seq"]) == expected, "a row of the others is missing"
    mine = sorted(table[table["seq"] % 3 == number - 1]["seq"])
    assert mine == list(range(number - 1, number - 1 + 3 * len(mine), 3))
    assert len(mine) % 100 == 0
    assert outcomes["accepted"] > 100
    summary = json.loads((latest(tmp_path) / "summary.json").read_text(encoding="utf-8"))
    counts = summary["cases"][0]["counts"]
    assert counts["scheduled"] == counts["attempted"] + counts["dropped"] == len(table)


def test_when_the_run_is_killed_its_workers_end_in_order_and_nothing_is_unaccounted(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        workers, mocks = children(process.pid, "bench.worker"), children(process.pid, "bench.mock")
        process.kill()
        process.wait()
    assert len(workers) == 2
    wait_until(lambda: not any(map(is_there, [*workers, *mocks])), "the end of all")
    stored = open_run(latest(tmp_path))
    assert stored.manifest.state == "aborted"
    assert stored.recovery is not None
    outcomes = accounted(latest(tmp_path))
    assert sum(outcomes.values()) == 100_000
    assert outcomes["accepted"] > 100
    assert stored.manifest.cases[0].error == "the run ended before this case did"


def test_a_target_that_is_down_is_the_same_finding_as_with_one_process(
    tmp_path: Path, free_port: int
) -> None:
    text = HEAD.replace("mock", f"smtp://127.0.0.1:{free_port}") + SMTP + f"workers: 2\n{CLOSED}"
    (tmp_path / "down.yaml").write_text(text, encoding="utf-8")
    done = sendbench("run", "down.yaml", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "0/301" in done.stdout
    assert "Traceback" not in done.stderr


def test_secrets_are_in_no_command_line_and_in_no_file(tmp_path: Path) -> None:
    canary = "canary-7f3a9c-password"
    auth = 'auth: {user: "${env:TEST_USER}", password: "${env:TEST_PASSWORD}"}\n'
    (tmp_path / "quick.yaml").write_text(f"{HEAD}{SMTP}{auth}workers: 2\n{CLOSED}", encoding="utf-8")
    seen = []
    with subprocess.Popen(
        command("run", "quick.yaml"),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**ENVIRONMENT, "TEST_USER": "somebody-else", "TEST_PASSWORD": canary},
    ) as process:  # fmt: skip
        while process.poll() is None:
            with suppress(OSError):
                workers = children(process.pid, "bench.worker")
                seen += [Path(f"/proc/{each}/cmdline").read_bytes() for each in workers]
            time.sleep(0.02)
        output = process.communicate(timeout=30)[0]
    assert process.returncode == 3, output
    assert seen
    assert not any(canary.encode() in line for line in seen)
    kept = b"".join(path.read_bytes() for path in latest(tmp_path).iterdir())
    assert canary.encode() not in kept
    assert canary not in output
