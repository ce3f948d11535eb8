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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

import bench.engine
from bench import __version__
from bench.clock import Alarm, RunClock, share_of, utc_now
from bench.engine import Engine, Progress, Stop
from bench.errors import SetupError
from bench.guard import Guard, RealGuard, TargetClass
from bench.hiccup import watching
from bench.interleave import Interleaving, Place
from bench.limits import allow_open_files
from bench.mock.process import mock_process, mocks_in_one_process
from bench.mock.spec import MockSpec, Ready
from bench.model import (
    Answer,
    Case,
    CaseRun,
    Connection,
    Endpoint,
    Scenario,
    Summary,
    Target,
    TargetKind,
    Transport,
    Verdict,
)
from bench.permit import Permission, Permit, deliveries, require
from bench.providers import addressed, composer_for, simulators, throttling_of
from bench.providers.addresses import REAL, caveat_of, endpoint_of, with_credentials
from bench.redact import secrets_of
from bench.servers import server_process
from bench.stopping import Watch
from bench.store.ledger import Ledger, ledger_file
from bench.transports import session_maker
from bench.worker.job import Job
from bench.worker.process import run_workers

if TYPE_CHECKING:
    from bench.analysis import Frame
    from bench.store import RunWriter, StoredRun
    from bench.store.resume import Left

SWITCH_INTERVAL_S = 0.0001
"""How long another thread (writer, display) may keep the interpreter from the event loop; default 5 ms."""
SPARE_FILES = 128
"""Open files beside the connections: logs, pipes, libraries."""
SHAPED_FILES = 3
"""Sockets of the mock for each connection that goes through its shaper."""
IDS_A_MESSAGE = 20_000
"""Ids of connections that an earlier part of a case may have used for each of its messages, at most."""


@dataclass(slots=True)
class RunOptions:
    """How to run a scenario."""

    results: Path = Path("results")
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))
    guard: Guard = field(default_factory=Guard)
    permission: Permission = field(default_factory=Permission)
    """What has been said of real targets."""
    ledger: Path = field(default_factory=ledger_file)
    resume: Path | None = None
    """The folder of a run that was cut off, to be gone on with."""
    grace_s: float = 30.0
    on_stage: Callable[[], None] = lambda: None
    """Called when the second stage of a gate begins."""
    on_cases: Callable[[Sequence[Case], Sequence[Progress]], None] = lambda _cases, _progress: None
    """Called when a case, or several that are interleaved, begin; the counters change while they run."""


async def run_scenario(scenario: Scenario, options: RunOptions, stop: Stop) -> Path:
    """Run every case of a scenario and return the run's folder.

    Every target is checked before anything is opened. A case that cannot be carried out is
    recorded with its error and the next one is run. Raises RefusedError, ScenarioError, StorageError.
    """
    scenario = with_credentials(scenario)
    if any(each.abort for each in scenario.thresholds):
        from bench.analysis.aborts import check_aborts

        check_aborts(scenario)
    with permitted(scenario, options) as permit:
        return await _run_permitted(scenario, options, stop, permit)


@contextmanager
def permitted(scenario: Scenario, options: RunOptions) -> Iterator[Permit | None]:
    """Holds what real mail needs while a scenario runs; None where all targets are free.

    Raises RefusedError.
    """
    real = real_cases(scenario, options.guard)
    if not real:
        yield None
        return
    check_permission(scenario, options)
    known = frozenset(address for case in real for address in simulators(case))
    needed = deliveries(real)
    ledger = Ledger(options.ledger)
    with ledger.alone(case.provider for case in real):
        number = ledger.reserve(scenario.name, needed, options.permission.budget)
        permit = Permit(options.permission, needed, known)
        try:
            yield permit
        finally:
            ledger.settle(number, permit.used)


def check_permission(scenario: Scenario, options: RunOptions) -> None:
    """Raise RefusedError for whatever real mail of this scenario still lacks; reserves nothing."""
    if real := real_cases(scenario, options.guard):
        require(real, options.permission, [address for case in real for address in simulators(case)])


def real_cases(scenario: Scenario, guard: Guard) -> list[Case]:
    """The cases that reach real servers, with those to whom they really send. Raises RefusedError where it is
    not clear which host a target means."""
    found = [case for case in scenario.longest.cases if guard.class_of(case.target) is TargetClass.REAL]
    for case in found:
        guard.check_real(case.target)
    return [addressed(case) for case in found]


