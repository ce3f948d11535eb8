"""How many messages a call must carry to beat SMTP on a kept connection, worked out by hand."""

from __future__ import annotations

import pytest

from bench.analysis.answer import explain
from bench.analysis.breakeven import Call, break_even, break_evens
from bench.model import CaseSummary, Cold
from tests.analysis.conftest import Planted

CALLS = [Call(1, 500, 24.0, few=False), Call(5, 100, 26.0, few=False), Call(25, 20, 36.0, few=False)]


@pytest.mark.parametrize(
    ("smtp_ms", "least"),
    [
        (66.0, 1),  # one message a call is faster already
        (24.0, 2),  # as fast is not faster; 2 messages take 24.5 ms on the line from 24 to 26
        (8.4, 3),  # 25 < 3 x 8.4
        (3.5, 8),  # beyond 5 half a millisecond each: 27.5 < 8 x 3.5, but 27 > 7 x 3.5
        (1.5, 24),  # 35.5 < 24 x 1.5
        (1.4, None),  # 25 messages take 35 ms over SMTP
    ],
)
def test_the_least_number_of_messages(smtp_ms: float, least: int | None) -> None:
    assert break_even(CALLS, smtp_ms) == least


def batches(planted: Planted, provider: str = "postmark") -> list[CaseSummary]:
    api = f"{provider}/api/pooled/batch="
    return [
        planted.case(f"{provider}/smtp/pooled/smtp.pipelining=off", 66.0, count=500),
        planted.case(f"{provider}/smtp/pooled/smtp.pipelining=auto", 24.0, count=500),
        planted.case(f"{api}off", 24.0, count=500),
        planted.case(f"{api}5", 26.0, count=100, accepted=500),
        planted.case(f"{api}max", 120.0, count=1, accepted=500),
    ]


def test_what_is_said(planted: Planted) -> None:
    (sentence,) = break_evens(planted.summary(*batches(planted)))
    assert sentence == (
        "postmark: a message takes 24 ms in calls of 1 (500), 5.2 ms in calls of 5 (100) and 0.24 ms by the "
        "mean in calls of 500 (1); smtp/pooled (66 ms) is beaten from 1 message a call on and "
        "smtp/pooled/pipelined (24 ms) is beaten from 2 messages a call on."
    )
    assert sentence in explain(planted.summary(*batches(planted))).sentences


def test_calls_on_a_new_connection_count_as_calls(planted: Planted) -> None:
    cold = Cold(20, planted.distribution(60.0, count=2))
    cases = [
        planted.case("ses/smtp/pooled", 24.0, count=100),
        planted.case("ses/api/pooled/batch=off", 24.0, count=100),
        planted.case("ses/api/pooled/batch=10", 30.0, count=8, accepted=100, cold=cold),
    ]
    (sentence,) = break_evens(planted.summary(*cases))
    assert "3 ms in calls of 10 (10);" in sentence


def test_a_size_that_is_too_small_beats_nothing(planted: Planted) -> None:
    cases = [
        planted.case("ses/smtp/pooled", 1.0, count=100),
        planted.case("ses/api/pooled/batch=off", 24.0, count=100),
        planted.case("ses/api/pooled/batch=10", 30.0, count=10, accepted=100),
    ]
    (sentence,) = break_evens(planted.summary(*cases))
    assert sentence.endswith("; no size that was tried beats smtp/pooled (1 ms).")


def test_nothing_is_said_without_several_sizes_or_smtp_or_of_invalid_cases(planted: Planted) -> None:
    smtp, _, single, five, _ = batches(planted)
    assert break_evens(planted.summary(smtp, five)) == []
    assert break_evens(planted.summary(single, five)) == []
    spoilt = planted.case("postmark/api/pooled/batch=5", 26.0, count=100, accepted=500, valid=False)
    assert break_evens(planted.summary(smtp, single, spoilt)) == []


def test_of_many_providers_the_first_are_put_into_words(planted: Planted) -> None:
    several = [case for name in "abcdefg" for case in batches(planted, name)]
    said = explain(planted.summary(*several)).sentences
    assert sum("is beaten from" in each for each in said) == 4
    assert "The tables hold 3 more providers' batches." in said
