"""Baselines of whole runs: `sendbench baseline` without the printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis.baselines import LEAST_RUNS, figures_of
from bench.analysis.baselines import check as check_runs
from bench.analysis.comparisons import measure_of
from bench.api import summarise
from bench.errors import InvalidRunError, UsageError
from bench.model import DEFAULT_LIMITS, Baseline, BaselineCheck, BaselineRun, Figures, Summary
from bench.store import baselines, open_run
from bench.store.baselines import class_name, path_of


def save(results: Path, folders: Sequence[Path]) -> tuple[Path, Baseline]:
    """Add runs of one scenario, made on one class of machines, to its baseline, which is made where there is
    none; its file, and what it holds now.

    Raises UsageError for runs that do not belong together, InvalidRunError for one that says nothing,
    ResultFormatError, StorageError.
    """
    kind, runs = _entries(folders)
    path = path_of(results, class_name(kind.machine), kind.scenario)
    baseline = kind
    if path.exists():
        baseline = baselines.read(path)
        baselines.check_same(baseline, kind, next(iter(runs)))
    baseline = baselines.joined(baseline, runs)
    baselines.write(path, baseline)
    return path, baseline


def check(results: Path, folders: Sequence[Path], limits: Mapping[str, float]) -> BaselineCheck:
    """New runs of one scenario against its baseline; `limits` (p50, p95, p99 -> a share of 1) are allowed.

    Raises what `save` does, and UsageError where there is no baseline, or one of too few runs.
    """
    kind, runs = _entries(folders)
    machine = class_name(kind.machine)
    path = path_of(results, machine, kind.scenario)
    if not path.exists():
        raise UsageError(_none_here(results, machine, kind.scenario))
    baseline = baselines.read(path)
    baselines.check_same(baseline, kind, next(iter(runs)))
    if already := {run.id for run in baseline.runs} & set(runs):
        raise UsageError(f"{min(already)} is in the baseline: it cannot be held against itself")
    if len(baseline.runs) < LEAST_RUNS:
        raise UsageError(
            f"{path} has {len(baseline.runs)} runs and nothing is held against fewer than {LEAST_RUNS}: "
            "add more with `sendbench baseline save`"
        )
    return check_runs(baseline, machine, list(runs.values()), DEFAULT_LIMITS.within(limits))


def _none_here(results: Path, machine: str, scenario: str) -> str:
    others = [name for name, path in baselines.stored(results) if path.stem == scenario]
    elsewhere = f"; there is one of {', '.join(others)}, and times of other machines say nothing here"
    return (
        f"there is no baseline of {scenario} for this class of machines ({machine})"
        f"{elsewhere if others else ''}: make one with `sendbench baseline save`"
    )


def _entries(folders: Sequence[Path]) -> tuple[Baseline, Mapping[str, BaselineRun]]:
    """What the runs are of, as a baseline without runs, and each of them in short by its id."""
    kinds, runs = list[Baseline](), dict[str, BaselineRun]()
    for folder in folders:
        kind, run = _entry(folder)
        if run.id in runs:
            raise UsageError(f"{folder}: {run.id} is named twice")
        kinds.append(kind)
        runs[run.id] = run
    for kind, name in zip(kinds, runs, strict=True):
        if kind.scenario != kinds[0].scenario:
            raise UsageError(f"{name} is of {kind.scenario} and others of {kinds[0].scenario}: one at a time")
        baselines.check_same(kinds[0], kind, name)
    return kinds[0], runs


def _entry(folder: Path) -> tuple[Baseline, BaselineRun]:
    stored = open_run(folder)
    manifest = stored.manifest
    summary, _, frame = summarise(stored)
    _check_valid(summary)
    kind = baselines.begun(manifest, {case.id: measure_of(case) for case in manifest.cases})
    figures = tuple(_short(figures_of(frame, case)) for case in manifest.cases)
    commit = manifest.facts.get("git_commit", "")
    return kind, BaselineRun(manifest.id, manifest.started_at, commit, figures)


def _check_valid(summary: Summary) -> None:
    wrong = [] if summary.run.state == "complete" else [f"{summary.run.state}: {summary.run.reason or ''}"]
    invalid = [case for case in summary.cases if not case.generator.valid]
    wrong += [f"{case.id}: {'; '.join(case.generator.reasons)}" for case in invalid]
    if wrong or not summary.cases:
        why = wrong[0] if wrong else "it has no case"
        raise InvalidRunError(f"{summary.run.id} says nothing ({why}); run it anew")


def _short(figures: Figures) -> Figures:
    """With as many digits as a baseline keeps."""
    p50, p95, p99 = (None if each is None else float(f"{each:.5g}") for each in figures[:3])
    return p50, p95, p99, float(f"{figures[3]:.5g}")
