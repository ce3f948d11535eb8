"""The raw logs of a run: the run's own, and one of each other process that has a share of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bench.errors import StorageError
from bench.model import Case, Sample, Secret
from bench.pacing import Share
from bench.store import files
from bench.store.clean import Cleaner
from bench.store.frames import FrameFile, Kind
from bench.store.log import LogWriter
from bench.store.opened import OpenCase, Reservation

LOG = "samples.log"
SHARE_LOGS = "samples-*.log"
RESERVATION = 100
"""Messages that one reservation speaks for."""


def share_log_name(case_index: int, number: int) -> str:
    """The name of the log of the `number`-th process (from 1) of a case."""
    return f"samples-{case_index:03d}-{number}.log"


def logs_of(folder: Path) -> list[Path]:
    """Every raw log a run should have, its own first; those of a case stand together."""
    return [folder / LOG, *sorted(folder.glob(SHARE_LOGS))]


def open_log(path: Path, cleaner: Cleaner) -> LogWriter:
    """A new log for rows that the cleaner makes fit to be stored. Raises OSError, StorageError."""
    from bench.store import rows  # pyarrow takes a while to load; only a run that is really written pays

    rows.warm_up()
    file = FrameFile(path)
    file.append(Kind.HEAD, rows.encode_schema())
    files.sync_folder(path.parent)
    return LogWriter(file, lambda samples: rows.encode(cleaner.samples(samples)))


def reservation(case: Case, first: int, share: Share) -> Reservation:
    """The next `RESERVATION` messages of a share of a case from `first` on, as far as there are any."""
    count = RESERVATION
    if case.load.count is not None:
        count = min(count, len(range(first, case.load.count, share.of)))
    return Reservation(case.id, first, count, share.of)


class ShareWriter:
    """The log of one of several processes: the same frames as a run's own, for its share of one case.

    Whoever merges the logs ends the case. Raises StorageError wherever something cannot be written.
    """

    def __init__(
        self, folder: Path, case: Case, share: Share, *, key_prefix: str, secrets: Iterable[Secret]
    ) -> None:
        self.name = share_log_name(case.index, share.number + 1)
        self._case, self._share = case, share
        cleaner = Cleaner()
        cleaner.learn(secrets)
        try:
            self._log = open_log(folder / self.name, cleaner)
        except OSError as error:
            raise StorageError(f"cannot create {folder / self.name}: {error.strerror}") from error
        self.append: Callable[[Sample], None] = self._log.put
        """Take a row; it is written within 50 ms. From one thread only."""
        self._log.write(Kind.CASE, OpenCase.of(case, key_prefix))

    def reserve(self, first_seq: int, case: str) -> None:
        """Put the next `RESERVATION` messages of the share on record, before the first of them is sent."""
        block = reservation(self._case, first_seq, self._share)
        if block.count:
            self._log.write(Kind.RESERVED, block)

    def close(self, *, whole: bool) -> int:
        """End the log, `whole` if every message that was started has its row; how many rows it has."""
        self._log.close({"whole": whole})
        if self._log.failure is not None:
            raise StorageError(self._log.failure)
        return self._log.written
