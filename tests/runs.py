"""Whole runs from inside a test: a scenario's text in, its summary and rows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import pandas as pd

from bench.analysis import explain, sample_frame, summarize
from bench.api import RunOptions, Stop, run_scenario
from bench.model import Answer, CaseSummary, Summary, Taken, WireConnection
from bench.scenario import load_scenario
from bench.store import StoredRun, open_run


@dataclass(frozen=True)
class Finished:
    """A run that has ended."""

    stored: StoredRun
    summary: Summary
    frame: pd.DataFrame
    takes: dict[str, list[Taken]]
    wires: dict[str, list[WireConnection]]

    @property
    def answer(self) -> Answer:
        return explain(self.summary)

    def case(self, fragment: str) -> CaseSummary:
        (found,) = [case for case in self.summary.cases if fragment in case.id]
        return found

    def rows(self, case_id: str) -> pd.DataFrame:
        return self.frame[self.frame["case"] == case_id]


def run_text(
    text: str,
    folder: Path,
    *,
    seed: int = 1,
) -> Finished:
    """Run a scenario given as text, into `folder/results`."""
    file = folder / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    return run_file(file, folder, seed=seed)


def run_file(
    file: Path,
    folder: Path,
    *,
    seed: int = 1,
    profile: str | None = None,
    overrides: Sequence[str] = (),
) -> Finished:
    """Run a scenario file into `folder/results`."""
    scenario = load_scenario(file, profile=profile, overrides=overrides)

    async def main() -> Path:
        return await run_scenario(scenario, RunOptions(results=folder / "results", seed=seed), Stop())

    return finished(anyio.run(main, backend_options={"use_uvloop": True}))


def finished(run: Path) -> Finished:
    """Everything that can be known of a run folder."""
    stored = open_run(run)
    frame = sample_frame(stored.table())
    takes, wires = {}, {}
    for index, case in enumerate(stored.manifest.cases):
        if (taken := stored.takes(index)) is not None:
            takes[case.id] = taken
        if (seen := stored.wires(index)) is not None:
            wires[case.id] = seen
    summary = summarize(frame, stored.manifest, takes, wires)
    lines = {case: [Taken(**line) for line in table.to_pylist()] for case, table in takes.items()}
    return Finished(stored, summary, frame, lines, wires)
