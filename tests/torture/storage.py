"""What becomes of a log whose writer is killed, whose machine loses its power, whose disk is full."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from bench.errors import StorageError
from bench.store import RunWriter, frames, open_run
from tests.store.samples import make_case, make_sample, make_scenario, start
from tests.store.test_crash import check_cut_off, child, kill_after
from tests.torture.counted import Counted


def killed_writers(count: int, seed: int = 1) -> Counted:
    """A writing process killed at so many random moments: what was acknowledged is there."""
    rng, found = random.Random(seed), Counted()
    lost = 0
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            with child(Path(folder)) as (process, run):
                acknowledged, started = kill_after(process, rng.randrange(1, 800))
            begun = time.perf_counter()
            try:
                stored = open_run(run)
                check_cut_off(stored, acknowledged, started)
                lost += stored.table()["outcome"].to_pylist().count("unknown")
            except AssertionError as error:
                found.blame(f"kill {number}: {error}")
            found.facts["slowest to open s"] = round(
                max(float(found.facts.get("slowest to open s", 0)), time.perf_counter() - begun), 2
            )
        found.done += 1
    found.facts["unknown in all"] = lost
    return found


class _Memory:
    """The file layer of a machine without power backup: what was not synced is gone when it stops."""

    def __init__(self) -> None:
        self.written: dict[int, int] = {}
        self.synced: dict[int, int] = {}

    def write(self, fd: int, data: bytes | memoryview) -> int:
        count = os.write(fd, data)
        self.written[fd] = self.written.get(fd, 0) + count
        return count

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)
        self.synced[fd] = self.written.get(fd, 0)


@contextmanager
def _file_layer(**functions: Callable[..., object]) -> Iterator[None]:
    with mock.patch.object(frames.FrameFile.__init__, "__kwdefaults__", functions):
        yield


def power_loss(count: int, seed: int = 1) -> Counted:
    """So many moments at which everything that had not been synced is lost, and maybe a part of a page more
    was written: the run opens, no more than a second of rows is missing, and of messages that were sent none,
    where reservations are durable, as they are for real targets."""
    rng, found = random.Random(seed), Counted()
    worst = 0.0
    for number in range(count):
        layer = _Memory()
        with tempfile.TemporaryDirectory() as folder:
            case = make_case(messages=None)
            with _file_layer(write=layer.write, sync=layer.sync):
                writer = start(Path(folder), make_scenario(case))
            writer.durable = number % 2 == 0
            stop = time.monotonic() + rng.uniform(0.2, 2.2)
            times = list[float]()
            while (now := time.monotonic()) < stop:
                seq = len(times)
                if seq % 100 == 0:
                    writer.reserve(seq, case.id)
                writer.append(make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}"))
                times.append(now)
                time.sleep(0.001)
            ended = time.monotonic()
            log = writer.folder / "samples.log"
            data = log.read_bytes()
            synced = max(layer.synced.values(), default=0)
            lost = Path(shutil.copytree(writer.folder, Path(folder) / "lost"))
            kept = data[: synced + (rng.randrange(len(data) - synced + 1) if rng.random() < 0.5 else 0)]
            (lost / "samples.log").write_bytes(kept + rng.randbytes(rng.choice((0, 0, 7, 300))))
            try:
                outcomes = open_run(lost).table()["outcome"].to_pylist()
                rows = sum(outcome != "unknown" for outcome in outcomes)
                missing_s = ended - times[rows] if rows < len(times) else 0.0
                worst = max(worst, missing_s)
                if writer.durable and len(outcomes) < len(times):
                    found.blame(f"loss {number}: {len(times)} were sent and {len(outcomes)} are on record")
                if missing_s > 1.2:
                    found.blame(f"loss {number}: {missing_s:.2f} s of rows are missing")
            except Exception as error:
                found.blame(f"loss {number}: {type(error).__name__}: {error}")
            writer.finish("complete")
        found.done += 1
    found.facts["most that was lost s"] = round(worst, 2)
    return found


def disk_full(count: int) -> Counted:
    """The disk is full at write number 1, 2, 3 ...: the run is invalid, all earlier rows can be read, and no
    message is taken after the error."""
    found = Counted()
    for number in range(1, count + 1):
        calls = 0

        def write(fd: int, data: bytes | memoryview, number: int = number) -> int:
            nonlocal calls
            calls += 1
            if calls == number:  # a full disk takes a part first
                return os.write(fd, bytes(data)[: max(1, len(data) // 2)])
            if calls > number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.write(fd, data)

        with tempfile.TemporaryDirectory() as folder, _file_layer(write=write, sync=os.fdatasync):
            _fill_disk(Path(folder), number, found)
        found.done += 1
    return found


def _fill_disk(folder: Path, number: int, found: Counted) -> None:
    case = make_case(messages=None)
    try:
        writer = start(folder, make_scenario(case))
    except StorageError:
        return  # not even begun: nothing was sent
    sent = _send_until_refused(writer)
    try:
        stored = open_run(writer.folder)
        outcomes = stored.table()["outcome"].to_pylist()
        if stored.manifest.state != "invalid":
            found.blame(f"write {number}: the run is {stored.manifest.state}")
        if outcomes.count("accepted") != writer.written:
            found.blame(f"write {number}: {outcomes.count('accepted')} rows of {writer.written}")
        if len(outcomes) < sent:
            found.blame(f"write {number}: {sent} messages were sent and {len(outcomes)} are on record")
    except Exception as error:
        found.blame(f"write {number}: {type(error).__name__}: {error}")


def _send_until_refused(writer: RunWriter) -> int:
    case = make_case(messages=None)
    sent = 0
    try:
        with writer:
            for seq in range(10**6):
                if seq % 100 == 0:
                    writer.reserve(seq, case.id)
                sent += 1
                writer.append(make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}"))
                if seq % 10 == 9:
                    writer.flush()
    except StorageError:
        pass
    return sent
