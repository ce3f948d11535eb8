"""How many messages a gate needs, from the spread that an earlier run had.

The interval of a ratio of percentiles says how precisely a run of that length knew it. What is assumed:

- with n times the messages it is narrower by the square root of n, as it is where strata are alike and hang
  together no longer than their neighbours do; what processes of one program differ by takes more of these;
- a slowdown stretches everything around its percentile alike and leaves the spread as it was. One that
  stretches the tail alone makes it wider: what is 10 % at p95 and nothing at p50 takes a third more.

What is found is what a gate would call a regression by this percentile alone, with its share of alpha in the
family (`paired.detectable`), so other percentiles that are slower too make it likelier. The p50 is tested by
ranks, which see more than its interval does: it is found at least as often as is said here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.analysis.paired import LEAST, QUANTILES, STRATUM, Ints, Levelled, detectable, interval, stratify
from bench.analysis.quantiles import Floats

MOST = 10_000_000
"""Messages a side beyond which nobody is told a number."""
_SEED = 20_261_128


@dataclass(frozen=True, slots=True)
class Spread:
    """How precisely a run knew the ratio of each percentile of two variants."""

    count: int
    """Messages a side."""
    widths: Mapping[str, float | None]
    """p50, p95, p99 -> of the interval of the ratio's logarithm; None where there were too few messages."""
    units: int
    """What was flipped for it: strata, or the processes that a variant was."""
    unsure: float
    """By what share a number of messages worked out from this may be off: one standard deviation at p95;
    at p50 it is less."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What it takes to find a slowdown of one percentile."""

    quantity: str
    """p50, p95 or p99"""
    count: int | None
    """Messages a side; None: `note` says why."""
    found: float | None
    """The least slowdown that as many messages as p50 takes find there, as a share of 1."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A percentile of a gate."""

    needed: Needed
    duration_ns: int | None
    """What so many messages a side take, both sides together; None where no number is named."""


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What one gate takes."""

    name: str
    """The two cases, or the one that is set against itself."""
    measure: str
    """latency or service"""
    effect: float
    """The slowdown to be found, as a share of 1."""
    power: float
    run: str
    """Whose spread it is worked out from."""
    spread: Spread
    percentiles: tuple[Planned, ...]


def against_itself(times: Floats) -> tuple[Floats, Floats]:
    """One variant's times dealt out to two, as a gate would: in each block of two in an order drawn anew."""
    blocks = np.random.default_rng(_SEED).permuted(times[: len(times) // 2 * 2].reshape(-1, 2), axis=1)
    return blocks[:, 0], blocks[:, 1]


def spread_of(a: Floats, b: Floats, parts: tuple[Ints, Ints] | None = None) -> Spread | None:
    """From two variants' times in the order of their slots, with the process of each where there were more;
    None where they are too few."""
    strata = stratify(a, b, parts)
    if strata is None:
        return None
    levelled = Levelled(strata)
    widths = {
        name: _width(levelled, q) if strata.count >= LEAST[name] else None for name, q in QUANTILES.items()
    }
    # A variance is estimated from so many units; the factor of it is by simulation, from 500 to 4,000 a side.
    return Spread(strata.count, widths, strata.flipped, 1.8 * math.sqrt(2 / strata.flipped))


def _width(levelled: Levelled, q: float) -> float | None:
    ratio = levelled.ratio(q)
    low, high = (None, None) if ratio is None else interval(levelled, q, ratio)
    return math.log(high / low) if low and high else None


def plan(
    spread: Spread, effect: float, power: float, allowed: Mapping[str, float], alpha: float
) -> tuple[Needed, ...]:
    """What it takes to find a slowdown of `effect`, a share of 1, at each percentile with this power.

    `allowed` is what a gate takes for no regression, alpha what it may spend on all percentiles together.
    """
    share = alpha / len(QUANTILES)

    def found(name: str, count: int) -> float | None:
        width = spread.widths[name]
        if width is None or count < LEAST[name]:
            return None
        width *= math.sqrt(spread.count / count)
        return detectable(width, allowed[name], share, power=power, units=spread.units)

    def needed(name: str) -> tuple[int | None, str]:
        if effect <= allowed[name]:
            return None, f"up to {allowed[name]:.0%} the gate takes for no regression: name a larger effect"
        if spread.widths[name] is None:
            return None, f"the run has too few accepted messages to know its spread ({spread.count} a side)"
        counts = range(STRATUM, MOST, STRATUM)
        place = bisect_left(counts, True, key=lambda n: (found(name, n) or math.inf) <= effect)
        return (counts[place], "") if place < len(counts) else (None, f"more than {MOST:,} messages a side")

    numbers = {name: needed(name) for name in QUANTILES}
    median = numbers["p50"][0]
    return tuple(
        Needed(name, count, None if median is None else found(name, median), note)
        for name, (count, note) in numbers.items()
    )
