"""What a run's comparisons say, in words: the verdict of a gate, or who is faster and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.gate import change
from bench.analysis.groups import differing, listed, names
from bench.model import ComparisonSummary, Lost, Paired, Ratio, Summary


def statements(summary: Summary) -> list[str]:
    """Sentences about each comparison."""
    called = names(summary)
    return [text for each in summary.comparisons for text in sentences(each, called)]


def sentences(comparison: ComparisonSummary, called: Mapping[str, str]) -> list[str]:
    """What a comparison says; `called` has the name of each variant."""
    if comparison.note:
        judged = f" ({comparison.verdict.value})" if comparison.verdict else ""
        return [f"Nothing can be said of {comparison.name}{judged}: {comparison.note}."]
    if comparison.verdict is not None:
        (pair,) = comparison.pairs
        word = comparison.verdict.value.upper()
        found = f"{word}: {called[pair.b]} against {called[pair.a]}: {'; '.join(comparison.reasons)}."
        told = f"With {size_of(comparison)} {detectable(pair.ratios)}."
        return [found, told, *_looks(comparison)]
    if len(comparison.pairs) == 1:
        return [_difference(comparison.pairs[0], called)]
    return [_ranking(comparison, called)]


def size_of(comparison: ComparisonSummary) -> str:
    """`1500 messages a side (20 processes)`, of two variants."""
    (pair,) = comparison.pairs
    processes = f" ({comparison.processes} processes)" if comparison.processes > 1 else ""
    return f"{pair.count} messages a side{processes}"


def detectable(ratios: Sequence[Ratio]) -> str:
    """Always told: what would have been found."""
    known = [f"{each.quantity} {each.detectable:.1%}" for each in ratios if each.detectable is not None]
    missing = [each.note for each in ratios if each.note]
    told = f"slowdowns of {listed(known)} are found 95 times of 100" if known else "nothing can be found"
    return "; ".join([told, *missing]).replace("%", " %")


def _looks(comparison: ComparisonSummary) -> list[str]:
    """Told where there may be more than one."""
    if comparison.stages == 1:
        return []
    which = "the first of at most two looks" if comparison.looks == 1 else "the second look of two"
    return [f"This is {which}, which together are no more often wrong than one would be."]


def _difference(pair: Paired, called: Mapping[str, str]) -> str:
    parts = [f"{each.quantity} {_range(each)}" for each in pair.ratios if each.ratio or not each.note]
    parts += [f"lost {_lost(pair.lost)}"] if pair.lost is not None else []
    return f"{called[pair.b]} against {called[pair.a]}: {'; '.join(parts)}."


def _range(ratio: Ratio) -> str:
    """`5.0 to 9.0 % slower`, or that no difference is shown."""
    if ratio.ratio is None:
        return "is that of a lost message"
    if ratio.low is None or ratio.high is None:
        if ratio.low is not None and ratio.low > 1.0:
            return f"at least {change(ratio.low)}"
        if ratio.high is not None and ratio.high < 1.0:
            return f"at least {change(ratio.high)}"
        return "cannot be told"
    low, high = change(ratio.low), change(ratio.high)
    if ratio.low <= 1.0 <= ratio.high:
        return f"no difference shown ({low} to {high})"
    near, far = (low, high) if ratio.low > 1.0 else (high, low)
    return f"{near.partition(' ')[0]} to {far}"


def _lost(lost: Lost) -> str:
    text = f"{lost.b:.2%} of its messages instead of {lost.a:.2%}".replace("%", " %")
    return f"{text}, no difference shown" if lost.low <= 0.0 <= lost.high else text


def _ranking(comparison: ComparisonSummary, called: Mapping[str, str]) -> str:
    short = differing({place.id: called[place.id] for place in comparison.places})
    places = [f"{short[place.id]} ({place.groups})" for place in comparison.places]
    text = f"{comparison.name}, fastest median first: {', '.join(places)}"
    text = f"{text}; between those that share a letter no difference is shown."
    shares = {case: share for pair in comparison.pairs for case, share in _shares(pair) if share}
    lost = [f"{short[case]} {share:.2%}".replace("%", " %") for case, share in shares.items()]
    return f"{text} Lost: {listed(lost)}." if lost else text


def _shares(pair: Paired) -> tuple[tuple[str, float], ...]:
    return ((pair.a, pair.lost.a), (pair.b, pair.lost.b)) if pair.lost is not None else ()
