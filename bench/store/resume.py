"""Going on with a run that was cut off: what may have been sent is left alone, what cannot have been is sent.

The raw log of the cut-off run stays as it is, but for a torn end, of which the original is kept beside it.
The rest of the run writes a log of its own, and both make the table in the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from bench.clock import RunClock
from bench.errors import StorageError, UsageError
from bench.model import CaseRun, Manifest, Scenario
from bench.store import files
from bench.store.clean import Cleaner
from bench.store.frames import FrameReader, writer_lives
from bench.store.reader import read_manifest
from bench.store.run import BALLAST, PARQUET, RunWriter, save_manifest
from bench.store.share import logs_of, open_log

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a run: of one that was cut off, or after the first parts of its load."""

    manifest: Manifest
    next_seq: Mapping[str, int]
    """Case -> its first message that nobody can have sent; a case that is not in here has not begun."""
    ended: frozenset[str] = frozenset()
    earlier: Mapping[str, CaseRun] = field(default_factory=dict)
    """Case -> its parts so far; none where it was cut off."""

    def first(self, case: str) -> int:
        """Where a case goes on."""
        return self.next_seq.get(case, 0)

    def joined(self, run: CaseRun) -> CaseRun:
        """A case with its earlier parts. What one that was cut off cost nobody has counted; it says so."""
        first, earlier = self.first(run.id), self.earlier.get(run.id)
        if not first:
            return run
        if earlier is not None:
            return _with_part(earlier, run)
        said = f"the run was cut off and gone on with at message {first}: its rate counts the time in between"
        return replace(run, cpu_ns=0, remark=_both(run.remark, said))

    def after(self, begins: Mapping[str, int], runs: Iterable[CaseRun]) -> Left:
        """The same once these have ended before the messages with which their next parts begin."""
        earlier = {run.id: run for run in runs}
        return replace(self, next_seq={**self.next_seq, **begins}, earlier={**self.earlier, **earlier})


def _with_part(earlier: CaseRun, run: CaseRun) -> CaseRun:
    """A case and its next part; where there is one figure for each, the worse one."""
    return replace(
        run,
        started_ns=earlier.started_ns,
        ended_ns=max(earlier.ended_ns, run.ended_ns),
        cpu_ns=earlier.cpu_ns + run.cpu_ns,
        quits=(*earlier.quits, *run.quits),
        hiccup_p999_ns=_most(earlier.hiccup_p999_ns, run.hiccup_p999_ns),
        hiccup_max_ns=_most(earlier.hiccup_max_ns, run.hiccup_max_ns),
        mock_share=_most(earlier.mock_share, run.mock_share),
        paused_ns=earlier.paused_ns + run.paused_ns + max(0, run.started_ns - earlier.ended_ns),
    )


def _most(a: N | None, b: N | None) -> N | None:
    return max((each for each in (a, b) if each is not None), default=None)


def _both(a: str, b: str) -> str:
    return "; ".join(filter(None, (a, b)))


def config_hash(scenario: Scenario) -> str:
    """The same for the same cases, whatever way they were written; secrets do not enter it."""
    return hashlib.sha256(repr(scenario.cases).encode()).hexdigest()[:16]


def resume_run(folder: Path, scenario: Scenario) -> tuple[RunWriter, Left]:
    """Open a cut-off run for the rest of it.

    Raises UsageError where it cannot be gone on with, StorageError or ResultFormatError where it cannot be
    read or written.
    """
    from bench.store import rows
    from bench.store.replay import replay

    folder = folder.resolve() if folder.is_symlink() else folder
    manifest = read_manifest(folder)
    _check(folder, manifest, scenario)
    try:
        for log in logs_of(folder):
            _cut(log)
        found = replay(logs_of(folder), manifest.cases)
        last_ns = rows.last_ns(found.table)
        if RunClock(manifest.clock_offset_ns)() < last_ns:
            raise UsageError(f"{folder}: the machine, and its clock, have been restarted since; run anew")
        cleaner = Cleaner(scenario)
        name = f"samples-r{len(logs_of(folder)):02d}.log"
        log_writer = open_log(folder / name, cleaner)
        (folder / BALLAST).unlink(missing_ok=True)
        files.put_ballast(folder / BALLAST)
        manifest = replace(manifest, state="running", reason=None)
        save_manifest(folder, manifest)
    except OSError as error:
        raise StorageError(f"cannot go on with {folder}: {error.strerror}") from error
    writer = RunWriter(folder, scenario, manifest, log_writer, cleaner, name)
    for path, written in found.recorded.items():
        writer.join_share(path, written)
    ended = frozenset(case.id for case in manifest.cases)
    return writer, Left(manifest, found.next_seq, ended)


def _check(folder: Path, manifest: Manifest, scenario: Scenario) -> None:
    if any(writer_lives(log) for log in logs_of(folder) if log.exists()):
        raise UsageError(f"{folder}: the run is still going on")
    if (folder / PARQUET).exists() or manifest.rows is not None:
        raise UsageError(
            f"{folder}: the run came to its end in order ({manifest.state}); what it did not send "
            "is on record as dropped, so run it anew"
        )
    if manifest.config_hash != config_hash(scenario):
        raise UsageError(f"{folder}: its scenario was another one; give the same file and the same --set")
    for case in scenario.cases:
        if case.load.messages is None:
            raise UsageError(f"{case.id}: a load that is bounded by its duration cannot be gone on with")
        if case.workers > 1 or case.comparison:
            what = "workers" if case.workers > 1 else "a comparison"
            raise UsageError(f"{case.id}: a run with {what} cannot be gone on with; run it anew")


def _cut(log: Path) -> None:
    """Take off a torn end; the original is kept as `.torn`. A link is not followed: the folder may come from
    somebody else."""
    fd = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "r+b") as stream:
        reader = FrameReader(stream)
        for _ in reader:
            pass
        if os.fstat(fd).st_size <= reader.whole_bytes:
            return
        stream.seek(0)
        with (
            files.replacing(log.with_name(log.name + ".torn")) as kept,
            os.fdopen(os.open(kept, files.NEW, files.PRIVATE), "wb") as copy,
        ):
            shutil.copyfileobj(stream, copy)
        stream.truncate(reader.whole_bytes)
        os.fsync(fd)
