"""Whole runs against servers nobody here wrote: Postfix's smtp-sink and nginx."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.scenario import find_scenario
from tests.integration.peers import Nginx, SmtpSink
from tests.runs import Finished, run_file, run_text


def run_generic(target: str, folder: Path, *overrides: str) -> Finished:
    """The shipped `generic` scenario, as a person would point it at a server."""
    return run_file(
        find_scenario("generic"),
        folder,
        overrides=[f"target={target}", "load.messages=40", "load.warmup=4", *overrides],
    )


def keys_of(found: Finished) -> set[str]:
    return set(found.frame["key"])


@pytest.mark.timeout(60)
def test_smtp_sink_takes_every_message_once(smtp_sink: SmtpSink, tmp_path: Path) -> None:
    found = run_generic(f"smtp://{smtp_sink.host}:{smtp_sink.port}", tmp_path)
    assert [case.counts.accepted for case in found.summary.cases] == [40, 40]
    dumps = smtp_sink.wait_for_dumps(88)
    taken = [re.search(rb"^X-Sendbench-Id: (\S+)\r?$", dump, re.MULTILINE) for dump in dumps]
    assert sorted(match[1].decode() for match in taken if match) == sorted(keys_of(found))
    unpooled, pooled = found.summary.cases
    assert unpooled.round_trips.p50 == 5  # connect, banner, EHLO; MAIL, RCPT and DATA together; body
    assert pooled.round_trips.p50 == 2


@pytest.mark.timeout(60)
def test_the_message_arrives_as_it_was_made(smtp_sink: SmtpSink, tmp_path: Path) -> None:
    text = f"""\
version: 1
name: awkward
target: smtp://{smtp_sink.host}:{smtp_sink.port}
tls: none
message:
  recipients: 3
  subject: "Grüße"
  text: ".\\n..\\n.leading dots\\n\\nlast line"
load: {{model: closed, concurrency: 1, messages: 2}}
"""
    found = run_text(text, tmp_path)
    assert found.summary.cases[0].counts.accepted == 2
    for dump in smtp_sink.wait_for_dumps(2):
        assert dump.count(b"X-Rcpt-Args:") == 3
        body = dump.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
        assert body.rstrip(b"\n").endswith(b".\n..\n.leading dots\n\nlast line")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("secure", [False, True])
def test_nginx_takes_every_message_once(secure: bool, nginx: Nginx, tmp_path: Path) -> None:
    base = nginx.https_url if secure else nginx.http_url
    found = run_generic(
        f"{base}/send", tmp_path, *(["tls=implicit", f"tls.ca={nginx.ca_file}"] if secure else [])
    )
    unpooled, pooled = found.summary.cases
    assert (unpooled.counts.accepted, pooled.counts.accepted) == (40, 40)
    assert (unpooled.round_trips.p50, pooled.round_trips.p50) == (3 if secure else 2, 1)
    requests = nginx.wait_for_requests(88)
    assert {(request.method, request.status) for request in requests} == {("POST", 202)}
    assert len({request.connection for request in requests}) == 44 + 4  # 4 kept ones carry the other half


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("path", "outcome", "error"),
    [
        ("/401", "rejected_perm", "auth"),
        ("/429", "rejected_temp", "throttle"),
        ("/500", "unknown", "server"),
        ("/503", "rejected_temp", "unavailable"),
        ("/nowhere", "rejected_perm", "config"),
    ],
)
def test_what_nginx_refuses_is_told_apart(
    path: str, outcome: str, error: str, nginx: Nginx, tmp_path: Path
) -> None:
    found = run_generic(f"{nginx.http_url}{path}", tmp_path)
    sent = found.frame[found.frame["attempt"] > 0]
    assert set(sent["outcome"]) == {outcome}
    assert set(sent["error"]) == {error}
    assert (len(sent) < len(found.frame)) == (error == "auth"), "who is refused stops asking"
    assert not any(case.generator.valid for case in found.summary.cases)


@pytest.mark.timeout(60)
def test_a_certificate_of_an_unknown_authority_is_refused(nginx: Nginx, tmp_path: Path) -> None:
    found = run_generic(f"{nginx.https_url}/send", tmp_path, "tls=implicit")
    assert set(found.frame["outcome"]) == {"failed"}
    assert set(found.frame["error"]) == {"tls_verify"}
    assert nginx.requests() == []


@pytest.mark.timeout(60)
def test_a_server_without_starttls_gets_nothing_when_tls_is_asked_for(
    smtp_sink: SmtpSink, tmp_path: Path
) -> None:
    found = run_generic(f"smtp://{smtp_sink.host}:{smtp_sink.port}", tmp_path, "tls=starttls")
    assert set(found.frame["error"]) == {"tls_missing"}
    assert smtp_sink.dumps() == []


@pytest.mark.timeout(60)
def test_a_shaped_loopback_target_pays_its_round_trips(smtp_sink: SmtpSink, tmp_path: Path) -> None:
    found = run_generic(f"smtp://{smtp_sink.host}:{smtp_sink.port}", tmp_path, "network.rtt=10ms")
    for case, trips in zip(found.summary.cases, (5, 2), strict=True):
        assert case.round_trips.p50 == trips
        assert case.round_trips.checked_connections > 0
        assert case.round_trips.mismatched_connections == 0
        assert case.service is not None
        assert case.service.p50 is not None
        assert case.service.p50.value_ms >= 10 * trips
