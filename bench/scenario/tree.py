"""YAML text -> a tree of nodes that know their line; nothing is ever constructed from a tag.

The tree is composed from the events of ruamel's YAML 1.2 parser, as ruamel's own `compose`
does, but with every limit applied before anything is built: a bomb is refused at its first
alias, a deep file at its 33rd level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from bench.errors import ScenarioError
from bench.model import Secret

MAX_BYTES = 1 << 20
MAX_NODES = 10_000
MAX_DEPTH = 32
MAX_SHOWN = 300
"""Longest error text, in characters."""

Scalar = str | int | float | bool | None
Plain = Scalar | Secret | dict[str, "Plain"] | list["Plain"]

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_FORBIDDEN = re.compile("[^\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file with the place it stands at (lines and columns count from 1)."""

    value: Scalar | Secret | dict[str, Node] | list[Node]
    path: str
    """Its dotted name, for errors: `network.rtt`, `matrix.network.rtt[1]`, `--set network.rtt`."""
    line: int = 0
    column: int = 0
    key_line: int = 0
    key_column: int = 0
    text: str = ""
    """A scalar as it was written, without quotes."""

    @property
    def entries(self) -> dict[str, Node]:
        """The children of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The children of a list; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def from_command_line(self) -> bool:
        return self.line == 0

    def get(self, dotted: str) -> Node | None:
        """The node at a dotted path below this one."""
        node: Node | None = self
        for part in dotted.split("."):
            node = node.entries.get(part) if node is not None else None
        return node

    def nearest(self, dotted: str) -> Node:
        """The node at `dotted`, or the last one on the way there."""
        node = self
        for part in dotted.split("."):
            child = node.entries.get(part)
            if child is None:
                return node
            node = child
        return node

    def with_entry(self, key: str, child: Node) -> Node:
        """This mapping with `key` set to `child`."""
        return replace(self, value={**self.entries, key: child})

    def without(self, *keys: str) -> Node:
        """This mapping without `keys`."""
        return replace(self, value={k: v for k, v in self.entries.items() if k not in keys})

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, in file order."""
        yield self
        for child in self.entries.values():
            yield from child.walk()
        for child in self.items:
            yield from child.walk()

    def plain(self) -> Plain:
        """The values alone."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def compact(self) -> str:
        """The value as one short text: a scalar as written, else `{k:v,...}` or `[a,b]`."""
        if isinstance(self.value, dict):
            return "{" + ",".join(f"{k}:{v.compact()}" for k, v in self.value.items()) + "}"
        if isinstance(self.value, list):
            return "[" + ",".join(child.compact() for child in self.value) + "]"
        return self.text


def resolve_scalar(text: str) -> Scalar:
    """A plain scalar by the YAML 1.2 core schema: `no` and `22:22` are text, `010` is ten."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text) if len(text) <= 32 else text
    if _OCTAL.match(text):
        return int(text, 8) if len(text) <= 32 else text
    if _HEX.match(text):
        return int(text, 16) if len(text) <= 32 else text
    if _FLOAT.match(text):
        return float(text)
    return text


def decode(source: bytes, file: str) -> str:
    """The text of a scenario file. Raises ScenarioError: too long, not UTF-8, tabs, control characters."""
    if len(source) > MAX_BYTES:
        raise ScenarioError(
            f"the file is longer than 1 MiB ({len(source)} bytes)", file=file, line=1, column=1
        )
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        column = error.start - (source.rfind(b"\n", 0, error.start) + 1) + 1
        raise ScenarioError("the file is not UTF-8 text", file=file, line=line, column=column) from None
    _check_characters(text, file)
    return text


def _check_characters(text: str, file: str, field: str = "") -> None:
    match = _FORBIDDEN.search(text)
    if match is None:
        return
    line = text.count("\n", 0, match.start()) + 1
    column = match.start() - (text.rfind("\n", 0, match.start()) + 1) + 1
    if match[0] == "\t":
        what = 'a tab; YAML is indented with spaces, and in text a tab is written "\\t" in double quotes'
    else:
        what = f"the control character U+{ord(match[0]):04X}; write it as an escape in double quotes"
    raise ScenarioError(what, file=file, line=line if file else 0, column=column, field=field)


