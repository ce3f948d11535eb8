"""Cases that run interleaved in time: when all of them begin, and whose turn it is.

What happens to the machine or the network meanwhile happens to all of them alike, so that what differs
between them is theirs. An open load needs nothing from here but the common start: its schedule says whose
each slot is (`pacing.Interleaved`). The workers of a closed load take turns: of those with the same number,
one for each case, only one is sending at a time, in an order drawn anew for every round.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from random import Random

from bench.clock import Clock

LEAD_NS = 20_000_000
"""From the moment at which all are ready to their common start."""


class Table:
    """Whose turn it is among the workers that share a number."""

    def __init__(self, members: frozenset[int], rng: Random) -> None:
        self._members, self._rng = set(members), rng
        self._round: deque[int] = deque()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def take(self, member: int) -> None:
        """Wait until it is this one's turn; it stays so until it passes on or leaves."""
        while self._next() != member:
            self._waiting[member] = asyncio.get_running_loop().create_future()
            await self._waiting[member]

    def pass_on(self) -> None:
        """Whose turn it was has done what it wanted."""
        self._round.popleft()
        self._call()

    def leave(self, member: int) -> None:
        """Never wait for this one again."""
        self._members.discard(member)
        if member in self._round:
            self._round.remove(member)
        self._call()

    def _next(self) -> int | None:
        if not self._round:
            order = sorted(self._members)
            self._rng.shuffle(order)
            self._round.extend(order)
        return self._round[0] if self._round else None

    def _call(self) -> None:
        following = self._next()
        waiting = None if following is None else self._waiting.pop(following, None)
        if waiting is not None and not waiting.done():  # else it has been cut off
            waiting.set_result(None)


@dataclass(slots=True)
class Interleaving:
    """What the cases of one comparison share."""

    of: int
    """How many they are."""
    seed: int
    now: Clock
    first: int = 0
    """The message with which they begin; those before it belong to an earlier part of the run."""
    _arrived: int = 0
    _gone: set[int] = field(default_factory=set)
    _start: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _tables: dict[tuple[bool, int], Table] = field(default_factory=dict)

    def place(self, number: int) -> Place:
        """The part of the case of that number, from 0."""
        return Place(self, number)

    async def gather(self) -> int:
        """Wait for the others; the moment at which all start."""
        self._arrived += 1
        self._begin()
        return await self._start

    def leave(self, number: int) -> None:
        """This case has ended, or never began: nobody waits for it any more."""
        self._gone.add(number)
        self._begin()
        for table in self._tables.values():
            table.leave(number)

    def table(self, worker: int, *, warming: bool) -> Table:
        """Where the workers of this number meet."""
        key = (warming, worker)
        if key not in self._tables:
            members = frozenset(range(self.of)) - self._gone
            self._tables[key] = Table(members, Random(f"sendbench turns {self.seed} {self.first} {key}"))
        return self._tables[key]

    def _begin(self) -> None:
        if self._arrived + len(self._gone) >= self.of and not self._start.done():
            self._start.set_result(self.now() + LEAD_NS)


@dataclass(frozen=True, slots=True)
class Place:
    """One case's part in an interleaving."""

    whole: Interleaving
    number: int

    def seat(self, worker: int, *, warming: bool) -> Seat:
        """Where one of its workers waits for its turn."""
        return Seat(self.whole.table(worker, warming=warming), self.number)


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place at its table."""

    table: Table
    number: int

    async def take(self) -> None:
        """See `Table.take`."""
        await self.table.take(self.number)

    def pass_on(self) -> None:
        """See `Table.pass_on`."""
        self.table.pass_on()

    def leave(self) -> None:
        """See `Table.leave`."""
        self.table.leave(self.number)
