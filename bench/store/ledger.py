"""How much real mail has been reserved today, over all runs of this person on this machine.

A reservation is written before the first byte of what it is for, and what was not used is given back at the
end; a run that is killed gives nothing back.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import RefusedError, StorageError

WAIT_S = 10.0
"""For another run that has the ledger open."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reservation (
    id INTEGER PRIMARY KEY, day TEXT NOT NULL, run TEXT NOT NULL, deliveries INTEGER NOT NULL
)"""


def ledger_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where it lies: in the person's state folder, not in any results folder."""
    base = environ.get("XDG_STATE_HOME")
    folder = Path(base) if base else Path(environ.get("HOME", "~")).expanduser() / ".local" / "state"
    return folder / "sendbench" / "ledger.sqlite"


class Ledger:
    """One file for all runs. Raises StorageError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(self._open()) as database, database:
                database.execute(_SCHEMA)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot use the budget ledger {path}: {error}") from error

    @contextmanager
    def alone(self, accounts: Iterable[str]) -> Iterator[None]:
        """Be the only run that sends real mail through these. Raises RefusedError where another one does."""
        with ExitStack() as stack:
            for account in sorted(set(accounts)):
                path = self._path.with_name(f"{account}.lock")
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                stack.callback(os.close, lock)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = f"another run is sending real mail through {account}; wait for it"
                    raise RefusedError(text) from None
            yield

    def reserve(self, run: str, deliveries: int, budget: int) -> int:
        """Set so many deliveries aside; the reservation's number. Raises RefusedError above the budget."""
        try:
            with closing(self._open()) as database, database:
                database.execute("BEGIN IMMEDIATE")  # two runs must not both see the same remainder
                spent = self._spent(database)
                if spent + deliveries > budget:
                    raise RefusedError(
                        f"{deliveries} deliveries and {spent} of other runs today are more than --budget "
                        f"{budget} allows"
                    )
                cursor = database.execute(
                    "INSERT INTO reservation (day, run, deliveries) VALUES (?, ?, ?)",
                    (_today(), run, deliveries),
                )
                return int(cursor.lastrowid or 0)
        except sqlite3.Error as error:
            raise StorageError(f"cannot use the budget ledger {self._path}: {error}") from error

    def settle(self, number: int, used: int) -> None:
        """Give back what was reserved and not used. Raises StorageError."""
        try:
            with closing(self._open()) as database, database:
                database.execute(
                    "UPDATE reservation SET deliveries = min(deliveries, ?) WHERE id = ?", (used, number)
                )
        except sqlite3.Error as error:
            raise StorageError(f"cannot use the budget ledger {self._path}: {error}") from error

    def spent_today(self) -> int:
        """Deliveries reserved or used since midnight UTC."""
        try:
            with closing(self._open()) as database:
                return self._spent(database)
        except sqlite3.Error as error:
            raise StorageError(f"cannot use the budget ledger {self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=WAIT_S, isolation_level=None)
        database.execute("PRAGMA synchronous = FULL")
        return database

    @staticmethod
    def _spent(database: sqlite3.Connection) -> int:
        (total,) = database.execute(
            "SELECT coalesce(sum(deliveries), 0) FROM reservation WHERE day = ?", (_today(),)
        ).fetchone()
        return int(total)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
