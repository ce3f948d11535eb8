"""What is said about sending email, held against what this run measured.

Only valid cases of this run count as evidence. Claims about times are about a distance, so
they are judged at the RTT nearest to 50 ms and not at all without a network in between; the
evidence names the RTT, and for a sweep the values at the others. The SMTP of the claims is the
dialogue of one command at a time: cases that sent commands together are not judged as if they were it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.analysis.breakeven import calls_of
from bench.analysis.groups import (
    LEAST_RTT_MS,
    Group,
    at_reference,
    comparable,
    groups_commands,
    lightest,
    listed,
    median,
    median_ms,
    number,
    trips,
)
from bench.analysis.knees import keeps_up, knees
from bench.model import CaseSummary, Claim, ClaimVerdict, Summary

CLAIMED_RATE = 100.0

SMTP_SLOW = "SMTP with a full handshake takes 500 to 1500 ms a message"
POOLING = "Pooling connections amortises the handshake and narrows SMTP's gap to the API"
API_FAST = "An HTTP API takes 50 to 200 ms a message"
RATIO = "The API is 5 to 10 times faster than SMTP"
FEWER = 10
"""Where calls are called few: so many times fewer than messages."""
BATCH = "1,000 messages are 1,000 SMTP transactions, where a batch endpoint needs a few calls"
TOGETHER = (
    "the SMTP cases that send several commands at a time do not count: the claim is about one at a time"
)
SET_UP = "From 100 messages per second on, setting up SMTP connections is the bottleneck"


def judge_claims(summary: Summary) -> tuple[Claim, ...]:
    """Every claim, in the order of `design.md`, with a verdict and the numbers behind it."""
    groups = [plain for group in comparable(summary) if (plain := _one_at_a_time(group)).cases]
    together = any(groups_commands(case) for case in summary.cases)
    aside = f"; {TOGETHER}" if together else ""
    return (
        _within(SMTP_SLOW, groups, (500.0, 1500.0), (("smtp", "unpooled", "on a new connection"),), aside),
        _pooling(groups, aside),
        _within(
            API_FAST,
            groups,
            (50.0, 200.0),
            (("api", "unpooled", "on a new connection"), ("api", "pooled", "kept alive")),
        ),
        _ratio(groups, aside),
        _batch(summary),
        _set_up(summary),
    )


def _one_at_a_time(group: Group) -> Group:
    return replace(group, cases=tuple(case for case in group.cases if not groups_commands(case)))


def _not_tested(text: str, why: str) -> Claim:
    return Claim(text, ClaimVerdict.NOT_TESTED, why)


def _verdict(*, holds: bool) -> ClaimVerdict:
    return ClaimVerdict.HOLDS if holds else ClaimVerdict.DOES_NOT_HOLD


def _distant(groups: Iterable[Group]) -> list[Group]:
    return [group for group in groups if group.rtt_ms is not None and group.rtt_ms >= LEAST_RTT_MS]


def _too_near(groups: Iterable[Group]) -> str:
    rtts = [group.rtt_ms for group in groups if group.rtt_ms is not None]
    if not rtts:
        return "the round trip time of this run is not known, and the claim is about a distance"
    return (
        f"there was no distance in this run (round trip {number(min(rtts))} ms), and the claim is about one"
    )


# ------------------------------------------------------------------ how long it takes


_Ways = tuple[tuple[str, str, str], ...]
"""transport, connection, and how a sentence calls that"""


def _within(
    text: str, groups: Sequence[Group], limits: tuple[float, float], ways: _Ways, aside: str = ""
) -> Claim:
    """Whether every way that was measured, at the reference RTT, lies within the limits (ms)."""
    having = [group for group in lightest(groups) if any(group.find(t, c) for t, c, _ in ways)]
    if not having:
        return _not_tested(text, f"no valid case of this run sends that way{aside}")
    distant = _distant(having)
    if not distant:
        return _not_tested(text, _too_near(having))
    judged = at_reference(distant)
    found = [median_ms(case) for group in judged for t, c, _ in ways if (case := group.find(t, c))]
    others = [group for group in distant if group not in judged]
    evidence = listed(_times(group, ways) for group in judged)
    if others:
        evidence += f"; elsewhere: {listed(_times(group, ways) for group in others)}"
    low, high = limits
    return Claim(text, _verdict(holds=all(low <= value <= high for value in found)), evidence)


def _times(group: Group, ways: _Ways) -> str:
    parts = [f"{number(median_ms(case))} ms {how}" for t, c, how in ways if (case := group.find(t, c))]
    return f"{' and '.join(parts)} {group.at}"


def _pooling(groups: Sequence[Group], aside: str) -> Claim:
    """Holds where the pooled median is below the unpooled one and their intervals lie apart."""
    having = [
        group for group in lightest(groups) if group.find("smtp", "unpooled") and group.find("smtp", "pooled")
    ]
    if not having:
        return _not_tested(POOLING, f"it takes valid cases of SMTP both pooled and unpooled{aside}")
    judged = at_reference(_distant(having) or having)
    evidence = listed(_pooling_evidence(group) for group in judged)
    gains = [_gain(group) for group in judged]
    if None in gains and False not in gains:
        return _not_tested(POOLING, f"{evidence}: the intervals of the medians overlap")
    return Claim(POOLING, _verdict(holds=all(gains)), evidence)


def _gain(group: Group) -> bool | None:
    """Whether pooling is faster; None where the intervals of the two medians overlap."""
    fresh, kept = group.find("smtp", "unpooled"), group.find("smtp", "pooled")
    a, b = (median(case) if case else None for case in (fresh, kept))
    if a is None or b is None or (a.ci95_ms[0] <= b.ci95_ms[1] and b.ci95_ms[0] <= a.ci95_ms[1]):
        return None
    return b.value_ms < a.value_ms


def _pooling_evidence(group: Group) -> str:
    fresh, kept, api = (
        group.find("smtp", "unpooled"),
        group.find("smtp", "pooled"),
        group.find("api", "pooled"),
    )
    assert fresh is not None
    assert kept is not None
    text = f"{number(median_ms(kept))} instead of {number(median_ms(fresh))} ms {group.at}"
    if kept.round_trips.p50 and fresh.round_trips.p50:
        text += f" ({trips(kept.round_trips.p50)} instead of {number(fresh.round_trips.p50)})"
    if api:
        before, after = (median_ms(case) / median_ms(api) for case in (fresh, kept))
        text += f"; the gap to the API kept alive goes from {number(before)} to {number(after)} times"
    return text


def _ratio(groups: Sequence[Group], aside: str) -> Claim:
    """Like is compared with like: both on new connections, both kept; the unlike pair only if alone."""
    having = [group for group in lightest(groups) if _ratios(group)]
    if not having:
        return _not_tested(RATIO, f"it takes valid cases of both SMTP and the API{aside}")
    distant = _distant(having)
    if not distant:
        return _not_tested(RATIO, _too_near(having))
    judged = at_reference(distant)
    pairs = [pair for group in judged for pair in _ratios(group)]
    like = [ratio for _, ratio, alike in pairs if alike] or [ratio for _, ratio, _ in pairs]
    evidence = listed(
        f"{listed(f'{number(ratio)} times {what}' for what, ratio, _ in _ratios(group))} {group.at}"
        for group in judged
    )
    return Claim(RATIO, _verdict(holds=all(5 <= ratio <= 10 for ratio in like)), evidence)


def _ratios(group: Group) -> list[tuple[str, float, bool]]:
    """(which pair, SMTP's median over the API's, whether both treat connections alike)"""
    pairs = (
        ("with new connections for both", "unpooled", "unpooled"),
        ("with kept connections for both", "pooled", "pooled"),
        ("with new SMTP connections against an API kept alive", "unpooled", "pooled"),
    )
    found = []
    for what, theirs, ours in pairs:
        smtp, api = group.find("smtp", theirs), group.find("api", ours)
        if smtp and api:
            found.append((what, median_ms(smtp) / median_ms(api), theirs == ours))
    return found


# --------------------------------------------------------------------- how many, how fast


def _batch(summary: Summary) -> Claim:
    smtp = sum(case.counts.accepted for case in summary.cases if case.labels.get("transport") == "smtp")
    seen = f"; over SMTP {smtp} messages took {smtp} transactions" if smtp else ""
    batches = [
        (call.messages, call.calls, case.counts.accepted)
        for case in summary.cases
        if case.labels.get("batch", "off") != "off" and case.generator.valid and (call := calls_of(case))
    ]
    if batches:
        size, calls, count = max(batches)
        evidence = f"{count} messages took {calls} call{'s' * (calls != 1)} of {number(size)}{seen}"
        return Claim(BATCH, _verdict(holds=calls * FEWER <= count), evidence)
    return _not_tested(BATCH, f"no case of this run sends in batches{seen}")


def _set_up(summary: Summary) -> Claim:
    """Whether unpooled SMTP stays below 100 messages per second where pooled SMTP goes beyond."""
    smtp = [c for c in summary.cases if c.labels.get("transport") == "smtp" and c.generator.valid]
    smtp = [case for case in smtp if not groups_commands(case)] or smtp  # like against like
    fresh = [case for case in smtp if case.labels.get("connection") == "unpooled"]
    kept = [case for case in smtp if case.labels.get("connection") == "pooled"]
    if not fresh or not kept:
        return _not_tested(SET_UP, "it takes valid cases of SMTP both pooled and unpooled")
    best, pooled = max(fresh, key=_rate), max(kept, key=_rate)
    reached = (
        f"unpooled SMTP reached {number(_rate(best))} and pooled SMTP {number(_rate(pooled))} messages "
        f"per second{_rtt(best)}"
    )
    if _rate(best) >= CLAIMED_RATE:
        return Claim(SET_UP, ClaimVerdict.DOES_NOT_HOLD, reached)
    if _rate(pooled) < CLAIMED_RATE:
        return _not_tested(SET_UP, f"no SMTP case got to 100 messages per second: {reached}")
    if _saturated(summary, fresh):
        return Claim(SET_UP, ClaimVerdict.HOLDS, reached)
    return _not_tested(SET_UP, f"{reached}, but nothing shows that unpooled SMTP itself was at its limit")


def _saturated(summary: Summary, fresh: Iterable[CaseSummary]) -> bool:
    """Whether unpooled SMTP was offered more than it took, by a rate or by concurrency past its knee."""
    behind = any(
        (case.throughput.offered_per_s or 0.0) >= CLAIMED_RATE and not keeps_up(case) for case in fresh
    )
    past = any(
        knee.reached and not knee.generator_bound
        for knee in knees(summary)
        if (knee.transport, knee.connection) == ("smtp", "unpooled")
    )
    return behind or past


def _rate(case: CaseSummary) -> float:
    return case.throughput.accepted_per_s or 0.0


def _rtt(case: CaseSummary) -> str:
    return "" if case.rtt_ms is None else f" at {number(case.rtt_ms)} ms round trip"
