"""The pool: how many connections, which one is next, and which are never used again."""

from __future__ import annotations

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
    monkeypatch.setattr("bench.transports.pool.QUIT_LIMIT_S", 0.01)

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
    monkeypatch.setattr("bench.transports.pool.QUIT_LIMIT_S", 0.01)

    class Silent(FakeSession):
        async def close(self) -> bool:
            await anyio.sleep_forever()
            raise AssertionError

    pool = Pool(PoolOptions(1), lambda: Silent(log=[]), keep=False, clock=FakeClock())
    session = await pool.acquire()
    assert not (await pool.release(session, clean=True, refused=False)).quit
    assert await pool.acquire() is not session
