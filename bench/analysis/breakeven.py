"""From how many messages a call on an API takes less time for each than SMTP over a kept connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.analysis.groups import listed, median, names, number, usable
from bench.model import CaseSummary, Connection, Summary, Transport

_SIZES = 8
"""How many sizes of call are put into a sentence."""


class Call(NamedTuple):
    """What the calls of one case were like."""

    messages: float
    """in a call, on average: the last of a case may carry fewer"""
    calls: int
    """how many, warm-up left out"""
    ms: float
    """a call's median; its mean where there are too few for one"""
    few: bool

    @property
    def message_ms(self) -> float:
        """A message's share of the call."""
        return self.ms / self.messages


def calls_of(case: CaseSummary) -> Call | None:
    """None where nothing was accepted, or by what is no API."""
    cold = case.cold.service if case.cold else None
    times = case.service or cold
    if case.labels.get("transport") != Transport.API or times is None or not case.counts.accepted:
        return None
    count = sum(each.count for each in (case.service, cold) if each is not None)
    if times.p50 is None:
        return Call(case.counts.accepted / count, count, times.mean_ms, few=True)
    return Call(case.counts.accepted / count, count, times.p50.value_ms, few=False)


def break_evens(summary: Summary) -> list[str]:
    """A sentence for each provider, distance ... at which calls of several sizes were sent beside SMTP on
    kept connections; only valid cases count."""
    found: dict[tuple[tuple[str, str], ...], list[CaseSummary]] = {}
    for case in summary.cases:
        if case.generator.valid and case.labels.get("connection") == Connection.POOLED:
            found.setdefault(_alike(case.labels), []).append(case)
    called = names(summary)
    return [text for cases in found.values() if (text := _sentence(cases, called))]


def _alike(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """All that must be the same: everything but how a message travels, and with how many others."""
    travel = ("transport", "connection", "client", "batch")
    return tuple(sorted((k, v) for k, v in labels.items() if k not in travel and not k.startswith("smtp.")))


def _sentence(cases: Sequence[CaseSummary], called: Mapping[str, str]) -> str:
    calls = sorted(call for case in cases if "batch" in case.labels and (call := calls_of(case)))
    kept = [case for case in cases if case.labels["transport"] == Transport.SMTP and usable(case)]
    if len(calls) < 2 or not kept:
        return ""
    provider = cases[0].labels.get("provider", "")
    sizes = listed((_size(call) for call in calls), _SIZES)
    beaten = listed((_beaten(calls, case, called[case.id]) for case in kept), _SIZES)
    return f"{provider}: a message takes {sizes}; {beaten}."


def _size(call: Call) -> str:
    how = " by the mean" if call.few else ""
    return f"{number(call.message_ms)} ms{how} in calls of {number(call.messages)} ({call.calls})"


def _beaten(calls: Sequence[Call], smtp: CaseSummary, name: str) -> str:
    typical = median(smtp)
    assert typical is not None
    least = break_even(calls, typical.ci95_ms[0])  # what lies within the median's interval is as fast
    theirs = f"{name} ({number(typical.value_ms)} ms)"
    if least is None:
        return f"no size that was tried beats {theirs}"
    return f"{theirs} is beaten from {least} message{'s' * (least > 1)} a call on"


def break_even(calls: Sequence[Call], smtp_ms: float) -> int | None:
    """The least number of messages in a call for which each takes less than `smtp_ms`; None where no size
    that was tried gets there. Between two sizes a call's time is taken to lie on the line between theirs.
    `calls` in the order of their sizes."""
    if calls[0].message_ms < smtp_ms:
        return round(calls[0].messages)
    for small, large in pairwise(calls):
        if large.message_ms >= smtp_ms:
            continue
        slope = (large.ms - small.ms) / (large.messages - small.messages)
        for size in range(int(small.messages) + 1, int(large.messages) + 1):
            if small.ms + slope * (size - small.messages) < size * smtp_ms:
                return size
        return round(large.messages)
    return None
