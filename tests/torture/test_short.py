"""The parts of the long tier with small numbers: every change runs them."""

from __future__ import annotations

import pytest

from tests.torture.cancelling import cancel_storm
from tests.torture.parts import Counted, disk_full, fuzz_http, fuzz_smtp, kill_9, power_loss, splits

pytestmark = pytest.mark.timeout(120)


def check(found: Counted, least: int) -> None:
    assert found.wrong == []
    assert found.done >= least


def test_replies_of_any_kind() -> None:
    check(fuzz_smtp(100_000, seed=3), 100_000)


def test_responses_of_any_kind() -> None:
    check(fuzz_http(50_000, seed=3), 50_000)


def test_however_it_is_cut() -> None:
    check(splits(10_000, seed=3), 10_000)


def test_killed_writers() -> None:
    check(kill_9(10, seed=3), 10)


def test_lost_power() -> None:
    check(power_loss(10, seed=3), 10)


def test_full_disks() -> None:
    check(disk_full(20), 20)


def test_cancels() -> None:
    check(cancel_storm(1000, seed=3), 1000)
