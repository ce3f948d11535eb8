"""What a soak finds fault with."""

from __future__ import annotations

import pytest

from tests.soak.judge import (
    LONG,
    MIB,
    Account,
    Check,
    accounting,
    analysis,
    ending,
    flatness,
    steadiness,
    warnings,
)
from tests.soak.watch import Ended, Look

MESSAGES = 1_000_000


def sending(rss_of: list[float], fds: int = 60) -> list[Look]:
    """A look every percent of the messages; rss in MiB."""
    return [
        Look("sending", (number + 1) * 1000, int(rss * MIB), fds, number * 1.0)
        for number, rss in enumerate(rss_of)
    ]


def broken(checks: list[Check]) -> list[str]:
    return [check.what for check in checks if not check.passed]


def test_flat_after_warm_up() -> None:
    looks = sending([50 + number for number in range(10)] + [100.0] * 90)
    assert broken(flatness(looks, MESSAGES)) == []


def test_steady_growth_is_found_and_told_for_a_million() -> None:
    checks = flatness(sending([100 + number / 10 for number in range(100)]), MESSAGES)
    assert broken(checks) == ["memory at the end / after a tenth"]
    assert "+10.00 MiB" in [check.found for check in checks]


def test_a_gentler_slope_is_found_where_it_is_long_enough_to_tell() -> None:
    looks = sending([100 + number / 20 for number in range(100)])  # 5 MiB in all
    assert broken(flatness(looks, LONG)) == ["memory a million messages"]
    assert broken(flatness(looks, 5 * LONG)) == []
    assert broken(flatness(looks, LONG - 1)) == []


def test_a_median_that_drifts_is_found() -> None:
    assert steadiness(10.0, 10.4, LONG).passed
    assert not steadiness(10.0, 10.6, LONG).passed
    assert steadiness(10.0, 10.6, LONG - 1).limit == ""


def test_what_asyncio_warns_of_is_found() -> None:
    assert warnings("sent 10 messages\n").passed
    assert not warnings("Task exception was never retrieved\n").passed


def test_a_descriptor_that_stays_open_is_found() -> None:
    looks = [*sending([100.0] * 50), *sending([100.0] * 100, fds=61)[50:]]
    assert broken(flatness(looks, MESSAGES)) == ["descriptors"]


def test_what_comes_after_sending_does_not_count_as_growth() -> None:
    looks = [*sending([100.0] * 100), Look("finishing", 100_000, 900 * MIB, 20, 101.0)]
    assert broken(flatness(looks, MESSAGES)) == []


def test_too_few_looks_show_nothing() -> None:
    assert broken(flatness(sending([100.0] * 9), MESSAGES)) == ["memory"]
    assert broken(flatness([], MESSAGES)) == ["memory"]


@pytest.mark.parametrize(
    ("account", "found"),
    [
        (Account(10, 10, 10, 10, 0), []),
        (
            Account(9, 9, 9, 10, 1),
            ["rows", "accepted", "different keys", "keys that only client or mock has"],
        ),
        (Account(10, 9, 10, 10, 0), ["accepted"]),
        (Account(10, 10, 10, 11, 0), ["taken by the mock"]),
        (Account(10, 10, 9, 10, 1), ["different keys", "keys that only client or mock has"]),
    ],
)
def test_every_message_is_where_it_should_be(account: Account, found: list[str]) -> None:
    assert broken(accounting(account, 10)) == found


def test_what_the_end_of_a_run_costs() -> None:
    looks = [
        Look("sending", 1, 0, 0, 70.0),
        Look("finishing", 1, 0, 0, 78.5),
        Look("reporting", 0, 0, 0, 90.0),
    ]
    checks = ending(looks, Ended(0, 91.0, 100.0, 1600 * MIB))
    assert [check.found for check in checks] == ["8.5 s", "1600 MiB", "11.5 s"]
    assert broken(checks) == ["finish(): peak memory", "summary of the run: CPU"]


def test_limits_of_analysis() -> None:
    assert broken(analysis("report", 9.9, 1535 * MIB)) == []
    assert broken(analysis("report", 10.0, 1536 * MIB)) == ["report: CPU", "report: peak memory"]
