"""How late our own pacer is, on a machine with nothing else to do: a constant rate at the mock."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.peers.compare import HarnessError, run_process
from tests.peers.ours import CaseFigures, Clients, figures, run_command

DURATION_S = 10
SCENARIO = """
version: 1
name: peers-lag
target: mock
provider: generic
transport: {transport}
client: {client}
connection: pooled
tls: none
message: {{size: 1KiB}}
pool: {{size: {pool}}}
load: {{model: constant, rate: {rate}/s, duration: {duration}s, max_in_flight: {pool}, warmup: {warmup}}}
"""
POOL = 50
VOID = 3
"""sendbench's exit code when a case is invalid."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What is asked at one rate."""

    rate: int
    p50_ms: float | None
    p99_ms: float
    invalid_passes: bool
    """Whether it is as good that the case itself says that it is invalid."""


@dataclass(frozen=True, slots=True)
class Check:
    """A transport at a rate."""

    key: str
    transport: str
    limit: Limit


LIMITS = (Limit(1_000, 0.1, 0.3, False), Limit(5_000, None, 1.0, True))
CHECKS = tuple(
    Check(f"lag/{transport}/{limit.rate}", transport, limit)
    for transport in ("smtp", "api")
    for limit in LIMITS
)


@dataclass(frozen=True, slots=True)
class Late:
    """One run's lag beside what was asked."""

    check: Check
    case: CaseFigures | None = None
    load_1min: float = 0.0
    """The machine's load average before: above 0.3 it was not idle."""
    error: str = ""

    @property
    def key(self) -> str:
        """The check's."""
        return self.check.key

    @property
    def verdict(self) -> str:
        """One or two words."""
        if self.case is None:
            return "harness error"
        return judge(self.case, self.check.limit)


def judge(case: CaseFigures, limit: Limit) -> str:
    """pass, falls short, or that the case is invalid and says so itself."""
    if not case.valid:
        return "pass: it says that it is invalid" if limit.invalid_passes else "falls short: invalid"
    if case.lag_p50_ms is None or case.lag_p99_ms is None:
        return "falls short: no lag"
    kept = case.lag_p99_ms <= limit.p99_ms and (limit.p50_ms is None or case.lag_p50_ms <= limit.p50_ms)
    return "pass" if kept else "falls short"


def measure(check: Check, clients: Clients) -> Late:
    """Run one rate; nothing is pinned, the mock is a process that sendbench starts."""
    text = SCENARIO.format(
        transport=check.transport,
        client=clients.smtp if check.transport == "smtp" else clients.api,
        rate=check.limit.rate,
        duration=DURATION_S,
        pool=POOL,
        warmup=check.limit.rate,
    )
    before = os.getloadavg()[0]
    with TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        scenario = folder / "scenario.yaml"
        scenario.write_text(text, encoding="utf-8")
        ended = run_process(run_command(scenario, folder / "results"), folder, {})
    try:
        if ended.code not in (0, VOID):
            raise HarnessError(f"sendbench ended with {ended.code}: {ended.errors.strip()[-300:]}")
        return Late(check, figures(ended), before)
    except HarnessError as error:
        return Late(check, error=str(error))
