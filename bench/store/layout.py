"""Columns of Python values laid out as Arrow has them: quickly where they are plain, by Arrow where not."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa

from bench.store.ipc import Column

Values = tuple[object, ...]
"""One column of some samples."""


class Layout(NamedTuple):
    """How the values of one Arrow type are laid out."""

    nulls: Callable[[int], Column]
    """So many nulls."""
    same: Callable[[object, int], Column]
    """One value, so many times."""
    each: Callable[[Values], Column]


def array_of(values: Values, kind: pa.DataType) -> pa.Array:
    """Right for whatever values. Raises ValueError, TypeError or OverflowError."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([_printable(value) for value in values], kind)


def _printable(value: object) -> object:
    """Text that was decoded with surrogates (which no UTF-8 file may hold), escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _by_arrow(kind: pa.DataType, values: Values) -> Column:
    array = array_of(values, kind)
    return Column(array.null_count, tuple(b"" if b is None else b.to_pybytes() for b in array.buffers()))


def _fixed_nulls(width: int, count: int) -> Column:
    return Column(count, (_bits(0, count), bytes(width * count)))


def _bits(byte: int, count: int) -> bytes:
    return bytes((byte,)) * ((count + 7) // 8)


# ------------------------------------------------------------------------- integers


def _integers(code: str, kind: pa.DataType, values: Values) -> Column:
    try:
        return Column(0, (b"", struct.pack(f"={len(values)}{code}", *values)))
    except struct.error:
        return _by_arrow(kind, values)


def _integer(code: str, kind: pa.DataType, value: object, count: int) -> Column:
    try:
        return Column(0, (b"", struct.pack(f"={code}", value) * count))
    except struct.error:
        return _by_arrow(kind, (value,) * count)


# ------------------------------------------------------------------------- booleans


def _flag(kind: pa.DataType, value: object, count: int) -> Column:
    if value is True or value is False:
        return Column(0, (b"", _bits(0xFF if value else 0, count)))
    return _by_arrow(kind, (value,) * count)


# ------------------------------------------------------------------- text and bytes


def _varying_nulls(count: int) -> Column:
    return Column(count, (_bits(0, count), bytes(4 * (count + 1)), b""))


def _texts(kind: pa.DataType, values: Values) -> Column:
    try:
        joined = "".join(values)  # type: ignore[arg-type]  # what is no text is the TypeError
    except TypeError:
        return _by_arrow(kind, values)
    if not joined.isascii():
        return _by_arrow(kind, values)
    return Column(0, (b"", _offsets(values), joined.encode()))


def _byte_strings(kind: pa.DataType, values: Values) -> Column:
    try:
        joined = b"".join(values)  # type: ignore[arg-type]  # what is no bytes is the TypeError
    except TypeError:
        return _by_arrow(kind, values)
    return Column(0, (b"", _offsets(values), joined))


def _offsets(values: Values) -> bytes:
    ends = accumulate(map(len, values))  # type: ignore[arg-type]  # each has been joined
    return struct.pack(f"={len(values) + 1}i", 0, *ends)


def _text(kind: pa.DataType, value: object, count: int) -> Column:
    if isinstance(value, str) and value.isascii():
        return _repeated(value.encode(), count)
    return _by_arrow(kind, (value,) * count)


def _byte_string(kind: pa.DataType, value: object, count: int) -> Column:
    if isinstance(value, bytes):
        return _repeated(value, count)
    return _by_arrow(kind, (value,) * count)


def _repeated(value: bytes, count: int) -> Column:
    offsets = _steps(len(value), 1 << count.bit_length())[: 4 * (count + 1)]
    return Column(0, (b"", offsets, value * count))


@lru_cache(64)
def _steps(size: int, count: int) -> bytes:
    """The offsets of `count` values of the same size, and more than needed, so that few have to be made."""
    return (
        struct.pack(f"={count + 1}i", *range(0, size * (count + 1) or 1, size))
        if size
        else bytes(4 * (count + 1))
    )


INT64, INT32, TEXT, BYTES, BOOL = pa.int64(), pa.int32(), pa.string(), pa.binary(), pa.bool_()

_LAYOUTS: Sequence[tuple[pa.DataType, Layout]] = (
    (INT64, Layout(partial(_fixed_nulls, 8), partial(_integer, "q", INT64), partial(_integers, "q", INT64))),
    (INT32, Layout(partial(_fixed_nulls, 4), partial(_integer, "i", INT32), partial(_integers, "i", INT32))),
    (TEXT, Layout(_varying_nulls, partial(_text, TEXT), partial(_texts, TEXT))),
    (BYTES, Layout(_varying_nulls, partial(_byte_string, BYTES), partial(_byte_strings, BYTES))),
    (
        BOOL,
        Layout(
            lambda count: Column(count, (_bits(0, count),) * 2),
            partial(_flag, BOOL),
            partial(_by_arrow, BOOL),
        ),
    ),
)


def layout_of(kind: pa.DataType) -> Layout:
    """The layout for a type of our columns."""
    return next(layout for each, layout in _LAYOUTS if each == kind)
