"""JUnit XML, in the form that CI services agree on (Jenkins, GitLab, Azure): every verdict is a test case.

A failed threshold and a regression are failures; what is inconclusive is skipped; a run or a case that is not
valid is an error, and so is every verdict that rests on it. The numbers stand in the properties.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bench.analysis import exit_code
from bench.analysis.judgement import WORDS
from bench.model import CaseSummary, ComparisonSummary, Summary, ThresholdResult, ThresholdVerdict, Verdict
from bench.report.figures import QUANTILES, measured, percentile, problems, times_of
from bench.report.text import for_terminal

if TYPE_CHECKING:
    import pandas as pd

    from bench.model import Answer

_ELEMENTS = ("failure", "error", "skipped")
_THRESHOLDS = {ThresholdVerdict.FAIL: "failure", ThresholdVerdict.INCONCLUSIVE: "skipped"}
_GATES = {Verdict.REGRESSION: "failure", Verdict.INCONCLUSIVE: "skipped", Verdict.INVALID: "error"}


@dataclass(frozen=True, slots=True)
class Test:
    """One test case."""

    name: str
    result: str = ""
    """failure, error or skipped; empty: passed"""
    message: str = ""
    line: int = 0
    numbers: Mapping[str, object] = field(default_factory=dict)


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """One suite: the run, each case, each threshold of each case, each verdict of a gate."""
    tests = list(_tests(summary))
    counted = {"tests": len(tests), "failures": 0, "errors": 0, "skipped": 0}
    for element, key in zip(_ELEMENTS, ("failures", "errors", "skipped"), strict=True):
        counted[key] = sum(test.result == element for test in tests)
    totals = {key: str(value) for key, value in counted.items()}
    root = ElementTree.Element("testsuites", {"name": "sendbench", **totals})
    name = _text(f"sendbench.{summary.run.scenario}")
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **totals})
    run = summary.run
    about = {"run": run.id, "started": run.started_at, "sendbench": run.tool_version, "seed": run.seed}
    _properties(suite, {**about, **run.facts})
    for test in tests:
        _write(suite, test, name, run.file)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _text(value: object) -> str:
    """Of one line, and without what XML has no place for or a CI service takes for a command."""
    return for_terminal(str(value))


def _properties(parent: ElementTree.Element, values: Mapping[str, object]) -> None:
    known = {name: value for name, value in values.items() if value is not None and value != ""}
    if known:
        element = ElementTree.SubElement(parent, "properties")
        for name, value in known.items():
            ElementTree.SubElement(element, "property", {"name": _text(name), "value": _text(value)})


def _write(suite: ElementTree.Element, test: Test, suite_name: str, file: str) -> None:
    named = {"classname": suite_name, "name": _text(test.name)}
    if file:
        named["file"] = _text(file)
    if test.line:
        named["line"] = str(test.line)
    element = ElementTree.SubElement(suite, "testcase", named)
    _properties(element, test.numbers)
    if test.result:
        message = _text(test.message)
        # Some readers show the attribute, others the text.
        shown = ElementTree.SubElement(element, test.result, {"message": message})
        if test.result != "skipped":
            shown.set("type", test.result)
            shown.text = message


def _tests(summary: Summary) -> Iterator[Test]:
    yield _run(summary)
    why = {problem.case: problem.text for problem in problems(summary) if problem.word == "INVALID"}
    for case in summary.cases:
        result = "" if case.generator.valid else "error"
        yield Test(f"{case.id}: valid", result, why.get(case.id, ""), numbers=_figures(case))
        for threshold in case.thresholds:
            yield _threshold(case, threshold)
    for comparison in summary.comparisons:
        if comparison.verdict is not None:
            yield _gate(comparison)


def _run(summary: Summary) -> Test:
    """Whether the run as a whole can be believed; an error where it is not complete or has no case."""
    run, numbers = summary.run, {"verdict": WORDS[exit_code(summary)], "exit_code": int(exit_code(summary))}
    if run.state == "stopped":
        return Test(
            "run", "failure", f"the run was stopped: {run.reason or 'no reason given'}", numbers=numbers
        )
    if run.state != "complete":
        return Test(
            "run", "error", f"the run is {run.state}: {run.reason or 'no reason given'}", numbers=numbers
        )
    if not summary.cases:
        return Test("run", "error", "no case was measured", numbers=numbers)
    return Test("run", numbers=numbers)


def _threshold(case: CaseSummary, threshold: ThresholdResult) -> Test:
    result = _THRESHOLDS.get(threshold.verdict, "")
    message = f"{threshold.verdict.value}: {measured(threshold)}"
    if not case.generator.valid:
        result, message = "error", f"the case is not valid; it would have been {message}"
    low, high = threshold.interval or (None, None)
    values = {"value": threshold.value, "low": low, "high": high, "limit": threshold.limit}
    numbers = {"verdict": threshold.verdict.value, **{name: _number(each) for name, each in values.items()}}
    return Test(f"{case.id}: {threshold.text}", result, message, threshold.line, numbers)


def _gate(comparison: ComparisonSummary) -> Test:
    assert comparison.verdict is not None
    name = f"gate: {comparison.name}"
    message = "; ".join([comparison.verdict.value, *comparison.reasons, *filter(None, [comparison.note])])
    result = _GATES.get(comparison.verdict, "")
    return Test(name, result, message, numbers=_ratios(comparison))


def _ratios(comparison: ComparisonSummary) -> dict[str, object]:
    numbers: dict[str, object] = {"verdict": comparison.verdict, "alpha": _number(comparison.alpha)}
    for pair in comparison.pairs:
        numbers |= {"base": pair.a, "head": pair.b, "messages": pair.count}
        for each in pair.ratios:
            for what in ("ratio", "low", "high", "p", "detectable"):
                numbers[f"{each.quantity}.{what}"] = _number(getattr(each, what))
        if pair.lost is not None:
            for what in ("a", "b", "low", "high", "p"):
                numbers[f"lost.{what}"] = _number(getattr(pair.lost, what))
    return numbers


def _figures(case: CaseSummary) -> dict[str, object]:
    counts = case.counts
    numbers: dict[str, object] = {
        "scheduled": counts.scheduled,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "failed": counts.failed,
        "unknown": counts.unknown,
        "dropped": counts.dropped,
        "accepted_per_s": _number(case.throughput.accepted_per_s),
    }
    for name, times in times_of(case):
        for quantile in QUANTILES:
            if (value := percentile(times, quantile)) is not None:
                numbers[f"{name}.{quantile}_ms"] = _number(value.value_ms)
                numbers[f"{name}.{quantile}_ci95_ms"] = " to ".join(
                    _number(end) or "?" for end in value.ci95_ms
                )
    return numbers


def _number(value: float | None) -> str | None:
    """Six significant digits; None where there is none or it is not finite."""
    return f"{value:.6g}" if value is not None and math.isfinite(value) else None
