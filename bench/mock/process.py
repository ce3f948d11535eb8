"""Mocks in a process of their own, as `run` uses them: their CPU time must not be the generator's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from bench.errors import BenchError, ExitCode, RefusedError, SetupError, UsageError
from bench.mock.spec import MockSpec, Ready, to_json

START_S = 20.0
STOP_S = 5.0
LINE_LIMIT_BYTES = 2**20
_ERRORS: dict[int, type[BenchError]] = {ExitCode.REFUSED: RefusedError, ExitCode.USAGE: UsageError}


@asynccontextmanager
async def mock_process(spec: MockSpec) -> AsyncIterator[Ready]:
    """The mock of one `spec`; see `mocks_in_one_process`."""
    async with mocks_in_one_process([spec]) as (ready,):
        yield ready


@asynccontextmanager
async def mocks_in_one_process(specs: Sequence[MockSpec]) -> AsyncIterator[Sequence[Ready]]:
    """Start the mock of each of `specs`, if any, and end them with the block; their logs are complete then.

    The process is ended by closing its standard input, so it goes even if this process is killed; what does
    not go within STOP_S is killed. Raises SetupError when it does not start, or RefusedError or UsageError
    where that is why; SetupError too when it ended otherwise than in order, as logs may then lack something.
    """
    if not specs:
        yield []
        return
    process = await anyio.open_process(
        [sys.executable, "-P", "-m", "bench.mock"],  # -P: a folder `bench` where the user works is not ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        env={**os.environ, "PYTHONPATH": _python_path()},
        start_new_session=True,  # Ctrl-C is for the run, which ends the mock in order
    )
    assert process.stdout is not None
    words = BufferedByteReceiveStream(process.stdout)
    try:
        yield await _start(process, words, specs)
        with anyio.CancelScope(shield=True):
            await _stop(process)
            if process.returncode != 0:
                raise SetupError(await _why(process, words))
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)
            await process.aclose()


def _python_path() -> str:
    ours = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))


async def _start(
    process: Process, words: BufferedByteReceiveStream, specs: Sequence[MockSpec]
) -> Sequence[Ready]:
    assert process.stdin is not None
    try:
        with anyio.fail_after(START_S):
            await process.stdin.send(to_json(specs).encode() + b"\n")
            return [await _said(process, words) for _ in specs]
    except TimeoutError:
        raise SetupError(f"the mock was not ready within {START_S:g} s") from None
    except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.DelimiterNotFound, ValueError) as error:
        raise SetupError("the mock ended before it was ready; its own words stand above") from error


async def _said(process: Process, words: BufferedByteReceiveStream) -> Ready:
    line = await words.receive_until(b"\n", LINE_LIMIT_BYTES)
    shape = json.loads(line)
    if "error" in shape:
        raise _ERRORS.get(await process.wait(), SetupError)(shape["error"])
    return Ready.from_json(line.decode())


async def _stop(process: Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with anyio.move_on_after(STOP_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _why(process: Process, words: BufferedByteReceiveStream) -> str:
    try:
        return str(json.loads(await words.receive_until(b"\n", LINE_LIMIT_BYTES))["error"])
    except anyio.IncompleteRead:
        return f"the mock ended with code {process.returncode}: its log may be incomplete"
