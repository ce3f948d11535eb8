"""The shaper's arithmetic, against times worked out by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bench.mock.link import Link, TurnArounds, is_alert, open_path
from bench.model import Network

MS = 1_000_000
ALERT_13 = b"\x17\x03\x03\x00\x13" + bytes(19)
ALERT_12 = b"\x15\x03\x03\x00\x1a" + bytes(26)


def link(rtt_ms: float = 0, jitter_ms: float = 0, bandwidth: float = 0, seed: str = "s") -> Link:
    return Link(Network(round(rtt_ms * MS), round(jitter_ms * MS), bandwidth), seed)


def test_no_network_delays_nothing() -> None:
    assert link().arrival_ns(5, 10**9) == 5


def test_half_the_round_trip_each_way() -> None:
    path = link(rtt_ms=50)
    assert path.arrival_ns(0, 1) == 25 * MS
    assert path.arrival_ns(10 * MS, 10**6) == 35 * MS


def test_bandwidth_is_paid_before_the_delay() -> None:
    assert link(rtt_ms=10, bandwidth=1000).arrival_ns(0, 100) == 105 * MS


def test_a_busy_link_queues() -> None:
    path = link(bandwidth=1000)
    assert path.arrival_ns(0, 10) == 10 * MS
    assert path.arrival_ns(0, 10) == 20 * MS
    assert path.arrival_ns(15 * MS, 10) == 30 * MS
    assert path.arrival_ns(100 * MS, 10) == 110 * MS, "an idle link saves nothing up"


def test_an_end_waits_behind_the_bytes_before_it() -> None:
    path = link(rtt_ms=10, bandwidth=1000)
    path.arrival_ns(0, 50)
    assert path.arrival_ns(1) == 55 * MS


def test_slices_are_a_millisecond_of_the_link_and_never_less_than_a_segment() -> None:
    assert link().slice_bytes > 2**40
    assert link(bandwidth=1e9).slice_bytes == 10**6
    assert link(bandwidth=1000).slice_bytes == 1448


@given(
    st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(0, 10_000)), min_size=1, max_size=50),
    st.integers(0, 40),
)
def test_jitter_stays_within_bounds_and_bytes_never_overtake(
    sends: list[tuple[int, int]], jitter_ms: int
) -> None:
    path = link(rtt_ms=20, jitter_ms=jitter_ms)
    now = last = 0
    for gap, size in sends:
        now += gap
        arrival = path.arrival_ns(now, size)
        assert arrival >= last
        low = max(0, 10 * MS - jitter_ms * MS / 2)
        assert now + low <= arrival + 1
        assert arrival <= max(now + 10 * MS + jitter_ms * MS / 2 + 1, last)
        last = arrival


def test_jitter_is_uniform_and_repeats_with_its_seed() -> None:
    def drawn(seed: str) -> list[int]:
        path = link(rtt_ms=20, jitter_ms=8, seed=seed)
        return [path.arrival_ns(now, 1) - now for now in range(0, 2000 * 100 * MS, 100 * MS)]

    delays = drawn("a")
    assert drawn("a") == delays
    assert drawn("b") != delays
    assert sum(delays) / len(delays) == pytest.approx(10 * MS, rel=0.02)
    assert min(delays) == pytest.approx(6 * MS, rel=0.02)
    assert max(delays) == pytest.approx(14 * MS, rel=0.02)


def test_the_connect_costs_what_it_costs_on_a_wire() -> None:
    up, down = link(rtt_ms=50), link(rtt_ms=50)
    assert open_path(up, down, 0) == 75 * MS, "the server sees it after 1.5 round trips"
    assert up.arrival_ns(1 * MS, 5) == 75 * MS, "said before the SYN-ACK: leaves with it"
    assert up.arrival_ns(60 * MS, 5) == 85 * MS
    assert down.arrival_ns(75 * MS, 5) == 100 * MS, "a greeting arrives after 2 round trips"


def test_the_connect_of_a_path_without_delay_is_free() -> None:
    assert open_path(link(), link(), 7) == 7


def test_alerts_are_told_by_their_record() -> None:
    assert is_alert(ALERT_13)
    assert is_alert(ALERT_12)
    assert is_alert(b"\x15\x03\x03\x00\x02\x02\x28")
    for other in (
        b"",
        b"QUIT\r\n",
        ALERT_13 + b"x",
        ALERT_13[:-1],
        ALERT_12 + ALERT_12,
        b"\x16" + ALERT_13[1:],
    ):
        assert not is_alert(other)


def play(script: str) -> int:
    """c: client data, s: server data, C/S: an alert, x: the client leaves."""
    turns = TurnArounds()
    for step in script.replace(" ", ""):
        match step:
            case "c":
                turns.client_spoke(b"data")
            case "C":
                turns.client_spoke(ALERT_13)
            case "s":
                turns.server_spoke(b"data")
            case "S":
                turns.server_spoke(ALERT_13)
            case "x":
                turns.client_gone()
    return turns.count


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("", 0),
        ("s", 1),  # a greeting
        ("sss", 1),
        ("s cs cs", 3),
        ("c s", 1),  # the client speaks first
        ("cc ss", 1),
        ("s c cc s", 2),  # a message in pieces
        ("s cs CS", 2),  # an orderly TLS close
        ("s cs C", 2),
        ("s cs xS", 2),
        ("s cs cxs", 2),  # closed without waiting
        ("s cs Cxs", 2),
        ("s cs Cs", 3),  # two bytes that were an empty line
        ("s c C s", 2),  # QUIT and close at once
        ("s cs S cs", 3),
        ("c S", 1),  # a handshake refused is an answer
        ("s cs CS cs", 3),
    ],
)
def test_turn_arounds(script: str, count: int) -> None:
    assert play(script) == count
