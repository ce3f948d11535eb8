"""httpx as we drive it: what it counts and what it makes of each fault, over real sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.mock.spec import MockSpec, Ready
from bench.model import Auth, Outcome, Secret, TlsMode
from tests.mock.running import running_mock
from tests.transports.wire import DROP, HOST, SILENCE, ScriptedHttp, Sender, sender, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

OK = "HTTP/1.1 202 Accepted\r\nX-Message-Id: id\r\nContent-Length: 0\r\n\r\n"
KEY = Auth(None, Secret("a-key"))


def status(line: str, *headers: str) -> str:
    return "\r\n".join((f"HTTP/1.1 {line}", "Content-Length: 0", *headers, "", ""))


@pytest.fixture(scope="module")
def mock() -> Iterator[Ready]:
    with running_mock(MockSpec("api", tls=TlsMode.IMPLICIT)) as ready:
        yield ready


def sender_to(
    ready: Ready, *, keep: bool = True, key: str = "", name: str = "localhost"
) -> AbstractAsyncContextManager[Sender]:
    url = urlsplit(ready.api["sendgrid"])
    assert url.port is not None
    auth = Auth(None, Secret(key)) if key else ready.credentials.api["sendgrid"]
    return sender(
        url.port,
        provider="sendgrid",
        tls=TlsMode.IMPLICIT,
        ca_file=ready.ca_file,
        auth=auth,
        path=url.path,
        keep=keep,
        server_name=name,
    )


def scripted(script: ScriptedHttp, **options: Any) -> AbstractAsyncContextManager[Sender]:
    return sender(script.port, **{"provider": "generic", "auth": KEY, **options})


# ------------------------------------------------------------------------------ our mock


async def test_a_kept_connection_takes_one_round_trip(mock: Ready) -> None:
    async with sender_to(mock) as line:
        first, second = await line.send(), await line.send()
    for sent in (first, second):
        assert (sent.answer.outcome, sent.answer.code) == (Outcome.ACCEPTED, 202)
        assert sent.answer.message_id is not None
        assert sent.span.bytes_sent == len(line.payload)
        assert (sent.session.http_version, sent.session.tls_version) == ("1.1", "TLSv1.3")
        assert not sent.release.quit
    assert (first.span.round_trips, second.span.round_trips) == (3, 1)
    assert list(first.span.phases) == ["dns", "send", "tcp", "tls", "server", "receive"]
    assert list(second.span.phases) == ["send", "server", "receive"]
    assert (first.connection_id, first.use, second.connection_id, second.use) == (1, 1, 1, 2)
    assert first.span.address == HOST
    assert (second.span.address, second.span.local_port) == (None, None)


async def test_without_keep_each_message_has_its_connection(mock: Ready) -> None:
    async with sender_to(mock, keep=False) as line:
        first, second = await line.send(), await line.send()
    assert (first.span.round_trips, second.span.round_trips) == (3, 3)
    assert (first.connection_id, second.connection_id) == (1, 2)


async def test_a_wrong_key_is_a_refusal_and_the_connection_is_kept(mock: Ready) -> None:
    async with sender_to(mock, key="SG.wrong") as line:
        first, second = await line.send(), await line.send()
    assert (first.answer.outcome, first.answer.error) == (Outcome.REJECTED_PERM, "auth")
    assert (first.answer.code, second.use) == (401, 2)
    assert not first.release.rset


async def test_a_certificate_for_another_host_is_refused(mock: Ready) -> None:
    async with sender_to(mock, name="api.example") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "tls_verify")
    assert (sent.span.phase, sent.span.bytes_sent) == ("tls", 0)


# ------------------------------------------------------------------- what goes out


@pytest.mark.parametrize("key", ["clé-secrète", "a\r\nX-Other: b", "a\nb", "\ud800"])
async def test_a_key_that_is_no_header_is_never_sent(key: str) -> None:
    script = ScriptedHttp({"http": (OK,)})
    async with serving(script), scripted(script, provider="sendgrid", auth=Auth(None, Secret(key))) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "local")
    assert sent.span.bytes_sent == 0
    assert key not in str(sent.answer)
    assert script.seen == []


@pytest.mark.parametrize(
    ("provider", "path", "request_line"),
    [
        ("sendgrid", "/", "POST /v3/mail/send HTTP/1.1"),
        ("sendgrid", "", "POST /v3/mail/send HTTP/1.1"),
        ("sendgrid", "/a/", "POST /a/v3/mail/send HTTP/1.1"),
        ("generic", "/", "POST / HTTP/1.1"),
        ("generic", "/in/", "POST /in/ HTTP/1.1"),
    ],
)
async def test_paths_are_joined_by_one_slash(provider: str, path: str, request_line: str) -> None:
    script = ScriptedHttp({"http": (OK,)})
    async with serving(script), scripted(script, provider=provider, path=path) as line:
        await line.send()
    assert script.seen == [request_line]


async def test_building_the_client_is_no_time_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    phases: list[str | None] = []
    build = httpx.AsyncClient

    def watched(**options: Any) -> httpx.AsyncClient:
        phases.append(spans[-1].phase)
        return build(**options)

    from bench.transports.session import Span

    spans: list[Span] = []
    begin = Span.begin

    def note(span: Span, phase: str) -> None:
        spans.append(span)
        begin(span, phase)

    monkeypatch.setattr(Span, "begin", note)
    monkeypatch.setattr(httpx, "AsyncClient", watched)
    script = ScriptedHttp({"http": (OK,)})
    async with serving(script), scripted(script) as line:
        await line.send()
    assert phases == ["send"]


# ------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("answer", "outcome", "error"),
    [
        (status("429 Slow", "Retry-After: 7"), Outcome.REJECTED_TEMP, "throttle"),
        (status("413 Big"), Outcome.REJECTED_PERM, "size"),
        (status("502 Gateway"), Outcome.UNKNOWN, "server"),
        (status("302 Found", "Location: http://192.0.2.1/"), Outcome.REJECTED_PERM, "redirect"),
        ("HTTP/1.1 202 A\r\nContent-Length: 2000000\r\n\r\n" + "x" * 2_000_000, Outcome.UNKNOWN, "protocol"),
        ("HTTP/1.1 202 A\r\nContent-Length: 9\r\n\r\nhalf(close)"[:-9], Outcome.UNKNOWN, "timeout"),
        ("nonsense\r\n\r\n", Outcome.UNKNOWN, "protocol"),
        (DROP, Outcome.UNKNOWN, "disconnected"),
        (SILENCE, Outcome.UNKNOWN, "timeout"),
    ],
)
async def test_an_answer(answer: str, outcome: Outcome, error: str) -> None:
    script = ScriptedHttp({"http": (answer, OK)})
    async with serving(script), scripted(script, timeout_s=0.3) as line:
        sent = await line.send()
        assert (sent.answer.outcome, sent.answer.error) == (outcome, error)
        line.timeout_s = 5
        again = await line.send()
    assert again.answer.outcome is Outcome.ACCEPTED
    answered = outcome in (Outcome.REJECTED_PERM, Outcome.REJECTED_TEMP)
    assert again.connection_id == (1 if answered else 2)


async def test_a_body_without_end_is_given_up() -> None:
    long = "HTTP/1.1 202 A\r\nContent-Length: 2000000\r\n\r\n" + "x" * 2_000_000
    script = ScriptedHttp({"http": (long,)})
    async with serving(script), scripted(script) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.anomaly) == (Outcome.UNKNOWN, "too_long")


async def test_an_answer_cut_in_its_middle_is_unknown() -> None:
    script = ScriptedHttp({"http": ("HTTP/1.1 202 A\r\nContent-Length: 90\r\n\r\n(close)",)})
    async with serving(script), scripted(script) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.UNKNOWN, "disconnected")


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (OK, True),
        (OK.replace("1.1", "1.0"), False),
        (OK.replace("1.1", "1.0").replace("X-M", "Connection: Keep-Alive\r\nX-M"), False),
        (OK.replace("X-M", "Connection: x, Close\r\nX-M"), False),
    ],
)
async def test_a_connection_is_kept_where_the_server_keeps_it(answer: str, kept: bool) -> None:
    script = ScriptedHttp({"http": (answer,)})
    async with serving(script), scripted(script) as line:
        first, second = await line.send(), await line.send()
    assert {first.answer.outcome, second.answer.outcome} == {Outcome.ACCEPTED}
    assert (second.connection_id, second.use) == ((1, 2) if kept else (2, 1))
    assert (first.session is second.session) is kept


async def test_a_connection_opened_without_a_word_has_a_number_of_its_own() -> None:
    closed = OK.replace("X-M", "X-Note: (close)\r\nX-M")  # closes, and does not say so
    script = ScriptedHttp({"http": (OK, closed, OK), "close": ("politely",)})
    async with serving(script), scripted(script) as line:
        sent = [await line.send(), await line.send()]
        await asyncio.sleep(0.05)  # the server's FIN arrives
        sent += [await line.send(), await line.send()]
    assert {each.answer.outcome for each in sent} == {Outcome.ACCEPTED}
    assert [(each.connection_id, each.use) for each in sent] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [each.span.round_trips for each in sent] == [2, 1, 2, 1]
    assert [each.span.address for each in sent] == [HOST, None, HOST, None]
    assert script.connections == 2


# ------------------------------------------------------------------------- addresses


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name has two addresses; nothing listens on the first."""

    async def getaddrinfo(_host: str, port: int, **_options: object) -> list[Any]:
        found = [("127.0.0.2", port), (HOST, port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

    loop = SimpleNamespace(getaddrinfo=getaddrinfo)
    monkeypatch.setattr("bench.transports.connect.asyncio", SimpleNamespace(get_running_loop=lambda: loop))


@pytest.mark.usefixtures("two_addresses")
async def test_the_next_address_is_tried_and_then_stayed_with() -> None:
    script = ScriptedHttp({"http": (OK,)})
    async with serving(script), scripted(script, host="localhost") as line:
        first, second = await line.send(), await line.send()
    assert (first.answer.outcome, first.span.address, first.span.round_trips) == (Outcome.ACCEPTED, HOST, 2)
    assert (second.connection_id, second.use, second.span.round_trips) == (1, 2, 1)
    assert (first.connection_id, first.use) == (1, 1)


@pytest.mark.usefixtures("two_addresses")
async def test_when_all_addresses_fail_each_is_told() -> None:
    script = ScriptedHttp({"http": (OK,)})
    async with serving(script):
        pass
    async with scripted(script, host="localhost") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "connect")
    assert sent.answer.errno == errno.ECONNREFUSED
    assert sent.answer.notes == {"addresses": [("127.0.0.2", errno.ECONNREFUSED), (HOST, errno.ECONNREFUSED)]}
    assert (sent.span.phase, sent.span.round_trips) == ("tcp", 0)
