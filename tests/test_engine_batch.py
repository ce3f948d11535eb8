"""Calls that carry several messages: one sample for each, with the call's times and its own outcome."""

from __future__ import annotations

from itertools import groupby

import pytest

from bench.message import Composer
from bench.model import Message, Outcome, Sample
from bench.transports import Answer
from tests.test_engine import MS, Bench, case_of, closed, constant

pytestmark = pytest.mark.anyio


def batches(bench: Bench, size: int) -> Bench:
    """The same bench, sending so many messages in a call."""
    spec = bench.engine.case.message
    bench.engine.composer = Composer(
        spec, b"", "run", fill=lambda each: b",".join(key.encode() for key, _ in each), batch=size
    )
    return bench


def calls(samples: list[Sample]) -> list[list[int]]:
    """The messages of each call."""
    return [
        [sample.seq for sample in call]
        for _, call in groupby(sorted(samples, key=lambda one: one.seq), key=lambda one: one.batch_id)
    ]


async def test_a_call_carries_so_many_messages_and_never_warm_up_and_measured_ones_together() -> None:
    bench = batches(Bench(case_of(closed(25, concurrency=2, warmup=7))), 10)
    run, samples = await bench.run()
    assert calls(samples) == [list(range(7)), [*range(7, 17)], [*range(17, 27)], [*range(27, 32)]]
    assert [sample.warmup for sample in samples] == [True] * 7 + [False] * 25
    assert (run.scheduled, bench.engine.progress.done, bench.engine.progress.accepted) == (25, 32, 32)
    assert len({sample.key for sample in samples}) == 32
    for sample in samples:
        first = next(one for one in samples if one.key == sample.batch_id)
        assert sample.batch_index == sample.seq - first.seq
        assert (sample.start_ns, sample.end_ns, sample.phases) == (first.start_ns, first.end_ns, first.phases)
        assert (sample.round_trips, sample.connection_use) == (first.round_trips, first.connection_use)
        assert sample.bytes_sent is None


async def test_more_messages_in_a_call_than_a_reservation_holds_are_on_record_first() -> None:
    bench = batches(Bench(case_of(closed(1000))), 250)
    _, samples = await bench.run()
    assert len(samples) == 1000
    assert bench.memory.reserved == list(range(0, 1000, 100))


async def test_each_message_has_the_outcome_that_is_its_own() -> None:
    def answer(message: Message) -> Answer:
        assert message.payload == b",".join(one.key.encode() for one in message.members)
        each = tuple(
            Answer(
                Outcome.ACCEPTED if one.seq % 3 else Outcome.REJECTED_PERM, 200, message_id=f"id-{one.seq}"
            )
            for one in message.members
        )
        return Answer(Outcome.REJECTED_PERM, 200, each=each)

    bench = batches(Bench(case_of(closed(9)), answer=answer), 4)
    _, samples = await bench.run()
    assert [sample.outcome is Outcome.ACCEPTED for sample in samples] == [bool(n % 3) for n in range(9)]
    assert [sample.message_id for sample in samples] == [f"id-{n}" for n in range(9)]
    assert bench.engine.progress.accepted == 6


async def test_a_call_that_nobody_answered_leaves_all_its_messages_the_same() -> None:
    bench = batches(Bench(case_of(closed(5)), answer=lambda _: Answer(Outcome.UNKNOWN, error="timeout")), 5)
    _, samples = await bench.run()
    assert {(sample.outcome, sample.error) for sample in samples} == {(Outcome.UNKNOWN, "timeout")}


async def test_a_call_is_due_with_its_first_message() -> None:
    bench = batches(Bench(case_of(constant(100, 20, warmup=5))), 10)
    _, samples = await bench.run()
    assert calls(samples) == [list(range(5)), [*range(5, 15)], [*range(15, 25)]]
    due_ns = [sample.due_ns or 0 for sample in samples]
    assert [each - due_ns[0] for each in due_ns] == [0] * 5 + [50 * MS] * 10 + [150 * MS] * 10


async def test_a_stop_drops_every_message_of_the_calls_that_were_not_begun() -> None:
    def answer(message: Message) -> Answer:
        if message.seq >= 30:
            bench.stop.ask("enough")
        return Answer(Outcome.ACCEPTED, 200)

    bench = batches(Bench(case_of(closed(100)), answer=answer), 10)
    _, samples = await bench.run()
    assert [sample.seq for sample in samples] == list(range(100))
    assert [sample.outcome for sample in samples] == [Outcome.ACCEPTED] * 40 + [Outcome.DROPPED] * 60
