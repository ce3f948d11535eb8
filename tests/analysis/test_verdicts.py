"""Comparisons in words: verdict, difference, ranking, and what nothing is said of."""

from __future__ import annotations

from dataclasses import replace

from bench.analysis.verdicts import statements
from bench.model import ComparisonSummary, Paired, Place, Ratio, Verdict
from tests.analysis.conftest import make_case, make_summary

X, Y, Z = (f"generic/smtp/pooled/k={name}" for name in "xyz")
SLOWER = Ratio("p50", 1.08, 1.05, 1.11, 0.001, 0.031)
ALIKE = Ratio("p95", 1.01, 0.97, 1.05, 0.4, 0.057)
FEW = Ratio("p99", 1.2, None, None, None, None, "p99 is judged from 1000 messages a side on; there are 500")
PAIR = Paired(X, Y, 500, 0.95, (SLOWER, ALIKE, FEW), None)
PLACES = (Place(X, "a"), Place(Y, "b"))


def said(comparison: ComparisonSummary, *, valid: bool = True) -> list[str]:
    cases = [make_case(name, valid=valid) for name in (X, Y, Z)]
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
    assert "smtp/pooled/k=x (a), smtp/pooled/k=y (ab), smtp/pooled/k=z (b)" in text


def test_nothing_is_said_of_what_is_not_valid_or_cannot_be_paired() -> None:
    (text,) = said(ComparisonSummary("provider", "latency", (PAIR,), PLACES), valid=False)
    assert "not all of its cases are valid" in text
    unpaired = ComparisonSummary("provider", "latency", (), (), "too few", Verdict.INCONCLUSIVE)
    assert said(unpaired) == ["Nothing can be said of provider (inconclusive): too few."]
