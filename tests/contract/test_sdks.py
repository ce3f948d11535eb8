"""The vendors' own SDKs cannot tell the mock from the real thing.

What it answers they take for success, or for an error of their own.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.providers import get_provider
from bench.providers.base import is_id
from tests.contract.sdks import SDKS, Sdk, error
from tests.contract.serving import Server, serving

pytestmark = pytest.mark.slow
EACH = pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.module.partition(".")[0])
PEOPLE = tuple(f"user{n}@y.example" for n in range(4))


@pytest.fixture(autouse=True)
def nothing_of_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no profile of the machine decides where a package sends to."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_PROFILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def sockets_left_open_are_the_packages_affair() -> Iterator[None]:
    """Several leave it to the garbage collector to close theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@contextmanager
def served(sdk: Sdk, monkeypatch: pytest.MonkeyPatch, *, rate_limit: float | None = None) -> Iterator[Server]:
    """The mock that the package is for; what speaks HTTPS only is told by the environment whom to trust."""
    with serving(get_provider(sdk.provider), tls=sdk.tls, rate_limit=rate_limit) as server:
        if sdk.tls:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        yield server


@EACH
def test_a_message_is_taken_and_its_id_read(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.load()
    with served(sdk, monkeypatch) as server:
        ids = [sdk.send(package, server, server.key, "b@y.example") for _ in range(2)]
        assert server.took(2)
    assert all(is_id(each) for each in ids)
    assert ids[0] != ids[1]


@EACH
def test_a_batch_is_taken_message_by_message(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.load()
    assert sdk.batch is not None
    with served(sdk, monkeypatch) as server:
        ids = sdk.batch(package, server, PEOPLE)
        assert server.took(len(PEOPLE))
    assert len(ids) in (1, len(PEOPLE))  # some vendors have one for the call
    assert len(set(ids)) == len(ids)
    assert all(is_id(each) for each in ids)


@EACH
def test_a_wrong_key_is_the_package_s_own_error(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.load()
    with served(sdk, monkeypatch) as server:
        with pytest.raises(error(sdk.errors.wrong_key)):
            sdk.send(package, server, server.key[::-1], "b@y.example")
        assert server.took(0)


@EACH
def test_an_invalid_message_is_the_package_s_own_error(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.load()
    with served(sdk, monkeypatch) as server:
        with pytest.raises(error(sdk.errors.invalid)):
            sdk.send(package, server, server.key, sdk.nobody)
        assert server.took(0)


@EACH
def test_a_call_too_many_is_the_package_s_own_error(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.load()
    with served(sdk, monkeypatch, rate_limit=1 / 600) as server:
        sdk.send(package, server, server.key, "b@y.example")
        with pytest.raises(error(sdk.errors.throttled)):
            sdk.send(package, server, server.key, "b@y.example")
        assert server.took(1)
