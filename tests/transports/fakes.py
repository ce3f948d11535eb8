"""A session and a clock that only tests have: nothing here sleeps or reads a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from bench.clock import Alarm
from bench.model import Message, Outcome
from bench.transports.library import LibrarySession
from bench.transports.session import Answer, Recovery, Span


class FakeClock:
    """A clock that stands still until told to go on."""

    offset_ns = 1_000_000_000_000

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def absolute(self) -> int:
        return self.now_ns + self.offset_ns

    def advance(self, ns: int) -> None:
        self.now_ns += ns


class FakeAlarm:
    """Sleeping moves the clock."""

    kind = "fake"

    def __init__(self, clock: FakeClock, late_ns: int = 0) -> None:
        self._clock, self._late_ns = clock, late_ns

    async def sleep_until(self, at_ns: int) -> None:
        target_ns = at_ns - self._clock.offset_ns + self._late_ns
        await anyio.lowlevel.checkpoint()
        self._clock.now_ns = max(self._clock.now_ns, target_ns)


class Quiet(Alarm):
    """Never rings, and needs no event loop."""

    def __init__(self) -> None:
        pass


@dataclass
class FakeSession(LibrarySession):
    """Answers as told; each phase takes the time it is told to take."""

    connection_id: int = 1
    clock: FakeClock | None = None
    phases_ns: dict[str, int] = field(default_factory=lambda: {"mail": 1000})
    answer: Callable[[Message], Answer] = lambda _message: Answer(Outcome.ACCEPTED, 250)
    hold: Callable[[], anyio.Event] | None = None
    """Makes an event each exchange waits for before it answers."""
    uses: int = 0
    http_version: str | None = None
    tls_version: str | None = "TLSv1.3"
    opened: bool = False
    healthy: bool = True
    log: list[str] = field(default_factory=list)

    @property
    def first_phase(self) -> str:
        return "mail" if self.opened else "dns"

    @property
    def alive(self) -> bool:
        return self.opened and self.healthy

    async def exchange(self, message: Message, span: Span) -> Answer:
        self.uses += 1
        self.log.append(f"{self.connection_id}:send {message.seq}")
        if not self.opened:
            self.opened = True
            span.local_port = 40_000 + self.connection_id
        for phase, ns in self.phases_ns.items():
            span.enter(phase)
            if self.clock is not None:
                self.clock.advance(ns)
        span.handed_over = True
        if self.hold is not None:
            await self.hold().wait()
        await anyio.lowlevel.checkpoint()
        span.round_trip(4)
        return self.answer(message)

    async def recover(self) -> Recovery:
        self.log.append(f"{self.connection_id}:rset")
        return Recovery(self.healthy, rset=True)

    async def close(self) -> bool:
        self.log.append(f"{self.connection_id}:quit")
        was_open, self.opened = self.opened, False
        return was_open

    async def abort(self) -> None:
        self.log.append(f"{self.connection_id}:abort")
        self.opened = False
