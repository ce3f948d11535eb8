"""What holds for every format."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import FORMATS
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, edge
from tests.report.rendered import render, rendered

RENDER_AGAIN = """
import hashlib, sys
from pathlib import Path
import pandas as pd
from bench.model import Answer
from bench.report import FORMATS
from bench.report.json import load_summary
folder = Path(sys.argv[1])
summary, frame = load_summary((folder / "summary.json").read_bytes()), pd.read_csv(folder / "samples.csv")
for name in sys.argv[2:]:
    print(name, hashlib.sha256(FORMATS[name].render(summary, Answer(("Yes.",), ()), frame)).hexdigest())
"""


def test_registry() -> None:
    assert {name: renderer.file_name for name, renderer in FORMATS.items()} == {
        "html": "report.html",
        "md": "report.md",
        "json": "summary.json",
        "csv": "summary.csv",
        "samples": "samples.csv",
        "ndjson": "samples.ndjson",
        "parquet": "samples.parquet",
        "hgrm": "latency.hgrm",
        "hlog": "latency.hlog",
        "junit": "junit.xml",
        "github-summary": "github-summary.md",
        "github-outputs": "github-outputs.txt",
        "github-annotations": "github-annotations.txt",
        "pytest-benchmark": "pytest-benchmark.json",
        "smaller-is-better": "smaller-is-better.json",
    }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", EDGES)
def test_every_shape_of_run_renders(shape: str, name: str) -> None:
    run = edge(shape)
    data = rendered(shape, name)
    if name != "parquet":
        data.decode("utf-8")
    if name in ("html", "md", "json", "csv", "hgrm", "junit", "github-summary"):
        assert all(case.labels["connection"].encode() in data for case in run.summary.cases)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_run_gives_the_same_bytes(name: str) -> None:
    assert render(name, edge("some-failed")) == rendered("some-failed", name)


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    run = edge("four")
    for name in ("json", "samples"):
        (tmp_path / FORMATS[name].file_name).write_bytes(render(name, run))
    (tmp_path / "again.py").write_text(RENDER_AGAIN)
    root = Path(__file__).parents[2]
    names = [name for name in FORMATS if name != "json"]
    command = [sys.executable, str(tmp_path / "again.py"), str(tmp_path), *names]
    children = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(root),
                "TZ": zone,
                "LC_ALL": "C.UTF-8",
            },
        )
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    ]
    first, second = (child.communicate()[0] for child in children)
    assert first == second
    assert len(first.split()) == 2 * len(names)


@pytest.mark.parametrize("name", ["csv", "samples"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_csv_cell_is_a_formula(payload: str, name: str) -> None:
    rows = list(csv.reader(io.StringIO(render(name, hostile_run(payload)).decode())))
    assert len({len(row) for row in rows}) == 1
    assert all(not cell.lstrip().startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert all(char.isprintable() for row in rows for cell in row for char in cell)


def test_samples_keep_numbers_as_they_are() -> None:
    run = edge("open")
    rows = list(csv.DictReader(io.StringIO(render("samples", run).decode())))
    assert len(rows) == len(run.frame)
    first, row = run.frame.iloc[0], rows[0]
    assert [row[name] for name in ("end_ns", "seq", "cold", "error", "reply")] == [
        str(first["end_ns"]),
        "0",
        "true",
        "",
        "250 2.0.0 Ok",
    ]


def test_csv_has_one_row_a_case_with_every_percentile() -> None:
    run = edge("sixteen")
    rows = list(csv.DictReader(io.StringIO(render("csv", run).decode())))
    assert [row["case"] for row in rows] == [case.id for case in run.summary.cases]
    p95 = run.summary.cases[0].service
    assert p95 is not None
    assert p95.p95 is not None
    row = rows[0]
    values = [float(row[f"service_p95{end}_ms"]) for end in ("", "_low", "_high")]
    assert values == [p95.p95.value_ms, *p95.p95.ci95_ms]
    assert row["service_p999_ms"] == ""
    assert row["label.network.rtt"] == "5ms"
