"""Two worker processes beside one: what a message costs, and the rate when each is held to 30 % of a core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tests.peers import capping
from tests.peers.compare import Cost, Ended, HarnessError, Spread, alternate, efficiency, net, spread
from tests.peers.ours import figures
from tests.peers.servers import Kind
from tests.peers.work import Cores, Side, Work, measure

ONE = Work(Kind.SMTP, 25_000)
TWO = replace(ONE, workers=2)
CAPPED_ONE = replace(ONE, messages=12_000)
CAPPED_TWO = replace(TWO, messages=12_000)
SHARE = 0.3
BUSY = 0.2
"""The share of a run's CPU that a worker uses at least: what else there is does next to nothing."""
BUSY_FROM = 5_000
"""Messages from which on start-up does not hide who does the work."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """One check of two workers against one."""

    key: str
    what: str
    asked: float
    at_most: bool
    ratio: Spread | None = None
    """Two workers' figure / one worker's."""
    means: str = ""
    error: str = ""

    @property
    def verdict(self) -> str:
        """One or two words."""
        if self.ratio is None:
            return "harness error"
        kept = self.ratio.median <= self.asked if self.at_most else self.ratio.median >= self.asked
        return "pass" if kept else "falls short"


HELD = "each process held to 30 % of a core"
COST = Scaled("workers/cpu", f"CPU per message, 2 workers / 1, {HELD}", 1.05, at_most=True)
"""Held, too, as two free workers and the server they send to would fight for the two cores that a machine
must have at least: what that costs is not the workers'."""
RATE = Scaled("workers/rate", f"messages/s, 2 workers / 1, {HELD}", 1.9, at_most=False)


def cost(ours: Side, pairs: int, cores: Cores) -> Scaled:
    """CPU per message, start-up subtracted."""
    means = capping.choose(SHARE).name

    def costs_of(work: Work) -> Callable[[], Cost]:
        return partial(
            net, lambda messages: _held(ours, replace(work, messages=messages), cores)[0], work.messages
        )

    try:
        done = alternate(costs_of(TWO), costs_of(ONE), pairs)
    except HarnessError as error:
        return replace(COST, error=str(error), means=means)
    found = efficiency(done)
    return replace(COST, ratio=Spread(1 / found.median, 1 / found.high, 1 / found.low), means=means)


def rate(ours: Side, pairs: int, cores: Cores) -> Scaled:
    """The rate of the run's own summary, which starts with its first message."""
    means = capping.choose(SHARE).name
    try:
        ratios = [
            _rate(_held(ours, CAPPED_TWO, cores)) / _rate(_held(ours, CAPPED_ONE, cores))
            for _ in range(pairs)
        ]
    except HarnessError as error:
        return replace(RATE, error=str(error), means=means)
    return replace(RATE, ratio=spread(ratios), means=means)


def _rate(run: tuple[Cost, Ended]) -> float:
    return figures(run[1]).accepted_per_s


def _held(ours: Side, work: Work, cores: Cores) -> tuple[Cost, Ended]:
    with capping.capped(capping.choose(SHARE)) as hold:
        return _shared(ours, work, cores, hold)


def _shared(
    ours: Side, work: Work, cores: Cores, started: Callable[[int], None] = lambda pid: None
) -> tuple[Cost, Ended]:
    """A run in which at least as many processes as workers were busy; raises HarnessError otherwise."""
    shares = capping.Shares({})

    with capping.watched(shares.look) as watch:

        def both(pid: int) -> None:
            started(pid)
            watch(pid)

        cost, ended = measure(ours, work, cores, both)
    if shares.busy(BUSY) < work.workers and work.messages >= BUSY_FROM:
        raise HarnessError(f"{shares.busy(BUSY)} busy processes where {work.workers} workers were asked for")
    return cost, ended


CHECKS: dict[str, Callable[[Side, int, Cores], Scaled]] = {COST.key: cost, RATE.key: rate}
