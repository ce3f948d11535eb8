"""`${env:NAME}` and `${file:PATH}`: the only way in for secrets, and allowed in any text.

Keys that look like a secret are refused with a literal value before anything else is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.model import Secret
from bench.scenario.paths import Files
from bench.scenario.problems import Problems
from bench.scenario.tree import Node

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_LOOKS_SECRET = re.compile(
    r"(^|[^a-z])(password|passwd|passphrase|pwd|secret|token|api[_-]?key|key|credentials?|authorization)s?\Z"
)
_SECRET_FIELDS = ("auth.user", "auth.password")
MAX_SECRET_BYTES = 64 * 1024


class MissingReference(Exception):
    """A variable that is not set or a file that cannot be read; the text says which."""


def looks_secret(key: str) -> bool:
    """True for `password`, `api_key`, `X-Auth-Token`, ...: keys whose value must be a reference."""
    words = re.sub(r"([a-z])([A-Z])", r"\1-\2", key).lower()
    return _LOOKS_SECRET.search(words) is not None


def refuse_literals(tree: Node, problems: Problems) -> None:
    """Note every literal value under a key that looks like a secret (S1: never in a file)."""
    for node in tree.walk():
        for key, child in node.entries.items():
            if not looks_secret(key.rpartition(".")[2]):
                continue
            for value in child.items or [child]:
                _refuse_literal(key, value, problems)


def _refuse_literal(key: str, value: Node, problems: Problems) -> None:
    if isinstance(value.value, dict | list) or value.value is None:
        return
    match = _REFERENCE.fullmatch(value.text)
    if match is None:
        name = re.sub(r"[^A-Z0-9]+", "_", key.rpartition(".")[2].upper())
        problems.add(
            value, f'a secret must not stand in a scenario; write "${{env:{name}}}" and set that variable'
        )


class Resolver:
    """Replaces references by what they stand for: `Secret` in secret fields, text elsewhere."""

    def __init__(self, environ: Mapping[str, str], files: Files, problems: Problems) -> None:
        self._environ, self._files, self._problems = environ, files, problems
        self.missing = 0
        """How many references could not be resolved."""

    def resolve(self, node: Node, dotted: str = "") -> Node:
        """`node` with every reference below it resolved; what is missing becomes a problem."""
        if isinstance(node.value, dict):
            prefix = "" if dotted in ("", "matrix") else f"{dotted}."
            return replace(node, value={k: self.resolve(v, prefix + k) for k, v in node.value.items()})
        if isinstance(node.value, list):
            return replace(node, value=[self.resolve(child, dotted) for child in node.value])
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        try:
            return replace(node, value=self._value(node, dotted in _SECRET_FIELDS))
        except MissingReference as error:
            self.missing += 1
            self._problems.add(node, str(error))
        except ValueError as error:
            self._problems.add(node, str(error))
        return node

    def _value(self, node: Node, secret: bool) -> str | Secret:
        assert isinstance(node.value, str)
        if secret:
            match = _REFERENCE.fullmatch(node.value)
            if match is None:
                raise ValueError("must be one reference and nothing else, such as ${env:NAME}")
            return Secret(self._look_up(match[1], node, secret=True), node.value)
        return _REFERENCE.sub(lambda match: self._look_up(match[1], node, secret=False), node.value)

    def _look_up(self, body: str, node: Node, *, secret: bool) -> str:
        kind, colon, name = body.partition(":")
        if kind == "env" and colon and name:
            if name not in self._environ:
                raise MissingReference(f"the environment variable {name} is not set")
            if secret and not self._environ[name]:
                raise MissingReference(f"the environment variable {name} is empty")
            return self._environ[name]
        if kind == "file" and colon and name:
            return self._read(name, node, secret=secret)
        raise ValueError(f"unknown reference ${{{body}}}; known are ${{env:NAME}} and ${{file:PATH}}")

    def _read(self, name: str, node: Node, *, secret: bool) -> str:
        path = self._files.anywhere(name, node) if secret else self._files.inside(name, node)
        try:
            data = self._files.read(path, MAX_SECRET_BYTES)
            text = data.decode("utf-8")
        except OSError as error:
            raise MissingReference(f"cannot read {name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{name} is not UTF-8 text") from None
        if secret:
            _check_private(path)
        return text.rstrip("\r\n")


def _check_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path.name} holds a secret and others may read it; run chmod 600 on it")
