"""Turn-arounds of the dialogues that matter, TLS and its goodbyes included, with real clients and servers.

The count plus one for the connect is the number of round trips that the protocol demands.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from urllib.parse import urlsplit

import aiosmtplib
import httpx
import pytest

from bench.mock.certificates import ThrowAwayAuthority
from bench.mock.process import mock_process
from bench.mock.spec import MockSpec, Ready
from bench.model import TlsMode
from tests.integration.paths import Path, Streams, path_to
from tests.loops import BOTH_LOOPS

RTT = 10_000_000
MESSAGE = b"From: a@sendbench.example\r\nTo: b@sendbench.example\r\nSubject: hello\r\n\r\nhello\r\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayAuthority:
    return ThrowAwayAuthority(tmp_path_factory.mktemp("ca") / "ca.pem")


def trusting(ca_file: str | FilePath, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if version is not None:
        context.maximum_version = version
    return context


GREETED = 2
"""TLS and greeting. TLS 1.3: the server's handshake, then its greeting in answer to the client's Finished.
TLS 1.2 needs a round trip more, but the greeting comes along with the server's Finished."""


# ------------------------------------------------------------------------------ dialogues by hand


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, answer each line, close after QUIT or once the client has gone."""
    try:
        await _lines(reader, writer)
    finally:
        writer.close()


async def _lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 hello\r\n")
    while line := await reader.readline():
        writer.write(b"250 " + line)
        if line == b"QUIT\r\n":
            return


@asynccontextmanager
async def behind_tls(authority: ThrowAwayAuthority, *, tickets: bool = False) -> AsyncIterator[Path]:
    context = authority.server_context(resume=tickets)
    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context)
    async with server, path_to(server.sockets[0].getsockname()[:2], rtt=RTT) as path:
        yield path


async def ask(streams: Streams, line: bytes) -> None:
    streams[1].write(line)
    assert (await streams[0].readline()).endswith(line)


async def close(streams: Streams) -> None:
    streams[1].close()
    await streams[1].wait_closed()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tickets", [False, True])
async def test_a_tls_client_that_closes_in_order(
    authority: ThrowAwayAuthority, version: ssl.TLSVersion, tickets: bool
) -> None:
    """It sends close_notify and waits for the server's: no round trip of the protocol."""
    async with behind_tls(authority, tickets=tickets) as path:
        streams = await path.connect(trusting(authority.ca_file, version))
        assert await streams[0].readline() == b"220 hello\r\n"
        await ask(streams, b"EHLO\r\n")
        await ask(streams, b"MAIL\r\n")
        await close(streams)
        (wire,) = await path.closed()
    assert wire.turn_arounds == GREETED + 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_tls_server_that_closes_after_quit(
    authority: ThrowAwayAuthority, version: ssl.TLSVersion
) -> None:
    async with behind_tls(authority) as path:
        streams = await path.connect(trusting(authority.ca_file, version))
        assert await streams[0].readline() == b"220 hello\r\n"
        await ask(streams, b"EHLO\r\n")
        await ask(streams, b"QUIT\r\n")
        assert await streams[0].read() == b""
        await close(streams)
        (wire,) = await path.closed()
    assert wire.turn_arounds == GREETED + 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_quit_and_close_at_once(authority: ThrowAwayAuthority, version: ssl.TLSVersion) -> None:
    """The client does not wait for QUIT's answer; that it comes all the same is one turn-around at most."""
    async with behind_tls(authority) as path:
        streams = await path.connect(trusting(authority.ca_file, version))
        assert await streams[0].readline() == b"220 hello\r\n"
        streams[1].write(b"QUIT\r\n")
        await close(streams)
        (wire,) = await path.closed()
    assert GREETED <= wire.turn_arounds <= GREETED + 1


async def test_a_client_that_distrusts_the_server(authority: ThrowAwayAuthority) -> None:
    """Its alert asks nothing."""
    async with behind_tls(authority) as path:
        with pytest.raises(ssl.SSLCertVerificationError):
            await path.connect(ssl.create_default_context())
        (wire,) = await path.closed()
    assert wire.turn_arounds == 1


