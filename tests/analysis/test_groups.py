"""Names and numbers in sentences, and which cases may be set against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.analysis.groups import (
    at_reference,
    comparable,
    differing,
    family,
    lightest,
    listed,
    names,
    number,
    trips,
)

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (568.4, "568"), (53.24, "53.2"), (50.0, "50"), (0.0512, "0.0512"), (1240.4, "1240"), (100.0, "100"),
        (1.0, "1"), (999.9, "1000"), (0.0, "0"), (-3.14159, "-3.14"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(1.0, "1 round trip"), (11.0, "11 round trips"), (0.0, "0 round trips")]
)
def test_round_trips_agree_in_number(count: float, text: str) -> None:
    assert trips(count) == text


@pytest.mark.parametrize(
    ("parts", "text"),
    [("", ""), ("a", "a"), ("ab", "a and b"), ("abcd", "a, b, c and d"), ("abcdef", "a, b, c and 3 more")],
)
def test_lists_end_in_and(parts: str, text: str) -> None:
    assert listed(parts) == text


def test_the_provider_is_only_named_where_there_are_several(planted: Planted) -> None:
    one = planted.summary(planted.case("generic/smtp/pooled"), planted.case("generic/api/pooled"))
    two = planted.summary(planted.case("generic/smtp/pooled"), planted.case("sendgrid/smtp/pooled"))
    assert list(names(one).values()) == ["smtp/pooled", "api/pooled"]
    assert list(names(two).values()) == ["generic/smtp/pooled", "sendgrid/smtp/pooled"]


@pytest.mark.parametrize(
    ("called", "short"),
    [
        ("sendgrid/smtp/pooled mailgun/smtp/pooled", "sendgrid mailgun"),
        ("smtp/pooled/k=1ms smtp/pooled/k=2ms", "1ms 2ms"),
        ("smtp/pooled/j=1/k=1 smtp/pooled/j=2/k=2", "j=1/k=1 j=2/k=2"),
        ("smtp/pooled smtp/pooled/pipelined", "smtp/pooled smtp/pooled/pipelined"),
        ("api/pooled/j=1/k=2 api/pooled/j=2/k=2 api/pooled/j=2/k=1", "j=1/k=2 j=2/k=2 j=2/k=1"),
        ("base head", "base head"),
    ],
)
def test_cases_of_a_comparison_are_told_by_what_differs(called: str, short: str) -> None:
    assert differing({name: name for name in called.split()}) == dict(
        zip(called.split(), short.split(), strict=True)
    )


def test_a_sandbox_is_always_named() -> None:
    names_of = {"a": "sendgrid/api (sandbox)", "b": "mailgun/api (sandbox)"}
    assert differing(names_of) == {"a": "sendgrid (sandbox)", "b": "mailgun (sandbox)"}


def test_a_family_is_the_id_without_one_setting_even_if_it_holds_a_slash(planted: Planted) -> None:
    case = planted.case("generic/smtp/pooled/load.rate=50/s/network.rtt=5ms")
    assert family(case, "load.rate") == "generic/smtp/pooled/network.rtt=5ms"
    assert family(case, "network.rtt") == "generic/smtp/pooled/load.rate=50/s"
    assert family(case, "pool.size") == case.id


def test_groups_hold_everything_that_differs_only_in_how_it_travels(planted: Planted) -> None:
    cases = [
        planted.case(f"generic/{transport}/{connection}/network.rtt={rtt}ms", rtt_ms=float(rtt))
        for rtt in (5, 60)
        for transport in ("smtp", "api")
        for connection in ("pooled", "unpooled")
    ]
    near, far = comparable(planted.summary(*cases))
    assert (near.rtt_ms, len(near.cases), far.rtt_ms, len(far.cases)) == (5.0, 4, 60.0, 4)
    assert near.title == far.title == ""
    assert at_reference([near, far]) == [far]


def test_the_least_concurrency_speaks_for_the_others(planted: Planted) -> None:
    cases = [
        planted.case(f"generic/{t}/pooled/load.concurrency={c}") for c in (8, 2, 16) for t in ("smtp", "api")
    ]
    groups = comparable(planted.summary(*cases))
    (only,) = lightest(groups)
    assert len(groups) == 3
    assert only.cases[0].labels["load.concurrency"] == "2"
    assert only.at == "at 50 ms round trip (load.concurrency=2)"
