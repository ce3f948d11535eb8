"""Connecting over real sockets: who is reached, from where, what it took, and that nothing stays open."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from bench.clock import monotonic_ns
from bench.errors import RefusedError
from bench.guard import Guard
from bench.mock.spec import MockSpec
from bench.model import Endpoint, Outcome, TlsMode, TlsSettings
from bench.protocol.tls import ClientTls, TlsSessions
from bench.transports import dial as dialling
from bench.transports.connect import client_context, connect
from bench.transports.session import Answer, AttemptFailed, Span
from bench.transports.tcp_info import tcp_info
from tests.integration.peers import Nginx
from tests.loops import BOTH_LOOPS
from tests.mock.running import running_mock

HOST, OTHER, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SLACK_NS = 150_000_000
"""How late a busy machine may be."""
MS = 1_000_000

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
both_loops = pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="does not exist for this platform")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listens on 127.0.0.1 alone: the same port of other addresses is closed."""
    with socket.create_server((HOST, 0)) as server:
        yield server


@contextmanager
def blackhole(address: str, port: int = 0) -> Iterator[socket.socket]:
    """A listener whose queue is full: the kernel leaves further SYNs unanswered until it is accepted from."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        try:
            yield server
        finally:
            for filler in fillers:
                filler.close()


@pytest.fixture
def no_socket_left() -> Iterator[None]:
    """As many file descriptors after the test as before it."""
    before = set(Path("/dev/fd").iterdir())
    yield
    assert set(Path("/dev/fd").iterdir()) <= before


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


def endpoint(host: str, port: int, source: str | None = None) -> Endpoint:
    return Endpoint(host, port, TlsSettings(TlsMode.NONE), None, "localhost", source_address=source)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """What the resolver knows."""
    known: dict[str, tuple[str, ...]] = {}

    async def look_up(host: str, _port: int) -> tuple[str, ...]:
        return known[host]

    monkeypatch.setattr("bench.transports.connect._look_up", look_up)
    return known


def started() -> Span:
    span = Span(monotonic_ns)
    span.begin("dns")
    return span


async def refused(target: Endpoint, span: Span) -> Answer:
    with pytest.raises(AttemptFailed) as caught:
        await connect(target, span, Guard())
    span.end()
    return caught.value.answer


# ------------------------------------------------------------------------------ one address


@both_loops
async def test_a_connection_and_what_is_known_of_it(listener: socket.socket) -> None:
    span = started()
    with closing(await connect(endpoint(HOST, port_of(listener)), span, Guard())) as sock:
        span.end()
        peer, address = listener.accept()
        peer.close()
        assert address == (HOST, span.local_port)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.gettimeout() == 0
    assert (span.address, span.round_trips, list(span.phases)) == (HOST, 1, ["dns", "tcp"])


@both_loops
async def test_a_name_is_looked_up(listener: socket.socket) -> None:
    span = started()
    with closing(await connect(endpoint("localhost", port_of(listener)), span, Guard())):
        assert span.address == HOST


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_a_closed_port_is_told_at_once(free_port: int) -> None:
    span = started()
    answer = await refused(endpoint(HOST, free_port), span)
    assert (answer.outcome, answer.error, answer.errno) == (Outcome.FAILED, "connect", errno.ECONNREFUSED)
    assert answer.notes == {"addresses": [(HOST, errno.ECONNREFUSED)]}
    assert (span.phase, span.round_trips, span.local_port, span.address) == ("tcp", 0, None, None)
    assert span.phases["tcp"] < SLACK_NS


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_a_server_that_keeps_silent_is_given_up_when_the_time_is_over() -> None:
    span = started()
    with blackhole(HOST) as server, pytest.raises(TimeoutError):
        with anyio.fail_after(0.1):
            await connect(endpoint(HOST, port_of(server)), span, Guard())
    span.end()
    assert span.phase == "tcp"
    assert 95 * MS <= span.phases["tcp"] < 100 * MS + SLACK_NS  # a loop counts in whole milliseconds


@linux_only
@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_a_server_that_answers_the_second_syn() -> None:
    span = started()

    async def accept_later(server: socket.socket) -> None:
        await anyio.sleep(0.1)
        server.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                server.accept()[0].close()

    with blackhole(HOST) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(accept_later, server)
            sock = await connect(endpoint(HOST, port_of(server)), span, Guard())
    span.end()
    with closing(sock):
        assert not asyncio.get_running_loop().remove_writer(sock)  # nobody waits for it any more
        found = tcp_info(sock)
    assert found is not None
    assert found.retransmits == 1
    assert span.phases["tcp"] > 900 * MS  # the kernel's first SYN waits a second
    assert span.round_trips == 1


async def test_no_name_gets_around_the_guard(
    listener: socket.socket, names: dict[str, tuple[str, ...]]
) -> None:
    names["mail.example"] = (HOST, "192.0.2.1")
    with pytest.raises(RefusedError):
        await connect(endpoint("mail.example", port_of(listener)), started(), Guard())


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_who_meets_itself_has_met_nobody(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port that the kernel picks for our own end connects, to ourselves."""
    monkeypatch.setattr(dialling, "_bind", lambda sock, source: sock.bind((source, free_port)))
    answer = await refused(endpoint(HOST, free_port, source=HOST), started())
    assert (answer.error, answer.errno) == ("connect", errno.ECONNREFUSED)


