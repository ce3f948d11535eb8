"""Wrong credentials: every provider refuses every message, and nothing is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import run_text

SCENARIO = """\
version: 1
name: wrong
target: mock
provider: {provider}
transport: {transport}
connection: pooled
auth: {{user: "${{env:TEST_USER}}", password: "${{env:TEST_PASSWORD}}"}}
load: {{model: closed, concurrency: 1, messages: 3, warmup: 0}}
"""
NINE = ("sendgrid", "mailgun", "postmark", "resend", "ses", "mailjet", "brevo", "smtpcom", "mailtrap")


@pytest.mark.parametrize("provider", NINE)
@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_nothing_is_accepted(
    provider: str, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_USER", "AKIAWRONGWRONGWRONG0")
    monkeypatch.setenv("TEST_PASSWORD", "canary-7f3a9c-password")
    run = run_text(SCENARIO.format(provider=provider, transport=transport), tmp_path)
    assert set(run.frame["error"]) == {"auth"}
    assert "accepted" not in set(run.frame["outcome"])
    assert [len(each) for each in run.takes.values()] in ([], [0])
    assert not run.summary.cases[0].generator.valid
