from __future__ import annotations

import pytest

from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, edge
from tests.report.rendered import printed


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("shape", EDGES)
def test_it_fits(shape: str, width: int) -> None:
    lines = printed(edge(shape), width).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line.endswith(" ")]
    assert not [line for line in lines if "…" in line]


def test_the_whole_table_at_100_columns() -> None:
    text = printed(edge("four"))
    words = [line.split() for line in text.splitlines()]
    assert ["sendgrid", "p50", "ms", "p95", "ms", "p99", "ms", "trips", "set-up", "accepted", "rate"] in words
    row = next(line for line in words if line[:2] == ["smtp", "unpooled"])
    service = edge("four").summary.cases[0].service
    assert service is not None
    assert service.p50 is not None
    assert row[2] == f"{service.p50.value_ms:.0f}"
    assert row[3].split("–") == [f"{side:.0f}" for side in service.p50.ci95_ms]  # noqa: RUF001
    assert row[8:12] == ["11", "64", "%", "400/400"]


def test_a_narrow_terminal_drops_intervals_and_keeps_percentiles() -> None:
    text = printed(edge("four"), 80)
    assert "p99 ms" in text
    assert "555–" not in text  # noqa: RUF001
    assert "set-up" in text


def test_the_answer_comes_first() -> None:
    run = edge("four")
    assert printed(run).startswith(run.answer.sentences[0])


def test_errors_and_invalid_cases_are_marked_without_colour() -> None:
    text = printed(edge("some-failed"))
    assert "INVALID smtp unpooled" in text
    assert "INVALID  sendgrid/smtp/unpooled: lag p99 12 ms" in text
    assert "ERRORS  sendgrid/smtp/unpooled:" in text
    assert "FAIL    share(accepted) >= 99.9%  sendgrid/smtp/unpooled: 9" in text
    assert "\x1b" not in text


def test_thresholds_that_pass_everywhere_take_one_line() -> None:
    lines = [line for line in printed(edge("sixteen")).splitlines() if line.startswith("PASS")]
    assert [line.split("  ")[-1].split(":")[0] for line in lines] == ["all 16 cases"] * 2


def test_a_missing_percentile_is_a_dash_with_a_footnote() -> None:
    text = printed(edge("few"))
    assert "p50 needs n >= 6, p95 needs n >= 72, p99 needs n >= 368" in text


def test_open_load_shows_latency_and_the_service_in_it() -> None:
    text = printed(edge("open"))
    assert "smtp pooled latency" in text
    assert "of it service" in text
    assert "of 50.0 /s" in text


def test_cases_are_grouped_by_what_they_share() -> None:
    lines = printed(edge("sixteen")).splitlines()
    assert [line for line in lines if line.startswith("RTT")] == [
        "RTT 5 ms",
        "RTT 20 ms",
        "RTT 50 ms",
        "RTT 100 ms",
    ]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_steers_neither_terminal_nor_ci(payload: str) -> None:
    run = hostile_run(payload)
    plain = printed(run)
    assert all(char.isprintable() or char == "\n" for char in plain)
    assert not [
        line for line in plain.splitlines() if line.lstrip().startswith(("::set", "::warning", "##["))
    ]
    coloured = printed(run, terminal=True)
    assert "\x1b]" not in coloured
    assert "\x9b" not in coloured
    assert "\x07" not in coloured


def test_claims_that_were_not_tested_take_one_line() -> None:
    text = printed(edge("four"))
    assert "does not hold    The API is 5-10x faster: 10.7x over unpooled" in text
    assert "not tested here  1 claim; the full report says why" in text


def test_rich_markup_in_names_is_text() -> None:
    assert "[bold red]x[/]" in printed(hostile_run("[bold red]x[/]"))
