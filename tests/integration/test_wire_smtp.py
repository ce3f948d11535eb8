"""SMTP by our own client over real sockets: what it counts, and what it makes of servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from bench.clock import RunClock
from bench.mock.spec import MockSpec, Ready
from bench.model import Message, Outcome, SmtpOptions, TlsMode
from bench.transports.session import Span
from bench.transports.wire_smtp import WireSmtpSession
from tests.integration.clients import nothing_left
from tests.loops import BOTH_LOOPS
from tests.mock.running import running_mock
from tests.transports.wire import DROP, SILENCE, ScriptedSmtp, Sender, Sent, sender, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

A, F, U, R4 = Outcome.ACCEPTED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.REJECTED_TEMP
LIMIT_S = 0.2
"""A timeout in tests that wait for it."""
LATE_S = 0.05
"""How much later than its timeout an attempt may end; it is never early."""
LARGE = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 30_000
"""More than the kernel takes while nobody reads."""
RESET, HALF_CLOSE, DRIP, GARBAGE, DIGITS = "(reset)", "(half-close)", "(drip)", "(garbage)", "(digits)"


@dataclass
class Hostile(ScriptedSmtp):
    """A server that takes messages either way, and has more ways to misbehave."""

    taken: list[bytes] = field(default_factory=list)
    """The text of every message that was answered with 250."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.say("banner", writer)
        while line := await reader.readline():
            verb = line.split()[0].decode().upper()
            self.seen.append(verb)
            if verb == "BDAT":
                await self.judge(await reader.readexactly(int(line.split()[1])), writer)
            elif (await self.say(verb, writer)).startswith("354"):
                await self.judge((await self.read_text(reader))[:-3], writer)

    async def read_text(self, reader: asyncio.StreamReader) -> bytes:
        return await reader.readuntil(b"\r\n.\r\n")

    async def judge(self, text: bytes, writer: asyncio.StreamWriter) -> None:
        if (await self.say("body", writer)).startswith("250"):
            self.taken.append(text)

    async def say(self, verb: str, writer: asyncio.StreamWriter) -> str:
        answers = self.answers.get(verb, ("",))
        act = answers[min(self.asked.get(verb, 0), len(answers) - 1)]
        if act == RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif act == HALF_CLOSE:
            writer.write_eof()
        elif act in (GARBAGE, DIGITS):
            writer.write((b"x" if act == GARBAGE else b"2") * 65536)
            await writer.drain()
        elif act.startswith(DRIP):
            for byte in act.removeprefix(DRIP).encode() + b"\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            self.asked[verb] = self.asked.get(verb, 0) + 1
            return act.removeprefix(DRIP)
        if act in (RESET, HALF_CLOSE, GARBAGE, DIGITS):
            self.asked[verb] = self.asked.get(verb, 0) + 1
            if act != RESET:
                await asyncio.Event().wait()
            raise ConnectionAbortedError
        return await super().say(verb, writer)


@dataclass(frozen=True)
class Mode:
    """What the server offers, which is used, and what that makes of the way of a message."""

    name: str
    offers: str
    trips: int
    """Of a message on a kept connection, with one recipient."""

    def phase(self, step: str) -> str:
        """In which the answer to a step is waited for."""
        if step in ("banner", "EHLO"):
            return step.lower()
        if step == "body":
            return "reply"
        return step.lower() if self.name == "single" else "envelope"


SINGLE = Mode("single", "250-here\r\n250 SIZE 100000000", 4)
GROUP = Mode("group", "250-here\r\n250 PIPELINING", 2)
CHUNK = Mode("chunk", "250-here\r\n250-PIPELINING\r\n250 CHUNKING", 1)
every_mode = pytest.mark.parametrize("mode", [SINGLE, GROUP, CHUNK], ids=lambda mode: mode.name)


@asynccontextmanager
async def line_to(
    mode: Mode = SINGLE, server: type[Hostile] = Hostile, **answers: Sequence[str]
) -> AsyncIterator[tuple[Hostile, Sender]]:
    """A server with these answers and a sender to it; nothing of either is left at the end."""
    script = server({"EHLO": (mode.offers,), **answers})
    async with (
        nothing_left(),
        serving(script),
        sender(script.port, client="wire") as line,
    ):
        yield script, line


def wire_session(sent: Sent) -> WireSmtpSession:
    assert isinstance(sent.session, WireSmtpSession)
    return sent.session


def took_s(sent: Sent) -> float:
    assert sent.span.start_ns is not None
    assert sent.span.end_ns is not None
    return (sent.span.end_ns - sent.span.start_ns) / 1e9


