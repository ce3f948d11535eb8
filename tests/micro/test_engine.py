"""The load generator without the kernel: with a session that answers at once, and down to the socket."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bench.clock import Alarm, RunClock
from bench.engine import Engine, Stop
from bench.guard import Guard
from bench.message import Composer, build_parts
from bench.model import (
    Case,
    Connection,
    Endpoint,
    Load,
    Message,
    MessageSpec,
    Outcome,
    PoolOptions,
    Sample,
    TlsMode,
    TlsSettings,
)
from bench.transports import Answer, Session, Span, session_maker
from bench.transports.library import LibrarySession
from bench.transports.session import Recovery
from tests.micro.conftest import Measure
from tests.micro.kernel import OK, FakeKernel
from tests.store.samples import make_case

MESSAGES = 400
CONCURRENCY = 10
HELLO = b"250-here\r\n250-8BITMIME\r\n"
SERVERS = {
    "command by command": {b"EHLO": HELLO + b"250 SIZE\r\n", b"DATA": b"354 Go\r\n"},
    "pipelined": {b"EHLO": HELLO + b"250 PIPELINING\r\n", b"MAIL": OK + OK + b"354 Go\r\n"},
    "chunked": {b"EHLO": HELLO + b"250-PIPELINING\r\n250 CHUNKING\r\n", b"MAIL": OK + OK + OK},
}
ANSWER = Answer(Outcome.ACCEPTED, 250, "2.0.0", OK, recipients_accepted=1, replies=b"250 250 354 250")


class Instant(LibrarySession):
    """A kept connection that takes a message without waiting for anybody."""

    connection_id = uses = 1
    http_version: str | None = None
    tls_version: str | None = None
    first_phase = "mail"
    alive = True

    async def exchange(self, message: Message, span: Span) -> Answer:
        raise NotImplementedError  # `send` needs none

    async def send(self, message: Message, span: Span, timeout_ns: int) -> Answer:
        if message.seq % 100 == 0:
            await asyncio.sleep(0)
        span.begin("mail", 1)
        for at_ns, phase in enumerate(("rcpt", "data", "body", "reply"), 2):
            span.enter(phase, at_ns)
        span.end(6)
        return ANSWER

    async def recover(self) -> Recovery:
        return Recovery(True)

    async def close(self) -> bool:
        return False

    async def abort(self) -> None:
        pass


class Counter:
    """A recorder that only counts."""

    def __init__(self) -> None:
        self.accepted = 0

    def reserve(self, first_seq: int, case: str) -> None:
        pass

    def append(self, sample: Sample) -> None:
        self.accepted += sample.outcome is Outcome.ACCEPTED


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case begins with one, which takes longer here than all its messages: pytest's heap is large."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    loop = FakeKernel(SERVERS[getattr(request, "param", "chunked")])
    monkeypatch.setattr("bench.transports.wire_smtp.begin_to_connect", lambda *_: None)
    monkeypatch.setattr("bench.transports.wire_smtp.connect", loop.connect)
    monkeypatch.setattr("select.epoll", lambda: loop.epoll)
    yield loop
    loop.close()


def case_of(client: str = "wire") -> Case:
    return replace(
        make_case(),
        client=client,
        connection=Connection.POOLED,
        message=MessageSpec(size_bytes=1024),
        load=Load("closed", MESSAGES, concurrency=CONCURRENCY),
        pool=PoolOptions(CONCURRENCY),
        tls=TlsSettings(TlsMode.NONE),
    )


async def run_case(case: Case, *, instant: bool) -> int:
    """How many messages were accepted."""
    parts = build_parts(case.message, seed=1, date=datetime(2026, 11, 23, tzinfo=UTC))
    counter = Counter()
    with Alarm() as alarm:
        endpoint = Endpoint("127.0.0.1", 25, case.tls, None, server_name="127.0.0.1")
        make = session_maker(case, endpoint, Guard(), None, alarm)
        engine = Engine(
            case=case,
            composer=Composer(case.message, parts.mime, "20261123T220914Z-probe-b69e81-0"),
            make_session=_instant if instant else make,
            recorder=counter,
            clock=RunClock(),
            alarm=alarm,
            stop=Stop(),
            seed=1,
        )
        await engine.run()
    return counter.accepted


def _instant() -> Session:
    return Instant()


def test_engine(measure: Measure, kernel: FakeKernel) -> None:
    """All that is not the client: slot, message, pool, span, sample."""
    case = case_of()
    run = lambda: kernel.run_until_complete(run_case(case, instant=True))  # noqa: E731
    assert measure(run, per=MESSAGES) == MESSAGES


@pytest.mark.parametrize("kernel", SERVERS, indirect=True)
def test_engine_and_client(measure: Measure, kernel: FakeKernel) -> None:
    """Everything of ours from one message to the next, short of the system calls."""
    case = case_of()
    run = lambda: kernel.run_until_complete(run_case(case, instant=False))  # noqa: E731
    assert measure(run, per=MESSAGES) == MESSAGES
