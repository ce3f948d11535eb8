"""Stored baselines: `results/baselines/<machine class>/<scenario>.json`, small enough to be kept in git.

A baseline comes with a checkout, so from anybody: its size is capped, its schema is strict and every number
in it is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bench.errors import ResultFormatError, StorageError, UsageError
from bench.model import MEASUREMENT, Baseline, BaselineRun, Manifest
from bench.store import codec, files

SCHEMA = "sendbench.baseline/1"
MAX_BYTES = 50_000
MAX_RUNS = 40
"""The oldest beyond these go."""
FOLDER = "baselines"

_SCENARIO = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_CLASS = re.compile(r"[a-z0-9][a-z0-9-]{0,79}\Z")
_FACTS = ("machine", "kernel", "python", "form", "event_loop", "timer")


def machine_of(facts: Mapping[str, str]) -> Mapping[str, str]:
    """What makes the class of machines that a run was made on, from its manifest: processor and cores, kernel
    and its major version, Python and its minor version, compiled or not, event loop, timer.

    Raises ResultFormatError where the run does not say.
    """
    known = {
        "machine": facts.get("machine", ""),
        "kernel": _up_to(facts.get("kernel", ""), parts=1),
        "python": _up_to(facts.get("python", ""), parts=2),
        "form": facts.get("sendbench", "").partition(", ")[2],
        "event_loop": facts.get("event_loop", "").partition(" ")[0],
        "timer": facts.get("timer", ""),
    }
    if missing := [name for name, value in known.items() if not value]:
        raise ResultFormatError(f"the run does not say on what it was made: no {', '.join(missing)}")
    return known


def _up_to(text: str, parts: int) -> str:
    """`CPython 3.11.2` -> `CPython 3.11`"""
    name, _, version = text.rpartition(" ")
    return f"{name} {'.'.join(version.split('.')[:parts])}"


def class_name(machine: Mapping[str, str]) -> str:
    """What a class of machines is called: readable, and another one for each."""
    digest = hashlib.sha256(json.dumps(dict(machine), sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", machine["machine"].lower()).strip("-")[:48].strip("-")
    return f"{readable or 'machine'}-{digest}"


def path_of(results: Path, machine: str, scenario: str) -> Path:
    """The file of a baseline. Raises UsageError for what is no name of one."""
    if _CLASS.match(machine) is None or _SCENARIO.match(scenario) is None:
        raise UsageError(f"{machine!r}, {scenario!r}: not the names of a class of machines and a scenario")
    return results / FOLDER / machine / f"{scenario}.json"


def stored(results: Path) -> Iterator[tuple[str, Path]]:
    """Every baseline there is: the class of its machines, and its file."""
    for path in sorted((results / FOLDER).glob("*/*.json")):
        if _CLASS.match(path.parent.name) and _SCENARIO.match(path.stem):
            yield path.parent.name, path


def begun(manifest: Manifest, cases: Mapping[str, str]) -> Baseline:
    """A baseline of what this run is of, still without runs. Raises UsageError, ResultFormatError."""
    if manifest.measurement != MEASUREMENT:
        raise UsageError(
            f"{manifest.id} was measured under definition {manifest.measurement} of the figures and this "
            f"sendbench has {MEASUREMENT} (see its changelog); run it anew"
        )
    machine = machine_of(manifest.facts)
    return Baseline(manifest.scenario, manifest.config_hash, manifest.measurement, machine, cases, ())


def check_same(baseline: Baseline, run: Baseline, name: str) -> None:
    """Raise UsageError where a run, of which `run` was begun, is not what the baseline holds."""
    begin_anew = f"delete the baseline to begin anew with {name}"
    if baseline.measurement != run.measurement:
        raise UsageError(
            f"the baseline of {baseline.scenario} has definition {baseline.measurement} of the figures and "
            f"{name} {run.measurement} (see the changelog); {begin_anew}"
        )
    if baseline.config_hash != run.config_hash or baseline.cases != run.cases:
        raise UsageError(
            f"{name} is of {run.scenario}, but not as the baseline has it: its file, --set or --profile are "
            f"others, or sendbench reads it differently; {begin_anew}"
        )
    if baseline.machine != run.machine:
        raise UsageError(f"{name} was made on another class of machines than the baseline")


def joined(baseline: Baseline, runs: Mapping[str, BaselineRun]) -> Baseline:
    """A baseline with some runs more, and without the oldest for which there is no room.

    Raises UsageError where a run is in it already, or is no yardstick.
    """
    for run in baseline.runs:
        if run.id in runs:
            raise UsageError(f"{run.id} is in the baseline already")
    for run in runs.values():
        if any(part is not None and not math.isfinite(part) for each in run.figures for part in each):
            raise UsageError(f"{run.id} lost so many messages that a percentile has no end: no yardstick")
    every = sorted((*baseline.runs, *runs.values()), key=lambda run: (run.started_at, run.id))[-MAX_RUNS:]
    whole = replace(baseline, runs=tuple(every))
    while len(whole.runs) > 1 and len(encoded(whole)) > MAX_BYTES:
        whole = replace(whole, runs=whole.runs[1:])
    return whole


# ----------------------------------------------------------------------------- files


def encoded(baseline: Baseline) -> bytes:
    """A baseline as JSON, a line a run, so that a new one is a line in a diff."""
    whole = codec.encode(baseline)
    assert isinstance(whole, dict)
    del whole["runs"]
    head = json.dumps({"schema": SCHEMA, **whole}, indent=1, allow_nan=False).removesuffix("\n}")
    runs = ",\n".join("  " + codec.dump_line(run).decode() for run in baseline.runs)
    return f'{head},\n "runs": [\n{runs}\n ]\n}}\n'.encode()


def write(path: Path, baseline: Baseline) -> None:
    """Put a baseline in its place. Raises StorageError, or UsageError where it is too large."""
    content = encoded(baseline)
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"a baseline of {len(baseline.cases)} cases would be larger than {MAX_BYTES // 1000} kB: choose "
            "fewer of them with --set"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(path, content)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def read(path: Path) -> Baseline:
    """A stored baseline, checked. Raises ResultFormatError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ResultFormatError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ResultFormatError(f"{path}: larger than any baseline")
    try:
        return _parsed(codec.load(content), path)
    except ValueError as error:
        raise ResultFormatError(f"{path}: {error}") from error


