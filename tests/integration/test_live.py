"""Real targets, as far as they go without one: every refusal before a byte is sent, and the permitted path
against the mock through the same code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from bench.api import RunOptions, Stop, run_scenario
from bench.cli import commands
from bench.errors import RefusedError
from bench.mock.serve import FLUSH_S
from bench.mock.spec import MockSpec, Ready
from bench.model import Case, Endpoint, Fault, Scenario
from bench.permit import MAX_RATE_PER_S, AllowList, Permission, plan_hash
from bench.scenario import find_scenario, load_scenario
from bench.store.ledger import Ledger
from tests.integration.test_cli import ENVIRONMENT, sendbench
from tests.mock.running import running_mock
from tests.runs import finished

ME = "ann@mine.example"
SITE = """\
import os, socket, sys
def refuse(*_):
    os.write(2, b"SOCKET OPENED\\n")
    os._exit(99)
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        refuse()
sys.addaudithook(watch)
sys.modules["uvloop"] = None  # which looks names up where no hook sees it
"""
"""Ends the process at the first attempt to look a name up or to connect."""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment of a person with credentials, a list, and a process that must not touch the network."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    config = tmp_path / "config" / "sendbench"
    config.mkdir(parents=True)
    (config / "allowed-recipients.txt").write_text("@mine.example\n")
    return {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), ENVIRONMENT["PYTHONPATH"]]),
        "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state"),
        "SENDGRID_API_KEY": "SG.canary-one",
    }  # fmt: skip


TO_ME = ("--set", "message.recipients=people.txt", "--set", "load.messages=3", "--set", "load.warmup=0")


def confirmation(folder: Path, home: dict[str, str], *more: str) -> list[str]:
    done = sendbench("plan", "live-sendgrid", *TO_ME, *more, folder=folder, env=home)
    line = done.stdout.split("to run it: ")[1].splitlines()[0]
    return line.split()


def refusals(whole: list[str]) -> dict[str, list[str]]:
    """What is said -> the arguments that lack something, or ask for too much; `whole` has everything."""
    return {
        "needs --live": whole[1:],
        "needs --budget": ["--live", *whole[3:]],
        "more than --budget 5": ["--live", "--budget", "5", *whole[3:]],
        "needs --confirm": whole[:3],
        "--confirm names another plan": [*whole[:4], "000000000000"],
        "names another plan: read": [*whole, "--set", "load.messages=2"],
        "without TLS": [*whole, "--set", "tls=none", "--set", "matrix.transport=[smtp]"],
        "certificate is checked": [*whole, "--set", "tls.verify=false"],
        "at most 50/s": [*whole, "--set", "load.rate=60/s"],
        "one process": [*whole, "--set", "workers=2"],
        "retry: unknown": [*whole, "--set", "retry=unknown"],
        "has no budget": [*whole, "--set", "load={model: closed, concurrency: 1, duration: 3s}"],
    }


SEVERAL = """\
import contextlib, io, json, sys
from bench.cli import main
for sys.argv in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as done:
            code = done.code
    print(json.dumps([code, said.getvalue()]))
"""


def one_after_the_other(
    commands: list[list[str]], folder: Path, env: dict[str, str]
) -> list[tuple[int, str]]:
    """What each command ends with and says, without a process for each: starting one takes a second."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", SEVERAL],
        input=json.dumps([["sendbench", *each] for each in commands]),
        cwd=folder, env={**ENVIRONMENT, **env}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_plan_prints_the_command_and_each_missing_part_is_refused_with_5(
    tmp_path: Path, home: dict[str, str]
) -> None:
    (tmp_path / "people.txt").write_text(f"{ME}\n")
    whole = confirmation(tmp_path, home)
    assert whole[:3] == ["--live", "--budget", "6"]
    commands = [["run", "live-sendgrid", *TO_ME, *each] for each in refusals(whole).values()]
    for text, (code, said) in zip(
        refusals(whole), one_after_the_other(commands, tmp_path, home), strict=True
    ):
        assert (code, text in said) == (5, True), (text, said)
        assert len(said.splitlines()) == 1
        assert "canary" not in said
    (tmp_path / "people.txt").write_text("stranger@other.example\n")
    done = sendbench("run", "live-sendgrid", *TO_ME, *whole, folder=tmp_path, env=home)
    assert (done.returncode, "is not on the allow-list" in done.stderr) == (5, True)
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "state").exists()


