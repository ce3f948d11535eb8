"""`summary.json`: every figure of a run, for programs. The shape is a promise (`SCHEMA`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from bench.errors import ResultFormatError
from bench.model import Answer, Summary

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "sendbench.summary/1"
MAX_BYTES = 64 * 2**20
"""A summary larger than this is not one of ours."""

_SUMMARY = TypeAdapter(Summary)
_ANSWER = TypeAdapter(Answer)


def render(summary: Summary, answer: Answer, frame: pd.DataFrame | None = None) -> bytes:
    """The summary as JSON: UTF-8, times in ms, rates per second, null for what is not known.

    A value that is not finite (a percentile that ranks among the failures) is null too.
    """
    document = {
        "schema": SCHEMA,
        "run": summary.run,
        "cases": summary.cases,
        "comparisons": summary.comparisons,
        "answer": answer,
    }
    return dump(document)


def dump(value: object) -> bytes:
    """Our frozen types, as indented JSON in ASCII: whatever text is in them, the bytes are valid."""
    return (json.dumps(_plain(value), indent=2, allow_nan=False) + "\n").encode("ascii")


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def load_summary(data: bytes) -> Summary:
    """The summary that `render` wrote. Raises ResultFormatError with one line on what is wrong."""
    if len(data) > MAX_BYTES:
        raise ResultFormatError(f"summary.json: larger than {MAX_BYTES // 2**20} MiB")
    try:
        document = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ResultFormatError(f"summary.json: not JSON: {error}") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise ResultFormatError(f'summary.json: no "schema"; expected {SCHEMA}')
    if document["schema"] != SCHEMA:
        raise ResultFormatError(
            f"summary.json: schema {str(document['schema'])[:80]!r}; this version reads {SCHEMA}"
        )
    try:
        return _SUMMARY.validate_python(document, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultFormatError(f"summary.json: {where}: {first['msg']}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def schema() -> dict[str, object]:
    """The JSON Schema of `summary.json`. More keys may come within version 1; none goes or moves."""
    summary = _SUMMARY.json_schema(mode="serialization", ref_template="#/$defs/{model}")
    answer = _ANSWER.json_schema(mode="serialization", ref_template="#/$defs/{model}")
    definitions = {**summary.pop("$defs", {}), **answer.pop("$defs", {})}
    definitions["Answer"] = answer
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **summary,
        "title": "sendbench summary",
        "properties": {
            "schema": {"const": SCHEMA},
            **summary["properties"],
            "answer": {"$ref": "#/$defs/Answer"},
        },
        "required": ["schema", *summary["required"]],
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """`docs/summary.schema.json`, as it is written."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
