"""X14 and X21: what is written is for its user alone, never through a link, and a report names nobody."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli import latest, sendbench
from tests.integration.test_listeners import mock

BASE = """\
version: 1
name: private
target: mock
provider: generic
transport: smtp
network: {rtt: 2ms}
load: {model: closed, concurrency: 2, messages: 10}
"""
NAMED = "customer-4711@people.example"
REFUSING = f'faults: [{{at: rcpt, do: reply, text: "550 5.1.1 <{NAMED}> unknown, not {NAMED.upper()}"}}]\n'
FORMATS = ("--format", "html,md,json,csv,samples")


def write(folder: Path, more: str = "") -> None:
    text = BASE.replace("network: {rtt: 2ms}\n", "") if more else BASE
    (folder / "private.yaml").write_text(text + more, encoding="utf-8")


@pytest.fixture
def umask() -> Iterator[None]:
    """Everything else on the machine is made for all."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_whatever_is_written_is_for_its_user_alone(tmp_path: Path) -> None:
    write(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    for each in (("run", "../private.yaml"), ("report", *FORMATS), ("init", "new.yaml")):
        done = sendbench(*each, folder=work)
        assert done.returncode == 0, done.stderr
    for more in ((), ("--faults", "S05")):
        with mock(work, "smtp", "--log", f"taken{len(more)}", *more):
            pass
    found = [path for path in work.rglob("*") if not path.is_symlink()]
    assert len(found) > 15
    assert [str(path) for path in found if path.stat().st_mode & 0o077] == []


def test_no_process_of_a_run_leaves_a_core_dump(tmp_path: Path) -> None:
    with mock(tmp_path, "smtp") as (ready, _):
        limits = Path(f"/proc/{ready['pid']}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE)


# ----------------------------------------------------------------------------------------- links


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody's that must stay as it is."""
    path = tmp_path / "victim"
    path.write_text("mine\n")
    return path


def test_a_report_takes_the_place_of_a_link_and_does_not_follow_it(tmp_path: Path, victim: Path) -> None:
    write(tmp_path)
    assert sendbench("run", "private.yaml", folder=tmp_path).returncode == 0
    out = tmp_path / "out"
    out.mkdir()
    for name in ("report.html", "report.md", "summary.json", "cases.csv", "summary.csv", "samples.csv"):
        (out / name).symlink_to(victim)
    done = sendbench("report", *FORMATS, "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    written = [tmp_path / line for line in done.stdout.splitlines()]
    assert len(written) == 5
    assert not [path for path in written if path.is_symlink()]
    assert victim.read_text() == "mine\n"


def test_a_mocks_logs_do_not_follow_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "log").symlink_to(victim)
    done = sendbench("mock", "smtp", "--log", "log", folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert victim.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["samples.log", "mock-000.jsonl", "manifest.json", ".ballast"])
def test_going_on_with_a_strangers_run_writes_nothing_elsewhere(
    tmp_path: Path, victim: Path, name: str
) -> None:
    """Its folder may hold links: the raw log would be cut where it is torn, the mock's log appended to."""
    write(tmp_path, "")
    assert sendbench("run", "private.yaml", folder=tmp_path).returncode == 0
    run = latest(tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    unfinished = manifest | {"state": "running", "rows": None, "cases": []}
    (run / "samples.parquet").unlink()
    (run / "manifest.json").write_text(json.dumps(unfinished))
    (run / "samples.log").write_bytes(b"")
    if name == "manifest.json":
        victim.write_text(json.dumps(unfinished))
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    before = victim.read_bytes()
    done = sendbench("run", "private.yaml", "--resume", str(run), folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert victim.read_bytes() == before


def test_a_folder_of_results_that_is_a_link_is_the_persons_own(tmp_path: Path) -> None:
    """What somebody gives on the command line is theirs to decide."""
    write(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "elsewhere")
    assert sendbench("run", "private.yaml", folder=tmp_path).returncode == 0
    assert list((tmp_path / "elsewhere").glob("*-private-*"))


# ------------------------------------------------------------------------------------- addresses


def test_reports_show_a_hash_in_the_place_of_each_address(tmp_path: Path) -> None:
    write(tmp_path, REFUSING)
    assert sendbench("run", "private.yaml", folder=tmp_path).returncode == 3
    done = sendbench("report", *FORMATS, folder=tmp_path)
    written = {Path(line).name: (tmp_path / line).read_text() for line in done.stdout.splitlines()}
    for name, text in written.items():
        assert NAMED not in text.lower(), name
    samples = written["samples.csv"]
    hashes = re.findall(r"address-[0-9a-f]{8}", samples)
    assert len(hashes) >= 20, "one for each in each reply"
    assert len(set(hashes)) == 1, "the same for the same, however it is written"
    assert re.search(r"550 5\.1\.1 <address-[0-9a-f]{8}> unknown", samples)
    again = sendbench("report", *FORMATS, "--out", "again", folder=tmp_path)
    assert {Path(line).name: (tmp_path / line).read_text() for line in again.stdout.splitlines()} == written
    assert latest(tmp_path).stat().st_mode & 0o077 == 0