def compose(text: str, file: str, *, prefix: str = "") -> Node:
    """The tree of a YAML text.

    With `prefix` (a `--set KEY`) the text is a value from the command line: its nodes have no
    line and carry the prefix as their path. Raises ScenarioError.
    """
    if prefix:
        _check_characters(text, "", prefix)
    return _Composer(file, prefix).compose(text)


class _Composer:
    def __init__(self, file: str, prefix: str) -> None:
        self._file, self._prefix, self._count = file, prefix, 0

    def compose(self, text: str) -> Node:
        try:
            return self._document(YAML(typ="safe", pure=True).parse(text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line, mark.column) if mark is not None else (0, 0)
            context = f" {error.context}" if error.context else ""
            raise self._error(f"not valid YAML: {error.problem}{context}", line, column) from None
        except YAMLError as error:
            raise self._error(f"not valid YAML: {error}", 0, 0) from None

    def _document(self, events: Iterator[Event]) -> Node:
        next(events)  # StreamStart
        start = next(events)
        if not isinstance(start, DocumentStartEvent):
            if self._prefix:
                return self._scalar("", None, self._prefix, start)
            raise self._error("the file is empty", 0, 0)
        if start.version is not None and tuple(start.version) != (1, 2):
            raise self._at(start, "only YAML 1.2 is read; remove the %YAML line")
        root = self._node(next(events), events, self._prefix, 1)
        end = next(events)
        assert isinstance(end, DocumentEndEvent)
        after = next(events)
        if not isinstance(after, StreamEndEvent):
            raise self._at(after, "a second document; a scenario file holds one")
        return root

    def _node(self, event: Event, events: Iterator[Event], path: str, depth: int) -> Node:
        self._check(event, depth)
        if isinstance(event, ScalarEvent):
            return self._scalar(event.value, event.style, path, event)
        place = self._place(event)
        if isinstance(event, SequenceStartEvent):
            return Node(self._items(events, path, depth), path, *place)
        assert isinstance(event, MappingStartEvent)
        return Node(self._entries(events, path, depth), path, *place)

    def _check(self, event: Event, depth: int) -> None:
        self._count += 1
        if isinstance(event, AliasEvent):
            raise self._at(event, f"the alias *{event.anchor}; aliases and anchors are not allowed")
        assert isinstance(event, NodeEvent)
        if event.anchor is not None:
            raise self._at(event, f"the anchor &{event.anchor}; aliases and anchors are not allowed")
        if (tag := getattr(event, "tag", None)) is not None:
            raise self._at(event, f"the tag {tag}; tags are not allowed")
        if depth > MAX_DEPTH:
            raise self._at(event, f"nested deeper than {MAX_DEPTH} levels")
        if self._count > MAX_NODES:
            raise self._at(event, f"more than {MAX_NODES} values in one file")

    def _items(self, events: Iterator[Event], path: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._node(event, events, f"{path}[{len(items)}]", depth + 1))
        return items

    def _entries(self, events: Iterator[Event], path: str, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            self._check(event, depth + 1)
            if not isinstance(event, ScalarEvent):
                raise self._at(event, "a key must be a plain word")
            key = event.value
            child = self._child_path(path, key)
            if key in entries:
                raise self._at(event, f"the key {key!r} stands here twice", child)
            node = self._node(next(events), events, child, depth + 1)
            line, column = self._place(event)
            if node.value is None and not node.text:  # nothing there: the parser is already further down
                node = replace(node, line=line, column=column)
            entries[key] = replace(node, key_line=line, key_column=column)
        return entries

    def _child_path(self, path: str, key: str) -> str:
        return f"{path}.{key}" if path else key

    def _scalar(self, value: str, style: str | None, path: str, event: Event) -> Node:
        resolved = value if style is not None else resolve_scalar(value)
        return Node(resolved, path, *self._place(event), text=value)

    def _place(self, event: Event) -> tuple[int, int]:
        if self._prefix:
            return 0, 0
        return event.start_mark.line + 1, event.start_mark.column + 1

    def _at(self, event: Event, message: str, field: str = "") -> ScenarioError:
        return self._error(message, event.start_mark.line, event.start_mark.column, field)

    def _error(self, message: str, line: int, column: int, field: str = "") -> ScenarioError:
        message = one_line(message)
        if self._prefix:
            return ScenarioError(message, field=one_line(self._prefix))
        return ScenarioError(
            message, file=self._file, line=line + 1, column=column + 1, field=one_line(field)
        )


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, cut to a length a terminal can show."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 3] + "..."
