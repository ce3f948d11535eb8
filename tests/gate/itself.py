"""`make gate`: does a message cost this tree's wire client more than it cost the commit it goes back to?

Both are built alike, and sent with in turn to the same mock: pairs of short runs, in random order within a
pair. The unit is the run: two runs of one program differ by more than chance within them, so that messages of
different runs cannot be set against each other. In each pair the logarithm of head over base is taken, and
the signs of these are flipped (`paired.p_value`), by ranks (Wilcoxon, Biometrics Bulletin 1 (1945) 80-83), as
a busy machine has outliers. Verdict and limits are those of the gate.

Exit codes: 0 pass, 1 regression, 4 inconclusive; 2 wrong usage or nothing to compare with, 3 not measurable.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.analysis.gate import change, judge
from bench.analysis.judgement import EXIT_CODES
from bench.analysis.paired import ALPHA, LEVEL, detectable, holm, p_value
from bench.analysis.quantiles import Floats
from bench.model import Limits, Lost, Ratio, Verdict
from tests.peers.compare import Ended, HarnessError, run_process
from tests.peers.work import Cores

PACKAGE = ("pyproject.toml", "README.md", "LICENSE", "bench", "scenarios")
"""What a package is built from."""
MAIN = ("main", "origin/main")
LEAST_PAIRS = 10
"""Of fewer, no order of the runs is improbable enough for any figure of the family."""
LIMITS = Limits(
    effect={"CPU per message": 0.02, "p50": 0.03, "p95": 0.05},
    limit={"CPU per message": 0.05, "p50": 0.10, "p95": 0.20},
)
"""Of what runs are judged by; the times are of service, where every slot is busy."""
SCENARIO = """\
version: 1
name: gate
target: smtp://{host}:{port}
tls: none
client: wire
message: {{size: 1KiB}}
load: {{model: closed, concurrency: 4, messages: {messages}, warmup: 200}}
"""

Figures = Mapping[str, float]
"""Of a run: CPU per message in us, p50 and p95 in ms."""
Pair = tuple[Figures, Figures]
"""Base and head."""


# --------------------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class Found:
    """What the pairs say."""

    ratios: tuple[Ratio, ...]
    verdict: Verdict
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Compared:
    ratios: tuple[Ratio, ...]
    lost: Lost | None = None


def judged(pairs: Sequence[Pair]) -> Found:
    """Whether head costs more than base."""
    logs = {
        name: np.array([math.log(head[name] / base[name]) for base, head in pairs]) for name in LIMITS.effect
    }
    p = holm({name: p_value(signed_ranks(values)) for name, values in logs.items()})
    ratios = tuple(_ratio(name, values, p[name]) for name, values in logs.items())
    return Found(ratios, *judge(_Compared(ratios), LIMITS, ALPHA))


def _ratio(name: str, logs: Floats, p: float) -> Ratio:
    estimate, low, high = shift(logs)
    least = detectable(high - low, LIMITS.effect[name], ALPHA / len(LIMITS.effect), units=len(logs))
    return Ratio(name, math.exp(estimate), math.exp(low), math.exp(high), p, least)


def signed_ranks(differences: Floats) -> Floats:
    """The rank of each by its size, with its sign; equals share theirs."""
    sizes = np.abs(differences)
    ordered = np.sort(sizes)
    ranks = (np.searchsorted(ordered, sizes, "left") + np.searchsorted(ordered, sizes, "right") + 1) / 2
    return np.asarray(np.sign(differences) * ranks, dtype=np.float64)


def shift(differences: Floats) -> tuple[float, float, float]:
    """Their middle and the ends of its interval: the test inverted, at the means of every two of them
    (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., section 3.3)."""
    first, second = np.triu_indices(len(differences))
    means = np.sort((differences[first] + differences[second]) / 2)
    tail = (1 - LEVEL) / 2

    def end(way: int) -> float:
        moved = np.sort(way * means)
        place = bisect_left(moved, True, key=lambda at: p_value(signed_ranks(way * differences - at)) > tail)
        return way * float(moved[max(0, place - 1)])

    return float(np.median(means)), end(+1), end(-1)


# ------------------------------------------------------------------------- measuring


def figures(ended: Ended, messages: int) -> Figures | None:
    """A run's figures by its own account; None where it says that it is invalid. Raises HarnessError."""
    try:
        [case] = json.loads(ended.output)["cases"]
        if case["counts"]["accepted"] != messages:
            raise HarnessError(f"{case['counts']['accepted']} messages were accepted instead of {messages}")
        if not case["generator"]["valid"]:
            return None
        times = {name: float(case["service"][name]["value_ms"]) for name in ("p50", "p95")}
        return {"CPU per message": float(case["generator"]["cpu_us_per_message"]), **times}
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"a run answered nothing: {ended.errors.strip()[-300:]}") from error


