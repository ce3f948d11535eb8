"""In CI nothing is skipped in silence: a missing program would hide what was never checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

ALLOWED_SKIPS = re.compile(r"--benchmark-skip|SENDBENCH_SPECS|does not exist for this platform")
"""What may be skipped in CI too: everything else is a hole in what CI claims to have checked."""


def forbid_skip(report: pytest.TestReport | pytest.CollectReport, environ: Mapping[str, str]) -> None:
    """Turn a skip that CI must not have into a failure; leave every other report as it is."""
    if environ.get("CI") != "true" or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if ALLOWED_SKIPS.search(reason) is None:
        report.outcome = "failed"
        report.longrepr = f"must not be skipped in CI: {reason}"
