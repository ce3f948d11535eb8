from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import Load
from bench.pacing import PACERS, WHOLE, Interleaved, Pacer, Share, pacer_for

SECOND = 10**9


def load(model: str, *rates: float, messages: int = 100, warmup: int = 0, **more: int) -> Load:
    return Load(
        model, messages, more.get("duration_ns"), warmup, rates_per_s=rates, step_ns=more.get("step_ns")
    )


def due(pacer: Pacer, seq: int) -> int:
    at = pacer.due_ns(seq)
    assert at is not None
    return at


def schedule(pacer: Pacer) -> list[int]:
    assert pacer.count is not None
    return [due(pacer, seq) for seq in range(pacer.count)]


def test_closed_has_no_schedule() -> None:
    pacer = pacer_for(Load("closed", 10, None, 3, concurrency=2), 1)
    assert pacer.count == 13
    assert pacer.due_ns(5) is None
    assert pacer_for(Load("closed", None, SECOND, 3, concurrency=2), 1).count is None


@pytest.mark.parametrize(
    ("rate", "seq", "expected"),
    [
        (50.0, 0, 0),
        (50.0, 1, 20_000_000),
        (50.0, 999, 19_980_000_000),
        (3.0, 1, 333_333_333),
        (3.0, 3, SECOND),
        (3.0, 3_000_000, 10**6 * SECOND),
        (1 / 60, 2, 120 * SECOND),
        (0.1, 10_000_000, 10**8 * SECOND),
        (1000.0, 9_999_999, 9_999_999_000_000),
    ],
)
def test_constant(rate: float, seq: int, expected: int) -> None:
    assert pacer_for(load("constant", rate), 1).due_ns(seq) == expected


def test_constant_counts_its_warmup_in() -> None:
    assert pacer_for(load("constant", 5.0, messages=7, warmup=3), 1).count == 10


def test_poisson_gaps_are_exponential_and_independent() -> None:
    """Mean, spread, Kolmogorov-Smirnov distance and lag-1 correlation of 20,000 gaps."""
    gaps = [
        (b - a) / SECOND for a, b in pairwise(schedule(pacer_for(load("poisson", 40.0, messages=20_001), 11)))
    ]
    n = len(gaps)
    mean = math.fsum(gaps) / n
    variance = math.fsum((gap - mean) ** 2 for gap in gaps) / n
    assert mean == pytest.approx(1 / 40, rel=0.03)
    assert math.sqrt(variance) == pytest.approx(1 / 40, rel=0.03)
    distance = max(
        max(abs((i + 1) / n - f), abs(i / n - f))
        for i, f in enumerate(1 - math.exp(-40 * gap) for gap in sorted(gaps))
    )
    assert distance < 1.63 / math.sqrt(n)  # 1 % critical value
    correlation = math.fsum((a - mean) * (b - mean) for a, b in pairwise(gaps)) / n / variance
    assert abs(correlation) < 3 / math.sqrt(n)


def test_poisson_rejects_at_the_rate_it_should() -> None:
    """Over 200 seeds, the 5 % Kolmogorov-Smirnov test rejects about 5 % of true exponentials."""
    rejected = 0
    for seed in range(200):
        times = schedule(pacer_for(load("poisson", 10.0, messages=301), seed))
        gaps = sorted((b - a) / SECOND for a, b in pairwise(times))
        n = len(gaps)
        values = [1 - math.exp(-10 * gap) for gap in gaps]
        distance = max(max((i + 1) / n - f, f - i / n) for i, f in enumerate(values))
        rejected += distance > 1.358 / math.sqrt(n)
    assert 2 <= rejected <= 20


def test_poisson_is_the_same_for_a_seed_in_any_order() -> None:
    forward = schedule(pacer_for(load("poisson", 100.0), 5))
    pacer = pacer_for(load("poisson", 100.0), 5)
    order = list(range(100))
    random.Random(1).shuffle(order)
    assert {seq: pacer.due_ns(seq) for seq in order} == dict(enumerate(forward))
    assert forward[0] == 0
    assert forward != schedule(pacer_for(load("poisson", 100.0), 6))


@pytest.mark.parametrize(
    ("start", "end"), [(10.0, 50.0), (50.0, 10.0), (0.0, 40.0), (40.0, 0.0), (20.0, 20.0)]
)
def test_ramp_inverts_the_integral_of_its_rate(start: float, end: float) -> None:
    duration = 10.0
    messages = math.ceil((start + end) / 2 * duration - 1e-6)
    pacer = pacer_for(load("ramp", start, end, messages=messages, duration_ns=10 * SECOND), 1)
    for n, at in enumerate(schedule(pacer)):
        t = at / SECOND
        assert start * t + (end - start) * t * t / (2 * duration) == pytest.approx(n, abs=1e-6)
        assert 0 <= t < duration


