"""A run in words. Every sentence is computed from the figures; none is about anything else.

What puts the run in doubt comes first, then the answer, then what explains it.
"""

from __future__ import annotations

from bench.analysis.breakeven import break_evens
from bench.analysis.claims import judge_claims
from bench.analysis.contrasts import contrast
from bench.analysis.doubts import doubts
from bench.analysis.fits import RttFit, rtt_fits
from bench.analysis.groups import (
    LEAST_RTT_MS,
    Group,
    at_reference,
    comparable,
    family,
    lightest,
    names,
    nearest_reference,
    number,
    shorten,
    trips,
)
from bench.analysis.knees import Knee, keeps_up, knees
from bench.analysis.verdicts import statements
from bench.model import Answer, CaseSummary, Distribution, Summary, ThresholdVerdict

SET_UP = ("dns", "tcp", "tls", "banner", "ehlo", "starttls", "auth")
"""The phases that open a connection."""
MOST = 4
"""How many of a kind are put into words; the tables hold the rest."""


def explain(summary: Summary) -> Answer:
    """Sentences and judged claims; the first sentence is the headline."""
    sentences = [
        *doubts(summary),
        *statements(summary),
        *(_knee_sentence(knee) for knee in knees(summary)),
        *_rates(summary),
        *_contrasts(summary),
        *_break_evens(summary),
        *(_fit_sentence(fit) for fit in rtt_fits(summary)),
        *_alone(summary),
        *_time_spent(summary),
        *_passed(summary),
    ]
    if not summary.cases:
        sentences.append("No case of this run has been recorded, so there is nothing to report.")
    return Answer(tuple(sentences), judge_claims(summary))


def _contrasts(summary: Summary) -> list[str]:
    """The group nearest to the reference RTT leads; where lines are fitted they speak for the other RTTs."""
    groups = lightest([group for group in comparable(summary) if contrast(group)])
    if rtt_fits(summary):
        groups = at_reference(groups)
    lead = nearest_reference(groups)
    groups.sort(key=lambda group: group is not lead)
    shown = [sentence for group in groups[:MOST] for sentence in contrast(group)]
    if len(groups) > MOST:
        shown.append(f"The tables hold {len(groups) - MOST} more combinations.")
    return shown


def _break_evens(summary: Summary) -> list[str]:
    sentences = break_evens(summary)
    more = len(sentences) - MOST
    rest = [f"The tables hold {more} more providers' batches."] if more > 1 else []
    return [*sentences[: MOST if rest else None], *rest]


def _fit_sentence(fit: RttFit) -> str:
    sign = "-" if fit.intercept_ms < 0 else "+"
    counted = "" if fit.counted is None else f" ({trips(fit.counted)} counted)"
    text = (
        f"{fit.name}: service = {fit.slope:.1f} x RTT {sign} {number(abs(fit.intercept_ms))} ms, "
        f"over {len(fit.points)} round trip times{counted}"
    )
    return f"{text}." if fit.agrees else f"{text}; the two differ, so something else grows with the distance."


def _knee_sentence(knee: Knee) -> str:
    first, last = knee.points[0], knee.points[-1]
    if knee.reached:
        text = (
            f"{knee.name}: accepted messages per second stop growing at concurrency {knee.concurrency}, "
            f"at {number(knee.rate_per_s)} per second (concurrency {first[0]}: {number(first[1])})"
        )
    else:
        text = (
            f"{knee.name}: accepted messages per second still grow at concurrency {last[0]}, the highest "
            f"tried, from {number(first[1])} at concurrency {first[0]} to {number(last[1])}"
        )
    ours = "; the generator had used up its core, so the limit may be its own" if knee.generator_bound else ""
    return f"{text}{ours}."


def _rates(summary: Summary) -> list[str]:
    """For open cases that differ only in their rate: what is kept up with, and what no more."""
    families: dict[str, list[CaseSummary]] = {}
    for case in summary.cases:
        if case.open and case.generator.valid and "load.rate" in case.labels and _offered(case):
            families.setdefault(family(case, "load.rate"), []).append(case)
    return [
        _rate_sentence(shorten(name, summary), sorted(cases, key=_offered))
        for name, cases in families.items()
        if len(cases) > 1
    ]


def _rate_sentence(name: str, cases: list[CaseSummary]) -> str:
    behind = next((case for case in cases if not keeps_up(case)), None)
    if behind is None:
        return f"{name}: every rate offered was kept up with, up to {number(_offered(cases[-1]))} per second."
    kept = [case for case in cases if _offered(case) < _offered(behind)]
    upto = f"{number(_offered(kept[-1]))} per second is kept up with; of" if kept else "of"
    accepted = number(behind.throughput.accepted_per_s or 0.0)
    return f"{name}: {upto} {number(_offered(behind))} per second offered, {accepted} were accepted."


