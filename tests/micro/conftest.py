"""How a benchmark is taken: beside a loop of plain Python, by which machines and moments can be compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

CALIBRATIONS = 40
T = TypeVar("T")


class Measure(Protocol):
    """Calls a function again and again, or once where benchmarks are off; returns what it returned.

    `per`: how many units of work one call does.
    """

    def __call__(self, function: Callable[[], T], *, per: int = 1) -> T: ...


def calibration_ns() -> int:
    """The least time of a loop that does a bit of everything our hot paths do."""
    return min(_timed() for _ in range(CALIBRATIONS))


def _timed() -> int:
    begun_ns = time.perf_counter_ns()
    _loop()
    return time.perf_counter_ns() - begun_ns


def _loop() -> int:
    found: dict[bytes, int] = {}
    text, total = b"250 2.1.0 Ok\r\n", 0
    for number in range(1000):
        key = text[: number % 14]
        found[key] = found.get(key, 0) + _next(number)
        total += text.find(b"\n") + len((key, number, total))
    return total


def _next(number: int) -> int:
    return number + 1


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    def taken(function: Callable[[], T], *, per: int = 1) -> T:
        before_ns = calibration_ns() if benchmark.enabled else 0
        result: T = benchmark(function)
        if benchmark.enabled:
            benchmark.extra_info["per"] = per
            benchmark.extra_info["calibration_ns"] = min(before_ns, calibration_ns())
        return result

    return taken
