"""What a gate takes, on a terminal and for programs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.groups import listed
from bench.analysis.planning import GatePlan, Planned
from bench.report.json import dump
from bench.report.text import for_terminal
from bench.units import format_duration

SCHEMA = "sendbench.gate-plan/1"
MINUTES_FROM_NS = 100 * 10**9


def plan_lines(scenario: str, plans: Sequence[GatePlan]) -> list[str]:
    """For each gate how many messages a side find the slowdown at each percentile, and what else as many as
    p50 takes would find."""
    return [
        for_terminal(line.replace("%", " %"))
        for line in (f"{scenario}: what a gate takes", *(line for each in plans for line in _lines(each)))
    ]


def _lines(plan: GatePlan) -> list[str]:
    lines = [
        f"  {plan.name} ({plan.measure}), by {plan.spread.count} messages a side of {plan.run}:",
        f"  to find a slowdown of {plan.effect * 100:.3g}% {plan.power * 100:.3g} times of 100 it takes",
    ]
    lines += [f"    at {each.needed.quantity}  {_told(each)}" for each in plan.percentiles]
    median, *tails = plan.percentiles
    if median.needed.count is not None:
        found = [f"{each.needed.quantity} {each.needed.found:.1%}" for each in tails if each.needed.found]
        if found:
            lines.append(f"    with those of p50, slowdowns from {listed(found)} on are found as often")
    lines.append(f"    give or take {plan.spread.unsure:.0%}, and less by a longer run")
    return lines


def _told(planned: Planned) -> str:
    needed = planned.needed
    if needed.count is None or planned.duration_ns is None:
        return needed.note
    return f"{needed.count:>6} messages a side, about {_long(planned.duration_ns)}"


def _long(ns: int) -> str:
    return f"{ns / 60e9:.3g} minutes" if ns >= MINUTES_FROM_NS else format_duration(ns)


def render_plans(scenario: str, plans: Sequence[GatePlan]) -> bytes:
    """The same for programs."""
    return dump({"schema": SCHEMA, "scenario": scenario, "gates": plans})
