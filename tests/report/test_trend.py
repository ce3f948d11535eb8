"""The two files that follow figures over time, read by the program each is for, or as it does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.model import Distribution, Percentile
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge
from tests.report.rendered import render

SESSION = """
import json
from pathlib import Path


class Stored(dict):
    \"\"\"A benchmark of this session whose statistics come from a file.\"\"\"

    def __init__(self, entry):
        super().__init__(entry["stats"])
        self.entry, self.fullname, self.has_error = entry, entry["fullname"], False
        self.name = entry["name"]

    def as_dict(self, **options):
        return {**self.entry, **self.entry["stats"]} if options.get("flat") else {**self.entry}


def test_head(request):
    head = json.loads(Path("head.json").read_text())
    request.config._benchmarksession.benchmarks += [Stored(each) for each in head["benchmarks"]]
"""


def slower(run: Planted, factor: float, statistic: str) -> Planted:
    """The same run in which one percentile of every case is larger by this factor."""

    def changed(times: Distribution | None) -> Distribution | None:
        value = getattr(times, statistic)
        assert times is not None
        assert isinstance(value, Percentile)
        return replace(times, **{statistic: replace(value, value_ms=value.value_ms * factor)})  # type: ignore[arg-type]  # a percentile by its name

    cases = tuple(replace(case, service=changed(case.service)) for case in run.summary.cases)
    return replace(run, summary=replace(run.summary, cases=cases))


def pytest_benchmark(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pytest_benchmark.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def session(folder: Path, base: Planted, head: Planted, limit: str) -> subprocess.CompletedProcess[str]:
    """A pytest session whose benchmarks are those of `head`, compared with `base`."""
    (folder / "base.json").write_bytes(render("pytest-benchmark", base))
    (folder / "head.json").write_bytes(render("pytest-benchmark", head))
    (folder / "test_head.py").write_text(SESSION)
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".",
        "--benchmark-compare=base.json", f"--benchmark-compare-fail={limit}",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def test_pytest_benchmark_compares_two_runs(tmp_path: Path) -> None:
    for name, run in (("a", edge("many")), ("b", slower(edge("many"), 1.5, "p99"))):
        (tmp_path / f"{name}.json").write_bytes(render("pytest-benchmark", run))
    done = pytest_benchmark(
        tmp_path, "compare", "a.json", "b.json", "--columns=min,median,ops,rounds", "--csv=out.csv"
    )
    assert done.returncode == 0, done.stderr
    assert "benchmark 'service p99': 2 tests" in done.stdout
    assert "(1.50)" in done.stdout, done.stdout
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert sum("/service/p99" in row for row in rows) == 2


@pytest.mark.parametrize(("factor", "code"), [(1.09, 0), (1.11, 1)])
def test_pytest_benchmark_fails_on_a_slower_p99(factor: float, code: int, tmp_path: Path) -> None:
    done = session(tmp_path, edge("many"), slower(edge("many"), factor, "p99"), "median:10%")
    assert done.returncode == code, done.stdout + done.stderr
    failed = [
        line for line in (done.stdout + done.stderr).splitlines() if "PercentageRegressionCheck" in line
    ]
    assert len(failed) == code
    assert all("/service/p99" in line for line in failed)


def github_action_benchmark(data: bytes) -> dict[str, float]:
    """What its `tool: pytest` takes: the full name and `ops`, of which more is better."""
    benchmarks: list[dict[str, Any]] = json.loads(data)["benchmarks"]
    for each in benchmarks:
        assert {"mean", "stddev", "rounds", "ops"} <= each["stats"].keys()
    return {each["fullname"]: each["stats"]["ops"] for each in benchmarks}


def test_github_action_benchmark_sees_a_slower_p99_as_fewer_operations() -> None:
    before = github_action_benchmark(render("pytest-benchmark", edge("many")))
    after = github_action_benchmark(render("pytest-benchmark", slower(edge("many"), 2.0, "p99")))
    changed = {name for name in before if before[name] != after[name]}
    (name,) = changed
    assert name == "smtp-vs-api::sendgrid/smtp/unpooled/service/p99"
    assert after[name] == pytest.approx(before[name] / 2)


def test_values_are_seconds_of_the_summary() -> None:
    (case,) = edge("many").summary.cases
    found = {
        each["name"].rpartition("/")[2]: each
        for each in json.loads(render("pytest-benchmark", edge("many")))["benchmarks"]
    }
    assert case.service is not None
    assert set(found) == {"p50", "p90", "p95", "p99", "mean"}  # p99.9 needs more messages than there are
    p99 = case.service.p99
    assert p99 is not None
    stats = found["p99"]["stats"]
    assert {stats[key] for key in ("min", "max", "mean", "median")} == {p99.value_ms / 1000}
    assert found["p99"]["extra_info"]["ci95_ms"] == list(p99.ci95_ms)
    assert found["p99"]["extra_info"]["accepted"] == case.counts.accepted < case.counts.scheduled


def test_custom_smaller_is_better() -> None:
    """As github-action-benchmark documents it: name, unit and value, and text where there is some."""
    found = json.loads(render("smaller-is-better", edge("many")))
    (case,) = edge("many").summary.cases
    assert all(set(each) == {"name", "unit", "value", "range", "extra"} for each in found)
    assert all(isinstance(each["value"], int | float) for each in found)
    assert all(isinstance(each[key], str) for each in found for key in ("name", "unit", "range", "extra"))
    values = {each["name"]: each["value"] for each in found}
    assert case.service is not None
    assert case.service.p99 is not None
    assert values[f"{case.id}/service/p99"] == case.service.p99.value_ms
    assert values[f"{case.id}/not accepted"] == pytest.approx(100 * case.counts.failed / 2500)


@pytest.mark.parametrize("name", ["pytest-benchmark", "smaller-is-better"])
def test_an_invalid_case_enters_no_line(name: str) -> None:
    invalid, good = (case.id for case in edge("some-failed").summary.cases)
    text = render(name, edge("some-failed")).decode()
    assert good in text
    assert invalid not in text


@pytest.mark.parametrize("shape", EDGES)
def test_names_are_unique(shape: str) -> None:
    names = [each["fullname"] for each in json.loads(render("pytest-benchmark", edge(shape)))["benchmarks"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_stays_text(payload: str) -> None:
    run = hostile_run(payload)
    valid = tuple(replace(case, generator=replace(case.generator, valid=True)) for case in run.summary.cases)
    for name in ("pytest-benchmark", "smaller-is-better"):
        data = render(name, replace(run, summary=replace(run.summary, cases=valid)))
        found = json.loads(data)
        entries = found["benchmarks"] if isinstance(found, dict) else found
        assert len(entries) >= 4
        assert all(each["name"].isprintable() for each in entries)
