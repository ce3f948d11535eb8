"""The price of a round trip: over the RTT sweep, service time is a line whose slope is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.groups import extensions
from bench.model import CaseSummary
from bench.scenario import find_scenario
from tests.runs import Finished, run_file

ROUND_TRIPS = {
    "smtp unpooled": 11,
    "smtp pooled": 4,
    "smtp pooled pipelining": 2,
    "smtp pooled pipelining chunking": 1,
    "api unpooled": 3,
    "api pooled": 1,
}


def way(case: CaseSummary) -> str:
    """How a case sends, in the words above."""
    return " ".join((case.labels["transport"], case.labels["connection"], *extensions(case.labels)))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_file(find_scenario("rtt-sweep"), tmp_path_factory.mktemp("sweep"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_service_time_over_rtt_is_a_line_whose_slope_is_the_round_trips(
    sweep: Finished, findings: list[str]
) -> None:
    findings += ["## Round trips", "", "| case | round trips | slope | intercept, ms |", "|---|---|---|---|"]
    for name, trips in ROUND_TRIPS.items():
        points = [
            (case.rtt_ms, case.service.p50.value_ms)
            for case in sweep.summary.cases
            if way(case) == name and case.service is not None and case.service.p50 is not None
        ]
        assert len(points) == 4
        rtts, services = np.array(points, dtype=float).T
        slope, intercept = np.polyfit(rtts, services, 1)
        findings.append(f"| {name} | {trips} | {slope:.3f} | {intercept:.2f} |")
        assert slope == pytest.approx(trips, rel=0.03)
    findings.append("")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_at_50_ms_the_median_is_the_round_trips_and_little_else(sweep: Finished, findings: list[str]) -> None:
    findings += ["| case | p50 at 50 ms | round trips x 50 ms | excess |", "|---|---|---|---|"]
    for case in sweep.summary.cases:
        if case.rtt_ms != 50:
            continue
        trips = ROUND_TRIPS[way(case)]
        assert case.service is not None
        assert case.service.p50 is not None
        value = case.service.p50.value_ms
        findings.append(f"| {case.id} | {value:.1f} ms | {50 * trips} ms | {value / (50 * trips) - 1:.1%} |")
        assert value == pytest.approx(50 * trips, rel=0.08)
        assert case.round_trips.p50 == trips
    findings.append("")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wire_saw_the_round_trips_that_the_client_counted(sweep: Finished, findings: list[str]) -> None:
    checked = sum(case.round_trips.checked_connections for case in sweep.summary.cases)
    mismatched = sum(case.round_trips.mismatched_connections for case in sweep.summary.cases)
    findings += [f"The shaper's count agreed on {checked - mismatched} of {checked} connections.", ""]
    assert checked == sum(len(seen) for seen in sweep.wires.values()) > 0
    assert mismatched == 0
