"""Two variants whose messages were interleaved at random: is the second slower, and by how much?

The design carries the test. In every block of the schedule each variant has one slot, in an order drawn at
random, so that, were the variants alike, their names could be exchanged block by block without anybody
noticing, whatever the machine and the network did meanwhile. Blocks are gathered into strata of `STRATUM`;
the test exchanges the names of whole strata (a sign-flip: Fisher, The Design of Experiments, section 21;
Lehmann and Romano, Testing Statistical Hypotheses, 3rd ed., section 15.2). That is exact however messages
near each other hang together, and knows no distribution. Where each variant was several processes one after
another (`Gate.processes`), it exchanges the names of whole processes: two of one program are not quite alike
either (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013).

The statistics are sums over strata:

- p50: how often a message of B is slower than one of A in the same stratum, less how often it is faster;
- p95, p99: how many more messages of B than of A exceed the pooled percentile, each time divided by a level
  of its stratum in which all variants of the comparison count alike, so that drift is nobody's;
- lost: how many more messages of B than of A were not accepted, where any was not. A lost message is
  infinitely slow in the other three, too.

Holm's procedure (Scandinavian Journal of Statistics 6 (1979) 65-70) keeps the probability that anything of
the family is said wrongly below alpha. The interval of a ratio of percentiles holds the ratios that a test of
the same kind does not reject once B is divided by them. As all pairs of a comparison have the same levels,
their ratios agree: that of C to A is that of C to B times that of B to A.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bench.analysis.quantiles import Floats, quantile_rank
from bench.model import Lost, Ratio, Shift

Ints = NDArray[np.int64]

STRATUM = 25
"""Messages of each variant in a stratum: short against the drift of a busy machine, enough for a level."""
UNITS = 200
"""Of more strata neighbours are flipped together: more say no more, and cost time."""
FLIPS = 10_000
"""Random exchanges of names behind a p-value, whose least value is then 1e-4."""
ALPHA = 0.01
LEVEL = 0.95
QUANTILES: Mapping[str, float] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
LEAST: Mapping[str, int] = {"p50": 250, "p95": 250, "p99": 1000}
"""Messages a side below which a percentile is not judged."""
CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The quantiles whose ratios are drawn."""
POWER = 0.95
"""With which an effect called detectable is detected."""
SLACK = 0.88
"""An interval's tails are this much smaller than they might be: where the variants differ in shape, the test
of a ratio is a little too sure of itself (by simulation, 0.7 points of 95 at most)."""

_FINEST = 1e-4
"""To which the logarithm of an interval's end is found."""
_WIDEST = math.log(1000.0)
_SEED = 20_261_128
"""Of the flips: the same data give the same verdict."""


@dataclass(frozen=True, slots=True)
class Strata:
    """Both variants' times, a row a stratum, in their order; infinite where a message was lost."""

    a: Floats
    b: Floats
    levels: Floats
    """Stratum -> what its times are divided by where strata are set beside each other."""
    units: Ints
    """Stratum -> what it is flipped with, counted from 0."""

    @property
    def count(self) -> int:
        """Messages a side."""
        return self.a.size

    @property
    def flipped(self) -> int:
        """How many units there are to flip."""
        return int(self.units[-1]) + 1

    def levelled(self) -> tuple[Floats, Floats]:
        """Both variants' times over the levels of their strata, in their order."""
        levels = self.levels[:, None]
        return (self.a / levels).ravel(), (self.b / levels).ravel()


def stratify(a: Floats, b: Floats, parts: tuple[Ints, Ints] | None = None) -> Strata | None:
    """Two variants' times as `stratify_each` has them; None where there are too few for any judgement."""
    each = None if parts is None else {"a": parts[0], "b": parts[1]}
    return stratify_each({"a": a, "b": b}, each).get(("a", "b"))


