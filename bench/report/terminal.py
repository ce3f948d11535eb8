"""The answer on a terminal: words first, then one table a person understands at once.

Nothing depends on colour, and without a terminal it is plain text that a CI log can keep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bench.model import (
    Answer,
    CaseSummary,
    ClaimVerdict,
    Percentile,
    Summary,
    ThresholdVerdict,
    Verdict,
)
from bench.report.comparisons import Compared, compared
from bench.report.figures import (
    MISSING,
    Unit,
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
from bench.report.text import for_terminal

SHOWN = ("p50", "p95", "p99")
_VERDICTS = {
    ThresholdVerdict.PASS: ("PASS", "green"),
    ThresholdVerdict.FAIL: ("FAIL", "bold red"),
    ThresholdVerdict.INCONCLUSIVE: ("UNSURE", "yellow"),
}
_GATES = {
    Verdict.PASS: "green",
    Verdict.REGRESSION: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INVALID: "bold red",
}
_CLAIMS = {
    ClaimVerdict.HOLDS: "green",
    ClaimVerdict.DOES_NOT_HOLD: "red",
    ClaimVerdict.NOT_TESTED: "dim",
}
_WORDS = {"INVALID": "bold red", "ERRORS": "bold red", "NOTE": "yellow"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """What of the table is shown: less of it on a narrower terminal."""

    intervals: bool
    set_up: bool = True
    rate: bool = True


_LAYOUTS = (_Layout(True), _Layout(False), _Layout(False, set_up=False), _Layout(False, False, False))


def print_summary(console: Console, summary: Summary, answer: Answer) -> None:
    """Print the answer in words, the table of cases, what is wrong, thresholds and claims."""
    printed(console, lambda: _print(console, summary, answer))


def printed(console: Console, write: Callable[[], None]) -> None:
    """Let `write` print to the console; in a file or a log without the blanks that pad a table."""
    if console.is_terminal:
        write()
        return
    with console.capture() as captured:
        write()
    console.out(re.sub(r"[ ]+$", "", captured.get(), flags=re.MULTILINE), highlight=False, end="")


def _print(console: Console, summary: Summary, answer: Answer) -> None:
    _say(console, answer)
    if summary.run.state != "complete":
        state = for_terminal(summary.run.state).upper()
        reason = f"{for_terminal(summary.run.reason)}; " if summary.run.reason else ""
        console.print(_line(f"RUN {state}", "bold red", f"{reason}these figures are of a part of it"))
    _print_cases(console, summary)
    said = " ".join(answer.sentences)
    for problem in problems(summary):
        if all(part in said for part in problem.text.split("; ")):
            continue  # the answer above has put it into words
        case = for_terminal(problem.case)
        console.print(_line(problem.word, _WORDS[problem.word], f"{case}: {for_terminal(problem.text)}"))
    for each in compared(summary):
        _print_compared(console, each)
    _print_thresholds(console, summary)
    _print_claims(console, answer)


def _say(console: Console, answer: Answer) -> None:
    for index, sentence in enumerate(answer.sentences):
        console.print(Text(for_terminal(sentence), style="bold" if index == 0 else ""))
    if answer.sentences:
        console.print()


def _line(word: str, style: str, text: str, *, width: int = 0) -> Table:
    """A word in the margin, and text that wraps beside it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=max(width, len(word)))
    grid.add_column(overflow="fold")
    grid.add_row(Text(word, style=style), Text(text))
    return grid


# ---------------------------------------------------------------------------- cases


def _print_cases(console: Console, summary: Summary) -> None:
    if not summary.cases:
        console.print("No case was measured.")
        return
    layout = next((one for one in _LAYOUTS if _fits(console, _table(summary, one))), _LAYOUTS[-1])
    console.print(_table(summary, layout))
    console.print()
    for note in _notes(summary, layout):
        console.print(Text(note, style="dim"))
    console.print()


def _fits(console: Console, table: Table) -> bool:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width


def _table(summary: Summary, layout: _Layout) -> Table:
    unit = unit_for(summary.cases)
    widths = _interval_widths(summary, unit) if layout.intervals else {}
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    table.add_column(_heading(summary), overflow="fold")
    for name in SHOWN:
        heading = f"{label(name)} {unit.name}".ljust(
            len(label(name)) + len(unit.name) + 1 + widths.get(name, 0)
        )
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trips", justify="right")
    if layout.set_up:
        table.add_column("set-up", justify="right", no_wrap=True)
    table.add_column("accepted", justify="right", no_wrap=True)
    if layout.rate:
        table.add_column("rate", justify="right", no_wrap=True)
    for group in groups(summary):
        if group.title:
            table.add_row(Text(for_terminal(group.title), style="bold"))
        for name, case in group.named:
            _add_case(table, name, case, unit, layout, widths)
        table.add_section()
    return table


