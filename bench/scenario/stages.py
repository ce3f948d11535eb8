"""Which scenarios can have a gate of two stages."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model import Case, Threshold
from bench.scenario import known

_ENDING = ("ramp", "steps")
"""Loads whose rate is over at their end."""


def why_not_staged(cases: Sequence[Case], thresholds: Sequence[Threshold]) -> str:
    """Why these cases cannot go on for as many messages again; empty where they can."""
    if any(case.load.messages is None for case in cases):
        return "a second stage is as many messages again: give load.messages in place of load.duration"
    models = {case.load.model for case in cases} & set(_ENDING)
    if models:
        return f"a load of {min(models)} is over at its end; a second stage takes closed, constant or poisson"
    if any(case.load.warmup + 2 * (case.load.messages or 0) > known.MAX_MESSAGES for case in cases):
        return f"with its second stage a case makes more than {known.MAX_MESSAGES} messages"
    if any(each.abort for each in thresholds):
        return "a second stage and abort exclude each other: how many messages come is not known beforehand"
    return ""
