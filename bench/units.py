"""Quantities with units: read from scenarios, written for people.

Durations are integer nanoseconds, sizes integer bytes, rates floats per second.
"""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z/\u00b5\u03bc]*)\s*$")

DURATIONS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
SIZES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
RATES = {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600}
BANDWIDTHS = {"bit/s": 1 / 8, "kbit/s": 1e3 / 8, "Mbit/s": 1e6 / 8, "Gbit/s": 1e9 / 8}


def _parse(text: object, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    known = ", ".join(units)
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"not a {what}; write a number with a unit ({known}), such as {example}")
    match = _NUMBER.match(str(text))
    if match is None:
        sign = "must not be negative; " if str(text).strip().startswith("-") else ""
        raise ValueError(
            f"{sign}{text!r} is not a {what}; write a number with a unit ({known}), such as {example}"
        )
    number, unit = float(match[1]), match[2].replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if not unit and number == 0:
        return 0.0
    if unit not in units:
        missing = "has no unit" if not unit else f"has the unknown unit {unit!r}"
        raise ValueError(f"{text!r} {missing}; a {what} takes {known}, such as {example}")
    if not math.isfinite(number * units[unit]):
        raise ValueError(f"this {what} is too large")
    return number * units[unit]


def parse_duration(text: object) -> int:
    """`50ms` -> 50_000_000 ns; a bare 0 is allowed. Raises ValueError."""
    return round(_parse(text, DURATIONS, "duration", "50ms"))


def parse_size(text: object) -> int:
    """`10KiB` -> 10240 bytes. Raises ValueError."""
    return round(_parse(text, SIZES, "size", "10KiB"))


def parse_rate(text: object) -> float:
    """`50/s` -> 50.0 per second. Raises ValueError."""
    return _parse(text, RATES, "rate", "50/s")


def parse_bandwidth(text: object) -> float:
    """`10Mbit/s` -> 1_250_000.0 bytes per second; 0 means no limit. Raises ValueError."""
    return _parse(text, BANDWIDTHS, "bandwidth", "10Mbit/s")


def format_duration(ns: float) -> str:
    """Three significant digits in the unit a person would choose: `618 ms`, `1.24 s`."""
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= 0.9995 * factor:
            return f"{_significant(ns / factor)} {unit}"
    return f"{ns:.0f} ns"


def format_ms(ms: float) -> str:
    """Milliseconds with as many decimals as mean something: `618`, `53.2`, `1.24`."""
    return _significant(ms)


def format_size(count: float) -> str:
    """`10 KiB`, `1.5 MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if count >= SIZES[unit]:
            return f"{count / SIZES[unit]:.3g} {unit}"
    return f"{count:.0f} B"


def _significant(value: float, digits: int = 3) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits}g}")  # 9.996 has one decimal: 10.0
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{min(decimals, 3)}f}"
