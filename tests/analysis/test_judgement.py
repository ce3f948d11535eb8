"""X22: a run passes only by what it has shown. One test for each way to show nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.analysis import exit_code, sample_frame, summarize
from bench.analysis.comparisons import compare_cases
from bench.analysis.gate import judge
from bench.analysis.judgement import WORDS
from bench.analysis.paired import ALPHA
from bench.errors import ExitCode
from bench.model import (
    DEFAULT_LIMITS,
    ComparisonSummary,
    Gate,
    Lost,
    Paired,
    Ratio,
    Summary,
    Threshold,
    ThresholdVerdict,
    Verdict,
)
from tests.analysis.conftest import Table, make_manifest, make_rows, make_run
from tests.report.gated import gated
from tests.report.planted import edge

PASSING = edge("open").summary


def stopped() -> Summary:
    return replace(PASSING, run=replace(PASSING.run, state="stopped"))


def of_gate(verdict: Verdict | None) -> Summary:
    return replace(PASSING, comparisons=(ComparisonSummary("a", "latency", (), (), verdict=verdict),))


def of_threshold(verdict: ThresholdVerdict) -> Summary:
    first, *others = PASSING.cases
    changed = tuple(replace(each, verdict=verdict) for each in first.thresholds)
    return replace(PASSING, cases=(replace(first, thresholds=changed), *others))


CAUSES = {
    "all is well": (PASSING, ExitCode.PASS),
    "no case": (replace(PASSING, cases=()), ExitCode.INVALID),
    "stopped by a threshold": (stopped(), ExitCode.THRESHOLD_FAILED),
    "stopped before there was a case": (replace(stopped(), cases=()), ExitCode.INVALID),
    "an invalid case": (edge("some-failed").summary, ExitCode.INVALID),
    "a gate on an invalid case": (gated(Verdict.PASS, valid=False).summary, ExitCode.INVALID),
    "a failed threshold": (of_threshold(ThresholdVerdict.FAIL), ExitCode.THRESHOLD_FAILED),
    "an open threshold": (of_threshold(ThresholdVerdict.INCONCLUSIVE), ExitCode.INCONCLUSIVE),
    "a gate that passed": (of_gate(Verdict.PASS), ExitCode.PASS),
    "a regression": (of_gate(Verdict.REGRESSION), ExitCode.THRESHOLD_FAILED),
    "an open gate": (of_gate(Verdict.INCONCLUSIVE), ExitCode.INCONCLUSIVE),
    "a comparison alone": (of_gate(None), ExitCode.PASS),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_what_a_run_comes_to(cause: str) -> None:
    summary, expected = CAUSES[cause]
    assert exit_code(summary) is expected
    assert expected in WORDS


@pytest.mark.parametrize("state", ["running", "finalising", "aborted", "invalid", "", "COMPLETE"])
def test_only_a_complete_run_passes(state: str) -> None:
    assert exit_code(replace(PASSING, run=replace(PASSING.run, state=state))) is ExitCode.INVALID


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_no_messages_and_no_numbers_pass_no_threshold(operator: str) -> None:
    limits = tuple(
        Threshold(f"{what} {operator} 1", function, subject, operator, 1.0)
        for what, function, subject in (
            ("p50", "p50", "service"), ("mean", "mean", "service"), ("share", "share", "accepted"),
        )
    )  # fmt: skip
    nothing = make_rows(400, end_ns=np.full(400, np.nan))
    for frame, scheduled in ((nothing.iloc[:0], 0), (nothing.iloc[:0], 400), (nothing, 400)):
        manifest = make_manifest(make_run(scheduled=scheduled), thresholds=limits)
        summary = summarize(sample_frame(Table(frame)), manifest, {}, {})
        found = [each.verdict for each in summary.cases[0].thresholds[:2]]
        assert ThresholdVerdict.PASS not in found, (operator, found)
        assert exit_code(summary) is not ExitCode.PASS


def test_a_gate_that_compared_nothing_is_open() -> None:
    frame = make_rows(400)
    (found,) = compare_cases(frame, [make_run(scheduled=400)], Gate(DEFAULT_LIMITS))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert exit_code(replace(PASSING, comparisons=(found,))) is ExitCode.INCONCLUSIVE


NAN = math.nan
GOOD = Ratio("p50", 1.0, 0.99, 1.01, 0.5, 0.02)


@pytest.mark.parametrize(
    ("ratio", "lost"),
    [
        (replace(GOOD, high=NAN), None),
        (replace(GOOD, high=None), None),
        (replace(GOOD, ratio=NAN, low=NAN, high=NAN, p=NAN), None),
        (GOOD, Lost(0.0, NAN, NAN, NAN, NAN)),
        (GOOD, Lost(0.0, 0.0, 0.0, NAN, None)),
    ],
)
def test_what_is_not_a_number_is_no_pass(ratio: Ratio, lost: Lost | None) -> None:
    verdict, _ = judge(Paired("a", "b", 1500, 0.95, (ratio,), lost), DEFAULT_LIMITS, ALPHA)
    assert verdict is not Verdict.PASS
    assert judge(Paired("a", "b", 1500, 0.95, (GOOD,), None), DEFAULT_LIMITS, ALPHA)[0] is Verdict.PASS