# ------------------------------------------------------------------------ several addresses


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_after_a_refusal_the_next_address_is_tried_at_once(
    listener: socket.socket, names: dict[str, tuple[str, ...]]
) -> None:
    names["mail.example"] = (OTHER, HOST)
    span = started()
    (await connect(endpoint("mail.example", port_of(listener)), span, Guard())).close()
    span.end()
    assert (span.address, span.round_trips) == (HOST, 1)
    assert span.phases["tcp"] < SLACK_NS


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_after_a_silence_the_next_address_is_tried(
    listener: socket.socket, names: dict[str, tuple[str, ...]]
) -> None:
    names["mail.example"] = (OTHER, HOST)
    span = started()
    with blackhole(OTHER, port_of(listener)):
        (await connect(endpoint("mail.example", port_of(listener)), span, Guard())).close()
    span.end()
    assert (span.address, span.round_trips) == (HOST, 1)
    assert 245 * MS <= span.phases["tcp"] < 250 * MS + SLACK_NS
    assert span.phases["dns"] < 50 * MS


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_two_families(names: dict[str, tuple[str, ...]], free_port: int) -> None:
    names["mail.example"] = ("::1", HOST)
    span = started()
    with socket.create_server((HOST, free_port)):
        (await connect(endpoint("mail.example", free_port), span, Guard())).close()
    assert span.address == HOST


@both_loops
@pytest.mark.usefixtures("no_socket_left")
async def test_when_nobody_answers_each_address_is_told(
    names: dict[str, tuple[str, ...]], free_port: int
) -> None:
    names["mail.example"] = (OTHER, HOST, THIRD)
    span = started()
    answer = await refused(endpoint("mail.example", free_port), span)
    assert (answer.outcome, answer.error, answer.errno) == (Outcome.FAILED, "connect", errno.ECONNREFUSED)
    every = [(address, errno.ECONNREFUSED) for address in (OTHER, HOST, THIRD)]
    assert answer.notes == {"addresses": every}
    assert (span.round_trips, span.address) == (0, None)


@both_loops
@pytest.mark.usefixtures("no_socket_left")
@pytest.mark.parametrize("after_s", [0, 0.05, 0.3])
async def test_a_cancelled_attempt_leaves_no_socket(
    names: dict[str, tuple[str, ...]], after_s: float
) -> None:
    names["mail.example"] = (OTHER, HOST)
    with blackhole(HOST) as server, blackhole(OTHER, port_of(server)):
        with anyio.move_on_after(after_s) as scope:
            await connect(endpoint("mail.example", port_of(server)), started(), Guard())
    assert scope.cancelled_caught


# ------------------------------------------------------------------- where it comes from


@linux_only
@both_loops
async def test_a_source_address(listener: socket.socket) -> None:
    span = started()
    with closing(await connect(endpoint(HOST, port_of(listener), source="127.0.0.9"), span, Guard())) as sock:
        peer, address = listener.accept()
        peer.close()
        assert address == ("127.0.0.9", span.local_port)
        assert sock.getsockopt(socket.IPPROTO_IP, dialling.BIND_ADDRESS_NO_PORT or 0) == 1