def stratify_each(
    times: Mapping[str, Floats], parts: Mapping[str, Ints] | None = None
) -> dict[tuple[str, str], Strata]:
    """The times of each two variants of one comparison in the order of their slots: in the same strata, over
    the same levels. What does not fill a last stratum is left out.

    `parts` is what each time of a variant belongs to, from 0 on and ascending: no stratum has times of two
    parts, and a part is flipped as a whole. Empty where there are too few for any judgement.
    """
    pieces = {name: _split(whole, parts[name]) if parts else [whole] for name, whole in times.items()}
    counts = [min(map(len, each)) // STRATUM for each in zip(*pieces.values(), strict=False)]
    strata = sum(counts)
    if strata * STRATUM < min(LEAST.values()):
        return {}
    rows = {
        name: np.concatenate([piece[: n * STRATUM] for piece, n in zip(each, counts, strict=False)])
        for name, each in pieces.items()
    }
    rows = {name: values.reshape(strata, STRATUM) for name, values in rows.items()}
    medians = {name: _medians(values) for name, values in rows.items()}
    whole = [each for each in medians.values() if np.isfinite(each).all()]
    levels = _levels(whole if len(whole) > 1 else list(medians.values()))
    units = np.arange(strata) * min(strata, UNITS) // strata
    if parts:
        units = np.repeat(np.arange(len(counts)), counts)
    return {(a, b): Strata(rows[a], rows[b], levels, units) for a, b in combinations(rows, 2)}


def _split(values: Floats, parts: Ints) -> list[Floats]:
    return np.split(values, np.searchsorted(parts, np.arange(1, parts[-1] + 1))) if len(parts) else []


def _levels(medians: Sequence[Floats]) -> Floats:
    """Stratum -> the geometric mean of medians: dividing one variant by anything shifts all levels alike."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.mean([np.log(each) for each in medians], axis=0)
    known = np.isfinite(logs)
    logs[~known] = logs[known].mean() if known.any() else 0.0
    return np.exp(logs)


def _medians(values: Floats) -> Floats:
    middle = values.shape[1] // 2
    return np.asarray(np.partition(values, middle, axis=1)[:, middle], dtype=np.float64)


# ----------------------------------------------------------------------- statistics


def slower_pairs(strata: Strata) -> Floats:
    """Unit -> over its strata, the share of pairs in which B is slower less that in which it is faster."""
    shares = np.empty(len(strata.a))
    for rows in _chunks(len(strata.a)):
        a, b = strata.a[rows, :, None], strata.b[rows, None, :]
        shares[rows] = (b > a).mean(axis=(1, 2)) - (b < a).mean(axis=(1, 2))
    return np.bincount(strata.units, shares, strata.flipped).astype(np.float64)


def lost_more(strata: Strata) -> Floats:
    """Unit -> messages lost of B less those of A."""
    more = np.isinf(strata.b).sum(axis=1) - np.isinf(strata.a).sum(axis=1)
    return np.bincount(strata.units, more, strata.flipped).astype(np.float64)


def _chunks(rows: int, size: int = 1000) -> Iterator[slice]:
    return (slice(begin, begin + size) for begin in range(0, rows, size))


class Levelled:
    """Both variants' times over the level of their stratum, ascending, with the unit that each belongs to."""

    def __init__(self, strata: Strata) -> None:
        a, b = strata.levelled()
        units = np.repeat(strata.units, STRATUM)
        self.units = strata.flipped
        self.a, self.a_units = _ascending(a, units)
        self.b, self.b_units = _ascending(b, units)

    def exceeding(self, q: float, ratio: float = 1.0) -> Floats:
        """Unit -> how many more of B / ratio than of A exceed the pooled q-quantile."""
        limit = _kth(self.a, self.b, ratio, quantile_rank(len(self.a) + len(self.b), q))
        above_a = self.a_units[np.searchsorted(self.a, limit, side="right") :]
        above_b = self.b_units[np.searchsorted(self.b, limit * ratio, side="right") :]
        more = np.bincount(above_b, minlength=self.units) - np.bincount(above_a, minlength=self.units)
        return more.astype(np.float64)

    def ratio(self, q: float) -> float | None:
        """The q-quantile of B over that of A; None where one of them is that of a lost message."""
        rank = quantile_rank(len(self.a), q) - 1
        a, b = float(self.a[rank]), float(self.b[rank])
        return b / a if math.isfinite(a) and math.isfinite(b) and a > 0 else None


def _ascending(values: Floats, units: Ints) -> tuple[Floats, Ints]:
    order = np.argsort(values, kind="stable")
    return values[order], units[order]


def _kth(a: Floats, b: Floats, ratio: float, k: int) -> float:
    """The k-th smallest, from 1, of A and B / ratio, both ascending."""
    low, high = max(0, k - len(b)), min(k, len(a))
    while low < high:  # how many of the k smallest are A's
        middle = (low + high) // 2
        if a[middle] < b[k - middle - 1] / ratio:
            low = middle + 1
        else:
            high = middle
    candidates = [float(a[low - 1])] if low else []
    if k > low:
        candidates.append(float(b[k - low - 1]) / ratio)
    return max(candidates)


# ----------------------------------------------------------------------------- tests


@lru_cache(maxsize=8)
def _signs(units: int, flips: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(_SEED).integers(0, 2, (flips, units), dtype=np.int8)
    return (drawn * 2 - 1).astype(np.float32)


def p_value(differences: Floats, flips: int = FLIPS) -> float:
    """How probable a sum as large as that of the differences is, were each as likely the other way round.

    Of a sample of all exchanges and the true one: never 0 (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol.
    9 (2010) 39).
    """
    sums = _signs(len(differences), flips) @ differences.astype(np.float32)
    seen = float(differences.sum())
    as_large = int(np.count_nonzero(sums >= seen - 1e-4 * max(1.0, abs(seen))))
    return (1 + as_large) / (1 + flips)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Each p-value as it counts in its family: what is at most alpha there is significant."""
    adjusted, least = dict[str, float](), 0.0
    for number, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        least = max(least, min(1.0, p_values[name] * (len(p_values) - number)))
        adjusted[name] = least
    return adjusted


def interval(
    levelled: Levelled, q: float, ratio: float, level: float = LEVEL
) -> tuple[float | None, float | None]:
    """The ratios of q-quantiles that are not rejected, from the least to the largest; None: without end."""
    tail = SLACK * (1 - level) / 2
    flips = min(2 * FLIPS, max(2_000, round(50 / tail)))

    def end(way: int) -> float | None:
        def rejected(distance: float) -> bool:
            more = levelled.exceeding(q, ratio * math.exp(way * distance))
            return p_value(-way * more, flips) <= tail

        near, far = 0.0, 0.01
        while not rejected(far):
            near, far = far, far * 2
            if far > _WIDEST:
                return None
        while far - near > _FINEST:
            middle = (near + far) / 2
            near, far = (near, middle) if rejected(middle) else (middle, far)
        return ratio * math.exp(way * far)

    return end(-1), end(+1)


# ---------------------------------------------------------------------- all together


def compare_strata(
    strata: Strata, effects: Mapping[str, float] | None, *, alpha: float = ALPHA, level: float = LEVEL
) -> tuple[tuple[Ratio, ...], Lost | None]:
    """Every quantity of B against A.

    With `effects` (the least slowdowns that count, shares of 1) there are one-sided p-values, adjusted over
    the family, and what is detectable is so by these; without, by intervals at `level` that leave 1 out.
    """
    levelled = Levelled(strata)
    judged = [name for name in QUANTILES if strata.count >= LEAST[name]]
    lost = lost_more(strata) if np.isinf(strata.a).any() or np.isinf(strata.b).any() else None
    p: dict[str, float] = {}
    if effects is not None:
        p = {name: p_value(_statistic(name, strata, levelled)) for name in judged}
        p |= {} if lost is None else {"lost": p_value(lost)}
    family, adjusted = len(p), holm(p)
    ratios = []
    for name, q in QUANTILES.items():
        if name not in judged:
            note = f"{name} is judged from {LEAST[name]} messages a side on; there are {strata.count}"
            ratios.append(Ratio(name, levelled.ratio(q), None, None, None, None, note))
            continue
        ratio = levelled.ratio(q)
        low, high = (None, None) if ratio is None else interval(levelled, q, ratio, level)
        least = None
        if low and high:
            effect, error = (0.0, (1 - level) / 2) if effects is None else (effects[name], alpha / family)
            least = detectable(math.log(high / low), effect, error, level, units=strata.flipped)
        ratios.append(Ratio(name, ratio, low, high, adjusted.get(name), least))
    return tuple(ratios), None if lost is None else _lost(strata, lost, adjusted.get("lost"), level)


def shift(strata: Strata, ratios: Sequence[Ratio], level: float = LEVEL) -> tuple[Shift, ...]:
    """The ratio of each quantile of `CURVE` with its interval, each by itself at `level` as the `ratios`
    are, which have some of them already. Those of lost messages and those not judged are left out."""
    known = {QUANTILES[each.quantity]: each for each in ratios}
    levelled, points = Levelled(strata), []
    for q in CURVE:
        if q in known:
            judged = known[q]
            ratio, low, high = (None if judged.note else judged.ratio), judged.low, judged.high
        elif (ratio := levelled.ratio(q)) is not None:
            low, high = interval(levelled, q, ratio, level)
        if ratio is not None:
            points.append(Shift(q, ratio, low, high))
    return tuple(points)


def _statistic(name: str, strata: Strata, levelled: Levelled) -> Floats:
    return slower_pairs(strata) if name == "p50" else levelled.exceeding(QUANTILES[name])


def detectable(
    width: float,
    effect: float,
    alpha: float,
    level: float = LEVEL,
    power: float = POWER,
    units: int = UNITS,
) -> float:
    """The least slowdown found with this power, as a share of 1, where an interval at `level` has this width
    (of logarithms), one test of so many units is made at alpha, and less than `effect` does not count."""
    error = width / 2 / _student(1 - SLACK * (1 - level) / 2, units - 1)
    shown = max(_student(1 - alpha, units - 1) * error, math.log1p(effect))
    return math.expm1(shown + NormalDist().inv_cdf(power) * error)


def _student(p: float, freedom: int) -> float:
    """A quantile of Student's t, to 1.5 % from 9 degrees on (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(p)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _lost(strata: Strata, more: Floats, p: float | None, level: float) -> Lost:
    n = strata.count
    a, b = (float(np.isinf(values).sum()) / n for values in (strata.a, strata.b))
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(float((more**2).sum())) / n
    return Lost(a, b, b - a - reach, b - a + reach, p)
