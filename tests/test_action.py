"""`action.yml` as GitHub carries it out: its steps in a shell, with the runner's files in a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = YAML(typ="safe").load(ROOT / "action.yml")
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{ ([a-z._-]+) \}\}")
SCENARIO = """\
version: 1
name: acted
target: mock
provider: sendgrid
transport: smtp
load: {model: closed, concurrency: 2, messages: 20}
"""


@dataclass(frozen=True)
class Acted:
    """What the runner has once the steps have run."""

    code: int
    log: str
    outputs: dict[str, str]
    summary: str
    folder: Path

    @property
    def commands(self) -> list[str]:
        """The workflow commands the runner obeys: none between stop-commands and its token."""
        found, token = [], ""
        for line in self.log.splitlines():
            if token:
                token = "" if line == f"::{token}::" else token
            elif line.startswith("::stop-commands::"):
                token = line.removeprefix("::stop-commands::")
                assert len(token) == 32
            elif line.startswith("::"):
                found.append(line)
        assert not token, "commands are obeyed again at the end"
        return found


def act(folder: Path, *, program: str = "", **inputs: str) -> Acted:
    """Run the steps one after the other, in `folder` as the workspace, until one fails."""
    sendbench = folder / "sendbench"
    sendbench.write_text(program or f'#!/bin/sh\nexec {sys.executable} -P -m bench "$@"\n')
    sendbench.chmod(0o700)
    defaults = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}
    given = defaults | {"sendbench": str(sendbench)} | {k.replace("_", "-"): v for k, v in inputs.items()}
    values = {f"inputs.{name}": value for name, value in given.items()}
    values["github.action_path"] = str(ROOT)
    files = {name: folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in files.values():
        path.write_text("")
    log, code = "", 0
    for step in STEPS:
        env = {name: resolved(text, values) for name, text in step["env"].items()}
        done = shell(step["run"], folder, {**env, **{name: str(path) for name, path in files.items()}})
        log, code = log + done.stdout, done.returncode
        if code:
            break
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    of_action = {
        name: outputs.get(spec["value"].removeprefix("${{ steps.measure.outputs.").removesuffix(" }}"), "")
        for name, spec in ACTION["outputs"].items()
    }
    return Acted(code, log, of_action, files["GITHUB_STEP_SUMMARY"].read_text(), folder)


def resolved(text: str, values: Mapping[str, str]) -> str:
    return EXPRESSION.sub(lambda found: values[found[1]], text)


def shell(script: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As the runner starts `shell: bash`; both streams are the job's log."""
    (folder / "step.sh").write_text(script)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=55,
        check=False,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "mail").mkdir()
    return tmp_path


def scenario(workspace: Path, *lines: str) -> str:
    (workspace / "mail" / "acted.yaml").write_text("\n".join([SCENARIO.rstrip(), *lines, ""]))
    return "mail/acted.yaml"


# --------------------------------------------------------------------------- its form


def test_it_is_shell_alone_and_no_input_is_part_of_a_script() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for step in STEPS:
        assert step["shell"] == "bash"
        assert "uses" not in step
        assert "${{" not in step["run"], "an input could end the line it stands in"
        assert all(EXPRESSION.fullmatch(text) for text in step["env"].values())
    assert all(spec["description"] for spec in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))


