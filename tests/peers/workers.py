"""Two worker processes beside one: what a message costs, and the rate when each is held to 30 % of a core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.peers import capping
from tests.peers.compare import HarnessError, Spread, alternate, efficiency, spread
from tests.peers.ours import figures
from tests.peers.servers import Kind
from tests.peers.work import Cores, Side, Work, costs, measure

ONE = Work(Kind.SMTP, 40_000)
TWO = replace(ONE, workers=2)
CAPPED_ONE = replace(ONE, messages=20_000)
CAPPED_TWO = replace(TWO, messages=20_000)
SHARE = 0.3


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


COST = Scaled("workers/cpu", "CPU per message, 2 workers / 1", 1.05, at_most=True)
RATE = Scaled(
    "workers/rate", "messages/s, 2 workers / 1, each process held to 30 % of a core", 1.9, at_most=False
)


def cost(ours: Side, pairs: int, cores: Cores) -> Scaled:
    """CPU per message, start-up subtracted."""
    try:
        done = alternate(costs(ours, TWO, cores), costs(ours, ONE, cores), pairs)
    except HarnessError as error:
        return replace(COST, error=str(error))
    found = efficiency(done)
    return replace(COST, ratio=Spread(1 / found.median, 1 / found.high, 1 / found.low))


def rate(ours: Side, pairs: int, cores: Cores) -> Scaled:
    """The rate of the run's own summary, which starts with its first message."""
    means = capping.choose(SHARE).name
    try:
        ratios = [
            _capped_rate(ours, CAPPED_TWO, cores) / _capped_rate(ours, CAPPED_ONE, cores)
            for _ in range(pairs)
        ]
    except HarnessError as error:
        return replace(RATE, error=str(error), means=means)
    return replace(RATE, ratio=spread(ratios), means=means)


def _capped_rate(ours: Side, work: Work, cores: Cores) -> float:
    with capping.capped(capping.choose(SHARE)) as hold:
        _, ended = measure(ours, work, cores, hold)
    return figures(ended).accepted_per_s


CHECKS: dict[str, Callable[[Side, int, Cores], Scaled]] = {COST.key: cost, RATE.key: rate}
