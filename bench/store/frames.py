"""The raw log as a file of frames: what a crash leaves of it can be told from what it tore.

A frame is a header (magic, version, kind, length, sequence number, CRC-32 of the header before it and the
payload) and the payload. One frame is one write, so a reader stops at the first frame that is not whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from bench.errors import ResultFormatError, StorageError
from bench.store.files import NEW, PRIVATE, Write, write_all

MAGIC = b"SBLG"
VERSION = 1
_HEAD = struct.Struct("<4sBBxxIQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CRC.size
MAX_PAYLOAD_BYTES = 64 << 20
"""No frame of ours comes near; a longer one is garbage."""

data_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class Kind(IntEnum):
    """What a frame holds."""

    HEAD = 1
    """the Arrow schema of the rows"""
    CASE = 2
    """JSON: a case has begun (`replay.OpenCase`)"""
    RESERVED = 3
    """JSON: these messages are about to be sent (`replay.Reservation`)"""
    ROWS = 4
    """an Arrow record batch"""
    CASE_END = 5
    """JSON: the case has ended; every message it started has its row"""
    TICK = 6
    """JSON: wall clock, monotonic clock and what the sync before it took"""
    FINISH = 7
    """JSON: the run has ended; `whole` if every message it started has its row"""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `payload` has been checked."""

    kind: int
    sequence: int
    payload: bytes


def pack(kind: int, sequence: int, payload: bytes) -> bytes:
    """The bytes of a frame."""
    head = _HEAD.pack(MAGIC, VERSION, kind, len(payload), sequence)
    return b"".join((head, _CRC.pack(zlib.crc32(payload, zlib.crc32(head))), payload))


class FrameFile:
    """Appends frames to a new file, from any thread.

    After the first error nothing more is written: the file is cut back to its last whole frame, `failure`
    says why, and every later call raises StorageError. A failed sync is never tried again: the kernel may
    have dropped the pages it could not write. The lock on the file tells readers that the writer lives.
    """

    def __init__(
        self, path: Path, *, write: Write = os.write, sync: Callable[[int], None] = data_sync
    ) -> None:
        self._name = path.name
        self._write, self._sync = write, sync
        self._fd = os.open(path, NEW | os.O_APPEND, PRIVATE)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._lock = threading.Lock()
        self._sequence = 0
        self._size = 0
        self.failure: str | None = None

    def append(self, kind: int, payload: bytes) -> None:
        """Write one frame; it is with the kernel when this returns. Raises StorageError."""
        with self._lock:
            self.check()
            frame = pack(kind, self._sequence, payload)
            try:
                write_all(self._fd, frame, self._write)
            except OSError as error:
                with contextlib.suppress(OSError):  # if it cannot be cut, a reader drops the torn frame
                    os.ftruncate(self._fd, self._size)
                raise self.fail(f"cannot write {self._name}: {error.strerror}") from error
            self._sequence += 1
            self._size += len(frame)

    def sync(self) -> None:
        """Wait until everything written is on the disk. Raises StorageError."""
        self.check()
        try:
            self._sync(self._fd)
        except OSError as error:
            raise self.fail(f"{self._name} may be damaged: the disk reports {error.strerror}") from error

    def check(self) -> None:
        """Raise StorageError once something has failed."""
        if self.failure is not None:
            raise StorageError(self.failure)

    def fail(self, why: str) -> StorageError:
        """Take no more frames; the first reason is kept."""
        self.failure = self.failure or why
        return StorageError(self.failure)

    def close(self) -> None:
        """Give the descriptor and the lock back; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FrameReader:
    """Iterates over the whole frames of a file and then knows where they end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.frames = 0
        self.whole_bytes = 0

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            self.frames += 1
            self.whole_bytes += HEADER_BYTES + len(frame.payload)
            yield frame

    def _next(self) -> Frame | None:
        """The next frame; None at the end and where something is torn. Raises ResultFormatError."""
        header = self._stream.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return None
        magic, version, kind, length, sequence = _HEAD.unpack_from(header)
        if magic != MAGIC or sequence != self.frames or length > MAX_PAYLOAD_BYTES:
            return None
        payload = self._stream.read(length)
        checksum = zlib.crc32(payload, zlib.crc32(header[: _HEAD.size]))
        if len(payload) < length or checksum != _CRC.unpack_from(header, _HEAD.size)[0]:
            return None
        if version != VERSION:
            raise ResultFormatError(f"the raw log has version {version}; this sendbench reads {VERSION}")
        return Frame(kind, sequence, payload)


def writer_lives(path: Path) -> bool:
    """Whether a process of this machine still holds the log open for writing. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
