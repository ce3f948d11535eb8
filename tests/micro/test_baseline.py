"""What is compared with a baseline, and how."""

from __future__ import annotations

import json

import pytest

from tests.micro.baseline import Figure, MachineClass, best_of, compare, dump, load, measured

THEN = {"a": Figure(1000.0, 1100.0, 100_000)}


@pytest.mark.parametrize(
    ("now", "failed"),
    [
        (Figure(1290.0, 5000.0, 100_000), False),  # the median is not judged
        (Figure(1310.0, 1310.0, 100_000), True),
        (Figure(2500.0, 2700.0, 200_000), False),  # a machine half as fast
        (Figure(700.0, 750.0, 50_000), True),  # one twice as fast, and yet
    ],
)
def test_a_benchmark_is_judged_beside_the_calibration_loop(now: Figure, failed: bool) -> None:
    (change,) = compare({"a": now}, THEN)
    assert change.failed is failed


def test_new_and_missing_benchmarks_do_not_fail() -> None:
    changes = compare({"b": Figure(1.0, 1.0, 1)}, THEN)
    assert [(change.name, change.factor, change.failed) for change in changes] == [
        ("a", None, False),
        ("b", None, False),
    ]


def test_of_two_sessions_the_least_counts() -> None:
    noisy, calm = Figure(900.0, 2000.0, 120_000), Figure(1000.0, 1100.0, 100_000)
    assert best_of({"a": noisy, "b": calm}, {"a": calm}) == {"a": Figure(900.0, 1100.0, 100_000), "b": calm}


def test_a_baseline_survives_its_file() -> None:
    machine = MachineClass("CPython 3.11", "AMD EPYC (tm) 7B13", 2)
    assert load(dump(machine, THEN)) == THEN
    assert machine.slug == "cpython-3.11-amd-epyc-tm-7b13-2-cores"
    with pytest.raises(ValueError, match="schema"):
        load('{"schema": "other"}')


def test_the_class_of_this_machine_has_a_file_name() -> None:
    slug = MachineClass.here().slug
    assert slug.startswith(("cpython-3.", "pypy-3."))
    assert "/" not in slug


def test_figures_are_of_one_unit_of_work() -> None:
    report = {
        "benchmarks": [
            {
                "fullname": "tests/micro/test_x.py::test_y[z]",
                "stats": {"min": 0.002, "median": 0.003},
                "extra_info": {"per": 1000, "calibration_ns": 5},
            }
        ]
    }
    ((name, figure),) = measured(json.dumps(report)).items()
    assert name == "test_x.py::test_y[z]"
    assert figure.min_ns == pytest.approx(2000)
    assert figure.median_ns == pytest.approx(3000)
