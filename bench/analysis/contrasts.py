"""What one way of sending saves over another, as sentences."""

from __future__ import annotations

from itertools import pairwise

from bench.analysis.groups import Group, extensions, median, median_ms, number, trips
from bench.model import CaseSummary

_STEPS = {
    ("smtp", "unpooled"): "",
    ("smtp", "pooled"): "pooling",
    ("api", "pooled"): "the API on a kept-alive connection",
}
"""The way from the slowest to the fastest, and what each step is called."""


def contrast(group: Group) -> list[str]:
    """One or two sentences about the valid cases of a group; none where there is nothing to compare."""
    sentences = []
    chain = [step for way in _STEPS for step in _steps(group, *way)]
    if any(case.labels.get("transport") == "smtp" for _, case in chain) and len(chain) > 1:
        sentences.append(_sentence(group, chain))
    fresh_api, kept_api = group.find("api", "unpooled"), group.find("api", "pooled")
    fresh_smtp = group.find("smtp", "unpooled")
    if fresh_api and fresh_smtp:
        sentences.append(_fresh(group, fresh_smtp, fresh_api))
    elif fresh_api and kept_api:
        sentences.append(
            _sentence(group, [("", fresh_api), ("keeping the API's connection alive", kept_api)])
        )
    return sentences


def _steps(group: Group, transport: str, connection: str) -> list[tuple[str, CaseSummary]]:
    """The plainest case of a way; where connections are kept, those that use further extensions after it."""
    cases = group.ways(transport, connection)
    steps = [(_STEPS[transport, connection], case) for case in cases[:1]]
    for case in cases[1:] if connection == "pooled" else ():
        had, has = extensions(steps[-1][1].labels), extensions(case.labels)
        if set(has) > set(had):
            steps.append((" with ".join(name for name in has if name not in had), case))
    return steps


def _sentence(group: Group, chain: list[tuple[str, CaseSummary]]) -> str:
    clauses: list[str] = []
    for (_, before), (what, after) in pairwise(chain):
        clauses.append(_more(what, before, after) if clauses else _first(what, before, after))
    text = f"{group.at}, {'; '.join(clauses)}."
    return text[0].upper() + text[1:]


def _first(what: str, before: CaseSummary, after: CaseSummary) -> str:
    old, new = median_ms(before), median_ms(after)
    if _same(before, after):
        return f"{what} makes no measurable difference ({number(old)} and {number(new)} ms a message)"
    if new > old:
        return (
            f"{what} costs {number(new - old)} ms more a message ({number(new)} instead of {number(old)} ms)"
        )
    fewer = _saved_trips(before, after)
    of = f"{number(fewer)} of {trips(before.round_trips.p50 or 0)} and " if fewer else ""
    return f"{what} saves {of}{number(old - new)} of {number(old)} ms a message"


def _more(what: str, before: CaseSummary, after: CaseSummary) -> str:
    saved = median_ms(before) - median_ms(after)
    if _same(before, after):
        return f"{what} makes no measurable difference to that"
    if saved < 0:
        return f"{what} costs {number(-saved)} ms more than that"
    fewer = _saved_trips(before, after)
    return (
        f"{what} saves {number(fewer)} more ({number(saved)} ms)"
        if fewer
        else (f"{what} saves another {number(saved)} ms")
    )


def _fresh(group: Group, smtp: CaseSummary, api: CaseSummary) -> str:
    few, many = api.round_trips.p50, smtp.round_trips.p50
    counted = f" ({trips(few)} against {number(many)})" if few and many else ""
    text = (
        f"{group.at}, on a new connection for each message, the API takes {number(median_ms(api))} ms "
        f"where SMTP takes {number(median_ms(smtp))} ms{counted}."
    )
    return text[0].upper() + text[1:]


def _saved_trips(before: CaseSummary, after: CaseSummary) -> float:
    """Round trips that were saved; 0 where that is not known or none was."""
    if before.round_trips.p50 is None or after.round_trips.p50 is None:
        return 0.0
    return max(0.0, before.round_trips.p50 - after.round_trips.p50)


def _same(before: CaseSummary, after: CaseSummary) -> bool:
    """Whether the intervals of the medians overlap, so that nothing can be said of a difference."""
    a, b = median(before), median(after)
    return a is not None and b is not None and a.ci95_ms[0] <= b.ci95_ms[1] and b.ci95_ms[0] <= a.ci95_ms[1]
