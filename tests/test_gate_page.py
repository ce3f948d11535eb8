"""docs/gate.md: each recipe's scenario loads with the two commands that it is run with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.cli import commands
from bench.gating import gated, pair_of, parse_limits, set_texts
from bench.providers import check_message
from bench.scenario import load_scenario

PAGE = (Path(__file__).parents[1] / "docs" / "gate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(yaml|console)\n(.*?)```", PAGE, re.S)
SCENARIOS = {text.split()[3]: text for kind, text in BLOCKS if kind == "yaml"}
CALLS = [
    shlex.split(line.removeprefix("$ "))
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if line.startswith("$ sendbench gate ")
]


def test_the_recipes() -> None:
    assert list(SCENARIOS) == ["sign-up", "relay", "itself"]
    assert [call[2] for call in CALLS] == ["sign-up.yaml", "sign-up.yaml", "relay.yaml", "itself.yaml"]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
def test_a_recipe_loads_with_its_commands(call: list[str], tmp_path: Path) -> None:
    path = tmp_path / call[2]
    path.write_text(SCENARIOS[path.stem], encoding="utf-8")
    given = commands.commands["gate"].make_context("gate", call[2:]).params
    pair = set_texts(pair_of(given["base"], given["head"], "server"))
    loaded = load_scenario(path, overrides=pair, environ={}, check=check_message)
    scenario = gated(loaded, parse_limits(given["limits"]), given["stages"])
    assert [case.labels["server"] for case in scenario.cases] == ["base", "head"]
    assert [case.command for case in scenario.cases] == [given["base"], given["head"]]
