"""Baselines on a terminal: what there is, what one holds, and what new runs say against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.analysis.verdicts import detectable
from bench.model import Baseline, BaselineCheck
from bench.report.json import dump
from bench.report.text import for_terminal

CHECK_SCHEMA = "sendbench.baseline-check/1"


def check_lines(check: BaselineCheck) -> list[str]:
    """A verdict for each case with its reasons, and what would have been found; the one on all of them."""
    runs = f"{_runs(len(check.new))} against {check.kept}"
    lines = [f"{check.scenario} on {check.machine}: {runs}"]
    for case in check.cases:
        lines.append(f"  {case.verdict.value.upper()}: {case.id} ({case.measure}): {'; '.join(case.reasons)}")
        lines.append(f"    {detectable(case.ratios)}")
    return [for_terminal(line) for line in (*lines, check.verdict.value)]


def render_check(check: BaselineCheck) -> bytes:
    """The same for programs."""
    return dump({"schema": CHECK_SCHEMA, "check": check})


def list_lines(found: Iterable[tuple[str, Baseline]]) -> list[str]:
    """A line for each baseline."""
    return [
        for_terminal(f"{each.scenario}: {_runs(len(each.runs))} on {machine}, the newest of {_newest(each)}")
        for machine, each in found
    ]


def show_lines(machine: str, baseline: Baseline) -> list[str]:
    """What a baseline holds: the machine, and of each case the range of each percentile over its runs."""
    lines = [f"{baseline.scenario} on {machine}: {_runs(len(baseline.runs))}"]
    lines += [f"  {name}: {value}" for name, value in baseline.machine.items()]
    for number, (case, measure) in enumerate(baseline.cases.items()):
        figures = [run.figures[number] for run in baseline.runs]
        columns = zip(("p50", "p95", "p99"), zip(*figures, strict=True), strict=False)
        ranges = [_range(name, values) for name, values in columns]
        lost = max((each[3] for each in figures), default=0.0)
        lines.append(f"  {case} ({measure}): {', '.join(ranges)}; at most {lost:.2%} lost".replace("%", " %"))
    lines += [f"  {run.started_at}  {run.id}  {run.commit}".rstrip() for run in baseline.runs]
    return [for_terminal(line) for line in lines]


def _range(name: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{name} {min(known):.4g} to {max(known):.4g} ms" if known else f"{name} unknown"


def _newest(baseline: Baseline) -> str:
    return baseline.runs[-1].started_at[:10] if baseline.runs else "never"


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
