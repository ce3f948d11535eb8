"""Faults at random, everywhere at once: every message ends in one state that is true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs import run_text

MESSAGES = int(os.environ.get("SENDBENCH_FAULTY_MESSAGES", "4000"))
"""Of each transport; the long tier asks for a million."""
SCENARIO = """\
version: 1
name: random
target: mock
provider: sendgrid
tls: none
message: {{size: 1KiB}}
timeout: 1s
load: {{model: closed, concurrency: 16, messages: {messages}}}
matrix: {{transport: [smtp, api], connection: [pooled, unpooled]}}
faults:
{faults}
"""
SMTP = [
    ("banner", "rst"), ("ehlo", "fin"), ("auth", "fin"), ("mail", "rst"), ("mail", "fin"), ("rcpt", "rst"),
    ("data", "fin"), ("dot", "rst"), ("dot", "fin"), ("dot", "halfclose"), ("quit", "rst"),
]  # fmt: skip
HTTP = [
    ("connect", "rst"),
    ("request", "rst"),
    ("end", "rst"),
    ("end", "fin"),
    ("status", "rst"),
    ("reply", "fin"),
]
ANSWERS = [
    ("mail", "451 4.3.0 later"), ("rcpt", "550 5.1.1 no"), ("dot", "451 4.3.0 later"),
    ("dot", "554 5.6.0 no"),
    ("dot", "25"), ("mail", "250ok"),
]  # fmt: skip
STATUSES = [400, 429, 500, 503]
SHARE = "0.3%"


def script() -> str:
    rules = [f"  - {{at: {at}, do: {act}, share: {SHARE}}}" for at, act in SMTP + HTTP]
    rules += [f'  - {{at: {at}, do: reply, text: "{text}", share: {SHARE}}}' for at, text in ANSWERS]
    rules += [
        f"  - {{at: status, do: reply, raw: true, share: {SHARE}, "
        f'text: "HTTP/1.1 {code} x\\r\\nContent-Length: 0\\r\\n\\r\\n"}}'
        for code in STATUSES
    ]
    return "\n".join(rules)


@pytest.mark.timeout(0 if MESSAGES > 20000 else 300)
def test_no_message_is_lost_or_taken_for_another(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    done = run_text(SCENARIO.format(messages=MESSAGES // 2, faults=script()), tmp_path)
    assert done.stored.manifest.state == "complete"
    for case in done.summary.cases:
        counts, jury = case.counts, case.referee
        assert counts.attempted == counts.scheduled == MESSAGES // 2
        assert counts.accepted + counts.rejected + counts.failed + counts.unknown == counts.attempted
        assert jury is not None
        assert (jury.false_accepted, jury.unaccounted, jury.duplicates) == (0, 0, 0)
        assert jury.taken <= counts.accepted + counts.unknown
        for what in ("attempted", "accepted", "rejected", "failed", "unknown"):
            record_property(what, getattr(counts, what))
        spoiled = 1 - counts.accepted / counts.attempted
        assert 0.01 < spoiled < 0.10, "about one in twenty"
        assert counts.rejected
        assert counts.unknown
