"""The sample row in Arrow's terms, and samples turned into it a column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from bench.model import API_ONLY_PHASES, PHASES, Sample
from bench.store import ipc
from bench.store.ipc import Column
from bench.store.layout import BOOL, BYTES, INT32, INT64, TEXT, Layout, Values, array_of, layout_of

pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own takes twice the CPU here: it likes fresh huge pages

REPLY_BYTES = 512
PIECE = 1 << 17
"""Rows that are moved at a time where a table is too large to be held twice."""


def _field(name: str, kind: pa.DataType, *, null: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=null)


_PHASES = sorted(PHASES, key=lambda phase: (phase in API_ONLY_PHASES, phase == "envelope"))
"""In the order of the first version's columns, which stays whatever order reports show them in."""
SCHEMA = pa.schema(
    [
        _field("case", TEXT, null=False),
        _field("key", TEXT, null=False),
        _field("seq", INT64, null=False),
        _field("attempt", INT32, null=False),
        _field("worker", INT32, null=False),
        _field("warmup", BOOL, null=False),
        _field("cold", BOOL, null=False),
        _field("due_ns", INT64),
        _field("ready_ns", INT64),
        _field("start_ns", INT64),
        _field("end_ns", INT64),
        *(_field(f"{phase}_ns", INT64) for phase in _PHASES),
        _field("quit_ns", INT64),
        _field("round_trips", INT32),
        _field("connection_id", INT64),
        _field("connection_use", INT64),
        _field("client", TEXT, null=False),
        _field("http_version", TEXT),
        _field("tls_version", TEXT),
        _field("outcome", TEXT, null=False),
        _field("phase_at_end", TEXT),
        _field("code", INT32),
        _field("enhanced_code", TEXT),
        _field("reply", BYTES),
        _field("error", TEXT),
        _field("errno", INT32),
        _field("anomaly", TEXT),
        _field("notes", TEXT),
        _field("replies", BYTES),
        _field("tcp_rtt_ns", INT64),
        _field("retransmits", INT64),
        _field("recipients", INT32, null=False),
        _field("recipients_accepted", INT32),
        _field("bytes_sent", INT64),
        _field("message_id", TEXT),
        _field("batch_id", TEXT),
        _field("batch_index", INT32),
    ]
)
"""One row per attempt, and one with attempt 0 for a dropped message. Times: ns on the run's clock."""

COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
TEXTS = tuple(field.name for field in SCHEMA if field.type in (TEXT, BYTES))
"""The columns of text or bytes."""
NUMBERS = tuple(field.name for field in SCHEMA if field.type in (INT32, INT64))
"""The columns of whole numbers."""
_REQUIRED = frozenset(field.name for field in SCHEMA if not field.nullable)

_LAYOUTS = tuple((field.name, field.nullable, layout_of(field.type)) for field in SCHEMA)
_ABSENT: Final[Values] = (None,)


def batch_of(samples: Sequence[Sample]) -> pa.RecordBatch:
    """The rows of some samples, at least one. Raises ValueError, TypeError or OverflowError."""
    columns = _columns_of(samples)
    absent = (None,) * len(samples)
    arrays = [array_of(columns.get(field.name, absent), field.type) for field in SCHEMA]
    return _complete(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))


def encode(samples: Sequence[Sample]) -> bytes:
    """`batch_of` as the payload of a frame, at a fraction of the cost. Raises what it raises."""
    given, rows = _columns_of(samples), len(samples)
    absent: dict[Layout, Column] = {}
    columns = []
    for name, nullable, layout in _LAYOUTS:
        values = given.get(name, _ABSENT)
        first = values[0]
        if values is not _ABSENT and (values[-1] != first or values.count(first) != rows):
            column = layout.each(values)
        elif first is not None:
            column = layout.same(first, rows)
        else:
            column = absent.get(layout) or absent.setdefault(layout, layout.nulls(rows))
        if column.nulls and not nullable:
            raise ValueError(f"a row has no {name}")
        columns.append(column)
    return ipc.message(rows, columns)


def warm_up() -> None:
    """Have Arrow import now what it imports with the first value it is given: pandas, 0.1 s of CPU that would
    fall into the measurement."""
    array_of((None,), TEXT)


def encode_schema() -> bytes:
    """The schema as the payload of a log's first frame."""
    payload: bytes = SCHEMA.serialize().to_pybytes()
    return payload


def decode(payload: bytes) -> pa.RecordBatch:
    """A record batch of the log. Raises ValueError (pa.ArrowInvalid is one) or OSError for what is none."""
    if not ipc.is_plain(payload):
        raise ValueError("rows in another layout than this sendbench writes")
    batch = pa.ipc.read_record_batch(pa.py_buffer(payload), SCHEMA)
    batch.validate(full=True)
    return _complete(batch)


def is_schema(payload: bytes) -> bool:
    """Whether a log's first frame promises the rows this version knows."""
    try:
        found = pa.ipc.read_schema(pa.py_buffer(payload))
    except (pa.ArrowInvalid, OSError):
        return False
    return bool(found.equals(SCHEMA))


