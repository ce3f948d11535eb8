from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from bench.errors import ResultFormatError
from bench.model import Answer, Percentile, ThresholdResult, ThresholdVerdict, Verdict
from bench.report.json import MAX_BYTES, SCHEMA, load_summary, render, schema_text
from tests.report.gated import gated
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, edge

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "summary.schema.json"


def test_the_schema_file_is_what_the_types_say() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("shape", EDGES)
def test_every_summary_validates_and_loads_again(shape: str) -> None:
    run = edge(shape)
    data = render(run.summary, run.answer)
    jsonschema.validate(json.loads(data), json.loads(SCHEMA_FILE.read_bytes()))
    assert load_summary(data) == run.summary


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_a_comparison_validates_and_loads_again(verdict: Verdict | None) -> None:
    run = gated(verdict)
    data = render(run.summary, run.answer)
    jsonschema.validate(json.loads(data), json.loads(SCHEMA_FILE.read_bytes()))
    assert load_summary(data) == run.summary


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_comes_back_unchanged(payload: str) -> None:
    run = hostile_run(payload)
    data = render(run.summary, run.answer)
    assert data.isascii()
    assert load_summary(data) == run.summary


def test_names_and_places_that_programs_rely_on() -> None:
    run = edge("open")
    document = json.loads(render(run.summary, run.answer))
    assert document["schema"] == SCHEMA == "sendbench.summary/1"
    assert {"id", "scenario", "state", "started_at"} <= document["run"].keys()
    case = document["cases"][0]
    assert {"provider", "transport", "connection", "client", "load"} <= case["labels"].keys()
    assert list(case["counts"]) == [
        "scheduled", "dropped", "attempted", "accepted", "rejected", "failed", "unknown",
    ]  # fmt: skip
    assert list(case["throughput"]) == ["offered_per_s", "accepted_per_s"]
    for name in ("latency", "service"):
        assert list(case[name]) == [
            "count", "mean_ms", "min_ms", "max_ms", "p50", "p90", "p95", "p99", "p999",
        ]  # fmt: skip
        assert list(case[name]["p50"]) == ["value_ms", "ci95_ms"]
        assert len(case[name]["p50"]["ci95_ms"]) == 2
        assert case[name]["p999"] is None
    assert list(case["phases"]["mail"]) == ["count", "p50_ms", "p95_ms"]
    assert case["round_trips"]["p50"] == 4
    assert list(case["cold"]) == ["count", "service"]
    assert {"text", "value", "verdict"} <= case["thresholds"][0].keys()
    assert {
        "lag_p50_ms", "lag_p99_ms", "cpu_us_per_message", "event_loop", "valid", "reasons",
    } <= case["generator"].keys()  # fmt: skip


def test_what_is_not_finite_is_null() -> None:
    run = edge("one")
    beyond = ThresholdResult("p99(service) < 1s", math.inf, ThresholdVerdict.FAIL)
    summary = replace(run.summary, cases=(replace(run.summary.cases[0], thresholds=(beyond,)),))
    document = json.loads(render(summary, Answer((), ())))
    assert document["cases"][0]["thresholds"][0]["value"] is None


def test_keys_of_a_later_version_are_ignored() -> None:
    run = edge("one")
    document = json.loads(render(run.summary, run.answer))
    document["new"] = document["cases"][0]["newer"] = {"a": 1}
    assert load_summary(json.dumps(document).encode()) == run.summary


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema": NaN}', "not JSON"),
        (b"[]", 'no "schema"'),
        (b"{}", 'no "schema"'),
        (
            b'{"schema": "sendbench.summary/2"}',
            "'sendbench.summary/2'; this version reads sendbench.summary/1",
        ),
        (b'{"schema": "sendbench.summary/1"}', "run: Field required"),
        (b'{"schema": "sendbench.summary/1", "run": {}, "cases": []}', "run.id: Field required"),
        (b" " * (MAX_BYTES + 1), "larger than 64 MiB"),
    ],
)
def test_what_is_not_a_summary_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(ResultFormatError) as caught:
        load_summary(data)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_percentile_is_a_pair_of_value_and_interval() -> None:
    run = edge("one")
    document = json.loads(render(run.summary, run.answer))
    document["cases"][0]["service"]["p50"] = {"value_ms": 1.0, "ci95_ms": [1.0]}
    with pytest.raises(ResultFormatError, match=r"cases\.0\.service\.p50\.ci95_ms"):
        load_summary(json.dumps(document).encode())
    document["cases"][0]["service"]["p50"] = {"value_ms": 1.0, "ci95_ms": [0.5, 2]}
    service = load_summary(json.dumps(document).encode()).cases[0].service
    assert service is not None
    assert service.p50 == Percentile(1.0, (0.5, 2.0))
