"""F16 in whole processes: the catalogue by the command line, with every library logging at DEBUG, while all
command lines of the machine are looked at. The mock's credentials are known here; they must stand nowhere."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.providers import PROVIDERS
from bench.report import FORMATS
from bench.scenario.faults import FaultCase, catalogue, read_case
from tests.canary import found_in
from tests.faults.running import SCENARIO, TIMEOUT
from tests.faults.test_catalogue import overrides_of
from tests.integration.test_canary import SITE
from tests.integration.test_cli import ENVIRONMENT, command
from tests.torture.counted import Counted

SEED = 17
KNOWN = SITE + f"import secrets, random\nsecrets.SystemRandom = lambda: random.Random({SEED})\n"
"""What all processes of a run begin with: logging, tracebacks with local variables, credentials we know."""
SECRETS = tuple(
    auth.password.reveal() for rng in [random.Random(SEED)]
    for auth in [provider.mock_credentials(rng) for provider in PROVIDERS.values()]
)  # fmt: skip
TEXTS = ",".join(name for name in FORMATS if name != "html")
LOOK_EVERY_S = 0.02


def canaries(names: Iterable[str] | None = None) -> Counted:
    """Each named fault that a scenario can ask for (default: all), in a run and a report of its own."""
    found, lines = Counted(), set[bytes]()
    if not _can_be_seen():
        found.blame("the credentials are not those that a mock hands out: nothing could be found")
    with _watched(lines):
        for name in catalogue() if names is None else names:
            case = read_case(catalogue()[name])
            if case.form.elsewhere is None and case.expected[0].refused is None:
                _look_for_secrets(name, case, found)
    for line in lines:
        _blame(found, "a command line", line)
    found.add("command lines", len(lines))
    found.add("of mocks", sum(b"bench.mock" in line for line in lines))
    if not found.facts["of mocks"]:
        found.blame("no mock's command line was seen")
    return found


def _can_be_seen() -> bool:
    """`sendbench mock` prints its credentials for who started it: ours must be among them."""
    with (
        tempfile.TemporaryDirectory() as site,
        subprocess.Popen(
            command("mock", "all"),
            env=_environment(Path(site)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as mock,
    ):
        assert mock.stdout is not None
        line = mock.stdout.readline()
        mock.terminate()
    return bool(found_in(line, SECRETS))


def _look_for_secrets(name: str, case: FaultCase, found: Counted) -> None:
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as site:
        folder = Path(place)
        text = SCENARIO.format(
            provider="generic", transport=case.transport, messages=len(case.expected), timeout=TIMEOUT,
            faults=name,
        )  # fmt: skip
        (folder / "fault.yaml").write_text(text, encoding="utf-8")
        settings = [part for override in overrides_of(case) for part in ("--set", override)]
        done = _sendbench(folder, site, "run", "fault.yaml", *settings)
        if not (folder / "results" / "latest" / "samples.parquet").exists():
            found.blame(f"{name}: no run: {done.stderr.decode('utf-8', 'replace')[-300:]}")
        made = _sendbench(folder, site, "report", "--format", TEXTS)
        for process in (done, made):
            _blame(found, f"{name}: stdout", process.stdout)
            _blame(found, f"{name}: stderr", process.stderr)
            found.add("bytes said", len(process.stdout) + len(process.stderr))
            found.add("tracebacks", process.stderr.count(b"Traceback"))
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                _blame(found, f"{name}: {path.name}", path.read_bytes())
                found.add("files", 1)
    found.done += 1


def _sendbench(folder: Path, site: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=_environment(Path(site)),
        capture_output=True,
        check=False,
        timeout=60,
    )


def _environment(site: Path) -> dict[str, str]:
    (site / "sitecustomize.py").write_text(KNOWN, encoding="utf-8")
    path = os.pathsep.join([str(site), ENVIRONMENT["PYTHONPATH"]])
    return {**ENVIRONMENT, "PYTHONPATH": path, "PYTHONASYNCIODEBUG": "1"}


def _blame(found: Counted, where: str, data: bytes) -> None:
    for what in found_in(data, SECRETS):
        found.blame(f"{where}: {what}")


@contextmanager
def _watched(lines: set[bytes]) -> Iterator[None]:
    """Meanwhile the command lines of all processes are collected."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    lines.add(path.read_bytes())
                except OSError:  # it has ended
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
