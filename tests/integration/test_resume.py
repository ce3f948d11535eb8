"""A run that is killed and gone on with: nothing is lost, and nothing is sent twice."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bench.model import Outcome
from bench.store import open_run
from tests.integration.peers import wait_until
from tests.integration.test_cli import ENVIRONMENT, command, latest, sendbench
from tests.integration.test_workers import taken

SCENARIO = """\
version: 1
name: cut
target: mock
provider: sendgrid
connection: pooled
message: {size: 2KiB}
mock: {service_time: 1ms}
matrix: {transport: [smtp, api]}
"""
CLOSED = "load: {model: closed, concurrency: 4, messages: 1500, warmup: 20}\n"
CONSTANT = "load: {model: constant, rate: 800/s, messages: 1500, warmup: 20}\n"
TOTAL = 1520


def killed(folder: Path, load: str, messages: int, number: int = signal.SIGKILL) -> Path:
    """A run of which the process was killed once so many messages had been taken."""
    (folder / "cut.yaml").write_text(SCENARIO + load, encoding="utf-8")
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command("run", "cut.yaml"), cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe
    )

    def so_many() -> bool:
        if not (folder / "results" / "latest").exists():
            return False
        run = latest(folder)
        return sum(len(taken(run, i)) for i in (0, 1) if (run / f"mock-00{i}.jsonl").exists()) >= messages

    wait_until(so_many, "messages to be taken")
    process.send_signal(number)
    process.communicate(timeout=60)
    return latest(folder)


@pytest.mark.parametrize("load", [CLOSED, CONSTANT], ids=["closed", "constant"])
@pytest.mark.parametrize("messages", [300, 1800])
def test_what_was_cut_off_is_gone_on_with(tmp_path: Path, load: str, messages: int) -> None:
    run = killed(tmp_path, load, messages)
    before = open_run(run)
    assert before.manifest.state == "aborted"
    assert before.recovery is not None
    report = sendbench("report", str(run), "--format", "md", folder=tmp_path)
    assert report.returncode == 3, report.stderr
    sent = [set(taken(run, index)) for index in (0, 1) if (run / f"mock-00{index}.jsonl").exists()]

    done = sendbench("run", "cut.yaml", "--resume", str(run), folder=tmp_path)
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: a busy machine made a case late
    whole = open_run(run)
    manifest = whole.manifest
    assert (manifest.state, manifest.rows) == ("complete", 2 * TOTAL)
    rows = whole.table().to_pylist()
    for index, case in enumerate(manifest.cases):
        mine = [row for row in rows if row["case"] == case.id]
        assert sorted(row["seq"] for row in mine) == list(range(TOTAL))
        assert case.scheduled == 1500
        keys = Counter(taken(run, index))
        assert max(keys.values()) == 1, "taken twice"
        states = {row["key"]: row["outcome"] for row in mine}
        assert all(states[key] in (Outcome.ACCEPTED, Outcome.UNKNOWN) for key in keys)
        assert {key for key, state in states.items() if state == Outcome.ACCEPTED} <= keys.keys()
        assert Counter(states.values())[Outcome.UNKNOWN] <= 400, (
            "a reservation, and the rows of the last 50 ms"
        )
        if index < len(sent):
            assert sent[index] <= keys.keys()
    assert not list(run.glob("samples*.log"))
    summary = json.loads((run / "summary.json").read_text())
    remarks = [reason for case in summary["cases"] for reason in case["generator"]["reasons"]]
    assert any("gone on with at message" in each for each in remarks) or messages > 1500


def test_what_cannot_be_gone_on_with_is_refused_with_2(tmp_path: Path) -> None:
    run = killed(tmp_path, CLOSED, 300)
    other = sendbench("run", "cut.yaml", "--set", "message.size=3KiB", "--resume", str(run), folder=tmp_path)
    assert (other.returncode, "its scenario was another one" in other.stderr) == (2, True)
    apart = tmp_path / "apart"
    apart.mkdir()
    ended = killed(apart, CLOSED, 300, signal.SIGINT)
    done = sendbench("run", "cut.yaml", "--resume", str(ended), folder=apart)
    assert (done.returncode, "came to its end in order (aborted)" in done.stderr) == (2, True)
    none = sendbench("run", "cut.yaml", "--resume", "nowhere", folder=tmp_path)
    assert (none.returncode, len(none.stderr.splitlines())) == (2, 1)


def test_a_torn_end_is_kept_beside_what_was_saved_of_it(tmp_path: Path) -> None:
    run = killed(tmp_path, CLOSED, 600)
    log = run / "samples.log"
    with log.open("ab") as stream:
        stream.write(b"half a frame")
    size = log.stat().st_size
    done = sendbench("run", "cut.yaml", "--resume", str(run), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (run / "samples.log.torn").stat().st_size == size
    assert open_run(run).manifest.rows == 2 * TOTAL
