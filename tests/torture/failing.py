"""Each call to the operating system fails once, one after the other: on sockets, and on files.

As curl's torture tests do with memory: count the calls of a good run, then fail the k-th, for every k.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import anyio

from bench.api import RunOptions, Stop, run_scenario
from bench.errors import StorageError
from bench.mock.log import read_taken
from bench.model import Outcome
from bench.scenario import load_scenario
from bench.store import files, frames, open_run, parquet
from bench.transports import dial
from tests.faults.running import mocks_in_this_process
from tests.runs import finished
from tests.torture.counted import Counted

SCENARIO = """\
version: 1
name: failing
target: mock
provider: sendgrid
timeout: 1s
message: {{size: 2KiB}}
mock: {{service_time: 2ms}}
load: {{model: closed, concurrency: 2, messages: {messages}}}
transport: {transport}
connection: {connection}
"""
WAYS = (("smtp", "pooled"), ("smtp", "unpooled"), ("api", "pooled"), ("api", "unpooled"))
ON_SOCKETS = ("connect_ex", "send", "sendmsg", "recv", "setsockopt", "getsockname")
ON_FILES = ("open", "write", "fsync", "ftruncate", "posix_fallocate")
ON_PATHS = ("mkdir", "rename", "replace", "symlink_to", "unlink")
SOCKET_ERRORS = (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOBUFS)
FILE_ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
HANG_S = 20


class Calls:
    """Counts calls, and lets one of them fail."""

    def __init__(self, fails: int = 0, error: int = 0) -> None:
        self.count = 0
        self._fails, self._error = fails, error
        self.failed = ""

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self._fails:
                self.failed = f"{name}: {errno.errorcode[self._error]}"
                raise OSError(self._error, os.strerror(self._error))
            return function(*arguments, **named)

        return call


@contextmanager
def failing_sockets(calls: Calls) -> Iterator[None]:
    """Our own clients' sockets are counted ones."""
    plain = dial.Socket

    def of(name: str) -> Callable[..., Any]:
        return lambda sock, *given: calls.wrap(name, partial(getattr(plain, name), sock))(*given)

    counted = type("Counted", (plain,), {name: of(name) for name in ON_SOCKETS})
    with mock.patch.object(dial, "Socket", calls.wrap("socket", counted)):
        yield


@contextmanager
def failing_files(calls: Calls) -> Iterator[None]:
    """The run folder is written by counted calls."""
    wrapped = {name: calls.wrap(name, getattr(os, name)) for name in ON_FILES}
    system = SimpleNamespace(**{**vars(os), **wrapped})
    defaults = {"write": system.write, "sync": calls.wrap("fdatasync", os.fdatasync)}
    with ExitStack() as stack:
        for module in (files, frames, parquet):
            stack.enter_context(mock.patch.object(module, "os", system))
        stack.enter_context(mock.patch.object(frames.FrameFile.__init__, "__kwdefaults__", defaults))
        stack.enter_context(mock.patch.object(files.write_all, "__defaults__", (system.write,)))
        for name in ON_PATHS:
            stack.enter_context(mock.patch.object(Path, name, _method(calls, name)))
        yield


def _method(calls: Calls, name: str) -> Callable[..., Any]:
    plain = getattr(Path, name)

    def call(self: Path, *given: Any, **named: Any) -> Any:
        if "results" not in self.parts:  # the test's own
            return plain(self, *given, **named)
        return calls.wrap(name, partial(plain, self))(*given, **named)

    return call


def every_socket_call(stride: int = 1, messages: int = 6) -> Counted:
    """Each call on a socket fails once: only the message it was for is touched, and its record is true."""
    found = Counted()
    for transport, connection in WAYS:
        text = SCENARIO.format(messages=messages, transport=transport, connection=connection)
        calls = Calls()
        _on_sockets(text, calls, messages, found)
        for number in range(1, calls.count + 1, stride):
            one = Calls(number, SOCKET_ERRORS[number % len(SOCKET_ERRORS)])
            _on_sockets(text, one, messages, found)
            found.done += 1
        found.facts[f"calls, {transport} {connection}"] = calls.count
    return found


def _on_sockets(text: str, calls: Calls, messages: int, found: Counted) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with failing_sockets(calls):
                run = finished(_run(text, Path(folder)))
            (case,) = run.summary.cases
            counts, jury = case.counts, case.referee
            assert counts.attempted == counts.scheduled == messages, "not all were attempted"
            assert counts.accepted + counts.rejected + counts.failed + counts.unknown == messages, "lost"
            assert counts.accepted >= messages - 1, f"only {counts.accepted} were accepted"
            assert jury is not None, "no referee"
            assert (jury.false_accepted, jury.unaccounted, jury.duplicates) == (0, 0, 0), str(jury)
        except Exception as error:
            found.blame(f"{text[-40:]!r}, {calls.failed}: {type(error).__name__}: {error}")


def every_file_call(stride: int = 1, messages: int = 30) -> Counted:
    """Each call on the run folder's files fails once: the run says so, and every message that was taken is on
    record."""
    text = SCENARIO.format(messages=messages, transport="smtp", connection="pooled")
    found, calls = Counted(), Calls()
    _on_files(text, calls, messages, found)
    for number in range(1, calls.count + 1, stride):
        _on_files(text, Calls(number, FILE_ERRORS[number % len(FILE_ERRORS)]), messages, found)
        found.done += 1
    found.facts["calls on files"] = calls.count
    return found


def _on_files(text: str, calls: Calls, messages: int, found: Counted) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            try:
                with failing_files(calls):
                    _run(text, Path(folder))
            except* StorageError:
                found.add("said by an error", 1)
            for run in Path(folder).glob("results/*-failing-*"):
                _check_record(run, messages)
        except Exception as error:
            found.blame(f"{calls.count} {calls.failed}: {type(error).__name__}: {error}")


def _check_record(run: Path, messages: int) -> None:
    """What the mock took is on record, and only a whole run is called complete."""
    log = run / "mock-000.jsonl"
    taken = {each.key for each in read_taken(log)} if log.exists() else set()
    if not taken and not (run / "manifest.json").exists():
        return  # the run was not even begun
    stored = open_run(run)
    outcomes = {row["key"]: row["outcome"] for row in stored.table().to_pylist()}
    assert taken <= {
        key for key, outcome in outcomes.items() if outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
    }
    assert {key for key, outcome in outcomes.items() if outcome == Outcome.ACCEPTED} <= taken
    if stored.manifest.state == "complete":
        assert len(outcomes) == messages, f"complete with {len(outcomes)} rows"
        assert set(outcomes.values()) == {Outcome.ACCEPTED}, "complete with messages of unknown outcome"


def _run(text: str, folder: Path) -> Path:
    file = folder / "failing.yaml"
    file.write_text(text, encoding="utf-8")
    scenario = load_scenario(file)

    async def main() -> Path:
        with anyio.fail_after(HANG_S):
            return await run_scenario(scenario, RunOptions(results=folder / "results", seed=1), Stop())

    with mock.patch("bench.api.mocks_in_one_process", mocks_in_this_process):
        return anyio.run(main, backend_options={"use_uvloop": True})
