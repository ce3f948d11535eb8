"""Cancels at every moment of a message's life, and then normal messages: nothing leaks or is mixed up."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from bench.clock import RunClock
from bench.mock.log import read_taken
from bench.mock.spec import MockSpec
from bench.model import Outcome, Transport
from bench.providers import composer_for
from bench.transports.session import Answer, Span
from tests.faults.running import mocks_in_this_process
from tests.integration.clients import Client
from tests.torture.counted import Counted
from tests.transports.wire import Sender

AFTER = 1000
WAITS_S = (0.0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004)


def cancel_storm(count: int, seed: int = 1) -> Counted:
    """So many messages cut off at random moments, over SMTP and HTTP, by our own clients; then a thousand
    normal ones over the same pool."""
    found = Counted()
    for transport in Transport:
        anyio.run(_storm, Client(transport, "wire"), count // 2, seed, found)
    return found


async def _storm(client: Client, count: int, seed: int, found: Counted) -> None:
    rng, cut = random.Random(seed), 0
    with TemporaryDirectory() as folder:
        log = Path(folder) / "taken"
        accepted = list[str]()
        spec = MockSpec(kind=str(client.transport), provider="sendgrid", log=str(log))
        async with mocks_in_this_process([spec]) as (ready,), client.line_to(ready) as line:
            one, number = _Messages(line), 0
            while cut < count:
                with anyio.move_on_after(rng.choice(WAITS_S)) as scope:
                    if await one.send(number):
                        accepted.append(one.key(number))
                cut += scope.cancelled_caught
                number += 1
            with anyio.fail_after(60):
                for normal in range(number, number + AFTER):
                    if not await one.send(normal):
                        found.blame(f"{client.transport}: normal message {normal}: {one.answer}")
                    accepted.append(one.key(normal))
        taken = Counter(each.key for each in read_taken(log))
    for key in accepted:
        if taken[key] != 1:
            found.blame(f"{client.transport}: {key} was accepted and taken {taken[key]} times")
    if max(taken.values()) > 1:
        found.blame(f"{client.transport}: a message was taken twice")
    found.done += cut
    found.facts[f"{client.transport} cut off"] = cut


class _Messages:
    """Sends as the engine does: whatever becomes of a message, its session goes back to the pool."""

    def __init__(self, line: Sender) -> None:
        self._line = line
        self._composer = composer_for(line.case, "run", seed=1, date=datetime(2026, 11, 23, tzinfo=UTC))[0]
        self.answer: Answer | None = None

    def key(self, number: int) -> str:
        return self._composer.envelope(number).key

    async def send(self, number: int) -> bool:
        """Whether it was accepted."""
        session = await self._line.pool.acquire()
        clean = False
        try:
            self.answer = await session.send(
                self._composer.compose(number), Span(RunClock()), int(self._line.timeout_s * 1e9)
            )
            clean = self.answer.outcome is Outcome.ACCEPTED and self.answer.anomaly is None
            return clean
        finally:
            with anyio.CancelScope(shield=True):
                await self._line.pool.release(session, clean=clean, refused=False)
