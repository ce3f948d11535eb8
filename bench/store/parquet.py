"""samples.parquet: derived from the raw log, the same bytes for the same rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import ResultFormatError, StorageError
from bench.limits import memory_within
from bench.store import rows
from bench.store.files import NEW, PRIVATE, replacing

ZSTD_LEVEL = 3
MAX_ROWS_PER_BYTE = 16
"""Of the file; ours has far fewer. What holds more has been made to fill somebody's memory."""
MAX_PIECE_BYTES = 2 << 30
"""Of a row group before its dictionaries are put in."""
MEMORY_BYTES, MEMORY_PER_BYTE = 4 << 30, 128
"""What reading may take, and what it may take for each byte of the file: a dictionary holds a long text once
and the table holds it a million times."""
_UNIQUE = ("key", "reply", "message_id")
"""Texts that hardly ever repeat: no smaller with a dictionary, and a third of the work."""
_REPEATING = [name for name in rows.TEXTS if name not in _UNIQUE]
_STEPS = dict.fromkeys(rows.NUMBERS, "DELTA_BINARY_PACKED")
"""Neighbours are alike: as differences they are a fifth smaller, and written and read in less time."""


def write(path: Path, table: pa.Table, log_sha256: str) -> None:
    """Write the table, read it back, compare, and only then give it its name. The file says what it was made
    from: the raw log's digest, and how many rows that had.

    Raises StorageError when it cannot be written or does not come back as it was.
    """
    try:
        with replacing(path) as temporary:
            origin = {"sendbench.log_sha256": log_sha256, "sendbench.rows": str(table.num_rows)}
            _write(temporary, table.replace_schema_metadata(origin))
            _verify(temporary, table)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot write {path.name}: {_one_line(error)}") from error


def read(path: Path, expected: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a finished run, which must have `expected` rows. Raises ResultFormatError.

    With `columns` nothing else is read, and what is read comes `rows.lean`.
    """
    try:
        size = path.stat().st_size
        with (
            memory_within(MEMORY_BYTES + MEMORY_PER_BYTE * size),
            pq.ParquetFile(path, memory_map=False, page_checksum_verification=True) as file,
        ):
            if not file.schema_arrow.equals(rows.SCHEMA):
                raise ResultFormatError(f"{path}: it has other columns than this sendbench knows")
            _check_size(file, size)
            pieces = [rows.table_of([]).select(columns or rows.COLUMNS), *_pieces(file, columns)]
            table = pa.concat_tables(pieces)
    except MemoryError as error:
        raise ResultFormatError(f"{path}: takes more memory than any file of its size should") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ResultFormatError(f"{path}: cannot be read: {_one_line(error)}") from error
    if table.num_rows != expected:
        raise ResultFormatError(f"{path}: {table.num_rows} rows, but the manifest speaks of {expected}")
    return table if columns is None else rows.lean(table, columns)


def _pieces(file: pq.ParquetFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """The row groups; what is null throughout one takes no memory, whatever its statistics say."""
    for number in range(file.num_row_groups):
        piece = file.read_row_group(number, columns=columns)
        piece.validate(full=True)
        yield rows.complete(rows.without_nulls(piece)).select(piece.column_names)


def _check_size(file: pq.ParquetFile, size: int) -> None:
    """Refuse what becomes too large when it is read: it may be a stranger's. Raises ValueError."""
    meta = file.metadata
    if meta.num_rows > MAX_ROWS_PER_BYTE * size:
        raise ValueError(f"{meta.num_rows} rows in {size} bytes")
    groups = map(meta.row_group, range(meta.num_row_groups))
    if any(group.num_rows > rows.PIECE or group.total_byte_size > MAX_PIECE_BYTES for group in groups):
        raise ValueError("a row group is larger than any that sendbench writes")


def _write(path: Path, table: pa.Table) -> None:
    fd = os.open(path, NEW, PRIVATE)
    with os.fdopen(fd, "wb") as stream:
        pq.write_table(
            table,
            stream,
            row_group_size=rows.PIECE,
            use_dictionary=_REPEATING,
            column_encoding=_STEPS,
            write_statistics=False,  # nothing reads a part of a row group
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            version="2.6",
            write_page_checksum=True,
        )
        stream.flush()
        os.fsync(fd)


def _verify(path: Path, table: pa.Table) -> None:
    """Of a column that is null throughout, nothing is in the file that could be damaged."""
    table = rows.without_nulls(table)
    with pq.ParquetFile(path, memory_map=False, page_checksum_verification=True) as file:
        same = file.metadata.num_rows == table.num_rows
        for number, at in enumerate(range(0, table.num_rows, rows.PIECE)):
            piece = table.slice(at, rows.PIECE)
            same = same and file.read_row_group(number, columns=table.column_names).equals(piece)
        if not same:
            raise StorageError(f"{path.name} does not read back as it was written")


def _one_line(error: Exception) -> str:
    """Arrow's messages run over several lines."""
    return " ".join(str(error).split())
