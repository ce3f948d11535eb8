"""The client's machine and the mock's server machine, back to back and without sockets.

Whatever both may use: the server gets the canonical message, the round trips that are counted are the
flights that were exchanged, and nothing depends on how the bytes are cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from bench.model import Auth, Message, Outcome, Secret, TlsMode
from bench.protocol.answer import Answer
from bench.protocol.smtp_client import ClientConfig, SmtpClient
from bench.protocol.smtp_commands import EXTENSIONS
from bench.protocol.smtp_server import (
    Closed,
    Envelope,
    MessageReceived,
    ServerConfig,
    SmtpServer,
    TlsRequested,
)
from bench.protocol.span import Span
from tests.protocol.talking import message, new_span, phases_of

AUTH = Auth(Secret("u"), Secret("pa ss"))
EVERYTHING, NOTHING = EXTENSIONS, ()
NO_CHUNKS = tuple(each for each in EXTENSIONS if each != "CHUNKING")
NO_GROUPS = tuple(each for each in EXTENSIONS if each != "PIPELINING")
BODIES = {
    "plain": b"Subject: x\r\n\r\nhello\r\n",
    "dots": b".\r\n..\r\n.a\r\n\r\n.\r\n...\r\n",
    "8-bit": b"Subject: x\r\n\r\ncaf\xc3\xa9\r\n\xff\xfe\r\n",
    "long": b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 40,
    "looks like commands": b"\r\nRSET\r\nQUIT\r\nMAIL FROM:<evil@x>\r\nBDAT 0 LAST\r\n.\r\n",
    "empty": b"",
}
OFFERS = ["all", "data", "single", "none"]
Cut = Callable[[bytes], Sequence[bytes]]


def whole(data: bytes) -> Sequence[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> Sequence[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@dataclass
class Wire:
    """Both machines, and what is on its way between them."""

    client: SmtpClient
    server: SmtpServer
    cut: Cut = whole
    decide: Callable[[SmtpServer], None] = lambda server: server.accept("1")
    span: Span = field(default_factory=new_span)
    received: list[tuple[Envelope, bytes]] = field(default_factory=list)
    said: bytes = b""
    flights: int = 0
    """How often the client waited for the server."""

    def send(self, what: Message) -> Answer:
        self.span, self.flights = new_span(), 0
        new = not self.client.open
        self.run(self.client.begin(what, self.span, 0), opening=new)
        assert self.client.answer is not None
        return self.client.answer

    def errand(self, data: bytes) -> bool:
        self.run(data)
        return self.client.errand is True

    def run(self, out: bytes, *, opening: bool = False) -> None:
        """Let them talk until both are silent; a handshake always succeeds, and is no round trip here."""
        if opening and not self.client.wants_tls:
            self.server.greet()
            self.flights += 1
            out = self.tell_client()
        if self.client.wants_tls:
            self.client_secured()
            self.server.secured = True
            self.server.greet()
            self.flights += 1
            out = self.tell_client()
        while out:
            self.flights += 1
            self.tell_server(out)
            out = self.tell_client()
            if self.client.wants_tls and self.client.answer is None:
                self.server.tls_started()
                out = self.client_secured()

    def client_secured(self) -> bytes:
        return self.client.secured(0)

    def tell_server(self, data: bytes) -> None:
        if self.client.carries:
            data += self.client.tail
            self.client.handed_over(0)
        self.said += data
        for piece in self.cut(data):
            self.server.receive(piece)
            while (event := self.server.next_event()) is not None:
                if isinstance(event, MessageReceived):
                    self.received.append((event.envelope, event.body))
                    self.decide(self.server)
                elif isinstance(event, Closed | TlsRequested):
                    break

    def tell_client(self) -> bytes:
        """What it says to that; it never speaks before all has been heard, and hears all that was said."""
        out = b""
        for piece in self.cut(self.server.data_to_send()):
            assert not out
            out = self.client.receive(piece, 0)
        return out


def wire(
    client: ClientConfig,
    server: ServerConfig,
    cut: Cut = whole,
    decide: Callable[[SmtpServer], None] = lambda server: server.accept("1"),
) -> Wire:
    return Wire(SmtpClient(client), SmtpServer(server), cut, decide)


def expected_flights(client: ClientConfig, server: ServerConfig, recipients: int, *, first: bool) -> int:
    """By hand: what RFC 5321, 2920 and 3030 leave of it."""
    groups = client.pipelining and "PIPELINING" in server.extensions
    chunks = client.chunking and "CHUNKING" in server.extensions
    envelope = 1 if groups else 1 + recipients
    flights = envelope + (0 if groups else 1) + 1  # DATA shares the group; then the text
    if chunks:
        flights = 1 if groups else envelope + 1
    if first:
        flights += 2  # banner, EHLO
        flights += 2 if client.tls is TlsMode.STARTTLS else 0
        flights += 0 if client.auth is None else 1 if "PLAIN" in server.mechanisms else 3
    return flights


@pytest.mark.parametrize("extensions", [EVERYTHING, NO_CHUNKS, NO_GROUPS, NOTHING], ids=OFFERS)
@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("mechanisms", [(), ("PLAIN", "LOGIN"), ("LOGIN",)], ids=["open", "plain", "login"])
def test_every_message_arrives_as_it_is_in_the_flights_it_takes(
    extensions: tuple[str, ...], tls: TlsMode, mechanisms: tuple[str, ...]
) -> None:
    auth = AUTH if mechanisms else None
    server = ServerConfig(
        starttls=tls is TlsMode.STARTTLS, auth=auth, mechanisms=mechanisms, extensions=extensions
    )
    bodies = [body for body in BODIES.values() if body.isascii() or "8BITMIME" in extensions]
    for pipelining, chunking, count in itertools.product((True, False), (True, False), (1, 3)):
        client = ClientConfig(tls, auth, pipelining=pipelining, chunking=chunking)
        recipients = tuple(f"r{number}@x.example" for number in range(count))
        line = wire(client, server)
        for number, body in enumerate(bodies):
            answer = line.send(message(body, *recipients))
            assert (answer.outcome, answer.code, answer.anomaly) == (Outcome.ACCEPTED, 250, None)
            assert answer.recipients_accepted == count
            envelope, received = line.received[-1]
            assert (envelope.sender, envelope.recipients, received) == ("s@x.example", recipients, body)
            assert envelope.size_bytes == len(body)
            assert envelope.body == ("7BIT" if body.isascii() else "8BITMIME")
            flights = expected_flights(client, server, count, first=number == 0)
            assert (line.span.trips, line.flights) == (flights, flights)
        assert len(line.received) == len(bodies)
        assert line.errand(line.client.prove())
        assert line.errand(line.client.ping())
        assert line.errand(line.client.leave())


@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("extensions", [EVERYTHING, NO_CHUNKS, NO_GROUPS, ("8BITMIME",)], ids=OFFERS)
@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",)])
def test_byte_by_byte_it_is_the_same(
    body: str, extensions: tuple[str, ...], mechanisms: tuple[str, ...]
) -> None:
    client = ClientConfig(TlsMode.STARTTLS, AUTH)
    server = ServerConfig(
        starttls=True, auth=AUTH, mechanisms=mechanisms, extensions=extensions, max_recipients=2
    )
    what = message(BODIES[body], "a@x.example", "b@x.example", "c@x.example")
    lines = [wire(client, server, cut) for cut in (whole, byte_by_byte)]
    one, other = [(line.send(what), line.send(what)) for line in lines]
    assert one == other
    assert [answer.outcome for answer in one] == [Outcome.ACCEPTED] * 2
    assert lines[0].said == lines[1].said
    assert lines[0].received == lines[1].received
    assert (lines[0].span.trips, phases_of(lines[0].span)) == (lines[1].span.trips, phases_of(lines[1].span))


SERVER = ServerConfig()
CONFIGS = [ClientConfig(pipelining=p, chunking=c) for p, c in itertools.product((True, False), (True, False))]


def refuse(server: SmtpServer) -> None:
    server.refuse(451, "4.3.0", "Try again")


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize("config", CONFIGS, ids=["chunk", "group", "single chunk", "single"])
def test_refusals_leave_a_connection_that_takes_the_next_message(config: ClientConfig, cut: Cut) -> None:
    """S36, S38, S39, S54: and after the RSET both ends agree again."""
    three = ("a@x.example", "b@x.example", "c@x.example")
    for server, outcome, code, taken in [
        (replace(SERVER, max_recipients=1), Outcome.ACCEPTED, 250, 1),
        (replace(SERVER, max_recipients=0), Outcome.REJECTED_TEMP, 452, 0),
        (replace(SERVER, max_message_bytes=10), Outcome.REJECTED_PERM, 552, 0),
    ]:
        line = wire(config, server, cut)
        answer = line.send(message(BODIES["plain"], *three))
        assert (answer.outcome, answer.code, answer.recipients_accepted) == (outcome, code, taken)
        assert (len(line.received), line.client.usable) == (min(taken, 1), True)
        blindly = config.pipelining and config.chunking and server.max_recipients == 0
        assert (b"hello" in line.said) == (taken > 0 or blindly)
        assert line.errand(line.client.prove())
        line.server.config = SERVER
        again = line.send(message(b"x\r\n", *three))
        assert (again.outcome, again.recipients_accepted) == (Outcome.ACCEPTED, 3)


@pytest.mark.parametrize("config", CONFIGS, ids=["chunk", "group", "single chunk", "single"])
def test_a_refused_text_is_one_refusal(config: ClientConfig) -> None:
    line = wire(config, SERVER, decide=refuse)
    for _ in range(2):
        answer = line.send(message(BODIES["plain"]))
        assert (answer.outcome, answer.code, answer.enhanced_code) == (Outcome.REJECTED_TEMP, 451, "4.3.0")
        assert line.errand(line.client.prove())
    assert len(line.received) == 2


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",)])
def test_a_wrong_password_is_the_end(mechanisms: tuple[str, ...]) -> None:
    server = ServerConfig(auth=AUTH, mechanisms=mechanisms)
    line = wire(ClientConfig(auth=Auth(Secret("u"), Secret("other"))), server)
    answer = line.send(message())
    assert (answer.outcome, answer.error, answer.code) == (Outcome.FAILED, "auth", 535)
    assert (line.client.usable, b"MAIL" in line.said) == (False, False)


def test_what_a_client_says_before_tls_is_thrown_away() -> None:
    """S22 (CVE-2011-0411): the mock, told `STARTTLS` and more in one segment."""
    server = SmtpServer(ServerConfig(starttls=True))
    server.receive(b"EHLO me\r\nSTARTTLS\r\nMAIL FROM:<evil@x>\r\nRSET\r\n")
    assert server.next_event() == TlsRequested()
    server.receive(b"NOOP\r\n")
    server.tls_started()
    said = server.data_to_send()
    assert said.endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert (server.next_event(), server.data_to_send()) == (None, b"")


@pytest.mark.parametrize("config", CONFIGS, ids=["chunk", "group", "single chunk", "single"])
def test_a_server_that_lacks_what_is_needed_is_told_nothing(config: ClientConfig) -> None:
    """S43, S44: and the connection takes what it can."""
    line = wire(config, ServerConfig(extensions=("PIPELINING", "CHUNKING")))
    for what in (message(BODIES["8-bit"]), message(b"x\r\n", "\u00e9@x.example")):
        answer = line.send(what)
        assert (answer.outcome, answer.error) == (Outcome.FAILED, "local")
    assert b"MAIL" not in line.said
    assert line.send(message(b"x\r\n")).outcome is Outcome.ACCEPTED
