"""Whose turn it is, and when all begin: without sockets, on a real event loop."""

from __future__ import annotations

from random import Random

import anyio
import anyio.lowlevel
import pytest

from bench.interleave import LEAD_NS, Interleaving, Table

pytestmark = pytest.mark.anyio


async def sends(table: Table, member: int, count: int, said: list[int]) -> None:
    for _ in range(count):
        await table.take(member)
        await anyio.lowlevel.checkpoint()
        said.append(member)
        table.pass_on()
    table.leave(member)


async def test_in_every_round_each_sends_once_and_not_always_in_the_same_order() -> None:
    table, said = Table(frozenset({0, 1, 2}), Random(1)), list[int]()
    async with anyio.create_task_group() as tasks:
        for member in range(3):
            tasks.start_soon(sends, table, member, 40, said)
    rounds = [tuple(said[i : i + 3]) for i in range(0, len(said), 3)]
    assert len(said) == 120
    assert all(sorted(each) == [0, 1, 2] for each in rounds)
    assert len(set(rounds)) == 6


async def test_nobody_waits_for_one_who_has_left() -> None:
    table, said = Table(frozenset({0, 1}), Random(1)), list[int]()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sends, table, 0, 3, said)
            tasks.start_soon(sends, table, 1, 30, said)
    assert said.count(1) == 30
    assert said[-20:] == [1] * 20


async def test_one_who_is_cut_off_while_waiting_holds_nobody_up() -> None:
    table, said = Table(frozenset({0, 1}), Random(1)), list[int]()
    while table._next() != 1:
        table.pass_on()
    with anyio.move_on_after(0.01):
        await table.take(0)
    table.leave(0)
    with anyio.fail_after(5):
        await sends(table, 1, 5, said)
    assert said == [1] * 5


async def test_all_start_at_the_same_moment_once_the_last_has_come() -> None:
    whole, starts = Interleaving(3, 1, lambda: 1000), list[int]()

    async def gather() -> None:
        starts.append(await whole.gather())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gather)
            tasks.start_soon(gather)
            await anyio.sleep(0.01)
            assert not starts
            whole.leave(2)  # it could not be started at all
    assert starts == [1000 + LEAD_NS] * 2


async def test_a_case_that_failed_has_no_turn() -> None:
    whole, said = Interleaving(2, 1, lambda: 0), list[int]()
    early = whole.table(0, warming=True)
    whole.leave(0)
    with anyio.fail_after(5):
        await sends(early, 1, 3, said)
        await sends(whole.table(7, warming=False), 1, 3, said)
    assert said == [1] * 6
