"""`python -m bench.worker`: one of several processes that share a case.

It reads a `Job` from its standard input, obeys `Order`s, and says what there is to say in `Word`s. It
stops in order when standard input ends, so it does not outlive its run by more than the grace period.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import anyio

from bench.clock import Alarm, RunClock
from bench.engine import Engine, Progress, Stop
from bench.errors import BenchError
from bench.guard import Guard
from bench.model import CaseRun, Secret
from bench.providers import composer_for, throttling_of
from bench.redact import MaskedStream, Redactor
from bench.store import ShareWriter
from bench.transports import session_maker
from bench.worker.job import Job, Order, Word, dump, parse

PR_SET_PDEATHSIG = 1
PROGRESS_S = 0.2
IDS_EACH = 10**9
"""Connections are numbered from 1 in the first process, from this on in the second."""


def main() -> int:
    """Run; the exit code is the documented one of the error that ended it, or 0."""
    _die_with_parent()
    lines = _lines(0)
    job = parse(Job, next(lines))
    sys.stderr = MaskedStream(sys.stderr, Redactor(map(Secret, job.secrets)))
    code, word = 0, Word()
    try:
        word = anyio.run(_work, job, lines, backend_options={"use_uvloop": job.uvloop})
    except* BenchError as group:
        error = _first(group)
        code, word = int(error.exit_code), Word(error=str(error), kind=type(error).__name__)
    _say(word)
    return code


def _first(error: BaseException) -> BenchError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BenchError)
    return error


def _die_with_parent() -> None:
    """The end of standard input says it, too; this holds even where somebody else has that pipe open."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _lines(descriptor: int) -> Iterator[bytes]:
    """Lines as they come. Not `sys.stdin`, whose lock a thread must not hold when the interpreter ends."""
    rest = bytearray()
    while piece := os.read(descriptor, 1 << 20):
        rest += piece
        if b"\n" in piece:
            *whole, rest = rest.split(b"\n")
            yield from map(bytes, whole)


def _say(word: Word) -> None:
    """Where nobody listens any more the log has to be brought to its end all the same."""
    with contextlib.suppress(OSError):
        os.write(1, dump(word))


class _Ear:
    """Obeys the run; nothing is heard before the event loop runs."""

    def __init__(self) -> None:
        self.stop = Stop()
        self._go: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def listen(self, lines: Iterator[bytes]) -> None:
        """Hear what is said from now on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._obey, Order(stop=True))
        threading.Thread(target=self._hear, args=(loop.call_soon_threadsafe, lines), daemon=True).start()

    async def gather(self) -> int:
        """Wait for the others; the moment at which all start."""
        _say(Word(ready=True))
        return await self._go

    def _hear(self, call: Callable[..., object], lines: Iterator[bytes]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before us
            for line in lines:
                call(self._obey, parse(Order, line))
            call(self._obey, Order(stop=True))

    def _obey(self, order: Order) -> None:
        if order.go_ns is not None and not self._go.done():
            self._go.set_result(order.go_ns)
        if order.stop:
            self.stop.ask("the run ends")
        if order.cut:
            self.stop.cut_off()


async def _work(job: Job, lines: Iterator[bytes]) -> Word:
    sys.setswitchinterval(job.switch_interval_s)
    ear = _Ear()
    ear.listen(lines)
    with Alarm() as alarm:
        engine, log = _engine(job, ear, alarm)
        try:
            run = await _reporting(engine)
        except BaseException:
            log.close(whole=False)
            raise
        progress, written = engine.progress, log.close(whole=True)
        return Word(done=progress.done, accepted=progress.accepted, run=run, log=log.name, written=written)


def _engine(job: Job, ear: _Ear, alarm: Alarm) -> tuple[Engine, ShareWriter]:
    case, share = job.case, job.share
    endpoint = replace(job.endpoint, auth=job.auth)
    started_at = datetime.fromisoformat(job.started_at)
    composer, request = composer_for(case, job.key_prefix, seed=job.seed, date=started_at)
    first_id = 1 + share.number * IDS_EACH
    make_session = session_maker(case, endpoint, Guard(job.lab), request, alarm, first_id)
    log = ShareWriter(
        Path(job.folder), case, share, key_prefix=job.key_prefix, secrets=map(Secret, job.secrets)
    )
    engine = Engine(
        case=case,
        composer=composer,
        make_session=make_session,
        recorder=log,
        clock=RunClock(job.clock_offset_ns),
        alarm=alarm,
        stop=ear.stop,
        seed=job.seed,
        throttling=throttling_of(case),
        grace_s=job.grace_s,
        share=share,
        gather=ear.gather,
    )
    return engine, log


async def _reporting(engine: Engine) -> CaseRun:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_report, engine.progress)
        run = await engine.run()
        tasks.cancel_scope.cancel()
    return run


async def _report(progress: Progress) -> None:
    told = 0
    while True:
        await anyio.sleep(PROGRESS_S)
        if progress.done != told:
            told = progress.done
            _say(Word(done=told, accepted=progress.accepted))


if __name__ == "__main__":
    sys.exit(main())
