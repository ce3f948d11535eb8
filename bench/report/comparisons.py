"""What was compared, as tables: two variants percentile by percentile, more of them by their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis.gate import change, share_of
from bench.analysis.groups import differing, names
from bench.analysis.verdicts import size_of
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
    note = f"{size_of(comparison)}; detectable: the least slowdown that is found 95 times of 100"
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
    return f"{_end(low)} to {_end(high)} %"


def _end(end: float | None) -> str:
    return "?" if end is None else f"{100 * (end - 1):+.1f}"


def _ranked(comparison: ComparisonSummary, called: Mapping[str, str]) -> Compared:
    first = comparison.places[0].id
    short = differing({place.id: called[place.id] for place in comparison.places})
    ratios, count = comparison.pairs[0].ratios, comparison.pairs[0].count
    quantities, rows = judged(comparison), []
    for place in comparison.places:
        found = against(comparison, first, place.id)
        cells = (_longer(found[quantity]) if found else MISSING for quantity in quantities)
        rows.append((short[place.id], place.groups, *cells))
    header = ("fastest first", "group", *(f"{comparison.measure} {quantity}" for quantity in quantities))
    notes = [
        f"{count} messages each; how much longer than the first, whose place is by the median",
        "those that share a letter are not shown to differ there",
        "in parentheses: intervals, of which all of a column hold together 95 times of 100",
        *(each.note for each in ratios if each.note),
    ]
    if any("lost" in row for row in rows):
        notes.append("lost: at that percentile a message of one of the two was not accepted")
    return Compared(comparison.name, comparison.verdict, header, tuple(rows), "; ".join(notes), comparison)


def judged(comparison: ComparisonSummary) -> list[str]:
    """The percentiles for which there are enough messages; as many of each variant are compared."""
    return [each.quantity for each in comparison.pairs[0].ratios if not each.note]


Found = tuple[float | None, float | None, float | None]
"""A ratio, None where that is of a lost message, and the ends of its interval, None: without end."""


def _longer(found: Found) -> str:
    """`+8.0 % (+5.0 to +11.0)`"""
    ratio, low, high = found
    if ratio is None:
        return "lost"
    return f"{100 * (ratio - 1):+.1f} % ({_end(low)} to {_end(high)})"


def against(comparison: ComparisonSummary, first: str, case: str) -> Mapping[str, Found]:
    """Quantity -> its ratio of `case` over `first`; empty for a case and itself."""
    for pair in comparison.pairs:
        if (pair.a, pair.b) == (first, case):
            return {each.quantity: (each.ratio, each.low, each.high) for each in pair.ratios}
        if (pair.b, pair.a) == (first, case):
            return {
                each.quantity: (_inverse(each.ratio), _inverse(each.high), _inverse(each.low))
                for each in pair.ratios
            }
    return {}


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None
