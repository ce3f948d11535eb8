"""Opening a run folder: whole, damaged, foreign, moved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import ResultFormatError, StorageError
from bench.model import Taken, WireConnection
from bench.store import StoredRun, lines, open_run
from bench.store.frames import Kind, pack
from tests.store.samples import fill, make_case, make_case_run, make_scenario, start

CASE = make_case(messages=50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete run of 30 rows."""
    with start(tmp_path / "results", make_scenario(CASE)) as writer:
        fill(writer, CASE, 30)
        writer.end_case(make_case_run(CASE))
        writer.finish("complete")
    return writer.folder


def taken(stored: StoredRun) -> list[Taken]:
    table = stored.takes(0)
    assert table is not None
    return [Taken(**line) for line in table.to_pylist()]


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(
        json.dumps({name: value for name, value in data.items() if value != "gone"}), encoding="utf-8"
    )


def test_a_folder_that_was_moved_and_renamed(folder: Path, tmp_path: Path) -> None:
    (folder / "mock-000.jsonl").write_text('{"key":"k","received_ns":1,"taken_ns":2,"answered_ns":3}\n')
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    shutil.rmtree(tmp_path / "results")
    stored = open_run(moved)
    assert stored.id == folder.name
    assert stored.table().num_rows == 30
    assert taken(stored) == [Taken("k", 1, 2, 3)]


def test_opening_changes_nothing(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.chmod(0o400)
    folder.chmod(0o500)
    open_run(folder).table()
    folder.chmod(0o700)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def with_log(folder: Path, data: bytes) -> None:
    """Put the folder back to where there was no table yet."""
    change_manifest(folder, rows=None)
    (folder / "samples.log").write_bytes(data)


def with_manifest(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)


def with_parquet(folder: Path, data: bytes) -> None:
    (folder / "samples.parquet").write_bytes(data)


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def tear(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def folder_for_manifest(folder: Path) -> None:
    without(folder, "manifest.json")
    (folder / "manifest.json").mkdir()


def other_columns(folder: Path) -> None:
    pq.write_table(pa.table({"case": ["x"] * 30}), folder / "samples.parquet")


OTHER_SCHEMA = pa.schema([("x", pa.int8())]).serialize().to_pybytes()

DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda f: without(f, "manifest.json"), "is not a run folder"),
    "manifest is a folder": (folder_for_manifest, "is not a run folder"),
    "empty manifest": (lambda f: with_manifest(f, b""), r"manifest\.json: "),
    "torn manifest": (lambda f: tear(f, "manifest.json"), r"manifest\.json: "),
    "list": (lambda f: with_manifest(f, b"[]"), "not an object"),
    "not UTF-8": (lambda f: with_manifest(f, b'{"a": "\xff"}'), r"manifest\.json: "),
    "no schema": (lambda f: change_manifest(f, schema="gone"), "schema None"),
    "newer schema": (lambda f: change_manifest(f, schema="sendbench.manifest/2"), "manifest/2.*reads"),
    "no seed": (lambda f: change_manifest(f, seed="gone"), "seed: missing"),
    "no cases": (lambda f: change_manifest(f, cases="gone"), "cases: missing"),
    "case without id": (lambda f: change_manifest(f, cases=[{}]), r"cases\[0\]\.id: missing"),
    "wrong type": (lambda f: change_manifest(f, clock_offset_ns="0"), "clock_offset_ns: .* whole number"),
    "strange state": (lambda f: change_manifest(f, state="happy"), "state: 'happy' is none of"),
    "other row count": (lambda f: change_manifest(f, rows=31), "30 rows, but the manifest speaks of 31"),
    "no parquet": (lambda f: without(f, "samples.parquet"), r"samples\.parquet: cannot be read"),
    "empty parquet": (lambda f: with_parquet(f, b""), "cannot be read"),
    "garbage parquet": (lambda f: with_parquet(f, b"PAR1" * 99), "cannot be read"),
    "torn parquet": (lambda f: tear(f, "samples.parquet"), "cannot be read"),
    "other columns": (other_columns, "other columns"),
    "no rows, no log": (lambda f: change_manifest(f, rows=None), r"samples\.log: cannot be read"),
    "log of other columns": (lambda f: with_log(f, pack(Kind.HEAD, 0, OTHER_SCHEMA)), "other columns"),
    "log of garbage in a whole frame": (
        lambda f: with_log(f, pack(Kind.ROWS, 0, b"nonsense")),
        r"samples\.log: cannot be read",
    ),
    "log of odd json": (
        lambda f: with_log(f, pack(Kind.RESERVED, 0, b'{"case": 1}')),
        r"samples\.log: cannot be read: case: 1 is not text",
    ),
}


