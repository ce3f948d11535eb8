"""HdrHistogram's files, the log read by the public library (hdrhistogram on PyPI)."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from bench.analysis import counted
from bench.analysis.frame import present, span_ns
from bench.analysis.quantiles import Floats, quantile_rank
from bench.model import CaseSummary
from bench.report import FORMATS, files_of
from bench.report.figures import times_of
from bench.report.hdr import indexes
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge
from tests.report.rendered import render

LINE = re.compile(r" +(\d+\.\d{6}) ([01]\.\d{12}) +(\d+)(?: +(\d+\.\d\d))?")


def read(run: Planted, folder: Path) -> dict[str, HdrHistogram]:
    """Every histogram of the log, by its tag."""
    path = folder / "latency.hlog"
    path.write_bytes(render("hlog", run))
    reader = HistogramLogReader(str(path), HdrHistogram(1, 10**12, 3))
    found = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = histogram
    reader.close()
    return found


def at_rank(histogram: HdrHistogram, rank: int) -> float:
    """The so-manieth smallest value."""
    values = (
        float(each.value_iterated_to)
        for each in histogram.get_recorded_iterator()
        if each.total_count_to_this_value >= rank
    )
    return next(values)


def ordered_ns(run: Planted, case: CaseSummary, name: str) -> Floats:
    rows = run.frame[run.frame["case"] == case.id]
    return present(span_ns(counted(rows, pooled=case.cold is not None), name))


@pytest.mark.parametrize("shape", ["four", "open", "many", "some-failed", "loopback"])
def test_the_public_library_reads_every_percentile_within_a_thousandth(shape: str, tmp_path: Path) -> None:
    run = edge(shape)
    found = read(run, tmp_path)
    seen = 0
    for case in run.summary.cases:
        for name, times in times_of(case):
            assert times is not None
            (tag,) = [tag for tag in found if tag.endswith(f"-{case.id.replace('/', '-')}:{name}")]
            values = ordered_ns(run, case, name)
            assert found[tag].get_total_count() == times.count == len(values)
            for share in (0.5, 0.9, 0.95, 0.99, 0.999):
                rank = quantile_rank(len(values), share)
                exact = float(values[rank - 1])
                assert abs(at_rank(found[tag], rank) - exact) <= 0.001 * exact, (tag, share)
                nearest = float(values[int(share * len(values) + 0.5) - 1])  # the library's own definition
                assert abs(found[tag].get_value_at_percentile(share * 100) - nearest) <= 0.001 * nearest
            assert found[tag].get_mean_value() == pytest.approx(values.mean(), rel=0.001)
            seen += 1
    assert seen == len(found)


def test_buckets_are_where_the_library_has_them() -> None:
    rng = np.random.default_rng(1)
    edges = np.array([0, 1, 2047, 2048, 2049, 4095, 4096, 2**31 - 1, 2**31, 2**39], dtype=np.float64)
    values = np.concatenate([edges, np.rint(10 ** rng.uniform(0, 11.9, 3000))])
    library = HdrHistogram(1, 10**12, 3)
    assert indexes(values).tolist() == [library._counts_index_for(int(value)) for value in values]


def test_the_log_is_as_the_library_writes_it_itself(tmp_path: Path) -> None:
    run = edge("many")
    (case,) = run.summary.cases
    values = ordered_ns(run, case, "service")
    (ours,) = read(run, tmp_path).values()
    theirs = HdrHistogram(1, 10**12, 3)
    for value in values.tolist():
        theirs.record_value(int(value))
    own = {
        each.value_iterated_to: each.count_added_in_this_iter_step for each in ours.get_recorded_iterator()
    }
    other = {
        each.value_iterated_to: each.count_added_in_this_iter_step for each in theirs.get_recorded_iterator()
    }
    assert own == other


def lines_of(section: str) -> list[tuple[float, float, int]]:
    found = [LINE.fullmatch(line) for line in section.splitlines()]
    return [(float(m[1]), float(m[2]), int(m[3])) for m in found if m is not None]


def test_hgrm_holds_exact_percentiles_up_to_the_last_message() -> None:
    run = edge("many")
    (case,) = run.summary.cases
    values = ordered_ns(run, case, "service") / 1e6
    text = render("hgrm", run).decode()
    lines = lines_of(text)
    assert len(lines) > 50
    for value, share, count in lines:
        rank = max(1, math.ceil(share * len(values) - 1e-6))  # the share is written with 12 decimals
        assert value == pytest.approx(values[rank - 1], abs=1e-6)
        assert count == np.count_nonzero(values <= values[rank - 1])
    assert lines[0][1] == 0.0
    assert lines[-1] == (round(float(values.max()), 6), 1.0, len(values))
    assert [each[1] for each in lines] == sorted({each[1] for each in lines})
    assert f"Total count    = {len(values):12}]" in text


def test_hgrm_is_a_file_a_case_with_a_name_that_is_one() -> None:
    run = edge("sixteen")
    made = dict(files_of(FORMATS["hgrm"], run.summary, run.answer, run.frame))
    assert len(made) == 16
    assert "01-sendgrid-smtp-unpooled-network.rtt=5ms-latency.hgrm" in made
    for case, content in zip(run.summary.cases, made.values(), strict=True):
        assert case.service is not None
        assert lines_of(content.decode())[-1][2] == case.service.count
        assert content.count(b"#[Case") == 1


def test_an_open_load_is_shown_by_its_latency() -> None:
    run = edge("open")
    assert b"/pooled, latency in ms]" in render("hgrm", run)


@pytest.mark.parametrize("payload", [*PAYLOADS, "../../../etc/passwd", "..", "/", ""])
def test_no_name_of_a_file_leads_elsewhere(payload: str, tmp_path: Path) -> None:
    run = hostile_run(payload)
    for name, _ in files_of(FORMATS["hgrm"], run.summary, run.answer, run.frame):
        assert re.fullmatch(r"\d\d-[A-Za-z0-9._=-]+-latency\.hgrm", name)
        assert ".." not in name.split("/")
    assert len(read(run, tmp_path)) == 2
    text = render("hgrm", run).decode()
    assert len(text.splitlines()) == len(render("hgrm", hostile_run("harmless")).decode().splitlines())


@pytest.mark.parametrize("shape", EDGES)
def test_a_case_without_times_has_no_histogram(shape: str, tmp_path: Path) -> None:
    run = edge(shape)
    timed = sum(times is not None for case in run.summary.cases for _, times in times_of(case))
    assert len(read(run, tmp_path)) == timed


def test_the_messages_of_a_call_and_later_attempts_count_as_in_the_figures() -> None:
    rows = pd.DataFrame(
        {
            "case": "a", "seq": [0, 1, 2, 3, 3], "attempt": [1, 1, 1, 1, 2], "warmup": False, "cold": False,
            "outcome": ["accepted", "accepted", "accepted", "rejected_temp", "accepted"],
            "batch_index": [0.0, 1.0, 0.0, np.nan, np.nan], "connection_id": [1, 1, 1, 1, 1],
            "start_ns": [10, 10, 50, 90, 120], "end_ns": [40, 40, 80, 100, 130],
        }
    )  # fmt: skip
    assert counted(rows, pooled=True)["end_ns"].tolist() == [40, 80]
