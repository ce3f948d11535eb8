"""What a crash, a full disk or a broken disk leaves of the raw log."""

from __future__ import annotations

import errno
import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ResultFormatError, StorageError
from bench.store.frames import HEADER_BYTES, Frame, FrameFile, FrameReader, pack, writer_lives

PAYLOADS = [b"", b"one", b"two" * 50, bytes(range(256)), b"SBLG" * 9]
WHOLE = b"".join(pack(3, number, payload) for number, payload in enumerate(PAYLOADS))


def read(data: bytes) -> tuple[list[bytes], int]:
    reader = FrameReader(io.BytesIO(data))
    return [frame.payload for frame in reader], reader.whole_bytes


def ends() -> list[int]:
    """The length of the log after each frame."""
    lengths, total = [], 0
    for payload in PAYLOADS:
        total += HEADER_BYTES + len(payload)
        lengths.append(total)
    return lengths


def test_frames_come_back() -> None:
    reader = FrameReader(io.BytesIO(WHOLE))
    assert list(reader) == [Frame(3, number, payload) for number, payload in enumerate(PAYLOADS)]
    assert (reader.frames, reader.whole_bytes) == (len(PAYLOADS), len(WHOLE))


def test_torn_at_every_byte() -> None:
    for length in range(len(WHOLE) + 1):
        payloads, whole_bytes = read(WHOLE[:length])
        intact = sum(end <= length for end in ends())
        assert payloads == PAYLOADS[:intact]
        assert whole_bytes == ([0, *ends()])[intact]


def test_every_flipped_bit_is_seen() -> None:
    """CRC-32 finds every single-bit error; nothing at or after it is believed."""
    for position in range(len(WHOLE)):
        for bit in (0, 3, 7):
            broken = bytearray(WHOLE)
            broken[position] ^= 1 << bit
            payloads, _ = read(bytes(broken))
            assert payloads == PAYLOADS[: sum(end <= position for end in ends())]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.binary(max_size=200))
def test_garbage_after_whole_frames_is_left_out(payloads: list[bytes], garbage: bytes) -> None:
    data = b"".join(pack(4, number, payload) for number, payload in enumerate(payloads))
    assert read(data + garbage) == (payloads, len(data))


def test_a_frame_out_of_sequence_ends_the_log() -> None:
    assert read(pack(3, 0, b"a") + pack(3, 2, b"c"))[0] == [b"a"]
    assert read(pack(3, 0, b"a") * 2)[0] == [b"a"]


def test_a_newer_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.store.frames.VERSION", 9)
    newer = pack(3, 0, b"x")
    monkeypatch.undo()
    with pytest.raises(ResultFormatError, match="version 9"):
        read(newer)


def test_short_writes_are_continued(tmp_path: Path) -> None:
    dice = random.Random(5)

    def stingy(fd: int, data: bytes | memoryview) -> int:
        return os.write(fd, data[: dice.randint(1, 7)])

    file = FrameFile(tmp_path / "log", write=stingy)
    for payload in PAYLOADS:
        file.append(3, payload)
    file.close()
    assert (tmp_path / "log").read_bytes() == WHOLE


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failed_write_is_cut_back_to_the_last_whole_frame(tmp_path: Path, code: int) -> None:
    """A disk that fills up takes a part of a write first, and says so at the next one."""
    room = ends()[2] + 40

    def filling(fd: int, data: bytes | memoryview) -> int:
        left = room - os.fstat(fd).st_size
        if left == 0:
            raise OSError(code, os.strerror(code))
        return os.write(fd, data[:left])

    file = FrameFile(tmp_path / "log", write=filling)
    for payload in PAYLOADS[:3]:
        file.append(3, payload)
    with pytest.raises(StorageError, match="cannot write log"):
        file.append(3, PAYLOADS[3])
    assert (tmp_path / "log").read_bytes() == WHOLE[: ends()[2]]
    with pytest.raises(StorageError, match="cannot write log"):
        file.append(3, b"")
    with pytest.raises(StorageError, match="cannot write log"):
        file.sync()
    file.close()
    assert (tmp_path / "log").stat().st_size == ends()[2]


def test_a_failed_sync_is_never_tried_again(tmp_path: Path) -> None:
    calls = []

    def failing(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    file = FrameFile(tmp_path / "log", sync=failing)
    file.append(3, b"x")
    for _ in range(3):
        with pytest.raises(StorageError, match="may be damaged"):
            file.sync()
    with pytest.raises(StorageError):
        file.append(3, b"y")
    file.close()
    assert len(calls) == 1


def test_the_file_is_new_private_and_no_link(tmp_path: Path) -> None:
    file = FrameFile(tmp_path / "log")
    file.close()
    file.close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        FrameFile(tmp_path / "log")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        FrameFile(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_reader_can_tell_whether_the_writer_lives(tmp_path: Path) -> None:
    file = FrameFile(tmp_path / "log")
    assert writer_lives(tmp_path / "log")
    file.close()
    assert not writer_lives(tmp_path / "log")
