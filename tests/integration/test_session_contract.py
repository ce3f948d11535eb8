"""What every client owes us, ours and everybody else's: one set of tests over real sockets."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest

from bench.clock import RunClock
from bench.mock.spec import MockSpec, Ready
from bench.model import PHASES, Message, Outcome, TlsMode, Transport
from bench.scenario.known import CLIENTS
from bench.transports import Session, Span
from tests.integration.clients import OK, RECIPIENTS, Client, Script, nothing_left
from tests.mock.running import running_mock
from tests.transports.wire import (
    DROP,
    HOST,
    SILENCE,
    ScriptedSmtp,
    Sender,
    Sent,
    serving,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

LIMIT_S = 0.2
"""A timeout in tests that wait for it."""
LATE_S = 0.05
"""How much later than its timeout an attempt may end."""
MANY = 50
"""Messages at once; a pool of threads that several share would have 40 or fewer."""


def _clients(transport: Transport) -> list[Client]:
    return [Client(transport, name) for name in CLIENTS[transport]]


def _name(client: Client) -> str:
    return f"{client.transport}-{client.name}"


every_client = pytest.mark.parametrize(
    "client", _clients(Transport.SMTP) + _clients(Transport.API), ids=_name, indirect=True
)
every_smtp_client = pytest.mark.parametrize("client", _clients(Transport.SMTP), ids=_name, indirect=True)


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """The client a test is about, if it can be had here: one of them comes with an extra."""
    found: Client = request.param
    if found.name == "httpx2" and importlib.util.find_spec("httpx2") is None:
        pytest.skip("httpx2 is not installed")
    return found


@pytest.fixture(scope="module")
def smtp_mock() -> Iterator[Ready]:
    with running_mock(MockSpec("smtp", tls=TlsMode.STARTTLS, auth_mechanisms=("PLAIN",))) as ready:
        yield ready


@pytest.fixture(scope="module")
def api_mock() -> Iterator[Ready]:
    with running_mock(MockSpec("api", tls=TlsMode.IMPLICIT)) as ready:
        yield ready


@pytest.fixture
def mock(client: Client, request: pytest.FixtureRequest) -> Ready:
    ready: Ready = request.getfixturevalue("smtp_mock" if client.over_smtp else "api_mock")
    return ready


# ----------------------------------------------------------------------------- accepted


@every_client
async def test_an_accepted_message_leaves_a_whole_record(client: Client, mock: Ready) -> None:
    async with nothing_left(), client.line_to(mock) as line:
        first, second = await line.send(), await line.send()
    for sent in (first, second):
        answer, span = sent.answer, sent.span
        assert (answer.outcome, answer.error, answer.anomaly) == (Outcome.ACCEPTED, None, None)
        assert answer.code == (250 if client.over_smtp else 202)
        assert (answer.recipients_accepted, span.bytes_sent) == (1, len(line.payload))
        assert sent.session.tls_version == "TLSv1.3"
        assert sent.session.http_version == (None if client.over_smtp else "1.1")
        assert span.handed_over
        assert set(span.phases) <= set(PHASES)
    assert (first.span.round_trips, second.span.round_trips) == ((11, 4) if client.over_smtp else (3, 1))
    assert "dns" in first.span.phases
    assert "dns" not in second.span.phases
    assert (first.connection_id, first.use, second.connection_id, second.use) == (1, 1, 1, 2)
    assert (first.span.address, second.span.address) == (HOST, None)
    assert first.span.local_port is not None
    assert second.span.local_port is None


@every_client
async def test_without_keep_leave_is_taken_and_each_message_has_its_connection(
    client: Client, mock: Ready
) -> None:
    async with nothing_left(), client.line_to(mock, keep=False) as line:
        sent = [await line.send() for _ in range(3)]
        assert not any(each.session.alive for each in sent)
    assert [each.connection_id for each in sent] == [1, 2, 3]
    assert {each.answer.outcome for each in sent} == {Outcome.ACCEPTED}
    assert {each.span.round_trips for each in sent} == {11 if client.over_smtp else 3}
    assert {each.release.quit for each in sent} == {client.over_smtp}


@every_smtp_client
async def test_a_body_arrives_as_it_is(client: Client, mock: Ready) -> None:
    """Lines that begin with a dot are the protocol's affair, and no part of the message is lost."""
    received: list[bytes] = []

    class Reading(ScriptedSmtp):
        async def read_body(self, reader: asyncio.StreamReader) -> None:
            received.append(await reader.readuntil(b"\r\n.\r\n"))

    script = Reading({})
    async with serving(script), client.line(script.port) as line:
        line.payload = b"Subject: x\r\n\r\n.\r\n..a\r\n" + b"b" * 50_000 + b"\r\n.c\r\n"
        sent = await line.send()
    assert sent.answer.outcome is Outcome.ACCEPTED
    [body] = received
    assert body == line.payload.replace(b"\r\n.", b"\r\n..") + b".\r\n"


