"""The answer in words: every sentence from planted figures, whatever the scenario was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import explain
from bench.model import Cold, PhaseSummary, Summary, ThresholdResult, ThresholdVerdict

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

SMTP_NEW, SMTP_KEPT = "generic/smtp/unpooled", "generic/smtp/pooled"
API_NEW, API_KEPT = "generic/api/unpooled", "generic/api/pooled"
BOTH = [(SMTP_NEW, 568, 11), (SMTP_KEPT, 205, 4)]
POOLING = "pooling saves 7 of 11 round trips and 363 of 568 ms a message"
API = "the API on a kept-alive connection"


def sentences(summary: Summary) -> tuple[str, ...]:
    return explain(summary).sentences


def all_four(planted: Planted) -> Summary:
    return planted.summary(
        planted.case(SMTP_NEW, 568.0, 11.0), planted.case(SMTP_KEPT, 205.0, 4.0),
        planted.case(API_NEW, 157.0, 3.0), planted.case(API_KEPT, 55.0, 1.0),
    )  # fmt: skip


def test_the_headline_says_what_pooling_and_the_api_save(planted: Planted) -> None:
    headline, second = sentences(all_four(planted))[:2]
    assert headline == (
        "At 50 ms round trip, pooling saves 7 of 11 round trips and 363 of 568 ms a message; "
        "the API on a kept-alive connection saves 3 more (150 ms)."
    )
    assert second == (
        "At 50 ms round trip, on a new connection for each message, the API takes 157 ms where SMTP takes "
        "568 ms (3 round trips against 11)."
    )


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ([(SMTP_NEW, 568, 11), (API_KEPT, 53, 1)],
         f"{API} saves 10 of 11 round trips and 515 of 568 ms a message."),
        ([(SMTP_KEPT, 205, 4), (API_KEPT, 53, 1)],
         f"{API} saves 3 of 4 round trips and 152 of 205 ms a message."),
        ([(API_NEW, 157, 3), (API_KEPT, 53, 1)],
         "keeping the API's connection alive saves 2 of 3 round trips and 104 of 157 ms a message."),
        ([(SMTP_NEW, 568, None), (SMTP_KEPT, 205, 4)], "pooling saves 363 of 568 ms a message."),
        ([(SMTP_NEW, 200, 4), (SMTP_KEPT, 250, 4)],
         "pooling costs 50 ms more a message (250 instead of 200 ms)."),
        ([(SMTP_NEW, 200, 4), (SMTP_KEPT, 201, 4)],
         "pooling makes no measurable difference (200 and 201 ms a message)."),
        ([*BOTH, (API_KEPT, 300, 1)], f"{POOLING}; {API} costs 95 ms more than that."),
        ([*BOTH, (API_KEPT, 205, 4)], f"{POOLING}; {API} makes no measurable difference to that."),
        ([*BOTH, (API_KEPT, 55, 4)], f"{POOLING}; {API} saves another 150 ms."),
    ],
)  # fmt: skip
def test_every_pair_that_a_scenario_may_have(
    planted: Planted, ways: list[tuple[str, float, float | None]], expected: str
) -> None:
    found = sentences(planted.summary(*(planted.case(*way) for way in ways)))[0]
    assert found == f"At 50 ms round trip, {expected}"


def test_an_unknown_distance_is_not_invented(planted: Planted) -> None:
    summary = planted.summary(
        planted.case(SMTP_NEW, 20.0, 11.0, rtt_ms=None), planted.case(SMTP_KEPT, 5.0, rtt_ms=None)
    )
    assert sentences(summary)[0].startswith("Here, pooling saves 7 of 11")


def test_groups_are_told_apart_by_what_differs(planted: Planted) -> None:
    summary = planted.summary(
        *(
            planted.case(f"{provider}/{transport}/pooled", ms, 1.0)
            for provider in ("sendgrid", "postmark")
            for transport, ms in (("smtp", 200.0), ("api", 60.0))
        )
    )
    first, second = sentences(summary)[:2]
    assert first.startswith("At 50 ms round trip (provider=sendgrid), the API")
    assert second.startswith("At 50 ms round trip (provider=postmark), the API")


def test_clients_are_paired_with_their_likes(planted: Planted) -> None:
    def case(transport: str, client: str, ms: float) -> object:
        labels = {"provider": "generic", "transport": transport, "connection": "pooled", "client": client}
        return planted.case(f"generic/{transport}/pooled/client={client}", ms, 1.0, labels=labels)

    summary = planted.summary(
        case("smtp", "aiosmtplib", 210.0),
        case("smtp", "wire", 205.0),
        case("api", "httpx", 60.0),
        case("api", "wire", 52.0),
    )
    found = sentences(summary)[:2]
    assert "(client aiosmtplib and httpx)" in found[0]
    assert "saves 150 of 210 ms" in found[0]
    assert "(client wire)" in found[1]
    assert "saves 153 of 205 ms" in found[1]


# ------------------------------------------------------------------------- sweeps


def sweep(
    planted: Planted, way: str, trips: float, fixed_ms: float, counted: float | None = None
) -> list[object]:
    return [
        planted.case(
            f"{way}/network.rtt={rtt}ms", trips * rtt + fixed_ms, counted or trips, rtt_ms=float(rtt)
        )
        for rtt in (5, 20, 50, 100)
    ]


def test_a_sweep_of_round_trip_times_becomes_a_line(planted: Planted) -> None:
    found = sentences(planted.summary(*sweep(planted, SMTP_NEW, 11, 3.1), *sweep(planted, API_KEPT, 1, 2.0)))
    assert found[0].startswith("At 50 ms round trip, the API")
    assert (
        "smtp/unpooled: service = 11.0 x RTT + 3.1 ms, over 4 round trip times (11 round trips counted)."
        in found
    )
    assert "api/pooled: service = 1.0 x RTT + 2 ms, over 4 round trip times (1 round trip counted)." in found
    assert sum("saves" in sentence for sentence in found) == 1


def test_a_slope_that_is_not_the_count_is_pointed_out(planted: Planted) -> None:
    found = sentences(planted.summary(*sweep(planted, SMTP_NEW, 12, -1.0, counted=11)))
    assert "service = 12.0 x RTT - 1 ms" in found[0]
    assert "something else grows with the distance" in found[0]


def load(planted: Planted, rates: list[float], **more: object) -> Summary:
    return planted.summary(
        *(
            planted.case(f"{SMTP_KEPT}/load.concurrency={2**i}", 5.0, rate=rate, rtt_ms=0.05, **more)
            for i, rate in enumerate(rates)
        )
    )


def test_the_knee_is_where_more_concurrency_brings_no_more_messages(planted: Planted) -> None:
    (knee,) = [s for s in sentences(load(planted, [300, 590, 1100, 1400, 1420])) if "concurrency" in s]
    assert knee == (
        "smtp/pooled: accepted messages per second stop growing at concurrency 8, at 1400 per second "
        "(concurrency 1: 300)."
    )


def test_a_knee_beyond_the_highest_concurrency_is_not_claimed(planted: Planted) -> None:
    assert (
        "still grow at concurrency 4, the highest tried, from 300 at concurrency 1 to 1100"
        in (sentences(load(planted, [300, 590, 1100]))[0])
    )


def test_a_generator_at_its_own_limit_says_so(planted: Planted) -> None:
    assert "the limit may be its own" in sentences(load(planted, [300, 590, 600], cpu_share=0.97))[0]


def test_rates_say_what_is_kept_up_with(planted: Planted) -> None:
    def rates(*accepted: float) -> str:
        cases = [
            planted.case(f"{SMTP_KEPT}/load.rate={offered}/s", 5.0, offered=float(offered), rate=rate)
            for offered, rate in zip((100, 200, 400), accepted, strict=True)
        ]
        return sentences(planted.summary(*cases))[0]

    assert (
        rates(100, 199, 310)
        == "smtp/pooled: 200 per second is kept up with; of 400 per second offered, 310 were accepted."
    )
    assert rates(100, 200, 400) == "smtp/pooled: every rate offered was kept up with, up to 400 per second."
    assert rates(50, 50, 50) == "smtp/pooled: of 100 per second offered, 50 were accepted."


# --------------------------------------------------------------------- single cases


def test_one_case_alone(planted: Planted) -> None:
    (sentence,) = sentences(planted.summary(planted.case(SMTP_KEPT)))
    assert sentence == (
        "smtp/pooled: a message takes 205 ms at the median (95 % interval 203 to 207 ms), "
        "95 of 100 at most 211 ms; 20 messages per second were accepted."
    )


def test_an_open_case_speaks_of_latency_and_of_waiting(planted: Planted) -> None:
    (sentence,) = sentences(planted.summary(planted.case(SMTP_KEPT, offered=50.0, rate=49.9, wait_ms=60.0)))
    assert sentence.startswith("smtp/pooled: from the moment it was due, a message takes 205 ms")
    assert "waiting for a free connection or slot takes up to 61.8 ms" in sentence
    (calm,) = sentences(planted.summary(planted.case(SMTP_KEPT, offered=50.0, rate=49.9)))
    assert "waiting" not in calm


@pytest.mark.parametrize(("count", "text"), [(1, "1 message took"), (3, "3 messages took 54.3 to 60.9 ms")])
def test_too_few_messages_are_not_made_percentiles_of(planted: Planted, count: int, text: str) -> None:
    (sentence,) = sentences(planted.summary(planted.case(SMTP_KEPT, 55.4, count=count)))
    assert sentence.startswith(f"smtp/pooled: {text}")
    assert "too few for percentiles" in sentence


def test_a_pooled_case_of_nothing_but_cold_messages(planted: Planted) -> None:
    case = planted.case(SMTP_KEPT, None, cold=Cold(12, planted.distribution(568.0, count=12)))
    assert sentences(planted.summary(case))[0].startswith(
        "smtp/pooled: every message opened a connection; a message takes 568 ms"
    )


def test_what_takes_the_time(planted: Planted) -> None:
    phases = {
        "banner": PhaseSummary(400, 100.0, 101.0), "auth": PhaseSummary(400, 200.0, 201.0),
        "mail": PhaseSummary(400, 50.0, 51.0), "reply": PhaseSummary(400, 150.0, 160.0),
    }  # fmt: skip
    found = sentences(planted.summary(planted.case(SMTP_NEW, 500.0, 10.0, phases=phases)))
    assert found[-1] == (
        "In smtp/unpooled, `auth` takes the most time, 200 of 500 ms; opening connections takes about 60 %; "
        "10 round trips at 50 ms account for 500 ms."
    )


# ------------------------------------------------------------------------- doubts


def test_certificates_that_nobody_checked_come_before_everything(planted: Planted) -> None:
    """S29, X05: loud."""
    unchecked = {"provider": "generic", "transport": "smtp", "connection": "pooled", "tls.verify": "false"}
    open_case = planted.case(SMTP_KEPT, labels=unchecked, valid=False, reasons=("it went wrong",))
    safe = planted.case(API_KEPT, labels=unchecked | {"transport": "api", "tls.verify": "true"})
    found = sentences(planted.summary(open_case, safe, state="aborted"))
    assert found[0] == "INSECURE: certificates were not checked in smtp/pooled (tls.verify is false)."
    other = planted.case(API_KEPT, labels=unchecked | {"transport": "api"})
    assert "not checked in any of the 2 cases" in sentences(planted.summary(open_case, other))[0]
    assert not any("INSECURE" in text for text in sentences(planted.summary(safe)))


def test_invalid_cases_come_first_and_nothing_is_concluded_from_them(planted: Planted) -> None:
    bad = planted.case(SMTP_KEPT, 205.0, valid=False, reasons=("the generator started messages late",))
    found = sentences(
        planted.summary(planted.case(SMTP_NEW, 568.0, 11.0), bad, planted.case(API_KEPT, 53.0, 1.0))
    )
    assert found[0] == "Not valid smtp/pooled: the generator started messages late."
    assert found[1].startswith("At 50 ms round trip, the API on a kept-alive connection saves 10 of 11")
    assert not any("pooling" in sentence for sentence in found)


def test_a_target_that_is_down(planted: Planted) -> None:
    cases = [
        planted.case(name, None, accepted=0, valid=False, reasons=("none of 400 messages was accepted",))
        for name in (SMTP_NEW, SMTP_KEPT, API_KEPT)
    ]
    assert sentences(planted.summary(*cases)) == (
        "Not valid all 3 cases: none of 400 messages was accepted.",
    )


def test_many_reasons_are_counted_not_listed(planted: Planted) -> None:
    cases = [
        planted.case(f"{SMTP_KEPT}/network.rtt={i}ms", valid=False, reasons=(f"late by {i}",))
        for i in range(9)
    ]
    assert sentences(planted.summary(*cases))[4] == "Not valid 5 more; the tables say why."


def test_lost_messages_are_named_with_their_causes(planted: Planted) -> None:
    case = planted.case(SMTP_KEPT, accepted=388, errors={"550": 10, "timeout": 2})
    assert sentences(planted.summary(case))[0] == (
        "Not accepted: 12 of 400 messages of smtp/pooled (10 x 550 and 2 x timeout); "
        "the times are those of accepted messages."
    )


def test_round_trips_that_the_wire_disputes_are_not_to_be_relied_on(planted: Planted) -> None:
    found = sentences(planted.summary(planted.case(SMTP_KEPT, checked=(40, 3))))
    assert found[0].startswith("On 3 of 40 connections the wire saw another number of round trips")
    assert sentences(planted.summary(planted.case(SMTP_KEPT, checked=(40, 0))))[0].startswith("smtp/pooled:")


def test_a_remark_on_a_valid_case_is_a_note(planted: Planted) -> None:
    found = sentences(planted.summary(planted.case(SMTP_KEPT, reasons=("generator-bound: 95% of a core",))))
    assert found[0] == "Note on smtp/pooled: generator-bound: 95% of a core."


def test_a_run_that_was_cut_short_says_so(planted: Planted) -> None:
    found = sentences(planted.summary(planted.case(SMTP_KEPT), state="aborted", reason="SIGINT"))
    assert found[0] == "The run is aborted (SIGINT): the figures are about what was recorded."


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["pass"], "The threshold check passed."),
        (["pass", "pass"], "All 2 threshold checks passed."),
        (["pass", "fail"], "1 of 2 threshold checks failed: limit 1 (smtp/pooled)."),
        (["inconclusive"], "1 of 1 threshold checks are inconclusive: limit 0 (smtp/pooled: too few)."),
    ],
)
def test_thresholds_in_words(planted: Planted, verdicts: list[str], expected: str) -> None:
    results = tuple(
        ThresholdResult(
            f"limit {i}", 1.0, ThresholdVerdict(text), i, "too few" if text == "inconclusive" else ""
        )
        for i, text in enumerate(verdicts)
    )
    assert expected in sentences(planted.summary(planted.case(SMTP_KEPT, thresholds=results)))


def test_a_run_without_cases(planted: Planted) -> None:
    answer = explain(planted.summary())
    assert answer.sentences == ("No case of this run has been recorded, so there is nothing to report.",)
    assert len(answer.claims) == 6


SETTINGS = ("", "/network.rtt=5ms", "/network.rtt=50ms", "/load.concurrency=1", "/load.rate=50/s")
CASES = st.lists(
    st.tuples(
        st.sampled_from([SMTP_NEW, SMTP_KEPT, API_NEW, API_KEPT]),
        st.sampled_from(SETTINGS),
        st.one_of(st.none(), st.floats(0.001, 1e5)),
        st.one_of(st.none(), st.floats(0, 20)),
        st.one_of(st.none(), st.floats(0, 200)),
        st.one_of(st.none(), st.floats(0.1, 1e4)),
        st.one_of(st.none(), st.floats(0.1, 1e4)),
        st.integers(1, 5000),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda case: (case[0], case[1]),
)  # fmt: skip


@given(cases=CASES)
@settings(max_examples=150, deadline=None)
def test_any_run_gets_whole_sentences(
    planted: Planted, cases: list[tuple[str, str, float, float, float, float, float, int, bool]]
) -> None:
    summary = planted.summary(
        *(
            planted.case(
                way + setting, p50, trips, rtt_ms=rtt, rate=rate, offered=offered, count=count, valid=valid,
                accepted=0 if p50 is None else count, reasons=() if valid else ("something is wrong",),
            )
            for way, setting, p50, trips, rtt, rate, offered, count, valid in cases
        )
    )  # fmt: skip
    answer = explain(summary)
    assert answer.sentences or all(case.service is None for case in summary.cases)
    for sentence in answer.sentences:
        assert sentence.endswith(".")
        assert "None" not in sentence
        assert "nan" not in sentence
        assert "  " not in sentence
    assert len(answer.claims) == 6
    assert all(claim.evidence for claim in answer.claims)


def test_each_way_of_a_sweep_has_a_line_of_its_own(planted: Planted) -> None:
    found = sentences(
        planted.summary(
            *sweep(planted, SMTP_KEPT + "/smtp.pipelining=off", 4, 3.0),
            *sweep(planted, SMTP_KEPT + "/smtp.pipelining=auto", 1, 3.0),
        )
    )
    lines = [each for each in found if "service = " in each]
    assert [line.partition(": ")[2][:15] for line in lines] == ["service = 4.0 x", "service = 1.0 x"]