@pytest.mark.parametrize("name", list(DAMAGE))
def test_damage_is_named_in_one_line(folder: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    damage(folder)
    with pytest.raises(ResultFormatError, match=message) as raised:
        open_run(folder).table()
    assert "\n" not in str(raised.value)


def test_a_parquet_with_a_bit_flipped_anywhere_never_passes_silently(folder: Path) -> None:
    """Either it reads as it was (statistics, names of tools) or it is refused: no other exception."""
    path = folder / "samples.parquet"
    whole, table = path.read_bytes(), open_run(folder).table()
    for position in range(0, len(whole), 31):
        broken = bytearray(whole)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        try:
            assert open_run(folder).table().equals(table), position
        except ResultFormatError as error:
            assert "\n" not in str(error)  # noqa: PT017 (both ends are right; another error is not)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ResultFormatError, match="is not a run folder"):
        open_run(tmp_path / "nothing")


def test_logs_of_mock_and_shaper(folder: Path) -> None:
    stored = open_run(folder)
    assert stored.takes(0) is None
    assert stored.wires(0) is None
    (folder / "mock-000.jsonl").write_bytes(b"")
    assert taken(stored) == []
    line = b'{"key": "k", "received_ns": 1, "taken_ns": 2, "answered_ns": 3}\n'
    for cut in range(len(line)):
        (folder / "mock-000.jsonl").write_bytes(line + line[:cut])
        assert taken(stored) == [Taken("k", 1, 2, 3)]
    (folder / "wire-012.jsonl").write_text(
        '{"connection":1,"client_port":40000,"turn_arounds":11,"bytes_up":5,"bytes_down":6}\n'
    )
    assert stored.wires(12) == [WireConnection(1, 40000, 11, 5, 6)]


LINE = '{"key": "k%d", "received_ns": 1, "taken_ns": 2, "answered_ns": 3}\n'


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{}", "key: missing"),
        ('{"key": "k", "received_ns": 1, "taken_ns": 2}', "answered_ns: missing"),
        ('{"key": null, "received_ns": 1, "taken_ns": 2, "answered_ns": 3}', "key: null is not text"),
        (
            '{"key": "k", "received_ns": 1.5, "taken_ns": 2, "answered_ns": 3}',
            "received_ns: 1.5 is not",
        ),
        ('{"key": "k", "received_ns": 9223372036854775808, "taken_ns": 2, "answered_ns": 3}', ""),
        ("", ""),
        ("[]", "not an object"),
        ("not JSON", ""),
    ],
)
@pytest.mark.parametrize("block_bytes", [100, 8 << 20])
def test_a_bad_line_inside_a_log_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bad: str, why: str, block_bytes: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block_bytes)
    good = "".join(LINE % number for number in range(7))
    (folder / "mock-000.jsonl").write_text(f"{good}{bad}\n{good}")
    with pytest.raises(ResultFormatError, match=rf"mock-000\.jsonl:8: .*{why}") as caught:
        open_run(folder).takes(0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block_bytes", [1, 50, 70, 1000])
def test_a_log_reads_the_same_however_it_is_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block_bytes)
    later = '{"key": "\\u00e9\\n", "colour": [1, {}], "answered_ns": 6, "taken_ns": 5, "received_ns": 4}\n'
    (folder / "mock-000.jsonl").write_text(LINE % 0 + later + LINE % 1 + '{"key": "torn')
    assert taken(open_run(folder)) == [Taken("k0", 1, 2, 3), Taken("\u00e9\n", 4, 5, 6), Taken("k1", 1, 2, 3)]


def test_derived_files(folder: Path) -> None:
    stored = open_run(folder)
    path = stored.write("summary.json", b"one")
    assert stored.write("summary.json", b"two") == path == folder / "summary.json"
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "samples.parquet", "samples.log", "scenario.yaml", "../x", "a/b", ".hidden", "", ".."],
)
def test_derived_files_cannot_go_anywhere_else(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a derived file"):
        open_run(folder).write(name, b"")


def test_a_derived_file_does_not_follow_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "summary.json").symlink_to(tmp_path / "target")
    open_run(folder).write("summary.json", b"x")
    assert not (tmp_path / "target").exists()
    assert not (folder / "summary.json").is_symlink()


def test_a_folder_that_takes_no_files(folder: Path) -> None:
    stored = open_run(folder)
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match=r"cannot write .*summary\.json"):
        stored.write("summary.json", b"x")
    with pytest.raises(ResultFormatError, match=r"scenario\.yaml"):
        _ = stored.scenario_source
