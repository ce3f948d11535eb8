from __future__ import annotations

import itertools

import pytest

from bench import errors
from bench.errors import BenchError, ExitCode, ScenarioError

ORDER = [
    ExitCode.SIGINT,
    ExitCode.SIGTERM,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.INVALID,
    ExitCode.THRESHOLD_FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.PASS,
]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("ScenarioError", 2),
        ("ResultFormatError", 2),
        ("SetupError", 3),
        ("InvalidRunError", 3),
        ("StorageError", 3),
        ("RefusedError", 5),
    ],
)
def test_each_error_has_its_documented_exit_code(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, BenchError)
    assert kind.exit_code == code


def test_exit_codes_are_the_documented_numbers() -> None:
    assert sorted(ExitCode) == [0, 1, 2, 3, 4, 5, 130, 143]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_of_two_causes_the_graver_one_wins(first: ExitCode, second: ExitCode) -> None:
    assert ExitCode.worst([second, first]) is first
    assert ExitCode.worst([first, second, first]) is first


def test_no_cause_is_a_pass() -> None:
    assert ExitCode.worst([]) is ExitCode.PASS


def test_scenario_error_says_where() -> None:
    error = ScenarioError("unknown key", file="a.yaml", line=3, column=5, field="load.rat")
    assert str(error) == "a.yaml:3:5: load.rat: unknown key"
    assert (error.file, error.line, error.column, error.field) == ("a.yaml", 3, 5, "load.rat")
    assert str(ScenarioError("no such file")) == "no such file"
