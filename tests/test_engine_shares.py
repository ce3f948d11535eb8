"""Several engines, each with its share of one case: together they do what one does alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio
import pytest

from bench.model import CaseRun, Load, Outcome, Sample
from bench.pacing import Share
from bench.store import RESERVATION
from tests.test_engine import MS, Bench, Memory, case_of, closed, constant

pytestmark = pytest.mark.anyio

START_NS = 7_000 * MS


@dataclass
class SharedMemory(Memory):
    """Holds a share to its own reservations; what is dropped was never sent and needs none."""

    step: int = 1

    def append(self, sample: Sample) -> None:
        if sample.outcome is not Outcome.DROPPED:
            end = self.reserved[-1] + RESERVATION * self.step
            assert sample.seq < end, "sent before it was on record"
        self.samples.append(sample)


def shared(
    load: Load,
    share: Share,
    *,
    gather: Callable[[], Awaitable[int]] | None = None,
    pool_size: int | None = None,
    hold: Callable[[], anyio.Event] | None = None,
) -> Bench:
    bench = Bench(case_of(load, pool_size=pool_size), hold=hold)
    bench.memory = SharedMemory(step=share.of)
    bench.engine = replace(bench.engine, share=share, gather=gather, recorder=bench.memory)
    return bench


def at_start(bench: Bench) -> Callable[[], Awaitable[int]]:
    async def gather() -> int:
        return START_NS + bench.clock.offset_ns

    return gather


async def all_of(load: Load, of: int) -> tuple[list[CaseRun], list[Sample]]:
    runs, samples = [], []
    for number in range(of):
        bench = shared(load, Share(number, of))
        bench.engine.gather = at_start(bench)
        run, found = await bench.run()
        runs.append(run)
        samples += found
    return runs, sorted(samples, key=lambda sample: sample.seq)


@pytest.mark.parametrize("of", [2, 3, 7])
@pytest.mark.parametrize(
    "load", [closed(250, concurrency=9, warmup=11), constant(1000, 250, warmup=11, max_in_flight=9)]
)
async def test_every_message_is_sent_by_exactly_one(load: Load, of: int) -> None:
    runs, samples = await all_of(load, of)
    assert [sample.seq for sample in samples] == list(range(261))
    assert len({sample.key for sample in samples}) == 261
    assert [sample.warmup for sample in samples] == [True] * 11 + [False] * 250
    assert (sum(run.scheduled for run in runs), {run.warmup for run in runs}) == (250, {11})


async def test_due_times_are_those_of_the_whole_schedule() -> None:
    _, samples = await all_of(constant(100, 50), 3)
    assert [sample.due_ns for sample in samples] == [START_NS + n * 10 * MS for n in range(50)]
    assert [sample.worker for sample in samples] == [n % 3 for n in range(50)]


async def test_the_tasks_of_one_process_follow_those_of_the_one_before() -> None:
    _, samples = await all_of(closed(200, concurrency=5), 2)
    assert {s.worker for s in samples if s.seq % 2 == 0} == {0, 1, 2}
    assert {s.worker for s in samples if s.seq % 2} == {3, 4}


async def test_the_measured_part_begins_when_all_agreed_it_does() -> None:
    runs, samples = await all_of(closed(40, concurrency=4, warmup=8), 2)
    assert [run.started_ns for run in runs] == [START_NS] * 2
    assert all((sample.ready_ns or 0) < START_NS for sample in samples if sample.warmup)
    assert all((sample.ready_ns or 0) >= START_NS for sample in samples if not sample.warmup)


async def test_a_share_reserves_its_own_numbers_a_hundred_at_a_time() -> None:
    bench = shared(closed(700, concurrency=3), Share(1, 3))
    await bench.run()
    assert bench.memory.reserved == [1, 301, 601]


@pytest.mark.parametrize("number", [0, 1])
async def test_each_has_its_part_of_the_limits(number: int) -> None:
    """Of 5 in flight the first has 3 and the second 2; of 3 connections 2 and 1."""
    gate = anyio.Event()
    wide = shared(constant(1000, 40, max_in_flight=5), Share(number, 2), hold=lambda: gate)
    narrow = shared(constant(1000, 40, max_in_flight=5), Share(number, 2), hold=lambda: gate, pool_size=3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wide.run)
        tasks.start_soon(narrow.run)
        await anyio.wait_all_tasks_blocked()
        busy = [len([entry for entry in bench.log if "send" in entry]) for bench in (wide, narrow)]
        gate.set()
    assert busy == [3 - number, 2 - number]


@pytest.mark.parametrize("load", [closed(30, concurrency=4, warmup=4), constant(100, 30, warmup=4)])
async def test_a_stop_while_waiting_for_the_others_drops_what_is_its_own(load: Load) -> None:
    async def never() -> int:
        await anyio.sleep_forever()
        raise AssertionError

    bench = shared(load, Share(1, 2), gather=never)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run)
        await anyio.wait_all_tasks_blocked()
        bench.stop.ask("enough")
    dropped = [sample.seq for sample in bench.memory.samples if sample.outcome is Outcome.DROPPED]
    assert sorted(sample.seq for sample in bench.memory.samples) == list(range(1, 34, 2))
    assert set(range(5, 34, 2)) <= set(dropped)
