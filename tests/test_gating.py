"""What a gate's options mean, and which scenarios can be gated, and in how many stages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.paired import STRATUM
from bench.api import real_cases
from bench.errors import ScenarioError, UsageError
from bench.gating import gated, pair_of, parse_limits, set_texts
from bench.guard import Guard
from bench.model import DEFAULT_LIMITS, Load, Scenario
from bench.permit import deliveries
from bench.scenario import load_scenario
from bench.scenario.gates import LEAST_EACH

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
    assert deliveries(real_cases(two, Guard())) == 52  # each stage has its warm-up
    load_of = two.longest.cases[0].load
    assert (load_of.messages, load_of.warmup) == (20, 3)
    steady = "load: {model: constant, rate: 5/s, duration: 4s}\n" + PAIR
    longest = load(tmp_path, steady + "gate: {stages: 2}\n").longest.cases[0].load
    assert (longest.messages, longest.duration_ns) == (40, 8_000_000_000)


COMMANDS = """\
target: smtp://127.0.0.1:{port}
transport: smtp
matrix: {server: ['a {port}', 'b {port}']}
compare: server
"""


def counted(messages: int) -> str:
    return f"load: {{model: closed, messages: {messages}, warmup: 3}}\n"


@pytest.mark.parametrize(
    ("messages", "processes"),
    [(249, 1), (250, 10), (300, 12), (499, 19), (500, 20), (900, 18), (990, 19), (1500, 20), (10_000, 20)],
)
def test_commands_are_compared_as_several_processes(tmp_path: Path, messages: int, processes: int) -> None:
    """As many as leave no more than a tenth of the messages over, which fills no stratum."""
    found = gated(load(tmp_path, counted(messages) + COMMANDS))
    assert found.gate is not None
    assert found.gate.processes == processes
    loads = {case.load.parts for case in found.cases}
    assert loads == {processes}
    assert found.cases[0].load.count == messages + 3 * processes
    assert load(tmp_path, counted(messages) + COMMANDS + "gate: default\n").gate == found.gate


def test_what_is_said_of_processes_stands(tmp_path: Path) -> None:
    own = load(tmp_path, counted(1000) + COMMANDS + "gate: {processes: 1, stages: 2}\n")
    assert own.gate is not None
    assert (own.gate.processes, own.longest.cases[0].load.parts) == (1, 2)
    more = gated(own, None, None, 40)
    assert more.gate is not None
    assert (more.gate.processes, more.gate.stages) == (40, 2)
    assert more.longest.cases[0].load.count == 2000 + 80 * 3


@pytest.mark.parametrize(
    ("text", "processes", "words"),
    [
        (counted(1000) + COMMANDS, 9, "takes 1, or 10 to 100"),
        (counted(1000) + COMMANDS, 101, "takes 1, or 10 to 100"),
        (counted(1000) + PAIR, 10, "only what a command starts"),
        (counted(499) + COMMANDS, 20, "500 in all, or more"),
        ("load: {model: closed, duration: 5s}\n" + COMMANDS, 10, "give load.messages"),
        ("load: {model: ramp, from: 5/s, to: 90/s, duration: 20s}\n" + COMMANDS, 10, "is over at its end"),
    ],
)  # fmt: skip
def test_what_cannot_be_several_processes(tmp_path: Path, text: str, processes: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        gated(load(tmp_path, text), None, None, processes)
    with pytest.raises(ScenarioError, match=words) as raised:
        load(tmp_path, text + f"gate: {{processes: {processes}}}\n")
    assert raised.value.line


def test_a_process_has_messages_for_a_stratum() -> None:
    assert LEAST_EACH == STRATUM


@given(st.integers(0, 500), st.integers(0, 20), st.integers(1, 30))
def test_parts_of_a_load(messages: int, warmup: int, parts: int) -> None:
    """They follow each other, differ by one message at most, and each knows its own."""
    whole = Load("closed", messages, warmup=warmup, parts=parts)
    begins = [whole.begin(part) for part in range(parts + 1)]
    sizes = [end - begin - warmup for begin, end in pairwise(begins)]
    assert (begins[0], begins[-1], sum(sizes)) == (0, whole.count, messages)
    assert max(sizes) - min(sizes) <= 1
    for part, (begin, end) in enumerate(pairwise(begins)):
        for seq in range(begin, end):
            assert whole.part_of(seq) == part
            assert whole.warms_up(seq) == (seq - begin < warmup)


def test_calls_with_several_messages_go_to_one_process(tmp_path: Path) -> None:
    """A call is one observation."""
    calls = "provider: postmark\ntransport: api\nbatch: 5\ntarget: http://127.0.0.1:{port}\n"
    text = counted(1500) + calls + "matrix: {server: ['a {port}', 'b {port}']}\ncompare: server\n"
    found = gated(load(tmp_path, text)).gate
    assert found is not None
    assert found.processes == 1
    with pytest.raises(UsageError, match="a call with several messages"):
        gated(load(tmp_path, text), None, None, 10)
