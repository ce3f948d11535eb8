"""Servers that answer as told, over real sockets, and messages sent to them as the engine does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bench.clock import Alarm, RunClock
from bench.guard import Guard
from bench.model import (
    Auth,
    Case,
    Connection,
    Endpoint,
    Message,
    Outcome,
    PoolOptions,
    SmtpOptions,
    TlsMode,
    TlsSettings,
    Transport,
)
from bench.providers import composer_for
from bench.transports import Answer, Pool, Release, Session, Span, session_maker
from tests.store.samples import make_case

HOST = "127.0.0.1"
DROP, SILENCE = "(drop)", "(silence)"
"""Instead of an answer: reset the connection, or say nothing more."""

DEFAULTS = {
    "banner": "220 here",
    "EHLO": "250-here\r\n250 SIZE 1000000",
    "DATA": "354 go",
    "body": "250 2.0.0 taken",
    "QUIT": "221 bye",
}


@dataclass
class Scripted:
    """A server that answers the n-th time it is asked with the n-th answer; the last one stays."""

    answers: Mapping[str, Sequence[str]]
    port: int = 0
    seen: list[str] = field(default_factory=list)
    """Verbs or request lines, in order, over all connections."""
    connections: int = 0
    asked: dict[str, int] = field(default_factory=dict)

    def answer(self, verb: str) -> str:
        self.asked[verb] = self.asked.get(verb, 0) + 1
        given = self.answers.get(verb, (DEFAULTS.get(verb, "250 ok"),))
        return given[min(self.asked[verb], len(given)) - 1]

    async def say(self, verb: str, writer: asyncio.StreamWriter) -> str:
        """Answer; raises ConnectionError where the script ends the connection."""
        text = self.answer(verb)
        if text == SILENCE:
            await asyncio.Event().wait()
        if text == DROP:
            raise ConnectionAbortedError
        writer.write(text.encode() if verb == "http" else text.encode() + b"\r\n")
        await writer.drain()
        if text.startswith("421") or "(close)" in text:
            raise ConnectionAbortedError
        return text


class ScriptedSmtp(Scripted):
    """SMTP without TLS."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.say("banner", writer)
        while line := await reader.readline():
            verb = line.split()[0].decode().upper()
            self.seen.append(verb)
            text = await self.say(verb, writer)
            if verb == "DATA" and text.startswith("354"):
                await self.read_body(reader)
                self.seen.append("body")
                await self.say("body", writer)

    async def read_body(self, reader: asyncio.StreamReader) -> None:
        await reader.readuntil(b"\r\n.\r\n")


class ScriptedHttp(Scripted):
    """HTTP/1.1 without TLS: the answers are whole responses, as they travel, under the name `http`."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.seen.append(line.decode().strip())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            await self.say("http", writer)


def in_two(payload: bytes) -> tuple[bytes, bytes]:
    """Head and tail, as `Composer` makes them."""
    return payload[:300], payload[300:]


@asynccontextmanager
async def serving(script: ScriptedSmtp | ScriptedHttp) -> AsyncIterator[ScriptedSmtp | ScriptedHttp]:
    """Run it on a free port of 127.0.0.1 until the block ends, and its connections with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        script.connections += 1
        try:
            await script.serve(reader, writer)
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if script.answers.get("close") == ("politely",):
                writer.close()
            else:
                writer.transport.abort()

    server = await asyncio.start_server(one, HOST, 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message after its end."""

    answer: Answer
    span: Span
    session: Session
    connection_id: int
    use: int
    release: Release


@dataclass
class Sender:
    """Sends one message after another over a pool of one connection, as the engine does."""

    case: Case
    endpoint: Endpoint
    recipients: tuple[str, ...] = ("a@x.example",)
    timeout_s: float = 5.0
    payload: bytes = b""
    seq: int = 0
    alarm: Alarm = field(default_factory=Alarm)
    make: Callable[[], Session] = field(init=False)
    pool: Pool = field(init=False)

    def __post_init__(self) -> None:
        date = datetime(2026, 11, 23, tzinfo=UTC)
        composer, request = composer_for(self.case, "run", seed=1, date=date)
        self.payload = self.payload or composer.compose(0).payload
        self.make = session_maker(self.case, self.endpoint, Guard(), request, self.alarm)
        self.pool = Pool(
            PoolOptions(1), self.make, clock=RunClock(), keep=self.case.connection is Connection.POOLED
        )

    async def send(self) -> Sent:
        """One message; its phases tile its time, whatever became of it."""
        session = await self.pool.acquire()
        message = Message(self.seq, f"run-{self.seq}", "s@x.example", self.recipients, *in_two(self.payload))
        self.seq += 1
        span = Span(RunClock())
        answer = await session.send(message, span, int(self.timeout_s * 1e9))
        assert span.start_ns is not None
        assert span.end_ns is not None
        assert sum(span.phases.values()) == span.end_ns - span.start_ns
        refused = answer.outcome in (Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM)
        clean = (refused or answer.outcome is Outcome.ACCEPTED) and answer.code != 421 and not answer.anomaly
        used = session.connection_id, session.uses
        release = await self.pool.release(session, clean=clean, refused=refused)
        return Sent(answer, span, session, *used, release)


@asynccontextmanager
async def sender(
    port: int,
    *,
    provider: str | None = None,
    client: str | None = None,
    smtp: SmtpOptions | None = None,
    keep: bool = True,
    tls: TlsMode = TlsMode.NONE,
    ca_file: str | None = None,
    auth: Auth | None = None,
    host: str = HOST,
    server_name: str = "localhost",
    path: str = "",
    recipients: tuple[str, ...] = ("a@x.example",),
    timeout_s: float = 5.0,
) -> AsyncIterator[Sender]:
    """A sender over SMTP or, with a provider, over its API; its pool is closed at the end."""
    settings = TlsSettings(tls, ca_file=ca_file)
    case = replace(
        make_case(),
        provider=provider or "generic",
        transport=Transport.SMTP if provider is None else Transport.API,
        client=client or ("aiosmtplib" if provider is None else "httpx"),
        smtp=smtp or SmtpOptions(),
        connection=Connection.POOLED if keep else Connection.UNPOOLED,
        tls=settings,
    )
    found = Sender(case, Endpoint(host, port, settings, auth, server_name, path), recipients, timeout_s)
    try:
        yield found
    finally:
        await found.pool.close()
        found.alarm.close()
