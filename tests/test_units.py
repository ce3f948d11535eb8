"""Quantities with units: what is read, what is refused, what is written."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bench.units import (
    format_duration,
    format_ms,
    format_size,
    parse_bandwidth,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("50ms", 50_000_000),
        ("2.5ms", 2_500_000),
        (".5s", 500_000_000),
        (" 1 s ", 10**9),
        ("7ns", 7),
        ("7us", 7_000),
        ("7µs", 7_000),
        ("7μs", 7_000),  # the Greek letter, which keyboards give as well
        ("2m", 120 * 10**9),
        ("1h", 3600 * 10**9),
        ("0", 0),
        (0, 0),
        (0.0, 0),
        ("0ms", 0),
    ],
)
def test_durations(text: object, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10B", 10),
        ("10KB", 10_000),
        ("10KiB", 10_240),
        ("1.5MiB", 1_572_864),
        ("2MB", 2_000_000),
        ("1GB", 10**9),
        ("1GiB", 2**30),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(("text", "rate"), [("50/s", 50), ("90/min", 1.5), ("7200/h", 2), ("0", 0)])
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("text", "rate"), [("8bit/s", 1), ("8kbit/s", 1000), ("10Mbit/s", 1_250_000), ("1Gbit/s", 125e6), (0, 0)]
)
def test_bandwidths(text: object, rate: float) -> None:
    assert parse_bandwidth(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_duration, "50", "has no unit"),
        (parse_duration, 50, "has no unit"),
        (parse_duration, "50 parsecs", "unknown unit 'parsecs'"),
        (parse_duration, "50MS", "unknown unit 'MS'"),
        (parse_duration, "-5ms", "must not be negative"),
        (parse_duration, -5, "must not be negative"),
        (parse_duration, "soon", "is not a duration"),
        (parse_duration, "", "is not a duration"),
        (parse_duration, "1e3ms", "is not a duration"),
        (parse_duration, "nan", "is not a duration"),
        (parse_duration, float("inf"), "is not a duration"),
        (parse_duration, "٣ms", "is not a duration"),
        (parse_duration, True, "not a duration"),
        (parse_duration, None, "not a duration"),
        (parse_duration, ["5ms"], "not a duration"),
        (parse_duration, "9" * 400 + "s", "too large"),
        (parse_size, "10kb", "unknown unit 'kb'"),
        (parse_size, "9" * 310 + "B", "too large"),
        (parse_rate, "50/ms", "unknown unit '/ms'"),
        (parse_bandwidth, "10Mbps", "unknown unit 'Mbps'"),
        (parse_bandwidth, "9" * 308 + "Gbit/s", "too large"),
    ],
)
def test_refusals_say_what_is_wrong(parse: Callable[[object], float], text: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (618_000_000, "618 ms"),
        (53_240_000, "53.2 ms"),
        (1_240_000_000, "1.24 s"),
        (999_600_000, "1.00 s"),
        (999_400, "999 us"),
        (9_996_000, "10.0 ms"),
        (-1_240_000_000, "-1.24 s"),
    ],
)
def test_written_durations(ns: float, text: str) -> None:
    assert format_duration(ns) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (618.4, "618"),
        (53.24, "53.2"),
        (1.2, "1.20"),
        (0.0004, "0.000"),
        (0, "0"),
        (99.97, "100"),
        (9.996, "10.0"),
    ],
)
def test_written_milliseconds(ms: float, text: str) -> None:
    assert format_ms(ms) == text


def test_infinity_is_written_as_such() -> None:
    assert format_ms(float("inf")) == "inf"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (10_240, "10 KiB"), (1_572_864, "1.5 MiB"), (2**30, "1 GiB")],
)
def test_written_sizes(count: float, text: str) -> None:
    assert format_size(count) == text
