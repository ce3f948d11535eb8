"""Our side: always the whole command, full records on, run folder and all."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.peers.compare import Ended, HarnessError
from tests.peers.servers import Kind
from tests.peers.work import Job, Side

PROGRAM = Path(sys.executable).with_name("sendbench")

SCENARIO = """
version: 1
name: peers
target: {target}
provider: generic
transport: {transport}
client: {client}
connection: {connection}
tls: none
message: {{size: {size}B}}
load: {{model: closed, concurrency: {sessions}, messages: {messages}, warmup: 0}}
"""
SMTP_OPTIONS = "smtp: {{pipelining: {pipelining}, chunking: off}}\n"
WORKERS = "workers: {workers}\n"


@dataclass(frozen=True, slots=True)
class Clients:
    """The client that speaks, by transport."""

    smtp: str = "wire"
    api: str = "wire"


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """What `sendbench run --json` says of its only case."""

    scheduled: int
    accepted: int
    accepted_per_s: float
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    valid: bool
    reasons: tuple[str, ...]


def side(clients: Clients) -> Side:
    """The command as a side of a comparison."""

    def command(job: Job) -> list[str]:
        scenario = job.folder / "scenario.yaml"
        scenario.write_text(scenario_of(job, clients), encoding="utf-8")
        return run_command(scenario, job.folder / "results")

    return Side("sendbench", lambda: metadata.version("sendbench"), command, check)


def run_command(scenario: Path, results: Path) -> list[str]:
    """`sendbench run`, its answer in JSON."""
    return [str(PROGRAM), "run", str(scenario), "--results", str(results), "--json"]


def scenario_of(job: Job, clients: Clients) -> str:
    """The scenario that does the job: closed model, as many workers as sessions, no warm-up."""
    work = job.work
    http = work.kind is Kind.HTTP
    text = SCENARIO.format(
        target=job.url if http else f"smtp://127.0.0.1:{job.port}",
        transport="api" if http else "smtp",
        client=clients.api if http else clients.smtp,
        connection="pooled" if work.pooled else "unpooled",
        size=work.size_bytes,
        sessions=work.sessions,
        messages=work.messages,
    )
    if not http:
        text += SMTP_OPTIONS.format(pipelining="auto" if work.pipelined else "off")
    # Only where it is asked for: the key says nothing otherwise.
    return text + (WORKERS.format(workers=work.workers) if work.workers > 1 else "")


def figures(ended: Ended) -> CaseFigures:
    """The figures of the run's only case; raises HarnessError where there is no such answer."""
    try:
        [case] = json.loads(ended.output)["cases"]
    except (ValueError, KeyError) as error:
        raise HarnessError(f"sendbench answered nothing: {ended.errors.strip()[-300:]}") from error
    generator = case["generator"]
    return CaseFigures(
        scheduled=case["counts"]["scheduled"],
        accepted=case["counts"]["accepted"],
        accepted_per_s=case["throughput"]["accepted_per_s"] or 0.0,
        lag_p50_ms=generator["lag_p50_ms"],
        lag_p99_ms=generator["lag_p99_ms"],
        valid=generator["valid"],
        reasons=tuple(generator["reasons"]),
    )


def check(job: Job, ended: Ended) -> None:
    """All messages scheduled and accepted, by the run's own account; raises HarnessError otherwise."""
    work, told = job.work, figures(ended)
    if (told.scheduled, told.accepted) != (work.messages, work.messages):
        raise HarnessError(
            f"sendbench accounts for {told.accepted} accepted of {told.scheduled}, asked were {work.messages}"
        )
