"""Each stop rule of its own, at its bound and just below."""

from __future__ import annotations

import pytest

from bench.model import Outcome
from bench.stopping import StopRules

A, F, U = Outcome.ACCEPTED, Outcome.FAILED, Outcome.UNKNOWN
R4, R5 = Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM


def test_three_refusals_of_the_credentials_in_a_row() -> None:
    rules = StopRules(real=False)
    said = [rules.after(F, "auth", accepted=0, done=n) for n in (1, 2, 3)]
    assert said == [None, None, "stopped: credentials were refused 3 times in a row"]


def test_a_message_accepted_between_them_begins_a_new_row() -> None:
    rules = StopRules(real=False)
    said = [rules.after(R5, "auth", accepted=n // 2, done=n) for n in range(20)]
    assert said == [None] * 20


@pytest.mark.parametrize(
    ("outcome", "count", "done", "stops"),
    [
        (U, 19, 19, False),
        (U, 20, 20, True),
        (U, 20, 2000, False),
        (U, 21, 2000, True),
        (R4, 19, 20, False),
        (R4, 20, 99, True),
        (R5, 20, 100, False),
        (R5, 21, 100, True),
        (F, 100, 100, False),
    ],
)
def test_what_a_real_server_is_not_asked_more_often(
    outcome: Outcome, count: int, done: int, stops: bool
) -> None:
    for real in (True, False):
        rules, said = StopRules(real=real), None
        for _ in range(count):
            said = rules.after(outcome, "x", accepted=done - count, done=done)
        assert (said is not None) == (stops and real)
