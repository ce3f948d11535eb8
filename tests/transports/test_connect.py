"""Addresses and TLS settings, without a network."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import RefusedError, SetupError
from bench.guard import Guard
from bench.model import Endpoint, Outcome, TlsMode, TlsSettings
from bench.transports import session_maker
from bench.transports.connect import client_context, resolve, unreachable
from bench.transports.session import AttemptFailed, Span
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
