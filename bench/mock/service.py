"""How long the mock takes to decide on a message: planted, so that the analysis must find it again."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

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
    raise UsageError(
        f"service time: unknown distribution {spec.kind!r}; known: constant, lognormal, exponential, uniform"
    )
