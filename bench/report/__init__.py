"""Reports: a Summary in, bytes out. Whoever asked writes them; nothing here touches a file.

Every format is a pure function of what it is given: the same run gives the same bytes.
To add one, write `report/<name>.py` with a `render` and add a line to `FORMATS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
    """What it is, in a few words, for `report --list`."""
    render: Render
    whole: bool = False
    """Whether it shows the records themselves, and so needs the columns that nobody analyses as well."""
    each: bool = False
    """Whether there is a file for each case, as the programs that read it expect one."""


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


def _ndjson(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.ndjson import render

    return render(summary, answer, frame)


def _parquet(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.parquet import render

    return render(summary, answer, frame)


def _hgrm(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.hdr import render

    return render(summary, answer, frame)


def _hlog(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.hdr import render_log

    return render_log(summary, answer, frame)


def _junit(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.junit import render

    return render(summary, answer, frame)


def _github_summary(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.github import render

    return render(summary, answer, frame)


def _github_outputs(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.github import render_outputs

    return render_outputs(summary, answer, frame)


def _github_annotations(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.github import render_annotations

    return render_annotations(summary, answer, frame)


def _pytest_benchmark(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.trend import render

    return render(summary, answer, frame)


def _smaller_is_better(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    from bench.report.trend import render_smaller

    return render_smaller(summary, answer, frame)


FORMATS: dict[str, Renderer] = {
    renderer.name: renderer
    for renderer in (
        Renderer("html", "report.html", "one self-contained page with charts", _html),
        Renderer("md", "report.md", "GitHub-flavoured Markdown", _markdown),
        Renderer("json", "summary.json", "every figure, for programs", _json),
        Renderer("csv", "summary.csv", "one row a case", _csv),
        Renderer("samples", "samples.csv", "one row a message: the raw records", _samples, True),
        Renderer("ndjson", "samples.ndjson", "the raw records, one line of JSON a message", _ndjson, True),
        Renderer("parquet", "samples.parquet", "the raw records, for DuckDB and dataframes", _parquet, True),
        Renderer("hgrm", "latency.hgrm", "HdrHistogram's percentiles, a file a case", _hgrm, each=True),
        Renderer("hlog", "latency.hlog", "HdrHistogram's log, a histogram a case", _hlog),
        Renderer("junit", "junit.xml", "every verdict as a test case, for CI services", _junit),
        Renderer(
            "github-summary", "github-summary.md", "what a job of GitHub Actions shows", _github_summary
        ),
        Renderer("github-outputs", "github-outputs.txt", "its outputs", _github_outputs),
        Renderer(
            "github-annotations",
            "github-annotations.txt",
            "what did not pass, at its line of the scenario",
            _github_annotations,
        ),
        Renderer(
            "pytest-benchmark",
            "pytest-benchmark.json",
            "one entry a percentile, for pytest-benchmark and github-action-benchmark",
            _pytest_benchmark,
        ),
        Renderer(
            "smaller-is-better",
            "smaller-is-better.json",
            "the same for github-action-benchmark's customSmallerIsBetter",
            _smaller_is_better,
        ),
    )
}


def files_of(
    renderer: Renderer, summary: Summary, answer: Answer, frame: pd.DataFrame
) -> Iterator[tuple[str, bytes]]:
    """The files of a format: name and content of each."""
    if not renderer.each:
        yield renderer.file_name, renderer.render(summary, answer, frame)
        return
    for number, case in enumerate(summary.cases, 1):
        of_it = frame[frame["case"].eq(case.id)]
        content = renderer.render(replace(summary, cases=(case,)), answer, of_it)
        yield f"{number:02}-{slug(case.id)}-{renderer.file_name}", content


def slug(case_id: str) -> str:
    """A case's id as part of a file's name or a tag: at most 100 letters, digits and `._=-`."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", case_id)[:100].strip("-.") or "case"
