"""Real runs of the gate against mocks whose service times are planted, on a machine that others use, too."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import numpy as np

from bench.analysis import ANALYSED, sample_frame, summarize
from bench.analysis.comparisons import observed
from bench.api import RunOptions, Stop, run_scenario
from bench.model import Summary, Verdict
from bench.scenario import load_scenario
from bench.store import open_run
from tests.gate.noise import NOISES, Change, Floats, base
from tests.gate.rules import RULES

DRAWN = 10_000
"""Service times a file holds: the planted distribution is theirs."""
SCENARIO = """\
version: 1
name: calibration
load: {{model: constant, rate: {rate}/s, messages: {count}, warmup: 50, max_in_flight: 500}}
message: {{size: 1KiB}}
tls: none
pool: {{size: 500, preconnect: true}}
matrix: {{mock.service_time: [{{observed: base.txt}}, {{observed: head.txt}}]}}
compare: mock.service_time
gate: default
"""
RATE_PER_S = 400
MEDIAN_MS = 50.0
"""Of the service times: what a machine that others use makes late must stay small against it."""
THIEF = """\
import os, random, sys, time
rng, parent = random.Random(int(sys.argv[1])), os.getppid()
while os.getppid() == parent:
    end = time.monotonic() + rng.uniform(0.001, 0.05)
    while time.monotonic() < end:
        pass
    time.sleep(rng.uniform(0.001, 0.1))
"""


@dataclass
class Tally:
    """What real runs came to."""

    seed: int
    """Of the first; those of the next follow. Drawn anew each time: planted times depend on nothing else, and
    of some 150 seeds more are unlucky than of others."""
    valid: int = 0
    invalid: int = 0
    invalid_reasons: dict[str, int] = field(default_factory=dict)
    by_rule: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    verdicts: dict[str, int] = field(default_factory=dict)


def _plant(folder: Path, count: int, change: Change) -> Path:
    """A scenario and its two files of service times; the second one's are changed."""
    times = base(NOISES["quiet"], DRAWN, np.random.default_rng(17))
    for name, values in (("base.txt", times), ("head.txt", change(times))):
        lines = (f"{value * MEDIAN_MS:.6f}ms" for value in values)
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    scenario = folder / "calibration.yaml"
    scenario.write_text(SCENARIO.format(rate=RATE_PER_S, count=count), encoding="utf-8")
    return scenario


@contextmanager
def _thief(seed: int | None) -> Iterator[None]:
    """A process that takes CPU at random meanwhile; none where there is no seed."""
    if seed is None:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", THIEF, str(seed)]) as process:
        try:
            yield
        finally:
            process.kill()


def run_once(scenario: Path, results: Path, seed: int) -> tuple[Summary, list[Floats]]:
    """A run's summary, and the times of both variants as the gate sees them."""
    loaded = load_scenario(scenario)

    async def whole() -> Path:
        return await run_scenario(loaded, RunOptions(results=results, seed=seed), Stop())

    folder = anyio.run(whole, backend_options={"use_uvloop": True})
    stored = open_run(folder)
    frame = sample_frame(stored.table(ANALYSED))
    summary = summarize(frame, stored.manifest, {}, {})
    times = [observed(frame[frame["case"].eq(case.id)], "latency") for case in stored.manifest.cases]
    shutil.rmtree(folder)
    return summary, times


def tally(change: Change, count: int, rounds: int, *, stolen: bool) -> Tally:
    """Valid runs until there are so many; the invalid ones are repeated and counted apart."""
    seed = secrets.randbelow(2**30)
    found = Tally(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenario = _plant(folder, count, change)
        while found.valid < rounds and found.invalid <= 10 + rounds:
            with _thief(seed if stolen else None):
                summary, times = run_once(scenario, folder / "results", seed)
            _count(found, summary, times)
            seed += 1
    return found


def _count(found: Tally, summary: Summary, times: list[Floats]) -> None:
    reasons = [
        reason for case in summary.cases if not case.generator.valid for reason in case.generator.reasons
    ]
    if summary.run.state != "complete" or reasons:
        found.invalid += 1
        for reason in reasons[:1]:
            short = reason.partition(":")[0]
            found.invalid_reasons[short] = found.invalid_reasons.get(short, 0) + 1
        return
    found.valid += 1
    (comparison,) = summary.comparisons
    verdict = str(comparison.verdict)
    found.verdicts[verdict] = found.verdicts.get(verdict, 0) + 1
    for name, rule in RULES.items():
        if name == "sendbench":
            found.by_rule[name] += comparison.verdict is Verdict.REGRESSION
        else:
            found.by_rule[name] += rule(*times)
