"""HTTP/1.1 with TLS against nginx, keep-alive and unpooled, with every client there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.model import Transport
from bench.scenario import known
from tests.servers.nginx import Nginx
from tests.servers.runs import EML, MESSAGES, check_arrived, run, sent_keys

CONCURRENCY = 4
SCENARIO = """\
version: 1
name: real-server
target: {nginx.url}
tls: {{mode: implicit, ca: ca.pem}}
auth: {{user: "${{env:BENCH_USER}}", password: "${{env:BENCH_PASSWORD}}"}}
client: {client}
message: {{file: message.eml}}
load: {{model: closed, concurrency: {concurrency}, messages: {messages}}}
matrix:
  connection: [pooled, unpooled]
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("client", known.CLIENTS[Transport.API])
def test_every_request_arrives_once_and_unchanged(
    nginx: Nginx, client: str, tmp_path: Path, findings: list[str]
) -> None:
    text = SCENARIO.format(nginx=nginx, client=client, concurrency=CONCURRENCY, messages=MESSAGES)
    files = {"ca.pem": nginx.place.ca_file.read_bytes(), "message.eml": EML}
    ran = run(text, tmp_path, files=files)
    assert ran.code == 0, f"{ran.printed}\n{nginx.place.said()}"
    pooled, unpooled = ran.found.summary.cases
    assert (pooled.counts.accepted, unpooled.counts.accepted) == (MESSAGES, MESSAGES)
    assert (pooled.round_trips.p50, unpooled.round_trips.p50) == (1, 3)  # connect, TLS, request
    posts = nginx.take_all(2 * MESSAGES)
    assert {post.status for post in posts} == {202}
    assert {post.tls for post in posts} == {"TLSv1.3"}
    check_arrived([post.body for post in posts], sent_keys(ran.found))
    uses = Counter(post.connection for post in posts)
    assert len(uses) == CONCURRENCY + MESSAGES
    assert sum(uses.most_common(CONCURRENCY)[n][1] for n in range(CONCURRENCY)) == MESSAGES
    for case in (pooled, unpooled):
        assert case.service is not None
        assert case.service.p50 is not None
        findings.append(
            f"| nginx | {client} | {case.labels['connection']} | - | {case.counts.accepted} |"
            f" {case.round_trips.p50} | {case.service.p50.value_ms:.2f} ms |"
        )
