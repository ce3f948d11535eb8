"""TLS without sockets: both sides of ours, against OpenSSL's client and against each other."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import pytest

from bench.mock.certificates import ThrowAwayAuthority, throw_away_authority
from bench.protocol.tls import RECORD_BYTES, ClientTls, ServerTls, TlsSessions


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


def test_tickets_only_where_sessions_may_be_resumed(authority: ThrowAwayAuthority) -> None:
    assert authority.server_context().num_tickets == 0
    client = Client(trusting(authority))
    assert client.shake_hands(ServerTls(authority.server_context(resume=True))) == 2


# -------------------------------------------------------------- the client's side of ours

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


SPLITS = pytest.mark.parametrize("split", [whole, byte_by_byte])


def shake_hands(client: ClientTls, server: ServerTls, split: Callable[[bytes], list[bytes]] = whole) -> int:
    """How many flights the client had to wait for, seen from the server's side: those before the client was
    done. Tickets stay with the server until it says something."""
    flights = 0
    client.start()
    while not client.established:
        for piece in split(client.data_to_send()):
            server.receive(piece)
        flights += 1
        for piece in split(server.data_to_send()):
            client.receive(piece)
    server.receive(client.data_to_send())
    assert server.established
    return flights


def client_context(authority: ThrowAwayAuthority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = trusting(authority)
    context.maximum_version = version
    return context


@SPLITS
@VERSIONS
def test_the_round_trips_of_a_full_handshake(
    authority: ThrowAwayAuthority, version: ssl.TLSVersion, split: Callable[[bytes], list[bytes]]
) -> None:
    client = ClientTls(client_context(authority, version), "localhost")
    flights = shake_hands(client, ServerTls(authority.server_context()), split)
    assert client.round_trips == flights == (1 if version is TLS13 else 2)
    assert client.version == ("TLSv1.3" if version is TLS13 else "TLSv1.2")
    assert not client.resumed


@SPLITS
def test_a_hello_that_has_to_be_said_again_is_a_round_trip_more(
    authority: ThrowAwayAuthority, split: Callable[[bytes], list[bytes]]
) -> None:
    context = authority.server_context()
    context.set_ecdh_curve("secp384r1")  # which OpenSSL's clients offer, but do not bet on: HelloRetryRequest
    client = ClientTls(client_context(authority, TLS13), "localhost")
    assert shake_hands(client, ServerTls(context), split) == client.round_trips == 2
    assert client.version == "TLSv1.3"


@SPLITS
@VERSIONS
def test_a_resumed_handshake_takes_one(
    authority: ThrowAwayAuthority, version: ssl.TLSVersion, split: Callable[[bytes], list[bytes]]
) -> None:
    context = authority.server_context(resume=True)
    sessions = TlsSessions(client_context(authority, version), "localhost", resume=True)
    used = [talk(sessions, context, split) for _ in range(4)]
    assert [client.resumed for client in used] == [False, True, True, True]
    assert [client.round_trips for client in used[1:]] == [1, 1, 1]


def test_what_is_said_after_the_handshake_is_no_round_trip_of_it(authority: ThrowAwayAuthority) -> None:
    client = ClientTls(trusting(authority), "localhost")
    server = ServerTls(authority.server_context(resume=True))
    shake_hands(client, server)
    for _ in range(3):
        server.send(b"250 ok")
        assert client.receive(server.data_to_send()) == b"250 ok"
    assert client.round_trips == 1


def test_a_certificate_that_is_not_trusted_was_an_answer(authority: ThrowAwayAuthority) -> None:
    client = ClientTls(trusting(authority), "other.example")
    server = ServerTls(authority.server_context())
    client.start()
    server.receive(client.data_to_send())
    with pytest.raises(ssl.SSLCertVerificationError):
        client.receive(server.data_to_send())
    assert (client.round_trips, client.established, client.version) == (1, False, None)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        server.receive(client.data_to_send())  # the server is told why


def test_an_alert_was_an_answer(authority: ThrowAwayAuthority) -> None:
    context = authority.server_context()
    context.minimum_version = TLS13
    client, server = ClientTls(client_context(authority, TLS12), "localhost"), ServerTls(context)
    client.start()
    with pytest.raises(ssl.SSLError):
        server.receive(client.data_to_send())
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        client.receive(server.data_to_send())
    assert client.round_trips == 1


@pytest.mark.parametrize("size", [1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 5 * RECORD_BYTES])
@pytest.mark.parametrize("piece_bytes", [7, 4096, 10**6])
def test_all_that_has_come_is_read_at_once(
    authority: ThrowAwayAuthority, size: int, piece_bytes: int
) -> None:
    client, server = ClientTls(trusting(authority), "localhost"), ServerTls(authority.server_context())
    shake_hands(client, server)
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    server.send(body)
    records = server.data_to_send()
    pieces = [records[at : at + piece_bytes] for at in range(0, len(records), piece_bytes)]
    assert b"".join(map(client.receive, pieces)) == body
    assert not client.ended


def test_the_last_words_and_the_end_may_come_together(authority: ThrowAwayAuthority) -> None:
    client, server = ClientTls(trusting(authority), "localhost"), ServerTls(authority.server_context())
    shake_hands(client, server)
    server.send(b"221 bye")
    server.close()
    assert client.receive(server.data_to_send()) == b"221 bye"
    assert client.ended


# ---------------------------------------------------------------------- sessions carried on


def talk(
    sessions: TlsSessions, context: ssl.SSLContext, split: Callable[[bytes], list[bytes]] = whole
) -> ClientTls:
    """One connection from beginning to end: with the first answer come the tickets."""
    client, server = sessions.new(), ServerTls(context)
    shake_hands(client, server, split)
    server.send(b"250 ok")
    assert b"".join(map(client.receive, split(server.data_to_send()))) == b"250 ok"
    sessions.keep(client)
    return client


@VERSIONS
@pytest.mark.parametrize(("client", "server"), [(False, True), (True, False), (False, False)])
def test_every_handshake_is_full_where_one_side_does_not_resume(
    authority: ThrowAwayAuthority, version: ssl.TLSVersion, client: bool, server: bool
) -> None:
    sessions = TlsSessions(client_context(authority, version), "localhost", resume=client)
    context = authority.server_context(resume=server)
    used = [talk(sessions, context) for _ in range(4)]
    assert {each.resumed for each in used} == {False}
    assert {each.round_trips for each in used} == {1 if version is TLS13 else 2}


@VERSIONS
def test_a_session_belongs_to_one_connection_at_a_time(
    authority: ThrowAwayAuthority, version: ssl.TLSVersion
) -> None:
    sessions = TlsSessions(client_context(authority, version), "localhost", resume=True)
    context = authority.server_context(resume=True)
    talk(sessions, context)
    at_once = [sessions.new(), sessions.new()]
    for client in at_once:
        shake_hands(client, ServerTls(context))
    assert [client.resumed for client in at_once] == [True, False]


def test_a_ticket_of_tls_1_3_comes_after_the_handshake(authority: ThrowAwayAuthority) -> None:
    sessions = TlsSessions(client_context(authority, TLS13), "localhost", resume=True)
    context = authority.server_context(resume=True)
    early = sessions.new()
    shake_hands(early, ServerTls(context))
    assert early.session is None
    sessions.keep(early)  # in vain
    assert not talk(sessions, context).resumed


def test_a_ticket_of_tls_1_3_is_used_once(authority: ThrowAwayAuthority) -> None:
    sessions = TlsSessions(client_context(authority, TLS13), "localhost", resume=True)
    context = authority.server_context(resume=True)
    first, second = talk(sessions, context), sessions.new()
    shake_hands(second, ServerTls(context))  # the connection ends before it has got a ticket of its own
    sessions.keep(second)
    third = talk(sessions, context)
    assert [each.resumed for each in (first, second, third)] == [False, True, False]


def test_a_session_of_tls_1_2_serves_again(authority: ThrowAwayAuthority) -> None:
    sessions = TlsSessions(client_context(authority, TLS12), "localhost", resume=True)
    context = authority.server_context(resume=True)
    for resumed in (False, True, True):
        client = sessions.new()
        shake_hands(client, ServerTls(context))
        sessions.keep(client)  # before any answer: with TLS 1.2 the ticket is part of the handshake
        assert client.resumed is resumed


def test_a_session_the_server_does_not_know_costs_a_full_handshake(authority: ThrowAwayAuthority) -> None:
    sessions = TlsSessions(client_context(authority, TLS13), "localhost", resume=True)
    talk(sessions, authority.server_context(resume=True))
    restarted = authority.server_context(resume=True)  # its tickets are under another key
    used = [talk(sessions, restarted) for _ in range(2)]
    assert [client.resumed for client in used] == [False, True]