async def test_a_message_in_many_pieces_is_one_question() -> None:
    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server, path_to(server.sockets[0].getsockname()[:2], rtt=RTT) as path:
        streams = await path.connect()
        await streams[0].readline()
        for piece in (b"BO", b"D", b"Y\r", b"\n"):
            streams[1].write(piece)
            await asyncio.sleep(0.001)
        assert await streams[0].readline() == b"250 BODY\r\n"
        for line in (b"A\r\n", b"B\r\n", b"C\r\n"):  # a pipelined envelope
            streams[1].write(line)
        for _ in range(3):
            await streams[0].readline()
        await close(streams)
        (wire,) = await path.closed()
    assert wire.turn_arounds == 3


# ------------------------------------------------------------------------------------ SMTP clients


def smtp_client(ready: Ready, path: Path, tls: TlsMode) -> aiosmtplib.SMTP:
    assert ready.credentials.smtp is not None
    user, password = ready.credentials.smtp.user, ready.credentials.smtp.password
    assert user is not None
    return aiosmtplib.SMTP(
        hostname="localhost" if path.host == "127.0.0.1" else path.host,
        port=path.port,
        username=user.reveal(),
        password=password.reveal(),
        start_tls=tls is TlsMode.STARTTLS,
        use_tls=tls is TlsMode.IMPLICIT,
        tls_context=trusting(ready.ca_file) if ready.ca_file else None,
    )


LOGGED_IN = {
    TlsMode.NONE: 3,  # greeting EHLO AUTH
    TlsMode.IMPLICIT: 4,  # TLS greeting EHLO AUTH
    TlsMode.STARTTLS: 6,  # greeting EHLO STARTTLS TLS EHLO AUTH
}


@pytest.mark.parametrize("tls", list(TlsMode))
async def test_aiosmtplib_against_the_mock(tls: TlsMode) -> None:
    async with mock_process(MockSpec(kind="smtp", tls=tls)) as ready:
        assert ready.smtp is not None
        async with path_to(ready.smtp, rtt=RTT) as path:
            for quits in (True, False):
                client = smtp_client(ready, path, tls)
                await client.connect()
                for _ in range(2):  # MAIL RCPT DATA body
                    await client.sendmail("a@sendbench.example", ["b@sendbench.example"], MESSAGE)
                if quits:
                    await client.quit()
                else:
                    client.close()
                await path.closed(1 if quits else 2)
    by_number = sorted(path.wires, key=lambda wire: wire.connection)
    assert [wire.turn_arounds for wire in by_number] == [LOGGED_IN[tls] + 8 + 1, LOGGED_IN[tls] + 8]


# ------------------------------------------------------------------------------------ HTTP clients


@pytest.mark.parametrize("tls", [TlsMode.IMPLICIT, TlsMode.NONE])
async def test_httpx_against_the_mock(tls: TlsMode) -> None:
    """Unpooled: TLS and a request, so 3 round trips with the connect; kept alive: one more for each."""
    async with mock_process(MockSpec(kind="api", tls=tls)) as ready:
        upstream = urlsplit(ready.api["sendgrid"])
        assert upstream.hostname is not None
        assert upstream.port is not None
        context = trusting(ready.ca_file) if ready.ca_file else ssl.create_default_context()
        async with path_to((upstream.hostname, upstream.port), rtt=RTT) as path:
            for requests in (1, 1, 4):
                before = len(path.wires)
                url = f"{upstream.scheme}://localhost:{path.port}{upstream.path}/v3/mail/send"
                async with httpx.AsyncClient(verify=context) as client:
                    for _ in range(requests):
                        await client.post(url, content=b"{}" * 10_000)
                await path.closed(before + 1)
    setup = 1 if tls is TlsMode.IMPLICIT else 0
    assert [wire.turn_arounds for wire in path.wires] == [setup + 1, setup + 1, setup + 4]
