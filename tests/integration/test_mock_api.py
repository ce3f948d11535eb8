"""The API mock on a real socket: over TLS, by a client nobody here wrote."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from bench.clock import Alarm, monotonic_ns
from bench.mock.api import serve_api
from bench.mock.certificates import throw_away_authority
from bench.mock.log import TakenLog, read_taken
from bench.mock.service import Decider
from bench.model import Attachment, Auth, Outcome, Parts, Secret, ServiceTime, Taken
from bench.providers import PROVIDERS, get_provider
from bench.providers.base import Response
from tests.loops import BOTH_LOOPS

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)]

SENDGRID = get_provider("sendgrid")
CREDENTIALS = {name: provider.mock_credentials(Random(5)) for name, provider in PROVIDERS.items()}


@dataclass
class Mock:
    """A running mock: where it is, and what it took."""

    port: int
    context: ssl.SSLContext | None
    path: Path
    log: TakenLog

    def url(self, provider: str = "sendgrid") -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/{provider}"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self.context or False, trust_env=False)

    def taken(self) -> list[Taken]:
        self.log.flush()
        return list(read_taken(self.path))


@asynccontextmanager
async def running(tmp_path: Path, *, service_ns: int = 0, tls: bool = True) -> AsyncIterator[Mock]:
    path = tmp_path / "mock.jsonl"
    listener = socket.create_server(("127.0.0.1", 0))
    with throw_away_authority() as authority, Alarm() as alarm, TakenLog(path) as log:
        serve = partial(
            serve_api,
            [listener],
            ssl_context=authority.server_context() if tls else None,
            providers=PROVIDERS,
            credentials=CREDENTIALS,
            decider=Decider(ServiceTime(p50_ns=service_ns), 1),
            taken_log=log,
            alarm=alarm,
            seed=1,
        )
        context = ssl.create_default_context(cafile=str(authority.ca_file)) if tls else None
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve)
            yield Mock(listener.getsockname()[1], context, path, log)
            stopping = monotonic_ns()
            tasks.cancel_scope.cancel()
        assert monotonic_ns() - stopping < 500_000_000


def parts(key: str, size: int = 100) -> Parts:
    attachment = Attachment("a.bin", "application/octet-stream", bytes(size))
    return Parts(
        "a@x.example", ("b@y.example",), "s", "text", None, (), (attachment,), key, b"X-A: 1\r\n\r\nb"
    )


async def post(
    client: httpx.AsyncClient,
    mock: Mock,
    key: str,
    *,
    auth: Auth | None = None,
    size: int = 100,
    host: str = "",
) -> httpx.Response:
    request = SENDGRID.request(parts(key, size))
    headers = dict((*request.headers, *SENDGRID.auth_headers(auth or CREDENTIALS["sendgrid"])))
    if host:
        headers["Host"] = host
    return await client.post(mock.url() + request.path, content=request.body, headers=headers)


def judged(response: httpx.Response) -> Outcome:
    headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
    return SENDGRID.judge(Response(response.status_code, headers, response.content)).outcome


@pytest.mark.parametrize("tls", [True, False])
async def test_messages_are_taken_over_one_connection(tmp_path: Path, tls: bool) -> None:
    async with running(tmp_path, tls=tls) as mock, mock.client() as client:
        streams = set()
        for number in range(20):
            before = monotonic_ns()
            response = await post(client, mock, f"run-{number}", size=1 + number * 10_000)
            assert judged(response) is Outcome.ACCEPTED
            assert response.headers["content-length"] == "0"
            streams.add(response.extensions["network_stream"])
            line = mock.taken()[-1]
            assert line.key == f"run-{number}"
            assert before <= line.received_ns <= line.taken_ns <= line.answered_ns <= monotonic_ns()
        assert len(streams) == 1
        assert len(mock.taken()) == 20


async def test_every_provider_has_its_place(tmp_path: Path) -> None:
    async with running(tmp_path) as mock, mock.client() as client:
        for name, provider in PROVIDERS.items():
            request, url = provider.request(parts(name)), mock.url(name)
            whole = replace(request, headers=(*request.headers, ("Host", urlsplit(url).netloc)))
            headers = dict((*whole.headers, *provider.auth_headers(CREDENTIALS[name], whole)))
            response = await client.post(url + request.path, content=request.body, headers=headers)
            found = tuple((key.lower(), value) for key, value in response.headers.multi_items())
            judgement = provider.judge(Response(response.status_code, found, response.content))
            assert judgement.outcome is Outcome.ACCEPTED, response.text
        response = await client.post(mock.url("nobody"))
        assert response.status_code == 404
        assert "/sendgrid, /mailgun" in response.json()["error"]


async def test_what_is_refused_is_not_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as mock, mock.client() as client:
        wrong = await post(client, mock, "a", auth=Auth(None, Secret("SG.wrong")))
        assert (wrong.status_code, judged(wrong)) == (401, Outcome.REJECTED_PERM)
        evil = await post(client, mock, "b", host="evil.example")
        assert evil.status_code == 403
        large = await post(client, mock, "c", size=16 * 2**20)  # a third more in base64
        assert large.status_code == 413
        assert judged(await post(client, mock, "d")) is Outcome.ACCEPTED
        assert [line.key for line in mock.taken()] == ["d"]


async def test_the_planted_time_is_kept_to(tmp_path: Path) -> None:
    planted = 20_000_000
    async with running(tmp_path, service_ns=planted) as mock, mock.client() as client:
        for number in range(10):
            await post(client, mock, f"run-{number}")
        late = sorted(line.taken_ns - line.received_ns - planted for line in mock.taken())
    assert late[0] >= 0
    assert late[len(late) // 2] < 5_000_000


async def test_messages_wait_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path, service_ns=100_000_000) as mock, mock.client() as client:
        await post(client, mock, "first")
        started = monotonic_ns()
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(post, client, mock, f"run-{number}")
        assert monotonic_ns() - started < 600_000_000
        assert len({line.key for line in mock.taken()}) == 11


async def test_the_first_byte_counts_as_received_and_the_last_starts_the_planted_time(tmp_path: Path) -> None:
    async with running(tmp_path, service_ns=30_000_000, tls=False) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        request = SENDGRID.request(parts("slow"))
        headers = (*request.headers, *SENDGRID.auth_headers(CREDENTIALS["sendgrid"]), ("Host", "localhost"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"POST /sendgrid{request.path} HTTP/1.1\r\n{lines}Content-Length: {len(request.body)}\r\n\r\n"
        whole = head.encode() + request.body
        for round_ in range(2):
            times = []
            for piece in (whole[:1], whole[1:50], whole[50:-1], whole[-1:]):
                times.append(monotonic_ns())
                writer.write(piece)
                await writer.drain()
                await anyio.sleep(0.02)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
            line = mock.taken()[round_]
            assert times[0] <= line.received_ns < times[1]
            assert 30_000_000 <= line.taken_ns - times[3] < 50_000_000
        writer.close()
        await writer.wait_closed()


async def test_an_answer_is_one_segment(tmp_path: Path) -> None:
    async with running(tmp_path, tls=False) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        for _ in range(20):
            writer.write(b"POST /sendgrid/no HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            answer = await reader.read(65536)
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert answer.endswith(b"}]}")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "garbage",
    [
        b"EHLO client\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"\x00" * 100_000,
    ],
)  # fmt: skip
async def test_garbage_is_refused_and_the_server_lives_on(
    tmp_path: Path, garbage: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, tls=False) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        writer.write(garbage)
        writer.write_eof()
        assert b" 202 " not in await reader.read()
        writer.close()
        async with mock.client() as client:
            assert judged(await post(client, mock, "after")) is Outcome.ACCEPTED
    assert capfd.readouterr().err == ""


async def test_a_connection_that_is_not_tls_does_no_harm(tmp_path: Path) -> None:
    async with running(tmp_path) as mock:
        reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()
        async with mock.client() as client:
            assert judged(await post(client, mock, "after")) is Outcome.ACCEPTED


@pytest.mark.parametrize("tls", [True, False])
async def test_stopping_ends_idle_and_busy_connections(
    tmp_path: Path, tls: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes: list[str] = []

    async def hang(client: httpx.AsyncClient, mock: Mock) -> None:
        try:
            response = await post(client, mock, "undecided")
            outcomes.append(str(response.status_code))
        except httpx.TransportError as error:
            outcomes.append(type(error).__name__)

    async with (
        anyio.create_task_group() as clients,
        running(tmp_path, service_ns=200_000_000, tls=tls) as mock,
    ):
        idle = mock.client()
        await post(idle, mock, "decided")
        busy = [mock.client() for _ in range(5)]
        for each in busy:
            clients.start_soon(hang, each, mock)
        await anyio.sleep(0.1)
    assert [line.key for line in read_taken(mock.path)] == ["decided"]
    assert len(outcomes) == 5
    assert not {"202", "500"} & set(outcomes)
    for each in (idle, *busy):
        await each.aclose()
    assert capfd.readouterr().err == ""


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    before = set(asyncio.all_tasks())
    threads = threading.active_count()
    async with running(tmp_path) as mock, mock.client() as client:
        await post(client, mock, "one")
    gc.collect()  # a socket left open would warn, and a warning is an error
    assert set(asyncio.all_tasks()) == before
    assert threading.active_count() <= threads
