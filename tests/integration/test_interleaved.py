"""Cases that are compared: interleaved in time, each with what is its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.errors import SetupError
from bench.mock.process import mocks_in_one_process
from bench.mock.spec import MockSpec, Ready
from bench.providers import PROVIDERS
from tests.integration.test_cli import sendbench
from tests.runs import Finished, run_text

HEAD = """\
version: 1
name: pair
target: mock
provider: postmark
network: {rtt: 4ms}
"""
TRANSPORTS = "compare: transport\nmatrix: {transport: [smtp, api]}\n"


def order(done: Finished) -> list[str]:
    """The measured messages' transports by when they were taken up."""
    rows = done.frame[~done.frame["warmup"]].sort_values("ready_ns", kind="stable")
    return [name.split("/")[1] for name in rows["case"]]


def check_accounts(done: Finished, count: int) -> None:
    for case in done.summary.cases:
        assert (case.counts.accepted, case.comparison) == (count, "transport")
        assert case.referee is not None
        assert (case.referee.false_accepted, case.referee.unaccounted, case.referee.duplicates) == (0, 0, 0)
        assert case.round_trips.checked_connections > 0
        assert case.round_trips.mismatched_connections == 0
        assert not case.error


def test_open_cases_share_the_slots_of_a_schedule(tmp_path: Path) -> None:
    load = "load: {model: constant, rate: 100/s, messages: 80, warmup: 4}\n"
    done = run_text(HEAD + TRANSPORTS + load, tmp_path)
    check_accounts(done, 80)
    said = order(done)
    blocks = [tuple(said[i : i + 2]) for i in range(0, len(said), 2)]
    assert set(blocks) == {("smtp", "api"), ("api", "smtp")}
    due = np.sort(done.frame.loc[~done.frame["warmup"], "due_ns"].to_numpy())
    assert np.allclose(np.diff(due), 5e6, atol=2), "twice the rate, in equal gaps"


def test_closed_workers_take_turns(tmp_path: Path) -> None:
    load = "load: {model: closed, concurrency: 2, messages: 60, warmup: 4}\n"
    done = run_text(HEAD + TRANSPORTS + load, tmp_path)
    check_accounts(done, 60)
    measured = done.frame[~done.frame["warmup"]]
    for _, rows in measured.sort_values("start_ns").groupby("worker"):
        assert (rows["start_ns"].to_numpy()[1:] >= rows["end_ns"].to_numpy()[:-1]).all(), "two at a time"
        said = ["smtp" in case for case in rows["case"]][:50]
        assert all(sum(said[i : i + 2]) == 1 for i in range(0, 50, 2))


def test_one_that_cannot_be_reached_holds_the_other_up_no_longer_than_it_must(tmp_path: Path) -> None:
    text = """\
version: 1
name: pair
transport: smtp
tls: none
compare: target
load: {model: closed, concurrency: 2, messages: 20}
matrix: {target: [mock, "smtp://127.0.0.1:9"]}
"""
    done = run_text(text, tmp_path)
    mock, nobody = done.summary.cases
    assert (mock.counts.accepted, nobody.counts.accepted, nobody.counts.failed) == (20, 0, 20)


def test_where_the_mocks_do_not_start_every_case_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts(specs: Sequence[MockSpec]) -> object:
        raise SetupError(f"no mocks today, not even {len(specs)}")

    monkeypatch.setattr("bench.api.mocks_in_one_process", starts)
    load = "load: {model: constant, rate: 100/s, messages: 20}\n"
    cases = run_text(HEAD + TRANSPORTS + load, tmp_path).summary.cases
    assert [case.counts.attempted for case in cases] == [0, 0]
    assert [case.error for case in cases] == ["no mocks today, not even 2"] * 2


def test_mocks_of_one_comparison_share_a_process(tmp_path: Path) -> None:
    """What the machine takes from one of them it takes from all: no variant is slower by its place on it."""
    asked: list[int] = []

    @asynccontextmanager
    async def counted(specs: Sequence[MockSpec]) -> AsyncIterator[Sequence[Ready]]:
        async with mocks_in_one_process(specs) as ready:
            asked.extend(each.pid for each in ready)
            yield ready

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.api.mocks_in_one_process", counted)
        cases = run_text(HEAD + TRANSPORTS + "load: {model: closed, messages: 10}\n", tmp_path).summary.cases
    assert (len(asked), len(set(asked))) == (2, 1)
    held_up = {case.generator.hiccup_max_ms for case in cases}
    assert len(held_up) == 1, "what held up one of them held up the other"
    assert held_up != {None}
    assert all(case.referee is not None and case.referee.unaccounted == 0 for case in cases)


def test_all_nine_are_compared_on_the_mock(tmp_path: Path) -> None:
    """A rehearsal of `compare-providers`: the same code as towards the providers, up to the address."""
    overrides = ["target=mock", "load.rate=20/s", "load.messages=10", "load.warmup=1"]
    arguments = [part for each in overrides for part in ("--set", each)]
    done = sendbench("run", "compare-providers", "--json", *arguments, folder=tmp_path)
    summary = json.loads(done.stdout)
    assert {case["comparison"] for case in summary["cases"]} == {
        "provider at transport=smtp", "provider at transport=api",
    }  # fmt: skip
    assert [case["counts"]["accepted"] for case in summary["cases"]] == [10] * 2 * (len(PROVIDERS) - 1)


def test_the_display_says_what_is_interleaved(tmp_path: Path) -> None:
    (tmp_path / "pair.yaml").write_text(
        HEAD + TRANSPORTS + "load: {model: closed, messages: 10}\n", encoding="utf-8"
    )
    done = sendbench("run", "pair.yaml", folder=tmp_path)
    assert "pair: case 1 to 2 of 2, interleaved: transport" in done.stderr
    assert "20 of 20 accepted" in done.stderr