async def _run_permitted(scenario: Scenario, options: RunOptions, stop: Stop, permit: Permit | None) -> Path:
    from bench.store.resume import Left, config_hash, resume_run
    from bench.store.run import create_run

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with Alarm() as alarm:
        if options.resume is None:
            clock, started_at, seed = RunClock(), utc_now(), options.seed
            writer = create_run(
                options.results,
                scenario,
                seed=seed,
                facts=gather_facts(scenario, alarm),
                clock_offset_ns=clock.offset_ns,
                started_at=started_at,
                config_hash=config_hash(scenario),
            )
            left = Left(writer.manifest, {})
        else:
            writer, left = resume_run(options.resume, scenario)
            clock, seed = RunClock(left.manifest.clock_offset_ns), left.manifest.seed
            started_at = datetime.fromisoformat(left.manifest.started_at)
        writer.durable = permit is not None
        with writer:
            seeded = replace(options, seed=seed)
            runner = _Runner(scenario, seeded, stop, clock, alarm, writer, started_at, permit, left)
            await runner.run_groups()
            if not stop and runner.is_undecided():
                options.on_stage()
                await runner.next_stage().run_groups()
            writer.finish(stop.state if stop else "complete", stop.reason)
    return writer.folder


@dataclass(frozen=True, slots=True)
class _Runner:
    scenario: Scenario
    options: RunOptions
    stop: Stop
    clock: RunClock
    alarm: Alarm
    writer: RunWriter
    started_at: datetime
    permit: Permit | None
    left: Left
    """What is left, where a run is gone on with: of one that was cut off, or after the first parts."""

    async def run_groups(self) -> None:
        """Run every case that has not ended, those of a comparison together."""
        for cases in self.scenario.groups:
            if self.stop:
                return
            if cases[0].id in self.left.ended:
                continue
            for ended in await self.run_parts(cases):
                self.writer.end_case(ended)

    async def run_parts(self, cases: Sequence[Case]) -> list[CaseRun]:
        """Run one case, or several interleaved, part after part; what fails ends all of them."""
        progress = [Progress(self._messages_left(case)) for case in cases]
        self.options.on_cases(cases, progress)
        parts, runner, spans = cases[0].load.parts, self, list[tuple[int, int]]()
        async with watching() as hiccups:
            for part in range(cases[0].load.part_of(self.left.first(cases[0].id)), parts):
                ended = await runner.run_group(cases, progress)
                spans.append(self._span(ended))
                failed = any(run.error for run in ended)
                if part + 1 == parts or self.stop or failed:
                    break
                begins = {case.id: case.load.begin(part + 1) for case in cases}
                runs = [runner.left.joined(run) for run in ended]
                runner = replace(runner, left=runner.left.after(begins, runs))
            seen = await hiccups.between(spans)
        ended = [replace(run, hiccup_p999_ns=seen.p999_ns, hiccup_max_ns=seen.max_ns) for run in ended]
        runs = [runner.left.joined(run) for run in ended]
        if failed and part + 1 < parts:
            said = f"the comparison ended with part {part + 1} of {parts}"
            return [replace(run, error=run.error or said) for run in runs]
        if part + 1 < parts:  # stopped, maybe after the last message of this part
            return [replace(run, interrupted=True) for run in runs]
        return runs

    def _span(self, runs: Sequence[CaseRun]) -> tuple[int, int]:
        """When the measured messages of any of them were on their way, on CLOCK_MONOTONIC."""
        offset_ns = self.clock.offset_ns
        began_ns, ended_ns = min(run.started_ns for run in runs), max(run.ended_ns for run in runs)
        return began_ns + offset_ns, ended_ns + offset_ns

    def is_undecided(self) -> bool:
        """Whether the gate has another stage and needs it: something is inconclusive, and nothing is a
        regression, which no further message could undo, or invalid."""
        from bench.store import open_run

        gate = self.scenario.gate
        if gate is None or self.writer.manifest.looks >= gate.stages:
            return False
        self.writer.flush()
        summary, _, _ = summarise(open_run(self.writer.folder))
        found = {each.verdict for each in summary.comparisons}
        return Verdict.INCONCLUSIVE in found and not found & {Verdict.REGRESSION, Verdict.INVALID}

    def next_stage(self) -> _Runner:
        """Who goes on with all cases for as many messages again."""
        from bench.store.resume import Left

        longer, manifest = self.scenario.longest, self.writer.manifest
        so_far = {case.id: case.load.count or 0 for case in self.scenario.cases}
        self.writer.begin_stage(longer)
        return replace(self, scenario=longer, left=Left(manifest, {}).after(so_far, manifest.cases))

    async def run_group(self, cases: Sequence[Case], progress: Sequence[Progress]) -> list[CaseRun]:
        """Run one case, or several interleaved in time, against their targets; what does not start becomes
        the error of its case, a mock that of all."""
        try:
            check_open_files(cases)
        except SetupError as error:
            return [replace(_not_run(case, self.clock()), error=str(error)) for case in cases]
        return await self._against_mocks(cases, progress)

    async def _against_mocks(self, cases: Sequence[Case], progress: Sequence[Progress]) -> list[CaseRun]:
        """The mocks of cases that are interleaved share a process, so that what the machine takes from one of
        them it takes from all."""
        mocked = [case for case in cases if case.target.kind is TargetKind.MOCK]
        specs = [_mock_spec(case, self.writer, self._later_seed(case)) for case in mocked]
        runs = list[CaseRun]()
        try:
            async with mocks_in_one_process(specs) as ready:
                mocks = {case.id: each for case, each in zip(mocked, ready, strict=True)}
                if len(cases) == 1:
                    runs.append(await self._run_case(cases[0], progress[0], None, mocks))
                else:
                    runs.extend(await self._interleaved(cases, progress, mocks))
        except SetupError as error:
            runs = runs or [_not_run(case, self.clock()) for case in cases]
            return [replace(run, error=run.error or str(error)) for run in runs]
        return runs

    def _messages_left(self, case: Case) -> int | None:
        count = case.load.count
        return None if count is None else count - self.left.first(case.id)

    async def _interleaved(
        self, cases: Sequence[Case], progress: Sequence[Progress], mocks: Mapping[str, Ready]
    ) -> list[CaseRun]:
        seed, first = case_seed(self.options.seed, cases[0]), self.left.first(cases[0].id)
        whole = Interleaving(len(cases), seed, self.clock.absolute, first)
        ended: dict[int, CaseRun] = {}

        async def take_part(number: int) -> None:
            place = whole.place(number)
            try:
                ended[number] = await self._run_case(cases[number], progress[number], place, mocks)
            finally:
                whole.leave(number)

        async with anyio.create_task_group() as tasks:
            for number in range(len(cases)):
                tasks.start_soon(take_part, number)
        return [replace(ended[number], interleaved=len(cases)) for number in range(len(cases))]

    async def _run_case(
        self, case: Case, progress: Progress, place: Place | None, mocks: Mapping[str, Ready]
    ) -> CaseRun:
        seed = case_seed(self.options.seed, case)
        ended: CaseRun | None = None
        try:
            later = self._later_seed(case)
            async with open_endpoint(case, self.writer, later, self.stop, mocks) as (endpoint, pid):
                self.writer.conceal(secrets_of(endpoint.auth))
                mock_share = share_of(pid)
                if case.workers == 1:
                    ended = await self._alone(case, endpoint, seed, progress, place)
                else:
                    ended = await self._shared(case, endpoint, seed, progress)
                ended = replace(ended, mock_share=mock_share(), caveat=caveat_of(case))
                if case.faults:
                    said = f"the mock went wrong by a script of {_rules(len(case.faults))}"
                    ended = replace(ended, remark="; ".join(filter(None, (said, ended.remark))))
        except SetupError as error:
            return replace(ended or _not_run(case, self.clock()), error=str(error))
        return ended

    def _later_seed(self, case: Case) -> int:
        """Of what stands at the other end: a later part must not draw the same times again."""
        return case_seed(self.options.seed + self.left.first(case.id), case)

    async def _alone(
        self, case: Case, endpoint: Endpoint, seed: int, progress: Progress, place: Place | None
    ) -> CaseRun:
        """This process sends everything."""
        composer, request = composer_for(case, self.writer.key_prefix(case), seed=seed, date=self.started_at)
        real = self.options.guard.class_of(case.target) is TargetClass.REAL
        guard = RealGuard() if real else self.options.guard
        watch, first = self._watch(case), self.left.first(case.id)
        engine = Engine(
            case=case,
            composer=composer,
            make_session=session_maker(case, endpoint, guard, request, self.alarm, _first_id(first)),
            permit=self.permit if real else None,
            recorder=watch or self.writer,
            clock=self.clock,
            alarm=self.alarm,
            stop=self.stop,
            seed=seed,
            grace_s=self.options.grace_s,
            throttling=throttling_of(case),
            progress=progress,
            first=first,
            gather=None if place is None else place.whole.gather,
            place=place,
        )
        ended = await engine.run()
        return ended if watch is None else replace(ended, stopped_by=watch.stopped_by)

    def _watch(self, case: Case) -> Watch | None:
        """Who looks after the thresholds that may end the run; None where there are none for this case."""
        if not any(each.abort for each in self.scenario.thresholds):
            return None
        from bench.analysis.aborts import tolerances

        found = tolerances(case, self.scenario)
        ask = partial(self.stop.ask, state="stopped")
        return Watch(case, found, self.writer, ask) if found else None

    async def _shared(self, case: Case, endpoint: Endpoint, seed: int, progress: Progress) -> CaseRun:
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
        jobs = [replace(job, number=number) for number in range(case.workers)]
        return await run_workers(jobs, self.stop, progress, self.writer)


