"""`make peers`: measure, print the tables, write them to reports/peers.md.

Exit codes: 0 everything asked for is reached (what is not installed does not count), 1 something
falls short, 2 wrong usage or not measurable here, 3 a run did other work than ordered.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from tests.peers import lag, workers
from tests.peers.compare import HarnessError
from tests.peers.lag import Late
from tests.peers.ours import Clients, side
from tests.peers.report import Results, line, render
from tests.peers.rows import Compared, compare, rows
from tests.peers.work import Cores
from tests.peers.workers import Scaled

FULL = Path("reports/peers.md")
PART = Path("reports/peers-part.md")
"""Where some of the rows go: the table of all of them stays as it is."""

Measured = TypeVar("Measured", Compared, Late, Scaled)


def main(arguments: Sequence[str]) -> int:
    """Measure the rows that are asked for and report them; the exit code."""
    options = _parser().parse_args(arguments)
    wanted = _wanted(options.only)
    if not wanted:
        print(f"peers: no row matches --only {options.only}", file=sys.stderr)
        return 2
    try:
        cores = Cores.choose()
    except HarnessError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    clients = Clients(*options.clients.split(","))
    results = _measure(wanted, options.pairs, cores, clients)
    page = render(results)
    path = PART if options.only else FULL
    path.parent.mkdir(exist_ok=True)
    path.write_text(page, encoding="utf-8")
    print(page)
    print(f"report: {path}", file=sys.stderr)
    return exit_code(results.verdicts)


def exit_code(verdicts: Sequence[str]) -> int:
    """What the verdicts come to."""
    if "harness error" in verdicts:
        return 3
    return int(any(verdict.startswith("falls short") for verdict in verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make peers ARGS=...", description="Side by side with other tools.")
    parser.add_argument("--only", metavar="WORD[,WORD...]", help="rows whose key contains one of the words")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument(
        "--clients", default="wire,wire", metavar="SMTP,API", help="our clients (default wire,wire)"
    )
    return parser


def _wanted(only: str | None) -> set[str]:
    """The keys of the rows to measure."""
    keys = {row.key for row in rows()} | {check.key for check in lag.CHECKS} | set(workers.CHECKS)
    return {key for key in keys if only is None or any(word in key for word in only.split(","))}


def _measure(wanted: set[str], pairs: int, cores: Cores, clients: Clients) -> Results:
    ours = side(clients)
    started_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Results(
        # The lag first: what ran before would show in the load average.
        lag=[_told(lag.measure(check, clients)) for check in lag.CHECKS if check.key in wanted],
        compared=[_told(compare(row, ours, pairs, cores)) for row in rows() if row.key in wanted],
        workers=[_told(check(ours, pairs, cores)) for key, check in workers.CHECKS.items() if key in wanted],
        pairs=pairs,
        sendbench=f"{metadata.version('sendbench')}, clients {clients.smtp} (SMTP) and {clients.api} (HTTP)",
        started_at=started_at,
    )


def _told(measured: Measured) -> Measured:
    print(line(measured), file=sys.stderr, flush=True)
    return measured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
