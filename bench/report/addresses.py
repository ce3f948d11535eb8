"""Mail addresses in a report, which is made to be passed on: each becomes a short hash.

They come from servers, which like to repeat whom a message was for. The run's folder keeps what they said.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, TypeVar, cast

from bench.model import Answer, Summary

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_SAID_BY_OTHERS = ("reply", "replies", "notes", "anomaly", "error")
"""The columns of the records in which a server's words stand."""


def without_addresses(
    summary: Summary, answer: Answer, frame: pd.DataFrame
) -> tuple[Summary, Answer, pd.DataFrame]:
    """The same report's parts with `address-1f2e3d4c` for each mail address: the same hash wherever it
    stands in the reports of a run, another one in those of another run."""

    def named(found: re.Match[str]) -> str:
        digest = hashlib.sha256(f"{summary.run.id} {found[0].lower()}".encode())
        return f"address-{digest.hexdigest()[:8]}"

    def text(value: str) -> str:
        return _ADDRESS.sub(named, value) if "@" in value else value

    def cell(value: object) -> object:
        if isinstance(value, bytes):
            return text(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return text(value) if isinstance(value, str) else value

    columns = [name for name in _SAID_BY_OTHERS if name in frame.columns]
    changed = {name: frame[name].map(cell) for name in columns}
    return _changed(summary, text), _changed(answer, text), frame.assign(**changed)


def _changed(value: T, change: Callable[[str], str]) -> T:
    """The value with `change` applied to every text in it but the names of things."""
    return cast("T", _any_changed(value, change))


def _any_changed(value: object, change: Callable[[str], str]) -> object:
    match value:
        case Enum():
            return value
        case str():
            return change(value)
        case tuple():
            return tuple(_any_changed(each, change) for each in value)
        case Mapping():
            return {name: _any_changed(each, change) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{each.name: _any_changed(getattr(value, each.name), change) for each in fields(value)}
        )
    return value
