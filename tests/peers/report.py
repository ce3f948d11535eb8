"""reports/peers.md: the tables, and what a reader must know to use them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.compare import Spread
from tests.peers.lag import Late
from tests.peers.rows import Compared
from tests.peers.workers import Scaled

NOTES = """
- Whole processes, alternating ours, theirs, ours, theirs; each pinned to one core, the server to another and
  new for every run.
- Ours is `sendbench run` with full records on, run folder, summary and all.
- CPU is user + system of the process and the children it waited for. Start-up is left out: from every run
  another one with a tenth of the messages is subtracted, on both sides (wrk sends for whole seconds: a run of
  one second is subtracted from one of three).
- A figure is the median of the pairs; the ratio is formed within each pair and given as median (smallest to
  largest).
- The two sides may send a different number of messages, so that each run lasts long enough; a run counts only
  if the server took exactly the number that was ordered, each of the size ordered within 2 % (SMTP: one
  message of each side is kept and looked at).
- Messages/s is what passed on this machine with one core for each side: often the server's limit, not the
  tool's.
"""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured."""

    compared: Sequence[Compared]
    lag: Sequence[Late]
    workers: Sequence[Scaled]
    pairs: int
    sendbench: str
    started_at: str

    @property
    def verdicts(self) -> list[str]:
        """The verdict of every row."""
        rows: list[Compared | Late | Scaled] = [*self.compared, *self.lag, *self.workers]
        return [row.verdict for row in rows]


def render(results: Results) -> str:
    """The whole page."""
    parts = [_head(results)]
    if results.compared:
        parts.append(_comparison(results.compared))
    if results.lag:
        parts.append(_lag(results.lag))
    if results.workers:
        parts.append(_workers(results.workers))
    return "\n".join(parts)


def _head(results: Results) -> str:
    tools = {row.row.theirs.name: row.version or "not installed" for row in results.compared}
    versions = ", ".join(f"{name} {version}" for name, version in tools.items())
    compared = f" It is compared with {versions}." if versions else ""
    facts = f"{results.started_at}, {_machine()}, {results.pairs} pairs. sendbench is {results.sendbench}."
    return f"# Side by side with other tools\n\n{facts}{compared}\n"


def _machine() -> str:
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _comparison(rows: Iterable[Compared]) -> str:
    header = (
        "messages per CPU second",
        "ours",
        "theirs",
        "ours / theirs",
        "asked",
        "verdict",
        "messages/s, ours",
        "theirs",
        "messages, ours",
        "theirs",
    )
    lines = [_compared(row) for row in rows]
    return f"## Messages per CPU second\n{NOTES}\n{_table(header, lines)}{_errors(rows)}"


def _compared(row: Compared) -> tuple[str, ...]:
    asked = f">= {row.row.asked:g}" if row.row.asked is not None else "-"
    messages = (f"{row.row.ours_work.messages:,}", _their_messages(row))
    if row.ratio is None:
        return (row.key, "-", "-", "-", asked, row.verdict, "-", "-", *messages)
    ours, theirs = [pair.ours for pair in row.pairs], [pair.theirs for pair in row.pairs]
    return (
        row.key,
        _count(statistics.median(cost.per_cpu_s for cost in ours)),
        _count(statistics.median(cost.per_cpu_s for cost in theirs)),
        _ratio(row.ratio),
        asked,
        row.verdict,
        _count(statistics.median(cost.per_s for cost in ours)),
        _count(statistics.median(cost.per_s for cost in theirs)),
        *messages,
    )


def _their_messages(row: Compared) -> str:
    """What was ordered; of a timed tool what the server counted."""
    if row.row.theirs.timed and row.pairs:
        return _count(statistics.median(pair.theirs.messages for pair in row.pairs))
    return f"{row.row.their_work.messages:,}"


def _lag(rows: Iterable[Late]) -> str:
    header = ("constant rate", "lag p50", "lag p99", "asked", "verdict", "what the case says", "load before")
    intro = (
        "10 s over kept connections at the mock; nothing is pinned. The figures are the case's own. The load "
        "is the machine's average over the minute before; the limits hold for an idle machine.\n"
    )
    return f"## Lag\n\n{intro}\n{_table(header, [_late(row) for row in rows])}{_errors(rows)}"


def _late(row: Late) -> tuple[str, ...]:
    limit = row.check.limit
    asked = f"p99 <= {limit.p99_ms:g} ms"
    if limit.p50_ms is not None:
        asked = f"p50 <= {limit.p50_ms:g} ms, {asked}"
    if limit.invalid_passes:
        asked += ", or invalid"
    if row.case is None:
        return (row.key, "-", "-", asked, row.verdict, "-", "-")
    said = "valid" if row.case.valid else "; ".join(row.case.reasons)
    lags = (_milliseconds(row.case.lag_p50_ms), _milliseconds(row.case.lag_p99_ms))
    return (row.key, *lags, asked, row.verdict, said, f"{row.load_1min:.2f}")


def _workers(rows: Iterable[Scaled]) -> str:
    header = ("workers", "what", "ratio", "asked", "verdict", "held by")
    return f"## Workers\n\n{_table(header, [_scaled(row) for row in rows])}{_errors(rows)}"


def _scaled(row: Scaled) -> tuple[str, ...]:
    asked = f"{'<=' if row.at_most else '>='} {row.asked:g}"
    found = _ratio(row.ratio) if row.ratio else "-"
    return (row.key, row.what, found, asked, row.verdict, row.means or "-")


def _errors(rows: Iterable[Compared | Late | Scaled]) -> str:
    lines = [f"- {row.key}: {' '.join(row.error.split())}\n" for row in rows if row.error]
    if not lines:
        return ""
    return f"\nNo figure, because a run failed or did other work than it was told:\n\n{''.join(lines)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is readable as text too: columns padded, all but the first to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return "".join(f"| {' | '.join(line)} |\n" for line in _padded([header, rule, *rows], widths))


def _padded(lines: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterable[list[str]]:
    for first, *rest in lines:
        yield [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]


def _ratio(found: Spread) -> str:
    return f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} ms"


def line(row: Compared | Late | Scaled) -> str:
    """One row as a line of progress."""
    if isinstance(row, Late):
        cells = _late(row)[1:3]
    elif row.ratio is None:
        cells = (" ".join(row.error.split()),)
    else:
        cells = (_ratio(row.ratio),)
    return f"{row.key}: {', '.join(cell for cell in (*cells, row.verdict) if cell)}"
