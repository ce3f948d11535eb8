"""Scenario files: YAML -> `Scenario`, with every error at its line.

The parser and the models are imported on first use, so that commands which read no scenario do
not pay for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.model import Case, Scenario


def load_scenario(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    check: Callable[[Case], object] | None = None,
) -> Scenario:
    """Read a scenario file and expand its matrix.

    `overrides` are the `KEY=VALUE` of `--set`; `environ` stands in for the environment. `check`
    builds the message of a case as it would be sent; the ValueError or UsageError it may raise
    becomes an error of the scenario at its line. Raises ScenarioError, or RefusedError where
    credentials would travel in clear text off this machine.
    """
    from bench.scenario.load import load_file

    return load_file(path, overrides, profile, environ, check)


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a scenario file, matrix keys and profiles included."""
    from bench.scenario.editor import file_schema

    return file_schema()


def shipped_scenarios() -> dict[str, Path]:
    """Name -> file of the scenarios that come with sendbench."""
    from bench.scenario.shipped import shipped_scenarios

    return shipped_scenarios()


def find_scenario(text: str) -> Path:
    """The file `text` names: a path, or the name of a shipped scenario. Raises UsageError."""
    from bench.scenario.shipped import find_scenario

    return find_scenario(text)
