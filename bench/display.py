"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.engine import Progress
    from bench.model import Case, Scenario

REFRESHES_PER_S = 2
"""Few on purpose: drawing takes the interpreter away from the event loop for a moment."""

OnCases = Callable[["Sequence[Case]", "Sequence[Progress]"], None]


@contextmanager
def display(scenario: Scenario) -> Iterator[OnCases]:
    """Yields what is to be called when a case, or several interleaved, begin; writes to stderr."""
    with _bars(scenario) if sys.stderr.isatty() else _lines(scenario) as on_cases:
        yield on_cases


def _called(scenario: Scenario, cases: Sequence[Case]) -> str:
    """`2 of 4: sendgrid/smtp/pooled`; of several that are interleaved what they have in common."""
    first, last = cases[0].index + 1, cases[-1].index + 1
    if len(cases) == 1:
        return f"{first} of {len(scenario.cases)}: {cases[0].id}"
    return f"{first} to {last} of {len(scenario.cases)}, interleaved: {cases[0].comparison}"


@contextmanager
def _bars(scenario: Scenario) -> Iterator[OnCases]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Counters(ProgressColumn):
        """Copies the engine's counters into the bar when it is drawn, and shows them."""

        def render(self, task: Task) -> Text:
            done, accepted, scheduled = _sum(task.fields["progress"])
            task.completed = done
            failed = done - accepted
            shown = f"{done}" if scheduled is None else f"{done}/{scheduled}"
            return Text(f"{shown}{f'  {failed} not accepted' if failed else ''}")

    columns = (TextColumn("{task.description}", markup=False), Counters(), BarColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr, highlight=False)
    with Bars(*columns, console=console, refresh_per_second=REFRESHES_PER_S, transient=True) as bars:

        def on_cases(cases: Sequence[Case], progress: Sequence[Progress]) -> None:
            for task in bars.task_ids:
                bars.remove_task(task)
            name = f"{scenario.name} {_called(scenario, cases)}"
            bars.add_task(name, total=_sum(progress)[2], progress=progress)

        yield on_cases


@contextmanager
def _lines(scenario: Scenario) -> Iterator[OnCases]:
    last: list[Sequence[Progress]] = []

    def finish() -> None:
        while last:
            done, accepted, _ = _sum(last.pop())
            click.echo(f"  {accepted} of {done} accepted", err=True)

    def on_cases(cases: Sequence[Case], progress: Sequence[Progress]) -> None:
        finish()
        click.echo(f"{scenario.name}: case {_called(scenario, cases)}", err=True)
        last.append(progress)

    yield on_cases
    finish()


def _sum(counters: Sequence[Progress]) -> tuple[int, int, int | None]:
    """Done, accepted, and scheduled where that is known."""
    scheduled = [each.scheduled for each in counters if each.scheduled is not None]
    return (
        sum(each.done for each in counters),
        sum(each.accepted for each in counters),
        sum(scheduled) if len(scheduled) == len(counters) else None,
    )