# ----------------------------------------------------------------------------- refused


@every_smtp_client
async def test_a_connection_proves_itself_after_a_refusal(client: Client) -> None:
    script = client.script(RCPT=("550 5.1.1 nobody", "450 4.2.1 later", "250 ok"))
    async with nothing_left(), serving(script), client.line(script.port, recipients=RECIPIENTS) as line:
        refused, taken = await line.send(), await line.send()
    assert (refused.answer.outcome, refused.answer.code) == (Outcome.REJECTED_TEMP, 450)
    assert (refused.answer.enhanced_code, refused.answer.error) == ("4.2.1", "rejected")
    assert (refused.span.round_trips, refused.span.bytes_sent) == (6, 0)
    assert not refused.span.handed_over
    assert (refused.release.rset, refused.release.quit) == (True, False)
    assert (taken.answer.outcome, taken.connection_id, taken.use) == (Outcome.ACCEPTED, 1, 2)
    assert taken.span.round_trips == 5
    assert script.seen[:8] == ["EHLO", "MAIL", "RCPT", "RCPT", "RSET", "MAIL", "RCPT", "RCPT"]


@every_smtp_client
@pytest.mark.parametrize("answer", ["451 no", "x", SILENCE])
async def test_a_connection_that_proves_nothing_is_given_up(
    client: Client, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.transports.pool.ERRAND_LIMIT_S", LIMIT_S)
    monkeypatch.setattr("bench.transports.wire_smtp.ERRAND_LIMIT_S", LIMIT_S)
    script = client.script(MAIL=("451 busy", "250 ok"), RSET=(answer,))
    async with nothing_left(), serving(script), client.line(script.port) as line:
        refused, taken = await line.send(), await line.send()
    assert refused.answer.outcome is Outcome.REJECTED_TEMP
    assert refused.span.round_trips == 4
    assert (taken.answer.outcome, taken.connection_id) == (Outcome.ACCEPTED, 2)


@every_smtp_client
async def test_some_recipients_refused(client: Client) -> None:
    script = client.script(RCPT=("250 fine", "550 5.1.1 nobody"))
    async with nothing_left(), serving(script), client.line(script.port, recipients=RECIPIENTS) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.recipients_accepted) == (Outcome.ACCEPTED, 1)
    assert sent.answer.notes is not None
    assert "nobody" in str(sent.answer.notes["replies"])


@every_smtp_client
@pytest.mark.parametrize(
    ("verb", "reply", "outcome", "error"),
    [
        ("banner", "554 no", Outcome.FAILED, "refused"),
        ("MAIL", "552 too big", Outcome.REJECTED_PERM, "rejected"),
        ("MAIL", "530 5.7.0 authenticate", Outcome.FAILED, "auth_missing"),
        ("MAIL", "x", Outcome.FAILED, "protocol"),
        ("DATA", "554 no", Outcome.REJECTED_PERM, "rejected"),
        ("body", "554 5.6.0 spam", Outcome.REJECTED_PERM, "rejected"),
        ("body", "451 later", Outcome.REJECTED_TEMP, "rejected"),
        ("body", "354 again", Outcome.UNKNOWN, "protocol"),
    ],
)
async def test_a_refusal(client: Client, verb: str, reply: str, outcome: Outcome, error: str) -> None:
    script = client.script(**{verb: (reply,)})
    async with nothing_left(), serving(script), client.line(script.port) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (outcome, error)


