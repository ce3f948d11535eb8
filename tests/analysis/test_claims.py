"""Claims: each verdict must come from the planted numbers, and only where the run has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.analysis import judge_claims
from bench.analysis.claims import API_FAST, BATCH, POOLING, RATIO, SET_UP, SMTP_SLOW
from bench.model import CaseSummary, Claim, ClaimVerdict, PhaseSummary, Summary

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

HOLDS, FAILS, UNTESTED = ClaimVerdict.HOLDS, ClaimVerdict.DOES_NOT_HOLD, ClaimVerdict.NOT_TESTED
SMTP_NEW, SMTP_KEPT = "generic/smtp/unpooled", "generic/smtp/pooled"
API_NEW, API_KEPT = "generic/api/unpooled", "generic/api/pooled"


def claim(summary: Summary, text: str) -> Claim:
    (found,) = [each for each in judge_claims(summary) if each.text == text]
    return found


def four(planted: Planted, rtt: float = 50.0, setting: str = "") -> list[CaseSummary]:
    """The dialogue over a network, with 18, 5, 7 and 3 ms of other costs."""
    ways = ((SMTP_NEW, 11, 18), (SMTP_KEPT, 4, 5), (API_NEW, 3, 7), (API_KEPT, 1, 3))
    return [planted.case(w + setting, t * rtt + fixed, float(t), rtt_ms=rtt) for w, t, fixed in ways]


def test_the_claims_at_50_ms(planted: Planted) -> None:
    verdicts = {each.text: each.verdict for each in judge_claims(planted.summary(*four(planted)))}
    assert verdicts == {
        SMTP_SLOW: HOLDS, POOLING: HOLDS, API_FAST: HOLDS, RATIO: FAILS, BATCH: UNTESTED, SET_UP: UNTESTED,
    }  # fmt: skip


def test_the_evidence_is_in_numbers_and_names_the_round_trip_time(planted: Planted) -> None:
    summary = planted.summary(*four(planted))
    assert claim(summary, SMTP_SLOW).evidence == "568 ms on a new connection at 50 ms round trip"
    assert (
        claim(summary, API_FAST).evidence
        == "157 ms on a new connection and 53 ms kept alive at 50 ms round trip"
    )
    assert claim(summary, POOLING).evidence == (
        "205 instead of 568 ms at 50 ms round trip (4 round trips instead of 11); "
        "the gap to the API kept alive goes from 10.7 to 3.87 times"
    )
    assert "3.62 times with new connections for both, 3.87 times" in claim(summary, RATIO).evidence


@pytest.mark.parametrize(
    ("ms", "verdict"), [(499.0, FAILS), (500.0, HOLDS), (1500.0, HOLDS), (1501.0, FAILS)]
)
def test_the_limits_of_the_smtp_claim(planted: Planted, ms: float, verdict: ClaimVerdict) -> None:
    assert claim(planted.summary(planted.case(SMTP_NEW, ms)), SMTP_SLOW).verdict is verdict


def test_every_way_that_was_measured_must_be_within_the_api_claim(planted: Planted) -> None:
    summary = planted.summary(planted.case(API_NEW, 257.0), planted.case(API_KEPT, 100.0))
    assert claim(summary, API_FAST).verdict is FAILS
    assert claim(planted.summary(planted.case(API_KEPT, 100.0)), API_FAST).verdict is HOLDS


def test_a_sweep_is_judged_at_the_rtt_nearest_to_50_ms_and_shows_the_others(planted: Planted) -> None:
    cases = [c for rtt in (5, 40, 100) for c in four(planted, float(rtt), f"/network.rtt={rtt}ms")]
    found = claim(planted.summary(*cases), SMTP_SLOW)
    assert found.verdict is FAILS  # 458 ms
    assert found.evidence.startswith("458 ms on a new connection at 40 ms round trip; elsewhere: 73 ms")
    assert "1118 ms on a new connection at 100 ms" in found.evidence


@pytest.mark.parametrize("rtt", [0.05, None])
def test_claims_about_a_distance_are_not_judged_without_one(planted: Planted, rtt: float | None) -> None:
    cases = [
        planted.case(way, ms, rtt_ms=rtt) for way, ms in ((SMTP_NEW, 8.0), (SMTP_KEPT, 2.0), (API_KEPT, 1.0))
    ]
    summary = planted.summary(*cases)
    for text in (SMTP_SLOW, API_FAST, RATIO):
        assert claim(summary, text).verdict is UNTESTED
        assert "distance" in claim(summary, text).evidence
    assert claim(summary, POOLING).verdict is HOLDS


def test_pooling_that_costs_time_refutes_the_claim(planted: Planted) -> None:
    summary = planted.summary(planted.case(SMTP_NEW, 200.0), planted.case(SMTP_KEPT, 300.0))
    assert claim(summary, POOLING).verdict is FAILS


def test_pooling_that_cannot_be_told_from_noise_decides_nothing(planted: Planted) -> None:
    summary = planted.summary(
        planted.case(SMTP_NEW, 200.0, spread=0.2), planted.case(SMTP_KEPT, 190.0, spread=0.2)
    )
    found = claim(summary, POOLING)
    assert found.verdict is UNTESTED
    assert "overlap" in found.evidence


@pytest.mark.parametrize(
    ("smtp_new", "smtp_kept", "api_new", "api_kept", "verdict"),
    [
        (700.0, 350.0, 100.0, 50.0, HOLDS),
        (700.0, 205.0, 100.0, 53.0, FAILS),
        (1200.0, 350.0, 100.0, 50.0, FAILS),
    ],
)
def test_the_ratio_compares_like_with_like(
    planted: Planted,
    smtp_new: float,
    smtp_kept: float,
    api_new: float,
    api_kept: float,
    verdict: ClaimVerdict,
) -> None:
    values = ((SMTP_NEW, smtp_new), (SMTP_KEPT, smtp_kept), (API_NEW, api_new), (API_KEPT, api_kept))
    assert claim(planted.summary(*(planted.case(*value) for value in values)), RATIO).verdict is verdict


def test_the_unlike_pair_is_judged_where_it_is_the_only_one(planted: Planted) -> None:
    summary = planted.summary(planted.case(SMTP_NEW, 568.0), planted.case(API_KEPT, 60.0))
    assert claim(summary, RATIO).verdict is HOLDS


def test_invalid_cases_and_small_samples_are_no_evidence(planted: Planted) -> None:
    summary = planted.summary(
        planted.case(SMTP_NEW, 568.0, valid=False), planted.case(API_KEPT, 53.0, count=5)
    )
    assert {each.verdict for each in judge_claims(summary)} == {UNTESTED}


def test_several_providers_must_all_agree(planted: Planted) -> None:
    cases = [
        planted.case(f"{name}/smtp/unpooled", ms) for name, ms in (("sendgrid", 600.0), ("postmark", 450.0))
    ]
    found = claim(planted.summary(*cases), SMTP_SLOW)
    assert found.verdict is FAILS
    assert "provider=sendgrid" in found.evidence
    assert "provider=postmark" in found.evidence


def rising(planted: Planted, way: str, rates: list[float], **more: object) -> list[CaseSummary]:
    return [
        planted.case(f"{way}/load.concurrency={2**i}", 10.0, rate=rate, rtt_ms=0.05, **more)
        for i, rate in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("fresh", "kept", "verdict"),
    [
        ([40.0, 70.0, 71.0], [200.0, 400.0, 800.0], HOLDS),
        ([40.0, 60.0, 80.0], [200.0, 400.0, 800.0], UNTESTED),  # still growing
        ([100.0, 200.0, 400.0], [200.0, 400.0, 800.0], FAILS),
        ([10.0, 12.0, 12.0], [20.0, 40.0, 80.0], UNTESTED),  # nothing got to 100/s
    ],
)
def test_connection_set_up_as_the_bottleneck_under_rising_concurrency(
    planted: Planted, fresh: list[float], kept: list[float], verdict: ClaimVerdict
) -> None:
    summary = planted.summary(*rising(planted, SMTP_NEW, fresh), *rising(planted, SMTP_KEPT, kept))
    assert claim(summary, SET_UP).verdict is verdict


def test_a_generator_at_its_limit_proves_nothing_about_connection_set_up(planted: Planted) -> None:
    fresh = rising(planted, SMTP_NEW, [40.0, 70.0, 71.0], cpu_share=0.97)
    summary = planted.summary(*fresh, *rising(planted, SMTP_KEPT, [200.0, 400.0, 800.0]))
    assert claim(summary, SET_UP).verdict is UNTESTED


@pytest.mark.parametrize(("fresh", "verdict"), [(149.0, FAILS), (80.0, HOLDS)])
def test_connection_set_up_as_the_bottleneck_at_a_rate(
    planted: Planted, fresh: float, verdict: ClaimVerdict
) -> None:
    summary = planted.summary(
        planted.case(SMTP_NEW, 10.0, offered=150.0, rate=fresh),
        planted.case(SMTP_KEPT, 5.0, offered=150.0, rate=150.0),
    )
    assert claim(summary, SET_UP).verdict is verdict


@pytest.mark.parametrize(("size", "calls", "verdict"), [(50, 8, HOLDS), (5, 80, FAILS)])
def test_a_batch_claim_counts_the_calls_of_the_largest(
    planted: Planted, size: int, calls: int, verdict: ClaimVerdict
) -> None:
    batches = planted.case(f"sendgrid/api/pooled/batch={size}", count=calls, accepted=400)
    found = claim(planted.summary(planted.case(SMTP_KEPT, accepted=400), batches), BATCH)
    assert found.verdict is verdict
    assert found.evidence == (
        f"400 messages took {calls} calls of {size}; over SMTP 400 messages took 400 transactions"
    )


def test_a_batch_claim_needs_batches(planted: Planted) -> None:
    found = claim(planted.summary(planted.case(SMTP_KEPT, accepted=400)), BATCH)
    assert (
        found.evidence == "no case of this run sends in batches; over SMTP 400 messages took 400 transactions"
    )


OFF, BOTH = "/smtp.chunking=off/smtp.pipelining=off", "/smtp.chunking=auto/smtp.pipelining=auto"
TOGETHER = {"envelope": PhaseSummary(400, 50.0, 51.0)}


def test_claims_are_judged_on_the_dialogue_of_one_command_at_a_time(planted: Planted) -> None:
    fresh, kept, fresh_api, kept_api = four(planted)
    plain = planted.summary(fresh, kept, fresh_api, kept_api)
    several = planted.summary(
        planted.case(SMTP_KEPT + BOTH, 54.0, 1.0, rate=75.0, phases=TOGETHER),
        planted.case(SMTP_NEW + BOTH, 418.0, 8.0, phases=TOGETHER),
        planted.case(SMTP_NEW + OFF, 568.0, 11.0),
        planted.case(SMTP_KEPT + OFF, 205.0, 4.0),
        fresh_api,
        kept_api,
    )
    for text in (SMTP_SLOW, POOLING, API_FAST, RATIO, SET_UP):
        assert claim(several, text) == claim(plain, text)


def test_where_all_smtp_sends_commands_together_the_claims_about_it_are_not_tested(planted: Planted) -> None:
    summary = planted.summary(
        planted.case(SMTP_NEW, 418.0, 8.0, phases=TOGETHER),
        planted.case(SMTP_KEPT, 54.0, 1.0, phases=TOGETHER),
        planted.case(API_NEW, 157.0, 3.0),
        planted.case(API_KEPT, 53.0, 1.0),
    )
    for text in (SMTP_SLOW, POOLING, RATIO):
        found = claim(summary, text)
        assert found.verdict is UNTESTED
        assert "the claim is about one at a time" in found.evidence
    assert claim(summary, API_FAST).verdict is HOLDS
    assert "at a time" not in claim(planted.summary(planted.case(API_KEPT, 53.0, 1.0)), SMTP_SLOW).evidence


def test_setting_up_connections_is_no_matter_of_the_dialogue(planted: Planted) -> None:
    fresh = rising(planted, SMTP_NEW, [40.0, 70.0, 71.0], phases=TOGETHER)
    summary = planted.summary(*fresh, *rising(planted, SMTP_KEPT, [200.0, 400.0, 800.0], phases=TOGETHER))
    assert claim(summary, SET_UP).verdict is HOLDS
