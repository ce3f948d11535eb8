"""Collects what the calibration finds into reports/calibration.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

REPORT = Path(__file__).parents[2] / "reports" / "calibration.md"


@pytest.fixture(scope="session")
def findings() -> Iterator[list[str]]:
    """Lines of Markdown; written when the last calibration has ended."""
    lines: list[str] = []
    yield lines
    if lines:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text("\n".join(["# Calibration", "", *lines, ""]), encoding="utf-8")
