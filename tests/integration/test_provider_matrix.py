"""All that the nine providers speak, over a network: what is taken is what was accepted, and each way needs
the round trips that its plan foretells."""

from __future__ import annotations

from pathlib import Path

from bench.providers import PROVIDERS
from bench.scenario import find_scenario, load_scenario
from bench.scenario.plan import plan_case
from tests.runs import run_file

MESSAGES = 12


def test_provider_matrix(tmp_path: Path) -> None:
    overrides = [f"load.messages={MESSAGES}", "load.warmup=0", "network.rtt=10ms"]
    file = find_scenario("provider-matrix")
    done = run_file(file, tmp_path, overrides=overrides)
    planned = {case.id: plan_case(case) for case in load_scenario(file, overrides=overrides).cases}
    assert len(done.summary.cases) == len(planned) == 4 * (len(PROVIDERS) - 1)
    for case in done.summary.cases:
        assert case.counts.accepted == MESSAGES, case.id
        keys = set(done.rows(case.id)["key"])
        assert {taken.key for taken in done.takes[case.id]} == keys
        assert len(done.takes[case.id]) == len(keys) == MESSAGES
        warm = done.rows(case.id)
        if case.labels["connection"] == "pooled":
            warm = warm[~warm["cold"]]
            if "batch=10" in case.id:  # a call or two: each connection's first
                assert case.round_trips.checked_connections > 0
        if len(warm):
            assert set(warm["round_trips"]) == {planned[case.id].round_trips}, case.id
        assert case.round_trips.checked_connections > 0, case.id
        assert case.round_trips.mismatched_connections == 0, case.id