def measured(
    base: Callable[[], Figures | None], head: Callable[[], Figures | None], pairs: int, rng: random.Random
) -> list[Pair]:
    """So many pairs, in random order within each; one with an invalid run is taken anew. Raises
    HarnessError where more are invalid than not."""
    found, invalid = list[Pair](), 0
    while len(found) < pairs:
        taken = {side: side() for side in rng.sample([base, head], 2)}
        before, after = taken[base], taken[head]
        if before is not None and after is not None:
            found.append((before, after))
            print(f"gate: pair {len(found)} of {pairs}", file=sys.stderr, flush=True)
            continue
        invalid += 1
        if invalid > pairs:
            raise HarnessError(f"{invalid} pairs had an invalid run: this machine is too busy")
    return found


@dataclass(frozen=True, slots=True)
class Side:
    """A built tree and where it sends to."""

    installed: Path
    scenario: Path
    core: int
    messages: int

    def run(self) -> Figures | None:
        """One run of the whole command."""
        with TemporaryDirectory(prefix="gate-") as name:
            command = ["taskset", "-c", str(self.core), *program("run", str(self.scenario), "--json")]
            results = ["--results", f"{name}/results"]
            ended = run_process([*command, *results], Path(name), environment(self.installed))
        return figures(ended, self.messages)


def program(*arguments: str) -> list[str]:
    """sendbench, as `environment` says which."""
    return [sys.executable, "-P", "-m", "bench", *arguments]


def environment(installed: Path) -> Mapping[str, str]:
    """That in which Python finds this build before any other."""
    return {"PYTHONPATH": str(installed)}


@contextmanager
def mock(installed: Path, core: int) -> Iterator[tuple[str, int]]:
    """A mock that takes every message, on a core of its own; its host and port. Raises HarnessError."""
    command = ["taskset", "-c", str(core), *program("mock", "smtp", "--tls", "none", "--no-auth")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment(installed)}
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise HarnessError("the mock did not start")
            where = json.loads(line)["smtp"]
            yield where["host"], where["port"]
        finally:
            process.terminate()


# -------------------------------------------------------------------------- building


