"""What calibrating the gate has found, as a page: every figure with what is asked of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping

from bench.scenario.gates import PROCESSES
from tests.gate.noise import NOISES
from tests.gate.real import MEDIAN_MS, RATE_PER_S
from tests.gate.rules import RULES
from tests.gate.simulated import APART
from tests.resumable import Found

ROUNDS = 2_000
"""Simulated comparisons of alike variants for each kind of noise."""
ALARMS_ALLOWED = 31
"""Of so many: not significantly more than 1 %."""
POWER_ROUNDS = 1_000
COVERED = 0.94
COVERAGE_ROUNDS = 1_000
EXACT_WITHIN = 0.015
REAL_ALIKE = 150
"""Valid real runs of alike variants on the machine as it is, and as many with CPU stolen from them."""
REAL_ALARMS_ALLOWED = 8
REAL_POWER = 100
REAL_SEEN = 90
INVALID_ALLOWED = 0.10

ALIKE = {f"alike {noise}": (noise, "none", 1000) for noise in NOISES}
POWER = {
    "all +5 % quiet": ("quiet", "all +5 %", 1500),
    "all +5 % noisy": ("noisy", "all +5 %", 1500),
    "p95 +10 % quiet": ("quiet", "p95 +10 %", 2500),
    "p95 +10 % noisy": ("noisy", "p95 +10 %", 2500),
    "all +5 % wide": ("wide", "all +5 %", 5000),
    "p95 +10 % wide": ("wide", "p95 +10 %", 10000),
}
COVERAGE = {
    f"coverage {change} {noise}": (noise, change, 1500)
    for noise in NOISES
    for change in ("none", "all +5 %", "p95 +10 %")
}
REAL_POWER_PARTS = {"real all +5 %": ("all +5 %", 1500), "real p95 +10 %": ("p95 +10 %", 2500)}


class Page:
    """Lines of Markdown, and whether all that was asked held."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.held = True

    def table(self, *heading: str) -> None:
        self.lines += ["", f"| {' | '.join(heading)} |", f"|{'---|' * len(heading)}"]

    def row(self, *cells: object, held: bool | None = None) -> None:
        """`held` is told in the last cell; None: nothing was asked."""
        self.held &= held is not False
        verdict = {True: "held", False: "**short**", None: ""}[held]
        self.lines.append(f"| {' | '.join(map(str, cells))} | {verdict} |")


def render(state: Mapping[str, Found], parts: Iterable[str]) -> tuple[str, bool]:
    """The report, and whether everything that has been done held."""
    missing = [name for name in parts if name not in state]
    page = Page()
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    page.lines += [
        "# The gate",
        "",
        f"{machine}. Written by `make calibrate-gate`. Every rule sees the same data: of two variants",
        "interleaved message by message at random. Shares are how often the second is called slower.",
        f"Real runs go to the mock: {MEDIAN_MS:g} ms at the median, {RATE_PER_S} messages a second each.",
        "",
        "## False alarms: two variants that are alike",
    ]
    page.table("data", "messages a side", "comparisons", *RULES, "asked of sendbench", "")
    _simulated_alike(page, state)
    _real_alike(page, state)
    page.lines += ["", "## Power: B is slower, by a planted amount"]
    page.table("data", "planted", "messages a side", "comparisons", *RULES, "asked of sendbench", "")
    _power(page, state)
    _several_processes(page, state)
    _coverage(page, state)
    _costs(page, state)
    if missing:
        page.lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join(page.lines) + "\n", page.held


def _simulated_alike(page: Page, state: Mapping[str, Found]) -> None:
    for name, (noise, _, count) in ALIKE.items():
        if found := state.get(name):
            alarms = _by_rule(found)
            cells = _shares(alarms, ROUNDS)
            held = alarms["sendbench"] <= ALARMS_ALLOWED
            page.row(f"simulated, {noise}", count, ROUNDS, *cells, f"<= {ALARMS_ALLOWED}", held=held)
    if found := state.get("two stages"):
        by_noise = found["by_noise"]
        assert isinstance(by_noise, dict)
        for noise, alarms in by_noise.items():
            page.row(
                f"simulated, {noise}, both stages", 2000, ROUNDS, f"{alarms} ({alarms / ROUNDS:.1%})",
                *[""] * (len(RULES) - 1), f"<= {ALARMS_ALLOWED}", held=int(alarms) <= ALARMS_ALLOWED,
            )  # fmt: skip


