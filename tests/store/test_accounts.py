"""What a run's end must not overlook: recipients that do not add up, a clock that jumped."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.clock import monotonic_ns, utc_now
from bench.model import Outcome
from bench.store import open_run
from tests.store.samples import make_case, make_case_run, make_sample, start

CASE = make_case(messages=4, warmup=0)


def finished(folder: Path, outcome: Outcome, taken: int | None) -> tuple[str, str | None]:
    with start(folder) as writer:
        writer.reserve(0, CASE.id)
        for seq in range(4):
            sample = make_sample(seq, CASE)._replace(key=f"{writer.key_prefix(CASE)}-{seq}")
            if seq == 2:
                sample = sample._replace(outcome=outcome, recipients=2, recipients_accepted=taken)
            writer.append(sample)
        writer.end_case(make_case_run(CASE))
        manifest = writer.finish("complete")
    assert open_run(writer.folder).table().num_rows == 4
    return manifest.state, manifest.reason


@pytest.mark.parametrize(
    ("outcome", "taken", "right"),
    [
        (Outcome.ACCEPTED, 1, True),
        (Outcome.ACCEPTED, 2, True),
        (Outcome.ACCEPTED, None, True),
        (Outcome.ACCEPTED, 0, False),
        (Outcome.ACCEPTED, 3, False),
        (Outcome.REJECTED_PERM, 0, True),
        (Outcome.REJECTED_TEMP, 1, False),
        (Outcome.FAILED, 1, False),
        (Outcome.UNKNOWN, 0, True),
        (Outcome.UNKNOWN, 2, True),
    ],
)
def test_outcome_and_recipients_agree(
    tmp_path: Path, outcome: Outcome, taken: int | None, right: bool
) -> None:
    state, reason = finished(tmp_path, outcome, taken)
    assert (state == "complete") == right
    assert right or reason == "accounting: in 1 rows the outcome and the recipients accepted disagree"


def test_a_wall_clock_that_jumps_is_told(tmp_path: Path) -> None:
    writer = start(tmp_path)
    with writer:
        now_ns = round(utc_now().timestamp() * 1e9) - monotonic_ns()
        writer._log._compare_clocks(now_ns)
        writer._log._compare_clocks(now_ns + 90_000_000)
        assert writer._log.clock_step_ns == 0
        writer._log._compare_clocks(now_ns + 3_290_000_000)
        manifest = writer.finish("complete")
    assert manifest.facts["wall_clock"].startswith("stepped by 3.")


def test_one_that_does_not_is_not(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        assert "wall_clock" not in writer.finish("complete").facts
