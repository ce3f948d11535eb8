"""The API mock's ASGI application alone: no sockets, a clock that only an alarm moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.mock import api
from bench.mock.log import TakenLog, read_taken
from bench.mock.service import Decider
from bench.model import Parts, ServiceTime, Taken
from bench.providers import PROVIDERS
from bench.providers.base import Headers

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, HTTPScope

pytestmark = pytest.mark.anyio

SENDGRID = PROVIDERS["sendgrid"]
CREDENTIALS = {name: provider.mock_credentials(Random(5)) for name, provider in PROVIDERS.items()}
REQUEST = SENDGRID.request(Parts("a@x.example", ("b@y.example",), "s", "text", None, (), (), "run-7", b""))
HEADERS = (("host", "localhost:8443"), *REQUEST.headers, *SENDGRID.auth_headers(CREDENTIALS["sendgrid"]))
NOW = 1_000_000


class FakeAlarm:
    """Keeps what it was asked for; a test rings it."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Callable[[], object]]] = []
        self.asked = asyncio.Event()

    def call_at(self, at_ns: int, function: Callable[[], object]) -> None:
        self.calls.append((at_ns, function))
        self.asked.set()


class Bench:
    """An application with its log and its alarm."""

    def __init__(self, log: TakenLog, service_ns: int = 0, *, any_host: bool = False) -> None:
        self.alarm = FakeAlarm()
        decider = Decider(ServiceTime(p50_ns=service_ns), 1)
        self.log = log
        self.app = api.Application(
            PROVIDERS,
            CREDENTIALS,
            decider,
            log,
            self.alarm,  # type: ignore[arg-type]
            Random(1),
            any_host,
        )
        self.sent: list[ASGISendEvent] = []
        self.held = 0

    async def call(
        self,
        path: str = "/sendgrid/v3/mail/send",
        headers: Headers = HEADERS,
        chunks: tuple[bytes, ...] = (REQUEST.body,),
        *,
        method: str = "POST",
        cut: bool = False,
        came_ns: int | None = None,
    ) -> int | None:
        """The status of the answer, None without one."""
        before = len(self.sent)
        await self.app(
            scope_for(method, path, headers, self.hold, came_ns), self.events(chunks, cut), self.send
        )
        return None if len(self.sent) == before else self.sent[before]["status"]  # type: ignore[typeddict-item]

    def hold(self) -> None:
        self.held += 1

    async def send(self, event: ASGISendEvent) -> None:
        self.sent.append(event)

    @staticmethod
    def events(chunks: tuple[bytes, ...], cut: bool) -> Callable[[], asyncio.Future[ASGIReceiveEvent]]:
        def events() -> Iterator[ASGIReceiveEvent]:
            for index, chunk in enumerate(chunks, 1):
                more = cut or index < len(chunks)
                yield {"type": "http.request", "body": chunk, "more_body": more}
            yield {"type": "http.disconnect"}

        made = events()

        def receive() -> asyncio.Future[ASGIReceiveEvent]:
            future: asyncio.Future[ASGIReceiveEvent] = asyncio.get_running_loop().create_future()
            future.set_result(next(made))
            return future

        return receive


def scope_for(
    method: str, path: str, headers: Headers, hold: Callable[[], None], came_ns: int | None
) -> HTTPScope:
    raw, _, query = path.partition("?")
    state = {"received_ns": 1 if came_ns is None else came_ns - 1, "hold": hold}
    if came_ns is not None:
        state["complete_ns"] = came_ns
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": None,
        "server": None,
        "state": state,
    }


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "monotonic_ns", lambda: NOW)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TakenLog]:
    with TakenLog(tmp_path / "mock.jsonl") as log:
        yield log


def taken(log: TakenLog, tmp_path: Path) -> list[Taken]:
    log.flush()
    return list(read_taken(tmp_path / "mock.jsonl"))


def header(sent: list[ASGISendEvent], name: bytes) -> bytes | None:
    return dict(sent[0]["headers"]).get(name)  # type: ignore[typeddict-item]


async def test_a_message_is_taken_and_noted(log: TakenLog, tmp_path: Path) -> None:
    bench = Bench(log)
    assert await bench.call(came_ns=NOW - 5) == 202
    assert header(bench.sent, b"content-length") == b"0"
    assert header(bench.sent, b"x-message-id") is not None
    assert header(bench.sent, b"connection") is None
    assert bench.held == 1
    (line,) = taken(log, tmp_path)
    assert line == Taken("run-7", NOW - 6, NOW, NOW)
    assert bench.alarm.calls == []


