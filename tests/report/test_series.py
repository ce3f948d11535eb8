from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.report.panels import spread
from bench.report.series import profile, series_of, spectrum
from tests.report.planted import edge


def test_spectrum_is_the_exact_quantile_as_far_as_the_sample_reaches() -> None:
    times = np.random.default_rng(1).lognormal(3, 0.5, 400)
    found = spectrum(times)
    expected = np.quantile(times, found.quantile, method="inverted_cdf")
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()
    assert 0.99 <= found.quantile[-1] < 1 - 1 / 120
    assert 0.5 in found.quantile


@pytest.mark.parametrize(("count", "highest"), [(0, None), (5, None), (6, 0.5), (72, 0.95), (368, 0.99)])
def test_spectrum_ends_where_the_interval_does(count: int, highest: float | None) -> None:
    found = spectrum(np.arange(1.0, count + 1))
    if highest is None:
        assert len(found) == 0
    else:
        assert found.quantile[-1] >= highest
        assert found.quantile[-1] < highest + 0.3 * (1 - highest)


def test_profile_adds_up_to_about_the_median() -> None:
    run = edge("four")
    for case in run.summary.cases:
        pooled = case.labels["connection"] == "pooled"
        one = profile(series_of(run.frame, case.id, pooled=pooled))
        assert one is not None
        assert case.service is not None
        assert case.service.p50 is not None
        assert one.total_ms == pytest.approx(case.service.p50.value_ms, rel=0.01)
        assert one.quit_ms == (50 if case.id == "sendgrid/smtp/unpooled" else 0)


def test_phases_stand_in_the_order_of_the_dialogue() -> None:
    run = edge("four")
    one = profile(series_of(run.frame, "sendgrid/smtp/unpooled", pooled=False))
    assert one is not None
    assert list(one.phases_ms) == [
        "tcp", "banner", "ehlo", "starttls", "tls", "auth", "mail", "rcpt", "data", "body", "reply",
    ]  # fmt: skip


def test_what_counts_is_accepted_and_not_cold_where_connections_are_kept() -> None:
    frame = pd.DataFrame(
        {
            "case": "a",
            "warmup": [True, False, False, False, None],
            "cold": [True, True, False, False, False],
            "outcome": ["accepted", "accepted", "accepted", "failed", "unknown"],
            "start_ns": [0, 10, 20, 30, None],
            "ready_ns": [0, 10, 20, 30, 40],
            "end_ns": [5, 15, 25, 35, None],
            "due_ns": [None] * 5,
        }
    )
    series = series_of(frame, "a", pooled=True)
    assert series.counted.tolist() == [False, True, False, False]
    assert series_of(frame, "a", pooled=False).counted.tolist() == [True, True, False, False]
    assert series.at_s.tolist() == pytest.approx([0, 1e-8, 2e-8, 3e-8])
    assert len(series_of(frame, "b", pooled=True)) == 0
    assert len(series_of(pd.DataFrame(), "a", pooled=True)) == 0


def test_nothing_accepted_has_no_profile() -> None:
    run = edge("all-failed")
    assert profile(series_of(run.frame, run.summary.cases[0].id, pooled=False)) is None


@pytest.mark.parametrize(
    ("positions", "placed"),
    [([], []), ([5.0], [5.0]), ([0.0, 1.0, 30.0], [0.0, 12.0, 30.0]), ([9.0, 8.0, 7.0], [31.0, 19.0, 7.0])],
)
def test_labels_are_pushed_apart(positions: list[float], placed: list[float]) -> None:
    assert spread(positions, 12.0) == placed
