"""F15: what a timeout is recorded to have taken is the limit, never less and hardly more."""

from __future__ import annotations

import math

import anyio
import pytest

from bench.clock import monotonic_ns
from bench.hiccup import watching
from bench.model import Transport
from tests.integration.clients import Client
from tests.loops import BOTH_LOOPS
from tests.transports.wire import SILENCE, serving

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BOTH_LOOPS), pytest.mark.alone]

LIMIT_MS, LATE_MS = 100, 50
AT_ONCE, EACH = 20, 10


@pytest.mark.parametrize("client", [Client(each, "wire") for each in Transport], ids=list(Transport))
async def test_a_timeout_takes_as_long_as_it_says(client: Client) -> None:
    took_ms: list[float] = []

    async def one(port: int) -> None:
        async with client.line(port, timeout_s=LIMIT_MS / 1e3) as line:
            for _ in range(EACH):
                sent = await line.send()
                assert sent.answer.error == "timeout"
                assert sent.span.start_ns is not None
                assert sent.span.end_ns is not None
                took_ms.append((sent.span.end_ns - sent.span.start_ns) / 1e6)

    begun_ns = monotonic_ns()
    async with watching() as hiccups, serving(client.script(**{client.last: (SILENCE,)})) as script:
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(one, script.port)
        stolen = await hiccups.between([(begun_ns, monotonic_ns())])
    assert len(took_ms) == AT_ONCE * EACH
    assert min(took_ms) >= LIMIT_MS
    stolen_ms = (stolen.max_ns or 0) / 1e6  # by others, from one that only sleeps: nothing on an idle machine
    assert sorted(took_ms)[math.ceil(0.99 * len(took_ms)) - 1] <= LIMIT_MS + LATE_MS + stolen_ms
