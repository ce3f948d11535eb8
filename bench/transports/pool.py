"""Connections for any client: a bounded number of them, kept for the next message or not."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from bench.clock import Clock
from bench.model import PoolOptions
from bench.transports.session import ERRAND_LIMIT_S, Recovery, Session


@dataclass(frozen=True, slots=True)
class Release:
    """What was said on a connection between its message's end and the return of its slot."""

    quit: bool = False
    """Whether a QUIT was answered."""
    rset: bool = False
    """Whether an RSET was answered: a round trip that belongs to no message."""


NOTHING: Final = Release()
LEFT: Final = Release(quit=True)


class Pool:
    """At most `options.size` connections at a time; a full pool makes the next message wait, in order.

    With `keep`, a connection goes back for the next message, as long as the options allow; without, every
    message gets a fresh one. A connection that has reached a limit is left in order and replaced by the
    next message that needs one, which pays for it.
    """

    def __init__(
        self, options: PoolOptions, make: Callable[[], Session], *, keep: bool, clock: Clock
    ) -> None:
        self._options = options
        self._make = make
        self._keep = keep
        self._clock = clock
        self._free = options.size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: deque[_Idle] = deque()
        self._opened_ns: dict[int, int] = {}
        """connection_id -> when it was first given out; only where age matters."""
        self._from_left = options.order == "fifo"
        self._limited = options.max_messages is not None or options.max_age_ns is not None

    # ------------------------------------------------------------------ a message's way

    def take(self) -> Session | None:
        """What `acquire` gives, where it is to be had without waiting."""
        if not self._free:
            return None
        if self._idle:
            session = self._idle[0 if self._from_left else -1].session
            if not session.alive:
                return None
            (self._idle.popleft if self._from_left else self._idle.pop)()
        else:
            session = self._new()
        self._free -= 1
        return session

    async def acquire(self) -> Session:
        """Wait for a slot, then give the session that has it: an idle one or a new, unconnected one."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        while self._idle:
            session = (self._idle.popleft() if self._from_left else self._idle.pop()).session
            if session.alive:
                return session
            try:
                await self._drop(session)
            except BaseException:  # cancelled
                self._give_slot()
                raise
        return self._new()

    def put_back(self, session: Session, now_ns: int) -> bool:
        """Give a slot back with its connection, whose message has just been accepted, where that takes no
        waiting; False where it takes `release`."""
        if not self._keep or not session.alive or (self._limited and self._is_used_up(session)):
            return False
        self._idle.append(_Idle(session, now_ns))
        if self._waiting:
            self._give_slot()
        else:
            self._free += 1
        return True

    async def release(self, session: Session, *, clean: bool, refused: bool) -> Release:
        """Give the slot back, and tell what that took.

        `clean`: the last message was answered for good; `refused`: it was answered with a
        refusal, so the connection must prove itself (RSET) before it is used again.
        """
        try:
            if not clean:
                await self._drop(session)
                return NOTHING
            if not self._keep or self._is_used_up(session):
                self._opened_ns.pop(session.connection_id, None)
                answered = await (session.close() if session.watches_itself else _leave(session))
                return LEFT if answered else NOTHING
            recovery = await _prove(session, refused=refused)
            if recovery.clean:
                self._idle.append(_Idle(session, self._clock()))
            else:
                await self._drop(session)
            return Release(rset=recovery.rset)
        finally:
            self._give_slot()

    def _is_used_up(self, session: Session) -> bool:
        options = self._options
        if options.max_messages is not None and session.uses >= options.max_messages:
            return True
        if options.max_age_ns is None:
            return False
        now_ns = self._clock()
        return now_ns - self._opened_ns.setdefault(session.connection_id, now_ns) >= options.max_age_ns

    def _new(self) -> Session:
        session = self._make()
        if self._options.max_age_ns is not None:
            self._opened_ns[session.connection_id] = self._clock()
        return session

    async def _drop(self, session: Session) -> None:
        self._opened_ns.pop(session.connection_id, None)
        await session.abort()

    async def _leave(self, session: Session) -> bool:
        self._opened_ns.pop(session.connection_id, None)
        return await _leave(session)

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_slot()  # it came too late
            raise

    def _give_slot(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    # ------------------------------------------------------------------ between messages

    async def preconnect(self, timeout_ns: int) -> int:
        """Open every connection now, where the options ask for it; how many could be."""
        if not self._options.preconnect or not self._keep:
            return 0
        sessions = [self._new() for _ in range(self._options.size)]
        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(self._open, session, timeout_ns)
        return len(self._idle)

    async def _open(self, session: Session, timeout_ns: int) -> None:
        if await session.open(self._clock, timeout_ns):
            self._idle.append(_Idle(session, self._clock()))
        else:
            await self._drop(session)

    async def look_after(self) -> None:
        """Leave connections that have lain idle for too long or are too old, and ask others for a sign of
        life; until cancelled. Without such limits there is nothing to do."""
        options = self._options
        given = (options.idle_ns, options.ping_ns, options.max_age_ns)
        limits = [limit for limit in given if limit is not None]
        if not limits or not self._keep:
            return
        while True:
            await anyio.sleep(min(limits) / 4e9)
            await self._look_through()

    async def _look_through(self) -> None:
        options, now_ns = self._options, self._clock()
        for idle in list(self._idle):
            if idle not in self._idle or not self._free:
                continue
            unused_ns, unpinged_ns = now_ns - idle.since_ns, now_ns - idle.pinged_ns
            unused = options.idle_ns is not None and unused_ns >= options.idle_ns
            if unused or self._is_used_up(idle.session):
                self._take_out(idle)
                await self._leave(idle.session)
                self._give_slot()
            elif options.ping_ns is not None and unpinged_ns >= options.ping_ns:
                self._take_out(idle)
                await self._ping(idle)

    def _take_out(self, idle: _Idle) -> None:
        """While something is said on it, an idle connection has a slot: there are never more than `size`."""
        self._idle.remove(idle)
        self._free -= 1

    async def _ping(self, idle: _Idle) -> None:
        alive = False
        try:
            with anyio.move_on_after(ERRAND_LIMIT_S):
                alive = await idle.session.ping()
        finally:
            if alive:
                idle.pinged_ns = self._clock()
                place = sum(each.since_ns <= idle.since_ns for each in self._idle)
                self._idle.insert(place, idle)  # where it was: they lie in the order of their coming back
            else:
                await self._drop(idle.session)
            self._give_slot()

    async def close(self) -> tuple[int, ...]:
        """Take leave on every idle connection, all at once; the ids of those whose QUIT was answered."""
        idle, self._idle = self._idle, deque()
        answered: list[int] = []

        async def leave(session: Session) -> None:
            if await _leave(session):
                answered.append(session.connection_id)

        async with anyio.create_task_group() as tasks:
            for each in idle:
                tasks.start_soon(leave, each.session)
        return tuple(sorted(answered))


class _Idle:
    """A connection nobody uses, and since when."""

    __slots__ = ("pinged_ns", "session", "since_ns")

    def __init__(self, session: Session, now_ns: int) -> None:
        self.session = session
        self.since_ns = self.pinged_ns = now_ns


async def _leave(session: Session) -> bool:
    """Take leave politely, at once where that takes too long; True if a QUIT was answered."""
    if session.watches_itself:
        return await session.close()
    with anyio.move_on_after(ERRAND_LIMIT_S, shield=True):
        return await session.close()
    await session.abort()
    return False


async def _prove(session: Session, *, refused: bool) -> Recovery:
    """Whether a connection is fit for another message; after a refusal it has to show that."""
    if not session.alive or not refused:
        return Recovery(session.alive)
    if session.watches_itself:
        return await session.recover()
    with anyio.move_on_after(ERRAND_LIMIT_S, shield=True):
        return await session.recover()
    return Recovery(clean=False)
