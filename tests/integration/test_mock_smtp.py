"""The SMTP mock on a real socket: what the wire looks like, when answers come, what the log says."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

import aiosmtplib
import anyio
import anyio.abc
import pytest

from bench.errors import RefusedError, SetupError, UsageError
from bench.mock.log import read_taken
from bench.mock.process import mock_process
from bench.mock.serve import serve
from bench.mock.spec import MockSpec, Ready, to_json
from bench.model import Network, ServiceTime, TlsMode
from tests.integration.peers import wait_until
from tests.loops import BOTH_LOOPS
from tests.mock.running import running_mock

ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
ROOT = Path(__file__).parents[2]


def mime(key: str) -> bytes:
    return f"X-Sendbench-Id: {key}\r\nSubject: x\r\n\r\nhello\r\n".encode()


class Wire:
    """A client that says exactly what it is told to."""

    def __init__(self, ready: Ready, tls: TlsMode) -> None:
        assert ready.smtp is not None
        self.ready, self.tls = ready, tls
        self.sock: socket.socket | ssl.SSLSocket = socket.create_connection(ready.smtp, timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        if tls is TlsMode.IMPLICIT:
            self.secure()
        assert self.hear() == ["220"]

    def secure(self) -> None:
        context = ssl.create_default_context(cafile=self.ready.ca_file)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self, replies: int = 1) -> list[str]:
        """The codes of the next replies."""
        codes: list[str] = []
        while len(codes) < replies:
            while b"\r\n" not in self.rest:
                data = self.sock.recv(65536)
                assert data, "closed"
                self.rest += data
            line, _, self.rest = self.rest.partition(b"\r\n")
            if line[3:4] == b" ":
                codes.append(line[:3].decode())
        return codes

    def say(self, data: bytes, replies: int = 1) -> list[str]:
        self.send(data)
        return self.hear(replies)

    def log_in(self) -> Wire:
        assert self.say(b"EHLO me\r\n") == ["250"]
        if self.tls is TlsMode.STARTTLS:
            assert self.say(b"STARTTLS\r\n") == ["220"]
            self.secure()
            assert self.say(b"EHLO me\r\n") == ["250"]
        auth = self.ready.credentials.smtp
        assert auth is not None
        assert auth.user is not None
        pair = base64.b64encode(f"\0{auth.user.reveal()}\0{auth.password.reveal()}".encode())
        assert self.say(b"AUTH PLAIN " + pair + b"\r\n") == ["235"]
        return self

    def deliver(self, key: str) -> int:
        """Send a message; ns from its last byte to the answer."""
        assert self.say(ENVELOPE + b"DATA\r\n", 3) == ["250", "250", "354"]
        start_ns = time.monotonic_ns()
        assert self.say(mime(key) + b".\r\n") == ["250"]
        return time.monotonic_ns() - start_ns

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


@contextmanager
def mock_of(spec: MockSpec) -> Iterator[Ready]:
    with running_mock(spec) as ready:
        yield ready


@pytest.fixture(scope="module", params=list(TlsMode))
def ready(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ready, TlsMode]]:
    log = tmp_path_factory.mktemp("mock") / "taken.jsonl"
    with running_mock(MockSpec("smtp", tls=request.param, log=str(log))) as ready:
        yield ready, request.param


def keys_of(ready: Ready) -> list[str]:
    assert ready.log is not None
    return [taken.key for taken in read_taken(ready.log)]


# ------------------------------------------------------------------------ the wire


def test_after_quit_the_server_ends_it_alone(ready: tuple[Ready, TlsMode]) -> None:
    """221, close_notify and FIN come without the client saying or closing anything."""
    with Wire(*ready).log_in() as wire:
        assert wire.say(b"QUIT\r\n") == ["221"]
        assert wire.sock.recv(100) == b""  # by TLS only close_notify reads as a clean end
        raw = socket.socket(fileno=os.dup(wire.sock.fileno()))
        with raw:
            raw.settimeout(5)
            assert raw.recv(100) == b""  # and this is the FIN


def test_pipelined_and_chunked(ready: tuple[Ready, TlsMode]) -> None:
    tag = f"burst-{ready[1]}"
    bodies = [mime(f"{tag}-{number}") for number in range(20)]
    burst = b"".join(ENVELOPE + b"BDAT %d LAST\r\n%b" % (len(body), body) for body in bodies)
    with Wire(*ready).log_in() as wire:
        assert wire.say(burst + b"NOOP\r\n", 61) == ["250"] * 61
        assert wire.say(ENVELOPE + b"DATA\r\n", 3) == ["250", "250", "354"]
        assert wire.say(mime(f"{tag}-20") + b".\r\nRSET\r\nNOOP\r\n", 3) == ["250"] * 3
    expected = [f"{tag}-{number}" for number in range(21)]
    wait_until(
        lambda: [key for key in keys_of(ready[0]) if key.startswith(tag)] == expected, "all in the log"
    )


def test_a_large_message(ready: tuple[Ready, TlsMode]) -> None:
    key = f"large-{ready[1]}"
    body = mime(key) + (b"." * 70 + b"\r\n") * 100_000
    with Wire(*ready).log_in() as wire:
        assert wire.say(ENVELOPE + b"DATA\r\n", 3) == ["250", "250", "354"]
        assert wire.say(body.replace(b"\r\n.", b"\r\n..") + b".\r\n") == ["250"]
    wait_until(lambda: key in keys_of(ready[0]), key)


def test_smuggling_is_refused(ready: tuple[Ready, TlsMode]) -> None:
    with Wire(*ready).log_in() as wire:
        assert wire.say(ENVELOPE + b"DATA\r\n", 3) == ["250", "250", "354"]
        evil = b"x\n.\r\n" + ENVELOPE + b"DATA\r\n" + mime("smuggled")
        assert wire.say(evil + b"\r\n.\r\nNOOP\r\n", 2) == ["550", "250"]
        wire.deliver(f"honest-{ready[1]}")
    wait_until(lambda: f"honest-{ready[1]}" in keys_of(ready[0]), "the honest one")
    assert "smuggled" not in keys_of(ready[0])


@pytest.mark.parametrize("ready", [TlsMode.STARTTLS, TlsMode.IMPLICIT], indirect=True)
def test_no_session_ticket_is_sent(ready: tuple[Ready, TlsMode]) -> None:
    with Wire(*ready).log_in() as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        assert wire.sock.version() == "TLSv1.3"
        assert wire.sock.session is None or not wire.sock.session.has_ticket


@pytest.mark.parametrize("ready", [TlsMode.STARTTLS], indirect=True)
def test_plain_text_behind_starttls_is_never_heard(ready: tuple[Ready, TlsMode]) -> None:
    with Wire(*ready) as wire:
        assert wire.say(b"EHLO me\r\n") == ["250"]
        assert wire.say(b"STARTTLS\r\nEHLO evil\r\n" + ENVELOPE) == ["220"]
        wire.secure()
        assert wire.say(b"MAIL FROM:<>\r\n") == ["503"]  # as if nothing had been said


@pytest.mark.parametrize("ready", [TlsMode.STARTTLS, TlsMode.IMPLICIT], indirect=True)
def test_what_is_not_tls_is_dropped_and_others_go_on(ready: tuple[Ready, TlsMode]) -> None:
    with Wire(*ready).log_in() as other:
        assert ready[0].smtp is not None
        with socket.create_connection(ready[0].smtp, timeout=10) as rude:
            if ready[1] is TlsMode.STARTTLS:
                rude.recv(1000)
                rude.sendall(b"EHLO me\r\nSTARTTLS\r\n")
                rude.recv(1000)
            rude.sendall(b"this is no handshake\r\n")
            while rude.recv(1000):
                pass
        assert other.say(b"NOOP\r\n") == ["250"]


# ------------------------------------------------------------------------ both event loops


@asynccontextmanager
async def serving(spec: MockSpec) -> AsyncIterator[Ready]:
    """The mock in this process, on the loop of the test."""
    stop, started = anyio.Event(), asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as group:
        group.start_soon(serve, [spec], started.set_result, stop)
        try:
            yield (await started)[0]
        finally:
            stop.set()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("rtt_ns", [0, 2_000_000])
async def test_every_loop_and_path(tls: TlsMode, rtt_ns: int, tmp_path: Path) -> None:
    spec = MockSpec(
        "smtp", tls=tls, network=Network(rtt_ns), service_time=ServiceTime(p50_ns=1_000_000),
        log=str(tmp_path / "taken.jsonl"), wire_log=str(tmp_path / "wire.jsonl"),
    )  # fmt: skip
    async with serving(spec) as ready:
        assert ready.smtp is not None
        context = ssl.create_default_context(cafile=ready.ca_file) if ready.ca_file else None
        auth = ready.credentials.smtp
        assert auth is not None
        assert auth.user is not None
        for connection in range(3):
            async with aiosmtplib.SMTP(
                hostname=ready.smtp[0], port=ready.smtp[1], timeout=10, tls_context=context,
                use_tls=tls is TlsMode.IMPLICIT, start_tls=tls is TlsMode.STARTTLS,
                username=auth.user.reveal(), password=auth.password.reveal(),
            ) as client:  # fmt: skip
                for number in range(2):
                    await client.sendmail("a@b.example", ["c@d.example"], mime(f"{connection}-{number}"))
    keys = [taken.key for taken in read_taken(tmp_path / "taken.jsonl")]
    assert keys == [f"{connection}-{number}" for connection in range(3) for number in range(2)]
    assert len((tmp_path / "wire.jsonl").read_text().splitlines()) == (3 if rtt_ns else 0)


# ------------------------------------------------------------------------ service time

SERVICE_NS = 15_000_000


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.STARTTLS])
def test_the_service_time_is_kept(tls: TlsMode, tmp_path: Path) -> None:
    """Between the last byte of a message and its answer, to within a millisecond at the median."""
    log = tmp_path / "taken.jsonl"
    spec = MockSpec("smtp", tls=tls, service_time=ServiceTime(p50_ns=SERVICE_NS), log=str(log))
    with running_mock(spec) as ready, Wire(ready, tls).log_in() as wire:
        seen_ns = [wire.deliver(str(number)) for number in range(41)]
    taken = list(read_taken(log))
    assert [each.key for each in taken] == [str(number) for number in range(41)]
    assert abs(median(seen_ns) - SERVICE_NS) < 1_000_000
    assert min(seen_ns) >= SERVICE_NS
    for each, seen in zip(taken, seen_ns, strict=True):
        assert each.received_ns < each.taken_ns <= each.answered_ns
        assert each.answered_ns - each.received_ns >= SERVICE_NS
        assert each.taken_ns - SERVICE_NS <= each.answered_ns <= each.taken_ns + seen


def test_the_service_time_counts_from_the_last_byte(tmp_path: Path) -> None:
    log, pause_s = tmp_path / "taken.jsonl", 0.03
    spec = MockSpec("smtp", tls=TlsMode.NONE, service_time=ServiceTime(p50_ns=SERVICE_NS), log=str(log))
    with running_mock(spec) as ready, Wire(ready, TlsMode.NONE).log_in() as wire:
        assert wire.say(ENVELOPE + b"DATA\r\n", 3) == ["250", "250", "354"]
        wire.send(mime("slow") + b".\r")
        time.sleep(pause_s)
        start_ns = time.monotonic_ns()
        assert wire.say(b"\n") == ["250"]
        assert time.monotonic_ns() - start_ns >= SERVICE_NS
    [taken] = read_taken(log)
    assert taken.answered_ns - taken.received_ns >= pause_s * 1e9 + SERVICE_NS


def test_one_waiting_message_does_not_hold_up_another_connection() -> None:
    spec = MockSpec("smtp", tls=TlsMode.NONE, service_time=ServiceTime(p50_ns=300_000_000))
    with running_mock(spec) as ready, Wire(ready, TlsMode.NONE) as slow, Wire(ready, TlsMode.NONE) as other:
        slow.log_in().say(ENVELOPE + b"DATA\r\n", 3)
        slow.send(mime("x") + b".\r\nNOOP\r\n")
        start_ns = time.monotonic_ns()
        other.log_in()
        assert time.monotonic_ns() - start_ns < 150_000_000
        assert slow.hear(2) == ["250", "250"]


def test_a_message_nobody_waits_for_any_more_is_not_taken(tmp_path: Path) -> None:
    log = tmp_path / "taken.jsonl"
    spec = MockSpec("smtp", tls=TlsMode.NONE, service_time=ServiceTime(p50_ns=100_000_000), log=str(log))
    with running_mock(spec) as ready:
        with Wire(ready, TlsMode.NONE).log_in() as gone:
            gone.say(ENVELOPE + b"DATA\r\n", 3)
            gone.send(mime("gone") + b".\r\n")
        with Wire(ready, TlsMode.NONE).log_in() as stays:
            stays.deliver("stays")
    assert [taken.key for taken in read_taken(log)] == ["stays"]


# ------------------------------------------------------------------------ the process


def start(spec: MockSpec) -> tuple[subprocess.Popen[bytes], Ready]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.mock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(to_json([spec]).encode() + b"\n")
    process.stdin.flush()
    return process, Ready.from_json(process.stdout.readline().decode())


@pytest.mark.parametrize("how", ["eof", signal.SIGTERM, signal.SIGINT], ids=str)
def test_it_ends_in_order(how: str | signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "taken.jsonl"
    process, ready = start(MockSpec("smtp", log=str(log)))
    with process, Wire(ready, TlsMode.STARTTLS).log_in() as wire:
        assert ready.pid == process.pid
        wire.deliver("last")
        assert process.stdin is not None
        if isinstance(how, signal.Signals):
            process.send_signal(how)
        else:
            process.stdin.close()
        assert process.wait(5) == 0
    assert [taken.key for taken in read_taken(log)] == ["last"]
    assert ready.ca_file is not None
    assert not Path(ready.ca_file).parent.exists()


def test_the_mock_whose_run_was_killed_before_it_was_ready_ends_without_a_word() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.mock"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(to_json([MockSpec("smtp")]).encode() + b"\n", timeout=20)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b'[{"kind": "smtp", "host": "0.0.0.0"}]\n', 5, "this machine alone"),
        (b'[{"kind": "nonsense"}]\n', 2, "unknown kind"),
        (b"", 2, "specification is wrong"),
        (b'[{"kind": "smtp", "provider": "nobody"}]\n', 2, "unknown provider 'nobody'"),
        (b'[{"kind": "smtp", "log": "/nowhere/at/all"}]\n', 3, "cannot write the log"),
    ],
)
def test_what_it_cannot_do_it_says_in_one_line(line: bytes, code: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.mock"],
        input=line,
        capture_output=True,
        cwd=ROOT,
        timeout=20,
        check=False,
    )
    assert done.returncode == code
    assert says in json.loads(done.stdout)["error"]
    assert done.stderr == b""


def test_credentials_are_new_each_time_whatever_the_seed() -> None:
    secrets = set()
    for _ in range(2):
        with mock_of(MockSpec("smtp", provider="sendgrid", tls=TlsMode.NONE, seed=1)) as ready:
            assert ready.credentials.smtp is not None
            secrets.add(ready.credentials.smtp.password.reveal())
    assert len(secrets) == 2


@pytest.mark.anyio
async def test_errors_come_through_as_what_they_are(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        for spec, kind in [
            (MockSpec("smtp", port=free_port), SetupError),
            (MockSpec("smtp", host="0.0.0.0"), RefusedError),
            (MockSpec("smtp", provider="nobody"), UsageError),
        ]:
            with pytest.raises(kind):
                async with mock_process(spec):
                    pass


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)
async def test_a_mock_that_dies_is_noticed() -> None:
    with pytest.raises(SetupError, match="code -9: its log may be incomplete"):
        async with mock_process(MockSpec("smtp", tls=TlsMode.NONE)) as ready:
            os.kill(ready.pid, signal.SIGKILL)


async def use(spec: MockSpec, action: Callable[[Ready], None]) -> None:
    async with mock_process(spec) as ready:
        action(ready)


@pytest.mark.anyio
async def test_an_error_of_the_block_wins_over_the_mocks_end() -> None:
    def kill_and_fail(ready: Ready) -> None:
        os.kill(ready.pid, signal.SIGKILL)
        raise KeyError

    with pytest.raises(KeyError):
        await use(MockSpec("smtp", tls=TlsMode.NONE), kill_and_fail)


@pytest.mark.anyio
async def test_a_full_disk_is_noticed() -> None:
    def deliver(ready: Ready) -> None:
        with Wire(ready, TlsMode.NONE).log_in() as wire:
            wire.deliver("lost")

    with pytest.raises(SetupError, match="the mock's log cannot be written: No space left"):
        await use(MockSpec("smtp", tls=TlsMode.NONE, log="/dev/full"), deliver)


def test_all_at_once_and_a_relay(tmp_path: Path) -> None:
    with mock_of(MockSpec("all", provider="sendgrid", tls=TlsMode.NONE, log=str(tmp_path / "log"))) as ready:
        assert ready.smtp is not None
        assert ready.api["sendgrid"].startswith("http://127.0.0.1:")
        assert ready.credentials.smtp is not None
        assert ready.credentials.smtp.password == ready.credentials.api["sendgrid"].password
        relay = MockSpec(
            "relay", upstream=ready.smtp, network=Network(4_000_000), wire_log=str(tmp_path / "wire")
        )
        with mock_of(relay) as front:
            assert front.smtp not in (None, ready.smtp)
            with Wire(Ready(smtp=front.smtp, credentials=ready.credentials), TlsMode.NONE).log_in() as wire:
                assert wire.deliver("relayed") >= 4_000_000
                assert wire.say(b"QUIT\r\n") == ["221"]
                assert wire.sock.recv(100) == b""
        [line] = (tmp_path / "wire").read_text().splitlines()
        assert json.loads(line)["turn_arounds"] == 6  # banner, EHLO, AUTH, envelope, message, QUIT
    assert [taken.key for taken in read_taken(tmp_path / "log")] == ["relayed"]


def test_a_warning_where_others_can_reach_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.mock"], cwd=ROOT, timeout=20, check=True, capture_output=True,
        input=to_json([MockSpec("smtp", host="0.0.0.0", listen_any=True)]).encode() + b"\n",
    )  # fmt: skip
    assert b"warning: the mock can be reached by other machines at 0.0.0.0" in done.stderr
    assert json.loads(done.stdout)["smtp"]["host"] == "0.0.0.0"


def test_a_mock_whose_run_was_killed_before_it_was_ready_goes_quietly() -> None:
    """Nobody is there any more to be told where it listens."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.mock"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(to_json([MockSpec("smtp")]).encode() + b"\n")
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(20) == 0
