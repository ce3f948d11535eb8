"""A server that a scenario has a command for, started for the time of a case.

The command is run as it stands, without a shell, in the folder in which sendbench was started. What it says
goes to a file; its process group ends with the case.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from bench.errors import SetupError, StorageError
from bench.scenario.target import PORT

START_S = 30.0
"""How long a server may take until it can be connected to."""
STOP_S = 5.0
"""How long it may take to end once it has been told to."""
LOOK_S = 0.05
LAST_LINES, LAST_BYTES = 3, 2000
"""Of its output so much, at most, is told where it went wrong."""
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@asynccontextmanager
async def server_process(
    command: str, host: str, output: Path, given_up: Callable[[], bool]
) -> AsyncIterator[int]:
    """Start a server and wait until it can be connected to at `host`; its port. It ends with the block.

    `given_up` says whether nobody wants it any more.

    Raises SetupError, with the last lines of its output, where it cannot be started, is not ready within
    START_S, or has ended by itself before the block has; StorageError where `output` cannot be written.
    """
    port = _free_port(host)
    said = _size(output)  # by those that were started before
    process = await _start([word.replace(PORT, str(port)) for word in shlex.split(command)], output)
    try:
        await _ready(process, host, port, lambda: _last_words(output, said), given_up)
        yield port
        if process.returncode is not None:
            raise SetupError(
                f"the server ended before its case did, {_ending(process)}{_last_words(output, said)}"
            )
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


async def _start(words: list[str], output: Path) -> Process:
    try:
        stream = os.open(output, _APPEND, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from error
    try:
        return await anyio.open_process(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,  # Ctrl-C is for the run, which ends it with all that it has started
        )
    except OSError as error:
        raise SetupError(f"the server's command cannot be run: {words[0]}: {error.strerror}") from error
    finally:
        os.close(stream)


async def _ready(
    process: Process, host: str, port: int, last_words: Callable[[], str], given_up: Callable[[], bool]
) -> None:
    with anyio.move_on_after(START_S):
        while process.returncode is None:
            if given_up():
                raise SetupError("the run was stopped before the server was ready")
            with suppress(OSError):
                await (await anyio.connect_tcp(host, port)).aclose()
                return
            await anyio.sleep(LOOK_S)
        raise SetupError(f"the server ended before it was ready, {_ending(process)}{last_words()}")
    raise SetupError(
        f"the server could not be connected to at {host}:{port} within {START_S:g} s{last_words()}"
    )


async def _stop(process: Process) -> None:
    """End the whole group: what the command itself has started, too."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with anyio.move_on_after(STOP_S):
        await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.aclose()


def _ending(process: Process) -> str:
    code = process.returncode or 0
    return f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _size(output: Path) -> int:
    return output.stat().st_size if output.exists() else 0


def _last_words(output: Path, after: int) -> str:
    """`; its last words (server-000.log): ...`, on one line: of what it said after so many bytes."""
    with output.open("rb") as stream:
        stream.seek(max(after, output.stat().st_size - LAST_BYTES))
        lines = stream.read().decode("utf-8", "replace").split("\n")
    said = [" ".join(line.split()) for line in lines if line.strip()][-LAST_LINES:]
    text = " / ".join("".join(one if one.isprintable() else "?" for one in line) for line in said)
    return f"; its last words ({output.name}): {text}" if text else f"; it said nothing ({output.name})"
