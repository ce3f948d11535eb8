"""`make micro`: run the benchmarks and compare them with the baseline of this class of machine.

Exit codes: 0 no benchmark is dearer than allowed, or there is no baseline; 1 one is; 2 pytest failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.micro import baseline
from tests.micro.baseline import ALLOWED, Change, Figures, MachineClass

BASELINES = Path(__file__).with_name("baselines")
HERE = "tests/micro"
SESSIONS = 3
"""What seems dearer is measured again, up to so often in all; a baseline is always made of so many."""
PYTEST = (
    "-q", "--benchmark-enable", "--benchmark-only", "--benchmark-quiet", "--benchmark-max-time=0.5",
    "--benchmark-disable-gc",
)  # fmt: skip


class Failed(Exception):
    """pytest did not end well."""


def main(arguments: Sequence[str]) -> int:
    """Measure and compare, or store; the exit code."""
    parser = argparse.ArgumentParser(prog="make micro ARGS=...", description=main.__doc__)
    parser.add_argument("--store", action="store_true", help="make the baseline of this class of machine")
    options = parser.parse_args(arguments)
    machine = MachineClass.here()
    path = BASELINES / f"{machine.slug}.json"
    try:
        if options.store:
            return store(path, machine)
        return check(path)
    except Failed as error:
        print(f"micro: {error}", file=sys.stderr)
        return 2


def store(path: Path, machine: MachineClass) -> int:
    """Write the baseline."""
    figures = session([HERE])
    for _ in range(SESSIONS - 1):
        figures = baseline.best_of(figures, session([HERE]))
    BASELINES.mkdir(exist_ok=True)
    path.write_text(baseline.dump(machine, figures), encoding="utf-8")
    print(table(baseline.compare(figures, figures)))
    print(f"baseline: {HERE}/baselines/{path.name}")
    return 0


def check(path: Path) -> int:
    """Compare with the baseline, and measure again what seems dearer: noise goes away."""
    figures = session([HERE])
    if not path.exists():
        print(table(baseline.compare(figures, {})))
        print(f"micro: no baseline for this class of machine ({path.name}): nothing to compare with.")
        print("Store one, on an idle machine, by `make micro ARGS=--store`.")
        return 0
    then = baseline.load(path.read_text(encoding="utf-8"))
    changes = baseline.compare(figures, then)
    for _ in range(SESSIONS - 1):
        dearer = [f"{HERE}/{change.name}" for change in changes if change.failed]
        if not dearer:
            break
        figures = baseline.best_of(figures, session(dearer))
        changes = baseline.compare(figures, then)
    print(table(changes))
    failed = [change.name for change in changes if change.failed]
    for name in failed:
        print(f"micro: {name} costs more than {ALLOWED:g} times its baseline", file=sys.stderr)
    return 1 if failed else 0


def session(what: Sequence[str]) -> Figures:
    """Run benchmarks, each beside the calibration loop. Raises Failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pytest", *what, *PYTEST, f"--benchmark-json={report}"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            raise Failed(f"pytest ended with {done.returncode}:\n{done.stdout}")
        return baseline.measured(report.read_text(encoding="utf-8"))


def table(changes: Sequence[Change]) -> str:
    """A line for each benchmark: its cost, in calibration loops too, and the factor to the baseline."""
    rows = [("benchmark", "min us", "median us", "loops", "baseline", "factor"), *map(_row, changes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    return "\n".join(lines)


def _row(change: Change) -> tuple[str, str, str, str, str, str]:
    now, then, factor = change.now, change.then, change.factor
    costs = ("-", "-", "-")
    if now is not None:
        costs = (f"{now.min_ns / 1e3:.2f}", f"{now.median_ns / 1e3:.2f}", f"{now.ratio:.4f}")
    verdict = "new" if then is None else "not run" if factor is None else f"{factor:.2f}"
    return change.name, *costs, "-" if then is None else f"{then.ratio:.4f}", verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
