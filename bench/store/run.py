"""The writing side of a run folder."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from bench import __version__
from bench.errors import ResultFormatError, StorageError
from bench.model import MEASUREMENT, Case, CaseRun, Manifest, Sample, Scenario, Secret
from bench.pacing import WHOLE
from bench.store import codec, files
from bench.store.clean import Cleaner
from bench.store.frames import Kind
from bench.store.log import LogWriter
from bench.store.opened import OpenCase, Reservation
from bench.store.share import LOG, RESERVATION, logs_of, open_log, reservation

MANIFEST = "manifest.json"
SCENARIO = "scenario.yaml"
PARQUET = "samples.parquet"
LATEST = "latest"
BALLAST = ".ballast"

MANIFEST_SCHEMA = "sendbench.manifest/1"
ROW_BYTES = 1024
"""A generous estimate of what a message takes in the log and in the table made from it."""
SPARE_BYTES = 2 << 20
END_STATES = ("complete", "stopped", "aborted", "invalid")


def create_run(
    results: Path,
    scenario: Scenario,
    *,
    seed: int,
    facts: Mapping[str, str],
    clock_offset_ns: int,
    started_at: datetime,
    config_hash: str = "",
) -> RunWriter:
    """Make the folder of a new run under `results` and open its log. Raises StorageError, and then leaves
    nothing behind."""
    with _new_folder(results, scenario.name, started_at) as folder:
        _check_space(folder, scenario.longest)
        manifest = Manifest(
            id=folder.name,
            scenario=scenario.name,
            description=scenario.description,
            tags=dict(scenario.tags),
            state="running",
            reason=None,
            started_at=started_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            clock_offset_ns=clock_offset_ns,
            seed=seed,
            tool_version=__version__,
            facts=dict(facts),
            thresholds=scenario.thresholds,
            gate=scenario.gate,
            cases=(),
            config_hash=config_hash,
            file=_from_here(scenario.file),
            measurement=MEASUREMENT,
        )
        save_manifest(folder, manifest)
        files.write_new(folder / SCENARIO, scenario.source)
        files.put_ballast(folder / BALLAST)
        cleaner = Cleaner(scenario)
        log = open_log(folder / LOG, cleaner)
        try:
            files.point(results / LATEST, folder.name)
        except OSError:
            log.close({"whole": False})
            raise
    return RunWriter(folder, scenario, manifest, log, cleaner)


def _from_here(file: str) -> str:
    path, here = Path(file).resolve(), Path.cwd().resolve()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else ""


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in its place, all or nothing. Raises OSError."""
    whole = {"schema": MANIFEST_SCHEMA, **_object(codec.encode(manifest))}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files.replace_file(folder / MANIFEST, text.encode("utf-8", "backslashreplace"))


