"""Running a scenario from Python: mock, shaper, engine and store wired together.

`run_scenario` is what `sendbench run` does, without the printing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import bench.engine
from bench import __version__
from bench.clock import Alarm, RunClock, utc_now
from bench.engine import Engine, Progress, Stop
from bench.errors import SetupError
from bench.guard import Guard
from bench.hiccup import Hiccups, watching
from bench.limits import allow_open_files
from bench.mock.process import mock_process
from bench.mock.spec import MockSpec, Ready
from bench.model import (
    Case,
    CaseRun,
    Connection,
    Endpoint,
    Scenario,
    Target,
    TargetKind,
    Transport,
)
from bench.providers import composer_for, throttling_of
from bench.providers.addresses import endpoint_of
from bench.redact import secrets_of
from bench.transports import session_maker
from bench.worker.job import Job
from bench.worker.process import run_workers

if TYPE_CHECKING:
    from datetime import datetime

    from bench.store import RunWriter

SWITCH_INTERVAL_S = 0.0001
"""How long another thread (writer, display) may keep the interpreter from the event loop; default 5 ms."""
SPARE_FILES = 128
"""Open files beside the connections: logs, pipes, libraries."""
SHAPED_FILES = 3
"""Sockets of the mock for each connection that goes through its shaper."""


@dataclass(slots=True)
class RunOptions:
    """How to run a scenario."""

    results: Path = Path("results")
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))
    guard: Guard = field(default_factory=Guard)
    grace_s: float = 30.0
    on_case: Callable[[Case, Progress], None] = lambda _case, _progress: None
    """Called when a case begins; the counters change while it runs."""


async def run_scenario(scenario: Scenario, options: RunOptions, stop: Stop) -> Path:
    """Run every case of a scenario and return the run's folder.

    Every target is checked before anything is opened. A case that cannot be carried out is
    recorded with its error and the next one is run. Raises RefusedError, StorageError.
    """
    from bench.store import create_run

    for case in scenario.cases:
        options.guard.check_target(case.target)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock, started_at = RunClock(), utc_now()
    with Alarm() as alarm:
        writer = create_run(
            options.results,
            scenario,
            seed=options.seed,
            facts=gather_facts(scenario, alarm),
            clock_offset_ns=clock.offset_ns,
            started_at=started_at,
        )
        with writer:
            runner = _Runner(options, stop, clock, alarm, writer, started_at)
            for case in scenario.cases:
                if stop:
                    break
                writer.end_case(await runner.run_case(case))
            writer.finish("aborted" if stop else "complete", stop.reason)
    return writer.folder


@dataclass(frozen=True, slots=True)
class _Runner:
    options: RunOptions
    stop: Stop
    clock: RunClock
    alarm: Alarm
    writer: RunWriter
    started_at: datetime

    async def run_case(self, case: Case) -> CaseRun:
        """Run one case against its target; a mock that does not start becomes the case's error."""
        seed = case_seed(self.options.seed, case)
        ended: CaseRun | None = None
        try:
            check_open_files(case)
            async with open_endpoint(case, self.writer, seed) as endpoint, watching() as hiccups:
                self.writer.conceal(secrets_of(endpoint.auth))
                how = self._alone if case.workers == 1 else self._shared
                ended = await how(case, endpoint, seed)
                ended = await self._with_hiccups(ended, hiccups)
        except SetupError as error:
            return replace(ended or _not_run(case, self.clock()), error=str(error))
        return ended

    async def _alone(self, case: Case, endpoint: Endpoint, seed: int) -> CaseRun:
        """This process sends everything."""
        composer, request = composer_for(case, self.writer.key_prefix(case), seed=seed, date=self.started_at)
        engine = Engine(
            case=case,
            composer=composer,
            make_session=session_maker(case, endpoint, self.options.guard, request, self.alarm),
            recorder=self.writer,
            clock=self.clock,
            alarm=self.alarm,
            stop=self.stop,
            seed=seed,
            grace_s=self.options.grace_s,
            throttling=throttling_of(case),
        )
        self.options.on_case(case, engine.progress)
        return await engine.run()

    async def _shared(self, case: Case, endpoint: Endpoint, seed: int) -> CaseRun:
        """Others send everything, each its share."""
        auth = endpoint.auth
        job = Job(
            case=replace(case, auth=None),
            endpoint=replace(endpoint, auth=None),
            user=auth.user.reveal() if auth is not None and auth.user is not None else None,
            password=auth.password.reveal() if auth is not None else None,
            secrets=tuple(secret.reveal() for secret in self.writer.secrets),
            lab=self.options.guard.lab,
            folder=str(self.writer.folder.resolve()),
            key_prefix=self.writer.key_prefix(case),
            seed=seed,
            started_at=self.started_at.isoformat(),
            clock_offset_ns=self.clock.offset_ns,
            grace_s=self.options.grace_s,
            switch_interval_s=SWITCH_INTERVAL_S,
            uvloop=_loop_name() == "uvloop",
            number=0,
            of=case.workers,
        )
        progress = Progress(None if case.load.messages is None else case.load.messages + case.load.warmup)
        self.options.on_case(case, progress)
        jobs = [replace(job, number=number) for number in range(case.workers)]
        return await run_workers(jobs, self.stop, progress, self.writer)

    async def _with_hiccups(self, run: CaseRun, hiccups: Hiccups) -> CaseRun:
        """What the platform stole while the measured messages were on their way."""
        offset_ns = self.clock.offset_ns
        seen = await hiccups.between(run.started_ns + offset_ns, run.ended_ns + offset_ns)
        return replace(run, hiccup_p999_ns=seen.p999_ns, hiccup_max_ns=seen.max_ns)


