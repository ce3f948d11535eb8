"""The pool: how many connections, which one is next, and which are never used again."""

from __future__ import annotations

import asyncio
import itertools

import anyio
import anyio.lowlevel
import pytest

from bench.model import PoolOptions
from bench.transports.pool import Pool
from bench.transports.session import Recovery
from tests.transports.fakes import FakeClock, FakeSession

pytestmark = pytest.mark.anyio


def pool_of(size: int, *, keep: bool, log: list[str]) -> Pool:
    numbers = itertools.count(1)
    return Pool(PoolOptions(size), lambda: FakeSession(next(numbers), log=log), keep=keep, clock=FakeClock())


async def test_a_kept_connection_is_used_again_last_in_first_out() -> None:
    log: list[str] = []
    pool = pool_of(2, keep=True, log=log)
    first, second = await pool.acquire(), await pool.acquire()
    assert isinstance(first, FakeSession)
    assert isinstance(second, FakeSession)
    first.opened = second.opened = True
    await pool.release(first, clean=True, refused=False)
    await pool.release(second, clean=True, refused=False)
    assert await pool.acquire() is second
    assert log == []


async def test_without_keep_every_message_gets_a_fresh_connection_and_leaves_with_a_quit() -> None:
    log: list[str] = []
    pool = pool_of(1, keep=False, log=log)
    for number in (1, 2):
        session = await pool.acquire()
        assert session.connection_id == number
        assert isinstance(session, FakeSession)
        session.opened = True
        assert (await pool.release(session, clean=True, refused=False)).quit
    assert log == ["1:quit", "2:quit"]


async def test_a_full_pool_makes_the_next_one_wait() -> None:
    pool = pool_of(1, keep=True, log=[])
    session = await pool.acquire()
    order: list[str] = []

    async def second() -> None:
        await pool.acquire()
        order.append("second")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        order.append("released")
        await pool.release(session, clean=True, refused=False)
    assert order == ["released", "second"]


async def test_what_ended_badly_is_dropped_without_leave_taking() -> None:
    log: list[str] = []
    pool = pool_of(1, keep=True, log=log)
    session = await pool.acquire()
    assert isinstance(session, FakeSession)
    session.opened = True
    assert not (await pool.release(session, clean=False, refused=False)).quit
    assert log == ["1:abort"]
    assert (await pool.acquire()).connection_id == 2


async def test_a_refused_connection_must_prove_itself() -> None:
    log: list[str] = []
    pool = pool_of(1, keep=True, log=log)
    session = await pool.acquire()
    assert isinstance(session, FakeSession)
    session.opened = True
    release = await pool.release(session, clean=True, refused=True)
    assert (release.rset, release.quit) == (True, False)
    assert log == ["1:rset"]
    assert await pool.acquire() is session


async def test_a_reset_that_hangs_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.transports.pool.ERRAND_LIMIT_S", 0.01)

    class Silent(FakeSession):
        async def recover(self) -> Recovery:
            await anyio.sleep_forever()
            raise AssertionError

    log: list[str] = []
    pool = Pool(PoolOptions(1), lambda: Silent(log=log, opened=True), keep=True, clock=FakeClock())
    session = await pool.acquire()
    assert not (await pool.release(session, clean=True, refused=True)).rset
    assert log == ["1:abort"]
    assert await pool.acquire() is not session


async def test_a_connection_that_died_while_idle_is_not_used() -> None:
    log: list[str] = []
    pool = pool_of(1, keep=True, log=log)
    session = await pool.acquire()
    assert isinstance(session, FakeSession)
    session.opened = True
    await pool.release(session, clean=True, refused=False)
    session.healthy = False
    assert (await pool.acquire()).connection_id == 2
    assert log == ["1:abort"]


async def test_closing_takes_leave_on_every_idle_connection() -> None:
    log: list[str] = []
    pool = pool_of(3, keep=True, log=log)
    sessions = [await pool.acquire() for _ in range(3)]
    for session in sessions:
        assert isinstance(session, FakeSession)
        session.opened = True
        await pool.release(session, clean=True, refused=False)
    await pool.close()
    assert sorted(entry for entry in log if "quit" in entry) == ["1:quit", "2:quit", "3:quit"]


async def test_a_leave_taking_that_hangs_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.transports.pool.ERRAND_LIMIT_S", 0.01)

    class Silent(FakeSession):
        async def close(self) -> bool:
            await anyio.sleep_forever()
            raise AssertionError

    pool = Pool(PoolOptions(1), lambda: Silent(log=[]), keep=False, clock=FakeClock())
    session = await pool.acquire()
    assert not (await pool.release(session, clean=True, refused=False)).quit
    assert await pool.acquire() is not session


# ---------------------------------------------------------------------- limits and their order


