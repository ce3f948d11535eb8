"""Latencies of two variants as a noisy machine would give them, with a planted difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MEDIAN_MS = 20.0
TURN = 25
"""Messages a side during which the machine stays as it is."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A log-normal body, spikes on top of it, and what the machine does to both variants alike."""

    sigma: float
    spikes: float
    """Share of messages that take, on average, five medians more."""
    drifts: bool = False
    """AR(1) of 5 %, and 3 % of the turns 1.3 times as slow."""


NOISES: Mapping[str, Noise] = {
    "quiet": Noise(0.25, 0.01),
    "wide": Noise(0.50, 0.02),
    "noisy": Noise(0.25, 0.01, drifts=True),
}


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to the second variant, as a function of its times (in medians)."""

    factor: float = 1.0
    stretch: float = 0.0
    """Above the median, (x / median) ** (1 + stretch)."""

    def __call__(self, times: Floats) -> Floats:
        times = times * self.factor
        if self.stretch:
            times = np.where(times > 1.0, times ** (1 + self.stretch), times)
        return times


SAME = Change()
ALL_5 = Change(factor=1.05)


def base(noise: Noise, count: int, rng: np.random.Generator) -> Floats:
    """Times without drift, in medians of the body."""
    times = np.exp(noise.sigma * rng.standard_normal(count))
    return times + (rng.random(count) < noise.spikes) * rng.exponential(5.0, count)


def tail_10(noise: Noise) -> Change:
    """The p95 a tenth higher, the median as it was."""
    times = base(noise, 1_000_000, np.random.default_rng(1))
    return Change(stretch=math.log(1.10) / math.log(float(np.quantile(times, 0.95))))


def two_sides(noise: Noise, count: int, change: Change, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Times of both variants, in ns and in the order of their slots."""
    drift = np.ones(count)
    if noise.drifts:
        turns = -(-count // TURN)
        steps = rng.standard_normal(turns) * 0.05 * math.sqrt(1 - 0.9**2)
        level = rng.standard_normal() * 0.05
        path = np.empty(turns)
        for number in range(turns):
            level = 0.9 * level + steps[number]
            path[number] = level
        path += (rng.random(turns) < 0.03) * math.log(1.3)
        drift = np.exp(np.repeat(path, TURN)[:count])
    a, b = base(noise, count, rng), change(base(noise, count, rng))
    return a * drift * MEDIAN_MS * 1e6, b * drift * MEDIAN_MS * 1e6
