"""Two runs side by side: on a terminal, as Markdown, as JSON. No verdict, because none would be honest."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.analysis.compare import CaseComparison, Change, Comparison
from bench.model import Counts, Percentile
from bench.report.figures import MISSING, MS, per_second
from bench.report.json import dump
from bench.report.markdown import table
from bench.report.terminal import printed
from bench.report.text import for_markdown, for_terminal

SCHEMA = "sendbench.comparison/1"
_HEADER = ("", "A", "95 %", "B", "95 %", "B / A", "intervals")


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print each case of both runs: three percentiles, accepted, rate and round trips, A beside B."""
    printed(console, lambda: _print(console, comparison))


def _print(console: Console, comparison: Comparison) -> None:
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        started = for_terminal(run.started_at)
        console.print(Text(f"{name}  {for_terminal(run.id)}  {started}", style="bold"))
    console.print()
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in _HEADER:
        figure = heading in ("A", "B", "B / A")
        style = "dim" if heading == "95 %" else ""
        shown.add_column(
            heading,
            justify="right" if figure else "left",
            style=style,
            no_wrap=bool(heading),
            overflow="fold",
        )
    for case in comparison.cases:
        shown.add_row(Text(for_terminal(case.id), style="bold"))
        for row in _rows(case):
            shown.add_row(*(Text(f"  {cell}" if index == 0 else cell) for index, cell in enumerate(row)))
        shown.add_section()
    console.print(shown if comparison.cases else Text("The two runs have no case in common."))
    console.print()
    for line in _remarks(comparison):
        console.print(Text(for_terminal(line)))


def render_markdown(comparison: Comparison) -> bytes:
    """The comparison as GitHub-flavoured Markdown."""
    lines = [
        f"## {for_markdown(comparison.a.scenario)}: two runs side by side",
        "",
        *(f"- {name}: {for_markdown(run.id)}" for name, run in (("A", comparison.a), ("B", comparison.b))),
        "",
    ]
    for case in comparison.cases:
        rows = ([for_markdown(cell) for cell in row] for row in _rows(case))
        header = [heading or "&nbsp;" for heading in _HEADER]
        lines += [f"### {for_markdown(case.id)}", "", *table(header, rows), ""]
    lines += [f"- {for_markdown(line)}" for line in _remarks(comparison)]
    return ("\n".join(lines) + "\n").encode()


def render_json(comparison: Comparison) -> bytes:
    """The comparison for programs: what `bench.analysis.compare` found, and the ratios."""
    ratios = {case.id: {c.percentile: c.ratio for c in case.changes} for case in comparison.cases}
    return dump({"schema": SCHEMA, "comparison": comparison, "ratios": ratios})


def _rows(case: CaseComparison) -> Iterable[list[str]]:
    """Cells of one case, not yet escaped."""
    for change in case.changes:
        yield [f"{case.measure} {change.percentile} ms", *_side(change.a), *_side(change.b), *_ratio(change)]
    yield _plain("round trips", *(_number(trips) for trips in (case.a_round_trips, case.b_round_trips)))
    yield ["rate", per_second(case.a_accepted_per_s), "", per_second(case.b_accepted_per_s), "", "", ""]
    yield _plain("accepted", _accepted(case.a_counts), _accepted(case.b_counts))
    if not (case.a_valid and case.b_valid):
        yield _plain("valid", "yes" if case.a_valid else "INVALID", "yes" if case.b_valid else "INVALID")


def _side(value: Percentile | None) -> tuple[str, str]:
    return (MS.text(value.value_ms), MS.interval(value)) if value else (MISSING, "")


def _ratio(change: Change) -> tuple[str, str]:
    if change.ratio is None:
        return MISSING, ""
    words = {True: "apart", False: "overlap", None: ""}
    return f"{change.ratio:.3f}", words[change.apart]


def _plain(name: str, a: str, b: str) -> list[str]:
    return [name, a, "", b, "", "", "" if a == b else "differs"]


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:g}"


def _accepted(counts: Counts) -> str:
    return f"{counts.accepted}/{counts.scheduled}"


def _remarks(comparison: Comparison) -> list[str]:
    only = [f"Only in A: {case}" for case in comparison.only_a]
    return [*only, *(f"Only in B: {case}" for case in comparison.only_b), *comparison.notes]