def git(*arguments: str) -> str:
    """What git says. Raises HarnessError."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HarnessError(f"git {' '.join(arguments)}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def base_of(named: str | None) -> str:
    """The commit to compare with: the one named; else where HEAD left the main branch; on the main branch
    HEAD where the tree has changes, else the commit before it. Raises HarnessError."""
    if named is not None:
        return git("rev-parse", "--verify", f"{named}^{{commit}}")
    known = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes").split()
    main = next((name for name in MAIN if name in known), None)
    if main is None:
        raise HarnessError("there is no branch main to compare with: name a commit with ARGS='--base REV'")
    base, head = git("merge-base", "HEAD", main), git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", *PACKAGE)
    return base if base != head or changed else git("rev-parse", "HEAD~1")


def export(commit: str, folder: Path) -> Path:
    """What a commit's package is built from."""
    done = subprocess.run(["git", "archive", commit, *PACKAGE], capture_output=True, check=False)
    if done.returncode != 0:
        raise HarnessError(f"git archive {commit}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    folder.mkdir()
    subprocess.run(["tar", "-xC", str(folder)], input=done.stdout, check=True)
    return folder


def copy(folder: Path) -> Path:
    """What this tree's package is built from, changes that are not committed included."""
    folder.mkdir()
    for name in PACKAGE:
        if Path(name).is_dir():
            shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(name, folder / name)
    return folder


def build(source: Path, target: Path, *, plain: bool) -> Path:
    """Install a tree into a folder, compiled unless it is to be plain, with the dependencies of this Python.

    Raises HarnessError, also where it has become the other of the two.
    """
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    hooks = {} if plain else {"HATCH_BUILD_HOOKS_ENABLE": "1"}
    done = subprocess.run(
        [*install, "--target", str(target), str(source)],
        capture_output=True, text=True, check=False, env={**os.environ, **hooks},
    )  # fmt: skip
    if done.returncode != 0:
        raise HarnessError(f"{source.name} cannot be built: {done.stderr.strip()[-300:]}")
    compiled = any((target / "bench").glob("engine.*.so"))
    if compiled is plain:
        raise HarnessError(f"{source.name} is {'compiled' if compiled else 'plain'} and should not be")
    return target


# ------------------------------------------------------------------------ all together


def main(arguments: Sequence[str]) -> int:
    """Build both, measure, judge and print; the exit code."""
    options = _parser().parse_args(arguments)
    if options.pairs < LEAST_PAIRS or options.messages < 1000:
        print(f"gate: it takes at least {LEAST_PAIRS} pairs of 1000 messages", file=sys.stderr)
        return 2
    try:
        base, cores = base_of(options.base), Cores.choose()
    except HarnessError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    try:
        pairs = _measure(base, cores, options)
    except HarnessError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 3
    form = "plain Python" if options.plain else "compiled"
    print(f"this tree against {base[:12]}, both {form}: {len(pairs)} pairs of {options.messages} messages")
    found = judged(pairs)
    print("\n".join(lines(pairs, found)))
    return EXIT_CODES[found.verdict]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make gate ARGS=...", description=main.__doc__)
    parser.add_argument("--base", metavar="REV", help="the commit to compare with (default: the merge base)")
    parser.add_argument("--pairs", type=int, default=20, help="of runs (default 20)")
    parser.add_argument("--messages", type=int, default=10_000, help="of a run (default 10000)")
    parser.add_argument("--plain", action="store_true", help="do not compile")
    return parser


def _measure(base: str, cores: Cores, options: argparse.Namespace) -> list[Pair]:
    with TemporaryDirectory(prefix="gate-") as name:
        folder = Path(name)
        print(f"gate: building {base[:12]} and this tree", file=sys.stderr, flush=True)
        sources = [export(base, folder / "base"), copy(folder / "head")]
        targets = [folder / f"{source.name}-built" for source in sources]
        with ThreadPoolExecutor() as pool:
            built = list(pool.map(partial(build, plain=options.plain), sources, targets))
        with mock(built[1], cores.server) as (host, port):
            scenario = folder / "gate.yaml"
            text = SCENARIO.format(host=host, port=port, messages=options.messages)
            scenario.write_text(text, encoding="utf-8")
            before, after = (Side(where, scenario, cores.side, options.messages) for where in built)
            return measured(before.run, after.run, options.pairs, random.Random())


def lines(pairs: Sequence[Pair], found: Found) -> list[str]:
    """A line for each figure, with what would have been found, and the verdict with its reasons."""
    told = []
    for ratio in found.ratios:
        before, after = (statistics.median(pair[side][ratio.quantity] for pair in pairs) for side in (0, 1))
        unit = "us" if ratio.quantity.startswith("CPU") else "ms"
        ends = f"{change(ratio.low or 0)} to {change(ratio.high or 0)}"
        told.append(
            f"  {ratio.quantity:<16}{before:>8.4g} -> {after:<6.4g} {unit}  {change(ratio.ratio or 0)} "
            f"({ends}); {(ratio.detectable or 0) * 100:.1f} % is found 95 times of 100"
        )
    return [*told, f"{found.verdict.value}: {'; '.join(found.reasons)}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
