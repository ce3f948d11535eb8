"""STARTTLS and AUTH against servers that people run, pooled and unpooled, with every client there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.model import CaseSummary, Transport
from bench.scenario import known
from tests.servers.place import DOMAIN, REFUSED, MailServer
from tests.servers.runs import EML, MESSAGES, Ran, check_arrived, run, sent_keys

CLIENTS = known.CLIENTS[Transport.SMTP]
OWN = "wire"
"""The client that uses what saves round trips."""
HANDSHAKE_TRIPS = 7
"""Connect, banner, EHLO, STARTTLS, TLS 1.3, EHLO, AUTH PLAIN."""
SCENARIO = """\
version: 1
name: real-server
target: {server.url}
tls: {{mode: starttls, ca: ca.pem}}
auth: {{user: "${{env:BENCH_USER}}", password: "${{env:BENCH_PASSWORD}}"}}
client: {client}
message: {{file: message.eml{recipients}}}
load: {{model: closed, concurrency: {concurrency}, messages: {messages}}}
matrix:
  connection: [pooled, unpooled]
{options}"""
OPTIONS = "  smtp.pipelining: [auto, 'off']\n  smtp.chunking: [auto, 'off']\n"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run_against(
    server: MailServer,
    client: str,
    folder: Path,
    *,
    options: str = "",
    concurrency: int = 4,
    messages: int = MESSAGES,
    password: str | None = None,
    recipients: tuple[str, ...] = (),
) -> Ran:
    text = SCENARIO.format(
        server=server, client=client, options=options, concurrency=concurrency, messages=messages,
        recipients=", recipients: recipients.txt" if recipients else "",
    )  # fmt: skip
    files = {
        "ca.pem": server.place.ca_file.read_bytes(),
        "message.eml": EML,
        "recipients.txt": "".join(f"{address}\n" for address in recipients).encode(),
    }
    return run(text, folder, files=files, **({} if password is None else {"password": password}))


def expected_trips(case: CaseSummary, client: str, offered: frozenset[str]) -> int:
    """How often a message has to wait, by what the server offers and the case allows."""
    allowed = {name for name in offered if client == OWN and case.labels.get(f"smtp.{name}") != "off"}
    envelope = {
        (False, False): 4,  # MAIL, RCPT, DATA, body
        (False, True): 3,  # MAIL, RCPT, BDAT
        (True, False): 2,  # MAIL + RCPT + DATA, body
        (True, True): 1,  # all at once
    }["pipelining" in allowed, "chunking" in allowed]
    return envelope + (HANDSHAKE_TRIPS if case.labels["connection"] == "unpooled" else 0)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_message_arrives_once_and_unchanged(
    server: MailServer, client: str, tmp_path: Path, findings: list[str]
) -> None:
    ran = run_against(server, client, tmp_path, options=OPTIONS if client == OWN else "")
    assert ran.code == 0, f"{ran.printed}\n{server.place.said()}"
    cases = ran.found.summary.cases
    assert len(cases) == (8 if client == OWN else 2)
    assert [case.counts.accepted for case in cases] == [MESSAGES] * len(cases)
    check_arrived(server.take_all(MESSAGES * len(cases)), sent_keys(ran.found))
    offered = server.extensions()
    for case in cases:
        findings.append(row(server, client, case))
        assert case.round_trips.p50 == expected_trips(case, client, offered), case.id
        connections = ran.found.rows(case.id)["connection_id"].nunique()
        assert connections == (4 if case.labels["connection"] == "pooled" else MESSAGES), case.id
        assert set(ran.found.rows(case.id)["tls_version"]) == {"TLSv1.3"}, case.id


def row(server: MailServer, client: str, case: CaseSummary) -> str:
    """A line of the table in the report."""
    assert case.service is not None
    assert case.service.p50 is not None
    names = ("smtp.pipelining", "smtp.chunking")
    options = ", ".join(f"{name[5:]} {case.labels[name]}" for name in names if name in case.labels)
    values = (
        server.name, client, case.labels["connection"], options or "-", str(case.counts.accepted),
        str(case.round_trips.p50), f"{case.service.p50.value_ms:.2f} ms",
    )  # fmt: skip
    return f"| {' | '.join(values)} |"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_password_voids_the_run_before_any_message(
    server: MailServer, client: str, tmp_path: Path
) -> None:
    ran = run_against(server, client, tmp_path, messages=20, password="not-the-password")
    assert ran.code == 3, ran.printed
    assert "not-the-password" not in ran.printed
    assert set(ran.found.frame["error"]) == {"auth"}
    assert sent_keys(ran.found) == []
    assert server.arrived() == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_recipient_costs_only_its_own_message(
    server: MailServer, client: str, tmp_path: Path
) -> None:
    turns = (f"one@{DOMAIN}", REFUSED, f"two@{DOMAIN}", f"three@{DOMAIN}")
    ran = run_against(server, client, tmp_path, concurrency=1, messages=40, recipients=turns)
    assert {case.counts.accepted for case in ran.found.summary.cases} == {30}
    assert {case.counts.rejected for case in ran.found.summary.cases} == {10}
    refused = ran.found.frame[ran.found.frame["outcome"] != "accepted"]
    assert set(refused["outcome"]) == {"rejected_perm"}
    assert set(refused["code"]) <= {550, 554}
    check_arrived(server.take_all(60), sent_keys(ran.found))
    (pooled,) = [case for case in ran.found.summary.cases if case.labels["connection"] == "pooled"]
    rows = ran.found.rows(pooled.id)
    assert rows["connection_id"].nunique() == 1  # RSET, and on with the next one
