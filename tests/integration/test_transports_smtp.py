"""aiosmtplib as we drive it: what it counts and what it makes of each fault, over real sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from bench.mock.spec import MockSpec, Ready
from bench.model import Outcome, Secret, TlsMode
from tests.mock.running import running_mock
from tests.transports.wire import DROP, HOST, SILENCE, ScriptedSmtp, Sender, sender, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

SHORT_S = 0.2
"""A timeout in tests that wait for it."""
RECIPIENTS = ("a@x.example", "b@x.example", "c@x.example")


# ------------------------------------------------------------------------------ our mock


def mock_of(tls: TlsMode, *mechanisms: str) -> Iterator[Ready]:
    with running_mock(MockSpec("smtp", tls=tls, auth_mechanisms=mechanisms)) as ready:
        yield ready


@pytest.fixture(scope="module")
def starttls() -> Iterator[Ready]:
    yield from mock_of(TlsMode.STARTTLS, "PLAIN", "LOGIN")


@pytest.fixture(scope="module")
def login_only() -> Iterator[Ready]:
    yield from mock_of(TlsMode.STARTTLS, "LOGIN")


@pytest.fixture(scope="module")
def implicit() -> Iterator[Ready]:
    yield from mock_of(TlsMode.IMPLICIT, "PLAIN")


@pytest.fixture(scope="module")
def plain() -> Iterator[Ready]:
    yield from mock_of(TlsMode.NONE)


def sender_to(
    ready: Ready, tls: TlsMode, *, keep: bool = True, server_name: str = "localhost", password: str = ""
) -> AbstractAsyncContextManager[Sender]:
    assert ready.smtp is not None
    auth = ready.credentials.smtp
    if auth is not None and password:
        auth = replace(auth, password=Secret(password))
    return sender(
        ready.smtp[1],
        tls=tls,
        ca_file=ready.ca_file,
        auth=auth,
        keep=keep,
        server_name=server_name,
    )


@pytest.mark.parametrize(
    ("mock", "tls", "trips", "phases"),
    [
        ("starttls", TlsMode.STARTTLS, 11, "dns tcp banner ehlo starttls auth mail rcpt data"),
        ("login_only", TlsMode.STARTTLS, 12, "dns tcp banner ehlo starttls auth mail rcpt data"),
        ("implicit", TlsMode.IMPLICIT, 9, "dns tcp banner ehlo auth mail rcpt data"),
        ("plain", TlsMode.NONE, 7, "dns tcp banner ehlo mail rcpt data"),
    ],
)
async def test_round_trips_are_exact(
    mock: str, tls: TlsMode, trips: int, phases: str, request: pytest.FixtureRequest
) -> None:
    async with sender_to(request.getfixturevalue(mock), tls) as line:
        first, second = await line.send(), await line.send()
    for sent in (first, second):
        assert (sent.answer.outcome, sent.answer.code) == (Outcome.ACCEPTED, 250)
        assert sent.span.bytes_sent == len(line.payload)
        assert sent.answer.notes is None
        assert sent.session.tls_version == (None if tls is TlsMode.NONE else "TLSv1.3")
    assert (first.span.round_trips, second.span.round_trips) == (trips, 4)
    assert list(first.span.phases) == phases.split()
    assert list(second.span.phases) == ["mail", "rcpt", "data"]
    assert (first.connection_id, first.use, second.connection_id, second.use) == (1, 1, 1, 2)
    assert first.span.address == HOST
    assert (second.span.address, second.span.local_port) == (None, None)


async def test_without_keep_a_quit_is_answered_and_the_next_connection_is_a_new_one(plain: Ready) -> None:
    async with sender_to(plain, TlsMode.NONE, keep=False) as line:
        first, second = await line.send(), await line.send()
    assert (first.span.round_trips, second.span.round_trips) == (7, 7)
    assert first.release.quit
    assert second.connection_id == 2


@pytest.mark.parametrize(("mock", "trips"), [("starttls", 7), ("login_only", 8)])
async def test_a_wrong_password_is_an_answer_to_each_step(
    mock: str, trips: int, request: pytest.FixtureRequest
) -> None:
    async with sender_to(request.getfixturevalue(mock), TlsMode.STARTTLS, password="wrong") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error, sent.answer.code) == (Outcome.FAILED, "auth", 535)
    assert sent.span.round_trips == trips
    assert sent.span.bytes_sent == 0


@pytest.mark.parametrize(("mock", "tls"), [("starttls", TlsMode.STARTTLS), ("implicit", TlsMode.IMPLICIT)])
async def test_a_certificate_for_another_host_is_refused(
    mock: str, tls: TlsMode, request: pytest.FixtureRequest
) -> None:
    async with sender_to(request.getfixturevalue(mock), tls, server_name="mail.example") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "tls_verify")
    assert sent.answer.notes is not None
    assert "mail.example" in str(sent.answer.notes["reason"])


async def test_no_starttls_ends_it_before_anything_is_said() -> None:
    async with serving(ScriptedSmtp({})) as server, sender(server.port, tls=TlsMode.STARTTLS) as line:
        sent = await line.send()
        assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "tls_missing")
        assert server.seen == ["EHLO"]


# ---------------------------------------------------------------------------- refusals


async def test_some_recipients_refused() -> None:
    script = ScriptedSmtp({"RCPT": ("250 fine", "550 5.1.1 nobody", "252 perhaps")})
    async with serving(script), sender(script.port, recipients=RECIPIENTS) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.recipients_accepted) == (Outcome.ACCEPTED, 2)
    assert sent.answer.notes == {"replies": [(250, "fine"), (550, "5.1.1 nobody"), (252, "perhaps")]}
    assert sent.span.round_trips == 9


async def test_all_recipients_refused_then_the_connection_proves_itself() -> None:
    script = ScriptedSmtp({"RCPT": ("550 5.1.1 nobody", "450 4.2.1 later", "250 ok")})
    async with serving(script), sender(script.port, recipients=RECIPIENTS[:2]) as line:
        refused, taken = await line.send(), await line.send()
    assert (refused.answer.outcome, refused.answer.code) == (Outcome.REJECTED_TEMP, 450)
    assert refused.answer.enhanced_code == "4.2.1"
    assert refused.answer.notes == {"replies": [(550, "5.1.1 nobody"), (450, "4.2.1 later")]}
    assert refused.span.round_trips == 6
    assert (refused.release.rset, refused.release.quit) == (True, False)
    assert (taken.answer.outcome, taken.use, taken.span.round_trips) == (Outcome.ACCEPTED, 2, 5)
    assert not taken.release.rset
    assert script.connections == 1
    assert script.seen == [
        "EHLO",
        "MAIL",
        "RCPT",
        "RCPT",
        "RSET",
        "MAIL",
        "RCPT",
        "RCPT",
        "DATA",
        "body",
        "QUIT",
    ]


@pytest.mark.parametrize("answer", ["451 no", "250", "x"])
async def test_a_reset_that_is_refused_ends_the_connection(answer: str) -> None:
    script = ScriptedSmtp({"MAIL": ("451 4.3.0 busy", "250 ok"), "RSET": (answer,)})
    async with serving(script), sender(script.port) as line:
        refused, taken = await line.send(), await line.send()
    kept = answer == "250"
    assert refused.release.rset
    assert (taken.answer.outcome, taken.use) == (Outcome.ACCEPTED, 2 if kept else 1)
    assert script.connections == (1 if kept else 2)


@pytest.mark.parametrize(
    ("verb", "reply", "outcome", "error", "trips"),
    [
        ("banner", "554 no", Outcome.FAILED, "refused", 2),
        ("EHLO", "550 no", Outcome.FAILED, "refused", 3),
        ("MAIL", "451 4.3.0 busy", Outcome.REJECTED_TEMP, "rejected", 4),
        ("MAIL", "552 too big", Outcome.REJECTED_PERM, "rejected", 4),
        ("MAIL", "530 5.7.0 authenticate", Outcome.FAILED, "auth_missing", 4),
        ("MAIL", "299 what", Outcome.FAILED, "protocol", 4),
        ("MAIL", "x", Outcome.FAILED, "protocol", 4),
        ("RCPT", "354 what", Outcome.FAILED, "protocol", 5),
        ("DATA", "554 no", Outcome.REJECTED_PERM, "rejected", None),
        ("DATA", "250 what", Outcome.FAILED, "protocol", 6),
        ("body", "554 5.6.0 spam", Outcome.REJECTED_PERM, "rejected", None),
        ("body", "451 later", Outcome.REJECTED_TEMP, "rejected", None),
        ("body", "354 again", Outcome.UNKNOWN, "protocol", None),
    ],
)
async def test_a_refusal(verb: str, reply: str, outcome: Outcome, error: str, trips: int | None) -> None:
    async with serving(ScriptedSmtp({verb: (reply,)})) as server, sender(server.port) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (outcome, error)
    assert sent.span.round_trips == trips
    assert sent.span.bytes_sent == (None if trips is None else 0)
    assert (sent.answer.anomaly is not None) == (error == "protocol")


async def test_a_long_answer_is_kept_until_it_can_be_masked() -> None:
    async with serving(ScriptedSmtp({"MAIL": ("550 " + "x" * 6000,)})) as server, sender(server.port) as line:
        sent = await line.send()
    assert sent.answer.reply is not None
    assert len(sent.answer.reply) == 4096


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "body"])
async def test_after_421_the_next_message_has_a_connection_of_its_own(verb: str) -> None:
    script = ScriptedSmtp({verb: ("250 ok", "421 4.3.2 closing", "250 ok")})
    async with serving(script), sender(script.port) as line:
        sent = [await line.send() for _ in range(3)]
    assert [each.answer.outcome for each in sent] == [
        Outcome.ACCEPTED, Outcome.REJECTED_TEMP, Outcome.ACCEPTED,
    ]  # fmt: skip
    assert [(each.connection_id, each.use) for each in sent] == [(1, 1), (1, 2), (2, 1)]
    assert "RSET" not in script.seen


# -------------------------------------------------------------- connections that end


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        ("banner", Outcome.FAILED),
        ("EHLO", Outcome.FAILED),
        ("MAIL", Outcome.FAILED),
        ("RCPT", Outcome.FAILED),
        ("DATA", Outcome.UNKNOWN),  # the library does not tell it from the next
        ("body", Outcome.UNKNOWN),
    ],
)
async def test_a_drop_or_a_stall_is_unknown_only_past_the_point_of_no_return(
    verb: str, outcome: Outcome
) -> None:
    for act, error in ((DROP, "disconnected"), (SILENCE, "timeout")):
        script = ScriptedSmtp({verb: (act, "250 ok" if verb != "banner" else "220 ok")})
        async with serving(script), sender(script.port, timeout_s=SHORT_S) as line:
            sent = await line.send()
            assert (sent.answer.outcome, sent.answer.error) == (outcome, error)
            assert sent.span.phase == ("data" if verb == "body" else verb.lower())
            if verb != "DATA":
                line.timeout_s = 5
                again = await line.send()
                assert (again.answer.outcome, again.connection_id) == (Outcome.ACCEPTED, 2)


@pytest.mark.parametrize(("answer", "answered"), [("250 what", True), ("x", True), (DROP, None)])
async def test_a_quit_answered_badly_leaves_no_descriptor_open(answer: str, answered: bool | None) -> None:
    async with serving(ScriptedSmtp({"QUIT": (answer,)})) as server, sender(server.port, keep=False) as line:
        sent = await line.send()
        assert sent.answer.outcome is Outcome.ACCEPTED
        assert answered is None or sent.release.quit is answered
        assert not sent.session.alive


# ---------------------------------------------------------------------- several addresses


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name has two addresses; nothing listens on the first."""
    import asyncio

    def running_loop() -> Any:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(_host: str, port: int, **_options: object) -> list[Any]:
            found = [("127.0.0.2", port), (HOST, port), ("127.0.0.2", port)]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

        return SimpleNamespace(getaddrinfo=getaddrinfo, sock_connect=loop.sock_connect)

    monkeypatch.setattr("bench.transports.connect.asyncio", SimpleNamespace(get_running_loop=running_loop))


@pytest.mark.usefixtures("two_addresses")
async def test_the_next_address_is_tried() -> None:
    async with serving(ScriptedSmtp({})) as server, sender(server.port, host="localhost") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.span.address, sent.span.round_trips) == (Outcome.ACCEPTED, HOST, 7)


@pytest.mark.usefixtures("two_addresses")
async def test_when_all_addresses_fail_each_is_told() -> None:
    async with serving(ScriptedSmtp({})) as server:
        port = server.port
    async with sender(port, host="localhost") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "connect")
    assert sent.answer.errno == errno.ECONNREFUSED
    assert sent.answer.notes == {"addresses": [("127.0.0.2", errno.ECONNREFUSED), (HOST, errno.ECONNREFUSED)]}
    assert (sent.span.phase, sent.span.round_trips, sent.span.address) == ("tcp", 0, None)


async def test_a_server_on_one_address_of_localhost_is_found() -> None:
    async with serving(ScriptedSmtp({})) as server, sender(server.port, host="localhost") as line:
        with anyio.fail_after(5):
            assert (await line.send()).answer.outcome is Outcome.ACCEPTED