# ------------------------------------------------------------------------------ round trips


@every_mode
@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
async def test_messages_arrive_in_the_round_trips_of_their_mode(mode: Mode) -> None:
    async with line_to(mode) as (server, line):
        sent = [await line.send() for _ in range(3)]
    assert [each.answer.outcome for each in sent] == [A, A, A]
    assert [each.span.round_trips for each in sent] == [3 + mode.trips, mode.trips, mode.trips]
    assert [(each.connection_id, each.use) for each in sent] == [(1, 1), (1, 2), (1, 3)]
    assert {each.span.bytes_sent for each in sent} == {len(line.payload)}
    assert server.taken == [line.payload] * 3
    assert not wire_session(sent[0])._deadlines._pending


@pytest.fixture(scope="module", params=[TlsMode.STARTTLS, TlsMode.IMPLICIT])
def mock(request: pytest.FixtureRequest) -> Iterator[tuple[TlsMode, Ready]]:
    with running_mock(MockSpec("smtp", tls=request.param)) as ready:
        yield request.param, ready


@pytest.mark.parametrize(
    ("options", "trips", "phases"),
    [
        (SmtpOptions(), 1, ["envelope", "body", "reply"]),
        (SmtpOptions(chunking="off"), 2, ["envelope", "body", "reply"]),
        (SmtpOptions(pipelining="off", chunking="off"), 4, ["mail", "rcpt", "data", "body", "reply"]),
        (SmtpOptions(pipelining="off"), 3, ["mail", "rcpt", "body", "reply"]),
    ],
)
@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
async def test_with_tls_and_a_login(
    mock: tuple[TlsMode, Ready], options: SmtpOptions, trips: int, phases: list[str]
) -> None:
    tls, ready = mock
    assert ready.smtp is not None
    async with (
        nothing_left(),
        sender(
            ready.smtp[1], client="wire", smtp=options, tls=tls, ca_file=ready.ca_file,
            auth=ready.credentials.smtp,
        ) as line,
    ):  # fmt: skip
        first, second = await line.send(), await line.send()
    for sent in (first, second):
        assert (sent.answer.outcome, sent.answer.code, sent.answer.anomaly) == (A, 250, None)
        assert (sent.session.tls_version, sent.span.bytes_sent) == ("TLSv1.3", len(line.payload))
    opening = 7 if tls is TlsMode.STARTTLS else 5  # tcp, banner, EHLO, STARTTLS, TLS, EHLO, AUTH
    assert (first.span.round_trips, second.span.round_trips) == (opening + trips, trips)
    assert set(second.span.phases) <= set(phases)


# ----------------------------------------------------------------------- steps and what fails


def expected(mode: Mode, step: str, act: str) -> tuple[Outcome, str | None]:
    """Outcome and error, from where the point of no return lies."""
    passed = step == "body" or (mode is CHUNK and step in ("MAIL", "RCPT"))
    if act == "421 bye":
        return (F, "refused") if step in ("banner", "EHLO") else (R4, "rejected")
    if act.startswith(DRIP):
        return A, None
    error = {SILENCE: "timeout", GARBAGE: "protocol", DIGITS: "protocol"}.get(act, "disconnected")
    return U if passed else F, error


