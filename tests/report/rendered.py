"""Reports of the planted runs, each made once for all tests that read it."""

from __future__ import annotations

from functools import cache

from bench.report import FORMATS
from tests.report.planted import Planted, edge


def render(name: str, run: Planted) -> bytes:
    return FORMATS[name].render(run.summary, run.answer, run.frame)


@cache
def rendered(shape: str, name: str) -> bytes:
    return render(name, edge(shape))
