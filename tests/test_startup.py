"""What a person types first comes at once: the heavy libraries are not paid for by small commands."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"pandas", "matplotlib", "pyarrow", "numpy"}
SMOKE = str(ROOT / "scenarios" / "smoke.yaml")


def imported(arguments: list[str]) -> set[str]:
    """The top-level packages that `sendbench ARGUMENTS` imported; the command must succeed."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["validate", SMOKE], ["mock", "--help"], ["run", "--help"], ["plan", SMOKE]],
    ids=lambda arguments: " ".join(Path(argument).name for argument in arguments),
)
def test_small_commands_import_nothing_heavy(arguments: list[str]) -> None:
    found = imported(arguments)
    assert "bench" in found
    assert found & HEAVY == set()


def test_the_mock_process_imports_nothing_heavy() -> None:
    code = "import sys, bench.mock.__main__; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert "bench" in found
    assert found & HEAVY == set()


LIBRARIES = ["-c", "import asyncio, click, pydantic.dataclasses, ruamel.yaml"]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("arguments", "times"), [(["--help"], 0.6), (["validate", SMOKE], 2.6)], ids=["help", "validate"]
)
def test_small_commands_take_little_cpu(arguments: list[str], times: float) -> None:
    """In multiples of what their libraries take just before: a shared machine is now quicker, now slower."""
    command = ["-m", "bench", *arguments]
    cpu_s(command)  # compiles
    assert statistics.median(1 / cpu_s(LIBRARIES) * cpu_s(command) for _ in range(7)) < times


def cpu_s(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
