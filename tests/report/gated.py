"""Planted runs with a gate's verdict on the second of two cases."""

from __future__ import annotations

from dataclasses import replace

from bench.model import DEFAULT_LIMITS, ComparisonSummary, Lost, Paired, Place, Ratio, Shift, Verdict
from tests.report.planted import OPEN, Planted, plant

REASONS = {
    Verdict.PASS: ("p50 0.1 % slower (0.3 % faster to 0.5 % slower)",),
    Verdict.REGRESSION: ("p95 8.1 % slower (5.0 to 12.0 % slower), where at most 4.0 % does not count",),
    Verdict.INVALID: (),
    Verdict.INCONCLUSIVE: ("up to 2.00 % more messages may be lost; the limit is 1.00 %",),
}


def gated(verdict: Verdict | None, *, valid: bool = True) -> Planted:
    """Two cases side by side, and what the gate said of the second; not `valid`: nothing, as that is not."""
    if not valid:
        verdict = Verdict.INVALID
    run = plant((OPEN[0], replace(OPEN[1], valid=valid)))
    a, b = (case.id for case in run.summary.cases)
    pair = Paired(
        a, b, 1500, 0.95,
        (
            Ratio("p50", 1.001, 0.997, 1.005, 0.4, 0.011),
            Ratio("p95", 1.081, 1.05, None, 0.0001, 0.031),
            Ratio("p99", None, None, None, None, None, "p99 needs 1000 messages a side"),
        ),
        Lost(0.0, 0.01, -0.001, 0.02, 0.3),
        (Shift(0.1, 0.99, None, 1.02), Shift(0.5, 1.001, 0.997, 1.005), Shift(0.95, 1.081, 1.05, None)),
    )  # fmt: skip
    comparison = ComparisonSummary(
        "transport", "latency", (pair,), (Place(a, "a"), Place(b, "b")),
        verdict=verdict, reasons=REASONS[verdict] if verdict else (), alpha=0.01 if verdict else None,
        limits=DEFAULT_LIMITS if verdict else None,
    )  # fmt: skip
    info = replace(run.summary.run, file="scenarios/smtp-vs-api.yaml")
    return replace(run, summary=replace(run.summary, run=info, comparisons=(comparison,)))
