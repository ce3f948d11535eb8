"""TLS without sockets, between our server's side and OpenSSL's client."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mock.certificates import ThrowAwayAuthority, throw_away_authority
from bench.protocol.tls import ServerTls


@pytest.fixture(scope="module")
def authority() -> Iterator[ThrowAwayAuthority]:
    with throw_away_authority(["mail.example"]) as authority:
        yield authority


class Client:
    def __init__(self, context: ssl.SSLContext, server_name: str = "localhost") -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)

    def shake_hands(self, server: ServerTls) -> int:
        """How many flights the server sent."""
        flights = 0
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                assert server.receive(self.outgoing.read()) == b""
                flights += self.hear(server)
            else:
                server.receive(self.outgoing.read())
                return flights + self.hear(server)

    def hear(self, server: ServerTls) -> bool:
        data = server.data_to_send()
        self.incoming.write(data)
        return bool(data)

    def say(self, data: bytes) -> bytes:
        self.object.write(data)
        return self.outgoing.read()


def trusting(authority: ThrowAwayAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca_file))


@pytest.mark.parametrize(
    ("version", "flights"), [(ssl.TLSVersion.TLSv1_3, 1), (ssl.TLSVersion.TLSv1_2, 2)], ids=["1.3", "1.2"]
)
def test_a_conversation(authority: ThrowAwayAuthority, version: ssl.TLSVersion, flights: int) -> None:
    context = trusting(authority)
    context.maximum_version = version
    client, server = Client(context), ServerTls(authority.server_context())
    assert client.shake_hands(server) == flights  # no tickets: they would be one more
    assert server.established
    assert server.receive(client.say(b"EHLO me\r\n")) == b"EHLO me\r\n"
    server.send(b"250 ok\r\n")
    server.close()
    assert client.hear(server)
    assert client.object.read(100) == b"250 ok\r\n"
    assert client.object.read(100) == b""  # close_notify: a clean end


def test_finished_and_the_first_command_may_share_a_packet(authority: ThrowAwayAuthority) -> None:
    client, server = Client(trusting(authority)), ServerTls(authority.server_context())
    with pytest.raises(ssl.SSLWantReadError):
        client.object.do_handshake()
    server.receive(client.outgoing.read())
    client.hear(server)
    client.object.do_handshake()
    client.object.write(b"EHLO me\r\n")
    assert server.receive(client.outgoing.read()) == b"EHLO me\r\n"


def test_records_may_come_in_pieces_and_be_many(authority: ThrowAwayAuthority) -> None:
    client, server = Client(trusting(authority)), ServerTls(authority.server_context())
    client.shake_hands(server)
    body = bytes(range(256)) * 4000
    records = client.say(body)
    assert b"".join(server.receive(records[at : at + 9999]) for at in range(0, len(records), 9999)) == body


def test_the_client_may_end_it(authority: ThrowAwayAuthority) -> None:
    client, server = Client(trusting(authority)), ServerTls(authority.server_context())
    client.shake_hands(server)
    with pytest.raises(ssl.SSLWantReadError):
        client.object.unwrap()
    assert server.receive(client.outgoing.read()) == b""
    assert server.ended


@pytest.mark.parametrize("rubbish", [b"EHLO me\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_what_is_not_tls_is_an_error(authority: ThrowAwayAuthority, rubbish: bytes) -> None:
    server = ServerTls(authority.server_context())
    with pytest.raises(ssl.SSLError):
        server.receive(rubbish)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "mail.example"])
def test_the_certificate_is_good_for(authority: ThrowAwayAuthority, name: str) -> None:
    Client(trusting(authority), name).shake_hands(ServerTls(authority.server_context()))


def test_the_certificate_is_good_for_nobody_else(authority: ThrowAwayAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(trusting(authority), "other.example").shake_hands(ServerTls(authority.server_context()))
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(ssl.create_default_context()).shake_hands(ServerTls(authority.server_context()))


def test_old_tls_is_refused(authority: ThrowAwayAuthority) -> None:
    assert authority.server_context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_tickets_only_where_sessions_may_be_resumed(authority: ThrowAwayAuthority) -> None:
    assert authority.server_context().num_tickets == 0
    client = Client(trusting(authority))
    assert client.shake_hands(ServerTls(authority.server_context(resume=True))) == 2


def test_only_the_public_certificate_stays_on_disk_and_not_for_long() -> None:
    with throw_away_authority() as authority:
        folder = authority.ca_file.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [path.name for path in folder.iterdir()] == ["ca.pem"]
        assert b"PRIVATE" not in authority.ca_file.read_bytes()
    assert not Path(folder).exists()