def test_ramp_against_a_slow_obvious_version() -> None:
    """Walk the rate in steps of 10 us and note when the sum passes each whole number."""
    pacer = pacer_for(load("ramp", 20.0, 200.0, messages=110, duration_ns=SECOND), 1)
    total, step, expected = 0.0, 1e-5, [0.0]
    for tick in range(100_000):
        total += (20 + 180 * (tick + 0.5) * step) * step
        if total >= len(expected):
            expected.append((tick + 1) * step)
    for at, slow in zip(schedule(pacer), expected, strict=False):
        assert at / SECOND == pytest.approx(slow, abs=2e-5)


def test_ramp_warms_up_at_its_first_rate() -> None:
    pacer = pacer_for(load("ramp", 10.0, 30.0, messages=40, warmup=5, duration_ns=2 * SECOND), 1)
    times = schedule(pacer)
    assert times[:6] == [0, 100_000_000, 200_000_000, 300_000_000, 400_000_000, 500_000_000]
    cold = schedule(pacer_for(load("ramp", 10.0, 30.0, messages=40, duration_ns=2 * SECOND), 1))
    assert times[5:] == pytest.approx([at + 500_000_000 for at in cold], abs=1)


def test_steps() -> None:
    pacer = pacer_for(load("steps", 2.0, 4.0, 1.0, messages=7, step_ns=SECOND), 1)
    ms = [at // 10**6 for at in schedule(pacer)]
    assert ms == [0, 500, 1000, 1250, 1500, 1750, 2000]


def test_steps_whose_messages_straddle_a_step() -> None:
    """Rate 1.5/s for 1 s leaves half a message over, which the next step completes."""
    pacer = pacer_for(load("steps", 1.5, 3.0, messages=5, step_ns=SECOND), 1)
    assert [at / SECOND for at in schedule(pacer)] == pytest.approx(
        [0, 1 / 1.5, 1 + 0.5 / 3, 1 + 1.5 / 3, 1 + 2.5 / 3], abs=1e-8
    )


def test_steps_warm_up_at_the_first_rate() -> None:
    pacer = pacer_for(load("steps", 2.0, 4.0, messages=6, warmup=2, step_ns=SECOND), 1)
    assert [at // 10**6 for at in schedule(pacer)] == [0, 500, 1000, 1500, 2000, 2250, 2500, 2750]


@pytest.mark.parametrize("model", ["constant", "poisson", "ramp", "steps"])
def test_due_times_never_go_back(model: str) -> None:
    rates = (30.0,) if model in ("constant", "poisson") else (5.0, 60.0)
    pacer = pacer_for(
        load(model, *rates, messages=300, warmup=20, duration_ns=10 * SECOND, step_ns=5 * SECOND), 3
    )
    times = schedule(pacer)
    assert len(times) == 320
    assert times == sorted(times)
    assert times[0] == 0


def test_every_model_of_the_form_has_a_pacer() -> None:
    assert set(PACERS) == {"closed", "constant", "poisson", "ramp", "steps"}


@given(st.integers(1, 40), st.integers(0, 500))
def test_shares_hold_every_message_exactly_once(of: int, end: int) -> None:
    shares = [Share(number, of) for number in range(of)]
    assert sorted(seq for share in shares for seq in share.numbers(end)) == list(range(end))


@given(st.integers(1, 40), st.integers(0, 500))
def test_parts_of_a_limit_add_up_and_follow_each_other(of: int, total: int) -> None:
    parts = [Share(number, of).part(total) for number in range(of)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1
    assert [Share(number, of).before(total) for number in range(of)] == [sum(parts[:n]) for n in range(of)]


@given(st.integers(1, 40), st.data(), st.integers(0, 500))
def test_the_first_message_of_a_share_from_some_other_on(of: int, data: st.DataObject, seq: int) -> None:
    share = Share(data.draw(st.integers(0, of - 1)), of)
    assert share.first_from(seq) == min(each for each in share.numbers(seq + of) if each >= seq)


def test_the_whole_is_a_share_as_well() -> None:
    assert list(WHOLE.numbers(5)) == [0, 1, 2, 3, 4]
    assert (WHOLE.part(7), WHOLE.before(7), WHOLE.first_from(3)) == (7, 0, 3)


@pytest.mark.parametrize("model", ["constant", "poisson", "ramp", "steps"])
def test_interleaved_cases_share_the_slots_of_one_schedule(model: str) -> None:
    """Together they have every slot once, each has its fair part of every block, and no fixed place in it."""
    rates = (10.0, 30.0) if model in ("ramp", "steps") else (20.0,)
    one = load(model, *rates, messages=90, warmup=10, duration_ns=5 * SECOND, step_ns=2 * SECOND)
    parts = [Interleaved(one, 5, number, 3) for number in range(3)]
    assert [part.count for part in parts] == [100, 100, 100]
    slots = sorted((at, number) for number, part in enumerate(parts) for at in schedule(part))
    whole = replace(one, messages=270, warmup=30, rates_per_s=tuple(3 * rate for rate in rates))
    assert [at for at, _ in slots] == schedule(pacer_for(whole, 5))
    blocks = [tuple(number for _, number in slots[i : i + 3]) for i in range(0, 300, 3)]
    assert all(sorted(block) == [0, 1, 2] for block in blocks)
    assert len(set(blocks)) == 6
    assert schedule(parts[1]) == schedule(Interleaved(one, 5, 1, 3))