class RunWriter:
    """A run folder that is being filled. Leave it through `finish`, or as a context manager."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        manifest: Manifest,
        log: LogWriter,
        cleaner: Cleaner,
        log_name: str = LOG,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._log, self._log_name = log, log_name
        self.append: Callable[[Sample], None] = log.put
        """Take a row; it is written within 50 ms. From one thread only. Raises StorageError."""
        self.durable = False
        """Whether a reservation must be on the disk, not only with the kernel, before anything is sent: real
        mail must not be sent twice because a machine lost its power."""
        self._ahead: dict[Reservation, threading.Event] = {}
        self._cleaner = cleaner
        self._cases = {case.id: case for case in scenario.cases}
        self._opened: set[str] = set()
        self._shares: dict[str, int] = {}
        """Log of another process -> the rows it has written there; only those that came to their end."""
        self._finished = False

    @property
    def id(self) -> str:
        """The run's name, and its folder's."""
        return self.manifest.id

    @property
    def failure(self) -> str | None:
        """Why the log is not complete; None as long as it is."""
        return self._log.failure

    @property
    def written(self) -> int:
        """Rows that no crash of this process can take any more."""
        return self._log.written

    def mock_log(self, case: Case) -> Path:
        """Where the mock of a case writes what it took."""
        return self.folder / mock_log_name(case.index)

    def wire_log(self, case: Case) -> Path:
        """Where the shaper of a case writes its connections."""
        return self.folder / wire_log_name(case.index)

    def server_log(self, case: Case) -> Path:
        """Where what the server of a case says is kept, where it is started by a command."""
        return self.folder / f"server-{case.index:03d}.log"

    def byte_log(self, case: Case) -> Path:
        """Where a mock that goes wrong by script writes every byte."""
        return self.folder / f"bytes-{case.index:03d}.jsonl"

    def key_prefix(self, case: Case) -> str:
        """What a message's key begins with; `-<seq>` follows. Unique for a case of a run."""
        return f"{self.id}-{case.index}"

    def conceal(self, secrets: Iterable[Secret]) -> None:
        """Mask these, too, in whatever is stored from now on; the scenario's own always are."""
        self._cleaner.learn(secrets)

    @property
    def secrets(self) -> frozenset[Secret]:
        """What is masked in all that is stored."""
        return self._cleaner.secrets

    def reserve(self, first_seq: int, case: str) -> None:
        """Put the next `RESERVATION` messages of a case on record, before the first of them is sent.

        The record is with the kernel when this returns, and on the disk where it has to be `durable`: to wait
        for that but once, the one after it is written at the same time. Raises StorageError.
        """
        spec = self._cases[case]
        if case not in self._opened:
            self._opened.add(case)
            self._log.write(Kind.CASE, OpenCase.of(spec, self.key_prefix(spec)))
        block = reservation(spec, first_seq, WHOLE)
        if not block.count:
            return
        if not self.durable:
            self._log.write(Kind.RESERVED, block)
            return
        if block not in self._ahead:
            self._ahead[block] = self._log.write_ahead(Kind.RESERVED, block)
        self._log.wait_for(self._ahead.pop(block))
        following = reservation(spec, first_seq + RESERVATION, WHOLE)
        if following.count:
            self._ahead[following] = self._log.write_ahead(Kind.RESERVED, following)

    def join_share(self, log: str, written: int) -> None:
        """Another process has come to its end with its share of a case: the name of its log, and the rows
        it has written there. Without this call the log counts as one that was cut off."""
        self._shares[log] = written

    def flush(self) -> None:
        """Wait until every row is written. Raises StorageError."""
        self._log.flush()

    def end_case(self, run: CaseRun) -> None:
        """Record that a case, or a further stage of it, has ended and that all its rows were appended.

        Raises StorageError.
        """
        self._log.flush()
        self._log.write(Kind.CASE_END, run.id)
        run = replace(run, error=self._cleaner.text(run.error))
        cases = {each.id: each for each in self.manifest.cases} | {run.id: run}
        self.manifest = replace(self.manifest, cases=tuple(cases.values()))
        self._save()

    def begin_stage(self, scenario: Scenario) -> None:
        """The cases, all of which have ended, go on as those of `scenario`, for the gate to look once more.

        Raises StorageError.
        """
        self._cases = {case.id: case for case in scenario.cases}
        self._opened.clear()
        self.manifest = replace(self.manifest, looks=self.manifest.looks + 1)
        self._save()

    def finish(self, state: str, reason: str | None = None) -> Manifest:
        """End the run as complete, stopped, aborted or invalid: samples.parquet takes the place of the log.

        All messages that were started must have been appended. If storing has failed the run ends as
        `invalid`, with the reason in the manifest that is returned, and the log is kept. A second call
        changes nothing. Raises StorageError if not even the manifest can be written.
        """
        if state not in END_STATES:
            raise ValueError(f"a run cannot end as {state!r}")
        return self._end(state, reason, whole=True)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """A run that was not finished is aborted; messages without a row count as unknown."""
        if not self._finished:
            state = "invalid" if isinstance(error, StorageError) else "aborted"
            why = "the run was left unfinished" if kind is None else f"{kind.__name__}: {error}".rstrip(": ")
            self._end(state, why, whole=False)

    def _end(self, state: str, reason: str | None, *, whole: bool) -> Manifest:
        if self._finished:
            return self.manifest
        self._finished = True
        reason = self._cleaner.text(reason)
        self._log.close({"whole": whole})
        if step_ns := self._log.clock_step_ns:
            said = f"stepped by {step_ns / 1e9:.1f} s while the run went on: it was set, or the machine slept"
            self.manifest = replace(self.manifest, facts={**self.manifest.facts, "wall_clock": said})
        self.manifest = replace(self.manifest, state="finalising", reason=reason)
        try:
            (self.folder / BALLAST).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot end the run in {self.folder}: {error.strerror}") from error
        self._save()
        try:
            fault = self._log.failure or self._derive()
        except (StorageError, ResultFormatError) as error:
            fault = str(error)
        if fault is not None:
            state, reason = "invalid", fault if reason in (None, fault) else f"{reason}; {fault}"
        self.manifest = replace(self.manifest, state=state, reason=reason)
        self._save()
        if fault is None:
            self._remove_logs()
        return self.manifest

    def _derive(self) -> str | None:
        """Make samples.parquet from the logs; say what is wrong with them. Raises StorageError."""
        from bench.store import parquet, rows
        from bench.store.replay import replay

        logs = logs_of(self.folder)
        found = replay(logs, self.manifest.cases)
        digest = _digest(logs)
        parquet.write(self.folder / PARQUET, found.table, digest)
        count = found.table.num_rows
        self.manifest = replace(self.manifest, cases=found.cases, rows=count, log_sha256=digest)
        for name, written in {self._log_name: self._log.written, **self._shares}.items():
            if (recorded := found.recorded.get(name)) != written:
                return f"storage: {written} rows were written and {recorded or 0} can be read ({name})"
        if repeated := rows.duplicates(found.table):
            return f"accounting: {repeated} rows have the case, seq and attempt of another"
        if wrong := found.misaccounted:
            return f"accounting: in {wrong} rows the outcome and the recipients accepted disagree"
        return None

    def _remove_logs(self) -> None:
        try:
            for log in logs_of(self.folder):
                log.unlink()
            files.sync_folder(self.folder)
        except OSError as error:
            raise StorageError(f"cannot remove {self.folder / LOG}: {error.strerror}") from error

    def _save(self) -> None:
        try:
            save_manifest(self.folder, self.manifest)
        except OSError as error:
            raise StorageError(f"cannot write {self.folder / MANIFEST}: {error.strerror}") from error


