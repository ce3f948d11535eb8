"""How long a gate must run: `sendbench plan --gate` without the printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.analysis.comparisons import measure_of, observed, processes_of
from bench.analysis.gate import alpha_of
from bench.analysis.paired import LEAST, Ints
from bench.analysis.planning import GatePlan, Planned, against_itself, plan, spread_of
from bench.analysis.quantiles import Floats
from bench.api import summarise
from bench.errors import InvalidRunError, UsageError
from bench.model import DEFAULT_LIMITS, Case, CaseRun, Gate, Scenario
from bench.scenario.plan import START_NS, plan_case
from bench.store import open_run

DEFAULT_GATE = Gate(DEFAULT_LIMITS)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A run to plan from: its cases, and each one's times in the order of their slots."""

    id: str
    cases: Mapping[str, CaseRun]
    times: Mapping[str, Floats]
    processes: Mapping[str, Ints]
    """See `processes_of`."""


def plan_gates(scenario: Scenario, folder: Path, effect: float, power: float) -> tuple[GatePlan, ...]:
    """What each comparison of a scenario takes to find a slowdown of `effect` (a share of 1) with this power,
    from the spread of an earlier run of the same cases. A case that is compared with nothing in the scenario
    is planned for two variants of its kind.

    Raises UsageError where the run does not fit, InvalidRunError where it says nothing, ResultFormatError.
    """
    earlier = _read(folder, {case.id for case in scenario.cases})
    groups = [[case for case in group if case.id in earlier.cases] for group in scenario.groups]
    return tuple(
        _plan(group, earlier, scenario.gate or DEFAULT_GATE, effect, power) for group in groups if group
    )


def _read(folder: Path, wanted: set[str]) -> _Earlier:
    stored = open_run(folder)
    summary, _, frame = summarise(stored)
    cases = {case.id: case for case in stored.manifest.cases if case.id in wanted}
    if not cases:
        has = ", ".join(case.id for case in stored.manifest.cases) or "none"
        raise UsageError(f"{folder} has no case of this scenario ({', '.join(sorted(wanted))}); it has {has}")
    for case in summary.cases:
        if case.id in cases and not case.generator.valid:
            raise InvalidRunError(f"{folder}: {case.id} says nothing: {'; '.join(case.generator.reasons)}")
    rows = {name: frame[frame["case"].eq(name)] for name in cases}
    times = {name: observed(rows[name], measure_of(case)) for name, case in cases.items()}
    processes = processes_of(rows, cases.values(), stored.manifest.gate)
    return _Earlier(stored.manifest.id, cases, times, processes)


def _plan(cases: Sequence[Case], earlier: _Earlier, gate: Gate, effect: float, power: float) -> GatePlan:
    if len(cases) > 2:
        raise UsageError(
            f"a gate judges the second of two variants; the comparison {cases[0].comparison} has {len(cases)}"
        )
    name, sides, processes = _sides([case.id for case in cases], earlier)
    spread = spread_of(*sides, processes)
    if spread is None:
        raise UsageError(
            f"{earlier.id} has {min(map(len, sides))} messages a side of {name}, and it takes "
            f"{min(LEAST.values())} to plan from: run it with more of them"
        )
    needed = plan(spread, effect, power, gate.limits.effect, alpha_of(gate, 1))
    planned = tuple(Planned(each, _duration_ns(cases[0], each.count, earlier)) for each in needed)
    return GatePlan(name, measure_of(earlier.cases[cases[0].id]), effect, power, earlier.id, spread, planned)


def _sides(
    ids: Sequence[str], earlier: _Earlier
) -> tuple[str, tuple[Floats, Floats], tuple[Ints, Ints] | None]:
    """Two variants only where they ran interleaved, with their processes; else the first against itself."""
    first = earlier.cases[ids[0]]
    if len(ids) == 2 and first.comparison and first.comparison == earlier.cases[ids[1]].comparison:
        of = earlier.processes
        processes = (of[ids[0]], of[ids[1]]) if of else None
        return f"{ids[1]} against {ids[0]}", (earlier.times[ids[0]], earlier.times[ids[1]]), processes
    return f"{ids[0]} against itself", against_itself(earlier.times[ids[0]]), None


def _duration_ns(case: Case, count: int | None, earlier: _Earlier) -> int | None:
    """Of so many messages a side: on its schedule where there is one; else as quick as the run was, and the
    two sides take turns."""
    if count is None:
        return None
    load = case.load
    if load.open and load.messages and load.duration_ns:
        longer = replace(load, messages=count, duration_ns=round(load.duration_ns / load.messages * count))
        return plan_case(replace(case, load=longer)).duration_ns
    ran = earlier.cases[case.id]
    sides = 1 if ran.interleaved > 1 else 2
    starts_ns = START_NS * load.parts if case.command is not None else 0
    sent = count + load.warmup * load.parts
    return starts_ns + round(ran.took_ns / max(1, ran.scheduled) * sent * sides)
