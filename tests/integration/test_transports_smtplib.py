"""smtplib as we drive it, where it differs from what every client does (see the session contract)."""

from __future__ import annotations

import errno
import socket
import threading

import pytest

from bench.model import Auth, Outcome, Secret, TlsMode
from tests.transports.wire import DROP, SILENCE, ScriptedSmtp, sender, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

OFFERS_PLAIN = "250-here\r\n250 AUTH PLAIN"
OFFERS_LOGIN = "250-here\r\n250 AUTH LOGIN"
AUTH = Auth(Secret("me"), Secret("password"))


@pytest.mark.parametrize(("act", "error"), [(DROP, "disconnected"), (SILENCE, "timeout")])
@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        ("banner", Outcome.FAILED),
        ("EHLO", Outcome.FAILED),
        ("MAIL", Outcome.FAILED),
        ("RCPT", Outcome.FAILED),
        ("DATA", Outcome.FAILED),  # no 354: nothing of the message has been said
        ("body", Outcome.UNKNOWN),
    ],
)
async def test_an_end_without_an_answer(verb: str, outcome: Outcome, act: str, error: str) -> None:
    script = ScriptedSmtp({verb: (act,)})
    async with serving(script), sender(script.port, client="smtplib", timeout_s=0.1) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (outcome, error)
    assert sent.span.phase == ("data" if verb == "body" else verb.lower())
    assert sent.span.bytes_sent == (None if verb == "body" else 0)


@pytest.mark.parametrize(
    ("answers", "phase", "anomaly", "outcome"),
    [
        ({"body": ("250 " + "x" * 9000,)}, "data", "too_long", Outcome.UNKNOWN),
        ({"MAIL": ("550 " + "x" * 9000,)}, "mail", "too_long", Outcome.FAILED),
        ({"EHLO": (OFFERS_PLAIN,), "AUTH": ("250 what",)}, "auth", "bad_code", Outcome.FAILED),
        ({"EHLO": (OFFERS_LOGIN,), "AUTH": ("334 a",)}, "auth", "malformed", Outcome.FAILED),
    ],
)
async def test_what_is_no_answer(
    answers: dict[str, tuple[str, ...]], phase: str, anomaly: str, outcome: Outcome
) -> None:
    script = ScriptedSmtp(answers)
    auth = AUTH if "AUTH" in answers else None
    async with serving(script), sender(script.port, client="smtplib", auth=auth) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error, sent.answer.anomaly) == (outcome, "protocol", anomaly)
    assert sent.span.phase == phase


async def test_challenges_without_end() -> None:
    class Endless(ScriptedSmtp):
        def answer(self, verb: str) -> str:
            return OFFERS_LOGIN if verb == "EHLO" else "220 here" if verb == "banner" else "334 YWdhaW4="

    script = Endless({})
    async with serving(script), sender(script.port, client="smtplib", auth=AUTH) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "protocol")
    assert "password" not in repr(sent.answer)


@pytest.mark.parametrize(
    ("answers", "tls", "auth", "error"),
    [
        ({}, TlsMode.STARTTLS, None, "tls_missing"),
        ({"EHLO": ("250-here\r\n250 STARTTLS",), "STARTTLS": ("454 no",)}, TlsMode.STARTTLS, None, "refused"),
        ({"EHLO": ("250-here\r\n250 AUTH CRAM-MD5",)}, TlsMode.NONE, AUTH, "auth_missing"),
        ({"EHLO": ("500 no",)}, TlsMode.NONE, None, "refused"),
    ],
)
async def test_nothing_is_said_where_the_server_lacks_what_was_asked_for(
    answers: dict[str, tuple[str, ...]], tls: TlsMode, auth: Auth | None, error: str
) -> None:
    script = ScriptedSmtp(answers)
    async with serving(script), sender(script.port, client="smtplib", tls=tls, auth=auth) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, error)
    assert set(script.seen) <= {"EHLO", "STARTTLS"}


async def test_each_connection_has_one_thread_for_all_its_messages() -> None:
    script = ScriptedSmtp({})
    async with serving(script), sender(script.port, client="smtplib") as line:
        for _ in range(3):
            await line.send()
        mine = [each for each in threading.enumerate() if each.name.startswith("smtplib-")]
        assert len(mine) == 1
    mine[0].join(1)
    assert not mine[0].is_alive()


async def test_no_second_descriptor_is_a_failure_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_sock: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket.socket, "dup", none_left)
    script = ScriptedSmtp({})
    async with serving(script), sender(script.port, client="smtplib") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "local")
    assert sent.answer.errno == errno.EMFILE


async def test_leaving_and_proving_are_no_part_of_the_message() -> None:
    script = ScriptedSmtp({"MAIL": ("451 no", "250 ok")})
    async with serving(script), sender(script.port, client="smtplib") as line:
        refused, taken = await line.send(), await line.send()
        session = await line.pool.acquire()
        assert await session.close()
        assert (refused.span.round_trips, taken.span.round_trips) == (4, 4)
        assert not session.alive
        await line.pool.release(session, clean=False, refused=False)
    assert script.seen[-1] == "QUIT"


async def test_an_address_it_cannot_write_is_local() -> None:
    script = ScriptedSmtp({})
    async with serving(script), sender(script.port, client="smtplib", recipients=("ü@x.example",)) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "local")
    assert "RCPT" not in script.seen
