"""What GitHub Actions is handed, read the way its runner reads it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.model import ThresholdVerdict, Verdict
from bench.report import github
from tests.report.gated import gated
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge
from tests.report.rendered import render

COMMAND = re.compile(r"::([a-z]+) ([^:]*)::(.*)")
LEGACY = re.compile(r"##\[")
NAMES = [
    "verdict", "exit-code", "run", "answer", "cases", "invalid-cases", "failed-thresholds",
    "inconclusive-thresholds", "gate",
]  # fmt: skip


def commands(run: Planted) -> list[tuple[str, dict[str, str], str]]:
    """Level, properties and text of each, unescaped as `actions/runner` does it; every line must be one."""
    found = []
    for line in render("github-annotations", run).decode().split("\n")[:-1]:
        matched = COMMAND.fullmatch(line)
        assert matched is not None, line
        assert LEGACY.search(line) is None
        level, properties, text = matched.groups()
        pairs = [each.partition("=") for each in properties.split(",")]
        found.append((level, {name: unescaped(value) for name, _, value in pairs}, unescaped(text)))
    return found


def unescaped(text: str) -> str:
    for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, char)
    return text


def outputs(run: Planted) -> dict[str, str]:
    """As `actions/runner` reads GITHUB_OUTPUT: a line is what the first of `=` and `<<` in it says."""
    found = {}
    for line in render("github-outputs", run).decode().split("\n")[:-1]:
        equals, heredoc = line.find("="), line.find("<<")
        assert equals >= 0
        assert heredoc < 0 or equals < heredoc, line
        found[line[:equals]] = line[equals + 1 :]
    return found


def test_a_failed_threshold_is_an_error_on_its_own_line() -> None:
    run = edge("one")
    (case,) = run.summary.cases
    wrong = replace(case.thresholds[0], verdict=ThresholdVerdict.FAIL, text="p50(service) < 100%, really")
    unsure = replace(case.thresholds[1], verdict=ThresholdVerdict.INCONCLUSIVE)
    info = replace(run.summary.run, file="scenarios/a,b:c.yaml")
    planted = replace(
        run, summary=replace(run.summary, run=info, cases=(replace(case, thresholds=(wrong, unsure)),))
    )
    first, second = commands(planted)
    assert first[:2] == (
        "error",
        {"file": "scenarios/a,b:c.yaml", "line": "12", "title": "threshold fail"},
    )
    assert first[2].startswith("p50(service) < 100%, really: ")
    assert first[2].endswith(f" in {case.id}")
    assert second[:2] == (
        "warning",
        {"file": "scenarios/a,b:c.yaml", "line": "13", "title": "threshold inconclusive"},
    )


def test_where_the_scenario_is_elsewhere_no_file_is_named() -> None:
    run = edge("some-failed")
    assert commands(run)
    assert all(set(properties) == {"title"} for _, properties, _ in commands(run))


def test_one_annotation_a_threshold_and_at_most_ten_of_a_level() -> None:
    run = edge("sixteen")
    failed = tuple(
        replace(case, thresholds=tuple(replace(t, verdict=ThresholdVerdict.FAIL) for t in case.thresholds))
        for case in run.summary.cases
    )
    assert len(commands(replace(run, summary=replace(run.summary, cases=failed)))) == 2
    many = tuple(
        replace(case, thresholds=tuple(replace(t, line=number) for t in case.thresholds))
        for number, case in enumerate(failed, 1)
    )
    found = commands(replace(run, summary=replace(run.summary, cases=many)))
    assert [level for level, _, _ in found] == ["error"] * github.MAX_ANNOTATIONS
    assert found[-1][2] == "23 more; the report has them all"


@pytest.mark.parametrize(
    ("verdict", "level"), [(Verdict.REGRESSION, "error"), (Verdict.INCONCLUSIVE, "warning")]
)
def test_a_gate_that_does_not_pass_is_annotated(verdict: Verdict, level: str) -> None:
    (found,) = commands(gated(verdict))
    assert found[0] == level
    assert found[1] == {"file": "scenarios/smtp-vs-api.yaml", "title": f"gate: {verdict.value}"}
    assert outputs(gated(verdict))["gate"] == verdict.value


def test_a_pass_needs_no_annotation() -> None:
    assert commands(gated(Verdict.PASS)) == []
    told = outputs(gated(Verdict.PASS))
    assert list(told) == NAMES
    assert (told["verdict"], told["exit-code"], told["gate"]) == ("pass", "0", "pass")


def test_a_gate_on_an_invalid_case_never_reads_as_a_pass() -> None:
    told = outputs(gated(Verdict.PASS, valid=False))
    assert (told["verdict"], told["exit-code"], told["gate"]) == ("invalid", "3", "invalid")


def test_no_case_is_an_error() -> None:
    assert outputs(edge("no-cases"))["verdict"] == "invalid"
    assert [level for level, _, _ in commands(edge("no-cases"))] == ["error"]


@pytest.mark.parametrize("shape", EDGES)
def test_the_summary_begins_with_the_verdict(shape: str) -> None:
    told, text = outputs(edge(shape)), render("github-summary", edge(shape)).decode()
    assert text.startswith(f"**{told['verdict'].upper()}** (exit code {told['exit-code']})\n")
    assert render("md", edge(shape)).decode() in text


def test_a_summary_that_is_too_long_is_cut_at_a_line_and_says_so() -> None:
    run = edge("one")
    (case,) = run.summary.cases
    many = tuple(replace(case, id=f"{case.id}/{number}") for number in range(12_000))
    data = render("github-summary", replace(run, summary=replace(run.summary, cases=many)))
    assert github.MAX_SUMMARY - 2000 < len(data) <= github.MAX_SUMMARY
    assert data.endswith(b"has room for 1 MiB.\n")
    assert data.count(b"<details>") == data.count(b"</details>")
    folded = github._cut(b"<details><summary>a</summary>\n\n" + b"- b\n" * github.MAX_SUMMARY)
    assert folded.count(b"</details>") == 1
    assert len(folded) <= github.MAX_SUMMARY


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_is_no_command_and_no_output(payload: str) -> None:
    harmless, found = commands(hostile_run("harmless")), commands(hostile_run(payload))
    assert [level for level, _, _ in found] == [level for level, _, _ in harmless]
    assert [set(properties) for _, properties, _ in found] == [set(each) for _, each, _ in harmless]
    assert [p["title"] for _, p, _ in found[1:]] == [p["title"] for _, p, _ in harmless[1:]]
    assert list(outputs(hostile_run(payload))) == NAMES
    for name in ("github-summary", "github-outputs"):
        lines = render(name, hostile_run(payload)).decode().splitlines()
        assert not [line for line in lines if line.lstrip().startswith("::") or LEGACY.search(line)]


def test_what_is_escaped_already_is_not_unescaped_into_a_command() -> None:
    run = edge("no-cases")
    info = replace(run.summary.run, reason="50%0A::error::x %25 100%")
    (found,) = commands(replace(run, summary=replace(run.summary, run=info)))
    assert "\n" not in found[2]
    assert found[2].startswith("50%0A")