class Kit:
    """A pool of fake sessions that connect when they are made, its clock and what was done."""

    def __init__(
        self, options: PoolOptions, make: type[FakeSession] = FakeSession, *, keep: bool = True
    ) -> None:
        self.log: list[str] = []
        self.clock = FakeClock()
        self.made: list[FakeSession] = []
        numbers = itertools.count(1)

        def new() -> FakeSession:
            self.made.append(make(next(numbers), log=self.log, opened=True))
            return self.made[-1]

        self.pool = Pool(options, new, keep=keep, clock=self.clock)

    async def message(self) -> int:
        """One accepted message; the connection it took."""
        session = self.pool.take() or await self.pool.acquire()
        session.uses += 1
        if not self.pool.put_back(session, self.clock()):
            await self.pool.release(session, clean=True, refused=False)
        return session.connection_id

    async def lie_idle(self, count: int) -> None:
        """Open so many connections and let them come back one nanosecond after the other."""
        for session in [await self.pool.acquire() for _ in range(count)]:
            self.clock.advance(1)
            assert self.pool.put_back(session, self.clock())

    async def idle(self) -> list[int]:
        """The connections in the order in which they would be given out; they come back likewise."""
        sessions, made = [], len(self.made)
        while (session := self.pool.take()) is not None and len(self.made) == made:
            sessions.append(session)
        return [session.connection_id for session in sessions]


async def test_after_so_many_messages_leave_is_taken() -> None:
    kit = Kit(PoolOptions(1, max_messages=2))
    assert [await kit.message() for _ in range(5)] == [1, 1, 2, 2, 3]
    assert kit.log == ["1:quit", "2:quit"]


async def test_a_connection_that_is_too_old_is_left_with_its_next_message() -> None:
    kit = Kit(PoolOptions(1, max_age_ns=100))
    used = []
    for _ in range(5):
        used.append(await kit.message())
        kit.clock.advance(50)
    assert used == [1, 1, 1, 2, 2]
    assert kit.log == ["1:quit"]


async def test_the_age_counts_from_when_a_connection_was_made_and_is_forgotten_with_it() -> None:
    kit = Kit(PoolOptions(2, max_age_ns=100, preconnect=True))

    async def opens(self: FakeSession, clock: object, timeout_ns: int) -> bool:
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeSession, "open", opens)
        assert await kit.pool.preconnect(10**9) == 2
    kit.clock.advance(100)
    await kit.message()
    await kit.message()
    assert sorted(kit.log) == ["1:quit", "2:quit"]
    assert not kit.pool._opened_ns


async def test_too_old_is_too_old_while_it_lies_idle() -> None:
    kit = Kit(PoolOptions(2, max_age_ns=100))
    await kit.lie_idle(2)
    kit.clock.advance(97)
    await kit.pool._look_through()
    assert kit.log == []
    kit.clock.advance(1)
    await kit.pool._look_through()
    assert kit.log == ["1:quit", "2:quit"]
    assert [await kit.message(), await kit.message()] == [3, 3]


async def test_what_lies_idle_for_too_long_is_left() -> None:
    kit = Kit(PoolOptions(3, idle_ns=100))
    await kit.lie_idle(3)  # since 1, 2 and 3 ns
    kit.clock.advance(99)
    await kit.pool._look_through()
    assert kit.log == ["1:quit", "2:quit"]
    assert await kit.idle() == [3]


async def test_signs_of_life_are_asked_for_in_time_and_change_no_order() -> None:
    class Pinged(FakeSession):
        async def ping(self) -> bool:
            self.log.append(f"{self.connection_id}:ping")
            return self.connection_id != 2

    kit = Kit(PoolOptions(3, ping_ns=100), Pinged)
    await kit.lie_idle(3)
    kit.clock.advance(97)
    await kit.pool._look_through()
    assert kit.log == []
    kit.clock.advance(10)
    await kit.pool._look_through()
    assert kit.log == ["1:ping", "2:ping", "2:abort", "3:ping"]
    await kit.pool._look_through()
    assert len(kit.log) == 4
    kit.clock.advance(100)
    await kit.pool._look_through()
    assert kit.log[4:] == ["1:ping", "3:ping"]
    assert await kit.idle() == [3, 1]


async def test_while_a_connection_is_pinged_it_has_a_slot() -> None:
    asked, answer = anyio.Event(), anyio.Event()

    class Slow(FakeSession):
        async def ping(self) -> bool:
            asked.set()
            await answer.wait()
            return True

    kit = Kit(PoolOptions(1, ping_ns=100), Slow)
    await kit.lie_idle(1)
    kit.clock.advance(100)
    used: list[int] = []

    async def message() -> None:
        used.append(await kit.message())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kit.pool._look_through)
        await asked.wait()
        tasks.start_soon(message)
        await anyio.wait_all_tasks_blocked()
        assert (used, kit.pool.take()) == ([], None)
        answer.set()
    assert used == [1]