USUAL = {"banner": "220 here", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", "body": "250 ok"}
ACTS = [RESET, DROP, HALF_CLOSE, SILENCE, "421 bye", DRIP, GARBAGE, DIGITS]


@every_mode
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
async def test_each_step_and_each_way_to_fail(mode: Mode, act: str, kept: bool) -> None:
    """S08 to S10, S45, S51, S60 to S62, S66, S68: outcome, error, phase, and the time a timeout takes."""
    usual = {**USUAL, "EHLO": mode.offers}
    steps = [step for step in usual if not (kept and step in ("banner", "EHLO"))]
    for step in steps:
        if mode is CHUNK and step == "DATA":
            continue
        answer = DRIP + usual[step] if act == DRIP else act
        answers = (usual[step], answer, usual[step]) if kept else (answer, usual[step])
        async with line_to(mode, Hostile, **{step: answers}) as (server, line):
            line.timeout_s = LIMIT_S if act == SILENCE else 5.0
            if kept:
                assert (await line.send()).answer.outcome is A
            sent = await line.send()
            stale = kept and act in (RESET, DROP, HALF_CLOSE) and step == "MAIL" and mode is not CHUNK
            outcome, error = (A, None) if stale else expected(mode, step, answer)
            assert (step, sent.answer.outcome, sent.answer.error) == (step, outcome, error)
            assert ("conn_retry" in (sent.answer.notes or {})) == stale
            assert sent.span.phase == ("reply" if outcome is A else mode.phase(step))
            passed = outcome is A or expected(mode, step, SILENCE)[0] is U
            assert sent.span.handed_over == passed
            assert sent.session.alive == (outcome is A)
            if act == SILENCE:
                assert LIMIT_S <= took_s(sent) <= LIMIT_S + LATE_S
            again = await line.send()
            assert (again.answer.outcome, again.connection_id) == (A, 1 if act == DRIP else 2)
            assert len(server.taken) == kept + (outcome is A) + 1
            assert not wire_session(again)._deadlines._pending


# ------------------------------------------------------------------- connections gone stale


@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
@pytest.mark.parametrize("act", [RESET, DROP, HALF_CLOSE])
async def test_a_second_try_is_one_message_and_counts_its_time(act: str) -> None:
    """S67, S68: the server ends a kept connection in the moment in which it is used."""
    async with line_to(MAIL=("250 ok", act, "250 ok")) as (server, line):
        first, second, third = await line.send(), await line.send(), await line.send()
        assert [len(server.taken), server.connections] == [3, 2]
    assert (first.answer.notes, third.answer.notes) == (None, None)
    assert (second.answer.outcome, second.answer.notes) == (A, {"conn_retry": 1})
    assert (second.connection_id, second.use) == (2, 1)
    assert (third.connection_id, third.use) == (2, 2)
    assert list(second.span.phases) == [
        "mail",
        "dns",
        "tcp",
        "banner",
        "ehlo",
        "rcpt",
        "data",
        "body",
        "reply",
    ]
    assert second.span.end_ns is not None
    assert second.span.local_port is not None


async def test_where_the_second_try_fails_too_it_is_told() -> None:
    async with line_to(MAIL=("250 ok", DROP), banner=("220 here", DROP)) as (server, line):
        await line.send()
        sent = await line.send()
        assert server.connections == 2
    assert (sent.answer.outcome, sent.answer.error, sent.span.phase) == (F, "disconnected", "banner")
    assert sent.answer.notes == {"conn_retry": 1, "stale": True}


async def test_what_the_server_has_heard_of_is_not_tried_again() -> None:
    async with line_to(RCPT=("250 ok", DROP, "250 ok")) as (server, line):
        await line.send()
        sent = await line.send()
        assert (sent.answer.outcome, sent.answer.error, sent.answer.notes) == (F, "disconnected", None)
        assert server.connections == 1


async def test_a_chunk_that_was_handed_over_is_not_tried_again() -> None:
    async with line_to(CHUNK, MAIL=("250 ok", DROP, "250 ok")) as (server, line):
        await line.send()
        sent = await line.send()
        assert (sent.answer.outcome, sent.answer.notes, server.connections) == (U, None, 1)


async def test_a_connection_opened_ahead_may_be_stale_too() -> None:
    async with line_to(MAIL=(DROP, "250 ok")) as (server, line):
        session = line.make()
        assert isinstance(session, WireSmtpSession)
        assert await session.open(RunClock(), 10**9)
        assert (session.uses, session.alive, session.connection_id) == (0, True, 1)
        span = Span(RunClock())
        answer = await session.send(
            Message(0, "k", "s@x.example", ("a@x.example",), line.payload), span, 10**9
        )
        assert (answer.outcome, answer.notes) == (A, {"conn_retry": 1})
        assert (session.uses, session.connection_id, len(server.taken)) == (1, 2, 1)
        assert await session.close()


@pytest.mark.parametrize("said", [b"", b"421 4.4.2 idle\r\n", b"4", b"\x00" * 100_000])
async def test_what_a_server_says_or_does_between_two_messages_ends_the_connection(said: bytes) -> None:
    """S67, S69: seen before the next message is begun, which has a connection of its own at once."""

    class Impatient(Hostile):
        async def judge(self, text: bytes, writer: asyncio.StreamWriter) -> None:
            await super().judge(text, writer)
            if len(self.taken) == 1:
                await asyncio.sleep(0.01)
                writer.write(said)
                if not said:
                    raise ConnectionAbortedError

    async with line_to(server=Impatient) as (server, line):
        first = await line.send()
        assert first.session.alive
        with anyio.fail_after(2):
            while first.session.alive:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.001)
        link = wire_session(first)._link
        assert link is not None
        with anyio.fail_after(2):
            while not link.closed:  # noqa: ASYNC110
                await anyio.sleep(0.001)
        second = await line.send()
        assert (second.answer.outcome, second.answer.notes, second.connection_id) == (A, None, 2)
        assert len(server.taken) == 2


