"""How long the mock takes to decide on a message: planted, so that the analysis must find it again."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from bench.errors import UsageError
from bench.model import ServiceTime


class Decider:
    """Draws one service time per message, the same series for the same seed.

    Raises UsageError for a kind of distribution that is not known.
    """

    def __init__(self, service_time: ServiceTime, seed: int) -> None:
        self.next_ns: Callable[[], int] = _sampler(service_time, Random(seed))
        """The next service time in ns, 0 or more."""


def _sampler(spec: ServiceTime, rng: Random) -> Callable[[], int]:
    base = spec.p50_ns
    match spec.kind:
        case "constant":
            return lambda: base
        case "lognormal":
            return lambda: round(base * math.exp(spec.sigma * rng.gauss(0.0, 1.0)))
        case "exponential":
            return lambda: round(base * rng.expovariate(1.0))
        case "uniform":
            return lambda: round(rng.uniform(base, spec.high_ns))
        case "observed" if spec.values_ns:
            return lambda: rng.choice(spec.values_ns)
    known = "constant, lognormal, exponential, uniform, observed"
    raise UsageError(f"service time: unknown distribution {spec.kind!r}; known: {known}")


class Quota(NamedTuple):
    """What is left of a rate limit after one more was asked for."""

    limit: int
    """A window's."""
    remaining: int
    reset_s: int
    """Until the next window, rounded up."""
    granted: bool


class RateLimit:
    """So many a second, counted in fixed windows, as most providers do; below one a second in longer ones."""

    def __init__(self, per_s: float) -> None:
        self._limit = max(1, round(per_s))
        self._window_ns = round(self._limit / per_s * 1e9)
        self._end_ns = 0
        self._left = 0

    def take(self, now_ns: int) -> Quota:
        """Ask for one; a window begins with the first that is asked for in it."""
        if now_ns >= self._end_ns:
            self._end_ns, self._left = now_ns + self._window_ns, self._limit
        granted = self._left > 0
        self._left -= granted
        return Quota(self._limit, self._left, math.ceil((self._end_ns - now_ns) / 1e9), granted)
