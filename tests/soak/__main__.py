"""`make soak-short`: one run of two million messages on the mock, looked at from outside.

Exit codes: 0 all limits held, 1 one is broken, 2 it cannot be measured here, 3 a command failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc

from bench.store import open_run
from tests.soak import judge, watch
from tests.soak.judge import Account, Check
from tests.soak.watch import Ended, Look

MESSAGES = 2_000_000
SCENARIO = Path(__file__).with_name("soak.yaml")
RESULTS = Path("results/soak")
REPORT = Path("reports/soak.md")
FAULTS = tuple(
    f"{{at: {at}, do: {act}, share: 0.2%}}" for at, act in (("mail", "rst"), ("dot", "rst"), ("dot", "fin"))
) + tuple(
    f'{{at: {at}, do: reply, text: "{text}", share: 0.2%}}'
    for at, text in (("mail", "451 4.3.0 later"), ("dot", "554 5.6.0 no"))
)
DISK_BYTES_PER_MESSAGE = 2600
"""What the store asks for before it begins (2 KiB), and the mock's log."""


class Failed(Exception):
    """A command of ours did not do its work."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What was measured."""

    looks: Sequence[Look]
    run: Ended
    report: Ended
    account: Account
    medians_ms: tuple[float, float]
    """Of the service time: first and last tenth."""
    output: str
    """What the run printed."""


def main(arguments: Sequence[str]) -> int:
    """Run, look, judge; print the table and write it to reports/soak.md. The exit code."""
    parser = argparse.ArgumentParser(prog="make soak-short ARGS=...", description=main.__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--faults", action="store_true", help="one message in a hundred meets a fault")
    parser.add_argument("--keep", action="store_true", help=f"keep the run in {RESULTS}")
    options = parser.parse_args(arguments)
    RESULTS.mkdir(parents=True, exist_ok=True)
    needed = options.messages * DISK_BYTES_PER_MESSAGE
    if not Path("/proc/self/statm").exists() or (free := shutil.disk_usage(RESULTS).free) < needed:
        why = (
            "no /proc"
            if not Path("/proc/self/statm").exists()
            else f"{free >> 20} of {needed >> 20} MiB free"
        )
        print(f"soak: cannot be measured here: {why}", file=sys.stderr)
        return 2
    started_at = datetime.now(UTC)
    try:
        soak = measure(options.messages, FAULTS if options.faults else ())
    except Failed as error:
        print(f"soak: {error}", file=sys.stderr)
        return 3
    account = judge.faulty_accounting if options.faults else judge.accounting
    checks = [
        judge.warnings(soak.output),
        judge.steadiness(*soak.medians_ms, options.messages),
        *account(soak.account, options.messages),
        *judge.flatness(soak.looks, options.messages, constant=not options.faults),
        *judge.ending(soak.looks, soak.run, options.messages / MESSAGES),
        *judge.analysis(
            "sendbench report", soak.report.cpu_s, soak.report.peak_rss, options.messages / MESSAGES
        ),
    ]
    page = render(soak, checks, options.messages, started_at)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(page, encoding="utf-8")
    print(page)
    print(f"report: {REPORT}", file=sys.stderr)
    passed = all(check.passed for check in checks)
    if passed and not options.keep:
        shutil.rmtree(RESULTS)
    return 0 if passed else 1


def measure(messages: int, faults: Sequence[str] = ()) -> Soak:
    """Run the scenario and report on it, each as a process of its own. Raises Failed."""
    looks: list[Look] = []

    def look(pid: int) -> None:
        found = watch.look_at(pid, RESULTS)
        if found is not None:
            looks.append(found)

    (RESULTS / "latest").unlink(missing_ok=True)
    installed = Path(sys.executable).with_name("sendbench")
    sendbench = (str(installed),) if installed.exists() else (sys.executable, "-m", "bench")
    settings = ["--set", f"load.messages={messages}", "--results", str(RESULTS)]
    if faults:
        settings += ["--set", f"faults=[{', '.join(faults)}]", "--set", "timeout=2s"]
    print(f"soak: sending {messages:,} messages", file=sys.stderr, flush=True)
    run = _succeed((*sendbench, "run", str(SCENARIO), *settings), "run", look)
    folder = (RESULTS / "latest").resolve()
    print("soak: reporting on them", file=sys.stderr, flush=True)
    report = _succeed((*sendbench, "report", str(folder), "--out", str(RESULTS / "report")), "report")
    output = (RESULTS / "run.txt").read_text(errors="replace")
    return Soak(looks, run, report, account_of(folder), medians_of(folder), output)


def _succeed(command: Sequence[str], name: str, look: watch.Observer | None = None) -> Ended:
    output = RESULTS / f"{name}.txt"
    ended = watch.run(command, output, look)
    if ended.code != 0:
        raise Failed(f"`{name}` ended with {ended.code}:\n{output.read_text(errors='replace')[-2000:]}")
    return ended


def account_of(folder: Path) -> Account:
    """Counted here once more, by sets of keys, and not by the code that the report uses for it."""
    table = open_run(folder).table(["key", "outcome"])
    outcomes = dict(zip(table["key"].to_pylist(), table["outcome"].cast("string").to_pylist(), strict=True))
    keys = outcomes.keys()
    taken, lines = set(), 0
    with (folder / "mock-000.jsonl").open("rb") as log:
        for line in log:
            taken.add(json.loads(line)["key"])
            lines += 1
    accepted = pc.sum(pc.equal(table["outcome"].cast("string"), "accepted")).as_py()
    false = sum(outcome == "accepted" and key not in taken for key, outcome in outcomes.items())
    stray = sum(outcomes.get(key) not in ("accepted", "unknown") for key in taken)
    return Account(table.num_rows, accepted, len(keys), lines, len(keys ^ taken), len(taken), false, stray)


def medians_of(folder: Path) -> tuple[float, float]:
    """The median service time of the first and of the last tenth of the messages, in ms."""
    table = open_run(folder).table(["start_ns", "end_ns"])
    took = pc.subtract(table["end_ns"], table["start_ns"])
    tenth = len(took) // 10
    first, last = (pc.quantile(part)[0].as_py() / 1e6 for part in (took[:tenth], took[-tenth:]))
    return first, last


def render(soak: Soak, checks: Sequence[Check], messages: int, started_at: datetime) -> str:
    """The page."""
    sending_s = sum(look.stage == "sending" for look in soak.looks) * watch.PAUSE_S
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    lines = [
        f"# Soak: {messages:,} messages",
        "",
        f"{started_at:%Y-%m-%d %H:%M} UTC, {machine}. SMTP to the mock over 50 kept",
        f"connections, each message in one BDAT chunk: {soak.run.wall_s:.0f} s in all, about",
        f"{messages / sending_s:,.0f} messages/s while sending; {soak.run.cpu_s / messages * 1e6:.0f} us of",
        "CPU a message, mock and analysis included.",
        "",
        *_table([("what", "found", "limit", ""), *(_row(check) for check in checks)]),
    ]
    return "\n".join(lines) + "\n"


def _row(check: Check) -> tuple[str, str, str, str]:
    verdict = "" if not check.limit else "held" if check.passed else "BROKEN"
    return check.what, check.found, check.limit or "-", verdict


def _table(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rule = "-|-".join("-" * width for width in widths)
    return [f"| {line} |" for line in (padded[0], rule, *padded[1:])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
