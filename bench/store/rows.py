"""The sample row in Arrow's terms, and samples turned into it a column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc

from bench.model import PHASES, Sample

REPLY_BYTES = 512

_INT64, _INT32, _TEXT, _BYTES, _BOOL = pa.int64(), pa.int32(), pa.string(), pa.binary(), pa.bool_()


def _field(name: str, kind: pa.DataType, *, null: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=null)


SCHEMA = pa.schema(
    [
        _field("case", _TEXT, null=False),
        _field("key", _TEXT, null=False),
        _field("seq", _INT64, null=False),
        _field("attempt", _INT32, null=False),
        _field("worker", _INT32, null=False),
        _field("warmup", _BOOL, null=False),
        _field("cold", _BOOL, null=False),
        _field("due_ns", _INT64),
        _field("ready_ns", _INT64),
        _field("start_ns", _INT64),
        _field("end_ns", _INT64),
        *(_field(f"{phase}_ns", _INT64) for phase in PHASES),
        _field("quit_ns", _INT64),
        _field("round_trips", _INT32),
        _field("connection_id", _INT64),
        _field("connection_use", _INT64),
        _field("client", _TEXT, null=False),
        _field("http_version", _TEXT),
        _field("tls_version", _TEXT),
        _field("outcome", _TEXT, null=False),
        _field("phase_at_end", _TEXT),
        _field("code", _INT32),
        _field("enhanced_code", _TEXT),
        _field("reply", _BYTES),
        _field("error", _TEXT),
        _field("errno", _INT32),
        _field("anomaly", _TEXT),
        _field("notes", _TEXT),
        _field("replies", _BYTES),
        _field("tcp_rtt_ns", _INT64),
        _field("retransmits", _INT64),
        _field("recipients", _INT32, null=False),
        _field("recipients_accepted", _INT32),
        _field("bytes_sent", _INT64),
        _field("message_id", _TEXT),
        _field("batch_id", _TEXT),
        _field("batch_index", _INT32),
    ]
)
"""One row per attempt, and one with attempt 0 for a dropped message. Times: ns on the run's clock."""

COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
_REQUIRED = tuple(field.name for field in SCHEMA if not field.nullable)
_PHASE_OF = {f"{phase}_ns": phase for phase in PHASES}
_PLAIN = tuple(name for name in COLUMNS if name not in _PHASE_OF)
_values_of = attrgetter("phases", *_PLAIN)


def batch_of(samples: Sequence[Sample]) -> pa.RecordBatch:
    """The rows of some samples, at least one. Raises ValueError, TypeError or OverflowError."""
    phases, *columns = zip(*map(_values_of, samples), strict=True)
    arrays = {
        name: _array(values, SCHEMA.field(name).type)
        for name, values in zip(_PLAIN, columns, strict=True)
        if name != "reply"
    }
    arrays["reply"] = pa.array([reply and reply[:REPLY_BYTES] for reply in columns[_REPLY]], _BYTES)
    arrays |= _phase_arrays(phases)
    return _complete(pa.RecordBatch.from_arrays([arrays[name] for name in COLUMNS], schema=SCHEMA))


_REPLY = _PLAIN.index("reply")


def encode(samples: Sequence[Sample]) -> bytes:
    """`batch_of` as the payload of a frame."""
    payload: bytes = batch_of(samples).serialize().to_pybytes()
    return payload


def encode_schema() -> bytes:
    """The schema as the payload of a log's first frame."""
    payload: bytes = SCHEMA.serialize().to_pybytes()
    return payload


def decode(payload: bytes) -> pa.RecordBatch:
    """A record batch of the log. Raises ValueError (pa.ArrowInvalid is one) or OSError for what is none."""
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


def in_order(table: pa.Table, cases: Sequence[str]) -> pa.Table:
    """Sorted by case, in the order of `cases`, then seq, then attempt; the same rows give the same table."""
    keyed = pa.table(
        {
            "case": pc.index_in(table["case"], pa.array(cases, _TEXT)),
            "seq": table["seq"],
            "attempt": table["attempt"],
        }
    )
    order = pc.sort_indices(keyed, sort_keys=[(name, "ascending") for name in keyed.column_names])
    return table.take(order).combine_chunks()


def duplicates(table: pa.Table) -> int:
    """How many rows repeat the key and attempt of another."""
    unique: int = table.group_by(["key", "attempt"]).aggregate([]).num_rows
    return int(table.num_rows) - unique


def _complete(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Arrow does not hold a batch to its schema's nullability; we do. Raises ValueError."""
    for name in _REQUIRED:
        if batch.column(name).null_count:
            raise ValueError(f"a row has no {name}")
    return batch


def _array(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([_printable(value) for value in values], kind)


def _printable(value: object) -> object:
    """Text that was decoded with surrogates (which no UTF-8 file may hold), escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _phase_arrays(phases: Sequence[Mapping[str, int]]) -> dict[str, pa.Array]:
    present = set().union(*phases)
    if unknown := present.difference(PHASES):
        raise ValueError(f"unknown phases: {', '.join(sorted(unknown))}")
    absent = pa.nulls(len(phases), _INT64)
    return {
        name: pa.array([found.get(phase) for found in phases], _INT64) if phase in present else absent
        for name, phase in _PHASE_OF.items()
    }
