"""A mock serves this machine alone and connects to nobody."""

from __future__ import annotations

import ast
import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.errors import RefusedError
from bench.mock.serve import serve
from bench.mock.spec import MockSpec, Ready
from bench.model import TlsMode

PACKAGE = Path(__file__).parents[2] / "bench"


def refuse_sockets(*_: object, **__: object) -> None:
    raise AssertionError("a socket was opened")


def start(spec: MockSpec) -> None:
    def ready(_: Sequence[Ready]) -> None:
        raise AssertionError("it started")

    asyncio.run(serve([spec], ready, asyncio.Event()))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "10.0.0.1", "8.8.8.8", "example.com", ""])
@pytest.mark.parametrize("kind", ["smtp", "api", "all"])
def test_other_addresses_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str, host: str) -> None:
    monkeypatch.setattr(socket, "create_server", refuse_sockets)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_sockets)
    with pytest.raises(RefusedError, match="this machine alone"):
        start(MockSpec(kind, host=host, tls=TlsMode.NONE))


def test_a_mock_for_others_demands_auth() -> None:
    with pytest.raises(RefusedError, match="must demand AUTH"):
        start(MockSpec("smtp", host="0.0.0.0", listen_any=True, auth_mechanisms=(), tls=TlsMode.NONE))


@pytest.mark.parametrize("host", ["192.0.2.1", "example.com", "0.0.0.0"])
def test_a_relay_relays_to_this_machine_only(host: str) -> None:
    with pytest.raises(RefusedError, match="loopback"):
        start(MockSpec("relay", upstream=(host, 25)))


CONNECTING = {"connect", "connect_ex", "create_connection", "open_connection", "sock_connect", "sendto"}


def test_only_the_shaper_connects() -> None:
    found = {
        path.name
        for part in ("mock", "protocol")
        for path in (PACKAGE / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in CONNECTING
    }
    assert found <= {"shaper.py"}
