"""Comparisons in words: verdict, difference, ranking, and what nothing is said of."""

from __future__ import annotations

from dataclasses import replace

from bench.analysis.verdicts import statements
from bench.model import ComparisonSummary, Lost, Paired, Place, Ratio, Verdict
from tests.analysis.conftest import make_case, make_summary

X, Y, Z = (f"generic/smtp/pooled/k={name}" for name in "xyz")
SLOWER = Ratio("p50", 1.08, 1.05, 1.11, 0.001, 0.031)
ALIKE = Ratio("p95", 1.01, 0.97, 1.05, 0.4, 0.057)
FEW = Ratio("p99", 1.2, None, None, None, None, "p99 is judged from 1000 messages a side on; there are 500")
PAIR = Paired(X, Y, 500, 0.95, (SLOWER, ALIKE, FEW), None)
PLACES = (Place(X, "a"), Place(Y, "b"))


def said(comparison: ComparisonSummary) -> list[str]:
    cases = [make_case(name) for name in (X, Y, Z)]
    return statements(replace(make_summary(*cases), comparisons=(comparison,)))


def test_a_difference_has_both_ends_and_where_none_is_shown_that_is_said() -> None:
    (text,) = said(ComparisonSummary("provider", "latency", (PAIR,), PLACES))
    assert "p50 5.0 to 11.0 % slower" in text
    assert "p95 no difference shown (3.0 % faster to 5.0 % slower)" in text
    assert "p99 cannot be told" in text


def test_what_is_faster_is_told_from_the_near_end() -> None:
    faster = replace(PAIR, ratios=(Ratio("p50", 0.9, 0.86, 0.95, None, None),))
    (text,) = said(ComparisonSummary("provider", "latency", (faster,), PLACES))
    assert "p50 5.0 to 14.0 % faster" in text


def test_a_verdict_comes_with_its_reasons_and_what_would_have_been_found() -> None:
    verdict = ComparisonSummary(
        "provider",
        "latency",
        (PAIR,),
        PLACES,
        verdict=Verdict.REGRESSION,
        reasons=("p50 is slower",),
        alpha=0.01,
    )
    found, detectable = said(verdict)
    assert found.startswith("REGRESSION: smtp/pooled/k=y against smtp/pooled/k=x: p50 is slower.")
    assert "p50 3.1 % and p95 5.7 % are found 95 times of 100" in detectable
    assert "there are 500" in detectable


def test_more_than_two_are_ranked_with_letters() -> None:
    places = (Place(X, "a"), Place(Y, "ab"), Place(Z, "b"))
    pairs = (PAIR, replace(PAIR, b=Z), replace(PAIR, a=Y, b=Z))
    (text,) = said(ComparisonSummary("provider", "latency", pairs, places))
    assert text.startswith("provider, fastest median first: x (a), y (ab), z (b); between those that share ")


def test_an_interval_with_one_end_tells_the_direction_or_nothing() -> None:
    ends = {"slower": (1.2, None), "faster": (None, 0.9), "nothing": (0.9, None), "neither": (None, None)}
    words = {}
    for name, (low, high) in ends.items():
        ratio = Ratio("p50", 1.5 if low else 0.8, low, high, None, None)
        (words[name],) = said(
            ComparisonSummary("provider", "latency", (replace(PAIR, ratios=(ratio,)),), PLACES)
        )
    assert "p50 at least 20.0 % slower" in words["slower"]
    assert "p50 at least 10.0 % faster" in words["faster"]
    assert "p50 cannot be told" in words["nothing"]
    assert "p50 cannot be told" in words["neither"]


def test_losses_are_told_also_where_a_percentile_is_that_of_a_lost_message() -> None:
    gone = Ratio("p50", None, 1.0, None, None, None)
    lost = Lost(0.001, 0.6, 0.57, 0.63, None)
    (text,) = said(
        ComparisonSummary("provider", "latency", (replace(PAIR, ratios=(gone,), lost=lost),), PLACES)
    )
    assert "p50 is that of a lost message" in text
    assert "lost 60.00 % of its messages instead of 0.10 %." in text
    alike = replace(PAIR, lost=Lost(0.01, 0.011, -0.002, 0.004, None))
    (text,) = said(ComparisonSummary("provider", "latency", (alike,), PLACES))
    assert "lost 1.10 % of its messages instead of 1.00 %, no difference shown" in text


def test_a_ranking_tells_who_lost_how_many() -> None:
    lost = Lost(0.0, 0.03, 0.01, 0.05, None)
    back = Lost(0.03, 0.0, -0.05, -0.01, None)
    pairs = (replace(PAIR, lost=lost), replace(PAIR, b=Z), replace(PAIR, a=Y, b=Z, lost=back))
    places = (Place(X, "a"), Place(Y, "ab"), Place(Z, "b"))
    (text,) = said(ComparisonSummary("provider", "latency", pairs, places))
    assert text.endswith("Lost: y 3.00 %.")


def test_nothing_is_said_of_what_cannot_be_paired() -> None:
    unpaired = ComparisonSummary("provider", "latency", (), (), "too few", Verdict.INCONCLUSIVE)
    assert said(unpaired) == ["Nothing can be said of provider (inconclusive): too few."]
