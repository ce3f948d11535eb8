"""Lines over the round trip time, knees over the concurrency: planted slopes and limits must come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import knees, rtt_fits

if TYPE_CHECKING:
    from bench.model import CaseSummary
    from tests.analysis.conftest import Planted

SMTP_NEW = "generic/smtp/unpooled"
RTTS = (5.0, 20.0, 50.0, 100.0)


def sweep(
    planted: Planted, way: str, times: list[float], trips: float = 11.0, **more: object
) -> list[CaseSummary]:
    return [
        planted.case(f"{way}/network.rtt={rtt:g}ms", ms, trips, rtt_ms=rtt, **more)
        for rtt, ms in zip(RTTS, times, strict=False)
    ]


@given(slope=st.floats(0.5, 40), intercept=st.floats(-5, 100), noise=st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_a_line_is_numpy_s_least_squares(
    planted: Planted, slope: float, intercept: float, noise: int
) -> None:
    wiggle = np.random.default_rng(noise).normal(0, 0.5, 4)
    times = [slope * rtt + intercept + 10 + w for rtt, w in zip(RTTS, wiggle, strict=True)]
    (fit,) = rtt_fits(planted.summary(*sweep(planted, SMTP_NEW, times)))
    a, b = np.polyfit(RTTS, times, 1)
    assert fit.slope == pytest.approx(float(a), rel=1e-9, abs=1e-9)
    assert fit.intercept_ms == pytest.approx(float(b), rel=1e-6, abs=1e-6)
    assert fit.residual_ms == pytest.approx(
        float(np.abs(np.array(times) - a * np.array(RTTS) - b).max()), abs=1e-6
    )


def test_a_line_knows_its_cases(planted: Planted) -> None:
    (fit,) = rtt_fits(planted.summary(*sweep(planted, SMTP_NEW, [11 * rtt + 3.1 for rtt in RTTS])))
    assert (fit.name, fit.provider, fit.transport, fit.connection) == (
        "smtp/unpooled",
        "generic",
        "smtp",
        "unpooled",
    )
    assert (fit.slope, fit.intercept_ms, fit.residual_ms) == pytest.approx((11.0, 3.1, 0.0))
    assert fit.counted == 11.0
    assert fit.agrees
    assert [rtt for rtt, _ in fit.points] == list(RTTS)


@pytest.mark.parametrize(("slope", "agrees"), [(10.6, False), (10.7, True), (11.3, True), (11.4, False)])
def test_a_slope_agrees_with_the_count_within_three_percent(
    planted: Planted, slope: float, agrees: bool
) -> None:
    (fit,) = rtt_fits(planted.summary(*sweep(planted, SMTP_NEW, [slope * rtt for rtt in RTTS])))
    assert fit.agrees is agrees


def test_there_is_one_line_for_each_way_of_sending_and_none_for_a_single_rtt(planted: Planted) -> None:
    cases = [
        *sweep(planted, SMTP_NEW, [60.0, 200.0, 600.0, 1200.0]),
        *sweep(planted, "generic/api/pooled", [8.0, 23.0], trips=1.0),
        *sweep(planted, "generic/api/unpooled", [20.0], trips=3.0),
        planted.case("generic/smtp/pooled", 205.0),
    ]
    assert [fit.name for fit in rtt_fits(planted.summary(*cases))] == ["smtp/unpooled", "api/pooled"]


def test_invalid_cases_and_small_samples_are_not_fitted(planted: Planted) -> None:
    good = sweep(planted, SMTP_NEW, [60.0, 200.0])
    bad = planted.case(f"{SMTP_NEW}/network.rtt=80ms", 1.0, rtt_ms=80.0, valid=False)
    few = planted.case(f"{SMTP_NEW}/network.rtt=90ms", 1.0, rtt_ms=90.0, count=4)
    (fit,) = rtt_fits(planted.summary(*good, bad, few))
    assert len(fit.points) == 2


def test_the_provider_is_named_where_there_are_several(planted: Planted) -> None:
    cases = [
        case for way in (SMTP_NEW, "sendgrid/smtp/unpooled") for case in sweep(planted, way, [60.0, 200.0])
    ]
    assert [fit.name for fit in rtt_fits(planted.summary(*cases))] == [SMTP_NEW, "sendgrid/smtp/unpooled"]


def rising(planted: Planted, rates: dict[int, float], **more: object) -> list[CaseSummary]:
    return [planted.case(f"{SMTP_NEW}/load.concurrency={c}", 10.0, rate=r, **more) for c, r in rates.items()]


@pytest.mark.parametrize(
    ("rates", "knee", "reached"),
    [
        ({1: 10, 2: 20, 4: 40}, 4, False),
        ({1: 10, 2: 20, 4: 20.5}, 2, True),
        ({1: 10, 2: 20, 4: 21.5}, 4, False),  # more than 5 % is growth
        ({1: 10, 2: 20, 4: 12}, 2, True),  # collapse beyond the knee
        ({1: 10, 2: 10, 4: 10}, 1, True),
        ({4: 20.5, 1: 10, 2: 20}, 2, True),  # in whatever order they ran
    ],
)
def test_a_knee_is_the_least_concurrency_that_reaches_the_best_rate(
    planted: Planted, rates: dict[int, float], knee: int, reached: bool
) -> None:
    (found,) = knees(planted.summary(*rising(planted, rates)))
    assert (found.concurrency, found.reached, found.rate_per_s) == (knee, reached, rates[knee])
    assert found.best_per_s == max(rates.values())
    assert [point[0] for point in found.points] == [1, 2, 4]


def test_a_knee_beyond_a_core_of_cpu_is_ours(planted: Planted) -> None:
    slow = rising(planted, {1: 10, 2: 20}, cpu_share=0.5)
    busy = planted.case(f"{SMTP_NEW}/load.concurrency=4", 10.0, rate=20.1, cpu_share=0.99)
    assert not knees(planted.summary(*slow, busy))[0].generator_bound
    assert knees(planted.summary(*rising(planted, {1: 10, 2: 20}, cpu_share=0.99)))[0].generator_bound


def test_open_invalid_or_lonely_cases_have_no_knee(planted: Planted) -> None:
    assert knees(planted.summary(*rising(planted, {1: 10}))) == ()
    assert knees(planted.summary(*rising(planted, {1: 10, 2: 20}, offered=30.0))) == ()
    assert knees(planted.summary(*rising(planted, {1: 10, 2: 20}, valid=False))) == ()
    assert knees(planted.summary(planted.case(SMTP_NEW), planted.case("generic/smtp/pooled"))) == ()
