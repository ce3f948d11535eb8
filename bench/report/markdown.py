"""GitHub-flavoured Markdown: for a pull request, an issue or a job summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bench.model import Answer, CaseSummary, Claim, Percentile, Summary
from bench.report.caveats import caveats, facts, method
from bench.report.comparisons import compared
from bench.report.figures import (
    MISSING,
    Group,
    Unit,
    generator_figures,
    groups,
    label,
    missing_note,
    percent,
    percentile,
    problems,
    rate,
    round_trips,
    set_up_share,
    threshold_lines,
    times_of,
    unit_for,
)
from bench.report.text import for_markdown

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("p50", "p95", "p99")


def render(summary: Summary, answer: Answer, frame: pd.DataFrame | None = None) -> bytes:
    """The answer, the table, what is wrong, thresholds, claims, and how it was measured."""
    blocks = [
        [f"## {_headline(answer)}"],
        [for_markdown(sentence) for sentence in answer.sentences[1:]],
        [for_markdown(summary.run.description)] if summary.run.description else [],
        _problems(summary),
        *(_cases(group, unit_for(summary.cases), summary) for group in groups(summary)),
        _footnotes(summary),
        *_comparisons(summary),
        _thresholds(summary),
        _claims(answer.claims),
        _details("The generator about itself", _generator(summary)),
        _details("How it was measured", [f"{name}: {value}" for name, value in facts(summary)]),
        _details("How to read the figures", method(summary)),
        _details("What these numbers do not mean", caveats(summary)),
    ]
    return ("\n\n".join("\n".join(block) for block in blocks if block) + "\n").encode()


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """A table whose first `left` columns are text and whose others are figures. Cells are escaped already."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _headline(answer: Answer) -> str:
    return for_markdown(answer.sentences[0]) if answer.sentences else "No answer"


def _problems(summary: Summary) -> list[str]:
    lines = []
    if summary.run.state != "complete":
        lines.append(
            f"- **RUN {for_markdown(summary.run.state.upper())}**: these figures are of a part of it"
        )
    return lines + [
        f"- **{problem.word}** {for_markdown(problem.case)}: {for_markdown(problem.text)}"
        for problem in problems(summary)
    ]


def _cases(group: Group, unit: Unit, summary: Summary) -> list[str]:
    header = ["case", *(f"{label(name)} {unit.name}" for name in SHOWN)]
    header += ["round trips", "set-up", "accepted", "rate"]
    rows = []
    for name, case in group.named:
        mark = "" if case.generator.valid else "**INVALID** "
        for index, (what, times) in enumerate(times_of(case)):
            shown = f"{mark}{for_markdown(name)}" + (f" ({what})" if case.open else "")
            figures = [_percentile(percentile(times, quantile), unit) for quantile in SHOWN]
            rows.append([shown, *figures, *(_rest(case) if index == 0 else [""] * 4)])
    title = [f"### {for_markdown(group.title)}", ""] if group.title else []
    return [*title, *table(header, rows)]


def _percentile(value: Percentile | None, unit: Unit) -> str:
    return f"{unit.text(value.value_ms)} ({unit.interval(value)})" if value else MISSING


def _rest(case: CaseSummary) -> list[str]:
    counts = case.counts
    accepted = f"{counts.accepted}/{counts.scheduled}"
    if counts.accepted < counts.scheduled:
        accepted = f"**{accepted}**"
    return [round_trips(case), percent(set_up_share(case)), accepted, rate(case)]


def _footnotes(summary: Summary) -> list[str]:
    if not summary.cases:
        return ["No case was measured."]
    lines = ["In parentheses: the 95 % interval. set-up: share of the time spent on opening connections."]
    note = missing_note(summary, SHOWN)
    return [*lines, *([f"{note}."] if note else [])]


def _comparisons(summary: Summary) -> Iterator[list[str]]:
    for each in compared(summary):
        verdict = "" if each.verdict is None else f"**{each.verdict.upper()}** "
        yield [f"### {verdict}{for_markdown(each.title)}"]
        rows = [[for_markdown(cell) for cell in row] for row in each.rows]
        yield table([for_markdown(cell) for cell in each.header], rows)
        yield [f"{for_markdown(each.note)}."]


def _thresholds(summary: Summary) -> list[str]:
    rows = [
        [
            f"**{line.verdict.upper()}**",
            for_markdown(line.text),
            for_markdown(line.where),
            for_markdown(line.measured),
        ]
        for line in threshold_lines(summary)
    ]
    header = ["verdict", "threshold", "case", "measured (95 % interval)"]
    return ["### Thresholds", "", *table(header, rows, left=3)] if rows else []


def _claims(claims: Sequence[Claim]) -> list[str]:
    rows = [[for_markdown(c.text), f"**{c.verdict}**", for_markdown(c.evidence)] for c in claims]
    header = ["claim in circulation", "this run", "measured"]
    return ["### Claims", "", *table(header, rows, left=3)] if rows else []


def _generator(summary: Summary) -> list[str]:
    """A line a case: its lag, what the platform took, and what a message cost."""
    return [f"{case.id}: {', '.join(generator_figures(case.generator))}" for case in summary.cases]


def _details(title: str, lines: Iterable[str]) -> list[str]:
    return [
        f"<details><summary>{title}</summary>",
        "",
        *(f"- {for_markdown(item)}" for item in lines),
        "",
        "</details>",
    ]
