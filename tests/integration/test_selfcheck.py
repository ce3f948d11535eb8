"""The self-check of real runs: what the platform stole is seen, and an overloaded generator says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from bench import hiccup
from bench.clock import monotonic_ns
from bench.hiccup import Seen, watching

pytestmark = pytest.mark.alone
MS = 1_000_000
SCENARIO = """\
version: 1
name: selfcheck
target: mock
provider: generic
tls: none
message: {{size: 1KiB}}
pool: {{size: 20}}
load: {{model: constant, rate: {rate}/s, duration: {duration}, max_in_flight: 20}}
"""


def run(folder: Path, rate: int, duration: str) -> tuple[int, dict[str, object]]:
    """Exit code and the case of summary.json."""
    (folder / "it.yaml").write_text(SCENARIO.format(rate=rate, duration=duration), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "it.yaml", "--results", "results", "--json"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=50,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    (case,) = json.loads(done.stdout)["cases"]
    return done.returncode, case


def test_a_rate_beyond_one_core_makes_the_case_invalid_and_it_is_reported_all_the_same(
    tmp_path: Path,
) -> None:
    code, case = run(tmp_path, 200_000, "50ms")
    generator, counts = case["generator"], case["counts"]
    assert isinstance(generator, dict)
    assert isinstance(counts, dict)
    assert (code, generator["valid"]) == (3, False)
    assert "started messages late" in generator["reasons"][0]
    assert "lower the rate" in generator["reasons"][0]
    assert generator["lag_p99_ms"] > 10, "lateness was forgiven: the schedule must never be re-anchored"
    assert counts["accepted"] == 10_000
    assert case["latency"] is not None


def test_a_run_within_its_means_says_what_the_machine_was_like(tmp_path: Path) -> None:
    code, case = run(tmp_path, 200, "1s")
    generator = case["generator"]
    assert isinstance(generator, dict)
    assert code == (0 if generator["valid"] else 3)
    assert generator["hiccup_max_ms"] >= 0
    assert generator["hiccup_p999_ms"] is None, "200 moments cannot show one in a thousand"


@pytest.mark.anyio
async def test_a_sleeper_that_is_held_up_reports_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiccup, "MOMENTS", 10)
    async with watching() as hiccups:
        await anyio.sleep(0.2)  # it has to be there first
        begun = monotonic_ns()
        assert hiccups._process is not None
        os.kill(hiccups._process.pid, signal.SIGSTOP)
        await anyio.sleep(0.3)
        os.kill(hiccups._process.pid, signal.SIGCONT)
        await anyio.sleep(0.05)
        seen = await hiccups.between([(begun, monotonic_ns())])
    assert seen.max_ns is not None
    assert seen.max_ns > 250 * MS
    assert seen.p999_ns == seen.max_ns
    assert hiccups._process.returncode is not None


@pytest.mark.anyio
async def test_without_a_sleeper_nothing_is_known_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    async with watching() as hiccups:
        assert await hiccups.between([(0, monotonic_ns())]) == Seen(None, None)


@pytest.mark.anyio
async def test_a_sleeper_that_died_is_no_error() -> None:
    async with watching() as hiccups:
        assert hiccups._process is not None
        hiccups._process.kill()
        await hiccups._process.wait()
        assert await hiccups.between([(0, monotonic_ns())]) == Seen(None, None)
