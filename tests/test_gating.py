"""What a gate's options mean, and which scenarios can be gated, and in how many stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.api import real_cases
from bench.errors import UsageError
from bench.gating import gated, pair_of, parse_limits, set_texts
from bench.guard import Guard
from bench.model import DEFAULT_LIMITS, Scenario
from bench.permit import deliveries
from bench.scenario import load_scenario

PAIR = "matrix: {connection: [pooled, unpooled]}\ncompare: connection\n"
THREE = "matrix: {connection: [pooled], network.rtt: [1ms, 2ms, 3ms]}\ncompare: network.rtt\n"
CLOSED = "load: {model: closed, messages: 10, warmup: 3}\n"


def load(folder: Path, text: str) -> Scenario:
    path = folder / "x.yaml"
    path.write_text(f"version: 1\nname: x\n{text}", encoding="utf-8")
    return load_scenario(path, environ={})


@pytest.mark.parametrize(
    ("texts", "limits"),
    [
        ((), None),
        (("5%",), {"p50": 0.05, "p95": 0.05, "p99": 0.05}),
        (("5%", "p99=50 %"), {"p50": 0.05, "p95": 0.05, "p99": 0.5}),
        (("p50=2.5%, p95=0%",), {"p50": 0.025, "p95": 0.0}),
    ],
)
def test_limits_as_they_are_written(texts: tuple[str, ...], limits: dict[str, float] | None) -> None:
    assert parse_limits(texts) == pytest.approx(limits)


@pytest.mark.parametrize("text", ["5", "", "p98=5%", "p50=", "p50=5%,", "p50=-5%", "p50=nan%", "=5%"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(UsageError, match="write a percentage"):
        parse_limits([text])


def test_base_and_head_as_what_set_would_say() -> None:
    assert pair_of(None, None, "server") == {}
    assert set_texts(pair_of("a {port}", 'b "{port}"', "server")) == [
        'matrix.server={"base": "a {port}", "head": "b \\"{port}\\""}',
        'compare=["server"]',
    ]
    with pytest.raises(UsageError, match="go together"):
        pair_of("a", None, "server")
    with pytest.raises(UsageError, match="go together"):
        pair_of(None, "b", "server")


def test_limits_and_stages_stand_in_the_place_of_the_scenarios_own(tmp_path: Path) -> None:
    plain = gated(load(tmp_path, CLOSED + PAIR)).gate
    assert plain is not None
    assert (plain.limits, plain.stages) == (DEFAULT_LIMITS, 1)
    own = load(tmp_path, CLOSED + PAIR + "gate: {limit: 7%, stages: 2}\n")
    assert gated(own).gate == own.gate
    stricter = gated(own, {"p50": 0.01}).gate
    assert stricter is not None
    assert (stricter.limits, stricter.stages) == (DEFAULT_LIMITS.within({"p50": 0.01}), 2)
    assert gated(own, None, 1).longest.cases == own.cases


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLOSED, "needs compare:"),
        (CLOSED + THREE, "has two values"),
        ("load: {model: closed, duration: 5s}\n" + PAIR, "give load.messages"),
    ],
)  # fmt: skip
def test_what_cannot_be_gated_in_two_stages(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        gated(load(tmp_path, text), None, 2)


def test_both_stages_are_counted_before_anything_is_sent(tmp_path: Path) -> None:
    real = "target: live\nprovider: postmark\n" + CLOSED + PAIR
    one, two = (load(tmp_path, f"{real}gate: {{stages: {stages}}}\n") for stages in (1, 2))
    assert deliveries(real_cases(one, Guard())) == 26
    assert deliveries(real_cases(two, Guard())) == 46
    load_of = two.longest.cases[0].load
    assert (load_of.messages, load_of.warmup) == (20, 3)
    steady = "load: {model: constant, rate: 5/s, duration: 4s}\n" + PAIR
    longest = load(tmp_path, steady + "gate: {stages: 2}\n").longest.cases[0].load
    assert (longest.messages, longest.duration_ns) == (40, 8_000_000_000)
