"""What the platform stole from us: a small process beside the generator that only sleeps.

A thread of our own would be the wrong witness: it needs the interpreter's lock to wake up, and would
report what our own event loop was busy with. A process competes for the processors as the generator does
and for nothing else (Gil Tene's jHiccup, from outside).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.abc import Process

ANSWER_S = 5.0
"""How long its answer may take before there is none."""
MOMENTS = 1000
"""Fewer cannot show the one in a thousand."""

_SLEEPER = str(Path(__file__).with_name("sleeper.py"))


class Seen(NamedTuple):
    """How late a sleeper woke up; None where that is not known."""

    p999_ns: int | None = None
    max_ns: int | None = None


class Hiccups:
    """A running sleeper, or none where it could not be started."""

    def __init__(self, process: Process | None) -> None:
        self._process = process

    async def between(self, spans: Iterable[tuple[int, int]]) -> Seen:
        """What was seen in these spans (from, to) of CLOCK_MONOTONIC. Asked once: it ends the sleeper."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return Seen()
        try:
            with anyio.fail_after(ANSWER_S):
                asked = b" ".join(b"%d %d" % span for span in spans)
                await self._process.stdin.send(asked + b"\n")
                moments, p999_ns, max_ns = map(int, (await self._process.stdout.receive()).split())
        except (OSError, ValueError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            return Seen()
        return Seen(p999_ns if moments >= MOMENTS else None, max_ns if moments else None)


@asynccontextmanager
async def watching() -> AsyncIterator[Hiccups]:
    """Have somebody sleep beside the block. Never fails: what is not known is None."""
    process = await _start()
    try:
        yield Hiccups(process)
    finally:
        if process is not None:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()


async def _start() -> Process | None:
    try:
        return await anyio.open_process(
            [sys.executable, "-I", "-S", _SLEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run
        )
    except OSError:
        return None
