"""When the disk fails: what is safe stays safe, and the run says that it is invalid."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.errors import StorageError
from bench.model import Case, Manifest
from bench.store import RunWriter, StoredRun, files, frames, open_run, run
from tests.store.samples import fill, make_case, make_sample, make_scenario, start
from tests.store.test_rows import as_row

CASES = (make_case(0), make_case(1))


def refuse(code: int) -> Callable[..., int]:
    def call(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


def test_results_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot create a run under"):
        start(tmp_path / "file")


def test_too_little_space_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda _: 5 << 20)
    start(tmp_path).finish("complete")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match="has 5 MiB left and the run may need"):
        start(tmp_path, make_scenario(make_case(messages=10_000)))
    assert sorted(tmp_path.iterdir()) == before


def test_a_failed_sync_makes_the_run_invalid_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        frames.FrameFile.__init__, "__kwdefaults__", {"write": os.write, "sync": refuse(errno.EIO)}
    )
    with start(tmp_path) as writer:
        fill(writer, CASES[0], 5)
        manifest = writer.finish("complete")
    assert manifest.state == "invalid"
    assert manifest.reason is not None
    assert "samples.log may be damaged" in manifest.reason
    assert manifest.rows is None
    stored = open_run(writer.folder)
    assert stored.manifest.state == "invalid"
    assert stored.table()["outcome"].to_pylist()[:6] == ["accepted"] * 5 + ["unknown"]


def test_a_table_that_cannot_be_written_leaves_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(tmp_path) as writer:
        samples = fill(writer, CASES[0], 5)
        monkeypatch.setattr(pq, "write_table", refuse(errno.ENOSPC))
        manifest = writer.finish("complete")
    assert manifest.state == "invalid"
    assert "No space left" in (manifest.reason or "")
    assert open_run(writer.folder).table().to_pylist() == [as_row(sample) for sample in samples]
    assert sorted(path.name for path in writer.folder.iterdir()) == [
        "manifest.json",
        "samples.log",
        "scenario.yaml",
    ]


def test_a_table_that_does_not_read_back_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(tmp_path) as writer:
        samples = fill(writer, CASES[0], 5)
        write_table = pq.write_table
        monkeypatch.setattr(pq, "write_table", lambda table, *a, **k: write_table(table.slice(1), *a, **k))
        manifest = writer.finish("complete")
    assert "does not read back" in (manifest.reason or "")
    assert not (writer.folder / "samples.parquet").exists()
    assert open_run(writer.folder).table().num_rows == len(samples)


def test_the_final_state_finds_room_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ballast goes before the last words are written."""
    seen = []
    save = run.save_manifest
    with start(tmp_path) as writer:
        ballast = writer.folder / ".ballast"
        assert ballast.stat().st_size == files.BALLAST_BYTES

        def watch(folder: Path, manifest: Manifest) -> None:
            seen.append(ballast.exists())
            save(folder, manifest)

        monkeypatch.setattr(run, "save_manifest", watch)
        writer.finish("complete")
    assert seen == [False, False]


def test_a_manifest_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(tmp_path)
    monkeypatch.setattr(run, "save_manifest", refuse(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"manifest\.json: No space left"):
        writer.finish("complete")


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A file system of 4 MiB; False where it cannot be mounted, which mostly means without root."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    mounted = (
        sys.platform == "linux" and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", place], check=True)


def send_for_ever(writer: RunWriter, case: Case) -> None:
    with writer:
        for seq in range(10**6):
            if seq % 100 == 0:
                writer.reserve(seq, case.id)
                writer.flush()
            writer.append(make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}"))


def send_until_refused(results: Path, case: Case) -> tuple[StoredRun, int]:
    """Append until that raises; gives the run and how many rows were with the kernel by the end."""
    writer = start(results, make_scenario(case))
    with pytest.raises(StorageError, match=r"cannot write samples\.log"):
        send_for_ever(writer, case)
    return open_run(writer.folder), writer.written


def check_after_full_disk(stored: StoredRun, written: int) -> None:
    assert stored.manifest.state == "invalid"
    assert "cannot write samples.log" in (stored.manifest.reason or "")
    outcomes = stored.table()["outcome"].to_pylist()
    assert 0 < written == outcomes.count("accepted")
    assert set(outcomes) <= {"accepted", "unknown"}
    assert stored.table()["seq"].to_pylist() == list(range(len(outcomes)))
    assert stored.recovery is not None
    assert stored.recovery.bytes_cut == 0


LIMITED = """
import resource, sys
from pathlib import Path
from tests.store.samples import make_case
from tests.store.test_disk import check_after_full_disk, send_until_refused
from bench.store import rows, parquet  # loaded before the limit
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
check_after_full_disk(*send_until_refused(Path(sys.argv[1]), make_case(messages=None)))
"""


def test_a_file_that_may_not_grow_any_further(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LIMITED, tmp_path], check=True, cwd=Path(__file__).parents[2])


def test_a_real_disk_that_fills_up(tmp_path: Path) -> None:
    """Without the right to mount one, the limit on a file's size above stands for it."""
    with small_disk(tmp_path) as mounted:
        if mounted:
            check_after_full_disk(*send_until_refused(tmp_path, make_case(messages=None)))
