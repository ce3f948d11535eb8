"""A process from the outside: its memory, descriptors and CPU, while it runs and when it has ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PAUSE_S = 0.25
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Observer = Callable[[int], None]
"""Is told the id of a process that runs."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a process had at one moment."""

    stage: str
    """What it was doing: see `stage_of`."""
    log_bytes: int
    """Of the raw log: how far it had come."""
    rss: int
    """Bytes."""
    fds: int
    cpu_s: float
    """User + system, without children."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process after its end, by the kernel's account; children that it waited for are included."""

    code: int
    cpu_s: float
    wall_s: float
    peak_rss: int
    """Bytes, of the largest single process."""


def run(command: Sequence[str], output: Path, look: Observer | None = None) -> Ended:
    """Run a command to its end, its output into a file; `look` is called with its id four times a second."""
    begun = time.monotonic()
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
    try:
        while True:
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
            if found:
                break
            if look is not None:
                look(process.pid)
            time.sleep(PAUSE_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s, cpu_s = time.monotonic() - begun, usage.ru_utime + usage.ru_stime
    return Ended(process.returncode, cpu_s, wall_s, usage.ru_maxrss * 1024)


def look_at(pid: int, results: Path) -> Look | None:
    """What `sendbench run` has right now; None once it has ended."""
    proc = Path("/proc", str(pid))
    try:
        rss = int((proc / "statm").read_text().split()[1]) * _PAGE
        fds = len(list((proc / "fd").iterdir()))
        user, system = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return None
    stage, log_bytes = stage_of(results)
    return Look(stage, log_bytes, rss, fds, (int(user) + int(system)) / _TICKS_PER_S)


def stage_of(results: Path) -> tuple[str, int]:
    """`sending`, `finishing` (samples.parquet is made from the log) or `reporting`; and the log's bytes.

    Told by the files that come and go in the folder of the newest run: nobody asks the process itself.
    """
    folder = results / "latest"
    log = folder / "samples.log"
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return ("reporting" if folder.exists() else "starting"), 0
    return ("sending" if (folder / ".ballast").exists() else "finishing"), size
