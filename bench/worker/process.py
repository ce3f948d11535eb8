"""Leads the workers of a case from inside a run: starts them, starts the measuring, ends them, adds up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from signal import Signals

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from bench.clock import monotonic_ns
from bench.engine import Progress, Stop
from bench.errors import BenchError, RefusedError, SetupError, StorageError, UsageError
from bench.model import CaseRun
from bench.store import RunWriter
from bench.worker.job import Job, Order, Word, dump, parse

LEAD_NS = 100_000_000
"""From the order to start to the start: as long as a busy machine may take to pass the order on."""
STOP_S = 5.0
KILL_S = 30.0
"""What still lives so long after everything was to be cut off is killed: by then it has hung."""
LINE_LIMIT_BYTES = 2**26
_ERRORS: dict[str, type[BenchError]] = {
    kind.__name__: kind for kind in (SetupError, StorageError, RefusedError, UsageError)
}


async def run_workers(jobs: Sequence[Job], stop: Stop, progress: Progress, writer: RunWriter) -> CaseRun:
    """Run every share of a case in a process of its own; what became of the case as a whole.

    A worker that is lost ends the others in order: what is left of the load is not the load that was asked
    for. Raises SetupError where no worker came to its end, StorageError where one could not write.
    """
    team = _Team(jobs, stop, progress, writer)
    await team.work()
    return team.result()


class _Member:
    """One worker, as its run knows it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.process: Process | None = None
        self.word = Word()
        """The last one with figures."""
        self.ready = False
        self.error: BenchError | None = None

    async def tell(self, order: Order) -> None:
        """Nothing happens where it has ended or not yet started."""
        if self.process is None or self.process.stdin is None:
            return
        with suppress(
            anyio.BrokenResourceError, anyio.ClosedResourceError
        ):  # that it has gone shows elsewhere
            await self.process.stdin.send(dump(order))

    def lost(self, code: int) -> SetupError:
        """What to say of one that ended without a word."""
        how = f"was ended by {Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return SetupError(
            f"worker {self.job.number + 1} of {self.job.of} {how}: what became of the messages it had under "
            "way is not known"
        )


class _Team:
    def __init__(self, jobs: Sequence[Job], stop: Stop, progress: Progress, writer: RunWriter) -> None:
        self._members = [_Member(job) for job in jobs]
        self._stop, self._progress, self._writer = stop, progress, writer
        self._grace_s = jobs[0].grace_s
        self._called_off = False

    async def work(self) -> None:
        """Returns when the last one has ended."""
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._obey_stop)
            async with anyio.create_task_group() as tasks:
                for member in self._members:
                    tasks.start_soon(self._attend, member)
            watch.cancel_scope.cancel()

    async def _obey_stop(self) -> None:
        await self._stop.asked()
        await self._call_off()
        await self._stop.grace_is_over(self._grace_s)
        await self._tell_all(Order(cut=True))
        await anyio.sleep(KILL_S)
        for member in self._members:
            if member.process is not None and member.process.returncode is None:
                member.process.kill()

    async def _call_off(self) -> None:
        self._called_off = True
        await self._tell_all(Order(stop=True))

    async def _tell_all(self, order: Order) -> None:
        for member in self._members:
            await member.tell(order)

    async def _attend(self, member: _Member) -> None:
        """Take one worker from its start to its end."""
        async with _process() as process:
            member.process = process
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                await process.stdin.send(dump(member.job))
                if self._called_off:
                    await member.tell(Order(stop=True))
                await self._hear(member, BufferedByteReceiveStream(process.stdout))
            except (anyio.BrokenResourceError, anyio.DelimiterNotFound, ValueError):
                process.kill()  # it has gone, or what it says makes no sense
            code = await process.wait()
        if member.word.run is None and member.error is None:
            member.error = member.lost(code)
        if member.error is not None:
            await self._call_off()

    async def _hear(self, member: _Member, stream: BufferedByteReceiveStream) -> None:
        while True:
            try:
                line = await stream.receive_until(b"\n", LINE_LIMIT_BYTES)
            except anyio.IncompleteRead:
                return
            await self._take(member, parse(Word, line))

    async def _take(self, member: _Member, word: Word) -> None:
        if word.ready:
            member.ready = True
            if all(each.ready for each in self._members):
                await self._tell_all(Order(go_ns=monotonic_ns() + LEAD_NS))
        elif word.error is not None:
            member.error = _ERRORS.get(word.kind, SetupError)(word.error)
        else:
            member.word = word
            self._add_up()
            if word.run is not None:
                self._writer.join_share(word.log, word.written)

    def _add_up(self) -> None:
        self._progress.done = sum(member.word.done for member in self._members)
        self._progress.accepted = sum(member.word.accepted for member in self._members)

    def result(self) -> CaseRun:
        """The case as a whole. Raises the errors of `run_workers`."""
        errors = [member.error for member in self._members if member.error is not None]
        runs = [member.word.run for member in self._members if member.word.run is not None]
        for error in errors:
            if not isinstance(error, SetupError) or not runs:
                raise error
        said = "; ".join(dict.fromkeys(str(error) for error in errors)) or None
        return replace(merged(runs), workers=len(self._members), error=said)


def merged(runs: Sequence[CaseRun]) -> CaseRun:
    """What the shares of a case, at least one, are together."""
    busy = [run for run in runs if run.ended_ns > run.started_ns] or runs  # a share may be empty
    return replace(
        runs[0],
        scheduled=sum(run.scheduled for run in runs),
        started_ns=min(run.started_ns for run in busy),
        ended_ns=max(run.ended_ns for run in busy),
        cpu_ns=sum(run.cpu_ns for run in runs),
        interrupted=any(run.interrupted for run in runs),
        quits=tuple(sorted(number for run in runs for number in run.quits)),
        workers=len(runs),
    )


@asynccontextmanager
async def _process() -> AsyncIterator[Process]:
    """A worker; it is told to end, and killed if it does not, should the block end before it."""
    process = await anyio.open_process(
        [sys.executable, "-P", "-m", "bench.worker"],  # -P: a folder `bench` where the user works is not ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        env={**os.environ, "PYTHONPATH": _python_path()},
        start_new_session=True,  # Ctrl-C is for the run, which ends its workers in order
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with anyio.move_on_after(STOP_S):
                await process.wait()
            await process.aclose()


def _python_path() -> str:
    ours = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
