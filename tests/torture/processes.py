"""Whole runs that are killed or told to end at any moment, by the command line as a person uses it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.clock import monotonic_ns
from bench.model import Outcome, Taken
from bench.store import open_run
from tests.integration.peers import wait_until
from tests.integration.test_cli import ENVIRONMENT, command, latest, sendbench
from tests.torture.counted import Counted

MESSAGES = 1500
SCENARIO = """\
version: 1
name: torture
target: mock
provider: sendgrid
transport: {transport}
connection: {connection}
mock: {{service_time: 1ms}}
load: {{model: {load}, messages: 1500}}
"""
LOADS = ("closed, concurrency: 4", "constant, rate: 700/s")
LATE_MS = 100
"""Outcomes of that long before a kill must be on record ..."""
WATCHED_S = 0.3
"""... and longer by as much as the machine kept the process waiting for a processor in these last moments."""


Check = Callable[[Path, float, Counted], None]


class Wrong(AssertionError):
    """What a run should not have done."""


def kill_9(count: int, seed: int = 1) -> Counted:
    """So many runs killed, read and gone on with: what was lost is unknown, nothing is taken twice."""
    return _each(count, seed, _killed)


def sigterm(count: int, seed: int = 1) -> Counted:
    """So many runs told to end: every message that was taken is on record as accepted."""
    return _each(count, seed, _told_to_end)


def _each(count: int, seed: int, check: Check) -> Counted:
    rng, found = random.Random(seed), Counted()
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            text = SCENARIO.format(
                transport=rng.choice(("smtp", "api")),
                connection=rng.choice(("pooled", "unpooled")),
                load=rng.choice(LOADS),
            )
            (Path(folder) / "run.yaml").write_text(text, encoding="utf-8")
            try:
                check(Path(folder), rng.uniform(0, 1.5), found)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                found.blame(f"run {number}: {error}")
        found.done += 1
    return found


def _signalled(folder: Path, after_s: float, number: signal.Signals) -> tuple[int, int, float]:
    """A run that gets the signal so long after its mock has started: its exit code, when that was and for
    how many ms its threads had waited for a processor."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command("run", "run.yaml"), cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe
    )
    wait_until(lambda: (folder / "results/latest/mock-000.jsonl").exists(), "the mock to start")
    time.sleep(max(0.0, after_s - WATCHED_S))
    waited_ns = _waited_ns(process.pid)
    time.sleep(min(after_s, WATCHED_S))
    at_ns, waited_ns = monotonic_ns(), _waited_ns(process.pid) - waited_ns
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if b"Traceback" in errors:
        raise Wrong(errors[-500:].decode(errors="replace"))
    return process.returncode, at_ns, waited_ns / 1e6


def _waited_ns(pid: int) -> int:
    """For how long the threads of a process have been ready to run and did not."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks)
    except OSError:  # a thread, or the process, has ended
        return 0


def _killed(folder: Path, after_s: float, found: Counted) -> None:
    code, at_ns, waited_ms = _signalled(folder, after_s, signal.SIGKILL)
    run = latest(folder)
    if code != -signal.SIGKILL:
        found.add("ended before", 1)
        return
    time.sleep(0.3)  # the mock notices, and writes its log
    before = _outcomes(run)
    for each in _taken(run):
        lost_ms = (at_ns - each.answered_ns) / 1e6
        if lost_ms > LATE_MS + waited_ms and before.get(each.key) is not Outcome.ACCEPTED:
            said = f"{each.key} was answered {lost_ms:.0f} ms before and is {before.get(each.key)}"
            raise Wrong(f"{said}; the machine had kept it waiting for {waited_ms:.0f} ms")
    lost = list(before.values()).count(Outcome.UNKNOWN)
    found.add("unknown in all", lost)
    if open_run(run).manifest.rows is not None:
        found.add("ended before", 1)
        return
    done = sendbench("run", "run.yaml", "--resume", str(run), folder=folder)
    if done.returncode not in (0, 3):  # 3: a busy machine made it late
        raise Wrong(f"gone on with: {done.returncode}: {done.stderr[-300:]}")
    found.add("gone on with", 1)
    after = _balanced(run)
    if kept := [key for key, outcome in before.items() if after[key] is not outcome]:
        raise Wrong(f"{len(kept)} outcomes changed, such as that of {kept[0]}")


def _told_to_end(folder: Path, after_s: float, found: Counted) -> None:
    code, _, _ = _signalled(folder, after_s, signal.SIGTERM)
    if code not in (143, -signal.SIGTERM, 0):  # a run that was over already ends as any process does
        raise Wrong(f"exit code {code}")
    outcomes = _balanced(latest(folder))
    taken = {each.key for each in _taken(latest(folder))}
    accepted = {key for key, outcome in outcomes.items() if outcome is Outcome.ACCEPTED}
    if taken != accepted:
        raise Wrong(f"{len(taken ^ accepted)} messages are accepted and not taken, or the other way round")
    found.add("rows", len(outcomes))
    found.add("rows lost", len(taken - accepted))


def _balanced(run: Path) -> dict[str, Outcome]:
    """The outcomes of a run that has ended: one for each message, and none that the mock's log denies."""
    outcomes, times = _outcomes(run), Counter(each.key for each in _taken(run))
    if len(outcomes) != MESSAGES:
        raise Wrong(f"{len(outcomes)} rows of {MESSAGES}")
    if times and max(times.values()) > 1:
        raise Wrong(f"taken twice: {times.most_common(1)}")
    for key, outcome in outcomes.items():
        if (outcome is Outcome.ACCEPTED and key not in times) or (
            key in times and outcome not in (Outcome.ACCEPTED, Outcome.UNKNOWN)
        ):
            raise Wrong(f"{key} is {outcome} and was taken {times[key]} times")
    return outcomes


def _outcomes(run: Path) -> dict[str, Outcome]:
    rows = open_run(run).table().select(["key", "outcome"]).to_pylist()
    return {row["key"]: Outcome(row["outcome"]) for row in rows}


def _taken(run: Path) -> list[Taken]:
    with (run / "mock-000.jsonl").open("rb") as log:
        return [Taken(**json.loads(line)) for line in log]
