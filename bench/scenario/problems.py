"""Collecting what is wrong with a scenario, so that the first error in file order can be told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from bench.errors import ScenarioError
from bench.scenario.tree import Node, one_line


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and where. Line 0: it came from the command line."""

    line: int
    missing: bool
    """What is missing comes after what is wrong on the same line: a misspelt key explains it."""
    column: int
    field: str
    message: str


class Problems:
    """What has been found wrong so far; one entry for each place."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[int, int, str], Problem] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, node: Node, message: str, *, key: str = "", at_key: bool = False) -> None:
        """Note `message` at `node`, or at a `key` missing from it, or at the node's own key."""
        line, column = node.line, node.column
        if at_key and node.key_line:
            line, column = node.key_line, node.key_column
        field = ".".join(part for part in (node.path, key) if part)
        self._found.setdefault((line, column, field), Problem(line, bool(key), column, field, message))

    def update(self, others: Problems) -> None:
        """Take over what was found elsewhere."""
        self._found = {**others._found, **self._found}

    def raise_first(self) -> None:
        """Raise ScenarioError for the first problem in file order, if there is any."""
        if not self._found:
            return
        first, *others = sorted(self._found.values())
        more = f" (and {len(others)} more)" if others else ""
        raise located(self.file, first, more)


def located(file: str, problem: Problem, more: str = "") -> ScenarioError:
    """The error for one problem: always a single line of printable text."""
    text = one_line(problem.message)
    where = file if problem.line else ""
    return ScenarioError(
        text + more, file=where, line=problem.line, column=problem.column, field=one_line(problem.field)
    )


def suggest(word: str, known: Iterable[str]) -> str:
    """` (did you mean x?)`, or nothing where no known word is near."""
    near = nearest(word, known)
    return f" (did you mean {near[0]}?)" if near else ""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The one known word that is near, whatever its case; or none."""
    by_lower = {name.lower(): name for name in known}
    return [by_lower[name] for name in difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)]