def check_open_files(case: Case) -> None:
    """Raise the limit on open files to what a case needs; the mock inherits it. Raises SetupError."""
    each = SHAPED_FILES if case.network.shaped else 1
    needed = case.pool.size * each + SPARE_FILES
    allowed = allow_open_files(needed)
    if allowed is not None and allowed < needed:
        raise SetupError(
            f"a pool of {case.pool.size} connections may need {needed} open files and this process may have "
            f"{allowed}: lower pool.size or the concurrency, or raise the hard limit (`ulimit -Hn`)"
        )


def case_seed(run_seed: int, case: Case) -> int:
    """The seed of a case's message, schedule and mock; no two cases of a run share one."""
    return run_seed * 1009 + case.index


def _not_run(case: Case, now_ns: int) -> CaseRun:
    return CaseRun(
        id=case.id,
        labels=case.labels,
        scheduled=case.load.messages or 0,
        warmup=case.load.warmup,
        started_ns=now_ns,
        ended_ns=now_ns,
        cpu_ns=0,
        open=case.load.open,
        pooled=case.connection is Connection.POOLED,
        rtt_ns=None,
        service_time_p50_ns=None,
        server=case.server,
    )


# ------------------------------------------------------------------------- targets


@asynccontextmanager
async def open_endpoint(case: Case, writer: RunWriter, seed: int) -> AsyncIterator[Endpoint]:
    """Where a case connects to, with the mock and the shaper it needs running meanwhile.

    Raises SetupError when one of them does not start.
    """
    target = case.target
    wire_log = str(writer.wire_log(case)) if case.network.shaped else None
    if target.kind is TargetKind.MOCK:
        spec = MockSpec(
            kind=str(case.transport),
            provider=case.provider,
            tls=case.tls.mode,
            resume=case.tls.resume,
            service_time=case.service_time,
            rate_limit=case.rate_limit,
            network=case.network,
            seed=seed,
            log=str(writer.mock_log(case)),
            wire_log=wire_log,
        )
        async with mock_process(spec) as ready:
            yield _mock_endpoint(case, ready)
    elif case.network.shaped:
        spec = MockSpec(
            kind="relay",
            upstream=(target.host, target.port),
            network=case.network,
            seed=seed,
            wire_log=wire_log,
        )
        async with mock_process(spec) as ready:
            assert ready.smtp is not None
            yield replace(_direct_endpoint(case, target), host=ready.smtp[0], port=ready.smtp[1])
    else:
        yield _direct_endpoint(case, target)


def _direct_endpoint(case: Case, target: Target) -> Endpoint:
    if target.kind in (TargetKind.LIVE, TargetKind.SANDBOX):
        return endpoint_of(case)
    return Endpoint(
        host=target.host,
        port=target.port,
        tls=case.tls,
        auth=case.auth,
        server_name=target.host,
        path=target.path if case.transport is Transport.API else "",
        source_address=case.source_address,
    )


def _mock_endpoint(case: Case, ready: Ready) -> Endpoint:
    tls = replace(case.tls, ca_file=case.tls.ca_file or ready.ca_file)
    if case.transport is Transport.SMTP:
        assert ready.smtp is not None
        host, port = ready.smtp
        auth = case.auth or ready.credentials.smtp
        return Endpoint(host, port, tls, auth, server_name=host, source_address=case.source_address)
    url = urlsplit(ready.api[case.provider])
    if url.hostname is None or url.port is None:
        raise SetupError(f"the mock named an address without a port: {ready.api[case.provider]}")
    auth = case.auth or ready.credentials.api.get(case.provider)
    return Endpoint(
        url.hostname,
        url.port,
        tls,
        auth,
        server_name=url.hostname,
        path=url.path,
        source_address=case.source_address,
    )


# --------------------------------------------------------------------------- facts


def gather_facts(scenario: Scenario, alarm: Alarm) -> Mapping[str, str]:
    """How a run is measured: machine, kernel, interpreter, event loop, timer, versions."""
    loop = _loop_name()
    facts = {
        "machine": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sendbench": f"{__version__}, {_form()}",
        "git_commit": _git_commit(),
        "event_loop": f"{loop} {_version(loop)}".strip(),
        "timer": alarm.kind,
    }
    clients = sorted({case.client for case in scenario.cases})
    facts["clients"] = ", ".join(f"{name} {_version(name)}".strip() for name in clients)
    return {name: value for name, value in facts.items() if value}


def _form() -> str:
    """Whether what runs for every message has been compiled: it decides what the generator itself costs."""
    return "plain Python" if str(bench.engine.__file__).endswith(".py") else "compiled"


def _loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git_commit() -> str:
    """The commit of the working folder the run was started in, with `+` when it has changes."""
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() if head.returncode == 0 else ""


__all__ = ["RunOptions", "Stop", "case_seed", "gather_facts", "open_endpoint", "run_scenario"]
