"""The throw-away authority: what its certificate is good for, and what it leaves behind."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mock.certificates import ThrowAwayAuthority, throw_away_authority
from bench.protocol.tls import ClientTls, ServerTls


@pytest.fixture(scope="module")
def authority() -> Iterator[ThrowAwayAuthority]:
    with throw_away_authority(["mail.example"]) as authority:
        yield authority


def trusting(authority: ThrowAwayAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca_file))


def shake_hands(authority: ThrowAwayAuthority, context: ssl.SSLContext, name: str) -> bool:
    """Whether the client is content; raises where it is not."""
    client, server = ClientTls(context, name), ServerTls(authority.server_context())
    client.start()
    server.receive(client.data_to_send())
    client.receive(server.data_to_send())
    return client.established


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "mail.example"])
def test_the_certificate_is_good_for(authority: ThrowAwayAuthority, name: str) -> None:
    assert shake_hands(authority, trusting(authority), name)


def test_the_certificate_is_good_for_nobody_else(authority: ThrowAwayAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, trusting(authority), "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, ssl.create_default_context(), "localhost")


def test_old_tls_is_refused(authority: ThrowAwayAuthority) -> None:
    assert authority.server_context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_only_the_public_certificate_stays_on_disk_and_not_for_long() -> None:
    with throw_away_authority() as authority:
        folder = authority.ca_file.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [path.name for path in folder.iterdir()] == ["ca.pem"]
        assert b"PRIVATE" not in authority.ca_file.read_bytes()
    assert not Path(folder).exists()
