"""How a task of ours waits for an answer: woken on the spot, and not for longer than it may.

`Handover` is what an `asyncio.Future` is, but for one thing: its result resumes the task at once, inside
the callback that brought the last byte, instead of in the event loop's next round. Asyncio takes any
object with a future's methods for one (`asyncio.isfuture`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Generic, Protocol, TypeVar

from bench.clock import Alarm, monotonic_ns

T = TypeVar("T")


class Handover(Generic[T]):
    """A result that one task waits for and a callback of the event loop brings."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_cancellation",
        "_context",
        "_done",
        "_loop",
        "_result",
        "_wake",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wake: Callable[[Handover[T]], object] | None = None
        self._cancellation: asyncio.CancelledError | None = None
        self._done = False
        self._asyncio_future_blocking = False

    def finish(self, result: T) -> None:
        """Resume the task now. From callbacks of the event loop only, never from inside a task, unless that
        is the one which is going to wait. Does nothing once it is done.

        Nor from inside an exception's handler: a coroutine that mypyc has compiled takes the exception that
        is being handled where it is resumed for its own.
        """
        if self._done:
            return
        self._done = True
        self._result = result
        wake = self._wake
        if wake is not None:
            self._context.run(wake, self)

    def finish_soon(self, result: T) -> None:
        """Resume the task in the event loop's next round: from anywhere."""
        self._loop.call_soon(self.finish, result)

    def __await__(self) -> Generator[Handover[T], None, T]:
        if self._done:
            return self.result()
        self._asyncio_future_blocking = True
        yield self
        return self._result

    # ---------------------------------------------------- what asyncio's tasks ask of a future

    def done(self) -> bool:
        """Whether there is a result, or nobody waits for one any more."""
        return self._done

    def add_done_callback(self, wake: Callable[[Handover[T]], object], *, context: Context) -> None:
        """Remember how to resume the task."""
        self._wake, self._context = wake, context

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop the task runs in."""
        return self._loop

    def cancel(self, msg: object = None) -> bool:
        """Resume the task with CancelledError, in the next round; by the message anyio knows its own."""
        if self._done:
            return False
        self._done = True
        self._cancellation = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        if self._wake is not None:
            self._loop.call_soon(self._wake, self, context=self._context)
        return True

    def result(self) -> T:
        """The result; raises CancelledError instead once cancelled."""
        if self._cancellation is not None:
            raise self._cancellation
        return self._result


class Expiring(Protocol):
    """Something that can run out of time."""

    def expire(self) -> None:
        """The time is up."""
        ...


class Deadlines:
    """Deadlines that are all equally far away when they are set, at next to no cost for each.

    At most one of them is waited for at any time, so a deadline that is met in time costs a dictionary's
    insertion and deletion.
    """

    __slots__ = ("_alarm", "_armed", "_pending")

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._pending: dict[Expiring, int] = {}  # in order of time, as all are equally far away
        self._armed = False

    def set(self, who: Expiring, timeout_ns: int) -> None:
        """Let `who` expire after `timeout_ns`, unless it is cleared. It has none yet."""
        at_ns = monotonic_ns() + timeout_ns
        self._pending[who] = at_ns
        if not self._armed:
            self._armed = True
            self._alarm.call_at(at_ns, self._ring)

    def clear(self, who: Expiring) -> None:
        """Forget the deadline of `who`, if it has one."""
        self._pending.pop(who, None)

    def _ring(self) -> None:
        self._armed = False
        now_ns = monotonic_ns()
        overdue = []
        for who, at_ns in self._pending.items():
            if at_ns > now_ns:
                self._armed = True
                self._alarm.call_at(at_ns, self._ring)
                break
            overdue.append(who)
        for who in overdue:
            if self._pending.pop(who, None) is not None:
                who.expire()
