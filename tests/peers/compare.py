"""Costs of whole processes, side by side: what is timed, how it is paired, what the pairs say."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SMALLER = 10
"""The run that stands for start-up sends a tenth of the messages."""
RUN_LIMIT_S = 180.0


class HarnessError(Exception):
    """A run did other work than it was told, so that there is no figure; the text says which."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What some messages took: user and system CPU of a process with its children, and time passed."""

    messages: int
    cpu_s: float
    wall_s: float

    def __sub__(self, smaller: Cost) -> Cost:
        """The cost without start-up; raises HarnessError where the rest is too small to be one."""
        rest = Cost(
            self.messages - smaller.messages, self.cpu_s - smaller.cpu_s, self.wall_s - smaller.wall_s
        )
        if rest.messages <= 0 or rest.cpu_s <= 0 or rest.wall_s <= 0:
            raise HarnessError(f"{self} does not cost more than {smaller}")
        return rest

    @property
    def per_cpu_s(self) -> float:
        """Messages per CPU second."""
        return self.messages / self.cpu_s

    @property
    def per_s(self) -> float:
        """Messages per second passed."""
        return self.messages / self.wall_s


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, with the smallest and the largest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides, one straight after the other; start-up is subtracted already."""

    ours: Cost
    theirs: Cost


def spread(values: Sequence[float]) -> Spread:
    """The median and the range of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def efficiency(pairs: Sequence[Pair]) -> Spread:
    """Messages per CPU second, ours / theirs, within each pair."""
    return spread([pair.ours.per_cpu_s / pair.theirs.per_cpu_s for pair in pairs])


def net(run: Callable[[int], Cost], messages: int) -> Cost:
    """The cost of `messages` without start-up: `run` of all of them less `run` of a tenth."""
    smaller = run(messages // SMALLER)
    return run(messages) - smaller


def alternate(ours: Callable[[], Cost], theirs: Callable[[], Cost], pairs: int) -> tuple[Pair, ...]:
    """A B A B: `pairs` times ours, then theirs."""
    return tuple(Pair(ours(), theirs()) for _ in range(pairs))


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ran to its end."""

    code: int
    cpu_s: float
    wall_s: float
    output: str
    errors: str


def run_process(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    started: Callable[[int], None] = lambda pid: None,
) -> Ended:
    """Run a command to its end, its output in `folder`; `started` is told its process id.

    CPU is that of the process and of every child it waited for. A process that hangs is killed.
    """
    output, errors = folder / "output", folder / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **environment}
        )
        # Not process.wait(): only wait4 tells what exactly this child used.
        limit = threading.Timer(RUN_LIMIT_S, process.kill)
        limit.start()
        try:
            started(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            limit.cancel()
        wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        code=process.returncode,
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=wall_s,
        output=output.read_text(encoding="utf-8", errors="replace"),
        errors=errors.read_text(encoding="utf-8", errors="replace"),
    )
