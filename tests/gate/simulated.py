"""What the gate does with data whose truth is known: error rates, power, coverage and cost."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np

from bench.analysis.gate import LOOKS
from bench.analysis.paired import QUANTILES, Levelled, compare_strata, interval, shift, stratify
from bench.analysis.quantiles import interval_ranks
from bench.model import DEFAULT_LIMITS
from bench.scenario.gates import PROCESSES
from tests.gate.noise import ALL_5, NOISES, SAME, Change, base, tail_10, two_sides
from tests.gate.rules import RULES, ours

CORES = 2
APART = 0.03
"""Two processes of one program differ by so much, in logarithms: one standard deviation."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """How often each rule called B slower."""

    noise: str
    change: str
    count: int
    """Messages a side."""
    rounds: int
    by_rule: dict[str, int]


def _change(name: str, noise: str) -> Change:
    return {"none": SAME, "all +5 %": ALL_5, "p95 +10 %": tail_10(NOISES[noise])}[name]


def _alarms(noise: str, change: str, count: int, rounds: int, seed: int) -> dict[str, int]:
    rng, planted = np.random.default_rng(seed), _change(change, noise)
    found = dict.fromkeys(RULES, 0)
    for _ in range(rounds):
        sides = two_sides(NOISES[noise], count, planted, rng)
        for name, rule in RULES.items():
            found[name] += rule(*sides)
    return found


def alarms(noise: str, change: str, count: int, rounds: int) -> Alarms:
    """So many comparisons, and who calls B slower."""
    shares = [rounds // CORES + (number < rounds % CORES) for number in range(CORES)]
    with ProcessPoolExecutor(CORES) as pool:
        work = partial(_alarms, noise, change, count)
        parts = list(pool.map(work, shares, range(100, 100 + CORES)))
    return Alarms(noise, change, count, rounds, {name: sum(part[name] for part in parts) for name in RULES})


def two_stages(noise: str, count: int, rounds: int, seed: int = 7) -> int:
    """How many of so many comparisons of alike variants end as a regression at the first or the second look,
    were every one to go on: more than any gate does."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(rounds):
        a, b = two_sides(NOISES[noise], 2 * count, SAME, rng)
        found += ours(a[:count], b[:count], LOOKS[0]) or ours(a, b, LOOKS[1])
    return found


def _by_processes(change: str, count: int, rounds: int, seed: int) -> tuple[int, int]:
    planted, rng = _change(change, "quiet"), np.random.default_rng(seed)
    parts = np.arange(count) * PROCESSES // count
    found = [0, 0]
    for _ in range(rounds):
        sides = two_sides(NOISES["quiet"], count, planted, rng)
        a, b = (side * np.exp(rng.normal(0, APART, PROCESSES))[parts] for side in sides)
        found[0] += ours(a, b, parts=parts)
        found[1] += ours(*(side * np.exp(rng.normal(0, APART)) for side in sides))
    return found[0], found[1]


def by_processes(change: str, count: int, rounds: int) -> tuple[int, int]:
    """How many of so many comparisons call B slower where processes differ by chance (log-normal, by APART):
    of `PROCESSES` on each side, and of one, of which nothing can tell what is its own."""
    with ProcessPoolExecutor(CORES) as pool:
        work = partial(_by_processes, change, count, rounds // CORES)
        parts = list(pool.map(work, range(200, 200 + CORES)))
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


# ------------------------------------------------------------------------- coverage


def _covered(noise: str, change: str, count: int, rounds: int, seed: int) -> dict[str, int]:
    planted = _change(change, noise)
    many = base(NOISES[noise], 4_000_000, np.random.default_rng(3))
    truth = {
        name: float(np.quantile(planted(many), q) / np.quantile(many, q)) for name, q in QUANTILES.items()
    }
    rng, held = np.random.default_rng(seed), dict.fromkeys(QUANTILES, 0)
    for _ in range(rounds):
        strata = stratify(*two_sides(NOISES[noise], count, planted, rng))
        assert strata is not None
        levelled = Levelled(strata)
        for name, q in QUANTILES.items():
            ratio = levelled.ratio(q)
            assert ratio is not None
            low, high = interval(levelled, q, ratio)
            held[name] += (low or 0.0) <= truth[name] <= (high or math.inf)
    return held


def covered(noise: str, change: str, count: int, rounds: int) -> dict[str, float]:
    """How often the interval of each ratio held the planted one."""
    shares = [rounds // CORES] * CORES
    with ProcessPoolExecutor(CORES) as pool:
        parts = list(pool.map(partial(_covered, noise, change, count), shares, (11, 12)))
    return {name: sum(part[name] for part in parts) / sum(shares) for name in QUANTILES}


def percentile_coverage(q: float, count: int, rounds: int, seed: int = 5) -> tuple[float, float]:
    """Coverage of a percentile's 95 % interval: seen, and exact (binomial)."""
    ranks = interval_ranks(count, q)
    assert ranks is not None
    lower, upper = ranks
    rng, held = np.random.default_rng(seed), 0
    truth = math.exp(0.25 * NormalDist().inv_cdf(q))
    for _ in range(rounds):
        ordered = np.sort(rng.lognormal(0, 0.25, count))
        held += bool(ordered[lower - 1] <= truth <= ordered[upper - 1])
    exact = sum(math.comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(lower, upper))
    return held / rounds, exact


# ------------------------------------------------------------------------------ cost


def decision_s(count: int) -> float:
    """Seconds of a decision, the best of five."""
    return min(decision_once(count) for _ in range(5))


def large_decision(count: int) -> tuple[float, float]:
    """Seconds, and the peak of the memory of a process of its own in MiB, imports and the data included."""
    script = (
        f"import resource; from tests.gate.simulated import decision_once; took = decision_once({count}); "
        "print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    took, peak = done.stdout.split()
    return float(took), float(peak)


def decision_once(count: int) -> float:
    """Seconds of a decision with all intervals, those of the curve that a report draws included."""
    sides = two_sides(NOISES["noisy"], count, ALL_5, np.random.default_rng(1))
    begun = time.perf_counter()
    strata = stratify(*sides)
    assert strata is not None
    ratios, _ = compare_strata(strata, DEFAULT_LIMITS.effect)
    shift(strata, ratios)
    return time.perf_counter() - begun
