"""What is laid over a scenario: a profile, `--set KEY=VALUE`, a point of the matrix."""

from __future__ import annotations

from dataclasses import replace

from bench.errors import ScenarioError
from bench.scenario import form
from bench.scenario.problems import suggest
from bench.scenario.tree import Node, compose, one_line

ALTERNATIVES = {"load.messages": "load.duration", "load.duration": "load.messages"}
"""Of two keys only one may stand; the one laid over takes the other's place."""
_WHOLESALE = ("mock.service_time", "message.recipients", "message.attachments")


def merge(base: Node, over: Node, dotted: str = "") -> Node:
    """`over` laid over `base`: mappings key by key, everything else replaced.

    A `load` of another model replaces the whole `load`: keys of one model mean nothing in another. The
    name of another model alone (`--set load.model=poisson`) leaves the keys that both models have.
    """
    if not isinstance(base.value, dict) or not isinstance(over.value, dict) or dotted in _WHOLESALE:
        return over
    if dotted == "load" and _model(over) not in ("", _model(base)):
        return _as_model(base, over) if set(over.entries) == {"model"} else over
    merged = base
    for key, child in over.value.items():
        path = f"{dotted}.{key}" if dotted else key
        if path in ALTERNATIVES:
            merged = merged.without(ALTERNATIVES[path].rpartition(".")[2])
        below = _expanded(merged.entries[key], path, child) if key in merged.entries else None
        merged = merged.with_entry(key, child if below is None else merge(below, child, path))
    return merged


def _model(load: Node) -> str:
    model = load.entries.get("model")
    return model.text if model is not None else ""


def _as_model(base: Node, over: Node) -> Node:
    keys = form.section_keys("load", _model(over))
    kept = {key: child for key, child in base.entries.items() if key in keys}
    return replace(base, value=kept | over.entries)


def _expanded(base: Node, dotted: str, over: Node) -> Node:
    """A section in its short form (`tls: none`) as a mapping, when a mapping is laid over it."""
    if dotted in form.SHORT_FORMS and isinstance(base.value, str) and isinstance(over.value, dict):
        return replace(base, value={form.SHORT_FORMS[dotted]: base})
    return base


def put(tree: Node, dotted: str, value: Node) -> Node:
    """`tree` with the value at a dotted key; the mappings on the way are made where they are missing."""
    for part in reversed(dotted.split(".")[1:]):
        value = replace(value, value={part: value}, text="", path=value.path.removesuffix(f".{part}"))
    key = dotted.split(".")[0]
    if "." not in dotted:
        return tree.with_entry(key, value)
    return merge(tree, replace(tree, value={key: value}))


def parse_override(text: str) -> tuple[str, Node]:
    """`KEY=VALUE` of `--set`: the dotted key and the value, read as YAML. Raises ScenarioError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise ScenarioError(f"--set {one_line(text)}: write KEY=VALUE, such as --set network.rtt=50ms")
    return key, compose(value, "", prefix=f"--set {key}")


def apply_override(tree: Node, key: str, value: Node) -> Node:
    """`tree` with one `--set` applied.

    A key that the matrix varies is narrowed to the value or list of values given, so that
    `--set network.rtt=5ms` means what it says. Raises ScenarioError.
    """
    top, _, rest = key.partition(".")
    if top in ("profiles", "version", "name"):
        raise ScenarioError(f"{top} cannot be set from the command line", field=f"--set {key}")
    matrix = tree.entries.get("matrix")
    if top == "matrix" and rest:
        return _with_axis(tree, rest, value)
    if matrix is not None and key in matrix.entries and key != "exclude":
        return _with_axis(tree, key, value)
    for axis in matrix.entries if matrix is not None else ():
        if key.startswith(f"{axis}."):
            message = f"has no effect: the matrix sets {axis}; use --set {axis}=VALUE"
            raise ScenarioError(message, field=f"--set {key}")
    return put(tree, key, value)


def _with_axis(tree: Node, axis: str, value: Node) -> Node:
    if not isinstance(value.value, (list, dict) if axis in form.NAMED_AXES else list):
        value = replace(value, value=[value], text="")
    matrix = tree.entries.get("matrix") or replace(value, value={}, text="")
    return tree.with_entry("matrix", matrix.with_entry(axis, value))


def choose_profile(tree: Node, name: str, file: str) -> Node:
    """`tree` with the named profile laid over it. Raises ScenarioError where there is none."""
    profiles = tree.entries.get("profiles")
    known = profiles.entries if profiles is not None else {}
    if name not in known:
        names = f"; it has {', '.join(known)}" if known else "; it has none"
        message = f"{file} has no profile {name!r}{names}{suggest(name, known)}"
        raise ScenarioError(one_line(message), field="--profile")
    return merge(tree, known[name])
