"""What is sent again, and what never is: against a mock that says later, or nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.runs import run_text

SCENARIO = """\
version: 1
name: again
target: mock
provider: sendgrid
tls: none
timeout: 300ms
load: {{model: {load}}}
transport: smtp
retry: {retry}
faults: {faults}
"""
CLOSED = "closed, concurrency: 4, messages: 200, warmup: 10"
LATER = '[{at: dot, do: reply, text: "451 4.3.0 later", share: 8%}]'
LOST = "[{at: dot, do: rst, share: 5%}]"


def scenario(retry: str, faults: str, load: str = CLOSED) -> str:
    return SCENARIO.format(retry=retry, faults=faults, load=load)


def test_by_default_a_message_is_one_attempt(tmp_path: Path) -> None:
    done = run_text(scenario("off", LATER), tmp_path)
    assert set(done.frame["attempt"]) == {1}
    assert done.summary.cases[0].retries is None
    assert done.summary.cases[0].counts.rejected


def test_what_was_rejected_for_now_is_sent_again_under_the_same_key(tmp_path: Path) -> None:
    done = run_text(scenario("{on: temp, base: 20ms}", LATER), tmp_path)
    (case,) = done.summary.cases
    rows = done.frame[~done.frame["warmup"]]
    again = rows[rows["attempt"] > 1]
    assert 0 < len(again) <= 0.1 * 210 + 2
    assert all(group["key"].nunique() == 1 for _, group in rows.groupby("seq"))
    assert case.retries is not None
    assert case.retries.attempts == len(again)
    assert case.retries.messages == again["seq"].nunique()
    assert case.counts.scheduled == case.counts.attempted == 200
    assert case.counts.accepted + case.counts.rejected == 200
    first = rows[rows["attempt"] == 1]
    assert case.service is not None
    accepted = first[(first["outcome"] == "accepted") & ~first["cold"]]
    assert case.service.count == len(accepted), "the times are those of first attempts"
    assert case.retries.end_to_end is not None
    assert case.retries.end_to_end.count == case.counts.accepted
    keys = Counter(taken.key for taken in done.takes[case.id])
    assert max(keys.values()) == 1
    assert any(sentence.startswith("Sent again: ") for sentence in done.answer.sentences)
    assert not case.error
    assert case.referee is not None
    assert (case.referee.false_accepted, case.referee.unaccounted, case.referee.duplicates) == (0, 0, 0)


@pytest.mark.parametrize("load", [CLOSED, "constant, rate: 400/s, messages: 200"], ids=["closed", "open"])
def test_an_outage_is_not_made_worse(tmp_path: Path, load: str) -> None:
    """A server that always says later gets a tenth more messages and no more."""
    always = '[{at: dot, do: reply, text: "451 4.3.0 later"}]'
    done = run_text(scenario("{on: temp, base: 10ms}", always, load), tmp_path)
    attempts = len(done.frame)
    messages = done.frame["seq"].nunique()
    assert messages < attempts <= 1.1 * messages + 1


def test_what_became_of_a_message_is_only_asked_for_again_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    done = run_text(scenario("{on: temp, base: 10ms}", LOST), tmp_path / "a")
    assert set(done.frame["attempt"]) == {1}
    (tmp_path / "b").mkdir()
    done = run_text(scenario("{on: unknown, base: 10ms}", LOST), tmp_path / "b")
    (case,) = done.summary.cases
    assert (done.frame["attempt"] > 1).any()
    assert case.referee is not None
    assert case.referee.resent > 0, "the server had taken it before it fell silent"
    assert case.referee.duplicates == 0
    assert done.summary.run.state == "complete"
    assert "taken twice" in " ".join(done.answer.sentences)


def test_waiting_for_another_attempt_keeps_nobody_up(tmp_path: Path) -> None:
    """The schedule goes on while messages wait for seconds."""
    text = scenario("{on: temp, base: 3s}", LATER, "constant, rate: 200/s, messages: 200")
    (case,) = run_text(text, tmp_path).summary.cases
    assert case.generator.lag_p99_ms is not None
    assert case.generator.lag_p99_ms < 50
    assert case.throughput.offered_per_s == pytest.approx(200, rel=0.02)
