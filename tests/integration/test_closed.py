"""X22: whatever is missing, empty, cut short or no number in a run's folder, its report never ends with 0."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.integration.test_cli import latest, sendbench

SCENARIO = """\
version: 1
name: closed
target: mock
provider: sendgrid
transport: smtp
load: {model: closed, concurrency: 2, messages: 120}
thresholds: [p50(service) < 10s, share(accepted) >= 100%, share(unknown) <= 0%, rate() > 1]
"""
FORMATS = "junit,github-summary,github-outputs,github-annotations"
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that passes."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "closed.yaml").write_text(SCENARIO, encoding="utf-8")
    done = sendbench("run", "closed.yaml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def manifest(change: Callable[[dict[str, Any]], None]) -> Damage:
    def damage(run: Path) -> None:
        path = run / "manifest.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return damage


def samples(change: Callable[[pa.Table], pa.Table]) -> Damage:
    def damage(run: Path) -> None:
        path = run / "samples.parquet"
        table = pq.read_table(path)
        pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)

    return damage


def filled(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """The table with one value all down a column."""

    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        kind = table.schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        column = pa.array([value] * len(table), type=kind)
        return table.set_column(index, name, column)

    return change


def cut(name: str, share: float) -> Damage:
    def damage(run: Path) -> None:
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: int(len(data) * share)])

    return damage


DAMAGES: dict[str, Damage] = {
    "no samples": lambda run: (run / "samples.parquet").unlink(),
    "empty samples": cut("samples.parquet", 0),
    "half the samples' bytes": cut("samples.parquet", 0.5),
    "all but the last byte": cut("samples.parquet", 0.9999),
    "no rows": samples(lambda table: table.slice(0, 0)),
    "half the rows": samples(lambda table: table.slice(0, len(table) // 2)),
    "rows of other cases alone": samples(filled("case", "another/smtp/pooled")),
    "no ends": samples(filled("end_ns", None)),
    "an outcome nobody knows": samples(filled("outcome", "wonderful")),
    "all unknown": samples(filled("outcome", "unknown")),
    "no column of outcomes": samples(lambda table: table.drop_columns(["outcome"])),
    "ends before their starts": samples(
        lambda table: table.set_column(
            table.schema.get_field_index("end_ns"), "end_ns", pc.negate(table["end_ns"])
        )
    ),
    "no manifest": lambda run: (run / "manifest.json").unlink(),
    "an empty manifest": cut("manifest.json", 0),
    "half a manifest": cut("manifest.json", 0.5),
    "no cases": manifest(lambda document: document.update(cases=[])),
    "not complete": manifest(lambda document: document.update(state="running")),
    "a number that is none": manifest(lambda document: document["thresholds"][0].update(limit=float("nan"))),
    "an operator nobody knows": manifest(lambda document: document["thresholds"][0].update(operator="!=")),
    "overloaded": manifest(lambda document: document["cases"][0].update(error="the generator was too slow")),
    "no messages were scheduled": manifest(lambda document: document["cases"][0].update(scheduled=0)),
}


def test_the_run_itself_passes(whole: Path, tmp_path: Path) -> None:
    done = sendbench("report", str(latest(whole)), "--format", FORMATS, "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict=pass\n" in (tmp_path / "out" / "github-outputs.txt").read_text()
    assert (tmp_path / "out" / "github-annotations.txt").read_text() == ""


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_does_not_pass(whole: Path, tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(latest(whole), run)
    DAMAGES[damage](run)
    done = sendbench("report", str(run), "--format", FORMATS, "--out", "out", folder=tmp_path)
    assert done.returncode in (2, 3, 4), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    outputs = tmp_path / "out" / "github-outputs.txt"
    if outputs.exists():
        assert f"exit-code={done.returncode}\n" in outputs.read_text()
        assert "verdict=pass" not in outputs.read_text()
        element, level = ("<skipped", "::warning") if done.returncode == 4 else ("<error", "::error")
        assert element in (tmp_path / "out" / "junit.xml").read_text()
        assert (tmp_path / "out" / "github-annotations.txt").read_text().startswith(level)
    else:
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