# --------------------------------------------------------------------------------- the body


class Stopping(Hostile):
    """In the middle of the text it stops reading, and says or does what it was told."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections > 1:
            await super().serve(reader, writer)
            return
        await self.say("banner", writer)
        for verb in ("EHLO", "MAIL", "RCPT", "DATA"):
            await reader.readline()
            await self.say(verb, writer)
        await reader.readexactly(100_000)
        await self.say("text", writer)
        await asyncio.Event().wait()


@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
@pytest.mark.parametrize(
    ("act", "outcome", "code", "error"),
    [
        (SILENCE, F, None, "timeout"),
        (RESET, F, None, "disconnected"),
        (DROP, F, None, "disconnected"),
        (HALF_CLOSE, F, None, "disconnected"),
        ("550 stop", Outcome.REJECTED_PERM, 550, "rejected"),
        ("421 stop", R4, 421, "rejected"),
        ("250 done", F, 250, "protocol"),
    ],
)
async def test_what_happens_in_the_middle_of_the_text(
    act: str, outcome: Outcome, code: int | None, error: str
) -> None:
    """S48 to S50: the dot was never handed over, and what was sent is told."""
    async with line_to(server=Stopping, text=(act,)) as (server, line):
        line.payload = LARGE
        line.timeout_s = 0.4 if act == SILENCE else 5.0
        sent = await line.send()
        assert (sent.answer.outcome, sent.answer.code, sent.answer.error) == (outcome, code, error)
        assert (sent.span.phase, sent.span.handed_over, sent.session.alive) == ("body", False, False)
        assert sent.span.bytes_sent is not None
        assert 100_000 <= sent.span.bytes_sent < len(LARGE)
        line.payload = b"small\r\n"
        assert (await line.send()).answer.outcome is A
        assert server.taken == [b"small\r\n"]


async def test_a_large_text_to_a_slow_reader_is_whole() -> None:
    class Slow(Hostile):
        async def read_text(self, reader: asyncio.StreamReader) -> bytes:
            text = b""
            while not text.endswith(b"\r\n.\r\n"):
                text += await reader.read(1 << 20)
                await asyncio.sleep(0.001)
            return text

    async with line_to(server=Slow) as (server, line):
        line.payload = LARGE
        sent = await line.send()
        assert (sent.answer.outcome, sent.span.bytes_sent) == (A, len(LARGE))
        assert server.taken == [LARGE]
        assert sent.span.phases["body"] > 0


# -------------------------------------------------------------------------- the final answer


async def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    """S52."""

    class Late(Hostile):
        async def judge(self, text: bytes, writer: asyncio.StreamWriter) -> None:
            if not self.taken:
                await asyncio.sleep(LIMIT_S + 0.001)
            await super().judge(text, writer)

    async with line_to(server=Late) as (_server, line):
        line.timeout_s = LIMIT_S
        sent = await line.send()
        assert (sent.answer.outcome, sent.answer.error) == (U, "timeout")
        await anyio.sleep(0.05)
        line.timeout_s = 5.0
        again = await line.send()
        assert (again.answer.outcome, again.answer.anomaly, again.connection_id) == (A, None, 2)


@pytest.mark.parametrize("real", ["554 real", "250 real", SILENCE])
async def test_a_fake_answer_behind_the_354_is_no_answer(real: str) -> None:
    """S47."""
    async with line_to(DATA=("354 go\r\n250 fake", "354 go"), body=(real, "250 ok")) as (_server, line):
        line.timeout_s = LIMIT_S
        sent = await line.send()
        assert sent.answer.outcome is (Outcome.REJECTED_PERM if real == "554 real" else U)
        assert (sent.answer.anomaly, sent.session.alive) == ("unsolicited", False)
        assert sent.answer.replies is not None
        assert b"250 fake" in sent.answer.replies
        line.timeout_s = 5.0
        assert (await line.send()).connection_id == 2


@every_mode
async def test_accepted_and_dismissed_in_one_breath(mode: Mode) -> None:
    async with line_to(mode, body=("250 taken\r\n421 bye", "250 ok")) as (_server, line):
        first, second = await line.send(), await line.send()
    assert (first.answer.outcome, first.answer.code, first.answer.anomaly) == (A, 250, "unsolicited")
    assert first.answer.notes == {"unsolicited": "421 bye"}
    assert (first.session.alive, second.connection_id) == (False, 2)


@pytest.mark.parametrize("quit_answer", [RESET, SILENCE, "500 what", "x"])
async def test_how_the_leave_is_taken_changes_nothing(
    quit_answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S71."""
    monkeypatch.setattr("bench.transports.pool.ERRAND_LIMIT_S", LIMIT_S)
    monkeypatch.setattr("bench.transports.wire_smtp.ERRAND_LIMIT_S", LIMIT_S)
    script = Hostile({"QUIT": (quit_answer,)})
    async with nothing_left(), serving(script), sender(script.port, client="wire", keep=False) as line:
        before = anyio.current_time()
        sent = await line.send()
        assert anyio.current_time() - before < 1
    assert (sent.answer.outcome, sent.session.alive) == (A, False)


