"""The logs of the mock: complete, and in the documented form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import StorageError
from bench.mock.log import BLOCK_LINES, TakenLog, WireLog, read_taken
from bench.model import Taken, WireConnection

ODD_KEYS = ["", 'a"b\\c', "ä\u2028\x00", "run-1"]


def test_every_line_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "taken.jsonl"
    taken = [Taken(key, 1, 2, 3) for key in ODD_KEYS] + [
        Taken(f"k-{number}", number, number + 1, number + 2) for number in range(2 * BLOCK_LINES)
    ]
    with TakenLog(path) as log:
        for each in taken:
            log.add(each)
    assert list(read_taken(path)) == taken
    assert set(json.loads(path.read_text().splitlines()[0])) == {
        "key",
        "received_ns",
        "taken_ns",
        "answered_ns",
    }


def test_lines_wait_for_a_block_or_a_flush(tmp_path: Path) -> None:
    path = tmp_path / "taken.jsonl"
    with TakenLog(str(path)) as log:
        log.add(Taken("a", 1, 2, 3))
        assert path.read_bytes() == b""
        log.flush()
        assert [each.key for each in read_taken(path)] == ["a"]
        for _ in range(BLOCK_LINES):
            log.add(Taken("b", 1, 2, 3))
        assert len(path.read_bytes().splitlines()) == BLOCK_LINES + 1
        log.close()
        log.close()


def test_a_log_goes_on_where_it_ended_and_a_line_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "taken.jsonl"
    for key in "ab":
        with TakenLog(path) as log:
            log.add(Taken(key, 1, 2, 3))
    with path.open("a") as file:
        file.write('{"key": "c", "rec')
    assert [each.key for each in read_taken(path)] == ["a", "b"]


def test_without_a_path_nothing_is_kept() -> None:
    with TakenLog(None) as log:
        log.add(Taken("a", 1, 2, 3))
        log.flush()


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        TakenLog(tmp_path / "none" / "taken.jsonl")


def test_a_full_disk_is_said_by_every_flush_from_then_on() -> None:
    log = TakenLog("/dev/full")
    for _ in range(3 * BLOCK_LINES):
        log.add(Taken("a", 1, 2, 3))  # answers a client: must not raise
    for _ in range(2):
        with pytest.raises(StorageError, match="No space left"):
            log.flush()
    with pytest.raises(StorageError, match="No space left"):
        log.close()
    log.close()


def test_connections(tmp_path: Path) -> None:
    wire = WireConnection(connection=1, client_port=2, turn_arounds=3, bytes_up=4, bytes_down=5)
    with WireLog(tmp_path / "wire.jsonl") as log:
        log.add(wire)
    assert WireConnection(**json.loads((tmp_path / "wire.jsonl").read_text())) == wire
