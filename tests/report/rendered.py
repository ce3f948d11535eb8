"""Reports of the planted runs, each made once for all tests that read it."""

from __future__ import annotations

import io
from functools import cache

from rich.console import Console

from bench.report import FORMATS
from bench.report.terminal import print_summary
from tests.report.planted import Planted, edge


def render(name: str, run: Planted) -> bytes:
    return FORMATS[name].render(run.summary, run.answer, run.frame)


def printed(run: Planted, width: int = 100, *, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    print_summary(console, run.summary, run.answer)
    return out.getvalue()


@cache
def rendered(shape: str, name: str) -> bytes:
    return render(name, edge(shape))