def table_of(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """The rows of all batches, in their order."""
    return pa.Table.from_batches(batches, schema=SCHEMA)


def complete(table: pa.Table) -> pa.Table:
    """The table with the columns it lacks, all null; those of one type share their memory."""
    kinds = {field.type for field in SCHEMA if field.name not in table.column_names}
    nulls = {kind: pa.nulls(table.num_rows, kind) for kind in kinds}
    columns = [
        table[field.name] if field.name in table.column_names else nulls[field.type] for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def give_back() -> None:
    """Return to the system what tables that are no more have left; Arrow keeps it for later ones."""
    pa.default_memory_pool().release_unused()


def without_nulls(table: pa.Table) -> pa.Table:
    """The table without the columns that are null throughout."""
    names = [name for name in table.column_names if table[name].null_count < table.num_rows]
    return table.select(names)


def lean(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Those of the columns that hold anything; text, where it repeats itself, as a dictionary."""
    found = without_nulls(table.select(columns))
    for index, field in enumerate(found.schema):
        if field.type == TEXT and field.name != "key":
            texts = found.column(index).dictionary_encode().unify_dictionaries()
            found = found.set_column(index, field.name, texts)
    return found


def in_order(table: pa.Table, cases: Sequence[str]) -> pa.Table:
    """Sorted by case, in the order of `cases`, then seq, then attempt; the same rows give the same table.

    Piece by piece: rows are nearly in this order when they are written, so that each comes from nearby.
    """
    keyed = pa.table(
        {
            "case": pc.index_in(table["case"], pa.array(cases, TEXT)),
            "seq": table["seq"],
            "attempt": table["attempt"],
        }
    )
    order = pc.sort_indices(keyed, sort_keys=[(name, "ascending") for name in keyed.column_names])
    steps = [_step(order.slice(at, PIECE)) for at in range(0, len(order), PIECE)]
    columns = {name: table[name] for name in without_nulls(table).column_names}
    del table, keyed  # each column is let go as soon as it has been moved
    moved = {}
    for name in list(columns):
        moved[name] = _moved(columns.pop(name), steps)
    return complete(pa.table(moved)) if steps else table_of([])


class _Step(NamedTuple):
    """Where the next rows come from: indices into a slice."""

    first: int
    length: int
    indices: pa.Array


def _step(order: pa.Array) -> _Step:
    ends = pc.min_max(order).as_py()
    first = pa.scalar(ends["min"], order.type)
    return _Step(ends["min"], ends["max"] - ends["min"] + 1, pc.subtract(order, first))


def _moved(column: pa.ChunkedArray, steps: Sequence[_Step]) -> pa.ChunkedArray:
    pieces = [column.slice(step.first, step.length).take(step.indices) for step in steps]
    return pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], column.type)


def misaccounted(batch: pa.RecordBatch) -> int:
    """Rows whose outcome and recipients disagree: accepted is for one at least and no more than there are,
    and what was rejected, failed or dropped is for none."""
    outcome = batch.column("outcome")
    people, taken = batch.column("recipients"), batch.column("recipients_accepted")
    accepted = pc.equal(outcome, "accepted")
    known = pc.or_(accepted, pc.equal(outcome, "unknown"))
    too_few_or_many = pc.or_(pc.less(taken, 1), pc.greater(taken, people))
    for_somebody = pc.and_(pc.invert(known), pc.greater(taken, 0))
    return pc.sum(pc.or_(pc.and_(accepted, too_few_or_many), for_somebody)).as_py() or 0


def last_ns(table: pa.Table) -> int:
    """The last moment that any row knows of; 0 where none does."""
    found = (pc.max(table[name]).as_py() for name in ("ready_ns", "end_ns"))
    return max((value for value in found if value is not None), default=0)


def duplicates(table: pa.Table) -> int:
    """How many rows repeat the case, seq and attempt of another; the table is `in_order`."""
    before, after = table.slice(0, max(0, table.num_rows - 1)), table.slice(1)
    repeats = [pc.equal(before[name], after[name]) for name in ("seq", "attempt", "case")]
    return int(pc.sum(reduce(pc.and_, repeats)).as_py() or 0)


def _complete(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Arrow does not hold a batch to its schema's nullability; we do. Raises ValueError."""
    for name in _REQUIRED:
        if batch.column(name).null_count:
            raise ValueError(f"a row has no {name}")
    return batch


def _columns_of(samples: Sequence[Sample]) -> dict[str, Values]:
    """The columns by name, without the phases that no sample has."""
    found: dict[str, Any] = dict(zip(Sample._fields, zip(*samples, strict=True), strict=True))
    phases: Sequence[dict[str, int]] = found.pop("phases")
    found["reply"] = _cut(found["reply"])
    present: set[str] = set().union(*phases)
    if unknown := present.difference(PHASES):
        raise ValueError(f"unknown phases: {', '.join(sorted(unknown))}")
    for phase in present:
        found[f"{phase}_ns"] = tuple([each.get(phase) for each in phases])
    return found


def _cut(replies: Sequence[bytes | None]) -> Values:
    if max(map(len, filter(None, replies)), default=0) <= REPLY_BYTES:
        return tuple(replies)
    return tuple(reply and reply[:REPLY_BYTES] for reply in replies)
