"""Reading the vendors' own specification files, which lie in the folder that SENDBENCH_SPECS names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

FOLDER = os.environ.get("SENDBENCH_SPECS")
needs_specs = pytest.mark.skipif(not FOLDER, reason="SENDBENCH_SPECS names no folder of specification files")


def load(name: str) -> dict[str, object]:
    """A specification by the name of its file, YAML or JSON."""
    loaded = YAML(typ="safe", pure=True).load((Path(FOLDER or "") / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def resolved(shape: object, root: dict[str, object]) -> object:
    """The shape with every `$ref` replaced by what it points to."""
    match shape:
        case {"$ref": str(pointer), **siblings}:
            target: object = root
            for step in pointer.removeprefix("#/").split("/"):
                assert isinstance(target, dict)
                target = target[step]
            inner = resolved(target, root)
            assert isinstance(inner, dict)
            return {**inner, **siblings}
        case dict():
            return {name: resolved(value, root) for name, value in shape.items()}
        case list():
            return [resolved(value, root) for value in shape]
    return shape


def at(shape: object, *path: str) -> dict[str, object]:
    for step in path:
        assert isinstance(shape, dict)
        shape = shape[step]
    assert isinstance(shape, dict)
    return shape


def closed(shape: object) -> object:
    """The schema with unknown properties forbidden wherever it lists the known ones."""
    match shape:
        case dict():
            inner = {name: closed(value) for name, value in shape.items()}
            return {**inner, "additionalProperties": False} if "properties" in shape else inner
        case list():
            return [closed(value) for value in shape]
    return shape
