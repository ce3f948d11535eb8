"""`plan --gate` from the command line: from runs of the very cases, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.test_cli import latest, sendbench

SCENARIO = """\
version: 1
name: pair
transport: smtp
load: {model: closed, concurrency: 4, messages: 300, warmup: 4}
matrix: {message.size: [1KiB, 2KiB]}
compare: message.size
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "pair.yaml").write_text(SCENARIO, encoding="utf-8")
    done = sendbench("run", "pair.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    return latest(folder)


def planned(run: Path, *arguments: str) -> dict[str, object]:
    done = sendbench(
        "plan", "--gate", "pair.yaml", "--from", str(run), "--json", *arguments, folder=run.parents[1]
    )
    assert done.returncode == 0, done.stderr
    (gate,) = json.loads(done.stdout)["gates"]
    assert isinstance(gate, dict)
    return gate


def test_two_variants_that_were_compared(run: Path) -> None:
    gate = planned(run)
    assert (
        gate["name"] == "generic/smtp/pooled/message.size=2KiB against generic/smtp/pooled/message.size=1KiB"
    )
    assert (gate["effect"], gate["power"], gate["measure"]) == (0.05, 0.95, "service")
    done = sendbench(
        "plan", "--gate", "pair.yaml", "--from", str(run), "--effect", "30%", folder=run.parents[1]
    )
    assert "to find a slowdown of 30 % 95 times of 100 it takes" in done.stdout
    assert "at p50" in done.stdout
    assert "the run has too few accepted messages to know its spread (300 a side)" in done.stdout


def test_the_time_is_that_of_the_scenarios_schedule(run: Path) -> None:
    gate = planned(run, "--effect", "40%", "--set", "load={model: constant, rate: 50/s, messages: 300}")
    median = gate["percentiles"][0]  # type: ignore[index]  # JSON
    count = median["needed"]["count"]
    assert median["duration_ns"] / 1e9 == pytest.approx(count / 50, abs=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "with --from a run of it"),
        (
            ("--from", "RUN", "--set", "provider=ses"),
            "has no case of this scenario",
        ),
        (("--from", "RUN", "--effect", "5"), "write a percentage"),
        (("--from", "RUN", "--power", "100%"), "less than 100%"),
        (("--from", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_planned_from_is_one_line(run: Path, arguments: tuple[str, ...], said: str) -> None:
    named = [str(run) if each == "RUN" else each for each in arguments]
    done = sendbench("plan", "--gate", "pair.yaml", *named, folder=run.parents[1])
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
    assert sendbench("plan", "pair.yaml", "--from", str(run), folder=run.parents[1]).returncode == 2
