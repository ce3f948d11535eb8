from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from bench.analysis.compare import Comparison, compare
from bench.report.compare import print_comparison, render_json, render_markdown
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import FOUR, edge, plant


@pytest.fixture(scope="module")
def slower() -> Comparison:
    b = plant((*(replace(plan, rtt_ms=60) for plan in FOUR[:3]),)).summary
    return compare(edge("four").summary, b)


def printed(comparison: Comparison, width: int) -> str:
    out = io.StringIO()
    print_comparison(Console(file=out, width=width), comparison)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_it_fits(slower: Comparison, width: int) -> None:
    lines = printed(slower, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]


def test_both_runs_stand_side_by_side(slower: Comparison) -> None:
    lines = [line.split() for line in printed(slower, 100).splitlines()]
    row = next(line for line in lines if line[:3] == ["service", "p50", "ms"])
    assert (row[3], row[5]) == ("555", "665")
    assert row[7:] == ["1.198", "apart"]


def test_what_only_one_run_has_is_named(slower: Comparison) -> None:
    assert "Only in A: sendgrid/api/pooled" in printed(slower, 100)
    assert "not as a verdict" in printed(slower, 300)
    assert "Only in A: sendgrid/api/pooled" in render_markdown(slower).decode()


def test_json_carries_the_ratios(slower: Comparison) -> None:
    document = json.loads(render_json(slower))
    assert document["schema"] == "sendbench.comparison/1"
    assert document["ratios"]["sendgrid/smtp/unpooled"]["p50"] == pytest.approx(1.2, abs=0.01)
    assert document["comparison"]["only_a"] == ["sendgrid/api/pooled"]


def test_runs_that_share_nothing() -> None:
    nothing = compare(edge("four").summary, edge("sixteen").summary)
    assert "no case in common" in printed(nothing, 80)
    render_markdown(nothing)


def test_an_invalid_side_is_marked() -> None:
    found = compare(edge("four").summary, edge("some-failed").summary)
    assert "INVALID" in printed(found, 100)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_stays_text(payload: str) -> None:
    run = hostile_run(payload).summary
    found = compare(run, replace(run, cases=run.cases[1:]))
    text = printed(found, 100)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert not [line for line in text.splitlines() if line.lstrip().startswith(("::set", "##["))]
    lines = [line for line in render_markdown(found).decode().splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {8}
