"""From a comparison of two variants to a verdict on the second: pass, regression or inconclusive.

A regression needs two reasons: it is significant, and it is larger than what counts. A pass needs one: the
slowdown is shown to be less than the limit. What lies between is inconclusive, and says what it would take.
"""

from __future__ import annotations

from typing import Protocol

from bench.analysis.paired import ALPHA
from bench.model import Gate, Limits, Lost, Ratio, Verdict

LOOKS = (0.008, 0.002)
"""What a gate of two stages spends of its alpha at each look; together 1 %, whatever the looks have to do
with each other (Bonferroni). The second has twice the messages and can do with less."""


def alpha_of(gate: Gate, looks: int) -> float:
    """What a gate may spend at its latest look."""
    return ALPHA if gate.stages == 1 else LOOKS[looks - 1]


class Found(Protocol):
    """What is judged: a pair, or whatever else has ratios with p-values."""

    @property
    def ratios(self) -> tuple[Ratio, ...]: ...
    @property
    def lost(self) -> Lost | None: ...


def judge(paired: Found, limits: Limits, alpha: float) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on what has p-values, and its reasons."""
    slower = [text for ratio in paired.ratios if (text := _regression(ratio, limits, alpha))]
    if paired.lost is not None and paired.lost.p is not None and paired.lost.p <= alpha:
        slower.append(f"more messages are lost: {paired.lost.b:.2%} instead of {paired.lost.a:.2%}")
    if slower:
        return Verdict.REGRESSION, tuple(slower)
    open_ends = [text for ratio in paired.ratios if (text := _doubt(ratio, limits))]
    if paired.lost is not None and not paired.lost.high <= limits.lost:  # what is not a number is no pass
        open_ends.append(_lost_doubt(paired.lost, limits))
    if open_ends:
        return Verdict.INCONCLUSIVE, tuple(open_ends)
    return Verdict.PASS, tuple(_shown(ratio) for ratio in paired.ratios if ratio.p is not None)


def _regression(ratio: Ratio, limits: Limits, alpha: float) -> str | None:
    if ratio.p is None or ratio.p > alpha:
        return None
    if ratio.ratio is None:
        return f"{ratio.quantity} is that of a lost message"
    if ratio.ratio - 1 <= limits.effect[ratio.quantity]:
        return None
    return f"{_shown(ratio)}, where at most {share_of(limits.effect[ratio.quantity])} does not count"


def _doubt(ratio: Ratio, limits: Limits) -> str | None:
    if ratio.p is None:  # too few messages: `note` says so
        return ratio.note or f"{ratio.quantity} is not judged" if ratio.quantity in limits.own else None
    limit = limits.limit[ratio.quantity]
    if ratio.high is not None and ratio.high - 1 < limit:
        return None
    return f"{_shown(ratio)}; that it is below the limit of {share_of(limit)} is not shown"


def _lost_doubt(lost: Lost, limits: Limits) -> str:
    return f"up to {share_of(lost.high)} more messages may be lost; the limit is {share_of(limits.lost)}"


def _shown(ratio: Ratio) -> str:
    """`p95 8.1 % slower (5.0 to 12.0 % slower)`, always with both ends."""
    if ratio.ratio is None:
        return f"{ratio.quantity} is that of a lost message"
    low, high = ("no end" if end is None else change(end) for end in (ratio.low, ratio.high))
    return f"{ratio.quantity} {change(ratio.ratio)} ({low} to {high})"


def share_of(share: float) -> str:
    """`5 %`, with up to three digits."""
    return f"{100 * share:.3g} %"


def change(ratio: float) -> str:
    """`5.2 % slower`, `3.0 % faster`."""
    return f"{abs(ratio - 1):.1%} {'slower' if ratio >= 1 else 'faster'}".replace("%", " %")
