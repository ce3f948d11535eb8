"""A case from what its shares say of themselves."""

from __future__ import annotations

from dataclasses import replace

from bench.worker.process import merged
from tests.store.samples import make_case, make_case_run

FIRST = replace(
    make_case_run(make_case(), 51), started_ns=100, ended_ns=900, cpu_ns=300, quits=(1, 3), interrupted=False
)
SECOND = replace(FIRST, scheduled=50, started_ns=90, ended_ns=850, cpu_ns=310, quits=(10**9 + 1,))


def test_what_shares_are_together() -> None:
    whole = merged([FIRST, SECOND])
    assert whole == replace(
        FIRST, scheduled=101, started_ns=90, ended_ns=900, cpu_ns=610, quits=(1, 3, 10**9 + 1), workers=2
    )


def test_a_share_without_a_measured_message_has_no_say_in_when_it_was() -> None:
    empty = replace(FIRST, scheduled=0, started_ns=-5, ended_ns=-5, cpu_ns=0, quits=())
    whole = merged([empty, FIRST])
    assert (whole.started_ns, whole.ended_ns, whole.scheduled) == (100, 900, 51)
    assert merged([empty, empty]).started_ns == -5


def test_a_case_is_interrupted_if_any_of_its_shares_was() -> None:
    assert merged([FIRST, replace(SECOND, interrupted=True)]).interrupted
    assert not merged([FIRST, SECOND]).interrupted
