"""Whether a case was in one state from its first message to its last: warm-up, drift, two modes.

Nothing is dropped for what is found; it is said. Service times in the order of sending are cut into blocks of
neighbours, whose medians no single slow message moves:

- warm-up: a scan over all beginnings of up to half the run, whose blocks are compared with those after them
  by ranks (the change-point test of Pettitt, Applied Statistics 28 (1979) 126-135, one-sided, the statistic
  of each beginning divided by its standard deviation so that early ones count as much);
- drift of what is left: Mann's trend test on long blocks (Econometrica 13 (1945) 245-259) and the slope of
  Theil and Sen (Journal of the American Statistical Association 63 (1968) 1379-1389);
- two modes: the dip test of Hartigan and Hartigan (Annals of Statistics 13 (1985) 70-84), split where the two
  parts scatter least (Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9 (1979) 62-66).

The first two allow for blocks that are like their neighbours, by the correlation that is left once the step
or the slope is taken off (after Hamed and Rao, Journal of Hydrology 204 (1998) 182-196). By simulation
something is said of at most one steady case in 100, also where the speed of the machine wanders by 5 %.
Why warm-up is looked for and not guessed: Traini and others, Empirical Software Engineering 28 (2023) 13.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.analysis.quantiles import NS_PER_MS, Floats
from bench.model import Modes, Steadiness

LEAST = 200
"""Messages below which nothing is looked for."""
BLOCK_LEAST, BLOCKS_MOST = 10, 100
LONG_BLOCKS = 20
EFFECT = 0.20
"""What is said: a beginning that much slower than the rest, a drift over the run that large."""
APART = 1.5
"""... a second mode so many times the first, and ..."""
SHARE = 0.10
"""... either with this share of the messages."""
WARMUP_Z, DRIFT_Z, DIP = 3.7, 4.0, 0.70
"""What has to be exceeded; the dip times the root of the number of messages."""
THINNED = 4000
"""Messages whose dip is looked at, evenly spread over the run."""


def steadiness(times_ns: Floats) -> Steadiness | None:
    """What is found in service times in the order of sending; None where they are too few."""
    if len(times_ns) < LEAST:
        return None
    first, slower = _warmup(times_ns)
    rest = times_ns[first:]
    drift = _drift(rest) if len(rest) >= LEAST else None
    return Steadiness(first, slower, drift, None if drift is not None else _modes(rest))


def _log_medians(times: Floats, blocks: int) -> Floats:
    return np.log([max(1.0, float(np.median(block))) for block in np.array_split(times, blocks)])


def _warmup(times: Floats) -> tuple[int, float]:
    """How many messages at the beginning were slower, and by what share; zeros where none are shown to be."""
    count = min(BLOCKS_MOST, len(times) // BLOCK_LEAST)
    logs = _log_medians(times, count)
    scan = _scan(logs)
    early = int(np.argmax(scan)) + 1
    levels = np.repeat([np.median(logs[:early]), np.median(logs[early:])], [early, count - early])
    if scan[early - 1] < WARMUP_Z * _inflation(logs - levels):
        return 0, 0.0
    first = sum(len(block) for block in np.array_split(times, count)[:early])
    slower = float(np.median(times[:first]) / np.median(times[first:])) - 1
    return (first, slower) if slower >= EFFECT else (0, 0.0)


def _inflation(residuals: Floats) -> float:
    """How many times wider the statistics scatter because neighbouring blocks are alike (first-order)."""
    ranks = np.argsort(np.argsort(residuals, kind="stable"), kind="stable") - (len(residuals) - 1) / 2
    by_chance = 1 / math.sqrt(len(ranks))
    alike = min(0.9, max(0.0, float(ranks[1:] @ ranks[:-1] / (ranks @ ranks)) - by_chance))
    return math.sqrt((1 + alike) / (1 - alike))


def _scan(medians: Floats) -> Floats:
    """For each beginning of 1 to half of the blocks: by how many standard deviations its rank sum is high."""
    total = len(medians)
    ranks = np.argsort(np.argsort(medians, kind="stable"), kind="stable") + 1.0
    early = np.arange(1, total // 2 + 1)
    sums = np.cumsum(ranks)[: len(early)]
    mean, variance = early * (total + 1) / 2, early * (total - early) * (total + 1) / 12
    return np.asarray((sums - mean) / np.sqrt(variance))


def _drift(times: Floats) -> float | None:
    """The change from the beginning to the end, as a share; None where none is shown."""
    logs = _log_medians(times, LONG_BLOCKS)
    i, j = np.triu_indices(LONG_BLOCKS, 1)
    steps = logs[j] - logs[i]
    slope = float(np.median(steps / (j - i)))
    sd = math.sqrt(LONG_BLOCKS * (LONG_BLOCKS - 1) * (2 * LONG_BLOCKS + 5) / 18)
    if abs(np.sign(steps).sum()) < DRIFT_Z * sd * _inflation(logs - slope * np.arange(LONG_BLOCKS)):
        return None
    change = math.expm1(slope * LONG_BLOCKS)
    return change if max(change, 1 / (1 + change) - 1) >= EFFECT else None


def _modes(times: Floats) -> Modes | None:
    logs = np.sort(np.log(np.maximum(times, 1.0)))
    thinned = np.sort(np.log(np.maximum(times[:: -(-len(times) // THINNED)], 1.0)))
    if dip(thinned) * math.sqrt(len(thinned)) < DIP:
        return None
    split = _split(logs)
    low, high = math.exp(np.median(logs[:split])), math.exp(np.median(logs[split:]))
    share = split / len(logs)
    if high < APART * low or not SHARE <= share <= 1 - SHARE:
        return None
    return Modes(share, low / NS_PER_MS, high / NS_PER_MS)


def _split(ordered: Floats) -> int:
    """How many of the ascending values make the lower of two parts that scatter least about their means."""
    n = len(ordered)
    below, sums = np.arange(1, n), np.cumsum(ordered)
    between = (sums[:-1] / below - (sums[-1] - sums[:-1]) / (n - below)) ** 2 * below * (n - below)
    return int(np.argmax(between)) + 1


def dip(ordered: Floats) -> float:
    """The greatest distance between the distribution of ascending values and the unimodal one nearest to it.

    That one is convex up to its mode and concave from there. The interval that holds the mode is narrowed
    down to where convex minorant and concave majorant are farthest apart, as long as that is farther than
    the distribution is from them outside.
    """
    x, ends = np.unique(ordered, return_index=True)
    above = np.append(ends[1:], len(ordered)) / len(ordered)
    below = above - 1 / len(ordered)  # equal values: a clock's grain is no mode
    first, last, found = 0, len(x), 1 / len(ordered)
    while True:
        part, lower, upper = x[first:last], below[first:last], above[first:last]
        convex, concave = _hull(part, lower), _hull(part, -upper)
        minorant = np.interp(part, part[convex], lower[convex])
        majorant = np.interp(part, part[concave], upper[concave])
        widest = int(np.argmax(majorant - minorant))
        if majorant[widest] - minorant[widest] <= found:
            return found / 2
        begin, end = int(convex[convex <= widest].max()), int(concave[concave >= widest].min()) + 1
        left, right = (upper - minorant)[: begin + 1], (majorant - lower)[end - 1 :]
        found = max(found, float(left.max()), float(right.max()))
        if end - begin == last - first:
            return found / 2
        first, last = first + begin, first + end


def _hull(x: Floats, y: Floats) -> NDArray[np.int64]:
    """The corners of the greatest convex function below points with ascending x (a monotone chain)."""
    kept: list[int] = []
    for i in range(len(x)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (y[b] - y[a]) * (x[i] - x[b]) < (y[i] - y[b]) * (x[b] - x[a]):
                break
            kept.pop()
        kept.append(i)
    return np.array(kept)
