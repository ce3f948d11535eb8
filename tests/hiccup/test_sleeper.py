"""What a sleeper answers about the moments of a span; nothing sleeps here."""

from __future__ import annotations

from array import array

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.hiccup.sleeper import PERIOD_NS, told

FIRST = 10**15


def ask(late_us: list[int], begin: int, end: int) -> list[int]:
    """About the moments from number `begin` up to, not with, number `end`."""
    span = (FIRST + begin * PERIOD_NS, FIRST + end * PERIOD_NS)
    return [int(word) for word in told(FIRST, array("I", late_us), *span).split()]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3000))
def test_the_percentile_is_the_one_of_the_reports(late_us: list[int]) -> None:
    p999 = int(np.quantile(late_us, 0.999, method="inverted_cdf"))
    assert ask(late_us, 0, len(late_us)) == [len(late_us), p999 * 1000, max(late_us) * 1000]


def test_only_the_moments_of_the_span_count() -> None:
    assert ask([900, 1, 2, 3, 800], 1, 4) == [3, 3000, 3000]
    assert ask([1, 2], -5, 50) == [2, 2000, 2000]


def test_a_span_without_a_moment_has_nothing_to_say() -> None:
    assert ask([900, 900], 1, 1) == [0, 0, 0]
    assert ask([900, 900], 7, 9) == [0, 0, 0]
    assert ask([900, 900], -9, -7) == [0, 0, 0]


def test_of_several_spans_all_moments_count_together() -> None:
    late_us = [900, 1, 2, 3, 800, 4]
    edges = [FIRST + number * PERIOD_NS for number in (1, 4, 5, 6)]
    assert told(FIRST, array("I", late_us), *edges) == "4 4000 4000"
