"""What a plan says must be what the report will count, and a time that a person can plan with."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.model import Case, ServiceTime
from bench.scenario import find_scenario, load_scenario
from bench.scenario.plan import START_NS, mean_ns, plan_case, whole_duration_ns

SECOND = 10**9
HEAD = "version: 1\nname: x\nprovider: sendgrid\nclient: {smtp: aiosmtplib}\n"
"""With a client that says one command at a time."""
TEN = "load: {model: closed, messages: 10}\n"


def only(tmp_path: Path, body: str) -> Case:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + body)
    (case,) = load_scenario(path, environ={"P": "p"}).cases
    return case


@pytest.mark.parametrize(
    ("body", "trips", "leave"),
    [
        ("connection: unpooled\n", 11, 1),
        ("connection: unpooled\ntls: implicit\n", 9, 1),
        ("connection: unpooled\ntls: none\n", 8, 1),
        ("connection: unpooled\ntarget: smtp://127.0.0.1\ntls: none\n", 7, 1),
        ('connection: unpooled\ntarget: smtp://127.0.0.1\nauth: {password: "${env:P}"}\n', 11, 1),
        ("connection: pooled\n", 4, 0),
        ("connection: pooled\nmessage: {recipients: 5}\n", 8, 0),
        ("transport: api\nconnection: unpooled\n", 3, 0),
        ("target: http://127.0.0.1:80/\nconnection: unpooled\n", 2, 0),
        ("transport: api\n", 1, 0),
    ],
)
def test_round_trips_are_those_the_report_counts_and_quit_stands_apart(
    tmp_path: Path, body: str, trips: int, leave: int
) -> None:
    planned = plan_case(only(tmp_path, TEN + body))
    assert (planned.round_trips, planned.leave_taking) == (trips, leave)


OFF_OFF = "smtp: {pipelining: off, chunking: off}\n"
BOTH = "smtp: {pipelining: auto, chunking: auto}\n"
PIPELINED = "smtp: {pipelining: auto, chunking: off}\n"
CHUNKED = "smtp: {pipelining: off, chunking: auto}\n"
FIVE = "message: {recipients: 5}\n"
FRESH = "connection: unpooled\n"


@pytest.mark.parametrize(
    ("body", "trips"),
    [
        (OFF_OFF, 4),
        (OFF_OFF + FIVE, 8),
        (OFF_OFF + FRESH, 11),
        (PIPELINED, 2),
        (PIPELINED + FIVE, 2),
        (PIPELINED + FRESH, 9),
        (BOTH, 1),
        (BOTH + FIVE, 1),
        (BOTH + FRESH, 8),
        (CHUNKED, 3),
        (CHUNKED + FIVE, 7),
        (CHUNKED + FRESH, 10),
        (CHUNKED + "tls: {resume: true}\n" + FRESH, 10),
    ],
)
def test_what_the_wire_client_saves_by_sending_commands_together(
    tmp_path: Path, body: str, trips: int
) -> None:
    case = replace(only(tmp_path, TEN + body), client="wire")
    planned = plan_case(case)
    assert (planned.round_trips, planned.assumed) == (trips, "")
    one_by_one = plan_case(only(tmp_path, TEN + body.replace("auto", "off"))).round_trips
    for client in ("aiosmtplib", "smtplib"):  # whatever the settings
        assert plan_case(replace(case, client=client)).round_trips == one_by_one


@pytest.mark.parametrize(
    ("body", "client", "assumed"),
    [
        (BOTH, "wire", "if the server offers PIPELINING and CHUNKING"),
        (PIPELINED, "wire", "if the server offers PIPELINING"),
        (CHUNKED, "wire", "if the server offers CHUNKING"),
        (OFF_OFF, "wire", ""),
        (BOTH, "smtplib", ""),
    ],
)
def test_what_another_server_offers_is_an_assumption(
    tmp_path: Path, body: str, client: str, assumed: str
) -> None:
    case = only(tmp_path, TEN + body + "target: smtp://127.0.0.1\n")
    assert plan_case(replace(case, client=client)).assumed == assumed


def test_an_api_assumes_nothing(tmp_path: Path) -> None:
    assert plan_case(replace(only(tmp_path, TEN + "transport: api\n"), client="wire")).assumed == ""


@pytest.mark.parametrize(
    ("body", "least_s", "most_s"),
    [
        # 100 messages x 12 round trips of 50 ms by 4 workers
        ("load: {model: closed, concurrency: 4, messages: 90, warmup: 10}\nconnection: unpooled\n", 15, 15.2),
        ("load: {model: closed, concurrency: 4, messages: 90, warmup: 10}\npool: {size: 2}\n", 10, 10.2),
        ("load: {model: closed, duration: 5s, warmup: 10}\n", 7, 7.1),
        ("load: {model: constant, rate: 50/s, duration: 10s, warmup: 100}\n", 12, 12),
        ("load: {model: constant, rate: 50/s, messages: 500, warmup: 100}\n", 12, 12),
        ("load: {model: poisson, rate: 50/s, duration: 10s, warmup: 50}\n", 11, 11),
        ("load: {model: ramp, from: 10/s, to: 90/s, duration: 10s, warmup: 20}\n", 12, 12),
        ("load: {model: ramp, from: 0/s, to: 90/s, duration: 10s}\n", 10, 10),
        ("load: {model: steps, rates: [10/s, 40/s], step: 5s, warmup: 20}\n", 12, 12),
        # 500 messages that occupy two connections for 200 ms each: a rate that cannot be kept
        ("load: {model: constant, rate: 50/s, duration: 10s}\npool: {size: 2}\n", 50, 50.5),
    ],
)
def test_how_long_it_takes(tmp_path: Path, body: str, least_s: float, most_s: float) -> None:
    """Beside what starting the mock takes."""
    planned = plan_case(only(tmp_path, body + "network: {rtt: 50ms}\n"))
    assert least_s <= (planned.duration_ns - START_NS) / SECOND <= most_s


def test_a_target_that_runs_already_need_not_be_started(tmp_path: Path) -> None:
    body = "load: {model: constant, rate: 50/s, duration: 1s}\n"
    running = plan_case(only(tmp_path, body + "target: smtp://127.0.0.1\n"))
    assert running.duration_ns == SECOND
    assert plan_case(only(tmp_path, body)).duration_ns == SECOND + START_NS


@pytest.mark.parametrize(("connection", "least_s"), [("pooled", 0.6), ("unpooled", 3.0)])
def test_without_a_network_one_core_is_the_limit(connection: str, least_s: float) -> None:
    cases = load_scenario(find_scenario("throughput"), environ={}).cases
    crowded = [case for case in cases if case.load.concurrency == 32 and case.connection == connection]
    assert crowded
    for case in crowded:
        assert least_s < (plan_case(case).duration_ns - START_NS) / SECOND < 2 * least_s


def test_messages_include_warm_up_and_are_open_where_a_duration_bounds_them(tmp_path: Path) -> None:
    assert plan_case(only(tmp_path, TEN.replace("10", "10, warmup: 3"))).messages == 13
    assert plan_case(only(tmp_path, "load: {model: closed, duration: 2s}\n")).messages is None


@pytest.mark.parametrize(
    ("load", "together"),
    [("{model: constant, rate: 10/s, messages: 100}", 1), ("{model: closed, messages: 100}", 2)],
)
def test_cases_that_are_interleaved_share_a_schedule_or_take_turns(
    tmp_path: Path, load: str, together: int
) -> None:
    path = tmp_path / "x.yaml"
    pair = "compare: connection\nmatrix: {connection: [pooled, unpooled]}\n"
    path.write_text(f"{HEAD}load: {load}\nnetwork: {{rtt: 20ms}}\n{pair}")
    scenario = load_scenario(path, environ={})
    planned = [plan_case(case) for case in scenario.cases]
    longest_ns, all_ns = max(each.duration_ns for each in planned), sum(each.duration_ns for each in planned)
    assert whole_duration_ns(scenario, planned) == {1: longest_ns, 2: all_ns}[together]


@pytest.mark.parametrize(
    ("planted", "mean"),
    [
        (ServiceTime("constant", 5), 5),
        (ServiceTime("exponential", 5), 5),
        (ServiceTime("uniform", 10, high_ns=30), 20),
        (ServiceTime("lognormal", 10, sigma=0.5), 10 * math.exp(0.125)),
    ],
)
def test_mean_of_a_planted_service_time(planted: ServiceTime, mean: float) -> None:
    assert mean_ns(planted) == pytest.approx(mean)


PORTS = 28_232


@pytest.mark.parametrize(
    ("body", "remarked"),
    [
        ("connection: unpooled\nload: {model: constant, rate: 500/s, duration: 120s}\n", True),
        ("connection: unpooled\nload: {model: constant, rate: 470/s, duration: 120s}\n", False),
        ("connection: unpooled\nload: {model: constant, rate: 500/s, duration: 50s}\n", False),
        ("connection: pooled\nload: {model: constant, rate: 500/s, duration: 120s}\n", False),
    ],
)
def test_a_plan_that_needs_more_ports_than_there_are_says_so(
    tmp_path: Path, body: str, remarked: bool
) -> None:
    """A port rests for 60 s, so 470/s take 28,200 of them and 500/s for 50 s no more than 25,000."""
    case = only(tmp_path, body)
    remark = plan_case(case, PORTS).remark
    assert ("30000 local ports" in remark and str(PORTS) in remark) is remarked
    assert remark == "" or remarked
    assert plan_case(case).remark == "", "nothing is known of the machine"
