"""Each process of a tree held to a share of a core, each on its own: by cgroups where they can be
made, else by stopping and continuing it. And how much of the work each process of a tree did."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PERIOD_US = 100_000
"""The kernel's own default: what is left of the share begins anew every 100 ms."""
LOOK_S = 0.02
V2 = Path("/sys/fs/cgroup")
V1 = Path("/sys/fs/cgroup/cpu")


class Cap(Protocol):
    """Holds processes to the share it was made for."""

    name: str

    def hold(self, pid: int) -> None:
        """From now on; raises OSError if that process is gone."""

    def end(self) -> None:
        """Take everything back that was made."""


@dataclass(slots=True)
class Groups:
    """One cgroup for each process, with the two files that hold its quota in that version."""

    name: str
    root: Path
    quota: Callable[[Path, int], None]
    quota_us: int
    made: list[Path]

    def hold(self, pid: int) -> None:
        folder = self.root / f"sendbench-peers-{os.getpid()}-{pid}"
        folder.mkdir()
        self.made.append(folder)
        self.quota(folder, self.quota_us)
        (folder / "cgroup.procs").write_text(str(pid))

    def end(self) -> None:
        for folder in self.made:
            # What still lives in it keeps it; such a process was never ours to end.
            with suppress(OSError):
                folder.rmdir()


@dataclass(slots=True)
class Turns:
    """Stops every process for the rest of each period; coarser than cgroups, but needs no right."""

    share: float
    pids: list[int]
    ended: threading.Event
    thread: threading.Thread | None = None
    name: str = "SIGSTOP and SIGCONT"

    def hold(self, pid: int) -> None:
        os.kill(pid, 0)
        self.pids.append(pid)
        if self.thread is None:
            self.thread = threading.Thread(target=self._turn, daemon=True)
            self.thread.start()

    def _turn(self) -> None:
        period_s = PERIOD_US / 1e6
        while not self.ended.is_set():
            self._signal(signal.SIGSTOP)
            self.ended.wait(period_s * (1 - self.share))
            self._signal(signal.SIGCONT)
            self.ended.wait(period_s * self.share)

    def _signal(self, number: signal.Signals) -> None:
        for pid in list(self.pids):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                self.pids.remove(pid)

    def end(self) -> None:
        self.ended.set()
        if self.thread is not None:
            self.thread.join()


def choose(share: float) -> Cap:
    """The finest means there is for `share` of a core."""
    quota_us = round(PERIOD_US * share)
    for name, root, quota in (("cgroup v2", V2, _quota_v2), ("cgroup v1", V1, _quota_v1)):
        if _works(root, quota, quota_us):
            return Groups(name, root, quota, quota_us, [])
    return Turns(share, [], threading.Event())


def _quota_v2(folder: Path, quota_us: int) -> None:
    _write(folder / "cpu.max", f"{quota_us} {PERIOD_US}")


def _quota_v1(folder: Path, quota_us: int) -> None:
    _write(folder / "cpu.cfs_period_us", str(PERIOD_US))
    _write(folder / "cpu.cfs_quota_us", str(quota_us))


def _write(path: Path, text: str) -> None:
    """Write to a file of the kernel's; never make one, as in a folder that only looks like a cgroup."""
    with path.open("r+", encoding="ascii") as file:
        file.write(text)


def _works(root: Path, quota: Callable[[Path, int], None], quota_us: int) -> bool:
    probe = root / f"sendbench-peers-{os.getpid()}-probe"
    try:
        probe.mkdir()
    except OSError:
        return False
    try:
        quota(probe, quota_us)
        return (probe / "cgroup.procs").exists()
    except OSError:
        return False
    finally:
        probe.rmdir()


@contextmanager
def watched(seen: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Yields what is told a process; from then on until the block ends, `seen` is told that process and
    each that comes of it, again and again. It may raise OSError when one is gone."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def look(pid: int) -> None:
        while True:
            for found in {pid} | descendants(pid):
                with suppress(OSError):
                    seen(found)
            if ended.wait(LOOK_S):
                return

    def start(pid: int) -> None:
        threads.append(threading.Thread(target=look, args=(pid,), daemon=True))
        threads[-1].start()

    try:
        yield start
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def capped(cap: Cap) -> Iterator[Callable[[int], None]]:
    """Yields what starts to hold a process and each that comes of it, until the block ends.

    A new process starts under the cap of its parent and gets its own a moment later.
    """
    held: set[int] = set()

    def hold(pid: int) -> None:
        if pid not in held:
            held.add(pid)
            cap.hold(pid)

    try:
        with watched(hold) as start:
            yield start
    finally:
        cap.end()


@dataclass(slots=True)
class Shares:
    """The CPU that each process of a tree had used when it was last looked at."""

    used_s: dict[int, float]

    def look(self, pid: int) -> None:
        """Note what a process has used; raises OSError if it is gone."""
        # The name, in brackets, may hold spaces; utime and stime are the 14th and 15th field (proc(5)).
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
        self.used_s[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def busy(self, share: float) -> int:
        """How many processes used at least this share of it all."""
        least = share * sum(self.used_s.values())
        return sum(used >= least for used in self.used_s.values())


def descendants(pid: int) -> set[int]:
    """The processes that a process started, and theirs; empty once it is gone."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text(encoding="ascii").split()):
                found |= {child} | descendants(child)
    return found
