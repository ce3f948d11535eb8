"""The rows of the table: who is compared, on which work, and which ratio is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.peers import peers
from tests.peers.compare import HarnessError, Pair, Spread, alternate, efficiency
from tests.peers.servers import Kind
from tests.peers.work import KIB, Cores, Side, Work, costs

LARGE = 50 * KIB
OURS_HTTP = 150_000
OURS_SMTP = 60_000


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; messages are chosen so that each run takes about a second of CPU or more."""

    key: str
    theirs: Side
    ours_work: Work
    their_work: Work
    asked: float | None = None
    """The ratio of messages per CPU second, ours / theirs, that is to be reached."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A row with what came of it: pairs, or the reason why there are none."""

    row: Row
    pairs: tuple[Pair, ...] = ()
    version: str | None = None
    """Of the other tool; None: not installed."""
    error: str = ""

    @property
    def key(self) -> str:
        """The row's."""
        return self.row.key

    @property
    def ratio(self) -> Spread | None:
        """Messages per CPU second, ours / theirs."""
        return efficiency(self.pairs) if self.pairs else None

    @property
    def verdict(self) -> str:
        """One or two words."""
        if self.error:
            return "harness error"
        if self.version is None or self.ratio is None:
            return "not installed"
        return judge(self.ratio.median, self.row.asked)


def judge(ratio: float, asked: float | None) -> str:
    """Whether a ratio is as large as was asked, if anything was."""
    if asked is None:
        return "-"
    return "pass" if ratio >= asked else "falls short"


def compare(row: Row, ours: Side, pairs: int, cores: Cores) -> Compared:
    """Measure one row: `pairs` times ours, then theirs."""
    version = row.theirs.version()
    if version is None:
        return Compared(row)
    try:
        done = alternate(costs(ours, row.ours_work, cores), costs(row.theirs, row.their_work, cores), pairs)
    except HarnessError as error:
        return Compared(row, (), version, str(error))
    return Compared(row, done, version)


def rows() -> tuple[Row, ...]:
    """All rows, in the table's order."""
    return (*_source_rows(), *_smtp_rows(), *_http_rows())


SOURCE_MESSAGES = {
    # (pooled, sessions, bytes): what smtp-source sends to smtp-sink in one to two seconds
    (True, 1, KIB): 12_000,
    (True, 10, KIB): 25_000,
    (True, 50, KIB): 60_000,
    (True, 1, LARGE): 8_000,
    (True, 10, LARGE): 20_000,
    (True, 50, LARGE): 20_000,
    (False, 1, KIB): 10_000,
    (False, 10, KIB): 15_000,
    (False, 50, KIB): 15_000,
    (False, 1, LARGE): 8_000,
    (False, 10, LARGE): 10_000,
    (False, 50, LARGE): 10_000,
}


def _source_rows() -> Sequence[Row]:
    """smtp-source with the same work as ours, command by command; then ours with PIPELINING."""
    made = []
    for (pooled, sessions, size), messages in SOURCE_MESSAGES.items():
        work = Work(Kind.SMTP, messages, sessions, size, pooled)
        name = f"smtp-source/{'pooled' if pooled else 'unpooled'}/{sessions}/{size // KIB}KiB"
        made.append(Row(name, peers.SMTP_SOURCE, work, work, _asked_of_source(pooled, sessions)))
    work = Work(Kind.SMTP, OURS_SMTP)
    pipelined = replace(work, pipelined=True)
    made.append(Row("smtp-source/pipelined/50/1KiB", peers.SMTP_SOURCE, pipelined, work, 1.5))
    return made


def _asked_of_source(pooled: bool, sessions: int) -> float | None:
    """Unpooled is asked for at any number of sessions, pooled at 50."""
    if not pooled:
        return 0.8
    return 0.9 if sessions == 50 else None


def _smtp_rows() -> Sequence[Row]:
    ours = Work(Kind.SMTP, OURS_SMTP)
    return [
        Row("aiosmtplib/pooled/50/1KiB", peers.AIOSMTPLIB, ours, Work(Kind.SMTP, 8_000), 2.0),
        Row("nodemailer/pooled/50/1KiB", peers.NODEMAILER, ours, Work(Kind.SMTP, 4_000), 5.0),
    ]


HTTP = (
    # what sends, how many messages take it a second or more, the ratio to reach
    (peers.WRK, 150_000, 0.6),
    (peers.HEY, 80_000, 1.4),
    (peers.H2LOAD, 150_000, None),
    (peers.AUTOCANNON, 400_000, None),
    (peers.LOCUST_FAST, 10_000, 6.0),
    (peers.HTTPX, 250, 50.0),
)


def _http_rows() -> Sequence[Row]:
    ours = Work(Kind.HTTP, OURS_HTTP)
    return [
        Row(f"{side.name}/post/50/1KiB", side, ours, Work(Kind.HTTP, messages), asked)
        for side, messages, asked in HTTP
    ]
