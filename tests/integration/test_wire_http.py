"""HTTP/1.1 by our own client over real sockets: what it counts, and what it makes of each fault."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.clock import Alarm, RunClock
from bench.guard import Guard
from bench.mock.spec import MockSpec, Ready
from bench.model import Auth, Endpoint, Message, Outcome, Parts, Secret, TlsMode, TlsSettings
from bench.protocol.tls import TlsSessions
from bench.providers import get_provider
from bench.transports.connect import client_context
from bench.transports.httpx import _UNSENDABLE as HTTPX_UNSENDABLE
from bench.transports.link import FIRST_READ_BYTES
from bench.transports.session import Answer, Span
from bench.transports.waiting import Deadlines
from bench.transports.wire_http import WireHttpSession, request_prefix
from tests.integration.peers import Nginx, start_nginx
from tests.loops import BOTH_LOOPS
from tests.mock.running import running_mock
from tests.transports.wire import in_two

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

HOST = "127.0.0.1"
OK = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: id\r\nContent-Length: 0\r\n\r\n"
SHORT_BODY = b"HTTP/1.1 202 A\r\nContent-Length: 9\r\n\r\nhalf"
PARTS = Parts("s@x.example", ("a@x.example",), "hi", "text", None, (), (), "run-0", b"X: y\r\n\r\ntext\r\n")
SHORT_S = 0.15
"""A timeout in tests that wait for it."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Sent:
    """A message after its end."""

    answer: Answer
    span: Span
    session: WireHttpSession


@dataclass
class Line:
    """Sends one message after another over one connection for as long as that is alive."""

    endpoint: Endpoint
    deadlines: Deadlines
    provider: str = "generic"
    payload: bytes = b"0123456789" * 10
    timeout_s: float = 5.0
    clock: RunClock = field(default_factory=RunClock)
    made: int = 0
    session: WireHttpSession | None = None

    def __post_init__(self) -> None:
        context = client_context(self.endpoint.tls)
        resume = self.endpoint.tls.resume
        self.tls = None if context is None else TlsSessions(context, self.endpoint.server_name, resume)

    def new(self) -> WireHttpSession:
        self.made += 1
        provider = get_provider(self.provider)
        prefix = request_prefix(self.endpoint, provider, provider.request(PARTS))
        return WireHttpSession(self.endpoint, Guard(), self.tls, self.made, provider, prefix, self.deadlines)

    async def send(self) -> Sent:
        if self.session is None or not self.session.alive:
            self.session = self.new()
        session, span = self.session, Span(self.clock)
        message = Message(0, "run-0", "s@x.example", ("a@x.example",), *in_two(self.payload))
        answer = await session.send(message, span, int(self.timeout_s * 1e9))
        assert span.start_ns is not None
        assert span.end_ns is not None
        assert min(span.phases.values()) >= 0
        assert sum(span.phases.values()) == span.end_ns - span.start_ns
        return Sent(answer, span, session)


