"""sendbench for Python callers: scenarios run, two variants gated, two functions gated. Nothing is printed.

What the command line ends with an exit code is a `verdict` here, and `require()` makes an AssertionError of
what is not met. Errors are those of `bench.errors`. Real mail is sent from the command line only.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import anyio
import numpy as np

from bench.analysis import ANALYSED, Frame, exit_code, sample_frame
from bench.analysis.aborts import check_aborts
from bench.analysis.comparisons import compare_times
from bench.analysis.groups import names
from bench.analysis.judgement import WORDS
from bench.analysis.verdicts import sentences, statements
from bench.api import RunOptions, Stop, conclude, run_scenario, summarise
from bench.clock import monotonic_ns
from bench.errors import ExitCode, InvalidRunError, UsageError
from bench.gating import gated, limits_of, pair_of, set_texts
from bench.guard import Guard
from bench.model import (
    ComparisonSummary,
    Gate,
    Scenario,
    Summary,
    Threshold,
    ThresholdVerdict,
    Verdict,
)
from bench.providers import check_message
from bench.report.figures import measured
from bench.scenario import find_scenario, load_scenario
from bench.scenario.target import PORT
from bench.scenario.thresholds import parse_threshold
from bench.store import open_run


class NotMetError(AssertionError):
    """What was required is shown not to hold."""


class InconclusiveError(AssertionError):
    """Whether what was required holds cannot be told from so little, or so noisy, data."""


@dataclass(frozen=True)
class Run:
    """A scenario that has been run."""

    path: Path
    """The run's folder."""
    summary: Summary = field(repr=False)

    @property
    def verdict(self) -> str:
        """pass, fail (a threshold or a gate), inconclusive or invalid."""
        return WORDS[exit_code(self.summary)]

    @cached_property
    def samples(self) -> Frame:
        """The raw records, one row an attempt: times in ns on the run's clock, `service_ms` and the like in
        ms; read when first asked for."""
        return sample_frame(open_run(self.path).table(ANALYSED))

    def require(self, *thresholds: str) -> Run:
        """This run again, if each threshold, such as `p95(service) < 800ms`, is shown to hold in every case
        that it is about; without any, if the scenario's own thresholds and gate are.

        Raises NotMetError, InconclusiveError; InvalidRunError whatever was required, where the run says
        nothing; UsageError for what is no threshold.
        """
        wanted = tuple(_parsed(text) for text in thresholds)
        self._check_valid()
        summary = self._judged(wanted) if wanted else self.summary
        failed, doubtful = list[str](), list[str]()
        for case in summary.cases:
            for result in case.thresholds:
                said = f"{result.text}: {measured(result)} ({case.id})"
                failed += [said] if result.verdict is ThresholdVerdict.FAIL else []
                doubtful += [said] if result.verdict is ThresholdVerdict.INCONCLUSIVE else []
        for comparison in () if wanted else summary.comparisons:
            told = sentences(comparison, names(summary))
            failed += told if comparison.verdict is Verdict.REGRESSION else []
            doubtful += told if comparison.verdict is Verdict.INCONCLUSIVE else []
        _raise_for(failed, doubtful, f"run: {self.path}")
        return self

    def _check_valid(self) -> None:
        if exit_code(_without_verdicts(self.summary)) is ExitCode.INVALID:
            reasons = [self.summary.run.reason or self.summary.run.state]
            reasons += [f"{case.id}: {why}" for case in self.summary.cases for why in case.generator.reasons]
            raise InvalidRunError(f"{self.path} says nothing: {'; '.join(reasons)}")

    def _judged(self, thresholds: tuple[Threshold, ...]) -> Summary:
        stored = open_run(self.path)
        stored.manifest = replace(stored.manifest, thresholds=thresholds, gate=None)
        return summarise(stored)[0]


def _without_verdicts(summary: Summary) -> Summary:
    cases = tuple(replace(case, thresholds=()) for case in summary.cases)
    return replace(summary, cases=cases, comparisons=())


