"""Connections for any client: a bounded number of them, kept for the next message or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from bench.transports.session import Recovery, Session

QUIT_LIMIT_S = 1.0
"""The longest a leave-taking may take; it never changes what became of a message."""


@dataclass(frozen=True, slots=True)
class Release:
    """What was said on a connection between its message's end and the return of its slot."""

    quit: bool = False
    """Whether a QUIT was answered."""
    rset: bool = False
    """Whether an RSET was answered: a round trip that belongs to no message."""


class Pool:
    """At most `size` connections at a time; a full pool makes the next message wait.

    With `keep`, a connection goes back for the next message (the one used last is used
    first, so that a half-idle pool keeps few connections warm); without, every message
    gets a fresh one.
    """

    def __init__(self, size: int, make: Callable[[], Session], *, keep: bool) -> None:
        self._slots = anyio.Semaphore(size, fast_acquire=True)
        self._make = make
        self._keep = keep
        self._idle: list[Session] = []

    async def acquire(self) -> Session:
        """Wait for a slot, then give the session that has it: an idle one or a new, unconnected one."""
        await self._slots.acquire()
        while self._idle:
            session = self._idle.pop()
            if session.alive:
                return session
            await session.abort()
        return self._make()

    async def release(self, session: Session, *, clean: bool, refused: bool) -> Release:
        """Give the slot back, and tell what that took.

        `clean`: the last message was answered for good; `refused`: it was answered with a
        refusal, so the connection must prove itself (RSET) before it is used again.
        """
        try:
            if not clean:
                await session.abort()
                return Release()
            if not self._keep:
                return Release(quit=await _leave(session))
            recovery = await _prove(session, refused=refused)
            if recovery.clean:
                self._idle.append(session)
            else:
                await session.abort()
            return Release(rset=recovery.rset)
        finally:
            self._slots.release()

    async def close(self) -> tuple[int, ...]:
        """Take leave on every idle connection, all at once; the ids of those whose QUIT was answered."""
        idle, self._idle = self._idle, []
        answered: list[int] = []

        async def leave(session: Session) -> None:
            if await _leave(session):
                answered.append(session.connection_id)

        async with anyio.create_task_group() as tasks:
            for session in idle:
                tasks.start_soon(leave, session)
        return tuple(sorted(answered))


async def _leave(session: Session) -> bool:
    """Take leave politely, at once where that takes too long; True if a QUIT was answered."""
    with anyio.move_on_after(QUIT_LIMIT_S, shield=True):
        return await session.close()
    await session.abort()
    return False


async def _prove(session: Session, *, refused: bool) -> Recovery:
    """Whether a connection is fit for another message; after a refusal it has to show that."""
    if not session.alive or not refused:
        return Recovery(session.alive)
    with anyio.move_on_after(QUIT_LIMIT_S, shield=True):
        return await session.recover()
    return Recovery(clean=False)
