"""The logs of mock and shaper: one JSON object a line, read as a table."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from bench.errors import ResultFormatError
from bench.store import codec
from bench.store.layout import INT64, TEXT

BLOCK_BYTES = 8 << 20
_TYPES = {"str": TEXT, "int": INT64}


def read(path: Path, kind: type) -> pa.Table:
    """A column for each field of the dataclass, a row for each line; one that is not whole is left out.

    Raises ResultFormatError, which names the first line that is not in order, and OSError.
    """
    schema = pa.schema([pa.field(field.name, _TYPES[str(field.type)]) for field in fields(kind)])
    tables, before, rest = [schema.empty_table()], 0, b""
    with path.open("rb") as stream:
        while data := stream.read(BLOCK_BYTES):
            whole, end, rest = (rest + data).rpartition(b"\n")
            if end:
                lines = whole.count(b"\n") + 1
                table = _plain(whole, lines, schema)
                tables.append(_checked(whole, kind, schema, path, before) if table is None else table)
                before += lines
    return pa.concat_tables(tables)


def _plain(text: bytes, lines: int, schema: pa.Schema) -> pa.Table | None:
    """What the lines hold, by Arrow, which is quick; None where it finds anything odd."""
    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(text), reading, options)
        table.validate(full=True)
    except pa.ArrowException:
        return None
    holes = any(column.null_count for column in table.columns)
    return None if holes or table.num_rows != lines else table


def _checked(text: bytes, kind: type, schema: pa.Schema, path: Path, before: int) -> pa.Table:
    """The same, slowly, line by line."""
    found: list[codec.Json] = []
    for number, line in enumerate(text.split(b"\n"), before + 1):
        try:
            found.append(codec.encode(codec.decode(kind, codec.load(line))))
            pa.Table.from_pylist(found[-1:], schema)
        except (ValueError, OverflowError) as error:
            raise ResultFormatError(f"{path}:{number}: {' '.join(str(error).split())}") from error
    return pa.Table.from_pylist(found, schema)
