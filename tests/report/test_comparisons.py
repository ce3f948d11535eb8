"""Comparisons as tables and charts: what is shown is what was found, in every format."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bench.model import ComparisonSummary, Paired, Place, Ratio, Verdict
from bench.report import html, markdown
from bench.report.charts import places_chart, shift_chart
from bench.report.comparisons import against, compared, interval
from bench.report.figures import MISSING
from tests.report.gated import gated
from tests.report.planted import Planted, edge
from tests.report.rendered import printed

FASTER = (Ratio("p50", 0.8, 0.75, 0.9, None, None), Ratio("p95", 1.25, 1.1, 1.5, None, None))
SLOWER = (Ratio("p50", 1.5, 1.4, None, None, None), Ratio("p95", None, None, None, None, None))
FEW = Ratio("p99", 1.1, None, None, None, None, "p99 is judged from 1000 messages a side on; there are 500")


def ranked() -> Planted:
    run = edge("sixteen")
    a, b, c = (case.id for case in run.summary.cases[:3])
    pairs = tuple(
        Paired(first, second, 500, 0.983, (*ratios, FEW), None)
        for first, second, ratios in ((a, b, FASTER), (a, c, SLOWER), (b, c, SLOWER))
    )
    places = (Place(b, "a"), Place(a, "ab"), Place(c, "b"))
    found = ComparisonSummary("three", "service", pairs, places)
    return replace(run, summary=replace(run.summary, comparisons=(found,)))


def test_two_are_shown_percentile_by_percentile() -> None:
    (found,) = compared(gated(Verdict.REGRESSION).summary)
    assert found.header == ("", "latency", "95 % interval", "detectable", "limit")
    assert found.rows[0] == ("p50", "0.1 % slower", "-0.3 to +0.5 %", "1.1 %", "5 %")
    assert found.rows[1] == ("p95", "8.1 % slower", "+5.0 to ? %", "3.1 %", "10 %")
    assert found.rows[2][:3] == ("p99", MISSING, MISSING)
    assert found.rows[3] == ("lost", "1.00 % instead of 0.00 %", "-0.10 to +2.00 %", MISSING, "1 %")


def test_without_a_gate_there_are_no_limits() -> None:
    (found,) = compared(gated(None).summary)
    assert found.verdict is None
    assert "limit" not in found.header
    assert all(len(row) == len(found.header) for row in found.rows)


def test_more_than_two_are_shown_by_their_places_against_the_first() -> None:
    run = ranked()
    (found,) = compared(run.summary)
    assert found.header == ("fastest first", "group", "service p50", "service p95")
    assert [row[1:] for row in found.rows] == [
        ("a", MISSING, MISSING),
        ("ab", "+25.0 % (+11.1 to +33.3)", "-20.0 % (-33.3 to -9.1)"),  # 1 / 0.8, 1 / 1.25
        ("b", "+50.0 % (+40.0 to ?)", "lost"),
    ]
    assert FEW.note in found.note
    assert "lost: " in found.note
    first = found.source.places[0].id
    assert against(found.source, first, first) == {}


def test_places_are_named_by_what_differs() -> None:
    run = ranked()
    ids = [place.id for place in run.summary.comparisons[0].places]
    (found,) = compared(run.summary)
    assert all(0 < len(row[0]) < len(case) for row, case in zip(found.rows, ids, strict=True))
    assert len({row[0] for row in found.rows}) == 3


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.REGRESSION, Verdict.INCONCLUSIVE])
def test_a_verdict_stands_before_its_table(verdict: Verdict) -> None:
    run = gated(verdict)
    page = html.render(run.summary, run.answer, run.frame).decode()
    assert f">{verdict.value}</span>" in page
    assert f"**{verdict.upper()}**" in markdown.render(run.summary, run.answer).decode()
    assert f"\n{verdict.upper()} " in printed(run, 80)


def test_the_table_fits_a_terminal() -> None:
    for run, width in ((gated(Verdict.REGRESSION), 80), (ranked(), 80), (ranked(), 60)):
        text = printed(run, width)
        assert max(map(len, text.splitlines())) <= width
        (found,) = compared(run.summary)
        for row in found.rows:
            assert all(part in text for cell in row[1:] for part in cell.split(" (", 1))


def test_what_cannot_be_compared_has_no_table() -> None:
    invalid = gated(Verdict.PASS).summary
    (comparison,) = invalid.comparisons
    note = replace(invalid, comparisons=(replace(comparison, note="not all of its cases are valid"),))
    assert compared(note) == ()


def test_charts_are_drawn_the_same_each_time_with_ids_of_their_own() -> None:
    (two,) = compared(gated(Verdict.PASS).summary)
    (pair,) = two.source.pairs
    drawn = [shift_chart(pair.shift, two.source.limits, number) for number in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    ids = [
        {each.attrib["id"] for each in ElementTree.fromstring(svg).iter() if "id" in each.attrib}
        for svg in drawn
    ]
    assert not ids[0] & ids[2]
    assert "limit 10 %" in drawn[0]
    assert "limit" not in shift_chart(pair.shift, None, 0)
    (three,) = compared(ranked().summary)
    places = places_chart(three, 0)
    assert places == places_chart(three, 0)
    assert "service p50" in places
    assert "service p95" in places
    assert "p99" not in places
    assert ">lost<" in places


def test_an_interval_without_an_end() -> None:
    assert interval(None, None) == MISSING
    assert interval(1.05, 1.11) == "+5.0 to +11.0 %"
    assert interval(None, 0.9) == "? to -10.0 %"
