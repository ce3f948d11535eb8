"""Addresses and TLS settings, without a network."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from bench.errors import RefusedError, SetupError
from bench.guard import Guard
from bench.model import Endpoint, Outcome, TlsMode, TlsSettings
from bench.transports import dial as dialling
from bench.transports import session_maker
from bench.transports.connect import client_context, connect, resolve, unreachable
from bench.transports.dial import Unreachable, dial, interleaved
from bench.transports.session import AttemptFailed, Span
from bench.transports.tcp_info import tcp_info
from tests.store.samples import make_case
from tests.transports.fakes import FakeClock, Quiet

ENDPOINT = Endpoint("localhost", 25, TlsSettings(TlsMode.NONE), None, "localhost")


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str, error: OSError | None = None) -> None:
    async def getaddrinfo(_host: str, port: int, **_options: object) -> list[Any]:
        if error is not None:
            raise error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    loop = SimpleNamespace(getaddrinfo=getaddrinfo)
    monkeypatch.setattr("bench.transports.connect.asyncio", SimpleNamespace(get_running_loop=lambda: loop))


@pytest.mark.anyio
async def test_all_addresses_are_given_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "::1", "127.0.0.1", "::1")
    assert await resolve(ENDPOINT, Span(FakeClock()), Guard()) == ("::1", "127.0.0.1")


@pytest.mark.anyio
async def test_one_address_that_is_not_allowed_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "127.0.0.1", "192.0.2.1")
    with pytest.raises(RefusedError):
        await resolve(ENDPOINT, Span(FakeClock()), Guard())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "later"), "dns_temporary"),
        (socket.gaierror(socket.EAI_NONAME, "none"), "dns"),
    ],
)
async def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch, error: OSError, kind: str) -> None:
    resolving_to(monkeypatch, error=error)
    with pytest.raises(AttemptFailed) as caught:
        await resolve(ENDPOINT, Span(FakeClock()), Guard())
    assert (caught.value.answer.outcome, caught.value.answer.error) == (Outcome.FAILED, kind)


def test_a_machine_without_free_ports_is_not_the_servers_fault() -> None:
    full, refused = ("127.0.0.1", errno.EADDRNOTAVAIL), ("127.0.0.2", errno.ECONNREFUSED)
    assert unreachable([full, full]).error == "local"
    assert unreachable([refused, full]).error == "connect"
    assert unreachable([refused, full]).errno == errno.EADDRNOTAVAIL


def test_each_case_has_an_ssl_context_of_its_own() -> None:
    settings = TlsSettings(TlsMode.IMPLICIT, verify=False)
    assert client_context(settings) is not client_context(settings)
    assert client_context(TlsSettings(TlsMode.NONE)) is None


def test_an_authority_that_cannot_be_read_is_told_before_any_message() -> None:
    endpoint = Endpoint("localhost", 25, TlsSettings(ca_file="/nowhere/ca.pem"), None, "localhost")
    with pytest.raises(SetupError, match="certificate authority"):
        session_maker(make_case(), endpoint, Guard(), None, Quiet())


# ------------------------------------------------------------------------- addresses


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_host_that_is_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    resolving_to(monkeypatch, error=socket.gaierror(socket.EAI_NONAME, "looked up"))
    assert await resolve(replace(ENDPOINT, host=host), Span(FakeClock()), Guard()) == (host,)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_is_held_against_the_rules_though_it_is_not_looked_up(host: str) -> None:
    with pytest.raises(RefusedError):
        await resolve(replace(ENDPOINT, host=host), Span(FakeClock()), Guard())


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.1", "2130706433", "localhost"])
async def test_everything_else_is_a_name(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    resolving_to(monkeypatch, "127.0.0.5")
    assert await resolve(replace(ENDPOINT, host=host), Span(FakeClock()), Guard()) == ("127.0.0.5",)


@pytest.mark.anyio
@pytest.mark.parametrize(("number", "kind"), [(errno.EMFILE, "local"), (errno.EIO, "dns")])
async def test_a_resolver_that_fails_itself(monkeypatch: pytest.MonkeyPatch, number: int, kind: str) -> None:
    resolving_to(monkeypatch, error=OSError(number, "resolver"))
    with pytest.raises(AttemptFailed) as caught:
        await resolve(ENDPOINT, Span(FakeClock()), Guard())
    assert (caught.value.answer.error, caught.value.answer.errno) == (kind, number)


@pytest.mark.anyio
@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
async def test_a_source_address_of_the_other_family_is_a_local_error(host: str, source: str) -> None:
    span = Span(FakeClock())
    with pytest.raises(AttemptFailed) as caught:
        await connect(replace(ENDPOINT, host=host, source_address=source), span, Guard())
    answer = caught.value.answer
    assert (answer.outcome, answer.error, answer.errno) == (Outcome.FAILED, "local", errno.EAFNOSUPPORT)
    assert answer.notes is not None
    assert source in str(answer.notes["reason"])
    assert answer.notes["addresses"] == (host,)
    assert (span.phase, span.round_trips, span.local_port) == ("tcp", 0, None)


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("", ""),
        ("a", "a"),
        ("a b", "a b"),
        ("a b :1", "a :1 b"),
        (":1 :2 :3 a b", ":1 a :2 b :3"),
        (":1 a :2 b c d", ":1 a :2 b c d"),
    ],
)
def test_the_families_take_turns(given: str, order: str) -> None:
    assert interleaved(given.split()) == tuple(order.split())


# ------------------------------------------------------------- who comes first, without a network


class Line:
    """Instead of connecting: each address takes the steps it is told to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **steps: Callable[[], Awaitable[object]]) -> None:
        self.steps, self.tried = steps, list[str]()
        self.opened: dict[str, socket.socket] = {}
        monkeypatch.setattr(dialling, "_open", self.open)
        monkeypatch.setattr(dialling, "ATTEMPT_DELAY_S", 0)

    async def open(self, address: str, _port: int, _source: str | None) -> dialling.Dialled:
        self.tried.append(address)
        await self.steps[address]()
        sock = self.opened[address] = socket.socket()
        return dialling.Dialled(sock, address, 1)