def _several_processes(page: Page, state: Mapping[str, Found]) -> None:
    if found := state.get("several processes"):
        alarms, one = _number(found, "alarms"), _number(found, "one")
        seen = _number(found, "seen")
        page.lines += [
            "",
            f"## Servers that are started anew: {PROCESSES} processes a side, apart by {APART:.0%} by chance",
        ]
        page.table(
            "planted", "messages a side", "comparisons", "sendbench", "one process a side", "asked", ""
        )
        page.row(
            "none", 1000, ROUNDS, f"{alarms} ({alarms / ROUNDS:.1%})", f"{one} ({one / ROUNDS:.1%})",
            f"<= {ALARMS_ALLOWED}", held=alarms <= ALARMS_ALLOWED,
        )  # fmt: skip
        page.row("all +5 %", 3000, POWER_ROUNDS, f"{seen} ({seen / POWER_ROUNDS:.1%})", "", "")


def _power(page: Page, state: Mapping[str, Found]) -> None:
    for name, (noise, change, count) in POWER.items():
        if found := state.get(name):
            seen = _by_rule(found)
            held = seen["sendbench"] >= 0.95 * POWER_ROUNDS
            cells = _shares(seen, POWER_ROUNDS)
            page.row(f"simulated, {noise}", change, count, POWER_ROUNDS, *cells, ">= 95 %", held=held)
    for name, (change, count) in REAL_POWER_PARTS.items():
        if found := state.get(name):
            seen, valid = _by_rule(found), _number(found, "valid")
            held = valid >= REAL_POWER and seen["sendbench"] >= REAL_SEEN
            cells = _shares(seen, max(1, valid))
            page.row("real runs", change, count, valid, *cells, f">= {REAL_SEEN}", held=held)


def _real_alike(page: Page, state: Mapping[str, Found]) -> None:
    both = [name for name in ("real alike", "real alike, CPU stolen") if name in state]
    alarms = sum(_by_rule(state[name])["sendbench"] for name in both)
    for name in both:
        found = state[name]
        valid, invalid = _number(found, "valid"), _number(found, "invalid")
        held = alarms <= REAL_ALARMS_ALLOWED and valid >= REAL_ALIKE
        if "stolen" not in name:
            held &= invalid <= INVALID_ALLOWED * (valid + invalid)
        told = f"{name} ({invalid} invalid ones repeated)"
        asked = f"<= {REAL_ALARMS_ALLOWED} of both"
        page.row(told, 1000, valid, *_shares(_by_rule(found), max(1, valid)), asked, held=held)


def _coverage(page: Page, state: Mapping[str, Found]) -> None:
    page.lines += ["", "## Coverage: how often the interval of a ratio holds the planted one"]
    page.table("data", "planted", "p50", "p95", "p99", "asked", "")
    for name, (noise, change, _) in COVERAGE.items():
        if found := state.get(name):
            shares = {each: float(str(found[each])) for each in ("p50", "p95", "p99")}
            held = min(shares.values()) >= COVERED
            cells = (f"{share:.1%}" for share in shares.values())
            page.row(f"simulated, {noise}", change, *cells, f">= {COVERED:.0%}", held=held)
    if found := state.get("percentiles"):
        page.lines += ["", "Intervals of percentiles, seen against exact (binomial):"]
        page.table("percentile", "seen", "exact", "asked", "")
        for name, pair in found.items():
            if isinstance(pair, list | tuple):
                seen, exact = map(float, pair)
                held = abs(seen - exact) <= EXACT_WITHIN
                page.row(name, f"{seen:.1%}", f"{exact:.1%}", "within 1.5 points", held=held)


def _costs(page: Page, state: Mapping[str, Found]) -> None:
    found = state.get("cost")
    if not found:
        return
    small_s, large_s, mib = (float(str(found[name])) for name in ("small_s", "large_s", "large_mib"))
    page.lines += ["", "## Cost of a decision, intervals included"]
    page.table("messages", "time", "memory", "asked", "")
    page.row("2 x 5,000", f"{small_s * 1e3:.0f} ms", "", "< 200 ms", held=small_s < 0.2)
    asked = "< 5 s, < 1 GiB"
    page.row("2 x 1,000,000", f"{large_s:.1f} s", f"{mib:.0f} MiB", asked, held=large_s < 5 and mib < 1024)


def _by_rule(found: Found) -> dict[str, int]:
    counts = found["by_rule"]
    assert isinstance(counts, dict)
    return counts


def _number(found: Found, name: str) -> int:
    value = found[name]
    assert isinstance(value, int)
    return value


def _shares(counts: Mapping[str, int], of: int) -> list[str]:
    return [f"{counts[rule]} ({counts[rule] / of:.1%})" for rule in RULES]
