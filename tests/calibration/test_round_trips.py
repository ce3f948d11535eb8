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
SHARE, OTHER_MS, HANDSHAKE_MS = 0.04, 1.0, 3.0


def way(case: CaseSummary) -> str:
    """How a case sends, in the words above."""
    return " ".join((case.labels["transport"], case.labels["connection"], *extensions(case.labels)))


def medians(sweep: Finished, name: str) -> dict[float, float]:
    """RTT in ms -> p50 of the service time in ms, of one way."""
    found = {}
    for case in sweep.summary.cases:
        if way(case) == name:
            assert case.rtt_ms is not None
            assert case.service is not None
            assert case.service.p50 is not None
            found[case.rtt_ms] = case.service.p50.value_ms
    return found


def allowance_ms(name: str, expected_ms: float) -> float:
    """How far a median may be from its round trips: client, mock and a handshake take time of their own."""
    return max(SHARE * expected_ms, HANDSHAKE_MS if name.endswith("unpooled") else OTHER_MS)


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
        points = medians(sweep, name)
        assert len(points) == 4
        rtts, services = np.array(list(points.items())).T
        slope, intercept = np.polyfit(rtts, services, 1)
        findings.append(f"| {name} | {trips} | {slope:.3f} | {intercept:.2f} |")
        assert slope == pytest.approx(trips, rel=0.03)
    findings.append("")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_median_is_the_round_trips_and_little_else(sweep: Finished, findings: list[str]) -> None:
    findings += ["| case | round trips | RTT | p50 | excess | allowed |", "|---|---|---|---|---|---|"]
    wrong = []
    for name, trips in ROUND_TRIPS.items():
        for rtt_ms, p50_ms in medians(sweep, name).items():
            excess_ms, allowed_ms = p50_ms - trips * rtt_ms, allowance_ms(name, trips * rtt_ms)
            findings.append(
                f"| {name} | {trips} | {rtt_ms:g} ms | {p50_ms:.2f} ms "
                f"| {excess_ms:.2f} ms, {excess_ms / (trips * rtt_ms):.1%} | {allowed_ms:g} ms |"
            )
            if abs(excess_ms) > allowed_ms:
                wrong.append(findings[-1])
    findings.append("")
    assert not wrong
    assert all(case.round_trips.p50 == ROUND_TRIPS[way(case)] for case in sweep.summary.cases)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_smtp_in_one_round_trip_takes_as_long_as_an_api(sweep: Finished) -> None:
    api = medians(sweep, "api pooled")
    for rtt_ms, p50_ms in medians(sweep, "smtp pooled pipelining chunking").items():
        assert p50_ms == pytest.approx(api[rtt_ms], rel=SHARE), rtt_ms


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wire_saw_the_round_trips_that_the_client_counted(sweep: Finished, findings: list[str]) -> None:
    checked = sum(case.round_trips.checked_connections for case in sweep.summary.cases)
    mismatched = sum(case.round_trips.mismatched_connections for case in sweep.summary.cases)
    findings += [f"The shaper's count agreed on {checked - mismatched} of {checked} connections.", ""]
    assert checked == sum(len(seen) for seen in sweep.wires.values()) > 0
    assert mismatched == 0
