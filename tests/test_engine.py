"""The load generator with a fake client and a fake clock: what is sent when, and what is recorded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import anyio
import pytest

from bench.clock import Alarm, RunClock
from bench.engine import Engine, Stop, _Hands, _Slot
from bench.message import KEY_PLACEHOLDER, Composer
from bench.model import (
    Case,
    CaseRun,
    Connection,
    Load,
    Message,
    MessageSpec,
    Network,
    Outcome,
    PoolOptions,
    Sample,
    ServiceTime,
    SmtpOptions,
    Target,
    TargetKind,
    TlsSettings,
    Transport,
)
from bench.store import RESERVATION
from bench.transports import Answer
from tests.transports.fakes import FakeAlarm, FakeClock, FakeSession

pytestmark = pytest.mark.anyio

MS = 1_000_000


@dataclass
class Memory:
    """A recorder that keeps everything."""

    samples: list[Sample] = field(default_factory=list)
    reserved: list[int] = field(default_factory=list)

    def reserve(self, first_seq: int, case: str) -> None:
        self.reserved.append(first_seq)

    def append(self, sample: Sample) -> None:
        assert sample.seq < self.reserved[-1] + RESERVATION, "sent before it was on record"
        self.samples.append(sample)


def closed(messages: int, *, concurrency: int = 1, warmup: int = 0) -> Load:
    return Load("closed", messages, warmup=warmup, concurrency=concurrency)


def constant(rate_per_s: float, messages: int, *, warmup: int = 0, max_in_flight: int = 100) -> Load:
    return Load("constant", messages, warmup=warmup, rates_per_s=(rate_per_s,), max_in_flight=max_in_flight)


def case_of(load: Load, *, connection: Connection = Connection.POOLED, pool_size: int | None = None) -> Case:
    return Case(
        index=0,
        id="generic/smtp/pooled",
        labels={},
        target=Target(TargetKind.SMTP, host="127.0.0.1", port=25),
        provider="generic",
        transport=Transport.SMTP,
        connection=connection,
        client="aiosmtplib",
        message=MessageSpec(),
        network=Network(),
        service_time=ServiceTime(),
        load=load,
        tls=TlsSettings(),
        auth=None,
        pool=PoolOptions(pool_size or load.concurrency or load.max_in_flight or 1),
        smtp=SmtpOptions(),
        timeout_ns=10**12,
    )


class Bench:
    """An engine with everything around it faked."""

    def __init__(
        self,
        case: Case,
        *,
        late_ns: int = 0,
        grace_s: float = 0.0,
        answer: Callable[[Message], Answer] | None = None,
        hold: Callable[[], anyio.Event] | None = None,
    ) -> None:
        self.clock, self.memory, self.stop = FakeClock(), Memory(), Stop()
        self.log: list[str] = []
        numbers = itertools.count(1)

        def make() -> FakeSession:
            session = FakeSession(next(numbers), self.clock, hold=hold, log=self.log)
            if answer is not None:
                session.answer = answer
            return session

        self.engine = Engine(
            case=case,
            composer=Composer(case.message, KEY_PLACEHOLDER.encode(), "run"),
            make_session=make,
            recorder=self.memory,
            clock=cast(RunClock, self.clock),
            alarm=cast(Alarm, FakeAlarm(self.clock, late_ns)),
            stop=self.stop,
            seed=1,
            grace_s=grace_s,
        )

    async def run(self) -> tuple[CaseRun, list[Sample]]:
        return await self.engine.run(), sorted(self.memory.samples, key=lambda sample: sample.seq)


async def test_every_message_of_a_closed_case_leaves_one_sample_with_its_own_key() -> None:
    run, samples = await Bench(case_of(closed(250, concurrency=4, warmup=10))).run()
    assert [sample.seq for sample in samples] == list(range(260))
    assert len({sample.key for sample in samples}) == 260
    assert [sample.warmup for sample in samples] == [True] * 10 + [False] * 250
    assert (run.scheduled, run.warmup, run.open) == (250, 10, False)
    assert all(sample.due_ns is None for sample in samples)


async def test_keys_are_reserved_a_hundred_at_a_time_before_they_are_used() -> None:
    bench = Bench(case_of(closed(250)))
    await bench.run()
    assert bench.memory.reserved == [0, 100, 200]


async def test_the_measured_part_of_a_closed_case_begins_when_the_warm_up_has_ended() -> None:
    run, samples = await Bench(case_of(closed(8, concurrency=3, warmup=7))).run()
    last_warm = max(sample.end_ns or 0 for sample in samples if sample.warmup)
    first = min(sample.start_ns or 0 for sample in samples if not sample.warmup)
    assert last_warm <= run.started_ns <= first
    assert run.ended_ns == max(sample.end_ns or 0 for sample in samples)


async def test_due_times_are_the_pacers_and_lag_is_how_late_we_were() -> None:
    run, samples = await Bench(case_of(constant(100, 50)), late_ns=300_000).run()
    assert samples[0].due_ns is not None
    assert [(sample.due_ns or 0) - samples[0].due_ns for sample in samples] == [
        n * 10 * MS for n in range(50)
    ]
    assert all((sample.ready_ns or 0) - (sample.due_ns or 0) >= 300_000 for sample in samples)
    assert run.open
    assert run.scheduled == 50


async def test_an_open_case_does_not_wait_for_answers() -> None:
    """With every answer held back, all messages are taken up on schedule; those over the limit wait."""
    gate = anyio.Event()
    bench = Bench(case_of(constant(100, 20, max_in_flight=5)), hold=lambda: gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run)
        await anyio.wait_all_tasks_blocked()
        assert len([entry for entry in bench.log if "send" in entry]) == 5
        bench.clock.advance(1000 * MS)
        gate.set()
    samples = bench.memory.samples
    assert len(samples) == 20
    waits = [(sample.start_ns or 0) - (sample.ready_ns or 0) for sample in samples]
    assert sum(wait >= 800 * MS for wait in waits) == 15


async def test_after_a_stall_the_overdue_follow_one_a_round_and_their_lateness_stays() -> None:
    """The process stood still for a second: 100 messages are overdue, and answers still find their turn."""
    bench = Bench(case_of(constant(100, 150, max_in_flight=150)))
    rounds: list[int] = []
    now = 0

    async def count_rounds() -> None:
        nonlocal now
        while True:
            now += 1
            await anyio.lowlevel.checkpoint()

    make = bench.engine.make_session

    def stalled(message: Message) -> Answer:
        if message.seq == 0:
            bench.clock.advance(1000 * MS)
        rounds.append(now)
        return Answer(Outcome.ACCEPTED, 250)

    def make_stalled() -> FakeSession:
        session = cast(FakeSession, make())
        session.answer = stalled
        return session

    bench.engine._pool._make = make_stalled
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_rounds)
        _, samples = await bench.run()
        tasks.cancel_scope.cancel()
    lags = [(sample.ready_ns or 0) - (sample.due_ns or 0) for sample in samples]
    assert max(lags) >= 980 * MS, "a late schedule must not be moved"
    assert [sample.due_ns for sample in samples] == [
        (samples[0].due_ns or 0) + n * 10 * MS for n in range(150)
    ]
    overdue = sum(lag > 10 * MS for lag in lags)
    assert 90 <= overdue <= 110
    assert len(set(rounds)) == 150, "they came in a burst"


async def test_hands_are_used_again_and_there_are_no_more_than_messages_on_their_way() -> None:
    bench = Bench(case_of(constant(100, 200)))
    started: list[object] = []
    work = _Hands._work

    async def counted(self: _Hands, slot: _Slot | None) -> None:
        started.append(slot)
        await work(self, slot)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Hands, "_work", counted)
        _, samples = await bench.run()
    assert len(samples) == 200
    assert len(started) <= 3


async def test_service_is_tiled_by_phases_and_cold_marks_who_connected() -> None:
    _, samples = await Bench(case_of(closed(5))).run()
    for sample in samples:
        assert sample.end_ns is not None
        assert sample.start_ns is not None
        assert sum(sample.phases.values()) == sample.end_ns - sample.start_ns
    assert [sample.cold for sample in samples] == [True, False, False, False, False]
    assert [sample.connection_use for sample in samples] == [1, 2, 3, 4, 5]
    assert json.loads(samples[0].notes or "")["local_port"] == 40001


async def test_unpooled_messages_are_all_cold_and_their_quit_is_recorded() -> None:
    _, samples = await Bench(case_of(closed(3), connection=Connection.UNPOOLED)).run()
    assert all(sample.cold and sample.quit_ns is not None for sample in samples)
    assert [sample.connection_id for sample in samples] == [1, 2, 3]


async def test_a_refusal_is_followed_by_a_reset_outside_any_span() -> None:
    bench = Bench(case_of(closed(2)), answer=lambda _m: Answer(Outcome.REJECTED_PERM, 550, error="rejected"))
    _, samples = await bench.run()
    assert bench.log == ["1:send 0", "1:rset", "1:send 1", "1:rset", "1:quit"]
    assert [sample.outcome for sample in samples] == [Outcome.REJECTED_PERM] * 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Outcome.REJECTED_TEMP, 421),
        Answer(Outcome.FAILED, error="connect"),
        Answer(Outcome.UNKNOWN, error="timeout"),
        Answer(Outcome.ACCEPTED, 250, anomaly="unsolicited"),
    ],
)
async def test_a_connection_in_doubt_is_never_used_again(answer: Answer) -> None:
    bench = Bench(case_of(closed(2)), answer=lambda _m: answer)
    await bench.run()
    assert bench.log == ["1:send 0", "1:abort", "2:send 1", "2:abort"]


async def test_a_stop_lets_what_is_in_flight_finish_and_drops_the_rest() -> None:
    gate = anyio.Event()
    bench = Bench(case_of(constant(100, 20, max_in_flight=3)), grace_s=60, hold=lambda: gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run)
        await anyio.wait_all_tasks_blocked()
        bench.stop.ask("enough")
        await anyio.wait_all_tasks_blocked()
        gate.set()
    outcomes = [sample.outcome for sample in bench.memory.samples]
    assert outcomes.count(Outcome.ACCEPTED) == 3
    assert outcomes.count(Outcome.DROPPED) == 17
    assert all(s.attempt == 0 and s.start_ns is None for s in bench.memory.samples if s.outcome == "dropped")


async def test_what_outlives_the_grace_period_is_unknown() -> None:
    gate = anyio.Event()
    bench = Bench(case_of(closed(10, concurrency=4)), hold=lambda: gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run)
        await anyio.wait_all_tasks_blocked()
        bench.stop.ask("enough")
    outcomes = [sample.outcome for sample in bench.memory.samples]
    assert outcomes.count(Outcome.UNKNOWN) == 4
    assert outcomes.count(Outcome.DROPPED) == 6
    assert {sample.error for sample in bench.memory.samples if sample.outcome == "unknown"} == {"interrupted"}


async def test_a_second_request_cuts_off_at_once() -> None:
    gate = anyio.Event()
    bench = Bench(case_of(closed(2, concurrency=2)), grace_s=3600, hold=lambda: gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run)
        await anyio.wait_all_tasks_blocked()
        bench.stop.ask("enough")
        await anyio.wait_all_tasks_blocked()
        assert bench.memory.samples == []
        bench.stop.cut_off()
    assert [sample.outcome for sample in bench.memory.samples] == [Outcome.UNKNOWN] * 2


async def test_a_small_pool_shows_as_wait_not_as_service() -> None:
    _, samples = await Bench(case_of(closed(20, concurrency=4), pool_size=1)).run()
    assert len({sample.connection_id for sample in samples}) == 1
    services = [(sample.end_ns or 0) - (sample.start_ns or 0) for sample in samples]
    assert max(services) == 1000
    assert max((sample.start_ns or 0) - (sample.ready_ns or 0) for sample in samples) >= 3000


async def test_a_bug_in_a_client_is_recorded_and_not_hidden() -> None:
    def explode(_message: Message) -> Answer:
        raise LookupError("a bug")

    bench = Bench(case_of(closed(3)), answer=explode)
    with pytest.raises(ExceptionGroup):
        await bench.run()
    assert [(s.outcome, s.error) for s in bench.memory.samples] == [(Outcome.UNKNOWN, "internal")]


async def test_workers_start_spread_over_the_time_of_one_message() -> None:
    """Each message takes 1 us here, so four workers begin 250 ns apart once warm-up has shown it."""
    bench = Bench(case_of(closed(4, concurrency=4, warmup=4)))
    _, samples = await bench.run()
    starts = sorted(sample.ready_ns or 0 for sample in samples if not sample.warmup)
    assert all(later - earlier >= 250 for earlier, later in itertools.pairwise(starts))
