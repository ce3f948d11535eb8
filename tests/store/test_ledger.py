"""X09: the budget holds over runs and processes, and a killed run gives nothing back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import RefusedError, StorageError
from bench.store.ledger import Ledger, ledger_file


def test_what_was_not_used_is_given_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "ledger.sqlite")
    number = ledger.reserve("a", 60, 100)
    assert ledger.spent_today() == 60
    with pytest.raises(RefusedError, match="50 deliveries and 60 of other runs today are more than"):
        ledger.reserve("b", 50, 100)
    ledger.settle(number, 45)
    assert ledger.spent_today() == 45
    ledger.settle(number, 60)
    assert ledger.spent_today() == 45, "settling gives back and never takes more"
    ledger.reserve("b", 50, 100)
    assert ledger.spent_today() == 95
    assert (tmp_path / "state" / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


def test_processes_that_reserve_at_once_never_exceed_the_budget(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from bench.errors import RefusedError
from bench.store.ledger import Ledger
ledger, granted = Ledger(Path(sys.argv[1])), 0
for _ in range(20):
    try:
        ledger.reserve("x", 7, 200)
        granted += 7
    except RefusedError:
        pass
print(granted)
"""
    path = tmp_path / "ledger.sqlite"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    granted = sum(int(process.communicate(timeout=60)[0]) for process in processes)
    assert granted == 196 == Ledger(path).spent_today()


def test_a_ledger_that_cannot_be_used_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot use the budget ledger"):
        Ledger(tmp_path / "file" / "ledger.sqlite")
    broken = tmp_path / "ledger.sqlite"
    broken.write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match="cannot use the budget ledger"):
        Ledger(broken)


def test_one_run_at_a_time_through_an_account(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path / "ledger.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    with one.alone(["sendgrid", "resend"]):
        told = pytest.raises(RefusedError, match="another run is sending real mail through resend")
        with told, other.alone(["mailgun", "resend"]):
            pass
        with other.alone(["mailgun"]):
            pass
    with other.alone(["resend"]):
        pass


def test_where_it_lies() -> None:
    assert ledger_file({"XDG_STATE_HOME": "/s"}) == Path("/s/sendbench/ledger.sqlite")
    assert ledger_file({"HOME": "/h"}) == Path("/h/.local/state/sendbench/ledger.sqlite")
