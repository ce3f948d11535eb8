"""The peers themselves work, so that a failing transport test points at the transport."""

from __future__ import annotations

import http.client
import smtplib
import ssl

import pytest

from tests.integration import peers
from tests.integration.peers import Nginx, SmtpSink


def test_smtp_sink_keeps_what_it_takes(smtp_sink: SmtpSink) -> None:
    with smtplib.SMTP(smtp_sink.host, smtp_sink.port, timeout=10) as client:
        client.ehlo()
        assert client.has_extn("pipelining")
        for number in range(3):
            client.sendmail(
                "a@example.org",
                ["b@example.org", "c@example.org"],
                f"Subject: number {number}\r\n\r\nbody\r\n",
            )
    dumps = smtp_sink.wait_for_dumps(3)
    assert len(dumps) == 3
    for number in range(3):
        assert sum(f"Subject: number {number}".encode() in dump for dump in dumps) == 1
    assert all(dump.count(b"X-Rcpt-Args:") == 2 for dump in dumps)


def test_smtp_sink_takes_options() -> None:
    with (
        peers.start_smtp_sink("-f", "RCPT") as sink,
        smtplib.SMTP(sink.host, sink.port, timeout=10) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused),
    ):
        client.sendmail("a@example.org", "b@example.org", "Subject: no\r\n\r\n")


def test_smtp_sink_ends_with_the_block() -> None:
    with peers.start_smtp_sink() as sink:
        assert peers.listens(sink.port)
    assert not peers.listens(sink.port)


def test_nginx_answers_in_the_clear_on_one_connection(nginx: Nginx) -> None:
    client = http.client.HTTPConnection(nginx.host, nginx.http_port, timeout=10)
    for path, status in (("/send", 202), ("/401", 401), ("/500", 500), ("/elsewhere", 404), ("/send", 202)):
        client.request("POST", path, body=b"x" * 10_000, headers={"X-Sendbench-Id": f"run-{status}"})
        answer = client.getresponse()
        answer.read()
        assert answer.status == status
    client.close()
    requests = nginx.wait_for_requests(5)
    assert [request.status for request in requests] == [202, 401, 500, 404, 202]
    assert requests[0].key == "run-202"
    assert requests[0].length == 10_000
    assert len({request.connection for request in requests}) == 1


def test_nginx_answers_over_tls_with_a_certificate_of_its_authority(nginx: Nginx) -> None:
    context = ssl.create_default_context(cafile=str(nginx.ca_file))
    client = http.client.HTTPSConnection(nginx.host, nginx.https_port, timeout=10, context=context)
    client.request("POST", "/send", body=b"{}")
    assert client.getresponse().status == 202
    client.close()


def test_a_missing_program_is_a_skip_at_home_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        peers.require_program("no-such-program", "none")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        peers.require_program("no-such-program", "none")