def _parsed(text: str) -> Threshold:
    try:
        return parse_threshold(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _raise_for(failed: Sequence[str], doubtful: Sequence[str], where: str = "") -> None:
    if failed:
        raise NotMetError("\n".join(filter(None, [*failed, where])))
    if doubtful:
        raise InconclusiveError("\n".join(filter(None, ["inconclusive", *doubtful, where])))


@dataclass(frozen=True)
class Judgement:
    """A verdict on the second of two variants."""

    verdict: Verdict
    words: tuple[str, ...]
    """The verdict, its reasons, and what slowdown would have been found."""
    comparisons: tuple[ComparisonSummary, ...] = field(repr=False)
    """The figures behind it."""
    run: Run | None = None
    """Where two cases of a scenario were compared."""

    def require(self) -> Judgement:
        """This again, if the verdict is pass. Raises NotMetError, InconclusiveError."""
        _raise_for(
            self.words if self.verdict is Verdict.REGRESSION else (),
            self.words if self.verdict is Verdict.INCONCLUSIVE else (),
            f"run: {self.run.path}" if self.run else "",
        )
        return self


# --------------------------------------------------------------------- scenarios


def run(
    scenario: str | Path,
    *,
    overrides: Mapping[str, object] | None = None,
    profile: str | None = None,
    seed: int | None = None,
    results: str | Path = "results",
    lab: Sequence[str] = (),
) -> Run:
    """Run a scenario, a file or the name of a shipped one, to its end; what `sendbench run` does.

    `overrides` are those of `--set`: `{"network.rtt": "20ms", "load.messages": 400}`. Raises ScenarioError,
    UsageError, RefusedError, StorageError; where an event loop runs in this thread UsageError, too.
    """
    _check_no_loop("run")
    return _run(_load(scenario, overrides or {}, profile), seed, Path(results), lab)


def gate(
    scenario: str | Path,
    *,
    base: str | None = None,
    head: str | None = None,
    limits: Mapping[str, float] | None = None,
    stages: int | None = None,
    processes: int | None = None,
    overrides: Mapping[str, object] | None = None,
    profile: str | None = None,
    seed: int | None = None,
    results: str | Path = "results",
    lab: Sequence[str] = (),
) -> Judgement:
    """Run a scenario that compares two variants, and say whether the second may pass.

    The scenario has `compare:`; or it is run against `base` and `head`, two targets such as
    `smtp://127.0.0.1:2525`, or two commands that start a server at `{port}`. `limits` (`{"p50": 0.05, "p95":
    0.10}`) is how much slower the second may be, where not as the scenario's `gate:` says; with 2 `stages`
    what is inconclusive goes on once for as many messages again; each command is started for so many
    `processes`, one after another. The rest is that of `run`, and so are the errors; InvalidRunError where a
    variant was not measured as it should be.
    """
    _check_no_loop("gate")
    own = dict(overrides or {})
    own |= pair_of(base, head, "server" if PORT in f"{base}{head}" else "target")
    loaded = gated(_load(scenario, own, profile), limits, stages, processes)
    done = _run(loaded, seed, Path(results), lab)
    done._check_valid()
    found = done.summary.comparisons
    return Judgement(_worst([each.verdict for each in found]), tuple(statements(done.summary)), found, done)


def _worst(verdicts: Sequence[Verdict | None]) -> Verdict:
    """That of several comparisons; where there is none, nothing was shown."""
    if Verdict.REGRESSION in verdicts:
        return Verdict.REGRESSION
    return Verdict.PASS if set(verdicts) == {Verdict.PASS} else Verdict.INCONCLUSIVE


def _load(scenario: str | Path, overrides: Mapping[str, object], profile: str | None) -> Scenario:
    path = find_scenario(str(scenario))
    loaded = load_scenario(path, overrides=set_texts(overrides), profile=profile, check=check_message)
    check_aborts(loaded)
    return loaded


def _run(scenario: Scenario, seed: int | None, results: Path, lab: Sequence[str]) -> Run:
    options = RunOptions(results=results, guard=Guard(lab))
    if seed is not None:
        options.seed = seed
    before = sys.getswitchinterval()
    try:
        folder = anyio.run(
            run_scenario,
            scenario,
            options,
            Stop(),
            backend_options={"use_uvloop": find_spec("uvloop") is not None},
        )
    finally:
        sys.setswitchinterval(before)  # a run sets one that suits it
    return Run(folder, conclude(folder)[0])


def _check_no_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"bench.{name} would hold up the event loop that runs in this thread: "
        f"await asyncio.to_thread(bench.{name}, ...)"
    )


# --------------------------------------------------------------------- functions


def gate_calls(
    base: Callable[[], object],
    head: Callable[[], object],
    *,
    count: int = 1000,
    warmup: int = 20,
    limits: Mapping[str, float] | None = None,
    seed: int | None = None,
) -> Judgement:
    """Call two functions in turn, in random order within each pair, and say whether `head` is slower.

    The same design, test and limits as for two variants of a scenario; p99 is judged from a `count` of 1,000
    on, anything from 250. What a function raises is raised. Raises UsageError for a function that returns an
    awaitable, as it has not run then.
    """
    if count < 1 or warmup < 0:
        raise UsageError("count is at least 1 and warmup at least 0")
    gate = Gate(limits_of(limits))
    rng, calls = random.Random(seed), {"base": base, "head": head}
    times: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(warmup + count):
        for name in rng.sample(list(calls), 2):
            times[name].append(_timed(calls[name]))
    slots = {name: np.array(each[warmup:], dtype=np.float64) for name, each in times.items()}
    found = compare_times("base and head", "service", slots, gate)
    assert found.verdict is not None
    called = {name: _name(call, name) for name, call in calls.items()}
    if len(set(called.values())) < 2:
        called = {name: name for name in calls}
    return Judgement(found.verdict, tuple(sentences(found, called)), (found,))


def _timed(call: Callable[[], object]) -> int:
    began_ns = monotonic_ns()
    result = call()
    took_ns = monotonic_ns() - began_ns
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise UsageError(f"{_name(call, 'a function')} returns an awaitable: give a function that awaits it")
    return max(1, took_ns)


def _name(call: Callable[[], object], default: str) -> str:
    name = getattr(call, "__name__", default)
    return default if name == "<lambda>" else str(name)
