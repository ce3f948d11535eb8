"""Message number -> due time. Pure arithmetic: no clock, no waiting, no state of the run.

Times are ns after the schedule's start. Message numbers count from 0 and include the warm-up
messages, which come first: at the model's own rate, or at the first rate of a ramp or of steps,
whose curve then begins where the warm-up ends.
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from typing import Protocol

from bench.model import Load

SECOND = 10**9


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes has of a case: every `of`-th message from `number` on, and as near an
    equal part of each limit as whole numbers allow."""

    number: int = 0
    of: int = 1

    def numbers(self, end: int) -> range:
        """Its messages below `end`."""
        return range(self.number, end, self.of)

    def first_from(self, seq: int) -> int:
        """Its first message that is not below `seq`."""
        return seq + (self.number - seq) % self.of

    def part(self, total: int) -> int:
        """How much of `total` is its own."""
        return len(self.numbers(total))

    def before(self, total: int) -> int:
        """How much of `total` the processes before it have together."""
        return self.number * (total // self.of) + min(self.number, total % self.of)


WHOLE = Share()


class Pacer(Protocol):
    """Says when each message is due."""

    count: int | None
    """Messages of the whole schedule, warm-up included; None where a duration bounds a closed model."""

    def due_ns(self, seq: int) -> int | None:
        """When message `seq` is due; None in a closed model, which has no schedule."""
        ...


class Closed:
    """No schedule: a message starts when a worker is free."""

    def __init__(self, load: Load, seed: int) -> None:
        self.count = load.count

    def due_ns(self, seq: int) -> int | None:
        """None: the wait for the answer before is what paces a closed model."""
        return None


class Constant:
    """Equal gaps of 1/rate, exact to the nanosecond for any number of messages."""

    def __init__(self, load: Load, seed: int) -> None:
        self.count = load.count
        self._gap_ns = SECOND / Fraction(load.rates_per_s[0]).limit_denominator(10**6)

    def due_ns(self, seq: int) -> int | None:
        """`seq / rate`."""
        return round(seq * self._gap_ns)


class Poisson:
    """Independent, exponentially distributed gaps from a seed; the first message is due at 0."""

    def __init__(self, load: Load, seed: int) -> None:
        self.count = load.count
        self._rate_per_ns = load.rates_per_s[0] / SECOND
        self._random = random.Random(f"sendbench pacing {seed}")
        self._due = array("d", [0.0])

    def due_ns(self, seq: int) -> int | None:
        """The sum of the first `seq` gaps; they are drawn in order, whatever order is asked in."""
        while len(self._due) <= seq:
            self._due.append(self._due[-1] + self._random.expovariate(self._rate_per_ns))
        return round(self._due[seq])


class Ramp:
    """A rate that goes from one value to another in a straight line.

    By time t a ramp from a to b over D has released N(t) = a t + (b - a) t^2 / 2D messages; message
    n is due where N(t) = n. The root is taken in the form 2n / (a + sqrt(a^2 + 2 n (b - a) / D)),
    which loses no digits where b is near a.
    """

    def __init__(self, load: Load, seed: int) -> None:
        self.count = load.count
        self._start, end = load.rates_per_s
        assert load.duration_ns is not None
        self._slope = (end - self._start) * SECOND / load.duration_ns
        self._warmup = load.warmup

    def due_ns(self, seq: int) -> int | None:
        """The time at which the integral of the rate reaches `seq`."""
        if seq < self._warmup:
            return round(seq * SECOND / self._start)
        begin = self._warmup * SECOND / self._start if self._warmup else 0.0
        return round(begin + self._time_of(seq - self._warmup) * SECOND)

    def _time_of(self, n: int) -> float:
        if n == 0:
            return 0.0
        # A falling ramp's curve is flat at its end: rounding may carry the root just below 0.
        root = math.sqrt(max(0.0, self._start**2 + 2 * n * self._slope))
        return 2 * n / (self._start + root)


class Steps:
    """One rate after the other, each held for the same time."""

    def __init__(self, load: Load, seed: int) -> None:
        self.count = load.count
        assert load.step_ns is not None
        self._rates: Sequence[float] = load.rates_per_s
        self._step_s = load.step_ns / SECOND
        self._released = [0.0, *accumulate(rate * self._step_s for rate in self._rates)]
        self._warmup = load.warmup

    def due_ns(self, seq: int) -> int | None:
        """The time at which the sum of rate times step reaches `seq`."""
        if seq < self._warmup:
            return round(seq * SECOND / self._rates[0])
        begin, n = self._warmup / self._rates[0], seq - self._warmup
        step = bisect_right(self._released, n) - 1
        step = min(step, len(self._rates) - 1)
        at = step * self._step_s + (n - self._released[step]) / self._rates[step]
        return round((begin + at) * SECOND)


class Interleaved:
    """One of several cases that share an open schedule: as many blocks as each has messages, in every block
    a slot for each case, in an order drawn anew. The slots are those of the same load at so many times the
    rate; the same seed gives all cases the same order."""

    def __init__(self, load: Load, seed: int, number: int, of: int) -> None:
        whole = replace(
            load,
            messages=None if load.messages is None else load.messages * of,
            warmup=load.warmup * of,
            rates_per_s=tuple(rate * of for rate in load.rates_per_s),
        )
        self.count = load.count
        self._whole = pacer_for(whole, seed)
        self._number, self._of, self._seed = number, of, seed

    def due_ns(self, seq: int) -> int | None:
        """When the slot of this case in block `seq` is due."""
        return self._whole.due_ns(seq * self._of + self._place(seq))

    def block_ns(self, block: int) -> int:
        """When a block begins, whoever's its first slot is."""
        return self._whole.due_ns(block * self._of) or 0

    def _place(self, block: int) -> int:
        order = list(range(self._of))
        random.Random(f"sendbench order {self._seed} {block}").shuffle(order)
        return order.index(self._number)


PACERS: dict[str, Callable[[Load, int], Pacer]] = {
    "closed": Closed,
    "constant": Constant,
    "poisson": Poisson,
    "ramp": Ramp,
    "steps": Steps,
}
"""Load model -> its pacer."""


def pacer_for(load: Load, seed: int) -> Pacer:
    """The pacer of a load; the same seed gives the same schedule."""
    return PACERS[load.model](load, seed)
