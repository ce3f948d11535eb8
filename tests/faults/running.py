"""Fault cases carried out for real: our client, our mock in this process, sockets between, and the record."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from bench.api import RunOptions, Stop, run_scenario
from bench.mock.serve import serve
from bench.mock.spec import MockSpec, Ready
from bench.scenario import load_scenario
from tests.runs import Finished, finished

SCENARIO = """\
version: 1
name: fault
target: mock
provider: {provider}
transport: {transport}
tls: none
message: {{size: 2KiB}}
load: {{model: closed, concurrency: 1, messages: {messages}}}
timeout: {timeout}
faults: {faults}
"""
TIMEOUT = "300ms"
SEED = int(os.environ.get("SENDBENCH_FAULTS_SEED", "1"))
READY: list[Ready] = []
"""What the mocks of this process said once they listened, with the credentials that they let in."""


@asynccontextmanager
async def mocks_in_this_process(specs: Sequence[MockSpec]) -> AsyncIterator[Sequence[Ready]]:
    """In place of those in another process: a fault costs milliseconds, and not an interpreter's start."""
    stop, up = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, specs, up.set_result, stop)
        ready = await up
        READY.extend(ready)
        try:
            yield ready
        finally:
            stop.set()


@dataclass(frozen=True)
class Carried:
    """What became of it."""

    run: Finished
    said: list[dict[str, Any]]
    """The mock's byte log."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The messages' records in order."""
        table = self.run.stored.table().to_pylist()
        return sorted(table, key=lambda row: row["seq"])

    def heard(self) -> bytes:
        """All that the mock was told in plain text."""
        return b"".join(each["bytes"].encode("latin-1") for each in self.said if each["from"] == "client")


def carry_out(
    faults: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    transport: str = "smtp",
    messages: int = 1,
    overrides: tuple[str, ...] = (),
    provider: str = "generic",
    timeout: str = TIMEOUT,
    lines: str = "",
) -> Carried:
    """Run a scenario with these faults (as YAML) and everything else as plain as it can be."""
    monkeypatch.setattr("bench.api.mocks_in_one_process", mocks_in_this_process)
    monkeypatch.setattr("gc.collect", lambda: 0)  # before each run: of pytest's heap a third of its time
    file = folder / "fault.yaml"
    text = SCENARIO.format(
        provider=provider, transport=transport, messages=messages, timeout=timeout, faults=faults
    )
    file.write_text(text + lines, encoding="utf-8")
    scenario = load_scenario(file, overrides=overrides)

    async def main() -> Path:
        return await run_scenario(scenario, RunOptions(results=folder / "results", seed=SEED), Stop())

    run = anyio.run(main, backend_options={"use_uvloop": True})
    log = run / "bytes-000.jsonl"
    said = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return Carried(finished(run), said)
