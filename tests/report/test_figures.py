from __future__ import annotations

from dataclasses import replace

import pytest

from bench.model import Cold, Distribution, Referee, RoundTrips, ThresholdResult, ThresholdVerdict
from bench.report.figures import (
    MS,
    decimals,
    groups,
    measured,
    percent,
    problems,
    rate,
    set_up_share,
    threshold_lines,
    unit_for,
)
from tests.report.planted import FOUR, edge, plant


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1105.3, "1105"), (554.58, "555"), (51.24, "51.2"), (6.168, "6.17"), (0.2345, "0.234"), (0.0, "0")],
)
def test_three_significant_digits(value: float, shown: str) -> None:
    assert MS.text(value) == shown


def test_decimals_of_what_is_not_a_number() -> None:
    assert decimals(float("inf")) == decimals(float("nan")) == 0


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (None, "–"),  # noqa: RUF001
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50 %"),
        (0.9999, "99.9 %"),
        (0.995, "99.5 %"),
        (0.004, "0.4 %"),
        (0.0001, "<0.1 %"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_groups_put_ways_of_sending_side_by_side() -> None:
    found = groups(edge("sixteen").summary)
    assert [group.title for group in found] == ["RTT 5 ms", "RTT 20 ms", "RTT 50 ms", "RTT 100 ms"]
    assert found[0].labels == ("smtp unpooled", "smtp pooled", "api unpooled", "api pooled")
    (only,) = groups(edge("four").summary)
    assert only.title == ""


def test_the_client_is_named_where_a_transport_has_several() -> None:
    summary = edge("four").summary
    clients = {"smtp": "aiosmtplib", "api": "httpx"}
    cases = tuple(
        replace(case, labels={**case.labels, "client": clients[case.labels["transport"]]})
        for case in summary.cases
    )
    (group,) = groups(replace(summary, cases=cases))
    assert group.labels == ("smtp unpooled", "smtp pooled", "api unpooled", "api pooled")
    wire = replace(cases[0], id="w", labels={**cases[0].labels, "client": "wire"})
    (group,) = groups(replace(summary, cases=(cases[0], wire)))
    assert group.labels == ("smtp unpooled (aiosmtplib)", "smtp unpooled (wire)")


def test_what_an_smtp_case_may_use_stands_in_its_name_and_makes_no_table_of_its_own() -> None:
    summary = edge("four").summary
    fresh, kept, fresh_api, kept_api = summary.cases
    off, auto = {"smtp.pipelining": "off"}, {"smtp.pipelining": "auto"}
    whole, text = {"smtp.chunking": "auto"}, {"smtp.chunking": "off"}
    ways = (off | text, auto | text, auto | whole, off | whole)
    cases = [replace(kept, id=f"k{i}", labels={**kept.labels, **way}) for i, way in enumerate(ways)]
    (group,) = groups(replace(summary, cases=(fresh, *cases, fresh_api, kept_api)))
    assert group.labels == (
        "smtp unpooled",
        "smtp pooled",
        "smtp pooled pipelined",
        "smtp pooled chunked",
        "smtp pooled chunked one by one",
        "api unpooled",
        "api pooled",
    )


def test_cases_that_differ_in_nothing_shown_keep_their_ids() -> None:
    summary = plant(FOUR[:1] * 2).summary
    twins = (summary.cases[0], replace(summary.cases[1], id="other"))
    (group,) = groups(replace(summary, cases=twins))
    assert group.labels == ("sendgrid/smtp/unpooled", "other")


def test_set_up_share_counts_cold_messages_of_pooled_cases() -> None:
    unpooled, pooled, *_ = edge("four").summary.cases
    assert set_up_share(unpooled) == pytest.approx(7 / 11, abs=0.01)
    slow = Distribution(4, 555.0, 555.0, 555.0, None, None, None, None, None)
    cold = replace(pooled, cold=Cold(40, slow))
    assert pooled.service is not None
    expected = 40 * (555 - pooled.service.mean_ms) / (396 * 202 + 40 * 555)
    assert set_up_share(cold) == pytest.approx(expected, rel=0.02)
    assert set_up_share(replace(pooled, phases={}, cold=None)) is None


def test_problems_name_what_a_reader_must_know_worst_first() -> None:
    run = edge("some-failed").summary
    case = replace(
        run.cases[1],
        referee=Referee(10, 1, 2, 3),
        round_trips=RoundTrips(1.0, 40, 2),
        error="the mock went away",
    )
    found = problems(replace(run, cases=(run.cases[0], case)))
    assert [problem.word for problem in found] == ["INVALID", "INVALID", "ERRORS", "ERRORS", "NOTE"]
    texts = " ".join(problem.text for problem in found)
    assert "1 counted as accepted but never taken, 2 taken but not counted, 3 taken twice" in texts
    assert "2 of 40 connections" in texts
    assert "x timeout)" in texts
    assert problems(edge("four").summary) == ()


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("p95(service) < 800ms", 555.4, "555 ms"),
        ("share(accepted) >= 99.9%", 0.998, "99.8 %"),
        ("rate() > 10/s", 12.34, "12.3 /s"),
        ("p95(service) < 800ms", None, "too few"),
        ("p95(service) < 800ms", float("inf"), "too few"),
    ],
)
def test_measured_is_in_the_unit_of_the_limit(text: str, value: float | None, shown: str) -> None:
    note = "" if shown != "too few" else shown
    assert measured(ThresholdResult(text, value, ThresholdVerdict.FAIL, note=note)) == shown


@pytest.mark.parametrize(
    ("text", "value", "interval", "shown"),
    [
        ("p95(service) < 800ms", 555.4, (512.2, 812.9), "555 ms (512 ms to 813 ms); close"),
        ("p95(service) < 800ms", 555.4, (512.2, None), "555 ms (512 ms to no end); close"),
        ("share(accepted) >= 99.9%", 1.0, (0.9926, 1.0), "100 % (99.26 % to 100 %); close"),
        ("share(accepted) >= 99.9%", 0.9999999, (0.99999, 1.0), "99.999 % (99.999 % to 100 %); close"),
    ],
)
def test_measured_has_its_interval(
    text: str, value: float, interval: tuple[float | None, float | None], shown: str
) -> None:
    result = ThresholdResult(text, value, ThresholdVerdict.INCONCLUSIVE, note="close", interval=interval)
    assert measured(result) == shown


def test_threshold_lines_name_each_case_that_fails() -> None:
    lines = threshold_lines(edge("some-failed").summary)
    share = [(line.verdict, line.where) for line in lines if line.text.startswith("share")]
    assert share == [
        (ThresholdVerdict.FAIL, "sendgrid/smtp/unpooled"),
        (ThresholdVerdict.PASS, "sendgrid/api/pooled"),
    ]
    both = [line for line in lines if line.text.startswith("p50")]
    assert [(line.where, line.measured) for line in both] == [("all 2 cases", "51.1 ms to 555 ms")]


def test_offered_and_accepted_stand_together_in_open_loads() -> None:
    assert rate(edge("open").summary.cases[0]).endswith(" of 50.0 /s")
    assert rate(edge("no-rows").summary.cases[0]) == "–"  # noqa: RUF001


def test_one_unit_a_table() -> None:
    cases = edge("four").summary.cases
    assert unit_for(cases).name == "ms"
    assert unit_for(()).name == "ms"
    fast, slow = (
        replace(cases[0], service=Distribution(5, mean, mean, mean, None, None, None, None, None))
        for mean in (0.2, 12_000.0)
    )
    assert unit_for([fast]).name == "µs"
    assert unit_for([slow]).name == "s"
    assert unit_for([fast, slow]).name == "ms"
