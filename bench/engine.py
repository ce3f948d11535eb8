"""The load generator: releases messages when the pacer says, and records what became of them.

Between a message's start and its end nothing of ours runs but the client: messages are
composed before they are due, samples are handed to the recorder after the end.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from bench.clock import Alarm, Clock, RunClock, process_cpu_ns
from bench.interleave import Place, Seat
from bench.message import Composer
from bench.model import Case, CaseRun, Connection, Message, Outcome, Sample
from bench.pacing import WHOLE, Interleaved, Pacer, Share, pacer_for
from bench.permit import MAX_RATE_PER_S, Permit
from bench.stopping import StopRules
from bench.store import RESERVATION
from bench.transports import NOTHING, Answer, Pool, Release, Session, SessionMaker, Span

GC_THRESHOLDS = (100_000, 20, 50)
"""Messages on their way make no cycles, so that looking for them is seldom worth its time."""
DROPS_AT_ONCE = 1000
"""Dropped messages that are recorded before the event loop gets a turn, and with it a second Ctrl-C."""


RETRY_SHARE = 0.10
"""Of the messages: so many attempts beyond the first, so that an outage is not made worse."""
RETRY_LONGEST_S = 60.0
_SENT_AGAIN = {
    "temp": (Outcome.REJECTED_TEMP,),
    "unknown": (Outcome.REJECTED_TEMP, Outcome.UNKNOWN),
}
_ACCEPTED: Final = Outcome.ACCEPTED
_UNFINISHED: Final = Answer(Outcome.UNKNOWN, error="internal")
"""What becomes of a message if our own code fails."""


_collecting: list[tuple[int, int, int]] = []
"""What the collector's thresholds were before; cases that run interleaved enter one after the other."""


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """A collection in the middle of a case need not look at what is older."""
    gc.collect()
    gc.freeze()
    _collecting.append(gc.get_threshold())
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        thresholds = _collecting.pop()
        if not _collecting:
            gc.set_threshold(*thresholds)
            gc.unfreeze()


class Recorder(Protocol):
    """Takes the record of a run; `store.RunWriter` is one."""

    def reserve(self, first_seq: int, case: str) -> None:
        """Put the next `RESERVATION` keys of a share of a case on record, before any of them is used."""
        ...

    def append(self, sample: Sample) -> None:
        """Take a finished sample; must not block."""
        ...


@dataclass(slots=True)
class Progress:
    """Counters that a display may look at while a case runs."""

    scheduled: int | None = None
    done: int = 0
    accepted: int = 0


class Stop:
    """Asks a running case to end in order: nothing new is started, what is in flight may finish."""

    def __init__(self) -> None:
        self._asked = anyio.Event()
        self._cut = anyio.Event()
        self.reason: str | None = None
        self.state = "aborted"
        """What the run is for that reason."""

    def ask(self, reason: str, state: str = "aborted") -> None:
        """Ask for the end; only the first reason counts."""
        if self.reason is None:
            self.reason, self.state = reason, state
            self._asked.set()

    def cut_off(self) -> None:
        """Give up what is in flight, too."""
        self._cut.set()

    def __bool__(self) -> bool:
        return self.reason is not None

    async def asked(self) -> None:
        """Wait until somebody asks."""
        await self._asked.wait()

    async def grace_is_over(self, grace_s: float) -> None:
        """Wait for `cut_off`, but no longer than the grace period."""
        with anyio.move_on_after(grace_s):
            await self._cut.wait()


@dataclass(slots=True)
class _Marks:
    """When the measured part of a case began and ended, and the generator's CPU time there."""

    started_ns: int | None = None
    cpu_started_ns: int = 0
    ended_ns: int = 0
    cpu_ended_ns: int = 0

    def begin(self, now_ns: int) -> None:
        if self.started_ns is None:
            self.started_ns, self.cpu_started_ns = now_ns, process_cpu_ns()


class _Slot:
    """A message that has been taken up, and when (CLOCK_MONOTONIC)."""

    __slots__ = ("attempt", "due_ns", "message", "ready_ns", "worker")

    def __init__(
        self, message: Message, worker: int, due_ns: int | None, ready_ns: int | None, attempt: int = 1
    ) -> None:
        self.message, self.worker = message, worker
        self.due_ns, self.ready_ns = due_ns, ready_ns
        self.attempt = attempt


