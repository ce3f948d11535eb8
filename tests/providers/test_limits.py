from __future__ import annotations

from pathlib import Path

import pytest

from bench.model import Case
from bench.providers.limits import beyond_limits
from bench.scenario import load_scenario

SCENARIO = """\
version: 1
name: limits
target: mock
provider: {provider}
transport: {transport}
connection: pooled
load: {{model: closed, concurrency: 4, messages: 100}}
"""


def case(folder: Path, provider: str, transport: str, *overrides: str) -> Case:
    file = folder / "limits.yaml"
    file.write_text(SCENARIO.format(provider=provider, transport=transport), encoding="utf-8")
    (found,) = load_scenario(file, overrides=list(overrides)).cases
    return found


@pytest.mark.parametrize("provider", ["sendgrid", "mailtrap", "ses", "generic"])
@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_within_the_limits_there_is_nothing_to_say(provider: str, transport: str, tmp_path: Path) -> None:
    assert beyond_limits(case(tmp_path, provider, transport)) == []


@pytest.mark.parametrize(
    ("provider", "transport", "overrides", "said"),
    [
        (
            "mailtrap",
            "smtp",
            ["load.concurrency=11"],
            "11 connections at a time: Mailtrap",
        ),
        ("mailtrap", "smtp", ["load.messages=401", "load.warmup=0"], "101 messages over a connection"),
        ("mailtrap", "smtp", ["message.size=11MiB"], "11534336 bytes in a message"),
        (
            "ses",
            "smtp",
            ["message.recipients=51"],
            "51 recipients of a message: AWS SES",
        ),
        ("mailjet", "api", ["message.recipients=51"], "51 recipients of a message"),
        ("mailjet", "api", ["message.size=1MiB", "batch=20"], "20971520 bytes in a call"),
    ],
)
def test_what_is_above_a_limit_is_said(
    provider: str, transport: str, overrides: list[str], said: str, tmp_path: Path
) -> None:
    (sentence,) = beyond_limits(case(tmp_path, provider, transport, *overrides))
    assert said in sentence


def test_connections_that_are_given_up_in_time_are_within_the_limit(tmp_path: Path) -> None:
    assert (
        beyond_limits(case(tmp_path, "mailtrap", "smtp", "load.messages=4000", "pool.max_messages=100")) == []
    )


def test_a_rate_counts_in_calls(tmp_path: Path) -> None:
    load = "load={model: constant, rate: 30/s, messages: 60}"
    assert beyond_limits(case(tmp_path, "mailtrap", "api", load, "batch=2")) == []
    (sentence,) = beyond_limits(case(tmp_path, "mailtrap", "api", load))
    assert sentence == "30 calls a second: Mailtrap documents at most 15"
