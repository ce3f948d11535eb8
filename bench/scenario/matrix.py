"""The matrix: every combination of its keys' values, less those excluded, as trees of their own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.scenario import form, known
from bench.scenario.overlay import put
from bench.scenario.problems import Problems, suggest
from bench.scenario.tree import Node

MAX_LABEL = 200

Axes = Mapping[str, Mapping[str, Node]]
"""Key -> its values, each by the text that stands for it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One combination: the tree of its case, and the text of each varying key."""

    tree: Node
    varying: Mapping[str, str]


def expand(tree: Node, problems: Problems, *, declared: Node | None = None) -> list[Point]:
    """The points of a scenario, in the order in which the matrix lists them, first key slowest.

    `tree` has no profiles and thresholds any more. `declared` is the matrix before `--set` narrowed
    it: each exclusion must match something there. What is wrong goes to `problems`.
    """
    matrix = tree.entries.get("matrix")
    base = tree.without("matrix")
    if matrix is None:
        return [Point(base, {})]
    axes = _axes(matrix, problems)
    exclusions = _exclusions(matrix, axes, problems)
    if problems:
        return []
    if declared is not None:
        _check_matches(exclusions, _axes(declared, problems), problems)
    count = math.prod(len(values) for values in axes.values())
    if count > known.MAX_CASES:
        problems.add(matrix, f"makes {count} cases; at most {known.MAX_CASES} are allowed", at_key=True)
        return []
    points = [
        _point(base, axes, choice)
        for choice in itertools.product(*axes.values())
        if not any(_matches(rule, axes, choice) for rule in exclusions)
    ]
    if not points:
        problems.add(matrix.entries["exclude"], "excludes every case", at_key=True)
    return points


def _axes(matrix: Node, problems: Problems) -> Axes:
    if not isinstance(matrix.value, dict):
        problems.add(matrix, "must be a mapping from keys to lists of values")
        return {}
    axes = {}
    for key, node in matrix.entries.items():
        if key == "exclude":
            continue
        if _check_key(key, node, problems) and _check_values(key, node, problems):
            axes[key] = dict(_named(node))
    if not axes and not problems:
        problems.add(matrix, "is empty; give it at least one key with a list of values", at_key=True)
    return axes


def _check_key(key: str, node: Node, problems: Problems) -> bool:
    keys = form.dotted_keys()
    if key in keys:
        return True
    if key.partition(".")[0] in (*form.SCENARIO_ONLY, *form.WHOLE_FILE):
        problems.add(node, "cannot vary", at_key=True)
    elif key.startswith("message.headers.") and len(key.split(".")) == 3:
        return True
    else:
        leaves = [name for name in keys if name.rpartition(".")[2] == key]
        hint = f" (did you mean {leaves[0]}?)" if leaves else suggest(key, (*keys, "exclude"))
        problems.add(node, f"unknown key{hint}", at_key=True)
    return False


def _named(node: Node) -> list[tuple[str, Node]]:
    """The values of an axis, each with its name, or else with itself as text."""
    return list(node.entries.items()) or [(value.compact(), value) for value in node.items]


def _check_values(key: str, node: Node, problems: Problems) -> bool:
    if not isinstance(node.value, (list, dict) if key in form.NAMED_AXES else list):
        problems.add(node, "must be a list of values: [a, b]")
        return False
    if not node.value:
        problems.add(node, "is an empty list; give at least one value")
        return False
    seen = set()
    for text, value in _named(node):
        if not text or len(text) > MAX_LABEL or not text.isprintable():
            problems.add(
                value, f"must be 1 to {MAX_LABEL} printable characters: it becomes part of the case's id"
            )
        elif text in seen:
            problems.add(value, f"{text} is listed twice")
        seen.add(text)
    return True


def _exclusions(matrix: Node, axes: Axes, problems: Problems) -> list[Node]:
    node = matrix.entries.get("exclude")
    if node is None:
        return []
    if not isinstance(node.value, list):
        problems.add(node, "must be a list of mappings: [{transport: api, connection: unpooled}]")
        return []
    for rule in node.items:
        if not isinstance(rule.value, dict) or not rule.value:
            problems.add(rule, "must be a mapping of matrix keys to values")
        for key, value in rule.entries.items():
            if key not in axes:
                problems.add(value, f"is not a key of this matrix{suggest(key, axes)}", at_key=True)
    return node.items


def _check_matches(exclusions: list[Node], axes: Axes, problems: Problems) -> None:
    for rule in exclusions:
        for key, value in rule.entries.items():
            listed = axes.get(key, {})
            if not any(_means(value, text, other) for text, other in listed.items()):
                message = f"excludes nothing: {value.compact()} is not among {', '.join(listed)}"
                problems.add(value, message + suggest(value.compact(), listed))


def _means(value: Node, text: str, other: Node) -> bool:
    """Whether an exclusion's value is that one, by its name or as it is."""
    return value.compact() == text or value.plain() == other.plain()


def _matches(rule: Node, axes: Axes, choice: tuple[str, ...]) -> bool:
    chosen = dict(zip(axes, choice, strict=True))
    return all(_means(value, chosen[key], axes[key][chosen[key]]) for key, value in rule.entries.items())


def _point(base: Node, axes: Axes, choice: tuple[str, ...]) -> Point:
    chosen = dict(zip(axes, choice, strict=True))
    tree = base
    for key in sorted(chosen, key=lambda name: name.count(".")):  # whole sections before their keys
        tree = put(tree, key, axes[key][chosen[key]])
    return Point(tree, chosen)
