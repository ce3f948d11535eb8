"""`make calibrate-gate`: how often the gate is wrong, and how often it sees what is there.

Simulated data and real runs go through the gate and through rules in common use. What is done is kept, so
that it can be gone on with. Exit codes: 0 everything held, 1 something did not, 2 the command makes no sense.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.gate import real, simulated
from tests.gate.noise import ALL_5, NOISES, SAME, Change, tail_10
from tests.gate.page import (
    ALIKE,
    COVERAGE,
    COVERAGE_ROUNDS,
    POWER,
    POWER_ROUNDS,
    REAL_ALIKE,
    REAL_POWER,
    ROUNDS,
    render,
)
from tests.resumable import Found, carry_out

STATE = Path("reports/gate.json")
REPORT = Path("reports/gate.md")


def _alarms(noise: str, change: str, count: int, rounds: int) -> Found:
    return asdict(simulated.alarms(noise, change, count, rounds))


def _real(change: Callable[[], Change], count: int, rounds: int, *, stolen: bool) -> Found:
    return asdict(real.tally(change(), count, rounds, stolen=stolen))


def _covered(noise: str, change: str, count: int) -> Found:
    return {**simulated.covered(noise, change, count, COVERAGE_ROUNDS)}


def _processes() -> Found:
    alarms, one = simulated.by_processes("none", 1000, ROUNDS)
    seen, _ = simulated.by_processes("all +5 %", 3000, POWER_ROUNDS)
    return {"alarms": alarms, "one": one, "seen": seen}


def _cost() -> Found:
    seconds, peak_mib = simulated.large_decision(1_000_000)
    return {"small_s": simulated.decision_s(5_000), "large_s": seconds, "large_mib": peak_mib}


REAL: Mapping[str, Callable[[], Found]] = {
    "real alike": partial(_real, lambda: SAME, 1000, REAL_ALIKE, stolen=False),
    "real alike, CPU stolen": partial(_real, lambda: SAME, 1000, REAL_ALIKE, stolen=True),
    "real all +5 %": partial(_real, lambda: ALL_5, 1500, REAL_POWER, stolen=False),
    "real p95 +10 %": partial(_real, lambda: tail_10(NOISES["quiet"]), 2500, REAL_POWER, stolen=False),
}
PERCENTILES = ((0.5, 100), (0.95, 72), (0.95, 1000), (0.99, 368), (0.99, 1000))

PARTS: Mapping[str, Callable[[], Found]] = {
    **{name: partial(_alarms, *what, ROUNDS) for name, what in ALIKE.items()},
    **{name: partial(_alarms, *what, POWER_ROUNDS) for name, what in POWER.items()},
    "two stages": lambda: {
        "rounds": ROUNDS, "by_noise": {n: simulated.two_stages(n, 1000, ROUNDS) for n in NOISES},
    },
    "several processes": _processes,
    **{name: partial(_covered, *what) for name, what in COVERAGE.items()},
    "percentiles": lambda: {
        f"p{q * 100:g} of {n}": simulated.percentile_coverage(q, n, 20_000) for q, n in PERCENTILES
    },
    "cost": _cost,
    **REAL,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Do the parts that are not done yet, or those named."""
    parser = argparse.ArgumentParser(prog="make calibrate-gate ARGS=...", description=main.__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="these parts, done or not")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    options = parser.parse_args(arguments)
    page, held = render(carry_out(PARTS, STATE, options.parts, fresh=options.fresh), PARTS)
    REPORT.write_text(page, encoding="utf-8")
    print(page)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
