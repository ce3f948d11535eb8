"""Phases tile the service time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import PHASES, Message, Outcome
from bench.transports.session import Answer, AttemptFailed, Span
from tests.transports.fakes import FakeClock, FakeSession

MESSAGE = Message(0, "run-0", "a@example.org", ("b@example.org",), b"")


@given(st.lists(st.tuples(st.sampled_from(PHASES), st.integers(0, 10**9)), max_size=30))
def test_phases_add_up_to_the_service_time_exactly(steps: list[tuple[str, int]]) -> None:
    clock = FakeClock()
    clock.now_ns = 17
    span = Span(clock)
    span.begin("dns")
    for phase, ns in steps:
        span.enter(phase)
        clock.advance(ns)
    span.end()
    assert span.start_ns is not None
    assert span.end_ns is not None
    assert sum(span.phases.values()) == span.end_ns - span.start_ns


def test_what_happens_after_the_end_is_not_counted() -> None:
    clock = FakeClock()
    span = Span(clock)
    span.begin("send")
    clock.advance(5)
    span.end()
    clock.advance(7)
    span.end()
    assert span.end_ns == 5
    assert span.phases == {"send": 5}


def test_round_trips_that_nobody_could_count_are_none() -> None:
    span = Span(FakeClock())
    span.round_trip()
    span.round_trip(2)
    assert span.round_trips == 3
    span.round_trips_known = False
    assert span.round_trips is None


@pytest.mark.anyio
async def test_an_attempt_that_runs_out_of_time_is_unknown_only_past_the_point_of_no_return() -> None:
    class Hanging(FakeSession):
        past = False

        async def exchange(self, message: Message, span: Span) -> Answer:
            span.handed_over = self.past
            await anyio.sleep_forever()
            raise AssertionError

    for past, outcome in ((False, Outcome.FAILED), (True, Outcome.UNKNOWN)):
        session = Hanging()
        session.past = past
        span = Span(FakeClock())
        answer = await session.send(MESSAGE, span, timeout_ns=1)
        assert (answer.outcome, answer.error) == (outcome, "timeout")
        assert span.end_ns is not None


@pytest.mark.anyio
async def test_a_failure_inside_a_session_becomes_its_answer() -> None:
    class Failing(FakeSession):
        async def exchange(self, message: Message, span: Span) -> Answer:
            raise AttemptFailed(Answer(Outcome.FAILED, error="connect", errno=111))

    answer = await Failing().send(MESSAGE, Span(FakeClock()), timeout_ns=10**9)
    assert answer == Answer(Outcome.FAILED, error="connect", errno=111)
