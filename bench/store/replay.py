"""Reads a raw log back: the rows it holds, and what it says about messages that left none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bench.errors import ResultFormatError
from bench.model import Case, CaseRun, Connection, Outcome, Sample
from bench.store import rows
from bench.store.codec import decode, load
from bench.store.frames import Frame, FrameReader, Kind

NOT_KNOWN = -1
"""The worker of a message whose row was lost."""


@dataclass(frozen=True, slots=True)
class OpenCase:
    """What has to be known of a case should the run not live to its end."""

    id: str
    labels: Mapping[str, str]
    first_seq: int
    warmup: int
    open: bool
    pooled: bool
    rtt_ns: int | None
    service_time_p50_ns: int | None
    server: str
    client: str
    recipients: int
    key_prefix: str

    @staticmethod
    def of(case: Case, first_seq: int, key_prefix: str) -> OpenCase:
        """The facts of a case whose first message is `first_seq`."""
        return OpenCase(
            id=case.id,
            labels=dict(case.labels),
            first_seq=first_seq,
            warmup=case.load.warmup,
            open=case.load.open,
            pooled=case.connection is Connection.POOLED,
            rtt_ns=case.shaped_rtt_ns,
            service_time_p50_ns=case.planted_p50_ns,
            server=case.server,
            client=case.client,
            recipients=case.message.recipients_each,
            key_prefix=key_prefix,
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """Messages `first` to `first + count - 1` of a case may have been sent."""

    case: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The last word of a run; `whole` if it came to its end in order."""

    whole: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was saved of a log whose writer did not finish it."""

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
    """A raw log, read."""

    table: pa.Table
    """In the order of the cases."""
    cases: tuple[CaseRun, ...]
    """Those that ended, as the manifest has them, then the others, as far as they can be known."""
    whole: bool
    recorded: int
    """Rows in the log; the table has the unknown ones as well."""
    recovery: Recovery


@dataclass(slots=True)
class _Log:
    """The frames of a log, sorted by what they are."""

    tables: list[pa.Table] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)
    """Those that are not yet part of a table."""
    waiting: int = 0
    """The rows in them."""
    cases: dict[str, OpenCase] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    reserved: dict[str, list[range]] = field(default_factory=dict)
    whole: bool = False

    def take(self, frame: Frame) -> None:
        """Raises ValueError, pa.ArrowException or OSError for a payload that is none of ours."""
        match frame.kind:
            case Kind.HEAD if not rows.is_schema(frame.payload):
                raise ValueError("it has other columns than this sendbench knows")
            case Kind.ROWS:
                self._take_rows(rows.decode(frame.payload))
            case Kind.CASE:
                opened = decode(OpenCase, load(frame.payload))
                self.cases[opened.id] = opened
            case Kind.RESERVED:
                block = decode(Reservation, load(frame.payload))
                numbers = range(block.first, block.first + block.count)
                self.reserved.setdefault(block.case, []).append(numbers)
            case Kind.CASE_END:
                self.ended.add(decode(str, load(frame.payload)))
            case Kind.FINISH:
                self.whole = decode(Finish, load(frame.payload)).whole

    def table(self) -> pa.Table:
        """All rows, in the order in which they were written."""
        self._gather()
        return pa.concat_tables([rows.table_of([]), *self.tables])

    def _take_rows(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.waiting += batch.num_rows
        if self.waiting >= rows.PIECE:
            self._gather()

    def _gather(self) -> None:
        """Many small batches, each with a frame of its own behind it, become one table of moderate size."""
        plain = rows.without_nulls(rows.table_of(self.batches))
        self.tables.append(rows.complete(plain.combine_chunks()))
        self.batches, self.waiting = [], 0


def replay(path: Path, ended: Sequence[CaseRun]) -> Replay:
    """Read a log; a torn end is left out. `ended`: the cases of the manifest. Raises ResultFormatError."""
    log = _Log()
    try:
        with path.open("rb") as stream:
            reader = FrameReader(stream)
            for frame in reader:
                log.take(frame)
        cut = max(0, path.stat().st_size - reader.whole_bytes)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ResultFormatError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    table = log.table()
    log.tables.clear()
    recorded = int(table.num_rows)
    lost = [] if log.whole else _lost(log, table)
    if lost:
        table = pa.concat_tables([table, rows.table_of([rows.batch_of(lost)])])
    names = list(dict.fromkeys([run.id for run in ended] + [*log.cases] + _names(table["case"].unique())))
    unsorted = [table]
    del table  # or it would be held twice
    table = rows.in_order(unsorted.pop(), names)
    known = {run.id for run in ended}
    unended = tuple(_case_run(log.cases[name], table) for name in names if name in log.cases.keys() - known)
    return Replay(table, (*ended, *unended), log.whole, recorded, Recovery(reader.frames, cut, len(lost)))


def _names(column: pa.Array) -> list[str]:
    names: list[str] = column.to_pylist()
    return names


def _of_case(table: pa.Table, case: str) -> pa.Table:
    return table.filter(pc.equal(table["case"], case))


def _lost(log: _Log, table: pa.Table) -> list[Sample]:
    """A row of unknown outcome for each message that was reserved and left none."""
    lost = []
    for name in log.cases.keys() - log.ended:
        mine = _of_case(table, name)
        missing = set(chain(*log.reserved.get(name, ()))).difference(mine["seq"].to_pylist())
        prefix = _key_prefix(mine) or log.cases[name].key_prefix
        lost += [_unknown(log.cases[name], seq, f"{prefix}-{seq}") for seq in sorted(missing)]
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
        warmup=seq < case.first_seq + case.warmup,
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
        error="the run ended before this case did",
        interrupted=True,
    )