@every_client
async def test_wrong_credentials_are_told_and_kept_to_ourselves(client: Client, mock: Ready) -> None:
    wrong = "SG.wrong-and-long-enough"
    async with nothing_left(), client.line_to(mock, password=wrong) as line:
        sent = await line.send()
        auth = line.endpoint.auth
    if client.over_smtp:
        assert (sent.answer.outcome, sent.answer.code) == (Outcome.FAILED, 535)
    else:
        assert (sent.answer.outcome, sent.answer.code) == (Outcome.REJECTED_PERM, 401)
    assert sent.answer.error == "auth"
    assert auth is not None
    user = auth.user.reveal() if auth.user else ""
    for form in (
        wrong,
        b64encode(wrong.encode()).decode(),
        b64encode(f"\0{user}\0{wrong}".encode()).decode(),
    ):
        assert form not in repr(sent.answer)


@every_client
async def test_a_secret_that_cannot_be_written_is_not_told(client: Client, mock: Ready) -> None:
    async with nothing_left(), client.line_to(mock, password="passwörd-of-mine") as line:
        sent = await line.send()
    assert sent.answer.outcome is Outcome.FAILED
    assert sent.answer.error in ("auth", "local")
    for part in ("passw", "of-mine", "ö", "xf6"):
        assert part not in repr(sent.answer)


# ------------------------------------------------------------------- no connection at all


@every_client
async def test_a_refused_connection(client: Client, free_port: int) -> None:
    async with nothing_left(), client.line(free_port) as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "connect")
    assert sent.answer.errno == errno.ECONNREFUSED
    assert (sent.span.phase, sent.span.round_trips, sent.span.local_port) == ("tcp", 0, None)


@every_client
async def test_a_certificate_for_another_host(client: Client, mock: Ready) -> None:
    async with nothing_left(), client.line_to(mock, server_name="mail.example") as line:
        sent = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "tls_verify")
    assert sent.span.bytes_sent == 0
    assert "mail.example" in str(sent.answer.notes)


# --------------------------------------------------------------- connections that end


@every_client
async def test_a_connection_closed_while_idle_harms_no_message(client: Client) -> None:
    closing = "250 taken (close)" if client.over_smtp else OK.replace("Content", "X-Note: (close)\r\nContent")
    script = client.script(**{client.last: (closing, client.taken)}, close=("politely",))
    async with nothing_left(), serving(script), client.line(script.port) as line:
        first = await line.send()
        await anyio.sleep(0.05)  # the server's FIN arrives
        second = await line.send()
    assert {first.answer.outcome, second.answer.outcome} == {Outcome.ACCEPTED}
    assert (second.connection_id, second.use, script.connections) == (2, 1, 2)
    assert second.span.local_port is not None


@every_client
async def test_a_connection_that_breaks_at_the_answer_leaves_the_message_unknown(client: Client) -> None:
    script = client.script(**{client.last: (DROP, client.taken)})
    async with nothing_left(), serving(script), client.line(script.port) as line:
        first, second = await line.send(), await line.send()
    assert (first.answer.outcome, first.answer.error) == (Outcome.UNKNOWN, "disconnected")
    assert (second.answer.outcome, second.connection_id) == (Outcome.ACCEPTED, 2)


async def timed_out(line: Sender) -> Sent:
    """A message that ends by its timeout: not before, and not much later in the best of three."""
    late_s = []
    for _ in range(3):
        sent = await line.send()
        assert sent.span.start_ns is not None
        assert sent.span.end_ns is not None
        late_s.append((sent.span.end_ns - sent.span.start_ns) / 1e9 - line.timeout_s)
        assert late_s[-1] > -0.001
        if late_s[-1] < LATE_S:
            return sent
    raise AssertionError(f"late by {late_s} s")


@every_client
async def test_a_timeout_before_anything_was_handed_over(client: Client) -> None:
    mute = ScriptedSmtp({"banner": (SILENCE,)})
    tls = TlsMode.IMPLICIT
    async with nothing_left(), serving(mute), client.line(mute.port, tls=tls, timeout_s=LIMIT_S) as line:
        sent = await timed_out(line)
        assert not sent.session.alive
        assert (await line.pool.acquire()).connection_id > sent.connection_id
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.FAILED, "timeout")
    assert not sent.span.handed_over