def test_the_kill_switch_and_a_spent_budget_refuse_with_5(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "people.txt").write_text(f"{ME}\n")
    whole = confirmation(tmp_path, home)
    switch = tmp_path / "config" / "sendbench" / "no-real-mail"
    switch.touch()
    done = sendbench("run", "live-sendgrid", *TO_ME, *whole, folder=tmp_path, env=home)
    assert (done.returncode, "switched off" in done.stderr) == (5, True)
    switch.unlink()
    Ledger(tmp_path / "state" / "sendbench" / "ledger.sqlite").reserve("another", 1, 6)
    done = sendbench("run", "live-sendgrid", *TO_ME, *whole, folder=tmp_path, env=home)
    assert (done.returncode, "1 of other runs today" in done.stderr) == (5, True)


def test_with_everything_it_goes_as_far_as_the_network(tmp_path: Path, home: dict[str, str]) -> None:
    """The socket guard of this test ends the process there: nothing else would have held it back."""
    (tmp_path / "people.txt").write_text(f"{ME}\n")
    done = sendbench("run", "live-sendgrid", *TO_ME, *confirmation(tmp_path, home), folder=tmp_path, env=home)
    assert (done.returncode, "SOCKET OPENED" in done.stderr) == (99, True)


def test_private_and_metadata_addresses_are_no_real_servers(tmp_path: Path, home: dict[str, str]) -> None:
    for host in ("10.1.2.3", "169.254.169.254", "192.168.1.1", "0.0.0.0", "224.0.0.1"):
        done = sendbench(
            "run", "generic", "--set", f"target=smtp://{host}:2525", "--live", "--budget", "999",
            folder=tmp_path, env=home,
        )  # fmt: skip
        assert (done.returncode, len(done.stderr.splitlines())) == (5, 1), done.stderr


# ------------------------------------------------------------------ the permitted path


NEVER = Fault("connect", "rst", nth=10**9)
"""With a fault, though none that ever comes, a mock keeps every byte."""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Ready]]:
    """Where the provider's own address would be: its mock."""
    spec = MockSpec(kind="smtp", provider="sendgrid", faults=(NEVER,))
    smtp_spec = replace(spec, byte_log=str(tmp_path / "smtp.bytes"))
    api_spec = replace(spec, kind="api", byte_log=str(tmp_path / "api.bytes"))
    with running_mock(smtp_spec) as smtp, running_mock(api_spec) as api:
        ready = {"smtp": smtp, "api": api}

        def endpoint(case: Case, *_: object) -> Endpoint:
            from bench.api import _mock_endpoint

            return _mock_endpoint(case, ready[case.transport])

        monkeypatch.setattr("bench.api.endpoint_of", endpoint)
        monkeypatch.setattr("bench.guard.is_public", lambda address: address.is_loopback)
        yield ready


def heard(folder: Path) -> int:
    """Bytes that clients have sent to the mocks, once these have had time to write them down."""
    time.sleep(3 * FLUSH_S)
    lines = [line for name in ("smtp", "api") for line in (folder / f"{name}.bytes").read_text().splitlines()]
    return sum(len(each["bytes"]) for each in map(json.loads, lines) if each["from"] == "client")