async def test_nobody_looks_after_what_has_no_limits() -> None:
    for kit in (Kit(PoolOptions(1)), Kit(PoolOptions(1, idle_ns=1), keep=False)):
        with anyio.fail_after(1):
            await kit.pool.look_after()


@pytest.mark.parametrize(("order", "ids"), [("lifo", [3, 2, 1]), ("fifo", [1, 2, 3])])
async def test_the_order(order: str, ids: list[int]) -> None:
    kit = Kit(PoolOptions(3, order=order))
    await kit.lie_idle(3)
    assert await kit.idle() == ids


@pytest.mark.parametrize(("order", "ids"), [("lifo", [3, 3, 3, 3]), ("fifo", [1, 2, 3, 1])])
async def test_one_after_another(order: str, ids: list[int]) -> None:
    kit = Kit(PoolOptions(3, order=order))
    await kit.lie_idle(3)
    assert [await kit.message() for _ in ids] == ids


@pytest.mark.parametrize(("keep", "opens", "count"), [(True, True, 2), (True, False, 0), (False, True, 0)])
async def test_connecting_ahead(keep: bool, opens: bool, count: int) -> None:
    class Opened(FakeSession):
        async def open(self, clock: object, timeout_ns: int) -> bool:
            self.log.append(f"{self.connection_id}:open {timeout_ns}")
            return opens

    kit = Kit(PoolOptions(2, preconnect=True), Opened, keep=keep)
    assert await kit.pool.preconnect(7) == count
    expected = ["1:open 7", "2:open 7"] if keep else []
    assert sorted(kit.log) == sorted(expected + (["1:abort", "2:abort"] if keep and not opens else []))
    assert (await kit.pool.acquire()).connection_id == (2 if count else 3 if keep else 1)
    assert await Kit(PoolOptions(2), Opened).pool.preconnect(7) == 0


# ----------------------------------------------------------------------------------- waiting


async def test_who_waits_gets_a_slot_in_the_order_of_asking() -> None:
    kit, order = Kit(PoolOptions(1)), list[int]()
    session = await kit.pool.acquire()

    async def ask(number: int) -> None:
        got = await kit.pool.acquire()
        order.append(number)
        assert kit.pool.put_back(got, kit.clock())

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
        assert kit.pool.put_back(session, kit.clock())
        assert kit.pool.take() is None  # the slot is promised, though its owner has not run yet
    assert order == [0, 1, 2, 3, 4]
    assert len(kit.made) == 1


@pytest.mark.parametrize("when", ["while it waits", "when its turn has come"])
async def test_who_is_cancelled_gives_the_slot_on(when: str) -> None:
    kit = Kit(PoolOptions(1))
    session = await kit.pool.acquire()
    first, second = (asyncio.ensure_future(kit.pool.acquire()) for _ in range(2))
    await anyio.wait_all_tasks_blocked()
    if when == "while it waits":
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        assert kit.pool.put_back(session, kit.clock())
    else:
        assert kit.pool.put_back(session, kit.clock())
        first.cancel()
    with anyio.fail_after(1):
        assert await second is session
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_who_is_cancelled_while_a_dead_connection_is_put_away_leaves_its_slot() -> None:
    class Slow(FakeSession):
        async def abort(self) -> None:
            self.log.append("abort")
            await anyio.sleep_forever()

    kit = Kit(PoolOptions(1), Slow)
    await kit.lie_idle(1)
    kit.made[0].healthy = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kit.pool.acquire)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert kit.log == ["abort"]
    with anyio.fail_after(1):
        assert (await kit.pool.acquire()).connection_id == 2


@pytest.mark.parametrize("why", ["not kept", "dead", "used up"])
async def test_what_takes_waiting_is_not_put_back(why: str) -> None:
    kit = Kit(PoolOptions(1, max_messages=1 if why == "used up" else None), keep=why != "not kept")
    session = await kit.pool.acquire()
    assert isinstance(session, FakeSession)
    session.uses, session.healthy = 1, why != "dead"
    assert not kit.pool.put_back(session, kit.clock())
    assert kit.pool.take() is None
    release = await kit.pool.release(session, clean=True, refused=False)
    assert (kit.log, release.quit) == ((["1:abort"], False) if why == "dead" else (["1:quit"], True))
    assert (await kit.pool.acquire()).connection_id == 2


async def test_what_takes_no_waiting_is_taken_at_once() -> None:
    kit = Kit(PoolOptions(2))
    assert kit.pool.take() is kit.made[0]
    assert kit.pool.take() is kit.made[1]
    assert kit.pool.take() is None  # no slot is free
    for session in kit.made:
        assert kit.pool.put_back(session, kit.clock())
    kit.made[1].healthy = False
    assert kit.pool.take() is None  # to put the dead one away takes waiting
    assert await kit.pool.acquire() is kit.made[0]
    assert kit.log == ["2:abort"]
