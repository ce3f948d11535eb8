"""The raw records as NDJSON: one line of JSON a message, in ASCII."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from bench.report.text import from_bytes, visible

if TYPE_CHECKING:
    import pandas as pd

    from bench.model import Answer, Summary


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """Every column as it is: times in ns, spans in ms, bytes as visible text, null for what is not known."""
    names = list(frame.columns)
    columns = [frame[name].tolist() for name in names]
    lines = (
        json.dumps(
            {name: _value(name, value) for name, value in zip(names, row, strict=True)}, allow_nan=False
        )
        for row in zip(*columns, strict=True)
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _value(name: str, value: object) -> object:
    """Whole numbers as such, also where a missing one has turned their column into floats."""
    match value:
        case bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                return None
            return int(value) if value.is_integer() and not name.endswith("_ms") else value
        case bytes():
            return from_bytes(value)
        case str():
            return visible(value)
    return None
