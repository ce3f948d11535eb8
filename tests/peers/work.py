"""What a side is asked to do, and a run of it that is checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.peers.compare import Cost, Ended, HarnessError, net, run_process
from tests.peers.servers import Kind, Taken, serve

KIB = 1024
SIZE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Work:
    """The messages of one run."""

    kind: Kind
    messages: int
    sessions: int = 50
    size_bytes: int = KIB
    """Of the whole MIME message (SMTP) or the body (HTTP)."""
    pooled: bool = True
    pipelined: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """Some work, with the server that waits for it and a folder for whatever a program needs."""

    work: Work
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where HTTP is answered."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def body(self) -> str:
        """A file with the body to POST."""
        path = self.folder / "body"
        path.write_bytes(b"x" * self.work.size_bytes)
        return str(path)


@dataclass(frozen=True, slots=True)
class Side:
    """A program under comparison, ours or another."""

    name: str
    version: Callable[[], str | None]
    """What is installed; None: nothing."""
    command: Callable[[Job], list[str]]
    check: Callable[[Job, Ended], None] = lambda job, ended: None
    """Raises HarnessError when the program's own account tells of other work."""
    environment: Callable[[Job], Mapping[str, str]] = field(default=lambda job: {})
    timed: bool = False
    """It sends for a time: how many, only the server knows."""


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the side that is measured, another for the server."""

    side: int
    server: int

    @classmethod
    def choose(cls) -> Cores:
        """Two cores that this process may use; raises HarnessError without them."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise HarnessError("needs two cores: one for the side that is measured, one for the server")
        return cls(usable[0], usable[1])


def measure(
    side: Side, work: Work, cores: Cores, started: Callable[[int], None] = lambda pid: None
) -> tuple[Cost, Ended]:
    """One run of a whole process, pinned, against a new server that is pinned elsewhere.

    Raises HarnessError when the server did not take exactly this work.
    """

    def act(port: int) -> Ended:
        with TemporaryDirectory(prefix="peers-") as name:
            job = Job(work, port, Path(name))
            command = ["taskset", "-c", str(cores.side), *side.command(job)]
            ended = run_process(command, job.folder, side.environment(job), started)
            if ended.code != 0:
                raise HarnessError(f"{side.name} ended with {ended.code}: {ended.errors.strip()[-300:]}")
            side.check(job, ended)
            return ended

    ended, taken = serve(work.kind, cores.server, act)
    check_taken(side, work, taken)
    return Cost(taken.messages, ended.cpu_s, ended.wall_s), ended


def check_taken(side: Side, work: Work, taken: Taken) -> None:
    """Raise HarnessError if the server took other work than was ordered."""
    if taken.messages != work.messages and not (side.timed and taken.messages):
        raise HarnessError(f"{side.name} sent {taken.messages} messages instead of {work.messages}")
    for size in taken.sizes_bytes:
        if abs(size - work.size_bytes) > SIZE_TOLERANCE * work.size_bytes:
            raise HarnessError(f"{side.name} sent {size} bytes instead of {work.size_bytes}")


@cache
def check_size(side: Side, size_bytes: int, cores: Cores) -> None:
    """Have a server keep one SMTP message of this size; raises HarnessError if it has another."""
    measure(side, Work(Kind.DUMP, 1, sessions=1, size_bytes=size_bytes), cores)


def costs(side: Side, work: Work, cores: Cores) -> Callable[[], Cost]:
    """What measures this work of this side anew, without start-up."""

    def run(messages: int) -> Cost:
        return measure(side, replace(work, messages=messages), cores)[0]

    if work.kind is Kind.SMTP:
        check_size(side, work.size_bytes, cores)
    return partial(net, run, work.messages)