def test_what_is_refused_puts_no_byte_on_the_wire_even_where_a_server_answers(
    tmp_path: Path, home: dict[str, str], provider: dict[str, Ready], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same refusals in this process, without the socket guard and with a server at the other end."""
    (tmp_path / "people.txt").write_text(f"{ME}\n")
    whole = confirmation(tmp_path, home)
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "SENDGRID_API_KEY"):
        monkeypatch.setenv(name, home[name])
    for text, arguments in refusals(whole).items():
        with pytest.raises(RefusedError, match=text.replace("(", ".")) as refused:
            commands.main(["run", "live-sendgrid", *TO_ME, *arguments], standalone_mode=False)
        assert refused.value.exit_code == 5
    assert heard(tmp_path) == 0
    commands.main(["run", "live-sendgrid", *TO_ME, *whole], standalone_mode=False)
    assert heard(tmp_path) > 1000, "the referee hears what is sent"


def live(*overrides: str) -> Scenario:
    scenario = load_scenario(
        find_scenario("live-sendgrid"),
        overrides=["load.rate=40/s", "load.messages=10", "load.warmup=2", *overrides],
    )
    people = tuple(replace(case, message=replace(case.message, recipients=(ME,))) for case in scenario.cases)
    return replace(scenario, cases=people)


def options(scenario: Scenario, folder: Path, **changes: object) -> RunOptions:
    said = Permission(True, 24, plan_hash(scenario.cases), AllowList(["@mine.example"]))
    return RunOptions(
        results=folder / "results",
        permission=replace(said, **changes),  # type: ignore[arg-type]
        ledger=folder / "ledger.sqlite",
    )


def run(scenario: Scenario, chosen: RunOptions) -> Path:
    async def main() -> Path:
        return await run_scenario(scenario, chosen, Stop())

    return anyio.run(main)


def test_what_is_permitted_is_sent_and_counted(tmp_path: Path, provider: dict[str, Ready]) -> None:
    scenario = live()
    done = finished(run(scenario, options(scenario, tmp_path)))
    assert [case.counts.accepted for case in done.summary.cases] == [10, 10]
    assert Ledger(tmp_path / "ledger.sqlite").spent_today() == 24
    with pytest.raises(RefusedError, match="24 of other runs today"):
        run(scenario, options(scenario, tmp_path))


def test_a_real_name_that_leads_to_this_machine_is_refused(
    tmp_path: Path, provider: dict[str, Ready], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.guard.is_public", lambda address: address.is_global)
    scenario = live("matrix.transport=[smtp]")
    with pytest.RaisesGroup(
        pytest.RaisesExc(RefusedError, match="not a public address"), flatten_subgroups=True
    ):
        run(scenario, options(scenario, tmp_path))


def test_a_switch_thrown_meanwhile_ends_the_run(tmp_path: Path, provider: dict[str, Ready]) -> None:
    scenario, switch = live("load.rate=10/s", "matrix.transport=[smtp]"), tmp_path / "no-real-mail"
    chosen = options(scenario, tmp_path, kill_switch=switch)

    async def throw() -> None:
        await anyio.sleep(0.9)
        switch.touch()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(throw)
            folders.append(await run_scenario(scenario, chosen, Stop()))

    folders: list[Path] = []
    anyio.run(main)
    (folder,) = folders
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["state"] == "aborted"
    assert "no-real-mail exists" in manifest["reason"]
    spent = Ledger(tmp_path / "ledger.sqlite").spent_today()
    assert 0 < spent < 12, "the rest is given back"


def test_a_closed_load_keeps_to_the_rate_as_well(tmp_path: Path, provider: dict[str, Ready]) -> None:
    closed = "load={model: closed, concurrency: 5, messages: 22, warmup: 2}"
    scenario = load_scenario(
        find_scenario("live-sendgrid"), overrides=[closed, "matrix.transport=[smtp]", "client.smtp=wire"]
    )
    (case,) = scenario.cases
    case = replace(case, message=replace(case.message, recipients=(ME,)))
    scenario = replace(scenario, cases=(case,))
    done = finished(run(scenario, options(scenario, tmp_path)))
    (found,) = done.summary.cases
    assert found.counts.accepted == 22
    starts = sorted(done.frame["start_ns"])
    assert starts[-1] - starts[0] > 23 / MAX_RATE_PER_S * 1e9 * 0.95
