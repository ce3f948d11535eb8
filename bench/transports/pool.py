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
            with anyio.move_on_after(QUIT_LIMIT_S, shield=True):
                if not self._keep:
                    return await session.close()
                if session.alive and (not refused or await session.recover()):
                    self._idle.append(session)
                    return False
            await session.abort()
            return False
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Take leave on every idle connection, all at once."""
        idle, self._idle = self._idle, []
        with anyio.move_on_after(QUIT_LIMIT_S, shield=True):
            async with anyio.create_task_group() as tasks:
                for session in idle:
                    tasks.start_soon(session.close)
        for session in idle:
            await session.abort()