@linux_only
async def test_a_source_address_chooses_the_family(
    listener: socket.socket, names: dict[str, tuple[str, ...]]
) -> None:
    names["mail.example"] = ("::1", HOST)
    span = started()
    (await connect(endpoint("mail.example", port_of(listener), source=HOST), span, Guard())).close()
    assert span.address == HOST


@pytest.mark.usefixtures("no_socket_left")
async def test_a_source_address_of_another_machine(listener: socket.socket) -> None:
    answer = await refused(endpoint(HOST, port_of(listener), source="192.0.2.1"), started())
    assert (answer.error, answer.errno) == ("local", errno.EADDRNOTAVAIL)


@both_loops
@pytest.mark.parametrize("host", [HOST, "mail.example"])
async def test_no_file_descriptor_left_is_our_own_fault(
    listener: socket.socket, names: dict[str, tuple[str, ...]], host: str
) -> None:
    names["mail.example"] = (HOST, OTHER)
    target, span = endpoint(host, port_of(listener)), started()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        answer = await refused(target, span)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (answer.outcome, answer.error, answer.errno) == (Outcome.FAILED, "local", errno.EMFILE)


# --------------------------------------------------------------------------- TLS sessions


def talk(address: tuple[str, int], sessions: TlsSessions, request: bytes) -> ClientTls:
    """A handshake, a request (for SMTP none), the first answer; then the session is kept."""
    tls = sessions.new()
    with socket.create_connection(address, timeout=10) as sock:
        tls.start()
        answer = b""
        while not answer:
            sock.sendall(tls.data_to_send())
            established = tls.established
            answer = tls.receive(sock.recv(65536))
            if tls.established and not established:
                tls.send(request)
    sessions.keep(tls)
    return tls


def sessions_for(ca_file: Path | str, version: ssl.TLSVersion, resume: bool) -> TlsSessions:
    context = client_context(TlsSettings(TlsMode.IMPLICIT, resume=resume, ca_file=str(ca_file)))
    assert context is not None
    context.maximum_version = version
    return TlsSessions(context, "localhost", resume)


versions = pytest.mark.parametrize(
    ("version", "full"), [(ssl.TLSVersion.TLSv1_2, 2), (ssl.TLSVersion.TLSv1_3, 1)], ids=["1.2", "1.3"]
)


@versions
@pytest.mark.parametrize("resume", [False, True])
def test_sessions_with_nginx(nginx: Nginx, version: ssl.TLSVersion, full: int, resume: bool) -> None:
    sessions = sessions_for(nginx.ca_file, version, resume)
    request = b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    used = [talk((HOST, nginx.https_port), sessions, request) for _ in range(4)]
    assert [tls.resumed for tls in used] == [False, resume, resume, resume]
    assert [tls.round_trips for tls in used] == [full, *(3 * [1 if resume else full])]


@versions
@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True)])
def test_sessions_with_the_mock(version: ssl.TLSVersion, full: int, ours: bool, theirs: bool) -> None:
    with running_mock(MockSpec("smtp", tls=TlsMode.IMPLICIT, resume=theirs)) as ready:
        assert ready.smtp is not None
        assert ready.ca_file is not None
        sessions = sessions_for(ready.ca_file, version, ours)
        used = [talk(ready.smtp, sessions, b"") for _ in range(3)]
    resumed = ours and theirs
    assert [tls.resumed for tls in used] == [False, resumed, resumed]
    assert [tls.round_trips for tls in used] == [full, *(2 * [1 if resumed else full])]


# ------------------------------------------------------------------------ what the kernel knows


@linux_only
def test_the_kernel_tells_the_round_trip_time(listener: socket.socket) -> None:
    with socket.create_connection((HOST, port_of(listener))) as sock:
        found = tcp_info(sock)
    assert found is not None
    assert 0 < found.rtt_ns < 1000 * MS
    assert found.retransmits == 0
    assert tcp_info(sock) is None  # closed
