"""What a run and its workers say to each other: JSON lines on the workers' standard input and output.

A worker hears one `Job` and then `Order`s, until its standard input ends; it says `Word`s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from bench.model import Auth, Case, CaseRun, Endpoint, Secret
from bench.pacing import Share
from bench.store import codec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """A share of a case, and all that is needed to run it.

    Credentials are text here, and nowhere else: the pipe to the worker is private, and a file or an
    environment that they came from may hold something else by now.
    """

    case: Case
    """Without credentials; see `auth`."""
    endpoint: Endpoint
    """The same."""
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """What must not be stored."""
    lab: tuple[str, ...]
    """Networks that may be sent to beside the loopback."""
    folder: str
    """The run folder; the worker puts its log there."""
    key_prefix: str
    seed: int
    started_at: str
    """When the run began, ISO 8601; it stands in the messages."""
    clock_offset_ns: int
    grace_s: float
    switch_interval_s: float
    uvloop: bool
    number: int
    of: int

    @property
    def share(self) -> Share:
        """Which messages."""
        return Share(self.number, self.of)

    @property
    def auth(self) -> Auth | None:
        """The credentials to show."""
        if self.password is None:
            return None
        return Auth(None if self.user is None else Secret(self.user), Secret(self.password))


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told; the end of its standard input means `stop`."""

    go_ns: int | None = None
    """All are ready: start to measure at this moment of CLOCK_MONOTONIC."""
    stop: bool = False
    """Start nothing new; what is in flight may finish."""
    cut: bool = False
    """Give up what is in flight, too."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a worker has to say."""

    ready: bool = False
    """It is connected as far as asked for, warm where the load is closed, and waits for the others."""
    done: int = 0
    accepted: int = 0
    run: CaseRun | None = None
    """Its share has come to its end, and everything about it is in its log."""
    log: str = ""
    written: int = 0
    """The rows in its log."""
    error: str | None = None
    """Why it gave up."""
    kind: str = ""
    """The name of that error's class."""


def dump(value: Job | Order | Word) -> bytes:
    """One line, with its end."""
    return codec.dump_line(value) + b"\n"


def parse(kind: type[T], line: bytes) -> T:
    """Read `dump` back. Raises ValueError."""
    return codec.decode(kind, codec.load(line))
