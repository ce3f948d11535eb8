"""Reads the raw logs of a run back: the rows they hold, and what they say about messages that left none."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bench.errors import ResultFormatError
from bench.model import CaseRun, Outcome, Sample, warms_up
from bench.store import rows
from bench.store.codec import decode, load
from bench.store.frames import Frame, FrameReader, Kind
from bench.store.opened import OpenCase, Reservation
from bench.store.share import RESERVATION

NOT_KNOWN = -1
"""The worker of a message whose row was lost."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The last word of a run; `whole` if it came to its end in order."""

    whole: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was saved of logs whose writers did not finish them."""

    frames: int
    bytes_cut: int
    unknown: int
    """Messages that were reserved and left no row."""

    def __str__(self) -> str:
        return (
            f"recovered {self.frames} frames, {self.bytes_cut} bytes cut, "
            f"{self.unknown} messages of unknown outcome"
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """The raw logs of a run, read."""

    table: pa.Table
    """In the order of the cases."""
    cases: tuple[CaseRun, ...]
    """Those that ended, as the manifest has them, then the others, as far as they can be known."""
    whole: bool
    recorded: Mapping[str, int]
    """Log of which nothing had to be cut -> the rows in it; the table has the unknown ones as well."""
    recovery: Recovery
    misaccounted: int = 0
    """Rows whose outcome and recipients disagree."""
    next_seq: Mapping[str, int] = field(default_factory=dict)
    """Case -> its first message that was not reserved, of the cases that a cut-off log reserved any of."""


@dataclass(slots=True)
class _Rows:
    """The rows of all logs, in the order in which they were taken."""

    tables: list[pa.Table] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)
    """Those that are not yet part of a table."""
    waiting: int = 0
    """The rows in them."""
    misaccounted: int = 0
    """Rows whose outcome and recipients disagree."""

    def take(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.misaccounted += rows.misaccounted(batch)
        self.waiting += batch.num_rows
        if self.waiting >= rows.PIECE:
            self._gather()

    def table(self) -> pa.Table:
        """All of them; they are held no more after that."""
        self._gather()
        tables, self.tables = self.tables, []
        return pa.concat_tables([rows.table_of([]), *tables])

    def _gather(self) -> None:
        """Many small batches, each with a frame of its own behind it, become one table of moderate size."""
        plain = rows.without_nulls(rows.table_of(self.batches))
        self.tables.append(rows.complete(plain.combine_chunks()))
        self.batches, self.waiting = [], 0


@dataclass(slots=True)
class _Log:
    """What one log says beside its rows."""

    path: Path
    cases: dict[str, OpenCase] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    reserved: dict[str, list[range]] = field(default_factory=dict)
    """Messages that may have been sent, by case; of a whole log nobody asks for them, and it has none."""
    whole: bool = False
    frames: int = 0
    recorded: int = 0
    bytes_cut: int = 0

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read the log; its batches of rows, each with the first seq in it. Raises ResultFormatError."""
        try:
            with self.path.open("rb") as stream:
                reader = FrameReader(stream)
                reservations = []
                for frame in reader:
                    if frame.kind == Kind.RESERVED:
                        reservations.append(frame.payload)
                        continue
                    batch = self._take(frame)
                    if batch is not None:
                        self.recorded += batch.num_rows
                        yield batch["seq"][0].as_py(), batch
            if not self.whole:
                self._reserve(reservations)
            self.frames = reader.frames
            self.bytes_cut = max(0, self.path.stat().st_size - reader.whole_bytes)
        except (OSError, ValueError, pa.ArrowException) as error:
            text = " ".join(str(error).split())
            raise ResultFormatError(f"{self.path}: cannot be read: {text}") from error

    def _take(self, frame: Frame) -> pa.RecordBatch | None:
        """Raises ValueError, pa.ArrowException or OSError for a payload that is none of ours."""
        match frame.kind:
            case Kind.HEAD if not rows.is_schema(frame.payload):
                raise ValueError("it has other columns than this sendbench knows")
            case Kind.ROWS:
                return rows.decode(frame.payload)
            case Kind.CASE:
                opened = decode(OpenCase, load(frame.payload))
                self.cases[opened.id] = opened
                self.ended.discard(opened.id)  # a further stage
            case Kind.CASE_END:
                self.ended.add(decode(str, load(frame.payload)))
            case Kind.FINISH:
                self.whole = decode(Finish, load(frame.payload)).whole
        return None

    def _reserve(self, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            block = decode(Reservation, load(payload))
            if not (0 <= block.count <= RESERVATION and block.step >= 1):
                raise ValueError(f"{block.count} messages reserved at once")
            self.reserved.setdefault(block.case, []).append(block.numbers)

    @property
    def unended(self) -> set[str]:
        """The cases of which messages that left no row may have been sent."""
        return self.reserved.keys() - self.ended


def replay(paths: Sequence[Path], ended: Sequence[CaseRun]) -> Replay:
    """Read the logs of a run; torn ends are left out. `ended`: the cases of the manifest.

    Raises ResultFormatError.
    """
    logs = [_Log(path) for path in paths]
    found = _read(logs)
    table = found.table()
    cases = {name: case for log in logs for name, case in log.cases.items()}
    lost = [sample for log in logs for sample in _lost(log, cases, table)]
    if lost:
        table = pa.concat_tables([table, rows.table_of([rows.batch_of(lost)])])
    names = list(dict.fromkeys([run.id for run in ended] + [*cases] + _names(table["case"].unique())))
    unsorted = [table]
    del table  # or it would be held twice
    table = rows.in_order(unsorted.pop(), names)
    torn = {name for log in logs for name in log.unended}
    known = tuple(_recounted(run, cases[run.id], table) if run.id in torn else run for run in ended)
    others = [name for name in names if name in cases.keys() - {run.id for run in ended}]
    return Replay(
        table,
        (*known, *(_case_run(cases[name], table) for name in others)),
        whole=all(log.whole for log in logs),
        recorded={log.path.name: log.recorded for log in logs if not log.bytes_cut},
        recovery=Recovery(sum(log.frames for log in logs), sum(log.bytes_cut for log in logs), len(lost)),
        misaccounted=found.misaccounted,
        next_seq={
            name: max(block.stop for log in logs for block in log.reserved.get(name, ()))
            for name in {name for log in logs for name in log.reserved}
        },
    )


def _read(logs: Iterable[_Log]) -> _Rows:
    """The rows of all logs. Those of one case are read side by side, so that rows which belong together
    in the end are together from the start, and moving them into their order takes little."""
    found = _Rows()
    for _, group in groupby(logs, lambda log: log.path.name.rpartition("-")[0]):
        for _, batch in heapq.merge(*(log.batches() for log in group), key=itemgetter(0)):
            found.take(batch)
    return found


def _names(column: pa.Array) -> list[str]:
    names: list[str] = column.to_pylist()
    return names


def _of_case(table: pa.Table, case: str) -> pa.Table:
    return table.filter(pc.equal(table["case"], case))


def _lost(log: _Log, cases: Mapping[str, OpenCase], table: pa.Table) -> list[Sample]:
    """A row of unknown outcome for each message that was reserved and left none."""
    lost = []
    for name in sorted(log.unended):
        mine = _of_case(table, name)
        missing = set(chain(*log.reserved[name])).difference(mine["seq"].to_pylist())
        prefix = _key_prefix(mine) or cases[name].key_prefix
        lost += [_unknown(cases[name], seq, f"{prefix}-{seq}") for seq in sorted(missing)]
    return lost


def _key_prefix(mine: pa.Table) -> str | None:
    if mine.num_rows == 0:
        return None
    return str(mine["key"][0].as_py()).removesuffix(f"-{mine['seq'][0].as_py()}")


def _unknown(case: OpenCase, seq: int, key: str) -> Sample:
    return Sample(
        case=case.id,
        key=key,
        seq=seq,
        attempt=1,
        worker=NOT_KNOWN,
        warmup=warms_up(seq, case.begins, case.warmup),
        cold=False,
        due_ns=None,
        ready_ns=None,
        start_ns=None,
        end_ns=None,
        phases={},
        outcome=Outcome.UNKNOWN,
        client=case.client,
        error="lost",
        recipients=case.recipients,
    )


def _recounted(run: CaseRun, case: OpenCase, table: pa.Table) -> CaseRun:
    """A case of which one process was lost, or the first part of the run: nobody can tell what else that one
    should have started."""
    mine = _of_case(table, run.id)
    measured = mine.filter(pc.invert(mine["warmup"]))
    begun_ns = pc.min(measured["ready_ns"]).as_py()
    return replace(
        run,
        scheduled=pc.count_distinct(measured["seq"]).as_py(),
        begins=case.begins,
        started_ns=run.started_ns if begun_ns is None else min(begun_ns, run.started_ns),
    )


def _case_run(case: OpenCase, table: pa.Table) -> CaseRun:
    """What the rows tell of a case whose end nobody recorded."""
    mine = _of_case(table, case.id)
    measured = mine.filter(pc.invert(mine["warmup"]))
    started_ns = pc.min(measured["ready_ns"]).as_py() or 0
    return CaseRun(
        id=case.id,
        labels=case.labels,
        scheduled=pc.count_distinct(measured["seq"]).as_py(),
        warmup=case.warmup,
        started_ns=started_ns,
        ended_ns=max(started_ns, pc.max(measured["end_ns"]).as_py() or 0),
        cpu_ns=0,
        open=case.open,
        pooled=case.pooled,
        rtt_ns=case.rtt_ns,
        service_time_p50_ns=case.service_time_p50_ns,
        server=case.server,
        begins=case.begins,
        error="the run ended before this case did",
        interrupted=True,
    )
