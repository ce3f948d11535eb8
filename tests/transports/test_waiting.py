"""Handing a result over on the spot, and deadlines that cost next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from bench.clock import Alarm
from bench.transports.waiting import Deadlines, Handover
from tests.loops import BOTH_LOOPS

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)]


def handover() -> Handover[str]:
    return Handover(asyncio.get_running_loop())


def soon(function: Callable[..., object], *args: object) -> None:
    asyncio.get_running_loop().call_soon(function, *args)


# ---------------------------------------------------------------------------------- results


async def test_the_task_is_resumed_inside_the_callback() -> None:
    waiter, order = handover(), []

    def bring() -> None:
        order.append("before")
        waiter.finish("result")
        order.append("after")

    soon(bring)
    order.append(await waiter)
    order.append("task")
    await anyio.lowlevel.checkpoint()
    assert order == ["before", "result", "task", "after"]


async def test_a_result_that_is_there_already_is_not_waited_for() -> None:
    waiter, others = handover(), list[str]()
    soon(others.append, "ran")
    waiter.finish("result")
    assert (await waiter, others) == ("result", [])


async def test_only_the_first_result_counts() -> None:
    waiter = handover()
    soon(waiter.finish, "one")
    soon(waiter.finish, "two")
    assert await waiter == "one"
    await anyio.lowlevel.checkpoint()
    assert await waiter == "one"


async def test_a_result_can_come_in_the_next_round() -> None:
    waiter, order = handover(), []

    async def elsewhere() -> None:
        waiter.finish_soon("result")
        order.append("brought")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(elsewhere)
        order.append(await waiter)
    assert order == ["brought", "result"]


async def test_the_task_goes_on_in_its_own_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nobody's")
    waiter = handover()

    def bring() -> None:
        variable.set("the callback's")
        waiter.finish("result")

    soon(bring)
    variable.set("the task's")
    await waiter
    assert variable.get() == "the task's"
    assert asyncio.current_task() is not None


async def test_a_task_may_wait_again_before_the_callback_is_over() -> None:
    first, second = handover(), handover()

    def bring() -> None:
        first.finish("one")
        second.finish("two")

    soon(bring)
    assert [await first, await second] == ["one", "two"]


# ------------------------------------------------------------------------------ cancellation


async def test_cancelled_while_it_waits() -> None:
    waiter = handover()
    soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
    with pytest.raises(asyncio.CancelledError):
        await waiter
    asyncio.current_task().uncancel()  # type: ignore[union-attr]
    waiter.finish("too late")
    await anyio.lowlevel.checkpoint()
    assert waiter.done()


async def test_cancelled_before_it_waits() -> None:
    waiter = handover()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await waiter
    assert scope.cancelled_caught
    waiter.finish("too late")


async def test_what_was_cancelled_is_not_waited_for() -> None:
    waiter = handover()
    assert waiter.cancel("why")
    assert not waiter.cancel()
    with pytest.raises(asyncio.CancelledError, match="why"):
        await waiter


async def test_a_result_in_the_same_round_as_the_cancellation_changes_nothing() -> None:
    waiter, ended = handover(), []

    async def wait() -> None:
        try:
            ended.append(await waiter)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
        soon(waiter.finish, "result")
    assert ended == ["cancelled"]


async def test_a_result_before_the_cancellation_counts() -> None:
    waiter, ended = handover(), []

    async def wait() -> None:
        ended.append(await waiter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        soon(waiter.finish, "result")
        soon(tasks.cancel_scope.cancel)
    assert ended == ["result"]


async def test_a_timeout_around_it_is_a_timeout() -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await handover()
    with anyio.move_on_after(0) as scope:
        await handover()
    assert scope.cancelled_caught


async def test_a_shield_holds_the_cancellation_back() -> None:
    waiter, ended = handover(), []

    async def wait() -> None:
        with anyio.CancelScope(shield=True):
            ended.append(await waiter)
        await anyio.lowlevel.checkpoint()
        ended.append("went on")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        await anyio.lowlevel.cancel_shielded_checkpoint()
        soon(waiter.finish, "result")
    assert ended == ["result"]


async def test_what_was_cancelled_leaves_the_task_fit_for_more() -> None:
    for _ in range(3):
        with anyio.CancelScope() as scope:
            soon(scope.cancel)
            await handover()
        assert scope.cancelled_caught
    waiter = handover()
    soon(waiter.finish, "result")
    assert await waiter == "result"
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


# --------------------------------------------------------------------------------- deadlines


class Bell(Alarm):
    """An alarm whose time the test tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1000
        self.calls: list[tuple[int, Callable[[], object]]] = []
        monkeypatch.setattr("bench.transports.waiting.monotonic_ns", lambda: self.now_ns)

    def call_at(self, at_ns: int, function: Callable[[], object]) -> None:
        self.calls.append((at_ns, function))

    def ring_at(self, now_ns: int) -> None:
        self.now_ns = now_ns
        due = [call for call in self.calls if call[0] <= now_ns]
        self.calls = [call for call in self.calls if call[0] > now_ns]
        for _, function in due:
            function()


class Waiting:
    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.expired, self.then = 0, then

    def expire(self) -> None:
        self.expired += 1
        self.then()


async def test_a_deadline_is_never_early(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell(monkeypatch)
    deadlines, one = Deadlines(bell), Waiting()
    deadlines.set(one, 500)
    bell.ring_at(1499)
    assert one.expired == 0
    bell.ring_at(1500)
    assert one.expired == 1
    bell.ring_at(9999)
    assert one.expired == 1
    assert bell.calls == []


async def test_what_is_cleared_does_not_expire_and_one_alarm_serves_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bell = Bell(monkeypatch)
    deadlines, many = Deadlines(bell), [Waiting() for _ in range(5)]
    for one in many:
        bell.now_ns += 10
        deadlines.set(one, 500)
    assert [at_ns for at_ns, _ in bell.calls] == [1510]
    deadlines.clear(many[0])
    deadlines.clear(many[0])
    deadlines.clear(many[3])
    bell.ring_at(1510)
    assert [at_ns for at_ns, _ in bell.calls] == [1520]
    bell.ring_at(1535)
    assert [one.expired for one in many] == [0, 1, 1, 0, 0]
    bell.ring_at(1550)
    assert [one.expired for one in many] == [0, 1, 1, 0, 1]
    assert bell.calls == []


async def test_who_expires_may_clear_another_or_set_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell(monkeypatch)
    deadlines, second = Deadlines(bell), Waiting()

    def then() -> None:
        deadlines.clear(second)
        if first.expired == 1:
            deadlines.set(first, 500)

    first = Waiting(then)
    deadlines.set(first, 500)
    deadlines.set(second, 500)
    bell.ring_at(1500)
    assert (first.expired, second.expired) == (1, 0)
    bell.ring_at(2000)
    assert (first.expired, second.expired) == (2, 0)
    assert bell.calls == []


async def test_after_silence_it_is_armed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell(monkeypatch)
    deadlines, one = Deadlines(bell), Waiting()
    deadlines.set(one, 500)
    deadlines.clear(one)
    bell.ring_at(1500)
    assert bell.calls == []
    deadlines.set(one, 500)
    bell.ring_at(2000)
    assert one.expired == 1
