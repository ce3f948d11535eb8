"""A server that stands still for a second: the schedule goes on, and latency must say so.

A generator that waits for answers before it sends again would see four slow messages and call the
rest fast. Ours counts from when each message was due (Gil Tene's coordinated omission).
"""

from __future__ import annotations

import heapq
import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from bench.api import Stop
from bench.clock import monotonic_ns
from bench.mock.process import mock_process
from bench.mock.spec import MockSpec
from bench.model import ServiceTime, TlsMode
from tests.runs import Finished, finished

pytestmark = pytest.mark.alone
MS = 1_000_000
RATE, SECONDS, POOL = 100, 10, 4
SERVICE_MS = 3

SCENARIO = """\
version: 1
name: stall
target: smtp://127.0.0.1:{port}
provider: generic
tls: none
connection: pooled
load: {{model: constant, rate: {rate}/s, duration: {seconds}s, warmup: 50, max_in_flight: 500}}
pool: {{size: {pool}}}
"""


@dataclass
class Freeze:
    """Stops the server's process four seconds into the run, for one second."""

    pid: int
    began_ns: int = 0
    ended_ns: int = 0

    async def __call__(self, _stop: Stop) -> None:
        await anyio.sleep(4.5)
        os.kill(self.pid, signal.SIGSTOP)
        self.began_ns = monotonic_ns()
        try:
            await anyio.sleep(1)
        finally:
            os.kill(self.pid, signal.SIGCONT)
            self.ended_ns = monotonic_ns()


def predicted_p95_ns(due_ns: list[int], service_ns: int, freeze: tuple[int, int]) -> int:
    """A queue in front of `POOL` connections, served in order, whose server is frozen once."""
    began_ns, ended_ns = freeze
    free_ns = [0] * POOL
    latencies = []
    for due in due_ns:
        start = max(due, heapq.heappop(free_ns))
        if began_ns <= start < ended_ns:  # it waits in the kernel until the server goes on
            end = ended_ns + service_ns
        elif start < began_ns < start + service_ns:  # the server's timer runs out while it is frozen
            end = max(start + service_ns, ended_ns)
        else:
            end = start + service_ns
        heapq.heappush(free_ns, end)
        latencies.append(end - due)
    return sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]


def run_stalled(folder: Path) -> tuple[Finished, Freeze]:
    spec = MockSpec(
        kind="smtp", tls=TlsMode.NONE, auth_mechanisms=(), service_time=ServiceTime(p50_ns=SERVICE_MS * MS)
    )
    found: list[tuple[Path, Freeze]] = []

    async def main() -> None:
        from bench.api import RunOptions, run_scenario
        from bench.scenario import load_scenario

        async with mock_process(spec) as ready:
            assert ready.smtp is not None
            text = SCENARIO.format(port=ready.smtp[1], rate=RATE, seconds=SECONDS, pool=POOL)
            file = folder / "stall.yaml"
            file.write_text(text, encoding="utf-8")
            freeze, stop = Freeze(ready.pid), Stop()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(freeze, stop)
                run = await run_scenario(load_scenario(file), RunOptions(folder / "results", seed=1), stop)
            found.append((run, freeze))

    anyio.run(main, backend_options={"use_uvloop": True})
    return finished(found[0][0]), found[0][1]


@pytest.mark.timeout(60)
def test_latency_shows_the_stall_and_service_does_not(tmp_path: Path) -> None:
    found, freeze = run_stalled(tmp_path)
    (case,) = found.summary.cases
    rows = found.frame[~found.frame["warmup"]]
    assert case.counts.accepted == RATE * SECONDS
    assert case.latency is not None
    assert case.service is not None
    assert case.latency.p95 is not None
    assert case.service.p95 is not None

    offset_ns = found.stored.manifest.clock_offset_ns
    window = (freeze.began_ns - offset_ns, freeze.ended_ns - offset_ns)
    before = rows[rows["end_ns"] < window[0]]
    normal_ns = (before["end_ns"] - before["start_ns"]).sort_values()
    predicted = predicted_p95_ns([int(due) for due in rows["due_ns"]], int(normal_ns.median()), window)
    assert 400 * MS < predicted < 600 * MS
    assert case.latency.p95.value_ms == pytest.approx(predicted / MS, rel=0.05)
    assert case.service.p95.value_ms <= 2 * float(normal_ns.quantile(0.95)) / MS
