"""What the mock took: the referee for the client's record.

One JSON line a message with exactly the fields of `model.Taken`, or a connection with those of
`model.WireConnection`. Lines are put together in memory and written in blocks, so that a message costs
about a microsecond; call `flush` now and then, and `close` at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from pathlib import Path
from types import TracebackType

from bench.errors import StorageError
from bench.model import Taken, WireConnection

BLOCK_LINES = 512
"""Lines that may wait in memory; a block is written when there are so many."""


class LineLog:
    """Appends lines to a file; without a path it swallows them."""

    def __init__(self, path: str | Path | None) -> None:
        self._lines: list[str] = []
        self._failure: str | None = None
        self._fd = None
        if path is not None:
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
            except OSError as error:
                raise StorageError(f"cannot write the log {path}: {error.strerror}") from error

    def _append(self, line: str) -> None:
        if self._fd is None:
            return
        self._lines.append(line)
        if len(self._lines) >= BLOCK_LINES and self._failure is None:
            with suppress(StorageError):  # in the middle of a message nobody could act on it: flush says so
                self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system. Raises StorageError if that failed, now or ever."""
        if self._failure is not None:
            raise StorageError(self._failure)
        if self._fd is None or not self._lines:
            return
        block = memoryview("".join(self._lines).encode("ascii"))
        self._lines.clear()
        try:
            while block:
                block = block[self._fd.write(block) :]
        except OSError as error:
            self._failure = f"the mock's log cannot be written: {error.strerror}"
            raise StorageError(self._failure) from error

    def close(self) -> None:
        """Flush and close; may be called twice. Raises StorageError like `flush`."""
        if self._fd is not None:
            try:
                self.flush()
            finally:
                self._fd.close()
                self._fd = None

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class TakenLog(LineLog):
    """The messages a mock took, appended to `path` (None: not kept). Raises StorageError on opening."""

    def __enter__(self) -> TakenLog:
        return self

    def add(self, taken: Taken) -> None:
        """Note one message; cheap."""
        self._append(
            f'{{"key": {encode_basestring_ascii(taken.key)}, "received_ns": {taken.received_ns}, '
            f'"taken_ns": {taken.taken_ns}, "answered_ns": {taken.answered_ns}}}\n'
        )


class WireLog(LineLog):
    """The connections a shaper saw, appended to `path` (None: not kept). Raises StorageError on opening."""

    def __enter__(self) -> WireLog:
        return self

    def add(self, wire: WireConnection) -> None:
        """Note one connection that has ended."""
        self._append(
            f'{{"connection": {wire.connection}, "client_port": {wire.client_port}, '
            f'"turn_arounds": {wire.turn_arounds}, "bytes_up": {wire.bytes_up}, '
            f'"bytes_down": {wire.bytes_down}}}\n'
        )


def read_taken(path: str | Path) -> Iterator[Taken]:
    """The lines of a mock's log, in order; a line cut off by a crash ends it."""
    with Path(path).open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield Taken(**json.loads(line))
