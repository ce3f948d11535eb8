"""Planted truth: the mock delays by a known distribution; the report must recover it."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from bench.mock.service import Decider
from bench.model import Percentile, ServiceTime
from tests.runs import Finished, run_text

Floats = npt.NDArray[np.float64]

RUNS = int(os.environ.get("CALIBRATION_RUNS", "100"))
NEEDED = 0.9 * RUNS
MESSAGES, WARMUP = 400, 20
REFERENCE_SEEDS = range(1001, 1008)
P50_MS, SIGMA = 20.0, 0.5
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

SCENARIO = """\
version: 1
name: planted
target: mock
provider: sendgrid
transport: {transport}
connection: pooled
message: {{size: 4KiB}}
mock: {{service_time: {service_time}}}
load: {{model: closed, concurrency: 2, messages: {messages}, warmup: {warmup}}}
"""
SERVICE_TIME = f"{{lognormal: {{p50: {P50_MS}ms, sigma: {SIGMA}}}}}"


def planted_ms(q: float) -> float:
    return P50_MS * math.exp(SIGMA * NormalDist().inv_cdf(q))


def run_planted(transport: str, folder: Path, seed: int) -> Finished:
    text = SCENARIO.format(transport=transport, service_time=SERVICE_TIME, messages=MESSAGES, warmup=WARMUP)
    folder.mkdir(parents=True)
    return run_text(text, folder, seed=seed)


def drawn_p50_ms(seed: int) -> float:
    """The median of what the mock really drew for the measured messages of that run."""
    mock_seed = seed * 1009  # `api.case_seed` of the run's only case
    decider = Decider(ServiceTime("lognormal", p50_ns=round(P50_MS * 1e6), sigma=SIGMA), mock_seed)
    draws = [decider.next_ns() for _ in range(WARMUP + MESSAGES)][WARMUP:]
    return float(np.quantile(draws, 0.5, method="inverted_cdf")) / 1e6


def fixed_offset_ms(transport: str, folder: Path) -> float:
    """What client, wire and mock add to a message: the median of some runs of its own, each held against
    what its mock really drew, so that no sampling error is in it."""
    offsets = []
    for seed in REFERENCE_SEEDS:
        service = run_planted(transport, folder / str(seed), seed).summary.cases[0].service
        assert service is not None
        assert service.p50 is not None
        offsets.append(service.p50.value_ms - drawn_p50_ms(seed))
    return float(np.median(offsets))


def disagreements_ms(found: Finished) -> Floats:
    """For each message, how far the client's service is from the mock's own record of it, less the
    median of that difference over the case (the stated offset)."""
    rows = found.frame[~found.frame["warmup"]]
    service = dict(zip(rows["key"], rows["end_ns"] - rows["start_ns"], strict=True))
    (taken,) = found.takes.values()
    differences = np.array(
        [service[each.key] - (each.answered_ns - each.received_ns) for each in taken if each.key in service]
    )
    assert len(differences) == MESSAGES
    return np.asarray(np.abs(differences - np.median(differences)) / 1e6, dtype=np.float64)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_intervals_cover_the_planted_quantiles(transport: str, tmp_path: Path, findings: list[str]) -> None:
    offset_ms = fixed_offset_ms(transport, tmp_path / "offset")
    covered: Counter[str] = Counter()
    disagreements = []
    for seed in range(1, RUNS + 1):
        found = run_planted(transport, tmp_path / str(seed), seed)
        (case,) = found.summary.cases
        assert case.referee is not None
        assert (case.referee.false_accepted, case.referee.unaccounted, case.referee.duplicates) == (0, 0, 0)
        assert case.counts.accepted == MESSAGES
        disagreements.append(disagreements_ms(found))
        for name, q in QUANTILES.items():
            measured: Percentile | None = getattr(case.service, name)
            assert measured is not None
            low, high = measured.ci95_ms
            covered[name] += low <= planted_ms(q) + offset_ms <= high
    counts = ", ".join(f"{name} {covered[name]}" for name in QUANTILES)
    by_run = [float(np.median(each)) for each in disagreements]
    median = float(np.median(np.concatenate(disagreements)))
    findings += [
        f"## Planted truth, {transport}",
        "",
        (
            f"Lognormal, p50 {P50_MS} ms, sigma {SIGMA}, {MESSAGES} messages, {RUNS} seeded runs. "
            f"Fixed offset of client, wire and mock: {offset_ms:.3f} ms."
        ),
        f"Intervals that cover the planted quantile, of {RUNS}: {counts}.",
        (
            f"Client against the mock's own record of each message, less the median of the case: "
            f"median absolute value {median:.3f} ms "
            f"(by run: median {np.median(by_run):.3f} ms, worst {max(by_run):.3f} ms)."
        ),
        "",
    ]
    assert all(covered[name] >= NEEDED for name in QUANTILES), counts
    assert median < 0.5
