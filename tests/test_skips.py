"""Skips are failures in CI, but for those that are nobody's fault."""

from __future__ import annotations

import pytest

from tests.skips import forbid_skip

CI = {"CI": "true"}


def skipped(reason: str) -> pytest.TestReport:
    where = ("test_x.py", 3, f"Skipped: {reason}")
    return pytest.TestReport("x", ("test_x.py", 3, "x"), {}, "skipped", where, "setup")


def test_a_skip_stays_a_skip_at_home() -> None:
    report = skipped("swaks is not installed")
    forbid_skip(report, {})
    assert report.outcome == "skipped"


def test_a_skip_is_a_failure_in_ci() -> None:
    report = skipped("swaks is not installed")
    forbid_skip(report, CI)
    assert report.outcome == "failed"
    assert "swaks is not installed" in str(report.longrepr)


@pytest.mark.parametrize(
    "reason",
    [
        "Skipping benchmark (--benchmark-skip active).",
        "SENDBENCH_SPECS is not set",
        "uvloop does not exist for this platform",
    ],
)
def test_some_skips_are_allowed_in_ci(reason: str) -> None:
    report = skipped(reason)
    forbid_skip(report, CI)
    assert report.outcome == "skipped"


def test_an_expected_failure_is_not_a_skip() -> None:
    report = skipped("known bug")
    report.wasxfail = "known bug"
    forbid_skip(report, CI)
    assert report.outcome == "skipped"
