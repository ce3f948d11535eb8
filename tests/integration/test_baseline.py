"""Baselines from the command line: real runs against a server whose speed changes under the same scenario."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from bench.api import RunOptions, Stop, run_scenario
from bench.mock.process import mock_process
from bench.mock.spec import MockSpec
from bench.model import ServiceTime, TlsMode
from bench.scenario import load_scenario
from bench.store import open_run
from tests.integration.peers import unused_ports
from tests.integration.test_cli import sendbench

KEPT, NEW = 10, 4


def measure(folder: Path, port: int, service_ms: int, count: int) -> list[Path]:
    """So many runs of one scenario against a server that takes so long."""
    text = f"""\
version: 1
name: signup
target: smtp://127.0.0.1:{port}
tls: none
load: {{model: closed, concurrency: 4, messages: 120, warmup: 4}}
"""
    (folder / "signup.yaml").write_text(text, encoding="utf-8")
    spec = MockSpec(
        kind="smtp",
        port=port,
        tls=TlsMode.NONE,
        auth_mechanisms=(),
        service_time=ServiceTime(p50_ns=service_ms * 1_000_000),
    )

    async def main() -> list[Path]:
        scenario = load_scenario(folder / "signup.yaml")
        async with mock_process(spec):
            options = RunOptions(results=folder / "results")
            return [await run_scenario(scenario, options, Stop()) for _ in range(count)]

    return anyio.run(main)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[Path]]:
    """A folder with runs of a server, and of the same one when it has become slower."""
    folder, (port,) = tmp_path_factory.mktemp("baseline"), unused_ports(1)
    return folder, measure(folder, port, 10, KEPT + NEW), measure(folder, port, 20, NEW)


@pytest.fixture
def folder(measured: tuple[Path, list[Path], list[Path]]) -> Iterator[Path]:
    yield measured[0]
    shutil.rmtree(measured[0] / "results" / "baselines", ignore_errors=True)


@contextmanager
def manifest_of(run: Path) -> Iterator[dict[str, object]]:
    """The manifest to be changed, as it was again afterwards."""
    file = run / "manifest.json"
    before = file.read_bytes()
    changed = json.loads(before)
    try:
        yield changed
    finally:
        file.write_bytes(before)


def test_save_list_show_check(measured: tuple[Path, list[Path], list[Path]], folder: Path) -> None:
    alike, slower = (list(map(str, runs)) for runs in measured[1:])
    saved = sendbench("baseline", "save", *alike[: KEPT - 1], folder=folder)
    assert (saved.returncode, saved.stderr) == (0, "")
    assert saved.stdout.endswith("/signup.json: 9 runs\n")
    early = sendbench("baseline", "check", *slower, folder=folder)
    assert early.returncode == 2
    assert "has 9 runs and nothing is held against fewer than 10" in early.stderr
    sendbench("baseline", "save", alike[KEPT - 1], folder=folder)

    listed = sendbench("baseline", "list", folder=folder)
    assert listed.stdout.startswith("signup: 10 runs on ")
    shown = sendbench("baseline", "show", "signup", folder=folder)
    assert "generic/smtp/pooled (service): p50 1" in shown.stdout

    worse = sendbench("baseline", "check", *slower, folder=folder)
    assert worse.returncode == 1, worse.stdout + worse.stderr
    assert "REGRESSION: generic/smtp/pooled (service): p50 " in worse.stdout
    assert worse.stdout.endswith("regression\n")
    few = sendbench("baseline", "check", slower[0], folder=folder)
    assert few.returncode == 4
    assert "1 new run beside 10 cannot show" in few.stdout

    same = sendbench(
        "baseline", "check", "--limit", "p50=60%", "--limit", "p95=400%", *alike[KEPT:], folder=folder
    )
    assert same.returncode == 0, same.stdout + same.stderr
    assert "are found 95 times of 100" in same.stdout
    as_json = sendbench("baseline", "check", "--json", *slower, folder=folder)
    found = json.loads(as_json.stdout)
    assert found["schema"] == "sendbench.baseline-check/1"
    assert found["check"]["verdict"] == "regression"
    assert found["check"]["cases"][0]["ratios"][0]["ratio"] > 1.2

    again = sendbench("baseline", "check", alike[0], folder=folder)
    assert again.returncode == 2
    assert "cannot be held against itself" in again.stderr
    twice = sendbench("baseline", "save", alike[0], folder=folder)
    assert twice.returncode == 2
    assert "is in the baseline already" in twice.stderr


def test_runs_of_another_machine_scenario_or_definition_are_refused(
    measured: tuple[Path, list[Path], list[Path]], folder: Path
) -> None:
    alike = measured[1]
    sendbench("baseline", "save", *map(str, alike[:KEPT]), folder=folder)
    run = alike[KEPT]
    for key, value, words in (
        ("facts", {**open_run(run).manifest.facts, "machine": "a slower one, 1 cores"}, "say nothing here"),
        ("measurement", 0, "definition 0 of the figures"),
        ("config_hash", "0" * 16, "not as the baseline has it"),
        ("scenario", "../../../signup", "not the names of"),
    ):
        with manifest_of(run) as manifest:
            manifest[key] = value
            (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
            done = sendbench("baseline", "check", str(run), folder=folder)
            assert (done.returncode, done.stdout) == (2, ""), key
            assert words in done.stderr
    with manifest_of(run) as manifest:
        manifest["state"] = "aborted"
        (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        for command in ("save", "check"):
            done = sendbench("baseline", command, str(run), folder=folder)
            assert (done.returncode, done.stdout) == (3, "")
            assert "says nothing (aborted" in done.stderr


def test_what_there_is_not(tmp_path: Path) -> None:
    assert sendbench("baseline", "list", folder=tmp_path).stdout == ""
    for arguments in (("show", "smoke"), ("check",), ("save", "nowhere"), ("check", "x", "--limit", "p50=5")):
        done = sendbench("baseline", *arguments, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("sendbench: ")
        assert "Traceback" not in done.stderr
