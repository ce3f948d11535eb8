"""A mock with a rate limit: what is above it is told so in the provider's own way, and known for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import run_text

SCENARIO = """\
version: 1
name: throttled
target: mock
provider: {provider}
transport: {transport}
connection: pooled
mock: {{rate_limit: 0.1/s}}
load: {{model: closed, concurrency: 1, messages: 5, warmup: 0}}
"""
NINE = ("sendgrid", "mailgun", "postmark", "resend", "ses", "mailjet", "brevo", "smtpcom", "mailtrap")


@pytest.mark.parametrize("provider", [*NINE, "generic"])
@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_one_is_taken_and_the_rest_is_throttled(provider: str, transport: str, tmp_path: Path) -> None:
    run = run_text(SCENARIO.format(provider=provider, transport=transport), tmp_path)
    rows = run.frame.sort_values("seq")
    assert list(rows["outcome"]) == ["accepted"] + ["rejected_temp"] * 4
    assert set(rows["error"].iloc[1:]) == {"throttle"}
    (takes,) = run.takes.values()
    assert len(takes) == 1
