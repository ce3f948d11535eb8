"""kill -9: what was acknowledged is there, what was reserved and lost is unknown."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.errors import StorageError
from bench.model import Outcome
from bench.store import StoredRun, frames, open_run, run
from bench.store.frames import FrameReader
from tests.store.samples import SOURCE, fill, make_case, make_case_run, make_scenario, start
from tests.store.test_rows import as_row

ROOT = Path(__file__).parents[2]
FIRST, SECOND = make_case(0, messages=150), make_case(1, messages=None)

# Sends one case to its end and the next one for ever; says what is safe, and what it has started.
CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.store.samples import fill, make_case, make_case_run, make_sample, make_scenario, start

first, second = make_case(0, messages=150), make_case(1, messages=None)
writer = start(Path(sys.argv[1]), make_scenario(first, second))
print(writer.folder, flush=True)
fill(writer, first, 152)
writer.end_case(make_case_run(first))
for seq in range(10**9):
    if seq % 100 == 0:
        writer.reserve(seq, second.id)
    writer.append(make_sample(seq, second)._replace(key=f"{writer.key_prefix(second)}-{seq}"))
    if seq % 37 == 0:
        print(writer.written, seq + 1, flush=True)
"""


@contextmanager
def child(results: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that writes a run; killed at the end at the latest."""
    arguments = [sys.executable, "-c", CHILD, str(results)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def kill_after(process: subprocess.Popen[str], lines: int) -> tuple[int, int]:
    """SIGKILL once so many lines were read; the last word on (rows acknowledged, messages started)."""
    assert process.stdout is not None
    for _ in itertools.islice(process.stdout, lines):
        pass
    process.send_signal(signal.SIGKILL)
    last = [line for line in process.stdout if line.endswith("\n")]
    assert process.wait() == -signal.SIGKILL
    acknowledged, started = map(int, last[-1].split()) if last else (0, 0)
    return acknowledged, started


@pytest.mark.parametrize("lines", [3, 40, 333])
def test_kill_9(tmp_path: Path, lines: int) -> None:
    with child(tmp_path) as (process, folder):
        acknowledged, started = kill_after(process, lines)
    before = (folder / "samples.log").read_bytes()
    stored = open_run(folder)
    check_cut_off(stored, acknowledged, started)
    assert (folder / "samples.log").read_bytes() == before
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert open_run(copy).table().equals(stored.table())


def check_cut_off(stored: StoredRun, acknowledged: int, started: int) -> None:
    manifest, recovery, table = stored.manifest, stored.recovery, stored.table()
    assert recovery is not None
    assert manifest.state == "aborted"
    assert manifest.reason == f"cut off while running: {recovery}"
    assert manifest.cases[0] == make_case_run(FIRST)
    outcomes = table["outcome"].to_pylist()
    lost = outcomes.count("unknown")
    assert len(outcomes) - lost >= acknowledged
    assert recovery.unknown == lost
    seqs = table["seq"].to_pylist()
    assert seqs[:152] == list(range(152))
    assert "unknown" not in outcomes[:152]
    rest = seqs[152:]
    assert rest == list(range(len(rest)))
    assert len(rest) % 100 == 0
    assert len(rest) >= started
    assert table["key"].to_pylist()[152:] == [f"{stored.id}-1-{seq}" for seq in rest]
    second = manifest.cases[1]
    assert (second.id, second.scheduled, second.interrupted) == (SECOND.id, len(rest) - 2, True)
    assert second.error == "the run ended before this case did"
    assert stored.scenario_source == SOURCE


def test_a_run_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with child(tmp_path) as (process, folder):
        assert process.stdout is not None
        for _ in itertools.islice(process.stdout, 20):
            pass
        stored = open_run(folder)
        assert (stored.manifest.state, stored.manifest.reason) == ("running", None)
        assert stored.table().num_rows >= 152
        assert stored.recovery is not None


@pytest.fixture(scope="module")
def whole_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A run folder whose log was never finished, and the lengths of the log after each frame."""
    case = make_case(messages=None)
    writer = start(tmp_path_factory.mktemp("results"), make_scenario(case))
    fill(writer, case, 120)
    writer.flush()
    folder = Path(shutil.copytree(writer.folder, tmp_path_factory.mktemp("torn") / "run"))
    writer.finish("complete")
    with (folder / "samples.log").open("rb") as stream:
        reader = FrameReader(stream)
        return folder, [0, *(reader.whole_bytes for _ in reader)]


def test_a_log_torn_anywhere_opens(whole_log: tuple[Path, list[int]], tmp_path: Path) -> None:
    """Every frame border, its neighbours, and 60 places in between."""
    source, lengths = whole_log
    data = (source / "samples.log").read_bytes()
    borders = {length + by for length in lengths for by in (-1, 0, 1)} & set(range(len(data) + 1))
    places = sorted(borders | set(random.Random(1).sample(range(len(data)), 60)))
    folder = Path(shutil.copytree(source, tmp_path / "run"))
    seen = 0
    for place in places:
        (folder / "samples.log").write_bytes(data[:place])
        stored = open_run(folder)
        recovery, outcomes = stored.recovery, stored.table()["outcome"].to_pylist()
        assert recovery is not None
        assert recovery.bytes_cut == place - max(length for length in lengths if length <= place)
        assert recovery.frames == sum(length <= place for length in lengths) - 1
        assert len(outcomes) % 100 == 0
        assert outcomes.count("accepted") >= seen
        seen = outcomes.count("accepted")
    assert seen == 120


@pytest.mark.parametrize("step", ["table", "manifest", "removal"])
def test_a_crash_while_finalising(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever step the end of a run dies at, every row is read, and read once."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    case = make_case(messages=None)
    writer = start(tmp_path, make_scenario(case))
    samples = fill(writer, case, 120)
    writer.end_case(make_case_run(case))
    targets = {"table": "bench.store.parquet._verify", "removal": "bench.store.run.RunWriter._remove_logs"}
    if step == "manifest":
        save = run.save_manifest
        monkeypatch.setattr(run, "save_manifest", lambda *a: die() if a[1].state == "complete" else save(*a))
    else:
        monkeypatch.setattr(targets[step], die)
    with pytest.raises(Killed):
        writer.finish("complete")
    stored = open_run(writer.folder)
    assert stored.table().to_pylist() == [as_row(sample) for sample in samples]
    assert stored.manifest.state == ("complete" if step == "removal" else "aborted")
    assert stored.recovery is None  # the log came to its end in order


def test_unknown_rows_say_what_is_known(tmp_path: Path) -> None:
    case = make_case(messages=5)
    writer = start(tmp_path, make_scenario(case))
    writer.reserve(0, case.id)
    copy = Path(shutil.copytree(writer.folder, tmp_path / "copy"))
    writer.finish("complete")
    rows = open_run(copy).table().to_pylist()
    assert [row["warmup"] for row in rows] == [True, True, False, False, False, False, False]
    row = {name: value for name, value in rows[3].items() if value is not None}
    assert row == {
        "case": case.id, "key": f"{writer.id}-0-3", "seq": 3, "attempt": 1, "worker": -1, "warmup": False,
        "cold": False, "client": "aiosmtplib", "outcome": Outcome.UNKNOWN, "error": "lost", "recipients": 2,
    }  # fmt: skip


def test_reservations_past_the_end_of_a_case_are_not_lost_messages(tmp_path: Path) -> None:
    case = make_case(messages=148)
    writer = start(tmp_path, make_scenario(case))
    fill(writer, case, 120)
    writer.reserve(200, case.id)  # nothing is left to reserve
    writer.flush()
    copy = Path(shutil.copytree(writer.folder, tmp_path / "copy"))
    writer.finish("complete")
    stored = open_run(copy)
    assert stored.table()["seq"].to_pylist() == list(range(150))
    assert stored.recovery is not None
    assert stored.recovery.unknown == 30


def test_no_reservation_no_sending(tmp_path: Path) -> None:
    """A reservation that is not with the kernel must stop the caller."""
    writer = start(tmp_path)
    file = writer._log._file
    assert isinstance(file, frames.FrameFile)
    file.fail("cannot write samples.log: Input/output error")
    with pytest.raises(StorageError, match="Input/output error"):
        writer.reserve(0, FIRST.id)
    assert writer.finish("complete").state == "invalid"


def test_where_it_has_to_be_durable_a_reservation_is_on_the_disk_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a machine without power keeps of the log is what was synced."""
    synced = list[int]()

    def sync(fd: int) -> None:
        time.sleep(0.02)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(frames.FrameFile.__init__, "__kwdefaults__", {"write": os.write, "sync": sync})
    case = make_case(messages=248)
    writer = start(tmp_path, make_scenario(case))
    writer.durable = True
    for seq in (0, 100, 200):
        writer.reserve(seq, case.id)
        lost = Path(shutil.copytree(writer.folder, tmp_path / f"lost {seq}"))
        os.truncate(lost / "samples.log", max(synced, default=0))
        assert open_run(lost).table().num_rows >= min(seq + 100, 250)
    writer.finish("complete")


def test_a_disk_that_does_not_take_a_reservation_stops_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(frames.FrameFile.__init__, "__kwdefaults__", {"write": os.write, "sync": refuse})
    writer = start(tmp_path)
    writer.durable = True
    with pytest.raises(StorageError, match="Input/output error"):
        writer.reserve(0, FIRST.id)
    assert writer.finish("complete").state == "invalid"