async def test_a_body_in_pieces_is_one_body(log: TakenLog) -> None:
    pieces = tuple(REQUEST.body[at : at + 7] for at in range(0, len(REQUEST.body), 7))
    assert await Bench(log).call(chunks=pieces) == 202


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/nobody/v3/mail/send", 404),
        ("/sendgrid", 404),
        ("/sendgrid/", 404),
        ("/sendgrid/v3/mail/send/", 404),
        ("/sendgrid/v3/mail/send?a=b", 202),
        ("/SendGrid/v3/mail/send", 404),
        ("//sendgrid/v3/mail/send", 404),
    ],
)
async def test_the_first_step_of_the_path_is_the_provider(log: TakenLog, path: str, status: int) -> None:
    assert await Bench(log).call(path) == status


async def test_the_generic_provider_is_called_at_its_base_url(log: TakenLog, tmp_path: Path) -> None:
    provider = PROVIDERS["generic"]
    auth = provider.auth_headers(CREDENTIALS["generic"])
    headers = (("host", "127.0.0.1"), ("content-type", "message/rfc822"), *auth)
    for path in ("/generic", "/generic/", "/generic/any/path"):
        assert await Bench(log).call(path, headers, (b"X-Sendbench-Id: k\r\n\r\nbody",)) == 202
    assert [line.key for line in taken(log, tmp_path)] == ["k"] * 3


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8443"]
)
async def test_local_hosts_are_answered(log: TakenLog, host: str) -> None:
    assert await Bench(log).call(headers=(("host", host), *HEADERS[1:])) == 202