@asynccontextmanager
async def line_to(
    port: int,
    *,
    provider: str = "generic",
    tls: TlsSettings | None = None,
    auth: Auth | None = None,
    path: str = "",
    name: str = "localhost",
    timeout_s: float = 5.0,
) -> AsyncIterator[Line]:
    with Alarm() as alarm:
        endpoint = Endpoint(HOST, port, tls or TlsSettings(TlsMode.NONE), auth, name, path)
        line = Line(endpoint, Deadlines(alarm), provider, timeout_s=timeout_s)
        yield line
        assert not line.deadlines._pending
        if line.session is not None:
            assert await line.session.close() is False
            assert not line.session.alive


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A server on a free port; its connections end with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def answers(
    *said: bytes, pause_s: float = 0.0, then: str = "listen", seen: list[bytes] | None = None
) -> Serve:
    """Reads a request, says the pieces (with a pause between), then listens on, closes, or resets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if seen is not None:
                seen.append(request)
            for piece in said:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            if then == "close":
                return
            if then == "reset":
                reset(writer)
                return
            if then == "hold":
                await asyncio.Event().wait()

    return serve


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --------------------------------------------------------------------- servers of others and ours


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with start_nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="module")
def mock() -> Iterator[Ready]:
    with running_mock(MockSpec("api", tls=TlsMode.IMPLICIT)) as ready:
        yield ready


def trusting(ca_file: str | Path, *, resume: bool = False) -> TlsSettings:
    return TlsSettings(TlsMode.IMPLICIT, resume=resume, ca_file=str(ca_file))


@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
async def test_a_kept_connection_takes_one_round_trip(mock: Ready) -> None:
    url = urlsplit(mock.api["sendgrid"])
    auth = mock.credentials.api["sendgrid"]
    assert url.port is not None
    tls = trusting(mock.ca_file or "")
    async with line_to(url.port, provider="sendgrid", tls=tls, auth=auth, path=url.path) as line:
        line.payload = get_provider("sendgrid").request(PARTS).body
        first, second = await line.send(), await line.send()
    for sent in (first, second):
        assert (sent.answer.outcome, sent.answer.code) == (Outcome.ACCEPTED, 202)
        assert sent.answer.message_id
        assert sent.answer.recipients_accepted == 1
        assert sent.span.bytes_sent == len(line.payload)
        assert (sent.session.http_version, sent.session.tls_version) == ("1.1", "TLSv1.3")
    assert (first.span.round_trips, second.span.round_trips) == (3, 1)
    assert list(first.span.phases) == ["dns", "tcp", "tls", "send", "server", "receive"]
    assert list(second.span.phases) == ["send", "server", "receive"]
    assert (first.span.address, second.span.address) == (HOST, None)
    assert first.span.local_port
    assert second.span.tcp_rtt_ns
    assert (second.session.uses, line.made) == (2, 1)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
async def test_nginx_takes_them_over_one_connection_or_many(nginx: Nginx, tls: bool) -> None:
    before = len(nginx.requests())
    port = nginx.https_port if tls else nginx.http_port
    settings = trusting(nginx.ca_file) if tls else None
    async with line_to(port, tls=settings, path="/send") as line:
        kept = [await line.send() for _ in range(5)]
        for _ in range(3):
            assert line.session is not None
            await line.session.close()
            kept.append(await line.send())
    assert {each.answer.code for each in kept} == {202}
    handshake = 2 if tls else 1
    assert [each.span.round_trips for each in kept] == [1 + handshake] + [1] * 4 + [1 + handshake] * 3
    logged = nginx.wait_for_requests(before + 8)[before:]
    assert {(each.method, each.path, each.length) for each in logged} == {("POST", "/send", 100)}
    assert len({each.connection for each in logged}) == line.made == 4


async def test_nginx_takes_a_session_up_again(nginx: Nginx) -> None:
    async with line_to(nginx.https_port, tls=trusting(nginx.ca_file, resume=True), path="/send") as line:
        resumed = []
        for _ in range(3):
            sent = await line.send()
            assert sent.answer.outcome is Outcome.ACCEPTED
            assert sent.session._link is not None
            assert sent.session._link.tls is not None
            resumed.append(sent.session._link.tls.resumed)
            await sent.session.close()
    assert resumed == [False, True, True]


@pytest.mark.parametrize(
    ("path", "outcome", "error"),
    [
        ("/400", Outcome.REJECTED_PERM, "invalid"),
        ("/429", Outcome.REJECTED_TEMP, "throttle"),
        ("/500", Outcome.UNKNOWN, "server"),
    ],
)
async def test_a_refusal_leaves_the_connection_in_use(
    nginx: Nginx, path: str, outcome: Outcome, error: str
) -> None:
    async with line_to(nginx.http_port, path=path) as line:
        sent = [await line.send(), await line.send()]
        assert (await sent[0].session.recover()).clean
    assert {(each.answer.outcome, each.answer.error) for each in sent} == {(outcome, error)}
    assert line.made == 1
    assert sent[0].answer.reply


async def test_a_certificate_for_another_host_is_refused(nginx: Nginx) -> None:
    tls = trusting(nginx.ca_file)
    async with line_to(nginx.https_port, tls=tls, name="api.example") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "tls_verify")
    assert "api.example" in str(sent.answer.notes)
    assert (sent.span.phase, sent.span.bytes_sent, sent.session.alive) == ("tls", 0, False)


async def test_a_server_without_tls_is_no_tls_server(nginx: Nginx) -> None:
    async with line_to(nginx.http_port, tls=trusting(nginx.ca_file)) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error, sent.span.phase) == (Outcome.FAILED, "tls", "tls")


async def test_connecting_ahead_leaves_one_round_trip_to_the_message(nginx: Nginx) -> None:
    async with line_to(nginx.https_port, tls=trusting(nginx.ca_file), path="/send") as line:
        line.session = line.new()
        assert await line.session.open(line.clock, 10**9)
        assert await line.session.ping()
        sent = await line.send()
    assert (sent.answer.code, sent.session.uses, sent.span.round_trips) == (202, 1, 1)
    assert list(sent.span.phases) == ["send", "server", "receive"]


# ------------------------------------------------------------------------------- what goes out


async def test_the_request_is_one_segment_and_as_it_should_be() -> None:
    reads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            reads.append(data)
            writer.write(OK)

    auth = Auth(None, Secret("a-key"))
    async with serving(serve) as port, line_to(port, path="/in", auth=auth) as line:
        await line.send()
        line.payload = b"x" * 1024
        await line.send()
    first, second = reads
    head, _, body = first.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == "POST /in HTTP/1.1"
    assert lines[1] == f"Host: localhost:{port}"
    assert {"Accept-Encoding: identity", "Authorization: Bearer a-key", "Content-Length: 100"} <= set(lines)
    assert len({each.partition(":")[0].lower() for each in lines}) == len(lines)
    assert body == b"0123456789" * 10
    assert second == first.replace(b"Content-Length: 100", b"Content-Length: 1024")[:-100] + b"x" * 1024


@pytest.mark.parametrize("key", ["clé-secrète", "a\r\nX-Other: b", "a\nb", "a\0b", "\ud800", "€"])
async def test_a_key_that_is_no_header_is_never_sent(key: str) -> None:
    seen: list[bytes] = []
    async with (
        serving(answers(OK, seen=seen)) as port,
        line_to(port, provider="sendgrid", auth=Auth(None, Secret(key))) as line,
    ):
        sent = await line.send()
    assert sent.answer == HTTPX_UNSENDABLE
    assert (sent.span.bytes_sent, sent.span.address, seen) == (0, None, [])
    assert not sent.session.alive


# ------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("said", "then", "outcome", "error", "code", "anomaly"),
    [
        ([b"nonsense\r\n\r\n"], "hold", Outcome.UNKNOWN, "protocol", None, "malformed"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000], "hold", Outcome.UNKNOWN, "protocol", None, "too_long"),
        ([SHORT_BODY], "close", Outcome.UNKNOWN, "disconnected", None, None),
        (
            [b"HTTP/1.1 202 A\r\nContent-Length: 2000000\r\n\r\n"],
            "hold", Outcome.UNKNOWN, "protocol", 202, "too_long",
        ),
        ([OK[:-4]], "close", Outcome.UNKNOWN, "disconnected", None, None),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "close", Outcome.UNKNOWN, "disconnected", None, None),
        ([], "close", Outcome.UNKNOWN, "disconnected", None, None),
        ([], "reset", Outcome.UNKNOWN, "disconnected", None, None),
        ([], "hold", Outcome.UNKNOWN, "timeout", None, None),
        ([OK[:30]], "hold", Outcome.UNKNOWN, "timeout", None, None),
        ([OK + OK], "hold", Outcome.ACCEPTED, None, 202, "unsolicited"),
        ([OK + b"\r\n"], "hold", Outcome.ACCEPTED, None, 202, "unsolicited"),
        ([OK.replace(b"X-M", b"Connection: close\r\nX-M")], "hold", Outcome.ACCEPTED, None, 202, None),
        ([OK.replace(b"1.1", b"1.0")], "hold", Outcome.ACCEPTED, None, 202, None),
        ([b"HTTP/1.0 202 A\r\n\r\nthe end"], "close", Outcome.ACCEPTED, None, 202, None),
    ],
)  # fmt: skip
async def test_an_answer_after_which_the_connection_is_given_up(
    said: list[bytes], then: str, outcome: Outcome, error: str | None, code: int | None, anomaly: str | None
) -> None:
    async with serving(answers(*said, then=then)) as port, line_to(port, timeout_s=SHORT_S) as line:
        sent = await line.send()
    answer = sent.answer
    assert (answer.outcome, answer.error, answer.code, answer.anomaly) == (outcome, error, code, anomaly)
    assert answer.errno == (errno.ECONNRESET if then == "reset" else None)
    assert (sent.session.alive, sent.session._link) == (False, None)
    assert sent.span.bytes_sent == len(line.payload)


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    async with serving(answers(moved)) as port, line_to(port) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.REJECTED_PERM, "redirect")
    assert sent.answer.notes == {"location": "http://192.0.2.1/"}
    assert sent.session.uses == 1


@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
async def test_the_phases_lie_where_the_bytes_were() -> None:
    pieces = [b"HTTP/1.1 100 C\r\n\r\n", OK[:20], OK[20:]]
    async with serving(answers(*pieces, pause_s=0.05)) as port, line_to(port) as line:
        sent = await line.send()
    assert sent.answer.outcome is Outcome.ACCEPTED
    assert 0.045e9 < sent.span.phases["server"] < 0.09e9
    assert 0.045e9 < sent.span.phases["receive"] < 0.09e9
    assert sent.span.round_trips == 2


async def test_a_drip_ends_at_the_total_deadline() -> None:
    async with (
        serving(answers(*[bytes((each,)) for each in OK], pause_s=0.02)) as port,
        line_to(port, timeout_s=SHORT_S) as line,
    ):
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.UNKNOWN, "timeout")
    assert sent.span.start_ns is not None
    assert sent.span.end_ns is not None
    assert 0.14e9 < sent.span.end_ns - sent.span.start_ns < 0.5e9


# ------------------------------------------------------------------------------- large requests


async def test_a_large_request_is_sent_as_the_server_takes_it() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        seen.append(await read_request(reader))
        writer.write(OK)

    async with serving(serve) as port, line_to(port) as line:
        line.payload = bytes(range(256)) * 40_000
        sent = await line.send()
    assert sent.answer.outcome is Outcome.ACCEPTED
    assert seen[0].endswith(line.payload)
    assert sent.span.bytes_sent == len(line.payload)
    assert sent.span.phases["send"] > 0.04e9


async def test_an_answer_to_half_a_request_counts_and_ends_the_connection() -> None:
    refusal = b"HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)
        await asyncio.Event().wait()

    async with serving(serve) as port, line_to(port) as line:
        line.payload = b"x" * 20_000_000
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.REJECTED_PERM, "size")
    assert not sent.session.alive
    assert sent.span.bytes_sent is not None
    assert 0 < sent.span.bytes_sent < len(line.payload)


@pytest.mark.parametrize("extra", [1, 400, 1000, 15_000])
async def test_what_came_behind_the_answer_in_the_same_breath_is_seen_with_it(extra: int) -> None:
    """H19: or it would be taken for the answer to the next request. The answer just fills the first read."""
    answer = b"%bX: %b\r\n\r\n" % (OK[:-2], b"y" * (FIRST_READ_BYTES - len(OK) - 5))
    assert len(answer) == FIRST_READ_BYTES

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer + OK + b"x" * extra)

    async with serving(serve) as port, line_to(port) as line:
        for _ in range(3):
            sent = await line.send()
            assert (sent.answer.outcome, sent.answer.anomaly) == (Outcome.ACCEPTED, "unsolicited")
            assert not sent.session.alive


async def test_a_stalled_request_is_unknown_and_says_how_far_it_came() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(serve) as port, line_to(port, timeout_s=SHORT_S) as line:
        line.payload = b"x" * 20_000_000
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error, sent.span.phase) == (Outcome.UNKNOWN, "timeout", "send")
    assert sent.span.bytes_sent is not None
    assert 0 < sent.span.bytes_sent < len(line.payload)


# ------------------------------------------------------------------------ ends and cancellation


@pytest.mark.parametrize("late", [b"", b"HTTP/1.1 408 Bye\r\n\r\n", b"\r\n"])
async def test_a_connection_that_ends_or_speaks_while_idle_is_not_alive(late: bytes) -> None:
    spoken = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await spoken.wait()
        writer.write(late)
        if late:
            await asyncio.Event().wait()

    async with serving(serve) as port, line_to(port) as line:
        first = await line.send()
        assert first.session.alive
        spoken.set()
        await until(lambda: not first.session.alive)
        again = await first.session.send(
            Message(1, "run-1", "s@x.example", ("a@x.example",), b"x"), Span(line.clock), 10**9
        )
        assert (again.outcome, again.error) == (Outcome.FAILED, "disconnected")
        assert (await line.send()).session is not first.session


async def test_what_meets_a_reset_that_nobody_has_seen_yet_has_not_been_handed_over() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        async with line_to(listener.getsockname()[1]) as line:
            sending = asyncio.create_task(line.send())
            server, _ = await loop.sock_accept(listener)
            with server:
                await loop.sock_recv(server, 65536)
                await loop.sock_sendall(server, OK)
                first = await sending
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sent = await line.send()
    assert sent.session is first.session
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "disconnected")
    assert (sent.answer.errno, sent.span.bytes_sent) == (errno.ECONNRESET, 0)


@pytest.mark.parametrize("stage", ["connect", "tls", "answer"])
async def test_cancelled_from_outside_nothing_is_left(
    stage: str, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage == "connect":

        async def never(*_: object) -> socket.socket:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr("bench.transports.wire_http.connect", never)
    tls = trusting(nginx.ca_file) if stage == "tls" else None
    async with serving(silent) as port, line_to(port, tls=tls) as line:
        session, span = line.new(), Span(line.clock)
        message = Message(0, "run-0", "s@x.example", ("a@x.example",), b"x")
        task = asyncio.create_task(session.send(message, span, 10**10))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert span.end_ns is not None
    assert span.phase == {"connect": "dns", "tls": "tls", "answer": "server"}[stage]
    assert (session.alive, session._link) == (False, None)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until it holds; the test's time limit ends what never does."""
    while not condition():  # noqa: ASYNC110 what is waited for has no event of its own
        await asyncio.sleep(0.001)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
@pytest.mark.parametrize("stage", ["connect", "tls"])
async def test_the_deadline_holds_while_connecting(
    stage: str, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage == "connect":

        async def never(*_: object) -> socket.socket:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr("bench.transports.wire_http.connect", never)
    tls = trusting(nginx.ca_file) if stage == "tls" else None
    async with serving(silent) as port, line_to(port, tls=tls, timeout_s=SHORT_S) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "timeout")
    assert not sent.session.alive


async def test_nobody_listens() -> None:
    async with serving(silent) as port:
        pass
    async with line_to(port) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "connect")
    assert (sent.answer.errno, sent.span.phase) == (errno.ECONNREFUSED, "tcp")
    assert not sent.session.alive