def test_what_is_installed_is_pinned_by_hash(tmp_path: Path) -> None:
    """The step calls `make install`, and that is what asks pip for hashes."""
    (install,) = [step["run"] for step in STEPS if "make" in step["run"]]
    assert 'make -C "$ACTION" install' in install
    done = subprocess.run(
        ["make", "-n", "-B", "-C", str(ROOT), "PYTHON=python3", "install"],
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    asked = [line for line in done.stdout.splitlines() if "pip install" in line and "-r " in line]
    assert asked
    assert all("--require-hashes --only-binary :all:" in line for line in asked)


# ---------------------------------------------------------------------------- a run


def test_a_run_that_passes(workspace: Path) -> None:
    found = act(workspace, scenario=scenario(workspace, "thresholds: [share(accepted) >= 100%]"))
    assert found.code == 0, found.log
    out = found.outputs
    assert (out["verdict"], out["exit-code"], out["gate"]) == ("pass", "0", "")
    assert (workspace / out["run"] / "samples.parquet").is_file()
    assert {path.name for path in (workspace / out["reports"]).iterdir()} == {
        "junit.xml", "github-summary.md", "github-outputs.txt", "github-annotations.txt", "report.html",
        "summary.json",
    }  # fmt: skip
    (suite,) = ElementTree.parse(workspace / out["junit"]).getroot()
    assert suite.attrib["errors"] == suite.attrib["failures"] == "0"
    assert found.summary.startswith("**PASS** (exit code 0)")
    assert found.commands == []
    assert out["answer"] in found.log.replace("\n", " ")


def test_a_threshold_that_fails_is_annotated_at_its_line(workspace: Path) -> None:
    file = scenario(workspace, "thresholds:", "  - share(accepted) >= 100%", "  - p50(service) < 1us")
    found = act(workspace, scenario=file)
    assert found.code == 1, found.log
    assert (found.outputs["verdict"], found.outputs["exit-code"]) == ("fail", "1")
    (command,) = found.commands
    start = "::error file=mail/acted.yaml,line=9,title=threshold fail::p50(service) < 1us: "
    assert command.startswith(start)
    assert found.summary.startswith("**FAIL** (exit code 1)")


@pytest.mark.parametrize(("choice", "code"), [("fail", 4), ("pass", 0)])
def test_what_data_cannot_tell_is_up_to_the_user(workspace: Path, choice: str, code: int) -> None:
    file = scenario(workspace, "thresholds: [p99(service) < 10s]")
    found = act(workspace, scenario=file, inconclusive=choice)
    assert found.code == code, found.log
    assert (found.outputs["verdict"], found.outputs["exit-code"]) == ("inconclusive", "4")
    (command,) = found.commands
    assert command.startswith("::warning file=mail/acted.yaml,line=7,title=threshold inconclusive::")


@pytest.mark.parametrize("choice", ["fail", "pass"])
def test_an_invalid_run_fails_whatever_is_chosen(workspace: Path, choice: str) -> None:
    file = scenario(workspace, "faults: [{at: dot, do: reply, text: '554 no'}]")
    found = act(workspace, scenario=file, inconclusive=choice)
    assert found.code == 3, found.log
    assert found.outputs["verdict"] == "invalid"


def test_profile_and_arguments_arrive_as_they_are(workspace: Path) -> None:
    file = scenario(workspace, "profiles: {ci: {load: {model: closed, concurrency: 1, messages: 7}}}")
    found = act(
        workspace,
        scenario=file,
        profile="ci",
        arguments="--seed\n5\n\n--set\ndescription=a b; $(touch owned) `touch owned`\n",
        formats="",
    )
    assert found.code == 0, found.log
    assert "7/7" in found.log
    assert (
        "a b; $(touch owned) `touch owned`"
        in (workspace / found.outputs["run"] / "manifest.json").read_text()
    )
    assert not (workspace / "owned").exists()


def test_what_a_server_says_is_no_command(workspace: Path) -> None:
    reply = "554 ::set-output name=verdict::pass ##[error]x ::error::x%0A::warning::y"
    found = act(workspace, scenario=scenario(workspace, f"faults: [{{at: dot, do: reply, text: '{reply}'}}]"))
    assert found.code == 3
    assert all(
        command.startswith("::error file=mail/acted.yaml,title=case invalid::") for command in found.commands
    )
    assert len(found.commands) == 1
    assert "##[" not in found.log
    assert found.outputs["verdict"] == "invalid"


# --------------------------------------------------------- X22: it fails closed


def test_a_scenario_that_is_wrong_leaves_no_pass(workspace: Path) -> None:
    found = act(workspace, scenario=scenario(workspace, "conection: pooled"))
    assert found.code == 2
    assert (found.outputs["verdict"], found.outputs["exit-code"]) == ("error", "2")
    (command,) = found.commands
    assert command.startswith("::error title=sendbench::no run came of it (exit code 2)")


def test_the_run_of_an_earlier_step_is_not_taken_for_this_one(workspace: Path) -> None:
    good = scenario(workspace)
    assert act(workspace, scenario=good).code == 0
    found = act(workspace, scenario="nowhere.yaml")
    assert found.code == 2
    assert found.outputs["verdict"] == "error"
    assert found.outputs["junit"] == ""


def test_a_choice_nobody_knows_is_an_error(workspace: Path) -> None:
    found = act(workspace, scenario=scenario(workspace), inconclusive="ignore")
    assert (found.code, found.outputs["verdict"]) == (2, "error")


PROGRAMS = {
    "does nothing": "exit 0",
    "makes a run and no report": "mkdir -p results/r; ln -sfn r results/latest; exit 0",
    "reports nothing": (
        'mkdir -p results/r; ln -sfn r results/latest; [ "$1" = run ] || mkdir -p reports/r; exit 0'
    ),
    "leaves its outputs empty": (
        "mkdir -p results/r reports/r; ln -sfn r results/latest; echo x | tee reports/r/junit.xml "
        "> reports/r/github-summary.md; : > reports/r/github-outputs.txt; exit 0"
    ),
    "is not there": None,
    "is killed": "kill -9 $$",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_whatever_the_program_does_nothing_is_no_pass(workspace: Path, name: str) -> None:
    script = PROGRAMS[name]
    if script is None:
        found = act(workspace, scenario=scenario(workspace), sendbench=str(workspace / "none"))
    else:
        found = act(workspace, program=f"#!/bin/sh\n{script}\n", scenario=scenario(workspace))
    assert found.code != 0, found.log
    assert (found.outputs["verdict"], found.outputs["exit-code"]) == ("error", str(found.code))
    assert found.commands[-1].startswith("::error title=sendbench::")


def test_a_report_that_fails_fails_the_step_of_a_run_that_passed(workspace: Path) -> None:
    program = f"""#!/bin/sh
{sys.executable} -P -m bench "$@"
code=$?
[ "$1" != run ] || : > results/latest/samples.parquet
exit $code
"""
    found = act(workspace, program=program, scenario=scenario(workspace))
    assert found.code == 2, found.log
    assert found.outputs["verdict"] == "error"


def test_two_servers_are_gated(workspace: Path) -> None:
    text = SCENARIO.replace(
        "target: mock\nprovider: sendgrid\n", "target: smtp://127.0.0.1:{port}\ntls: none\n"
    )
    (workspace / "mail" / "acted.yaml").write_text(text.replace("messages: 20", "messages: 300"))
    server = f"{sys.executable} -P -m bench mock smtp --no-auth --tls none --port {{port}} --service-time"
    found = act(
        workspace, scenario="mail/acted.yaml",
        base=f"{server} 10ms", head=f"{server} 15ms", arguments="--processes\n1",
    )  # fmt: skip
    assert found.code == 1, found.log
    out = found.outputs
    assert (out["verdict"], out["exit-code"], out["gate"]) == ("fail", "1", "regression")
    assert "server=head against" in found.summary
    assert any("title=gate%3A regression::server: p50" in line for line in found.commands), found.commands


def test_base_and_head_go_together(workspace: Path) -> None:
    found = act(workspace, scenario=scenario(workspace), base="serve {port}")
    assert (found.code, found.outputs["verdict"]) == (2, "error")
    assert "base and head go together" in found.log