def mock_log_name(case_index: int) -> str:
    """The name of a mock's log in the run folder."""
    return f"mock-{case_index:03d}.jsonl"


def wire_log_name(case_index: int) -> str:
    """The name of a shaper's log in the run folder."""
    return f"wire-{case_index:03d}.jsonl"


def _digest(logs: Iterable[Path]) -> str:
    """SHA-256 of one log, or of several, one after the other."""
    digest = hashlib.sha256()
    for path in logs:
        with path.open("rb") as log:
            while piece := log.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _new_folder(results: Path, scenario: str, started_at: datetime) -> Iterator[Path]:
    """A folder of its own, which goes again where the block cannot fill it. Raises StorageError."""
    moment = started_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder: Path | None = None
    try:
        results.mkdir(parents=True, exist_ok=True)
        while folder is None:
            free = results / f"{moment}-{scenario}-{secrets.token_hex(3)}"
            with suppress(FileExistsError):
                free.mkdir(mode=0o700)
                folder = free
        files.sync_folder(results)
        yield folder
    except (OSError, StorageError) as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot create a run under {results}: {error.strerror}") from error


def _check_space(folder: Path, scenario: Scenario) -> None:
    messages = sum(case.load.count or 0 for case in scenario.cases)
    needed = 2 * messages * ROW_BYTES + SPARE_BYTES
    free = files.free_bytes(folder)
    if free < needed:
        raise StorageError(
            f"{folder.parent} has {free >> 20} MiB left and the run may need {needed >> 20}: make room first"
        )


def _object(data: codec.Json) -> dict[str, codec.Json]:
    assert isinstance(data, dict)
    return data
