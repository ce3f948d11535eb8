"""`python -m bench.mock`: a mock that lives until its standard input ends.

It reads the `MockSpec` of each as one JSON line, answers with a JSON line for each, its `Ready`, or with one,
`{"error": text}`, and goes on until standard input ends, SIGTERM or SIGINT comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence

from bench.errors import BenchError
from bench.mock.serve import serve
from bench.mock.spec import MockSpec, Ready, from_json


def main() -> int:
    """Run; the exit code is the documented one of the error that ended it, or 0."""
    try:
        _runner()(_live(from_json(_read_line(sys.stdin.fileno()))))
    except BenchError as error:
        _say(json.dumps({"error": str(error)}))
        return int(error.exit_code)
    return 0


def _runner() -> Callable[[Coroutine[None, None, None]], None]:
    try:  # it does not exist everywhere
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _live(specs: Sequence[MockSpec]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch = threading.Thread(target=_watch, args=(loop, stop), daemon=True)
    watch.start()
    await serve(specs, _announce, stop)


def _announce(ready: Sequence[Ready]) -> None:
    gc.collect()
    gc.freeze()  # what has been imported stays; the collector need not look at it while messages come
    _say("\n".join(each.to_json() for each in ready))


def _say(lines: str) -> None:
    """Where nobody listens any more standard input has ended, too, which is what ends the mock."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, lines.encode() + b"\n")


def _read_line(descriptor: int) -> str:
    """The first line; unbuffered, so that nothing is taken from whoever reads on."""
    line = b""
    while not line.endswith(b"\n") and (piece := os.read(descriptor, 65536)):
        line += piece
    return line.decode()


def _watch(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Wait for the end of standard input, in a thread: it may be a pipe, a terminal or a file."""
    while os.read(0, 65536):
        pass
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(main())
