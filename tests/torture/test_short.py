"""The parts of the long tier with small numbers: every change runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import __main__ as soak
from tests.torture.__main__ import GOALS, PARTS
from tests.torture.canaries import canaries
from tests.torture.cancelling import cancel_storm
from tests.torture.counted import Counted
from tests.torture.failing import every_file_call, every_socket_call
from tests.torture.fuzzing import fuzz_http, fuzz_smtp, splits
from tests.torture.processes import kill_9, sigterm
from tests.torture.sockets import fuzz_sockets
from tests.torture.storage import disk_full, killed_writers, power_loss

pytestmark = pytest.mark.timeout(120)


def check(found: Counted, least: int) -> None:
    assert found.wrong == []
    assert found.done >= least


def test_replies_of_any_kind() -> None:
    check(fuzz_smtp(100_000, seed=3), 100_000)


def test_responses_of_any_kind() -> None:
    check(fuzz_http(50_000, seed=3), 50_000)


def test_replies_over_sockets() -> None:
    check(fuzz_sockets(5000, seed=3), 5000)


def test_however_it_is_cut() -> None:
    check(splits(10_000, seed=3), 10_000)


def test_secrets_that_are_known() -> None:
    check(canaries(["S20", "H05"]), 2)


def test_killed_writers() -> None:
    check(killed_writers(5, seed=3), 5)


def test_killed_runs() -> None:
    check(kill_9(2, seed=3), 2)


def test_runs_told_to_end() -> None:
    check(sigterm(2, seed=3), 2)


def test_lost_power() -> None:
    check(power_loss(5, seed=3), 5)


def test_full_disks() -> None:
    check(disk_full(20), 20)


def test_cancels() -> None:
    check(cancel_storm(1000, seed=3), 1000)


def test_calls_on_sockets_that_fail() -> None:
    check(every_socket_call(stride=29), 8)


def test_calls_on_files_that_fail() -> None:
    check(every_file_call(stride=3), 18)


@pytest.mark.alone
@pytest.mark.timeout(300)
def test_a_short_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(soak, "REPORT", tmp_path / "soak.md")
    assert soak.main(["--messages", "100000", "--faults"]) == 0, (tmp_path / "soak.md").read_text()


def test_every_goal_has_a_part() -> None:
    assert {goal for goals, _, _ in PARTS.values() for goal in goals.split()} == set(GOALS)
