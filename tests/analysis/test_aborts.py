"""What ends a run early: at the very message from which on the threshold cannot pass, and none before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.analysis import sample_frame, summarize
from bench.analysis.aborts import check_aborts, tolerances
from bench.analysis.thresholds import forgiven
from bench.errors import ScenarioError
from bench.model import Outcome, Sample, ThresholdVerdict
from bench.scenario.thresholds import parse_threshold
from bench.stopping import Tolerance, Watch
from tests.store.samples import make_case, make_dropped, make_sample, make_scenario

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

MS = 1_000_000
PASS, FAIL = ThresholdVerdict.PASS, ThresholdVerdict.FAIL


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("p50(service) < 15ms", 6),
        ("p50(service) <= 15ms", 401),
        ("p90(service) < 15ms", 36),
        ("p95(service) < 15ms", 72),
        ("p95(service) < 15ms", 1000),
        ("p99(service) < 15ms", 368),
        ("p99.9(service) < 15ms", 5000),
        ("max(service) < 15ms", 10),
        ("share(accepted) >= 100%", 10),
        ("share(accepted) > 99%", 800),
        ("share(accepted) >= 50%", 40),
        ("share(failed) <= 0%", 10),
        ("share(failed) < 1%", 800),
        ("share(rejected) < 20%", 300),
    ],
)
def test_what_is_forgiven_is_what_the_verdict_forgives(planted: Planted, text: str, n: int) -> None:
    """By the analysis itself: with so many messages beyond it passes, with one more it does not."""
    threshold = parse_threshold(text)
    most = forgiven(threshold, n)
    assert most is not None
    lost = {"accepted": "failed", "failed": "failed", "rejected": "rejected_temp"}.get(threshold.subject)
    for beyond, passes in ((most, True), (most + 1, False)):
        slow = np.arange(n) < beyond
        rows = planted.rows(n, service_ns=np.where(slow, 20, 10) * MS)
        if lost is not None:
            rows = planted.rows(n, outcome=np.where(slow, lost, "accepted"))
        manifest = planted.manifest(planted.run(scheduled=n), thresholds=[threshold])
        (result,) = summarize(sample_frame(planted.table(rows)), manifest, {}, {}).cases[0].thresholds
        assert (result.verdict is PASS) is passes, (beyond, result)


@pytest.mark.parametrize(("text", "n"), [("p95(service) < 1s", 71), ("share(accepted) >= 99.9%", 3687)])
def test_what_cannot_pass_is_said_before_anything_is_sent(text: str, n: int) -> None:
    assert forgiven(parse_threshold(text), n) is None
    assert forgiven(parse_threshold(text), n + 1) is not None
    case = make_case()
    case = replace(case, load=replace(case.load, messages=n))
    scenario = replace(make_scenario(case), thresholds=(parse_threshold(text, 7, abort=True),))
    with pytest.raises(ScenarioError, match=rf"^probe\.yaml:7: thresholds: .* cannot pass with {n} messages"):
        check_aborts(scenario)
    check_aborts(replace(scenario, thresholds=(parse_threshold(text, 7),)))


def test_only_the_cases_it_is_about_end_a_run() -> None:
    case = make_case()
    line = f"max(service) < 1s where connection={case.labels['connection']}"
    scenario = replace(make_scenario(case), thresholds=(parse_threshold(line, abort=True),))
    (found,) = tolerances(case, scenario)
    assert (found.planned, found.forgiven) == (case.load.messages, 0)
    assert tolerances(replace(case, labels={**case.labels, "connection": "other"}), scenario) == ()


@pytest.mark.parametrize(
    ("text", "fields", "beyond"),
    [
        ("max(service) < 205ms", {}, True),
        ("max(service) <= 205ms", {}, False),
        ("max(service) <= 204ms", {}, True),
        ("max(wait) < 10ns", {}, True),
        ("max(wait) <= 10ns", {}, False),
        ("max(lag) < 100ms", {}, True),
        ("max(lag) <= 100ms", {}, False),
        ("max(latency) < 306ms", {}, False),
        ("max(latency) < 305ms", {}, True),
        ("max(latency) < 1ms", {"due_ns": None}, False),
        ("max(phase.mail) < 51ms", {}, True),
        ("max(phase.tls) < 1ns", {}, False),
        ("max(service) < 1s", {"outcome": Outcome.FAILED}, True),
        ("max(phase.tls) < 1s", {"outcome": Outcome.UNKNOWN}, True),
        ("max(service) < 1ms", {"cold": True}, False),
        ("max(service) < 1ms", {"cold": True, "outcome": Outcome.FAILED}, True),
        ("max(service) < 1ms", {"batch_index": 0}, True),
        ("max(service) < 1ms", {"batch_index": 1}, False),
        ("share(accepted) >= 90%", {}, False),
        ("share(accepted) >= 90%", {"outcome": Outcome.REJECTED_PERM}, True),
        ("share(rejected) <= 90%", {"outcome": Outcome.REJECTED_PERM}, True),
        ("share(rejected) <= 90%", {"outcome": Outcome.FAILED}, False),
        ("share(rejected_temp) <= 90%", {"outcome": Outcome.REJECTED_PERM}, False),
    ],
)
def test_which_messages_are_beyond(text: str, fields: dict[str, object], beyond: bool) -> None:
    row = make_sample(100)._replace(cold=False, warmup=False, due_ns=0)._replace(**fields)  # type: ignore[arg-type]
    assert Tolerance(parse_threshold(text), 100, 0).beyond(row, pooled=True) is beyond


class Log:
    def __init__(self) -> None:
        self.rows: list[Sample] = []
        self.reserved: list[tuple[int, str]] = []

    def reserve(self, first_seq: int, case: str) -> None:
        self.reserved.append((first_seq, case))

    def append(self, sample: Sample) -> None:
        self.rows.append(sample)


def test_the_end_is_asked_for_once_and_everything_is_recorded() -> None:
    case, log, asked = make_case(), Log(), list[str]()
    tolerance = Tolerance(parse_threshold("max(service) < 1ms"), 100, 2)
    watch = Watch(case, (tolerance,), log, asked.append)
    watch.reserve(0, case.id)
    rows = [make_sample(seq, case)._replace(cold=False) for seq in range(200, 210)]
    warm = make_sample(0, case)._replace(warmup=True, cold=False)
    for row in (warm, warm, warm, make_dropped(300, case), *rows[:2]):
        watch.append(row)
    assert (asked, watch.stopped_by) == ([], "")
    for row in rows[2:]:
        watch.append(row)
    (why,) = asked
    assert why.startswith(f"max(service) < 1ms can no longer pass for {case.id}: ")
    assert why.endswith("3 messages are beyond it, and of 100 at most 2 may be")
    assert watch.stopped_by == "max(service) < 1ms"
    assert (len(log.rows), log.reserved) == (14, [(0, case.id)])


def test_of_a_run_that_was_ended_only_the_threshold_that_did_it_has_a_verdict(planted: Planted) -> None:
    rows = planted.rows(100, outcome=np.where(np.arange(100) < 40, "accepted", "dropped"))
    limits = [parse_threshold(text) for text in ("max(service) < 1ms", "share(accepted) >= 100%")]
    ended = planted.run(scheduled=100, interrupted=True, stopped_by=limits[0].text)
    manifest = replace(planted.manifest(ended, thresholds=limits), state="stopped", reason="why")
    first, second = summarize(sample_frame(planted.table(rows)), manifest, {}, {}).cases[0].thresholds
    assert (first.verdict, first.value) == (FAIL, None)
    assert second.verdict is ThresholdVerdict.INCONCLUSIVE
    assert "ended before" in second.note
