"""The words of a scenario, which may import neither providers nor clients, are theirs all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Case, Endpoint, TlsMode, TlsSettings, Transport
from bench.providers import PROVIDERS, get_provider
from bench.providers.base import Request
from bench.scenario import known, load_scenario
from bench.transports import MAKERS, session_maker
from tests.transports.fakes import Quiet

ENDPOINT = Endpoint("127.0.0.1", 1, TlsSettings(TlsMode.NONE), None, "127.0.0.1")
REQUEST = Request("POST", "/", (), b"")
BUILT = [(transport, client) for transport, clients in known.CLIENTS.items() for client in clients]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    path = tmp_path / "x.yaml"
    path.write_text("version: 1\nname: x\nload: {model: closed, messages: 1}\n")
    return load_scenario(path, environ={}).cases[0]


def test_the_providers_of_a_scenario_are_those_of_the_registry() -> None:
    assert set(known.PROVIDERS) == set(PROVIDERS)
    assert all(name == provider.name for name, provider in PROVIDERS.items())
    assert known.DEFAULT_PROVIDER in PROVIDERS
    with pytest.raises(ValueError, match="unknown provider"):
        get_provider("nobody")


@pytest.mark.anyio
@pytest.mark.parametrize(("transport", "client"), BUILT)
async def test_every_client_of_a_scenario_makes_sessions(
    case: Case, transport: Transport, client: str
) -> None:
    if client == "httpx2":
        pytest.importorskip("httpx2")
    request = REQUEST if transport is Transport.API else None
    make = session_maker(
        replace(case, transport=transport, client=client), ENDPOINT, Guard(), request, Quiet()
    )
    first, second = make(), make()
    assert first.connection_id != second.connection_id
    assert not first.alive


def test_scenarios_know_every_client_there_is() -> None:
    assert {(str(transport), client) for transport, client in BUILT} == set(MAKERS)


def test_an_api_client_cannot_speak_smtp(case: Case) -> None:
    with pytest.raises(SetupError, match=r"httpx.* for smtp"):
        session_maker(replace(case, client="httpx"), ENDPOINT, Guard(), None, Quiet())
