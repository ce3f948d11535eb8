"""The fixture `sendbench`: latencies gated inside a test suite of one's own.

Loaded by pytest wherever sendbench is installed, so it imports nothing until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.python import Judgement, Run

_INCONCLUSIVE = ("skip", "fail")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What becomes of a test whose verdict is inconclusive."""
    text = "A sendbench verdict that is inconclusive skips its test, or fails it (default: skip)."
    parser.getgroup("sendbench").addoption("--sendbench-inconclusive", choices=_INCONCLUSIVE, help=text)
    parser.addini("sendbench_inconclusive", text, default="skip")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what no ini file may say."""
    if _choice(config) not in _INCONCLUSIVE:
        raise pytest.UsageError(f"sendbench_inconclusive: {_choice(config)!r} is neither skip nor fail")


def _choice(config: pytest.Config) -> str:
    return str(config.getoption("--sendbench-inconclusive") or config.getini("sendbench_inconclusive"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """An inconclusive verdict as a skip, with what it says, unless it is to fail."""
    try:
        return (yield)
    except AssertionError as error:
        if _choice(item.config) == "skip" and _is_inconclusive(error):
            pytest.skip("; ".join(str(error).splitlines()))
        raise


def _is_inconclusive(error: AssertionError) -> bool:
    from bench.python import InconclusiveError

    return isinstance(error, InconclusiveError)


@dataclass(frozen=True)
class Sendbench:
    """`bench.run`, `bench.gate` and `bench.gate_calls`, with runs kept in the test's own folder."""

    results: Path

    def run(self, scenario: str | Path, **options: object) -> Run:
        """`bench.run`: its result has `require("p95(service) < 800ms")`."""
        from bench.python import run

        return run(scenario, **{"results": self.results, **options})  # type: ignore[arg-type]

    def gate(self, scenario: str | Path, **options: object) -> Judgement:
        """`bench.gate`: its result has `require()`."""
        from bench.python import gate

        return gate(scenario, **{"results": self.results, **options})  # type: ignore[arg-type]

    def gate_calls(
        self,
        base: Callable[[], object],
        head: Callable[[], object],
        *,
        count: int = 1000,
        warmup: int = 20,
        limits: Mapping[str, float] | None = None,
        seed: int | None = None,
    ) -> Judgement:
        """`bench.gate_calls`: its result has `require()`."""
        from bench.python import gate_calls

        return gate_calls(base, head, count=count, warmup=warmup, limits=limits, seed=seed)


@pytest.fixture
def sendbench(tmp_path: Path) -> Sendbench:
    """Runs scenarios and gates two variants: `sendbench.run("smoke").require("p95(service) < 800ms")`."""
    return Sendbench(tmp_path / "sendbench")