# ------------------------------------------------------------------------------------- TLS


async def test_what_was_said_ahead_of_the_handshake_is_an_attack() -> None:
    """S20, over a socket: nothing of the login or the message is said, and no handshake begun."""
    script = Hostile({"EHLO": ("250-here\r\n250 STARTTLS",), "STARTTLS": ("220 go\r\n250 AUTH PLAIN",)})
    async with nothing_left(), serving(script):
        async with sender(script.port, client="wire", tls=TlsMode.STARTTLS) as line:
            sent = await line.send()
        assert (sent.answer.outcome, sent.answer.anomaly, sent.session.alive) == (F, "injection", False)
        assert script.seen == ["EHLO", "STARTTLS"]


@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
@pytest.mark.parametrize("act", [SILENCE, DROP, "220 no tls here"])
async def test_a_handshake_that_comes_to_nothing(tls: TlsMode, act: str) -> None:
    """S26, S27."""

    class Shy(Hostile):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if tls is TlsMode.STARTTLS:
                await self.say("banner", writer)
                for verb in ("EHLO", "STARTTLS"):
                    await reader.readline()
                    await self.say(verb, writer)
            await reader.read(65536)
            await self.say("hello", writer)
            await asyncio.Event().wait()

    script = Shy({"EHLO": ("250-here\r\n250 STARTTLS",), "STARTTLS": ("220 go",), "hello": (act,)})
    async with (
        nothing_left(),
        serving(script),
        sender(script.port, client="wire", tls=tls, timeout_s=LIMIT_S) as line,
    ):
        sent = await line.send()
    error = {SILENCE: "timeout", DROP: "disconnected"}.get(act, "tls")
    assert (sent.answer.outcome, sent.answer.error, sent.span.phase) == (F, error, "tls")
    assert sent.session.tls_version is None


# ---------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
@pytest.mark.parametrize(
    ("mode", "step"),
    [
        *[(SINGLE, step) for step in ("banner", "EHLO", "MAIL", "RCPT", "DATA", "text", "body")],
        *[(GROUP, step) for step in ("MAIL", "RCPT", "DATA", "body")],
        *[(CHUNK, step) for step in ("MAIL", "RCPT", "body")],
    ],
)
async def test_cancelled_at_each_step_nothing_is_left(mode: Mode, step: str) -> None:
    server = Stopping if step == "text" else Hostile
    async with line_to(mode, server, **{step: (SILENCE,)}) as (_script, line):
        line.payload = LARGE if step == "text" else line.payload
        session, span = line.make(), Span(RunClock())
        assert isinstance(session, WireSmtpSession)
        message = Message(0, "k", "s@x.example", ("a@x.example",), line.payload)

        async def send() -> None:
            await session.send(message, span, 10**10)
            raise AssertionError("it was not cancelled")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.sleep(0.03)
            tasks.cancel_scope.cancel()
        assert not session.alive
        assert span.end_ns is not None
        assert not session._deadlines._pending
        assert session._waiter is None
        await session.abort()


async def test_many_cancelled_at_any_moment_leave_nothing_to_the_others() -> None:
    """F13, in small: the messages that come after are answered by their own answers."""
    async with line_to(GROUP, body=("250 ok",)) as (server, line):
        for number in range(200):
            with anyio.move_on_after(number * 2e-5):
                session = line.make()
                try:
                    await session.send(
                        Message(0, "k", "s@x.example", ("a@x.example",), line.payload),
                        Span(RunClock()),
                        10**9,
                    )
                finally:
                    await session.abort()
        server.taken.clear()
        sent = [await line.send() for _ in range(20)]
        assert {each.answer.outcome for each in sent} == {A}
        assert len(server.taken) >= 20
        assert not wire_session(sent[0])._deadlines._pending