def _offered(case: CaseSummary) -> float:
    return case.throughput.offered_per_s or 0.0


# --------------------------------------------------------------------- case by case


def _alone(summary: Summary) -> list[str]:
    """Cases that no comparison, line or knee speaks about, and every open case's latency."""
    compared = {case.id for group in comparable(summary) if contrast(group) for case in group.cases}
    fitted = rtt_fits(summary)
    swept = {case.id for case in summary.cases if fitted and "network.rtt" in case.labels}
    swept |= {case.id for case in summary.cases if knees(summary) and "load.concurrency" in case.labels}
    chosen = [
        case
        for case in summary.cases
        if case.generator.valid and (case.open or case.id not in compared | swept)
    ]
    called = names(summary)
    sentences = [text for case in chosen if (text := _case_sentence(called[case.id], case))]
    more = len(sentences) - MOST
    return [*sentences[:MOST], *([f"The tables hold {more} more cases."] if more > 0 else [])]


def _case_sentence(name: str, case: CaseSummary) -> str:
    times = case.latency if case.open else case.service
    if times is None:
        if case.cold and case.cold.service:
            return f"{name}: every message opened a connection; {_typical(case.cold.service)}."
        return ""
    since = "from the moment it was due, " if case.open else ""
    rate = case.throughput.accepted_per_s
    speed = f"; {number(rate)} messages per second were accepted" if rate else ""
    return f"{name}: {since}{_typical(times)}{_waiting(case)}{speed}."


def _typical(times: Distribution) -> str:
    if times.p50 is None:
        span = f"{number(times.min_ms)} to {number(times.max_ms)} ms"
        span = f"{number(times.min_ms)} ms" if times.count == 1 else span
        return f"{times.count} message{'s' * (times.count > 1)} took {span}, too few for percentiles"
    low, high = times.p50.ci95_ms
    tail = f", 95 of 100 at most {number(times.p95.value_ms)} ms" if times.p95 else ""
    return (
        f"a message takes {number(times.p50.value_ms)} ms at the median "
        f"(95 % interval {number(low)} to {number(high)} ms){tail}"
    )


def _waiting(case: CaseSummary) -> str:
    """Said of open cases where waiting for a slot or connection is a large part of the latency."""
    if not case.open or not case.wait or not case.latency or not case.wait.p95 or not case.latency.p95:
        return ""
    wait, latency = case.wait.p95.value_ms, case.latency.p95.value_ms
    if wait < 0.1 * latency:
        return ""
    return f", of which waiting for a free connection or slot takes up to {number(wait)} ms"


def _time_spent(summary: Summary) -> list[str]:
    """What takes the time, in the leading group's cases or in the first ones."""
    groups = lightest([group for group in comparable(summary) if contrast(group)])
    lead: Group | None = nearest_reference(groups)
    called = names(summary)
    cases = lead.cases if lead else summary.cases
    found = [text for case in cases if (text := _phase_sentence(called[case.id], case))]
    return found[:MOST]


def _phase_sentence(name: str, case: CaseSummary) -> str:
    """Phase medians weighted by how often the phase occurred; they need not add up, so shares are round."""
    if not case.service or not case.phases or not case.generator.valid:
        return ""
    spent = {phase: each.count * each.p50_ms / case.service.count for phase, each in case.phases.items()}
    total = sum(spent.values())
    if total <= 0:
        return ""
    longest = max(spent, key=spent.__getitem__)
    parts = [f"`{longest}` takes the most time, {number(spent[longest])} of {number(total)} ms"]
    opening = sum(time for phase, time in spent.items() if phase in SET_UP)
    if opening > 0.01 * total:
        parts.append(f"opening connections takes about {opening / total * 100:.0f} %")
    count, rtt = case.round_trips.p50, case.rtt_ms
    if count and rtt and rtt >= LEAST_RTT_MS:
        account = "accounts" if count == 1 else "account"
        parts.append(f"{trips(count)} at {number(rtt)} ms {account} for {number(count * rtt)} ms")
    return f"In {name}, {'; '.join(parts)}."


def _passed(summary: Summary) -> list[str]:
    results = [result for case in summary.cases for result in case.thresholds]
    if not results or any(result.verdict is not ThresholdVerdict.PASS for result in results):
        return []
    return [
        "The threshold check passed." if len(results) == 1 else f"All {len(results)} threshold checks passed."
    ]