def _parsed(data: codec.Json, path: Path) -> Baseline:
    if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
        raise ValueError(f"not a baseline with the schema {SCHEMA!r}")
    baseline = codec.decode(Baseline, data)
    if codec.encode(baseline) != data:
        raise ValueError("it holds keys that no baseline has")
    texts = (*baseline.machine.values(), *baseline.cases, *(run.id + run.commit for run in baseline.runs))
    if not all(text.isprintable() for text in texts):
        raise ValueError("it holds text that is not printable")
    if baseline.scenario != path.stem or tuple(baseline.machine) != _FACTS:
        raise ValueError("it is not what its name says")
    if class_name(baseline.machine) != path.parent.name:
        raise ValueError("it is of another class of machines than its folder")
    _check_runs(baseline)
    return baseline


def _check_runs(baseline: Baseline) -> None:
    if not baseline.cases or not set(baseline.cases.values()) <= {"latency", "service"}:
        raise ValueError("cases: each has latency or service as its measure, and there is at least one")
    if len(baseline.runs) > MAX_RUNS or len({run.id for run in baseline.runs}) < len(baseline.runs):
        raise ValueError(f"runs: more than {MAX_RUNS}, or one of them twice")
    for run in baseline.runs:
        if len(run.figures) != len(baseline.cases):
            raise ValueError(f"{run.id}: not a line of figures for each case")
        for *times, lost in run.figures:
            if not all(time is None or 0 < time < math.inf for time in times):
                raise ValueError(f"{run.id}: a time that is none")
            if lost is None or not 0 <= lost <= 1:
                raise ValueError(f"{run.id}: a share that is none")
