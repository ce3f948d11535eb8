"""A run folder from its making to its end."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import secrets
import stat
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.errors import StorageError
from bench.model import Auth, Sample, Secret
from bench.store import StoredRun, open_run, parquet
from tests.store.samples import (
    SOURCE,
    fill,
    make_case,
    make_case_run,
    make_dropped,
    make_sample,
    make_scenario,
    start,
)
from tests.store.test_rows import COLUMNS, as_row

CASES = (make_case(0), make_case(1))


def complete(results: Path, count: int = 250) -> tuple[StoredRun, list[Sample]]:
    samples = []
    with start(results) as writer:
        for case in CASES:
            samples += fill(writer, case, count)
            writer.end_case(make_case_run(case))
        writer.finish("complete")
    return open_run(writer.folder), samples


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    stored, samples = complete(tmp_path)
    assert stored.table().to_pylist() == [as_row(sample) for sample in samples]
    manifest = stored.manifest
    assert (manifest.state, manifest.reason, manifest.rows) == ("complete", None, 500)
    assert [case.id for case in manifest.cases] == [case.id for case in CASES]
    assert manifest.cases[0] == make_case_run(CASES[0])
    assert manifest.thresholds == make_scenario().thresholds
    assert manifest.started_at == "2026-11-23T18:26:05.000+00:00"
    assert stored.recovery is None
    assert stored.scenario_source == SOURCE
    assert sorted(path.name for path in stored.folder.iterdir()) == [
        "manifest.json",
        "samples.parquet",
        "scenario.yaml",
    ]


def test_while_it_runs_and_what_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with start(tmp_path) as writer:
            fill(writer, CASES[0], 3)
            writer.flush()
            folder = writer.folder
            assert re.fullmatch(r"20261123T182605Z-probe-[0-9a-f]{6}", folder.name)
            assert writer.id == folder.name
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
            stored = open_run(folder)
            assert stored.manifest.state == "running"
            assert stored.table().num_rows == 100  # 3 rows, 97 reserved: their fate is not known yet
            writer.finish("complete")
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_manifest_file_is_for_other_programs_too(tmp_path: Path) -> None:
    stored, _ = complete(tmp_path, 2)
    data = json.loads((stored.folder / "manifest.json").read_text(encoding="utf-8"))
    assert next(iter(data)) == "schema"
    assert data["schema"] == "sendbench.manifest/1"
    assert data["state"] == "complete"
    assert re.fullmatch(r"[0-9a-f]{64}", data["log_sha256"])
    metadata = pq.read_schema(stored.folder / "samples.parquet").metadata
    assert metadata[b"sendbench.log_sha256"].decode() == data["log_sha256"]
    assert int(metadata[b"sendbench.rows"]) == data["rows"]
    assert data["clock_offset_ns"] == 123_456_789


def test_parquet_opens_in_pandas_with_the_columns_of_the_design(tmp_path: Path) -> None:
    stored, samples = complete(tmp_path)
    frame = pd.read_parquet(stored.folder / "samples.parquet")
    assert list(frame.columns) == COLUMNS
    assert frame["seq"].tolist() == [sample.seq for sample in samples]
    assert frame["end_ns"].dtype == "int64"
    assert frame["outcome"].unique().tolist() == ["accepted"]
    assert frame["reply"][1] == b"250 2.0.0 queued as \xff1"
    assert frame["due_ns"].isna().all()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for attempt in range(2):
        samples = [make_sample(seq, case) for case in CASES for seq in range(300)]
        random.Random(attempt).shuffle(samples)
        with start(tmp_path) as writer:
            for number, sample in enumerate(samples):
                writer.append(sample)
                if number % (70 + attempt) == 0:
                    writer.flush()
            for case in CASES:
                writer.end_case(make_case_run(case))
            writer.finish("complete")
        parquet.write(tmp_path / "again", open_run(writer.folder).table(), "of the same log")
        digests.add(hashlib.sha256((tmp_path / "again").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_latest_points_at_the_newest(tmp_path: Path) -> None:
    first, _ = complete(tmp_path, 1)
    assert (tmp_path / "latest").readlink() == Path(first.folder.name)
    second, _ = complete(tmp_path, 1)
    assert (tmp_path / "latest").readlink() == Path(second.folder.name)
    assert open_run(tmp_path / "latest").folder == second.folder
    assert not list(tmp_path.glob(".latest*"))


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    complete(tmp_path, 1)
    assert (tmp_path / "latest").is_dir()
    assert not (tmp_path / "latest").is_symlink()


def test_two_runs_at_once(tmp_path: Path) -> None:
    with start(tmp_path) as one, start(tmp_path) as other:
        assert one.folder != other.folder
        mine, theirs = fill(one, CASES[0], 150), fill(other, CASES[0], 120)
        one.finish("complete")
        other.finish("complete")
    assert open_run(one.folder).table()["key"].to_pylist() == [sample.key for sample in mine]
    assert open_run(other.folder).table()["key"].to_pylist() == [sample.key for sample in theirs]


def test_a_name_that_is_taken_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    token_hex = secrets.token_hex
    monkeypatch.setattr(secrets, "token_hex", lambda n: next(draws) if n == 3 else token_hex(n))
    with start(tmp_path) as one, start(tmp_path) as other:
        assert (one.id[-6:], other.id[-6:]) == ("aaaaaa", "bbbbbb")


def test_reserved_messages_that_never_started_are_no_rows_at_an_orderly_end(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        fill(writer, CASES[0], 5)
        manifest = writer.finish("aborted", "interrupted")
    assert (manifest.state, manifest.reason, manifest.rows) == ("aborted", "interrupted", 5)
    (case,) = manifest.cases
    assert (case.scheduled, case.interrupted, case.error) == (3, True, "the run ended before this case did")
    assert (case.started_ns, case.ended_ns) == (2_000_000, 4_000_000 + 205_000_010)


def test_a_run_that_breaks_off_counts_reserved_messages_as_unknown(tmp_path: Path) -> None:
    case = make_case(messages=30)
    writer = start(tmp_path, make_scenario(case))

    def break_off() -> None:
        with writer:
            fill(writer, case, 5)
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        break_off()
    stored = open_run(writer.folder)
    assert stored.manifest.state == "aborted"
    assert stored.manifest.reason == "RuntimeError: a bug"
    table = stored.table()
    assert table["seq"].to_pylist() == list(range(32))  # 2 warm-up and 30 messages, not all 100 reserved
    assert table["outcome"].to_pylist() == ["accepted"] * 5 + ["unknown"] * 27
    assert table["key"].to_pylist() == [f"{writer.id}-0-{seq}" for seq in range(32)]
    assert stored.manifest.cases[0].scheduled == 30


def test_a_run_that_nobody_finished_is_aborted(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        pass
    stored = open_run(writer.folder)
    assert (stored.manifest.state, stored.manifest.reason) == ("aborted", "the run was left unfinished")
    assert stored.table().num_rows == 0


def test_finishing_twice_changes_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        first = writer.finish("complete")
        assert writer.finish("invalid", "late") is first
        with pytest.raises(ValueError, match="running"):
            writer.finish("running")
    with pytest.raises(StorageError):
        writer.reserve(0, CASES[0].id)


def test_a_complete_run_can_be_condemned_and_keeps_its_rows(tmp_path: Path) -> None:
    stored, samples = complete(tmp_path, 5)
    stored.condemn("the mock took what the client does not know of")
    again = open_run(stored.folder)
    assert (again.manifest.state, again.manifest.reason) == (
        "invalid",
        "the mock took what the client does not know of",
    )
    assert again.table().num_rows == len(samples)


def test_an_aborted_run_is_not_condemned(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        pass
    open_run(writer.folder).condemn("whatever")
    assert open_run(writer.folder).manifest.state == "aborted"


def test_a_message_twice_makes_the_run_invalid_and_keeps_the_log(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        fill(writer, CASES[0], 5)
        writer.append(make_sample(3)._replace(key=f"{writer.id}-0-3"))
        manifest = writer.finish("complete")
    assert manifest.state == "invalid"
    assert manifest.reason == "accounting: 1 rows have the case, seq and attempt of another"
    assert (writer.folder / "samples.log").exists()
    assert open_run(writer.folder).table().num_rows == 6


def test_dropped_messages_have_a_row_with_attempt_0(tmp_path: Path) -> None:
    with start(tmp_path) as writer:
        fill(writer, CASES[0], 3)
        writer.append(make_dropped(3, CASES[0]))
        writer.end_case(make_case_run(CASES[0]))
        writer.finish("complete")
    table = open_run(writer.folder).table()
    assert table["attempt"].to_pylist() == [1, 1, 1, 0]
    assert table["start_ns"].to_pylist()[-1] is None


def test_secrets_do_not_reach_the_folder(tmp_path: Path) -> None:
    case = make_case(auth=Auth(Secret("canary-user", "${env:USER}"), Secret("canary-pass")))
    with start(tmp_path, make_scenario(case)) as writer:
        writer.append(make_sample(1)._replace(reply=b"535 canary-pass?", notes='{"x": "CANARY-USER"}'))
        writer.append(make_sample(2)._replace(message_id="canary-pass", anomaly="Y2FuYXJ5LXBhc3M="))
        writer.append(make_sample(3))
        writer.end_case(replace(make_case_run(case), error="no canary-pass"))
        writer.finish("aborted", "because of canary-pass")
    stored = open_run(writer.folder)
    first, second, third = stored.table().to_pylist()
    assert (first["reply"], first["notes"]) == (b"535 ***?", '{"x": "***"}')
    assert (second["message_id"], second["anomaly"]) == ("***", "***")
    assert third == as_row(make_sample(3))
    assert stored.manifest.reason == "because of ***"
    assert b"canary-" not in b"".join(path.read_bytes() for path in stored.folder.iterdir()).lower()
