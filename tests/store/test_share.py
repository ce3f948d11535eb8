"""Logs of several processes: read as one, and accounted for whatever becomes of each of them."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import StorageError
from bench.model import Case, Sample, Secret
from bench.pacing import Share
from bench.store import RESERVATION, RunWriter, ShareWriter, open_run
from bench.store.share import logs_of, reservation
from tests.store.samples import fill, make_case, make_case_run, make_sample, make_scenario, start
from tests.store.test_rows import as_row

ROOT = Path(__file__).parents[2]
CASE = make_case(messages=250)
"""252 messages with its warm-up."""


def share_writer(
    writer: RunWriter, share: Share, *, case: Case = CASE, secrets: Iterable[Secret] = ()
) -> ShareWriter:
    prefix = writer.key_prefix(case)
    return ShareWriter(writer.folder, case, share, key_prefix=prefix, secrets=secrets)


def fill_share(
    writer: RunWriter, log: ShareWriter, share: Share, count: int, case: Case = CASE
) -> list[Sample]:
    """Reserve and append the first `count` messages of a share."""
    samples = []
    for index, seq in enumerate(share.numbers(252)[:count]):
        if index % RESERVATION == 0:
            log.reserve(seq, case.id)
        sample = make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}")
        log.append(sample)
        samples.append(sample)
    return samples


def torn(writer: RunWriter, log: ShareWriter, by: int = 0) -> None:
    """Leave a log as a process leaves it that was killed: without its end, and perhaps with half a frame."""
    log._log.flush()
    path = writer.folder / log.name
    data = path.read_bytes()
    log.close(whole=False)
    path.write_bytes(data + data[:by])


def test_the_logs_of_a_run_become_one_table_and_go(tmp_path: Path) -> None:
    with start(tmp_path, make_scenario(CASE)) as writer:
        samples = []
        for number in range(3):
            share = Share(number, 3)
            log = share_writer(writer, share)
            samples += fill_share(writer, log, share, 1000)
            writer.join_share(log.name, log.close(whole=True))
        writer.end_case(make_case_run(CASE, 250))
        manifest = writer.finish("complete")
    assert (manifest.state, manifest.rows) == ("complete", 252)
    table = open_run(writer.folder).table().to_pylist()
    assert table == [as_row(sample) for sample in sorted(samples, key=lambda sample: sample.seq)]
    assert not list(writer.folder.glob("*.log"))


def test_the_digest_in_the_manifest_is_of_all_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunWriter, "_remove_logs", lambda _writer: None)
    with start(tmp_path, make_scenario(CASE)) as writer:
        for number in range(2):
            log = share_writer(writer, Share(number, 2))
            fill_share(writer, log, Share(number, 2), 1000)
            writer.join_share(log.name, log.close(whole=True))
        manifest = writer.finish("complete")
    names = ("samples.log", "samples-000-1.log", "samples-000-2.log")
    whole = b"".join((writer.folder / name).read_bytes() for name in names)
    assert manifest.log_sha256 == hashlib.sha256(whole).hexdigest()


def test_a_run_may_have_cases_with_shares_and_cases_without(tmp_path: Path) -> None:
    alone, other = make_case(1, messages=40), make_case(2, messages=250)
    with start(tmp_path, make_scenario(CASE, alone, other)) as writer:
        for case in (CASE, alone, other):
            if case is alone:
                fill(writer, case, 42)
            else:
                for number in range(2):
                    log = share_writer(writer, Share(number, 2), case=case)
                    fill_share(writer, log, Share(number, 2), 1000, case)
                    writer.join_share(log.name, log.close(whole=True))
            writer.end_case(make_case_run(case))
        assert writer.finish("complete").state == "complete"
    table = open_run(writer.folder).table()
    assert table["case"].to_pylist() == [CASE.id] * 252 + [alone.id] * 42 + [other.id] * 252
    assert table["seq"].to_pylist() == [*range(252), *range(42), *range(252)]


@pytest.mark.parametrize("by", [0, 30])
def test_what_a_lost_process_had_reserved_is_unknown_and_the_others_are_whole(
    tmp_path: Path, by: int
) -> None:
    """It had reserved 1, 4, ... 298 of 252 messages, so 84, and left rows for 10 of them."""
    with start(tmp_path, make_scenario(CASE)) as writer:
        for number in range(3):
            share = Share(number, 3)
            log = share_writer(writer, share)
            fill_share(writer, log, share, 10 if number == 1 else 1000)
            if number == 1:
                torn(writer, log, by)
            else:
                writer.join_share(log.name, log.close(whole=True))
        writer.end_case(replace(make_case_run(CASE, 167), error="worker 2 of 3 was ended by SIGKILL"))
        manifest = writer.finish("complete")
    assert (manifest.state, manifest.rows, manifest.cases[0].scheduled) == ("complete", 252, 250)
    rows = open_run(writer.folder).table().to_pylist()
    assert [row["seq"] for row in rows] == list(range(252))
    lost = [row["seq"] for row in rows if row["outcome"] == "unknown"]
    assert lost == list(range(31, 252, 3))
    assert {row["key"] for row in rows} == {f"{writer.id}-0-{seq}" for seq in range(252)}


def test_a_lost_process_is_not_asked_for_what_it_never_reserved(tmp_path: Path) -> None:
    case = make_case(messages=1000)
    with start(tmp_path, make_scenario(case)) as writer:
        for number in range(2):
            log = share_writer(writer, Share(number, 2), case=case)
            fill_share(writer, log, Share(number, 2), 5, case)
            torn(writer, log)
        writer.end_case(make_case_run(case, 1000))
        manifest = writer.finish("complete")
    assert manifest.rows == 200
    assert manifest.cases[0].scheduled == 198


def test_rows_missing_from_a_log_that_was_ended_make_the_run_invalid(tmp_path: Path) -> None:
    with start(tmp_path, make_scenario(CASE)) as writer:
        log = share_writer(writer, Share())
        fill_share(writer, log, Share(), 1000)
        written = log.close(whole=True)
        writer.join_share(log.name, written + 1)
        manifest = writer.finish("complete")
    assert manifest.state == "invalid"
    assert manifest.reason == "storage: 253 rows were written and 252 can be read (samples-000-1.log)"
    assert (writer.folder / "samples-000-1.log").exists()


def test_a_log_that_has_gone_makes_the_run_invalid(tmp_path: Path) -> None:
    with start(tmp_path, make_scenario(CASE)) as writer:
        log = share_writer(writer, Share())
        fill_share(writer, log, Share(), 10)
        writer.join_share(log.name, log.close(whole=True))
        (writer.folder / log.name).unlink()
        manifest = writer.finish("complete")
    assert (manifest.state, manifest.reason) == (
        "invalid",
        "storage: 10 rows were written and 0 can be read (samples-000-1.log)",
    )


def test_after_the_run_itself_was_killed_everything_is_accounted_for(tmp_path: Path) -> None:
    """The workers came to their end, one in order, one not; nobody merged them."""
    writer = start(tmp_path, make_scenario(CASE))
    whole, lost = (share_writer(writer, Share(number, 2)) for number in range(2))
    fill_share(writer, whole, Share(0, 2), 1000)
    fill_share(writer, lost, Share(1, 2), 20)
    whole.close(whole=True)
    torn(writer, lost, 17)
    copy = Path(shutil.copytree(writer.folder, tmp_path / "copy"))
    writer.finish("complete")
    stored = open_run(copy)
    assert stored.manifest.state == "aborted"
    assert stored.recovery is not None
    assert (stored.recovery.unknown, stored.recovery.bytes_cut) == (80, 17)
    table = stored.table()
    seqs = table["seq"].to_pylist()
    assert seqs == sorted([*range(0, 252, 2), *range(1, 201, 2)])
    (case,) = stored.manifest.cases
    assert (case.scheduled, case.interrupted) == (len(seqs) - 2, True)


def test_a_run_of_which_one_process_still_writes_is_running(tmp_path: Path) -> None:
    writer = start(tmp_path, make_scenario(CASE))
    log = share_writer(writer, Share(1, 2))
    writer._log.close({"whole": False})
    assert open_run(writer.folder).manifest.state == "running"
    log.close(whole=True)
    assert open_run(writer.folder).manifest.state == "aborted"


def test_the_order_of_the_logs_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = start(tmp_path, make_scenario(CASE))
    for number in range(3):
        log = share_writer(writer, Share(number, 3))
        fill_share(writer, log, Share(number, 3), 1000)
        torn(writer, log)
    first = open_run(writer.folder).table()
    logs = logs_of(writer.folder)
    for seed in range(4):
        monkeypatch.setattr(
            "bench.store.reader.logs_of",
            lambda _folder, seed=seed: random.Random(seed).sample(logs, len(logs)),
        )
        assert open_run(writer.folder).table().equals(first)
    writer.finish("complete")


def test_secrets_are_masked_in_a_share_as_well(tmp_path: Path) -> None:
    writer = start(tmp_path, make_scenario(CASE))
    log = share_writer(writer, Share(), secrets=[Secret("canary-7f3a9c")])
    log.reserve(0, CASE.id)
    log.append(make_sample(0)._replace(reply=b"535 canary-7f3a9c is wrong"))
    log.close(whole=True)
    assert b"canary" not in (writer.folder / log.name).read_bytes()
    writer.finish("complete")


def test_logs_are_private_and_never_written_over(tmp_path: Path) -> None:
    writer = start(tmp_path, make_scenario(CASE))
    log = share_writer(writer, Share())
    assert (writer.folder / log.name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match="cannot create"):
        share_writer(writer, Share())
    log.close(whole=True)
    writer.finish("complete")


@pytest.mark.parametrize("name", ["samples-000-1.log", "samples-.log"])
def test_a_derived_file_cannot_take_the_name_of_a_log(tmp_path: Path, name: str) -> None:
    with start(tmp_path) as writer:
        writer.finish("complete")
    with pytest.raises(ValueError, match="derived file"):
        open_run(writer.folder).write(name, b"")


@given(st.integers(1, 9), st.integers(0, 700), st.data())
def test_reservations_speak_for_every_message_of_a_share_and_for_no_other(
    of: int, messages: int, data: st.DataObject
) -> None:
    share = Share(data.draw(st.integers(0, of - 1)), of)
    case = make_case(messages=messages)
    spoken_for = [
        seq
        for first in share.numbers(messages + 2)[::RESERVATION]
        for seq in reservation(case, first, share).numbers
    ]
    assert spoken_for == list(share.numbers(messages + 2))


def test_without_a_number_of_messages_reservations_are_whole() -> None:
    block = reservation(make_case(messages=None), 5, Share(1, 4))
    assert list(block.numbers) == list(range(5, 405, 4))


def test_nothing_is_imported_while_rows_are_written(tmp_path: Path) -> None:
    """Arrow would load pandas with the first row, in the middle of a measurement."""
    code = (
        "import sys; from pathlib import Path; from tests.store.samples import *;"
        "writer = start(Path(sys.argv[1])); before = set(sys.modules); fill(writer, make_case(), 250);"
        "writer.flush(); print(sorted(set(sys.modules) - before)); writer.finish('complete')"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
