"""pydantic's errors -> sentences that say what is wrong and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bench.scenario import form
from bench.scenario.problems import Problems, nearest, suggest
from bench.scenario.tree import Node

_KINDS = {
    "string_type": 'must be text (in quotes if it looks like a number: "123")',
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list: [a, b]",
    "tuple_type": "must be a list: [a, b]",
    "dict_type": "must be a mapping: {key: value}",
    "model_type": "must be a mapping: {key: value}",
    "model_attributes_type": "must be a mapping: {key: value}",
    "is_instance_of": "must be a reference such as ${env:NAME}",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_SYNONYMS = {
    "key": "password", "api_key": "password", "apikey": "password", "token": "password",
    "username": "user", "login": "user", "to": "recipients", "sender": "from", "body": "text",
    "latency": "rtt", "connections": "size", "workers": "concurrency", "count": "messages",
}  # fmt: skip


def note_errors(
    error: ValidationError, tree: Node, problems: Problems, *, without_missing: bool = False
) -> None:
    """Add every error of a failed validation of `tree` to `problems`, at its place in the file."""
    for detail in error.errors(include_url=False, include_input=True):
        node, rest = locate(tree, detail["loc"])
        kind = detail["type"]
        if kind == "extra_forbidden":
            problems.add(node, unknown_key(tree, detail["loc"]), at_key=True)
        elif kind == "missing":
            if not without_missing:
                problems.add(node, "is missing", key=".".join(rest))
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            _note_tag(node, problems)
        else:
            problems.add(node, _sentence(kind, detail, node))


def locate(tree: Node, loc: Sequence[str | int]) -> tuple[Node, list[str]]:
    """The deepest node on the way `loc`, and the parts of it beyond that node (a missing key).

    Parts that name a branch of a union (`load.closed.rate`) are not in the file and are skipped.
    """
    node, rest = tree, list[str]()
    for part in loc:
        if isinstance(part, int):
            node = node.items[part] if part < len(node.items) else node
        elif part in node.entries:
            node, rest = node.entries[part], []
        elif part == loc[-1]:
            rest = [part]
    return node, rest


def _sentence(kind: str, detail: ErrorDetails, node: Node) -> str:
    context: Mapping[str, object] = detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]}, not {node.text}"
    if kind == "string_pattern_mismatch":
        return f"{node.text!r} must be 1 to 64 of a-z, 0-9, - and _, the first a letter or digit"
    if kind == "too_short":
        return "is empty; give at least one value"
    return _KINDS.get(kind, detail["msg"]) + (f", not {node.text!r}" if node.text else "")


def _note_tag(node: Node, problems: Problems) -> None:
    models = tuple(form.LOADS)
    model = node.entries.get("model")
    if model is None:
        problems.add(node, f"is missing; one of {', '.join(models)}", key="model")
        return
    problems.add(
        model, f"unknown load model {model.text!r}; one of {', '.join(models)}{suggest(model.text, models)}"
    )


def unknown_key(tree: Node, loc: Sequence[str | int]) -> str:
    """What to say about a key that has no meaning where it stands."""
    section, key = _section(tree, loc[:-1]), str(loc[-1])
    model = tree.get("load.model")
    siblings = form.section_keys(section, model.text if model is not None else "")
    if not section:
        siblings += form.WHOLE_FILE
    return "unknown key" + _hint(section, key, siblings)


def _section(tree: Node, loc: Sequence[str | int]) -> str:
    node, parts = tree, []
    for part in loc:
        if isinstance(part, int):
            node = node.items[part] if part < len(node.items) else node
        elif part in node.entries:
            node = node.entries[part]
            parts.append(part)
    return ".".join(parts)


def _hint(section: str, key: str, siblings: tuple[str, ...]) -> str:
    if section == "load" and (models := [m for m in form.LOADS if key in form.section_keys("load", m)]):
        return f" in this load model; {key} belongs to {', '.join(models)}"
    synonym = _SYNONYMS.get(key.lower(), "")
    if synonym in siblings:
        return f" (did you mean {synonym}?)"
    dotted = form.dotted_keys()
    if key in dotted and "." in key:
        return "; dotted keys belong in the matrix, elsewhere write nested mappings"
    if near := suggest(key, siblings):
        return near
    leaves = {name.rpartition(".")[2]: name for name in reversed(dotted) if "." in name}
    for word in (key.lower(), synonym, *nearest(key, leaves)):
        if word in leaves:
            return f" (did you mean {leaves[word]}?)"
    return f"; known here: {', '.join(siblings)}" if siblings else ""