class _Hands:
    """Tasks that carry out an open model's messages. One that has nothing to do takes the next message:
    starting a task for each would cost as much as the rest of what we do for it."""

    def __init__(self, carry_out: Callable[[_Slot], Awaitable[None]], tasks: TaskGroup) -> None:
        self._carry_out, self._tasks = carry_out, tasks
        self._idle: list[asyncio.Future[_Slot | None]] = []
        self._dismissed = False

    def take(self, slot: _Slot) -> None:
        """Have somebody begin with it in the event loop's next round."""
        while self._idle:
            turn = self._idle.pop()
            if not turn.done():  # else whoever waited has been cut off
                turn.set_result(slot)
                return
        self._tasks.start_soon(self._work, slot)

    def dismiss(self) -> None:
        """Nothing comes any more: each goes when it has done what it has."""
        self._dismissed = True
        for turn in self._idle:
            if not turn.done():
                turn.set_result(None)

    async def _work(self, slot: _Slot | None) -> None:
        while slot is not None:
            await self._carry_out(slot)
            slot = None if self._dismissed else await self._next()

    async def _next(self) -> _Slot | None:
        turn: asyncio.Future[_Slot | None] = asyncio.get_running_loop().create_future()
        self._idle.append(turn)
        return await turn


@dataclass(slots=True)
class Engine:
    """Runs one case. `run` may be called once."""

    case: Case
    composer: Composer
    make_session: SessionMaker
    recorder: Recorder
    clock: RunClock
    alarm: Alarm
    stop: Stop
    seed: int
    grace_s: float = 30.0
    """How long messages in flight may take after a stop, before they count as cut off."""
    progress: Progress = field(default_factory=Progress)
    share: Share = WHOLE
    """What of the case this process runs: all of it, where it is alone."""
    throttling: Sequence[tuple[int, str]] = ()
    """(code, part of the text) of the replies that say: too much, later."""
    gather: Callable[[], Awaitable[int]] | None = None
    """Waits for those that start at the same moment (CLOCK_MONOTONIC), which it tells: processes that run
    the rest, or cases that this one is interleaved with."""
    permit: Permit | None = None
    """Looks at every message to a real server before it is sent."""
    first: int = 0
    """The message to begin with; those before it belong to an earlier part of the run."""
    place: Place | None = None
    """Its part where several cases run interleaved."""

    _now: Clock = field(init=False)
    """CLOCK_MONOTONIC; the record's times are those of the run, `clock.offset_ns` less."""
    _append: Callable[[Sample], None] = field(init=False)
    _offset_ns: int = field(init=False)
    _timeout_ns: int = field(init=False)
    _case_id: str = field(init=False)
    _client: str = field(init=False)
    _warmup: int = field(init=False)
    """The end of the warm-up of this part of the load."""
    _end: int | None = field(init=False)
    """The end of this part; None where a duration bounds it."""
    _marks: _Marks = field(init=False, default_factory=_Marks)
    _rules: StopRules = field(init=False)
    _retrying: TaskGroup = field(init=False)
    """Attempts beyond the first, and the waits before them; nobody else waits for those."""
    _resent: int = field(init=False, default=0)
    _done_before: int = field(init=False)
    """Messages of earlier parts, whose share of attempts is not this one's."""
    _backoff: Random = field(init=False)
    _pacer: Pacer = field(init=False)
    _pool: Pool = field(init=False)
    _in_flight: anyio.Semaphore | None = field(init=False, default=None)
    """What bounds an open model; the workers of a closed one bound themselves."""
    _schedule: anyio.CancelScope = field(init=False)
    _seq: int = field(init=False)
    """The next message to be taken up."""
    _step: int = field(init=False)
    """From there to the one after it."""
    _reserved: int = field(init=False, default=0)
    _shortest_ns: int | None = field(init=False, default=None)
    """The least time from start to end that an accepted message took so far."""
    _held_until_ns: int = field(init=False, default=0)
    """When the next message of a closed load to a real server may be sent."""
    _start_ns: int = field(init=False, default=0)
    """When the schedule of an open model began."""

    def __post_init__(self) -> None:
        self._now = self.clock.absolute
        case = self.case
        self._timeout_ns = case.timeout_ns
        self._case_id, self._client = case.id, case.client
        part = case.load.part_of(self.first)
        self._warmup = case.load.begin(part) + case.load.warmup
        self._end = None if case.load.messages is None else case.load.begin(part + 1)
        self._offset_ns, self._append = self.clock.offset_ns, self.recorder.append
        self._rules = StopRules(real=self.permit is not None)
        self._backoff = Random(f"sendbench retry {self.seed}")
        self._pacer = self._paced()
        self._seq, self._step = self.share.first_from(self.first), self.share.of
        self._done_before = self.progress.done
        self._pool = Pool(
            replace(self.case.pool, size=self.share.part(self.case.pool.size)),
            self.make_session,
            keep=self.case.connection is Connection.POOLED,
            clock=self._now,
        )
        if self.case.load.max_in_flight is not None:
            slots = self.share.part(self.case.load.max_in_flight)
            self._in_flight = anyio.Semaphore(slots, fast_acquire=True)
        self._schedule = anyio.CancelScope()
        if self._pacer.count is not None:
            left = self.share.part(self._pacer.count) - self.share.part(self.first)
            self.progress.scheduled = self.progress.done + left

    def _paced(self) -> Pacer:
        load, place = self.case.load, self.place
        if place is None or not load.open:
            return pacer_for(load, self.seed)
        return Interleaved(load, place.whole.seed, place.number, place.whole.of)

    async def run(self) -> CaseRun:
        """Send every message of the case; returns when the last one has ended."""
        with _rarely_collecting(), anyio.CancelScope() as cut:
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._obey_stop, cut)
                watch.start_soon(self._pool.look_after)
                await self._pool.preconnect(self.case.timeout_ns)
                async with anyio.create_task_group() as self._retrying:
                    await (self._open() if self.case.load.open else self._closed())
                watch.cancel_scope.cancel()
        self._marks.cpu_ended_ns = process_cpu_ns()
        await self._drop_the_rest()
        quits = await self._pool.close()
        return self._case_run(quits)

    async def _obey_stop(self, cut: anyio.CancelScope) -> None:
        await self.stop.asked()
        self._schedule.cancel()
        await self.stop.grace_is_over(self.grace_s)
        cut.cancel()

    # ------------------------------------------------------------------ load models

    async def _open(self) -> None:
        """Every message is taken up when it is due, whatever became of those before it.

        One message a round of the event loop: after a stall those that are overdue follow each other, but
        never without a look at the sockets in between, so answers are read on time however many there are.
        Due times are the pacer's and are never moved; lateness shows as lag.
        """
        before_ns = self._before_ns()
        self._start_ns = self._now() - before_ns
        first_measured = max(self._seq, self.share.first_from(self._warmup))
        async with anyio.create_task_group() as tasks:
            hands = _Hands(self._one if self._in_flight is None else self._in_turn, tasks)
            with self._schedule:
                if self.gather is not None:
                    self._start_ns = await self.gather() - before_ns
                while self._seq < (self._end or 0):
                    slot_due_ns = self._due_ns(self._seq)
                    assert slot_due_ns is not None
                    warming = self._seq < self._warmup
                    message = self._compose(self._warmup if warming else self._end)
                    await self.alarm.sleep_until(slot_due_ns)
                    ready_ns = self._now()
                    if self._seq == first_measured:
                        self._marks.begin(ready_ns)
                    self._seq += self._step * (len(message.members) or 1)
                    hands.take(_Slot(message, self.share.number, slot_due_ns, ready_ns))
                    await checkpoint()  # it starts now, not when the next one has been composed
            hands.dismiss()

    def _before_ns(self) -> int:
        """How much of an open schedule belongs to an earlier part of the run."""
        if isinstance(self._pacer, Interleaved):
            return self._pacer.block_ns(self.first)
        return self._pacer.due_ns(self.first) or 0

    async def _closed(self) -> None:
        """Each worker sends its next message when the one before has been answered."""
        load = self.case.load
        if self._warmup > self.first:
            await self._workers(until=self._warmup, deadline_ns=None, warming=True)
        begun_ns = self._now()
        if self.gather is not None:
            with self._schedule:
                begun_ns = await self.gather()
                await self.alarm.sleep_until(begun_ns)
        self._marks.begin(begun_ns)
        deadline_ns = None if load.duration_ns is None else begun_ns + load.duration_ns
        await self._workers(until=self._end, deadline_ns=deadline_ns, warming=False)

    async def _workers(self, *, until: int | None, deadline_ns: int | None, warming: bool) -> None:
        """Start the workers spread over the time that one message takes, as far as warm-up has shown it.

        Started together over a network of fixed round trips they would stay in step, all busy at one
        moment and idle at the next, and measure the queue in front of our own CPU.
        """
        concurrency = self.case.load.concurrency or 1
        first, count = self.share.before(concurrency), self.share.part(concurrency)
        apart_ns = (self._shortest_ns or 0) // count
        wait_ns = apart_ns * self.share.number // self.share.of  # processes, too, begin in turn
        async with anyio.create_task_group() as tasks:
            for number in range(first, first + count):
                if wait_ns:
                    await self.alarm.sleep_until(self._now() + wait_ns)
                wait_ns = apart_ns
                place = self.place
                seat = None if place is None else place.seat(number, warming=warming)
                tasks.start_soon(self._worker, number, until, deadline_ns, seat)

    async def _worker(
        self, number: int, until: int | None, deadline_ns: int | None, seat: Seat | None
    ) -> None:
        try:
            while self._goes_on(until, deadline_ns):
                if seat is not None:
                    await seat.take()
                if self.permit is not None:
                    await self._hold_back()
                if not self._goes_on(until, deadline_ns):  # others of this case have taken the last
                    return
                message = self._compose(until)
                self._seq += self._step * (len(message.members) or 1)
                await self._one(_Slot(message, number, None, self._now()))
                if seat is not None:
                    seat.pass_on()
        finally:
            if seat is not None:
                seat.leave()

    async def _hold_back(self) -> None:
        """Wait until a closed load, too, may send real mail again: no more a second than is permitted."""
        due_ns = max(self._now(), self._held_until_ns)
        self._held_until_ns = due_ns + round(self.composer.batch / MAX_RATE_PER_S * 1e9)
        with anyio.move_on_after((due_ns - self._now()) / 1e9):
            await self.stop.asked()

    def _goes_on(self, until: int | None, deadline_ns: int | None) -> bool:
        return (
            not self.stop
            and (until is None or self._seq < until)
            and (deadline_ns is None or self._now() < deadline_ns)
        )

    def _due_ns(self, seq: int) -> int | None:
        offset_ns = self._pacer.due_ns(seq)
        return None if offset_ns is None else self._start_ns + offset_ns

    def _compose(self, end: int | None) -> Message:
        """What is sent next: the next message, or a call with the next messages below `end`."""
        seq = self._seq
        self._reserve(seq)
        if self.composer.batch == 1:
            return self.composer.compose(seq)
        full = seq + self.composer.batch * self._step
        seqs = range(seq, full if end is None else min(full, end), self._step)
        for each in seqs:
            self._reserve(each)
        return self.composer.compose_call(seqs)

    def _reserve(self, seq: int) -> None:
        if seq >= self._reserved:
            self.recorder.reserve(seq, self.case.id)
            self._reserved = seq + RESERVATION * self._step

    async def _drop_the_rest(self) -> None:
        """Record what was scheduled and, the case having been stopped, will never be started."""
        if not self.stop or self._pacer.count is None:
            return
        for number, seq in enumerate(range(self._seq, self._pacer.count, self._step)):
            self._drop(seq, due_ns=self._due_ns(seq))
            if number % DROPS_AT_ONCE == 0:
                await checkpoint()

    # ------------------------------------------------------------------ one message

    async def _in_turn(self, slot: _Slot) -> None:
        """`_one`, once fewer messages are in flight than may be."""
        assert self._in_flight is not None
        try:
            await self._in_flight.acquire()
        except anyio.get_cancelled_exc_class():
            self._drop_slot(slot)
            raise
        try:
            await self._one(slot)
        finally:
            self._in_flight.release()

    async def _one(self, slot: _Slot) -> None:
        """Take a message from ready to its sample."""
        if self.permit is not None:
            refusal = self.permit.refusal(slot.message, self.case.transport)
            if refusal is not None:
                self.stop.ask(refusal)
                self._drop_slot(slot)
                return
        session = None if self.stop else self._pool.take()
        if session is None:
            session = await self._session_for(slot)
            if session is None:
                return
        span = Span(self._now)
        answer = _UNFINISHED
        try:
            answer = await session.send(slot.message, span, self._timeout_ns)
        except anyio.get_cancelled_exc_class():
            answer = Answer(span.cut_off, error="interrupted")
            raise
        finally:
            release, took_ns, ended_ns = NOTHING, 0, span.end_ns
            accepted = answer.outcome is _ACCEPTED
            if not accepted and self.throttling:
                answer = _throttled(answer, self.throttling)
            try:
                fit = accepted and answer.anomaly is None
                if not fit or ended_ns is None or not self._pool.put_back(session, ended_ns):
                    release, took_ns = await self._give_back(session, answer)
            finally:  # cut off or not, the message has ended
                self._note_end(span, accepted=accepted)
                if slot.message.members:
                    self._record_call(slot, session, span, answer)
                else:
                    self.progress.done += slot.attempt == 1
                    self.progress.accepted += accepted
                    self._append(self._sample(slot, session, span, answer, release, took_ns))
                if not accepted:
                    self._obey_rules(answer)
                    self._consider_again(slot, answer)

    def _obey_rules(self, answer: Answer) -> None:
        progress = self.progress
        reason = self._rules.after(
            answer.outcome, answer.error, accepted=progress.accepted, done=progress.done
        )
        if reason is not None:
            self.stop.ask(reason)

    def _consider_again(self, slot: _Slot, answer: Answer) -> None:
        """Send the message again later, if the scenario wants that and the budget of it lasts."""
        retry = self.case.retry
        if retry is None or self.stop or slot.attempt >= retry.attempts:
            return
        if (
            answer.outcome not in _SENT_AGAIN[retry.on]
            or self._resent >= RETRY_SHARE * (self.progress.done - self._done_before) + 1
        ):
            return
        self._resent += 1
        bound_s = min(retry.base_ns / 1e9 * 2 ** (slot.attempt - 1), RETRY_LONGEST_S)
        self._retrying.start_soon(self._again, slot, self._backoff.uniform(0.0, bound_s))

    async def _again(self, slot: _Slot, wait_s: float) -> None:
        with anyio.move_on_after(wait_s):
            await self.stop.asked()
        if not self.stop:
            next_slot = _Slot(slot.message, slot.worker, slot.due_ns, self._now(), slot.attempt + 1)
            await self._one(next_slot)

    async def _session_for(self, slot: _Slot) -> Session | None:
        """Wait for a session; None if the run is over by then, and the message is dropped."""
        session: Session | None = None
        try:
            if not self.stop:
                found = await self._pool.acquire()
                if self.stop:
                    await self._pool.release(found, clean=True, refused=False)
                else:
                    session = found
        finally:
            if session is None:
                self._drop_slot(slot)
        return session

    def _note_end(self, span: Span, *, accepted: bool) -> None:
        end_ns = span.end_ns
        if end_ns is None or span.start_ns is None:
            return
        if end_ns > self._marks.ended_ns:
            self._marks.ended_ns = end_ns
        if accepted:
            took_ns = end_ns - span.start_ns
            if self._shortest_ns is None or took_ns < self._shortest_ns:
                self._shortest_ns = took_ns

    async def _give_back(self, session: Session, answer: Answer) -> tuple[Release, int]:
        """Return a session to the pool; what that took, and how many ns."""
        begun_ns = self._now()
        refused = answer.outcome in (Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM)
        clean = (answer.outcome is Outcome.ACCEPTED or refused) and answer.code != 421 and not answer.anomaly
        if clean:
            release = await self._pool.release(session, clean=True, refused=refused)
        else:
            with anyio.CancelScope(shield=True):
                release = await self._pool.release(session, clean=False, refused=refused)
        return release, self._now() - begun_ns

    def _drop_slot(self, slot: _Slot) -> None:
        if slot.attempt > 1:
            return  # its earlier attempt is its record
        for message in slot.message.members or (slot.message,):
            self._drop(message.seq, slot.due_ns, slot.ready_ns)

    def _drop(self, seq: int, due_ns: int | None, ready_ns: int | None = None) -> None:
        """Record a message that is not going to be started."""
        message, case = self.composer.envelope(seq), self.case
        self.progress.done += 1
        self._append(
            Sample(
                case=case.id,
                key=message.key,
                seq=seq,
                attempt=0,
                worker=self.share.before(case.load.concurrency or self.share.of),
                warmup=case.load.warms_up(seq),
                cold=False,
                due_ns=self._of_run(due_ns),
                ready_ns=self._of_run(ready_ns),
                start_ns=None,
                end_ns=None,
                phases={},
                outcome=Outcome.DROPPED,
                client=case.client,
                recipients=len(message.recipients),
                recipients_accepted=0,
            )
        )

    def _of_run(self, at_ns: int | None) -> int | None:
        """A moment on the run's own clock."""
        return None if at_ns is None else at_ns - self._offset_ns

    def _sample(
        self,
        slot: _Slot,
        session: Session,
        span: Span,
        answer: Answer,
        release: Release,
        release_ns: int,
    ) -> Sample:
        message = slot.message
        cold = span.local_port is not None
        noted = cold or answer.notes is not None or release.rset
        values = (
            self._case_id,
            message.key,
            message.seq,
            slot.attempt,
            slot.worker,
            message.seq < self._warmup,
            cold,
            self._of_run(slot.due_ns),
            self._of_run(slot.ready_ns),
            self._of_run(span.start_ns),
            self._of_run(span.end_ns),
            span.phases,
            answer.outcome,
            span.round_trips,
            release_ns if release.quit else None,
            session.connection_id,
            session.uses,
            self._client,
            session.http_version,
            session.tls_version,
            span.phase,
            answer.code,
            answer.enhanced_code,
            answer.reply,
            answer.error,
            answer.errno,
            answer.anomaly,
            _notes_of(answer, span, release) if noted else None,
            answer.replies,
            span.tcp_rtt_ns,
            span.retransmits,
            len(message.recipients),
            answer.recipients_accepted,
            span.bytes_sent,
            answer.message_id,
            None,
            None,
        )
        return tuple.__new__(Sample, values)  # a third of what the constructor takes, which is not compiled

    def _record_call(self, slot: _Slot, session: Session, span: Span, answer: Answer) -> None:
        """A row for each message of a batch call; the times are the call's."""
        members = slot.message.members
        answers = answer.each or (answer,) * len(members)
        for index, (message, each) in enumerate(zip(members, answers, strict=True)):
            own = _Slot(message, slot.worker, slot.due_ns, slot.ready_ns)
            sample = self._sample(own, session, span, each, NOTHING, 0)
            self.progress.done += 1
            self.progress.accepted += each.outcome is _ACCEPTED
            # Of the bytes that were sent nobody can say whose they are.
            self._append(sample._replace(bytes_sent=None, batch_id=slot.message.key, batch_index=index))

    def _case_run(self, quits: tuple[int, ...]) -> CaseRun:
        case, marks = self.case, self._marks
        warmup = self.share.part(case.load.warmup) * case.load.parts
        planned = None if self._pacer.count is None else self.share.part(self._pacer.count)
        scheduled = planned - warmup if planned is not None else None
        started_ns = marks.started_ns if marks.started_ns is not None else marks.ended_ns
        offset_ns = self.clock.offset_ns
        return CaseRun(
            id=case.id,
            labels=case.labels,
            scheduled=scheduled if scheduled is not None else max(0, self.progress.done - warmup),
            warmup=case.load.warmup,
            started_ns=started_ns - offset_ns,
            ended_ns=marks.ended_ns - offset_ns,
            cpu_ns=marks.cpu_ended_ns - marks.cpu_started_ns if marks.started_ns is not None else 0,
            open=case.load.open,
            pooled=case.connection is Connection.POOLED,
            rtt_ns=case.shaped_rtt_ns,
            service_time_p50_ns=case.planted_p50_ns,
            server=case.server,
            interrupted=bool(self.stop),
            quits=quits,
            comparison=case.comparison,
            begins=case.load.begins,
            retry="" if case.retry is None else case.retry.on,
        )


def _throttled(answer: Answer, texts: Sequence[tuple[int, str]]) -> Answer:
    """The answer, recognised as a provider's way to say: too much, later."""
    reply = (answer.reply or b"").decode("ascii", "replace")
    if not any(answer.code == code and text in reply for code, text in texts):
        return answer
    refused = answer.outcome is Outcome.REJECTED_PERM  # as some say it, though it will pass
    return answer._replace(error="throttle", outcome=Outcome.REJECTED_TEMP if refused else answer.outcome)


def _notes_of(answer: Answer, span: Span, release: Release) -> str:
    """What there is no column for, as JSON."""
    if answer.notes is None and not release.rset:  # most connections say no more; an address needs no escapes
        return f'{{"local_port": {span.local_port}, "address": "{span.address}"}}'
    notes = dict(answer.notes or {})
    if span.local_port is not None:
        notes |= {"local_port": span.local_port, "address": span.address}
    if release.rset:
        notes["rset"] = True
    return json.dumps(notes)
