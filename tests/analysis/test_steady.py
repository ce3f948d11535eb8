"""Warm-up, drift and two modes: planted truth is found, and steady cases are left in peace."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.analysis import sample_frame, summarize
from bench.analysis.doubts import doubts
from bench.analysis.quantiles import Floats
from bench.analysis.steady import DIP, LEAST, dip, steadiness
from tests.gate.noise import NOISES, SAME, Noise, base, two_sides

if TYPE_CHECKING:
    import pandas as pd

    from tests.analysis.conftest import Planted

MS = 1e6
QUIET = NOISES["quiet"]


def times(n: int, rng: np.random.Generator, noise: Noise = QUIET) -> Floats:
    """As a steady service would give them, with a median of 20 ms."""
    return base(noise, n, rng) * 20 * MS


@pytest.mark.parametrize(("n", "noise"), [(1000, "quiet"), (4000, "quiet"), (4000, "wide")])
def test_a_planted_warm_up_is_found_and_measured(n: int, noise: str) -> None:
    rng = np.random.default_rng(1)
    for first, factor in ((n // 10, 1.6), (n // 4, 1.5), (n // 2, 1.5)):
        found = []
        for _ in range(10):
            values = times(n, rng, NOISES[noise])
            values[:first] *= factor
            found.append(steadiness(values))
        seen = [each for each in found if each is not None and each.warmup]
        assert len(seen) >= 9
        assert np.median([each.warmup for each in seen]) == pytest.approx(first, rel=0.1)
        assert np.median([each.slower for each in seen]) == pytest.approx(factor - 1, abs=0.1)
        assert not any(each.drift or each.modes for each in seen)


def test_a_planted_drift_is_found_and_measured() -> None:
    rng = np.random.default_rng(2)
    for end in (1.5, 0.6):
        found = [steadiness(times(2000, rng) * np.linspace(1, end, 2000)) for _ in range(10)]
        drifts = [each.drift for each in found if each is not None and each.drift is not None]
        assert len(drifts) >= 9 or end < 1  # what becomes faster may be told as a warm-up
        assert np.median(drifts) == pytest.approx(end - 1, abs=0.1 if end > 1 else 0.25)
        assert all(each is not None and (each.drift or each.warmup) for each in found)


@pytest.mark.parametrize(("share", "factor"), [(0.2, 2.0), (0.5, 2.0), (0.8, 3.0)])
def test_two_planted_modes_are_found_and_measured(share: float, factor: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        values = times(1000, rng, Noise(0.1, 0.01)) * np.where(rng.random(1000) < share, 1.0, factor)
        found = steadiness(values)
        assert found is not None
        assert found.modes is not None
        assert found.modes.share == pytest.approx(share, abs=0.05)
        assert (found.modes.low_ms, found.modes.high_ms) == pytest.approx((20, 20 * factor), rel=0.05)
        assert (found.warmup, found.drift) == (0, None)


def test_spikes_are_no_mode_and_a_few_slow_messages_no_warm_up() -> None:
    rng = np.random.default_rng(4)
    values = times(1000, rng, Noise(0.1, 0.0))
    values[rng.random(1000) < 0.05] *= 10
    values[:5] *= 10
    found = steadiness(values)
    assert found is not None
    assert (found.warmup, found.drift, found.modes) == (0, None, None)


@pytest.mark.parametrize(
    ("noise", "n"), [*itertools.product(["quiet", "wide", "noisy"], [LEAST, 1000]), ("wide", 3000)]
)
def test_of_steady_cases_nothing_is_said(noise: str, n: int) -> None:
    """At most one in 100; of 200 with that rate 6 or more have something said of them once in 60 times."""
    rng = np.random.default_rng(5)
    said = 0
    for _ in range(200):
        found = steadiness(two_sides(NOISES[noise], n, SAME, rng)[0])
        assert found is not None
        said += bool(found.warmup or found.drift or found.modes)
    assert said <= 5


def test_too_few_to_tell() -> None:
    assert steadiness(np.full(LEAST - 1, MS)) is None
    even = steadiness(np.full(LEAST, MS))
    assert even is not None
    assert (even.warmup, even.drift, even.modes) == (0, None, None)
    assert steadiness(np.zeros(LEAST)) == even


@pytest.mark.parametrize(
    ("values", "expected"),
    [  # as the diptest package has them
        ([1.0, 1.1, 1.2, 5.0, 5.1, 5.2], 0.2375),
        ([1.0, 2.0, 2.5, 3.0, 9.0, 9.2, 9.3, 12.0], 0.178571428571),
        (list(range(100)), 0.005),  # 1 / 2n: it cannot be nearer
        ([1.0] * 50 + [2.0], 0.5 / 51),
    ],
)
def test_known_dips(values: list[float], expected: float) -> None:
    assert dip(np.array(values, dtype=np.float64)) == pytest.approx(expected, abs=1e-9)


def test_the_dip_knows_no_scale_and_no_direction() -> None:
    rng = np.random.default_rng(6)
    for n in (5, 30, 200):
        values = np.sort(rng.normal(0, 1, n) + (rng.random(n) < 0.4) * 4)
        assert dip(values * 3 + 7) == pytest.approx(dip(values))
        assert dip(np.sort(-values)) == pytest.approx(dip(values))


def test_the_dip_of_one_mode_is_small() -> None:
    """Of the uniform distribution, which of all with one mode has the greatest."""
    rng = np.random.default_rng(7)
    dips = [dip(np.sort(rng.random(300))) * math.sqrt(300) for _ in range(500)]
    assert np.mean(np.array(dips) > DIP) <= 0.01


def in_a_run(planted: Planted, rows: pd.DataFrame, **run: object) -> list[str]:
    ended = planted.run(scheduled=int((~rows["warmup"]).sum()), **run)
    return doubts(summarize(sample_frame(planted.table(rows)), planted.manifest(ended), {}, {}))


def test_what_is_found_is_said_with_what_to_do(planted: Planted) -> None:
    slow = np.arange(1000) < 100
    rows = planted.rows(1000, service_ns=times(1000, np.random.default_rng(8)) * np.where(slow, 2, 1))
    rows.loc[[3, 40], "outcome"] = "failed"  # messages are counted, not times
    (said,) = [each for each in in_a_run(planted, rows) if each.startswith("Warm-up")]
    assert "the first 100 messages of smtp/pooled were 9" in said
    assert "(load.warmup: 100)" in said


def test_a_load_that_changes_is_not_asked_to_be_steady(planted: Planted) -> None:
    rows = planted.rows(1000, service_ns=times(1000, np.random.default_rng(9)) * np.linspace(1, 2, 1000))
    assert any(each.startswith("Drift") for each in in_a_run(planted, rows))
    labels = {**planted.run().labels, "load": "ramp"}
    assert not any(each.startswith("Drift") for each in in_a_run(planted, rows, labels=labels))
