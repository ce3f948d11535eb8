"""The reading side of a run folder: a finished one, one that still runs, or what a crash has left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from bench.errors import ResultFormatError, StorageError
from bench.model import Manifest, Taken, WireConnection
from bench.store import codec, files, run
from bench.store.frames import writer_lives
from bench.store.share import LOG, SHARE_LOGS, logs_of

if TYPE_CHECKING:
    import pyarrow as pa

    from bench.store.replay import Recovery, Replay

MAX_MANIFEST_BYTES = 64 << 20
UNFINISHED = ("running", "finalising")
STATES = (*UNFINISHED, *run.END_STATES)
OURS = (run.MANIFEST, run.SCENARIO, LOG, run.PARQUET)


def open_run(folder: Path) -> StoredRun:
    """Open a run folder without changing anything in it. Raises ResultFormatError."""
    folder = folder.resolve() if folder.is_symlink() else folder
    manifest = read_manifest(folder)
    if manifest.rows is not None:
        return StoredRun(folder, manifest)
    from bench.store.replay import replay

    logs = logs_of(folder)
    try:
        lives = any(writer_lives(log) for log in logs)
    except OSError as error:
        raise ResultFormatError(f"{error.filename}: cannot be read: {error.strerror}") from error
    found = replay(logs, manifest.cases)
    manifest = replace(manifest, cases=found.cases)
    if manifest.state in UNFINISHED and not lives:
        why = f"cut off while {manifest.state}: {found.recovery}"
        manifest = replace(manifest, state="aborted", reason=manifest.reason or why)
    return StoredRun(folder, manifest, found)


def read_manifest(folder: Path) -> Manifest:
    """What a run folder says about itself, as it stands there. Raises ResultFormatError."""
    path = folder / run.MANIFEST
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ResultFormatError(
            f"{folder} is not a run folder: no {run.MANIFEST} can be read: {error.strerror}"
        ) from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise ResultFormatError(f"{path}: larger than any run makes it")
    try:
        manifest = _parse_manifest(codec.load(text))
    except ValueError as error:
        raise ResultFormatError(f"{path}: {error}") from error
    return manifest


@dataclass(slots=True)
class StoredRun:
    """A run folder. Nothing in it is changed but by `write` and `condemn`."""

    folder: Path
    manifest: Manifest
    """A run that was cut off shows as aborted, with the cases that had not ended made up from their rows."""
    _replay: Replay | None = field(default=None, repr=False)
    _table: pa.Table | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The run's name, whatever its folder is called now."""
        return self.manifest.id

    @property
    def recovery(self) -> Recovery | None:
        """What was saved of a run that was cut off (or still runs); None if it came to its end in order."""
        return None if self._replay is None or self._replay.whole else self._replay.recovery

    @property
    def scenario_source(self) -> bytes:
        """The scenario file as it was given. Raises ResultFormatError."""
        return self._read(run.SCENARIO)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every row, by case (in the manifest's order), seq and attempt. Raises ResultFormatError.

        With `columns` a table made to be worked on: those of them that hold anything, and text as
        dictionaries, except for keys.
        """
        from bench.store import parquet, rows

        whole = self._replay.table if self._replay is not None else self._table
        if columns is not None:
            path, expected = self.folder / run.PARQUET, self.manifest.rows or 0
            return parquet.read(path, expected, columns) if whole is None else rows.lean(whole, columns)
        if whole is None:
            whole = self._table = parquet.read(self.folder / run.PARQUET, self.manifest.rows or 0)
        return whole

    def takes(self, case_index: int) -> pa.Table | None:
        """What the mock of a case took, with the columns of `model.Taken`; None if it kept no log.

        Raises ResultFormatError.
        """
        return self._lines(run.mock_log_name(case_index), Taken)

    def wires(self, case_index: int) -> list[WireConnection] | None:
        """The connections the shaper of a case saw; None if there was none. Raises ResultFormatError."""
        table = self._lines(run.wire_log_name(case_index), WireConnection)
        return None if table is None else [WireConnection(**line) for line in table.to_pylist()]

    def write(self, name: str, data: bytes) -> Path:
        """Put a file that was derived from the run into its folder. Raises StorageError."""
        ours = name in OURS or PurePath(name).match(SHARE_LOGS)
        if not name or ours or name.startswith(".") or Path(name).name != name:
            raise ValueError(f"{name!r} is not the name of a derived file")
        path = self.folder / name
        try:
            files.replace_file(path, data)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        return path

    def condemn(self, reason: str | None) -> None:
        """Mark a run that came to its end as invalid: analysis found its accounting violated.

        Raises StorageError.
        """
        if self.manifest.state != "complete":
            return
        self.manifest = replace(self.manifest, state="invalid", reason=reason)
        try:
            run.save_manifest(self.folder, self.manifest)
        except OSError as error:
            raise StorageError(f"cannot write {self.folder / run.MANIFEST}: {error.strerror}") from error

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ResultFormatError(f"{self.folder / name}: cannot be read: {error.strerror}") from error

    def _lines(self, name: str, kind: type) -> pa.Table | None:
        path = self.folder / name
        if not path.exists():
            return None
        from bench.store import lines, rows

        rows.give_back()  # millions of lines need the memory of the table, if that has become a frame
        try:
            return lines.read(path, kind)
        except OSError as error:
            raise ResultFormatError(f"{path}: cannot be read: {error.strerror}") from error


def _parse_manifest(data: codec.Json) -> Manifest:
    if not isinstance(data, dict):
        raise ValueError("not an object")
    schema = data.get("schema")
    if schema != run.MANIFEST_SCHEMA:
        raise ValueError(f"schema {schema!r}, but this sendbench reads {run.MANIFEST_SCHEMA!r}")
    manifest = codec.decode(Manifest, data)
    if manifest.state not in STATES:
        raise ValueError(f"state: {manifest.state!r} is none of {', '.join(STATES)}")
    return manifest
