"""Connections for any client: a bounded number of them, kept for the next message or not."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from bench.transports.session import Session

QUIT_LIMIT_S = 1.0
"""The longest a leave-taking may take; it never changes what became of a message."""


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

    async def release(self, session: Session, *, clean: bool, refused: bool) -> bool:
        """Give the slot back; True if the connection was taken leave of with a QUIT.

        `clean`: the last message was answered for good; `refused`: it was answered with a
        refusal, so the connection must prove itself (RSET) before it is used again.
        """
        try:
            if not clean:
                await session.abort()
                return False
            if not self._keep:
                return await _leave(session)
            if await _proven(session, refused=refused):
                self._idle.append(session)
            else:
                await session.abort()
            return False
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


async def _proven(session: Session, *, refused: bool) -> bool:
    """Whether a connection is fit for another message; after a refusal it has to show that."""
    if not session.alive:
        return False
    with anyio.move_on_after(QUIT_LIMIT_S, shield=True):
        return not refused or await session.recover()
    return False
