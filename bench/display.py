"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.engine import Progress
    from bench.model import Case, Scenario

REFRESHES_PER_S = 2
"""Few on purpose: drawing takes the interpreter away from the event loop for a moment."""

OnCase = Callable[["Case", "Progress"], None]


@contextmanager
def display(scenario: Scenario) -> Iterator[OnCase]:
    """Yields what is to be called when a case begins; writes to stderr."""
    with _bars(scenario) if sys.stderr.isatty() else _lines(scenario) as on_case:
        yield on_case


@contextmanager
def _bars(scenario: Scenario) -> Iterator[OnCase]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Counters(ProgressColumn):
        """Copies the engine's counters into the bar when it is drawn, and shows them."""

        def render(self, task: Task) -> Text:
            progress: Progress = task.fields["progress"]
            task.completed = progress.done
            failed = progress.done - progress.accepted
            shown = (
                f"{progress.done}" if progress.scheduled is None else f"{progress.done}/{progress.scheduled}"
            )
            return Text(f"{shown}{f'  {failed} not accepted' if failed else ''}")

    columns = (TextColumn("{task.description}", markup=False), Counters(), BarColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr, highlight=False)
    with Bars(*columns, console=console, refresh_per_second=REFRESHES_PER_S, transient=True) as bars:

        def on_case(case: Case, progress: Progress) -> None:
            for task in bars.task_ids:
                bars.remove_task(task)
            number = f"{case.index + 1} of {len(scenario.cases)}"
            bars.add_task(f"{scenario.name} {number}: {case.id}", total=progress.scheduled, progress=progress)

        yield on_case


@contextmanager
def _lines(scenario: Scenario) -> Iterator[OnCase]:
    last: list[Progress] = []

    def finish() -> None:
        while last:
            progress = last.pop()
            click.echo(f"  {progress.accepted} of {progress.done} accepted", err=True)

    def on_case(case: Case, progress: Progress) -> None:
        finish()
        click.echo(f"{scenario.name}: case {case.index + 1} of {len(scenario.cases)}: {case.id}", err=True)
        last.append(progress)

    yield on_case
    finish()