async def answers() -> None:
    """At once, without a look at other tasks."""


async def refuses() -> None:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")


@pytest.mark.anyio
async def test_the_next_is_tried_when_one_has_failed_and_nobody_after_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(monkeypatch, a=refuses, b=answers, c=answers)
    monkeypatch.setattr(dialling, "ATTEMPT_DELAY_S", math.inf)
    dialled = await dial(("a", "b", "c"), 25)
    assert (dialled.address, line.tried) == ("b", ["a", "b"])
    dialled.sock.close()


@pytest.mark.anyio
async def test_nobody_waits_for_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch, a=anyio.sleep_forever, b=refuses, c=answers)
    dialled = await dial(("a", "b", "c"), 25)
    assert (dialled.address, line.tried) == ("c", ["a", "b", "c"])
    dialled.sock.close()


@pytest.mark.anyio
async def test_of_two_that_connect_at_the_same_time_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    second_is_there = anyio.Event()

    async def answers_all_the_same() -> None:
        with anyio.CancelScope(shield=True):
            await second_is_there.wait()

    async def answers_and_tells() -> None:
        second_is_there.set()

    line = Line(monkeypatch, a=answers_all_the_same, b=answers_and_tells)
    dialled = await dial(("a", "b"), 25)
    assert set(line.opened) == {"a", "b"}
    left = [sock for sock in line.opened.values() if sock.fileno() >= 0]
    assert left == [dialled.sock]
    dialled.sock.close()


@pytest.mark.anyio
async def test_what_connects_in_the_moment_of_a_cancellation_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with anyio.CancelScope() as outside:

        async def answers_too_late() -> None:
            outside.cancel()

        line = Line(monkeypatch, a=answers_too_late, b=anyio.sleep_forever)
        await dial(("a", "b"), 25)
    assert outside.cancelled_caught
    assert line.opened["a"].fileno() == -1


@pytest.mark.anyio
async def test_failures_are_told_in_the_order_of_the_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    last_has_failed = anyio.Event()

    async def fails_last() -> None:
        await last_has_failed.wait()
        raise OSError(errno.EHOSTUNREACH, "no route")

    async def fails_and_tells() -> None:
        last_has_failed.set()
        await refuses()

    Line(monkeypatch, a=fails_last, b=fails_and_tells)
    with pytest.raises(Unreachable) as caught:
        await dial(("a", "b"), 25)
    assert caught.value.failures == [("a", errno.EHOSTUNREACH), ("b", errno.ECONNREFUSED)]


def test_elsewhere_the_kernel_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        monkeypatch.setattr("sys.platform", "darwin")
        assert tcp_info(sock) is None
