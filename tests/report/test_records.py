"""The raw records as NDJSON and Parquet, read by DuckDB."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from bench.model import Answer
from bench.report import parquet
from bench.report.text import from_bytes
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge
from tests.report.rendered import render

READERS = {"ndjson": "read_ndjson_auto", "parquet": "read_parquet"}


def ask(question: str, *files: Path) -> list[tuple[object, ...]]:
    """DuckDB's answer; `{0}` and so on stand for the files."""
    with duckdb.connect() as database:
        return database.execute(question.format(*files)).fetchall()


def write(folder: Path, name: str, run: Planted) -> Path:
    path = folder / f"samples.{name}"
    path.write_bytes(render(name, run))
    return path


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("shape", ["four", "open", "some-failed", "all-failed"])
def test_duckdb_finds_what_was_recorded(shape: str, name: str, tmp_path: Path) -> None:
    run = edge(shape)
    path = write(tmp_path, name, run)
    rows = ask(
        """select "case", count(*), count(*) filter (outcome = 'accepted'),
             sum(end_ns - start_ns)::bigint, max(error)
           from {reader}('{0}') group by 1""".replace("{reader}", READERS[name]),
        path,
    )
    expected = [
        (
            case.id,
            case.counts.scheduled,
            case.counts.accepted,
            int((of_it["end_ns"] - of_it["start_ns"]).sum()),
            "timeout" if case.counts.failed else None,
        )
        for case in run.summary.cases
        for of_it in [run.frame[run.frame["case"] == case.id]]
    ]
    assert sorted(rows, key=str) == sorted(expected, key=str)


def test_duckdb_gives_the_p95_of_the_summary(tmp_path: Path) -> None:
    (case,) = edge("many").summary.cases
    path = write(tmp_path, "parquet", edge("many"))
    ((p95,),) = ask(
        "select quantile_disc((end_ns - start_ns) / 1e6, 0.95) from '{0}' where outcome = 'accepted'", path
    )
    assert case.service is not None
    assert case.service.p95 is not None
    assert p95 == pytest.approx(case.service.p95.value_ms)


def test_types_of_columns_do_not_depend_on_what_is_in_them(tmp_path: Path) -> None:
    full = pd.DataFrame(
        {
            "end_ns": np.array([3], dtype=np.int64), "code": [250.0], "lag_ms": [0.5], "cold": [True],
            "error": ["tls"], "reply": [b"250 ok"],
        }
    )  # fmt: skip
    empty = pd.DataFrame(
        {
            "end_ns": [np.nan], "code": [np.nan], "lag_ms": [np.nan], "cold": [False],
            "error": pd.Series([None], dtype=object), "reply": pd.Series([None], dtype=object),
        }
    )  # fmt: skip
    run = edge("one")
    for number, frame in enumerate((full, empty)):
        (tmp_path / f"{number}.parquet").write_bytes(parquet.render(run.summary, Answer((), ()), frame))
    files = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    described = [ask("describe select * from '{0}'", file) for file in files]
    assert described[0] == described[1]
    kinds = {row[0]: row[1] for row in described[0]}
    assert kinds == {
        "end_ns": "BIGINT", "code": "BIGINT", "lag_ms": "DOUBLE", "cold": "BOOLEAN", "error": "VARCHAR",
        "reply": "BLOB",
    }  # fmt: skip
    both = ask("select end_ns, error, reply from read_parquet(['{0}', '{1}'])", *files)
    assert both == [(3, "tls", b"250 ok"), (None, None, None)]


@pytest.mark.parametrize("shape", EDGES)
def test_ndjson_is_a_line_a_record(shape: str) -> None:
    run = edge(shape)
    lines = render("ndjson", run).decode("ascii").splitlines()
    assert len(lines) == len(run.frame)
    if lines:
        first, row = json.loads(lines[0]), run.frame.iloc[0]
        assert list(first) == list(run.frame.columns)
        assert first["end_ns"] == row["end_ns"]
        assert isinstance(first["end_ns"], int)
        assert first["due_ns"] is None or first["due_ns"] == row["due_ns"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_stays_text(payload: str, tmp_path: Path) -> None:
    run = hostile_run(payload)
    lines = render("ndjson", run).decode("ascii").split("\n")[:-1]
    assert len(lines) == len(run.frame)
    reply = payload.encode("utf-8", "surrogatepass")
    assert {json.loads(line)["reply"] for line in lines} == {from_bytes(reply)}
    assert all(
        value.isprintable() for line in lines for value in json.loads(line).values() if isinstance(value, str)
    )
    path = write(tmp_path, "parquet", run)
    assert ask("select distinct reply from '{0}'", path) == [(reply,)]
    sound = payload.encode("utf-8", "backslashreplace").decode()
    assert ask("select distinct error from '{0}'", path) == [(sound,)]
