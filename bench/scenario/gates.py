"""How the load of a gate is divided: into stages, and among the processes that each variant is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.model import Case, Gate, Threshold
from bench.scenario import known

PROCESSES = 20
"""Of each variant, at most, where commands are compared and nothing is said: so many cost hardly any power
(where processes are alike a slowdown that is found 99 times of 100 is found 98; with 10 of them 82)."""
LEAST_PROCESSES, MOST_PROCESSES = 10, 100
"""Of fewer no order is improbable enough for a verdict."""
LEAST_EACH = 25
"""Messages of a process: the strata of a comparison (`analysis.paired`) have as many, and none has two's."""
LEFT_OVER = 0.1
"""Of the messages, at most, where nothing is said."""
_ENDING = ("ramp", "steps")
"""Loads whose rate is over at their end."""


def usual_processes(cases: Sequence[Case], thresholds: Sequence[Threshold]) -> int:
    """How many processes each variant is where nothing is said: as many as leave hardly a message over, which
    fills no stratum; one where they cannot be several."""
    fewest = min((case.load.messages or 0 for case in cases), default=0)

    def left_over(processes: int) -> int:
        return fewest - fewest // processes // LEAST_EACH * LEAST_EACH * processes

    some = range(LEAST_PROCESSES, PROCESSES + 1)
    usual = max(some, key=lambda each: (left_over(each) <= LEFT_OVER * fewest, each))
    return 1 if _why_not_several(usual, cases, thresholds) else usual


def divided(cases: Sequence[Case], gate: Gate) -> tuple[Case, ...]:
    """The cases with their loads in as many parts as each variant is processes."""
    return tuple(replace(case, load=replace(case.load, parts=gate.processes)) for case in cases)


def why_not_divided(
    gate: Gate, cases: Sequence[Case], thresholds: Sequence[Threshold]
) -> Iterator[tuple[str, str]]:
    """What of a gate these cases do not allow: its key, and why. They are `divided` already."""
    if gate.stages > 1:
        if text := _why_not_parted(cases, thresholds, "a second stage"):
            yield "stages", text
        elif any((case.load.twice.count or 0) > known.MAX_MESSAGES for case in cases):
            yield "stages", f"with its second stage a case makes more than {known.MAX_MESSAGES} messages"
    if gate.processes > 1 and (text := _why_not_several(gate.processes, cases, thresholds)):
        yield "processes", text


def _why_not_several(processes: int, cases: Sequence[Case], thresholds: Sequence[Threshold]) -> str:
    if not LEAST_PROCESSES <= processes <= MOST_PROCESSES:
        return f"takes 1, or {LEAST_PROCESSES} to {MOST_PROCESSES}: of fewer nothing can be shown"
    if any(case.command is None for case in cases):
        return "only what a command starts (server: CMD) can be started more than once"
    if any(case.batch is not None for case in cases):
        return "a call with several messages (batch) is one observation: too few for several processes"
    if any(case.load.messages is not None and case.load.messages < LEAST_EACH * processes for case in cases):
        return f"each of {processes} takes {LEAST_EACH} messages: {LEAST_EACH * processes} in all, or more"
    return _why_not_parted(cases, thresholds, "a load for several processes")


def _why_not_parted(cases: Sequence[Case], thresholds: Sequence[Threshold], what: str) -> str:
    """Why these cases cannot be sent in parts; empty where they can."""
    if any(case.load.messages is None for case in cases):
        return f"{what} is counted in messages: give load.messages in place of load.duration"
    models = {case.load.model for case in cases} & set(_ENDING)
    if models:
        return f"a load of {min(models)} is over at its end; {what} takes closed, constant or poisson"
    if any(each.abort for each in thresholds):
        return f"{what} and abort exclude each other: how many messages come is not known beforehand"
    return ""
