"""Reports: a Summary in, bytes out. Whoever asked writes them; nothing here touches a file.

Every format is a pure function of what it is given: the same run gives the same bytes.
To add one, write `report/<name>.py` with a `render` and add a line to `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.model import Answer, Summary

if TYPE_CHECKING:
    import pandas as pd

Render = Callable[[Summary, Answer, "pd.DataFrame"], bytes]


@dataclass(frozen=True, slots=True)
class Renderer:
    """A report format. `frame` is what `bench.analysis.sample_frame` gives: one row an attempt."""

    name: str
    file_name: str
    title: str
    """What it is, in a few words, for `--help`."""
    render: Render


# The modules are imported when a report is made: listing the formats must not load matplotlib.


def _html(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.html import render

    return render(summary, answer, frame)


def _markdown(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.markdown import render

    return render(summary, answer, frame)


def _json(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.json import render

    return render(summary, answer, frame)


def _csv(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.csv import render

    return render(summary, answer, frame)


def _samples(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.csv import render_samples

    return render_samples(summary, answer, frame)


FORMATS: dict[str, Renderer] = {
    renderer.name: renderer
    for renderer in (
        Renderer("html", "report.html", "one self-contained page with charts", _html),
        Renderer("md", "report.md", "GitHub-flavoured Markdown", _markdown),
        Renderer("json", "summary.json", "every figure, for programs", _json),
        Renderer("csv", "summary.csv", "one row a case", _csv),
        Renderer("samples", "samples.csv", "one row a message: the raw records", _samples),
    )
}
