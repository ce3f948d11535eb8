"""The alarm keeps its moments, on both timers and both event loops."""

from __future__ import annotations

import asyncio
import statistics
from functools import partial

import pytest

from bench import clock
from bench.clock import Alarm, RunClock, monotonic_ns, utc_now
from tests.loops import BOTH_LOOPS

MS = 1_000_000

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BOTH_LOOPS), pytest.mark.alone]
timers = pytest.mark.parametrize("timer", [clock._TimerFd, clock._LoopTimer])
Timer = type[clock._TimerFd] | type[clock._LoopTimer]


@timers
async def test_due_functions_run_in_order_of_time_then_of_registration(timer: Timer) -> None:
    with Alarm(timer) as alarm:
        seen: list[str] = []
        start = monotonic_ns()
        for name, after in (("c", 6), ("a", 2), ("b", 4), ("b2", 4), ("now", 0), ("past", -1)):
            alarm.call_at(start + after * MS, partial(seen.append, name))
        await alarm.sleep_until(start + 8 * MS)
    assert seen == ["past", "now", "a", "b", "b2", "c"]


@timers
async def test_nothing_rings_early(timer: Timer) -> None:
    slack = 0 if timer is clock._TimerFd else 2 * MS  # a loop's timer rounds to its own resolution
    with Alarm(timer) as alarm:
        late: list[int] = []
        start = monotonic_ns()
        for step in range(1, 40):
            due = start + step * MS // 2
            alarm.call_at(due, partial(lambda due: late.append(monotonic_ns() - due), due))
        await alarm.sleep_until(start + 25 * MS)
    assert len(late) == 39
    assert min(late) >= -slack


async def test_an_alarm_that_wakes_early_still_rings_on_time() -> None:
    """Looked at when the alarm rings: a task that waits for it gets its turn one round of the loop later."""
    with Alarm(early_ns=2 * MS) as alarm:
        if alarm.kind != "timerfd":
            pytest.skip("there is no timerfd on this platform")
        late: list[int] = []
        for _ in range(40):
            due = monotonic_ns() + 3 * MS
            alarm.call_at(due, partial(lambda due: late.append(monotonic_ns() - due), due))
            await alarm.sleep_until(due)
    assert min(late) >= 0
    assert statistics.median(late) < 0.01 * MS


async def test_between_two_moments_the_loop_gets_its_turn_even_when_waking_early() -> None:
    with Alarm(early_ns=3 * MS) as alarm:
        seen: list[str] = []
        start = monotonic_ns() + 5 * MS
        alarm.call_at(start, lambda: asyncio.get_running_loop().call_soon(seen.append, "other work"))
        alarm.call_at(start + MS, partial(seen.append, "second"))
        await alarm.sleep_until(start + 2 * MS)
    assert seen == ["other work", "second"]


async def test_precision() -> None:
    with Alarm() as alarm:
        if alarm.kind != "timerfd":
            pytest.skip("there is no timerfd on this platform")
        late = []
        for _ in range(60):
            due = monotonic_ns() + 2_300_000
            await alarm.sleep_until(due)
            late.append(monotonic_ns() - due)
    assert min(late) >= 0
    assert statistics.median(late) < MS, "a loop's own timer is whole milliseconds late"


async def test_a_moment_that_has_passed_only_lets_others_run() -> None:
    with Alarm() as alarm:
        seen: list[int] = []
        asyncio.get_running_loop().call_soon(seen.append, 1)
        await alarm.sleep_until(monotonic_ns() - 1)
    assert seen == [1]


async def test_a_cancelled_sleeper_disturbs_nobody() -> None:
    with Alarm() as alarm:
        start = monotonic_ns()
        sleeper = asyncio.ensure_future(alarm.sleep_until(start + 2 * MS))
        await asyncio.sleep(0)
        sleeper.cancel()
        await alarm.sleep_until(start + 5 * MS)
        assert sleeper.cancelled()
        assert monotonic_ns() >= start + 5 * MS


@timers
async def test_a_function_may_ask_to_be_called_again(timer: Timer) -> None:
    with Alarm(timer) as alarm:
        moments: list[int] = []
        done = asyncio.get_running_loop().create_future()

        def tick() -> None:
            moments.append(monotonic_ns())
            if len(moments) == 5:
                done.set_result(None)
            else:
                alarm.call_at(moments[-1] + MS, tick)

        alarm.call_at(monotonic_ns(), tick)
        await done
    assert len(moments) == 5


@timers
async def test_a_failing_function_does_not_silence_the_others(timer: Timer) -> None:
    loop = asyncio.get_running_loop()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    error = RuntimeError("on purpose")

    def fail() -> None:
        raise error

    try:
        with Alarm(timer) as alarm:
            start = monotonic_ns()
            alarm.call_at(start + MS, fail)
            await alarm.sleep_until(start + 3 * MS)
    finally:
        loop.set_exception_handler(None)
    assert told == [error]


async def test_a_quiet_alarm_costs_nothing() -> None:
    """The descriptor must not stay readable once it has rung: the loop would spin."""
    with Alarm() as alarm:
        await alarm.sleep_until(monotonic_ns() + MS)
        rings: list[int] = []

        def ring() -> None:
            rings.append(1)
            alarm._ring()

        alarm._timer.close()
        alarm._timer = clock._TimerFd(asyncio.get_running_loop(), ring)
        await alarm.sleep_until(monotonic_ns() + MS)
        await asyncio.sleep(0.02)
    assert len(rings) == 1


async def test_closing_forgets_what_was_due_and_may_be_done_twice() -> None:
    seen: list[int] = []
    with Alarm() as alarm:
        alarm.call_at(monotonic_ns() + MS, partial(seen.append, 1))
        alarm.close()
        alarm.call_at(monotonic_ns(), partial(seen.append, 2))
    await asyncio.sleep(0.005)
    assert seen == []


async def test_closing_from_inside_a_ring() -> None:
    alarm = Alarm()
    alarm.call_at(monotonic_ns(), alarm.close)
    alarm.call_at(monotonic_ns() + MS, alarm.close)
    await asyncio.sleep(0.005)
    assert alarm._closed


async def test_without_a_timerfd_the_loop_keeps_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise AttributeError("timerfd_create")

    monkeypatch.setattr(clock._TimerFd, "__init__", absent)
    with Alarm() as alarm:
        assert alarm.kind == "loop"
        due = monotonic_ns() + 2 * MS
        await alarm.sleep_until(due)


async def test_a_run_clock_counts_from_its_start() -> None:
    before = monotonic_ns()
    run = RunClock()
    assert before <= run.offset_ns <= monotonic_ns()
    assert 0 <= run() <= monotonic_ns() - before
    assert RunClock(offset_ns=0)() >= before
    assert utc_now().utcoffset() is not None
