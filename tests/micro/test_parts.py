"""What surrounds the protocol: schedule, message, span, waiting, and what becomes of the sample."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.message import Composer, build_parts
from bench.model import Load, MessageSpec
from bench.pacing import pacer_for
from bench.store import RunWriter
from bench.store.rows import decode, encode
from bench.transports.session import Span
from bench.transports.waiting import Handover
from tests.micro.conftest import Measure
from tests.store.samples import make_case, make_sample, make_scenario, start

MANY = 1000
CHUNK = 200
"""Rows of one frame of the log."""

LOADS = {
    "constant": Load("constant", 10_000, rates_per_s=(1000.0,)),
    "poisson": Load("poisson", 10_000, rates_per_s=(1000.0,)),
    "ramp": Load("ramp", 10_000, duration_ns=10**10, rates_per_s=(500.0, 1500.0)),
    "steps": Load("steps", 10_000, step_ns=5 * 10**9, rates_per_s=(500.0, 1500.0)),
}


@pytest.mark.parametrize("model", LOADS)
def test_due_time(measure: Measure, model: str) -> None:
    pacer = pacer_for(LOADS[model], seed=1)

    def ask() -> int | None:
        due_ns = None
        for seq in range(MANY):
            due_ns = pacer.due_ns(seq)
        return due_ns

    due_ns = measure(ask, per=MANY)
    assert due_ns is not None
    assert 0.5e9 < due_ns < 2e9


def test_compose_10_kib(measure: Measure) -> None:
    spec = MessageSpec(size_bytes=10_240)
    parts = build_parts(spec, seed=1, date=datetime(2026, 11, 23, tzinfo=UTC))
    composer = Composer(spec, parts.mime, "20261123T220914Z-probe-b69e81-0")
    message = measure(lambda: composer.compose(123_456))
    assert message.payload.count(message.key.encode()) == 2


def test_span_of_five_phases(measure: Measure) -> None:
    clock = time.monotonic_ns

    def mark() -> Span:
        span = Span(clock)
        span.begin("mail", 1)
        for at_ns, phase in enumerate(("rcpt", "data", "body", "reply"), 2):
            span.enter(phase, at_ns)
        span.end(6)
        return span

    assert sum(measure(mark).phases.values()) == 5


def test_handover_round_trip(measure: Measure) -> None:
    """A task that waits, is woken on the spot, and waits again."""
    loop = asyncio.new_event_loop()
    handover: Handover[int] = Handover(loop)
    received = 0

    async def wait() -> None:
        nonlocal handover, received
        while await handover >= 0:
            received += 1
            handover = Handover(loop)

    def finish_many() -> None:
        for number in range(MANY):
            handover.finish(number)
        loop.stop()

    def round_trips() -> None:
        loop.call_soon(finish_many)
        loop.run_forever()

    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    try:
        measure(round_trips, per=MANY)
    finally:
        loop.call_soon(lambda: handover.finish(-1))
        loop.run_until_complete(task)
        loop.close()
    assert received % MANY == 0
    assert received


def test_encode_rows(measure: Measure) -> None:
    samples = [make_sample(seq) for seq in range(CHUNK)]
    assert decode(measure(lambda: encode(samples), per=CHUNK)).num_rows == CHUNK


CASE = make_case(messages=None)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    writer = start(tmp_path, make_scenario(CASE))
    writer.reserve(0, CASE.id)
    yield writer
    writer.finish("complete")  # or every reserved message would be given a row


def test_record_rows(measure: Measure, writer: RunWriter) -> None:
    """From `append` until they are with the kernel, the writing thread's work included."""
    samples = [make_sample(seq) for seq in range(MANY)]

    def record() -> None:
        for sample in samples:
            writer.append(sample)
        writer.flush()

    measure(record, per=MANY)
    assert writer.failure is None


def test_reserve(measure: Measure, writer: RunWriter) -> None:
    firsts = itertools.count(100, 100)
    measure(lambda: writer.reserve(next(firsts), CASE.id))
    assert writer.failure is None
    assert next(firsts) >= 200
