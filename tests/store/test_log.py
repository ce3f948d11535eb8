"""The writing thread, with a file that does what the test wants."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench.errors import StorageError
from bench.model import Sample
from bench.store import log
from bench.store.frames import FrameFile, FrameReader, Kind
from bench.store.log import LogWriter
from tests.store.samples import make_sample


def encode(samples: Sequence[Sample]) -> bytes:
    return json.dumps([sample.seq for sample in samples]).encode()


def frames(path: Path) -> list[tuple[int, object]]:
    with path.open("rb") as stream:
        return [(frame.kind, json.loads(frame.payload)) for frame in FrameReader(stream)]


def recorded(path: Path) -> list[int]:
    return [
        seq for kind, seqs in frames(path) if kind == Kind.ROWS and isinstance(seqs, list) for seq in seqs
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def open_log(path: Path) -> Iterator[Callable[..., LogWriter]]:
    """Makes a writer, and ends its thread whatever the test does."""
    writers = []

    def make(file: FrameFile | None = None, how: Callable[[Sequence[Sample]], bytes] = encode) -> LogWriter:
        writers.append(LogWriter(file or FrameFile(path), how))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close({})


def test_rows_are_written_in_order_without_being_asked(
    path: Path, open_log: Callable[..., LogWriter]
) -> None:
    writer = open_log()
    for seq in range(2500):
        writer.put(make_sample(seq))
    writer.flush()
    assert writer.written == 2500
    assert recorded(path) == list(range(2500))
    assert max(len(seqs) for kind, seqs in frames(path) if isinstance(seqs, list)) <= log.FRAME_ROWS


def test_a_frame_written_by_the_caller_is_there_at_once(
    path: Path, open_log: Callable[..., LogWriter]
) -> None:
    writer = open_log()
    writer.write(Kind.RESERVED, {"first": 0})
    assert (Kind.RESERVED, {"first": 0}) in frames(path)


def test_closing_drains_syncs_and_says_so(path: Path) -> None:
    synced = []
    writer = LogWriter(FrameFile(path, sync=lambda fd: synced.append(os.fstat(fd).st_size)), encode)
    for seq in range(7):
        writer.put(make_sample(seq))
    writer.close({"whole": True})
    assert recorded(path) == list(range(7))
    kinds = [kind for kind, _ in frames(path)]
    assert kinds[-2:] == [Kind.TICK, Kind.FINISH]
    assert synced[-1] == path.stat().st_size
    assert writer.failure is None
    tick = dict(frames(path))[Kind.TICK]
    assert isinstance(tick, dict)
    assert sorted(tick) == ["monotonic_ns", "sync_ns", "utc"]


def test_a_full_disk_comes_up_at_the_next_call(path: Path, open_log: Callable[..., LogWriter]) -> None:
    def full_after_some(fd: int, data: bytes | memoryview) -> int:
        if os.fstat(fd).st_size > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data)

    writer = open_log(FrameFile(path, write=full_after_some))

    def put_many() -> None:
        for seq in range(1900):
            writer.put(make_sample(seq))
        writer.flush()

    with pytest.raises(StorageError, match="No space left"):
        put_many()
    with pytest.raises(StorageError, match="No space left"):
        writer.put(make_sample(1))
    with pytest.raises(StorageError, match="No space left"):
        writer.write(Kind.RESERVED, {})
    found = recorded(path)
    assert found == list(range(len(found)))
    assert 0 < len(found) == writer.written < 1900


def test_a_failed_sync_at_the_end_is_kept_as_failure(path: Path) -> None:
    def failing(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = LogWriter(FrameFile(path, sync=failing), encode)
    writer.put(make_sample(0))
    writer.close({})
    assert writer.failure is not None
    assert "Input/output error" in writer.failure
    assert recorded(path) == [0]


def test_a_sample_that_cannot_be_encoded_stops_the_log(
    path: Path, open_log: Callable[..., LogWriter]
) -> None:
    def picky(samples: Sequence[Sample]) -> bytes:
        if any(sample.seq == 3 for sample in samples):
            raise OverflowError("too large")
        return encode(samples)

    writer = open_log(how=picky)
    writer.put(make_sample(1))
    writer.flush()
    writer.put(make_sample(3))
    with pytest.raises(StorageError, match="cannot be recorded: too large"):
        writer.flush()
    assert recorded(path) == [1]


def test_a_disk_that_is_too_slow_stops_the_run(
    path: Path, open_log: Callable[..., LogWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MAX_WAITING", 1500)
    released = threading.Event()

    def stuck(samples: Sequence[Sample]) -> bytes:
        released.wait(30)
        return encode(samples)

    writer = open_log(how=stuck)

    def put_many() -> None:
        for seq in range(3000):
            writer.put(make_sample(seq))

    with pytest.raises(StorageError, match="too slow"):
        put_many()
    released.set()