@pytest.mark.parametrize(
    "hosts",
    [
        ("evil.example",), ("localhost.evil.example",), ("127.0.0.1.evil.example:8443",), ("",), (),
        ("127.0.0.2",), ("localhost", "evil.example"), ("localhost", "localhost"), ("localhost:x",), ("::1",),
        ("user@localhost",), ("localhost:1:2",),
    ],
)  # fmt: skip
async def test_other_hosts_are_refused_and_nothing_is_taken(
    log: TakenLog, tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    headers = (*(("host", host) for host in hosts), *HEADERS[1:])
    assert await Bench(log).call(headers=headers) == 403
    assert await Bench(log).call("/nobody", headers=headers) == 403
    assert taken(log, tmp_path) == []


async def test_any_host_where_that_was_asked_for(log: TakenLog) -> None:
    assert await Bench(log, any_host=True).call(headers=(("host", "mock.lab"), *HEADERS[1:])) == 202


async def test_a_refusal_is_not_noted(log: TakenLog, tmp_path: Path) -> None:
    bench = Bench(log)
    assert await bench.call(headers=HEADERS[:-1]) == 401
    assert await bench.call(chunks=(b"{}",)) == 400
    assert taken(log, tmp_path) == []


async def test_a_body_over_the_providers_limit_is_read_but_not_kept(log: TakenLog) -> None:
    piece = bytes(2**20)
    bench = Bench(log)
    assert await bench.call(chunks=(piece,) * 21) == 413
    assert header(bench.sent, b"connection") is None  # it was read to its end, so the connection is clean


async def test_a_body_without_end_costs_the_connection(log: TakenLog) -> None:
    piece = bytes(2**20)
    bench = Bench(log)
    assert await bench.call(chunks=(piece,) * 66, cut=True) == 413
    assert header(bench.sent, b"connection") == b"close"


async def test_a_client_that_goes_away_in_its_body_gets_nothing(log: TakenLog, tmp_path: Path) -> None:
    assert await Bench(log).call(chunks=(REQUEST.body,), cut=True) is None
    assert taken(log, tmp_path) == []


async def test_no_second_write_is_waited_for_after_head(log: TakenLog) -> None:
    bench = Bench(log)
    assert await bench.call(method="HEAD", chunks=(b"",)) == 405
    assert bench.held == 0


async def test_the_planted_time_runs_from_the_last_byte_and_is_waited_for(
    log: TakenLog, tmp_path: Path
) -> None:
    bench = Bench(log, service_ns=3600 * 10**9)
    calling = asyncio.ensure_future(bench.call(came_ns=NOW - 7))
    await bench.alarm.asked.wait()
    ((at_ns, ring),) = bench.alarm.calls
    assert at_ns == NOW - 7 + 3600 * 10**9
    assert bench.sent == []
    ring()
    assert await calling == 202
    assert len(taken(log, tmp_path)) == 1


async def test_a_planted_time_that_is_over_already_is_not_waited_for(log: TakenLog) -> None:
    bench = Bench(log, service_ns=1000)
    assert await bench.call(came_ns=NOW - 1000) == 202
    assert bench.alarm.calls == []


async def test_stopping_drops_what_is_undecided(log: TakenLog, tmp_path: Path) -> None:
    bench = Bench(log, service_ns=3600 * 10**9)
    calling = asyncio.ensure_future(bench.call(came_ns=NOW))
    await bench.alarm.asked.wait()
    bench.app.stop()
    assert await calling is None
    bench.alarm.calls[0][1]()  # an alarm that rings late does no harm
    assert await bench.call(came_ns=NOW) is None
    assert taken(log, tmp_path) == []


class Pipe:
    """A transport that keeps its writes."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return False


async def test_head_and_body_leave_in_one_write() -> None:
    pipe = Pipe()
    joining = api.Joining(pipe)  # type: ignore[arg-type]
    joining.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    for body in (b"body", b""):
        joining.hold()
        joining.write(b"head ")
        joining.write(body)
    joining.write(b"bye")
    assert pipe.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", b"head body", b"head ", b"bye"]
    assert joining.is_closing() is False  # type: ignore[operator]


# ------------------------------------------------------------- rate limits, repeats


def told(sent: list[ASGISendEvent]) -> list[tuple[int, dict[bytes, bytes]]]:
    """Status and headers of every answer."""
    starts = [each for each in sent if each["type"] == "http.response.start"]
    return [(each["status"], dict(each["headers"])) for each in starts]


def limited(log: TakenLog, rate: float | None) -> Bench:
    found = Bench(log)
    found.app = api.Application(
        PROVIDERS,
        CREDENTIALS,
        Decider(ServiceTime(), 1),
        log,
        found.alarm,  # type: ignore[arg-type]
        Random(1),
        False,
        rate_limit=rate,
    )
    return found


async def test_what_is_above_the_rate_is_throttled_and_counted_in_headers(tmp_path: Path) -> None:
    with TakenLog(str(tmp_path / "log")) as log:
        bench = limited(log, 1 / 600)
        assert [await bench.call(), await bench.call()] == [202, 429]
        counts = [headers[b"x-ratelimit-remaining"] for _, headers in told(bench.sent)]
        assert counts == [b"0", b"0"]
        assert told(bench.sent)[0][1][b"x-ratelimit-limit"] == b"1"
    assert len(list(read_taken(tmp_path / "log"))) == 1


async def test_what_is_refused_anyway_does_not_count(tmp_path: Path) -> None:
    with TakenLog(str(tmp_path / "log")) as log:
        bench = limited(log, 1 / 600)
        wrong = tuple(each for each in HEADERS if each[0] != "Authorization")
        assert [await bench.call(headers=wrong), await bench.call()] == [401, 202]


async def test_a_repeated_call_is_answered_and_not_taken_again(tmp_path: Path) -> None:
    resend = PROVIDERS["resend"]
    request = resend.request(Parts("a@x.example", ("b@y.example",), "s", "text", None, (), (), "run-7", b""))
    headers = (
        ("host", "localhost"),
        *((name.lower(), value) for name, value in request.headers),
        *((name.lower(), value) for name, value in resend.auth_headers(CREDENTIALS["resend"])),
        ("idempotency-key", "one"),
    )
    other = (*headers[:-1], ("idempotency-key", "two"))
    with TakenLog(str(tmp_path / "log")) as log:
        bench = limited(log, None)
        for sent, body in ((headers, request.body), (headers, request.body), (other, request.body)):
            assert await bench.call("/resend/emails", sent, (body,)) == 200
        changed = request.body.replace(b"text", b"more", 1)
        assert await bench.call("/resend/emails", headers, (changed,)) in (400, 409, 422)
        bodies = [each["body"] for each in bench.sent if each["type"] == "http.response.body"]
        assert bodies[0] == bodies[1] != bodies[2]
    assert len(list(read_taken(tmp_path / "log"))) == 2


async def test_brevo_s_key_for_repeats_stands_in_the_body(tmp_path: Path) -> None:
    brevo = PROVIDERS["brevo"]

    def said(name: str) -> tuple[Headers, bytes]:
        parts = Parts(
            "a@x.example", ("b@y.example",), "s", "text", None, (("idempotencyKey", name),), (), "run-7", b""
        )
        request = brevo.request(parts)
        headers = (*request.headers, *brevo.auth_headers(CREDENTIALS["brevo"]))
        return (("host", "localhost"), *((name.lower(), value) for name, value in headers)), request.body

    with TakenLog(str(tmp_path / "log")) as log:
        bench = limited(log, None)
        for name in ("one", "one", "two"):
            headers, body = said(name)
            assert await bench.call("/brevo/smtp/email", headers, (body,)) == 201
        bodies = [each["body"] for each in bench.sent if each["type"] == "http.response.body"]
        assert bodies[0] == bodies[1] != bodies[2]
    assert len(list(read_taken(tmp_path / "log"))) == 2
