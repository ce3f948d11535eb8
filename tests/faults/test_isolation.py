"""F14: connections that hang hold up nobody but the messages on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import run_text

pytestmark = pytest.mark.alone
SCENARIO = """\
version: 1
name: half
target: mock
provider: sendgrid
transport: {transport}
tls: none
timeout: 3s
pool: {{size: 400}}
load: {{model: constant, rate: 200/s, messages: 600, max_in_flight: 400}}
faults: [{{at: {at}, do: stall, share: 50%}}]
"""


@pytest.mark.parametrize(("transport", "at"), [("smtp", "dot"), ("api", "status")])
def test_half_of_them_stalled(tmp_path: Path, transport: str, at: str) -> None:
    done = run_text(SCENARIO.format(transport=transport, at=at), tmp_path)
    (case,) = done.summary.cases
    assert 0.4 < case.counts.unknown / 600 < 0.6
    assert case.counts.accepted + case.counts.unknown == 600
    started = done.frame["start_ns"] - done.frame["due_ns"]
    late_ms = started.quantile(0.99) / 1e6
    assert case.generator.lag_p99_ms is not None
    assert late_ms < 5 + case.generator.lag_p99_ms or not case.generator.valid
    good = done.frame[done.frame["outcome"] == "accepted"]
    assert (good["end_ns"] - good["due_ns"]).quantile(0.95) < 100e6