def _rules(count: int) -> str:
    return f"{count} rule{'s' * (count != 1)}"


def _first_id(first: int) -> int:
    """The first connection of a part of a case that begins with this message: none of an earlier part's, of
    which a pool may have opened some beforehand and each attempt at a message one or two."""
    return 1 + first * IDS_A_MESSAGE


def check_open_files(cases: Sequence[Case]) -> None:
    """Raise the limit on open files to what cases need that run together; their mocks inherit it.

    Raises SetupError.
    """
    connections = sum(case.pool.size for case in cases)
    each = [case.pool.size * (SHAPED_FILES if case.network.shaped else 1) for case in cases]
    needed = SPARE_FILES + sum(each)
    allowed = allow_open_files(needed)
    if allowed is not None and allowed < needed:
        raise SetupError(
            f"a pool of {connections} connections may need {needed} open files and this process may have "
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
        comparison=case.comparison,
        begins=case.load.begins,
    )


def summarise(stored: StoredRun, *, whole: bool = False) -> tuple[Summary, Answer, Frame]:
    """Everything a report is made of, from the run's folder alone; `whole`: with columns nobody analyses."""
    from bench.analysis import ANALYSED, explain, sample_frame, summarize

    frame = sample_frame(stored.table(None if whole else ANALYSED))
    cases = stored.manifest.cases
    takes = {case.id: taken for i, case in enumerate(cases) if (taken := stored.takes(i)) is not None}
    wires = {case.id: seen for i, case in enumerate(cases) if (seen := stored.wires(i)) is not None}
    summary = summarize(frame, stored.manifest, takes, wires)
    return summary, explain(summary), frame


