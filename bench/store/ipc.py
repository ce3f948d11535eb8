"""A record batch as the message that Arrow IPC makes of it, from buffers and without making arrays.

Fifty columns as Arrow arrays cost more than the few rows of a quiet moment. The layout is that of the Arrow
columnar format, version 5: https://arrow.apache.org/docs/format/Columnar.html (message, buffers, nulls).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

_ALIGNMENT = 8
_PADDING = tuple(bytes(-size % _ALIGNMENT) for size in range(_ALIGNMENT))

# The flatbuffer of a message of one record batch. Its tables have fixed places: first the Message (version,
# kind and size of the body), then the RecordBatch (rows, and where its two vectors begin), then the vectors.
_HEAD = struct.Struct(
    "<IHHHHHH"  # the way to the Message; its vtable
    "iIqhBxxxxx"  # to its vtable, to the RecordBatch, bytes of the body, version, kind
    "HHHHHxxxxxx"  # the vtable of the RecordBatch
    "ixxxxqII"  # to its vtable, rows, to the nodes, to the buffers
    "xxxxI"  # how many nodes; they follow
)  # fmt: skip
_VERSION, _RECORD_BATCH = 4, 3
_NODES_COUNT_AT = _HEAD.size - 4
_BATCH_AT = 56
_TO_NODES_AT, _TO_BUFFERS_AT = _BATCH_AT + 16, _BATCH_AT + 20
_FIXED = (
    16, 12, 24, 16, 18, 4, 8,
    12, _BATCH_AT - 20, 0, _VERSION, _RECORD_BATCH,
    10, 24, 8, 16, 20, 16,
)  # fmt: skip
"""The head up to the rows; the size of the body, which is 0 here, is the one thing in it that changes."""
_PREFIX = struct.Struct("<Ii")
_CONTINUATION = 0xFFFFFFFF
_NODE_BYTES = 16


def is_plain(payload: bytes) -> bool:
    """Whether a message is laid out as `message` lays it out. One of another's making may be compressed, and
    a few bytes of that become more than any memory holds."""
    if len(payload) < _PREFIX.size + _HEAD.size:
        return False
    found = _HEAD.unpack_from(payload, _PREFIX.size)
    return (*found[:9], 0, *found[10 : len(_FIXED)]) == _FIXED


class Column(NamedTuple):
    """The values of one column, laid out as Arrow has them."""

    nulls: int
    buffers: tuple[bytes, ...]
    """Validity (empty: no value is null), for text and bytes the offsets, values."""


def message(rows: int, columns: Sequence[Column]) -> bytes:
    """The message of a batch of at least one row. A column that comes again, as nulls do, is written once."""
    body: list[bytes] = []
    size = 0
    written: dict[int, list[int]] = {}
    nodes: list[int] = []
    spans: list[int] = []
    for column in columns:
        nodes += (rows, column.nulls)
        placed = written.get(id(column))
        if placed is None:
            placed = written[id(column)] = []
            for data in column.buffers:
                length = len(data)
                placed += (size, length)
                body += (data, _PADDING[length % _ALIGNMENT])
                size += length + -length % _ALIGNMENT
        spans += placed
    return b"".join((_metadata(rows, nodes, spans, size), *body))


def _metadata(rows: int, nodes: list[int], spans: list[int], body_size: int) -> bytes:
    buffers_count_at = _HEAD.size + _NODE_BYTES * (len(nodes) // 2) + 4
    head = _HEAD.pack(
        *_FIXED[:9], body_size, *_FIXED[10:],
        rows, _NODES_COUNT_AT - _TO_NODES_AT, buffers_count_at - _TO_BUFFERS_AT,
        len(nodes) // 2,
    )  # fmt: skip
    vectors = struct.pack(f"<{len(nodes)}q4xI{len(spans)}q", *nodes, len(spans) // 2, *spans)
    return b"".join((_PREFIX.pack(_CONTINUATION, len(head) + len(vectors)), head, vectors))