@every_client
async def test_a_timeout_after_the_message_was_handed_over(client: Client) -> None:
    script = client.script(**{client.last: (SILENCE,)})
    async with nothing_left(), serving(script), client.line(script.port, timeout_s=LIMIT_S) as line:
        sent = await timed_out(line)
        assert not sent.session.alive
        script.answers = client.script().answers
        again = await line.send()
    assert (sent.answer.outcome, sent.answer.error) == (Outcome.UNKNOWN, "timeout")
    assert (again.answer.outcome, again.use) == (Outcome.ACCEPTED, 1)
    assert again.connection_id > sent.connection_id


# -------------------------------------------------------------------------- cancellation


async def wait_for(script: Script, step: str, times: int = 1) -> None:
    while script.asked.get(step, 0) < times:  # noqa: ASYNC110  # nothing tells
        await anyio.sleep(0.001)


async def cancelled_at(line: Sender, reached: Callable[[], Awaitable[None]]) -> Span:
    """Send, cancel the sending once that is so, and give the session back as the engine does."""
    session, span = await line.pool.acquire(), Span(RunClock())
    message = Message(0, "run-0", "s@x.example", RECIPIENTS[:1], line.payload)
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await reached()
            tasks.cancel_scope.cancel()

        tasks.start_soon(cancel)
        await session.send(message, span, 5 * 10**9)
    assert tasks.cancel_scope.cancelled_caught
    await line.pool.release(session, clean=False, refused=False)
    assert not session.alive
    return span


@every_client
@pytest.mark.parametrize("step", ["tls", "first", "last"])
async def test_a_cancelled_message_leaves_nothing_behind(client: Client, step: str) -> None:
    first = "MAIL" if client.over_smtp else "http"
    verb = {"tls": "banner", "first": first, "last": client.last}[step]
    script = ScriptedSmtp({verb: (SILENCE,)}) if step == "tls" else client.script(**{verb: (SILENCE,)})
    tls = TlsMode.IMPLICIT if step == "tls" else TlsMode.NONE
    async with nothing_left(), serving(script), client.line(script.port, tls=tls) as line:
        with anyio.fail_after(2):
            span = await cancelled_at(line, lambda: wait_for(script, verb))
    assert span.start_ns is not None
    assert span.end_ns is not None
    assert sum(span.phases.values()) == span.end_ns - span.start_ns
    assert span.handed_over is (verb in ("body", "http"))


@every_client
async def test_after_a_cancelled_message_the_next_has_a_connection_of_its_own(client: Client) -> None:
    script = client.script(**{client.last: (client.taken, SILENCE, client.taken)})
    async with nothing_left(), serving(script), client.line(script.port) as line:
        before = await line.send()
        await cancelled_at(line, lambda: wait_for(script, client.last, 2))
        after = await line.send()
    assert {before.answer.outcome, after.answer.outcome} == {Outcome.ACCEPTED}
    assert (before.connection_id, after.connection_id, after.use) == (1, 2, 1)


@every_client
async def test_many_messages_are_under_way_at_once(client: Client) -> None:
    """No limit of a library's own stands in the way, and all of it ends when told to."""
    script = client.script(**{client.last: (SILENCE,)})
    async with nothing_left(), serving(script), client.line(script.port) as line:
        with anyio.fail_after(10):
            await _many_at_once(line, lambda: wait_for(script, client.last, MANY))
    assert script.connections == MANY


async def _many_at_once(line: Sender, reached: Callable[[], Awaitable[None]]) -> None:
    message = Message(0, "run-0", "s@x.example", RECIPIENTS[:1], line.payload)

    async def one(session: Session) -> None:
        try:
            await session.send(message, Span(RunClock()), 5 * 10**9)
        finally:
            with anyio.CancelScope(shield=True):
                await session.abort()

    async with anyio.create_task_group() as tasks:
        for _ in range(MANY):
            tasks.start_soon(one, line.make())
        await reached()
        tasks.cancel_scope.cancel()