def conclude(folder: Path) -> tuple[Summary, Answer, bytes]:
    """Summarise a run that has just ended, into its folder; the summary also as the JSON that was written."""
    from bench.report import FORMATS
    from bench.store import open_run

    stored = open_run(folder)
    summary, answer, frame = summarise(stored)
    if summary.run.state == "invalid":
        stored.condemn(summary.run.reason)
    rendered = FORMATS["json"].render(summary, answer, frame)
    stored.write("summary.json", rendered)
    return summary, answer, rendered


# ------------------------------------------------------------------------- targets


@asynccontextmanager
async def open_endpoint(
    case: Case, writer: RunWriter, seed: int, stop: Stop, mocks: Mapping[str, Ready]
) -> AsyncIterator[tuple[Endpoint, int | None]]:
    """Where a case connects to, with the server and the shaper that it needs running meanwhile; the process
    of shaper or mock. Those of `mocks`, by case, run already.

    Raises SetupError when one of them does not start.
    """
    if case.command is not None:
        output = writer.server_log(case)
        async with server_process(case.command, case.target.host, output, lambda: bool(stop)) as port:
            served = replace(case, command=None, target=replace(case.target, port=port))
            async with open_endpoint(served, writer, seed, stop, mocks) as opened:
                yield opened
        return
    target = case.target
    if target.kind is TargetKind.MOCK:
        yield _mock_endpoint(case, mocks[case.id]), mocks[case.id].pid
    elif case.network.shaped:
        spec = MockSpec(
            kind="relay",
            upstream=(target.host, target.port),
            network=case.network,
            seed=seed,
            wire_log=str(writer.wire_log(case)),
        )
        async with mock_process(spec) as ready:
            assert ready.smtp is not None
            endpoint = replace(_direct_endpoint(case, target), host=ready.smtp[0], port=ready.smtp[1])
            yield endpoint, ready.pid
    else:
        yield _direct_endpoint(case, target), None


def _mock_spec(case: Case, writer: RunWriter, seed: int) -> MockSpec:
    spec = MockSpec(
        kind=str(case.transport),
        provider=case.provider,
        tls=case.tls.mode,
        resume=case.tls.resume,
        service_time=case.service_time,
        rate_limit=case.rate_limit,
        faults=case.faults,
        byte_log=str(writer.byte_log(case)) if case.faults else None,
        network=case.network,
        seed=seed,
        log=str(writer.mock_log(case)),
        wire_log=str(writer.wire_log(case)) if case.network.shaped else None,
    )
    return spec if case.mock_auth else replace(spec, auth_mechanisms=())


def _direct_endpoint(case: Case, target: Target) -> Endpoint:
    if target.kind in REAL:
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
    facts["left_out"] = "; ".join(scenario.left_out)
    facts["servers"] = "; ".join(_served(case) for case in scenario.cases if case.command is not None)
    facts["clients"] = ", ".join(f"{name} {_version(name)}".strip() for name in clients)
    return {name: value for name, value in facts.items() if value}


def _served(case: Case) -> str:
    """A command, with its name where the matrix gives it one."""
    name = case.labels.get("server", case.command)
    return case.server if name == case.command else f"{name}: {case.command}"


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


__all__ = ["RunOptions", "Stop", "case_seed", "gather_facts", "open_endpoint", "run_scenario", "summarise"]