def _heading(summary: Summary) -> str:
    """What all cases share stands once, in the head."""
    providers = {case.labels.get("provider", "") for case in summary.cases}
    return for_terminal(providers.pop()) if len(providers) == 1 else "case"


def _interval_widths(summary: Summary, unit: Unit) -> dict[str, int]:
    """How wide the intervals of each percentile are, blank in front included, so that values stay aligned."""
    shown = [times for case in summary.cases for _, times in times_of(case)]
    found = {name: [percentile(times, name) for times in shown] for name in SHOWN}
    return {
        name: max((len(unit.interval(value)) + 1 for value in values if value), default=0)
        for name, values in found.items()
    }


def _add_case(
    table: Table, name: str, case: CaseSummary, unit: Unit, layout: _Layout, widths: Mapping[str, int]
) -> None:
    for index, (what, times) in enumerate(times_of(case)):
        leading = index == 0
        shown = Text("INVALID " if leading and not case.generator.valid else "", style="bold red")
        shown.append(for_terminal(name) if leading else f"  of it {what}", style="not bold default")
        if leading and case.open:
            shown.append(f" {what}", style="not bold default")
        figures = [
            _percentile(percentile(times, quantile), unit, widths.get(quantile, 0)) for quantile in SHOWN
        ]
        table.add_row(shown, *figures, *(_rest(case, layout) if leading else ()))


def _percentile(value: Percentile | None, unit: Unit, width: int) -> Text:
    """The value and, in `width` columns beside it, its interval."""
    text = Text(unit.text(value.value_ms) if value else MISSING)
    interval = f" {unit.interval(value)}" if value and width else ""
    return text.append(interval.ljust(width), style="dim")


def _rest(case: CaseSummary, layout: _Layout) -> Iterable[Text]:
    counts = case.counts
    complete = counts.accepted == counts.scheduled
    yield Text(round_trips(case))
    if layout.set_up:
        yield Text(percent(set_up_share(case)))
    yield Text(f"{counts.accepted}/{counts.scheduled}", style="" if complete else "bold red")
    if layout.rate:
        yield Text(rate(case))


def _notes(summary: Summary, layout: _Layout) -> list[str]:
    notes = ["service: from having a connection or slot to the final answer; trips: round trips in it"]
    if any(case.open for case in summary.cases):
        notes = ["latency: from when a message was due; service: from when it had a connection or slot"]
    if layout.intervals:
        notes.append("beside each percentile its 95 % interval")
    if layout.set_up:
        notes.append("set-up: share of the time spent on opening connections")
    missing = missing_note(summary, SHOWN)
    return ["; ".join(notes), *([missing] if missing else [])]


# ----------------------------------------------------- comparisons, thresholds, claims


def _print_compared(console: Console, found: Compared) -> None:
    title = Text(for_terminal(found.title), style="bold")
    if found.verdict is not None:
        title = Text(f"{found.verdict.upper()} ", style=_GATES[found.verdict]).append_text(title)
    console.print(title)
    table = _compared_table(found, " ")
    console.print(table if _fits(console, table) else _compared_table(found, "\n"))
    console.print(Text(found.note, style="dim"))
    console.print()


def _compared_table(found: Compared, before_interval: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    table.add_column(for_terminal(found.header[0]), overflow="fold")
    for heading in found.header[1:]:
        table.add_column(for_terminal(heading), justify="right", no_wrap=True)
    for name, *cells in found.rows:
        figures = (for_terminal(cell).replace(" (", f"{before_interval}(") for cell in cells)
        table.add_row(Text(for_terminal(name)), *map(Text, figures))
    return table


def _print_thresholds(console: Console, summary: Summary) -> None:
    lines = threshold_lines(summary)
    for line in lines:
        word, style = _VERDICTS[line.verdict]
        where = f"{for_terminal(line.where)}: {for_terminal(line.measured)}"
        console.print(_line(word, style, f"{for_terminal(line.text)}  {where}", width=6))
    if lines:
        console.print()


def _print_claims(console: Console, answer: Answer) -> None:
    if not answer.claims:
        return
    console.print(Text("Claims in circulation, and this run", style="bold"))
    tested = [claim for claim in answer.claims if claim.verdict is not ClaimVerdict.NOT_TESTED]
    for claim in tested:
        text = f"{for_terminal(claim.text)}: {for_terminal(claim.evidence)}"
        console.print(_line(claim.verdict.value, _CLAIMS[claim.verdict], text, width=15))
    if left := len(answer.claims) - len(tested):
        text = f"{left} {'claim' if left == 1 else 'claims'}; the full report says why"
        console.print(_line(ClaimVerdict.NOT_TESTED.value, _CLAIMS[ClaimVerdict.NOT_TESTED], text, width=15))
