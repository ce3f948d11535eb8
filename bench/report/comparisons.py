"""What was compared, as tables: two variants percentile by percentile, more of them by their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis.gate import change, share_of
from bench.analysis.groups import names
from bench.model import ComparisonSummary, Lost, Ratio, Summary, Verdict
from bench.report.figures import MISSING


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison of a run."""

    title: str
    verdict: Verdict | None
    header: tuple[str, ...]
    """The first column is text."""
    rows: tuple[tuple[str, ...], ...]
    note: str
    """How the columns are read."""
    source: ComparisonSummary


def compared(summary: Summary) -> tuple[Compared, ...]:
    """The comparisons that something can be said of; of the others the answer says why not."""
    called = names(summary)
    return tuple(_compared(each, called) for each in summary.comparisons if each.pairs and not each.note)


def _compared(comparison: ComparisonSummary, called: Mapping[str, str]) -> Compared:
    if len(comparison.pairs) > 1:
        return _ranked(comparison, called)
    (pair,) = comparison.pairs
    limits = comparison.limits
    header = ["", comparison.measure, "95 % interval", "detectable"]
    rows = [[each.quantity, *_cells(each)] for each in pair.ratios]
    rows += [["lost", *_lost(pair.lost)]] if pair.lost is not None else []
    if limits is not None:
        header.append("limit")
        for row in rows:
            row.append(share_of(limits.lost if row[0] == "lost" else limits.limit[row[0]]))
    title = f"{called[pair.b]} against {called[pair.a]}"
    note = f"{pair.count} messages a side; detectable: the least slowdown that is found 95 times of 100"
    return Compared(title, comparison.verdict, tuple(header), tuple(map(tuple, rows)), note, comparison)


def _cells(ratio: Ratio) -> tuple[str, str, str]:
    if ratio.ratio is None:
        return (MISSING if ratio.note else "lost"), MISSING, MISSING
    detectable = MISSING if ratio.detectable is None else share_of(ratio.detectable)
    return change(ratio.ratio), interval(ratio.low, ratio.high), detectable


def _lost(lost: Lost) -> tuple[str, str, str]:
    """Shares of the second and the first, and the interval of their difference."""
    found = f"{100 * lost.b:.2f} % instead of {100 * lost.a:.2f} %"
    return found, f"{100 * lost.low:+.2f} to {100 * lost.high:+.2f} %", MISSING


def interval(low: float | None, high: float | None) -> str:
    """`+5.0 to +11.0 %`, of a ratio; `?` where it has no end."""
    if low is None and high is None:
        return MISSING
    ends = ["?" if end is None else f"{100 * (end - 1):+.1f}" for end in (low, high)]
    return f"{ends[0]} to {ends[1]} %"


def _ranked(comparison: ComparisonSummary, called: Mapping[str, str]) -> Compared:
    first = comparison.places[0].id
    rows = [
        (called[place.id], place.groups, *_to_first(comparison, first, place.id))
        for place in comparison.places
    ]
    header = ("by the median, fastest first", "group", f"{comparison.measure} p50", "interval")
    note = "against the first; those that share a letter are not shown to differ; the intervals hold together"
    return Compared(comparison.name, comparison.verdict, header, tuple(rows), note, comparison)


def _to_first(comparison: ComparisonSummary, first: str, case: str) -> tuple[str, str]:
    """How much slower a variant is at the median than the fastest one, and the interval of that."""
    ratio = against(comparison, first, case)
    if ratio is None or ratio[0] is None:
        return MISSING, MISSING
    return change(ratio[0]), interval(ratio[1], ratio[2])


def against(
    comparison: ComparisonSummary, first: str, case: str
) -> tuple[float | None, float | None, float | None] | None:
    """The ratio of the medians of `case` and `first` and its ends; None for a case and itself."""
    for pair in comparison.pairs:
        median = pair.ratios[0]
        if (pair.a, pair.b) == (first, case):
            return median.ratio, median.low, median.high
        if (pair.b, pair.a) == (first, case):
            return _inverse(median.ratio), _inverse(median.high), _inverse(median.low)
    return None


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None
