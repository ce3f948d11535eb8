"""`sendbench gate` with servers that commands start: its verdicts, its errors, and nothing left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import servers
from bench.cli import commands
from bench.errors import ExitCode
from bench.store import open_run
from tests.integration.peers import wait_until
from tests.integration.test_cli import ENVIRONMENT, command, latest, sendbench
from tests.integration.test_servers import running

SCENARIO = """\
version: 1
name: sign-up
transport: smtp
tls: none
target: smtp://127.0.0.1:{port}
load: {model: closed, concurrency: 2, messages: 300, warmup: 4}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sign-up.yaml").write_text(SCENARIO, encoding="utf-8")
    return tmp_path


def mock(folder: Path, service_time: str) -> str:
    """A command that names the folder, by which its processes are found."""
    log = folder / f"{service_time}.log"
    program = f"{sys.executable} -P -m bench mock smtp --no-auth --tls none"
    return f"{program} --port {{port}} --service-time {service_time} --log {log}"


def gate(folder: Path, base: str, head: str, *options: str) -> subprocess.CompletedProcess[str]:
    return sendbench("gate", "sign-up.yaml", "--base", base, "--head", head, *options, folder=folder)


ONE = ("--processes", "1")


def test_the_second_server_is_slower(folder: Path) -> None:
    done = gate(folder, mock(folder, "20ms"), mock(folder, "26ms"), *ONE)
    assert done.returncode == ExitCode.THRESHOLD_FAILED, done.stdout + done.stderr
    assert done.stdout.startswith("REGRESSION: smtp/pooled/server=head against smtp/pooled/server=base: p50 ")
    assert not running(folder)
    run = latest(folder)
    assert (run / "server-000.log").read_text().startswith('{"smtp": {"host": "127.0.0.1", "port": ')
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["facts"]["servers"] == (f"base: {mock(folder, '20ms')}; head: {mock(folder, '26ms')}")


def test_a_server_against_itself_is_no_regression(folder: Path) -> None:
    same = mock(folder, "20ms")
    done = gate(folder, same, same, "--limit", "p50=20%,p95=300%", "--json", *ONE)
    assert done.returncode in (ExitCode.PASS, ExitCode.INCONCLUSIVE), done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["comparisons"]
    assert found["limits"]["limit"] == {"p50": 0.2, "p95": 3.0, "p99": 0.5}
    assert [case["counts"]["accepted"] for case in json.loads(done.stdout)["cases"]] == [300, 300]
    assert not running(folder)


def test_a_scenario_that_compares_is_gated_without_base_and_head(folder: Path) -> None:
    pair = "matrix: {mock.service_time: [5ms, 8ms]}\ncompare: mock.service_time\n"
    text = SCENARIO.replace("target: smtp://127.0.0.1:{port}", "target: mock") + pair
    (folder / "sign-up.yaml").write_text(text, encoding="utf-8")
    assert sendbench("run", "sign-up.yaml", folder=folder).returncode == ExitCode.PASS
    assert sendbench("gate", "sign-up.yaml", folder=folder).returncode == ExitCode.THRESHOLD_FAILED
    wide = sendbench("gate", "sign-up.yaml", "--limit", "500%", "--set", "load.messages=1000", folder=folder)
    assert wide.returncode == ExitCode.PASS, wide.stdout


APPLICATION = """\
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class SignUp(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.path == "/sign-up"
        assert json.loads(self.rfile.read(int(self.headers["Content-Length"])))["emails"]
        time.sleep(float(sys.argv[2]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args): pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), SignUp).serve_forever()
"""


def test_a_web_application_by_its_own_endpoint(folder: Path) -> None:
    (folder / "app.py").write_text(APPLICATION, encoding="utf-8")
    (folder / "sign-up.yaml").write_text(
        "version: 1\nname: sign-up\nprovider: generic\n"
        "target: http://localhost:{port}/sign-up\n"
        'template: {body: \'{"name": {key}, "emails": {to}}\'}\n'
        "load: {model: closed, concurrency: 2, messages: 300, warmup: 4}\n",
        encoding="utf-8",
    )
    app = f"{sys.executable} {folder / 'app.py'} {{port}}"
    done = gate(folder, f"{app} 0.01", f"{app} 0.02", *ONE)
    assert done.returncode == ExitCode.THRESHOLD_FAILED, done.stdout + done.stderr
    assert done.stdout.startswith("REGRESSION: api/pooled/server=head against api/pooled/server=base")
    assert not running(folder)


def test_the_second_stage_of_two_commands(folder: Path) -> None:
    few = ("--set", "load.messages=150", "--stages", "2", "--json")
    done = gate(folder, mock(folder, "20ms"), mock(folder, "30ms"), *few)
    assert done.returncode == ExitCode.THRESHOLD_FAILED, done.stdout + done.stderr
    assert "inconclusive so far: the second stage" in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["comparisons"][0]["looks"], answer["comparisons"][0]["pairs"][0]["count"]) == (2, 300)
    said = (latest(folder) / "server-000.log").read_text()
    assert len(said.splitlines()) == 2, "each stage has its servers started anew"
    assert not running(folder)


def test_a_command_that_dies_makes_the_run_invalid_and_is_quoted(folder: Path) -> None:
    (folder / "dies.py").write_text("print('no database'); raise SystemExit(7)", encoding="utf-8")
    dies = f"{sys.executable} {folder / 'dies.py'} {{port}}"
    done = gate(folder, mock(folder, "1ms"), dies)
    assert done.returncode == ExitCode.INVALID
    said = " ".join(done.stdout.split())
    assert (
        "the server ended before it was ready, with code 7; its last words (server-001.log): no database"
        in said
    )
    assert not running(folder)


def test_one_that_never_listens(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(servers, "START_S", 1.0)
    (folder / "sleeps.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    sleeps = f"{sys.executable} {folder / 'sleeps.py'} {{port}}"
    code = commands.main(["gate", "sign-up.yaml", "--base", sleeps, "--head", sleeps], standalone_mode=False)
    assert code == ExitCode.INVALID
    assert "could not be connected to" in capsys.readouterr().out
    assert not running(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--base", "serve {port}", "--head", "serve 25"), "matrix.server.head: needs {port}"),
        (("--base", "serve {port}"), "base and head go together"),
        ((), "{port} is that of a server that sendbench starts"),
        (("--set", "target=mock"), "needs compare:"),
        (("--set", "target=mock", "--base", "a {port}", "--head", "b {port}"), "not at 'mock'"),
        (("--base", "a {port}", "--head", "b {port}", "--limit", "fast"), "--limit fast: write"),
    ],
)
def test_what_makes_no_gate(folder: Path, options: tuple[str, ...], words: str) -> None:
    done = sendbench("gate", "sign-up.yaml", *options, folder=folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (ExitCode.USAGE, 1), done.stderr
    assert words in done.stderr
    assert not (folder / "results").exists()


def test_neither_validate_nor_plan_starts_anything(folder: Path) -> None:
    mark = folder / "started"
    touch = f"touch {mark} {{port}}"
    for verb in ("validate", "plan"):
        done = sendbench(verb, "sign-up.yaml", "--set", f"server={touch}", folder=folder)
        assert done.returncode == 0, done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("ready", [True, False])
def test_nothing_is_left_behind_after_an_interrupt(folder: Path, ready: bool) -> None:
    (folder / "sleeps.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    head = mock(folder, "10ms") if ready else f"{sys.executable} {folder / 'sleeps.py'} {{port}}"
    arguments = command(
        "gate", "sign-up.yaml", "--base", mock(folder, "10ms"), "--head", head, "--set", "load.messages=9999"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)
    wait_until(lambda: len(running(folder)) == 3, "the gate and both servers")
    if ready:
        wait_until(lambda: (folder / "10ms.log").exists(), "messages")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == ExitCode.SIGINT, output
    assert not running(folder)


def test_each_variant_is_several_processes_one_after_another(folder: Path) -> None:
    done = gate(folder, mock(folder, "20ms"), mock(folder, "26ms"), "--json", "--processes", "10")
    assert done.returncode == ExitCode.THRESHOLD_FAILED, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    (found,) = answer["comparisons"]
    assert (found["processes"], found["pairs"][0]["count"]) == (10, 250), "of 30 messages each, 25"
    assert [case["counts"]["accepted"] for case in answer["cases"]] == [300, 300]
    for number in (0, 1):
        said = (latest(folder) / f"server-{number:03d}.log").read_text().splitlines()
        assert len({json.loads(line)["pid"] for line in said}) == 10
    stored = open_run(latest(folder))
    for run, mine in zip(stored.manifest.cases, ("20ms", "26ms"), strict=True):
        assert (run.begins, run.scheduled) == (tuple(range(0, 340, 34)), 300)
        rows = [row for row in stored.table().to_pylist() if row["case"] == run.id]
        assert sorted(row["seq"] for row in rows) == list(range(10 * 34))
        assert {row["seq"] % 34 for row in rows if row["warmup"]} == {0, 1, 2, 3}
        assert len((folder / f"{mine}.log").read_text().splitlines()) == 340, "each was taken once"
        between_ns = run.ended_ns - run.started_ns - run.took_ns
        assert between_ns > 9 * 50_000_000, "starting a server is no time of its messages"
    assert "With 250 messages a side (10 processes) slowdowns of p50" in done.stdout
    assert not running(folder)


def test_one_of_the_processes_does_not_start(folder: Path) -> None:
    """The third start of head fails: nothing is said of the rest, and of the whole nothing either."""
    script = folder / "flaky.sh"
    script.write_text(
        f"echo >> {folder}/starts\n[ $(wc -l < {folder}/starts) -lt 3 ] && exec {mock(folder, '20ms')}\n"
    )
    flaky = f"sh {script} {{port}}"
    script.write_text(script.read_text().replace("{port}", "$1"))
    done = gate(folder, mock(folder, "20ms"), flaky)
    assert done.returncode == ExitCode.INVALID, done.stdout + done.stderr
    base, head = open_run(latest(folder)).manifest.cases
    assert base.error == "the comparison ended with part 3 of 12"
    assert head.error is not None
    assert head.error.startswith("the server ended before it was ready")
    assert not running(folder)


def test_stopped_between_its_processes_nothing_is_left_over(folder: Path) -> None:
    arguments = command(
        "gate", "sign-up.yaml", "--base", mock(folder, "20ms"), "--head", mock(folder, "20ms")
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)
    log = folder / "results" / "latest" / "server-001.log"
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 3, "the third process")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.SIGINT
    stored = open_run(latest(folder))
    assert stored.manifest.state == "aborted"
    for case in stored.manifest.cases:
        rows = [row["seq"] for row in stored.table().to_pylist() if row["case"] == case.id]
        assert sorted(rows) == list(range(len(rows)))
        assert len(rows) == 300 + 12 * 4 or case.error, (
            "what was not sent is on record as dropped, or why not"
        )
        assert case.scheduled == 300
    assert not running(folder)


OPEN = SCENARIO.replace("{model: closed, concurrency: 2,", "{model: constant, rate: 100/s,")


def test_an_open_load_is_offered_at_its_rate_to_one_process_after_another(folder: Path) -> None:
    (folder / "sign-up.yaml").write_text(OPEN, encoding="utf-8")
    done = gate(folder, mock(folder, "5ms"), mock(folder, "30ms"), "--json", "--processes", "10")
    assert done.returncode in (ExitCode.THRESHOLD_FAILED, ExitCode.INVALID), done.stdout + done.stderr
    for case in json.loads(done.stdout)["cases"]:
        assert case["counts"]["accepted"] == 300
        assert case["throughput"]["offered_per_s"] == pytest.approx(100, rel=0.02), "pauses are no part of it"


def test_killed_among_its_processes_each_message_is_of_the_one_that_had_it(folder: Path) -> None:
    same = mock(folder, "20ms")
    pipe = subprocess.PIPE
    arguments = command("gate", "sign-up.yaml", "--base", same, "--head", same)
    process = subprocess.Popen(arguments, cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)
    log = folder / "results" / "latest" / "server-001.log"
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 3, "the third process")
    process.kill()
    process.communicate(timeout=30)
    stored = open_run(latest(folder))
    assert [case.begins for case in stored.manifest.cases] == [tuple(range(0, 12 * 29, 29))] * 2
    warm = {row["seq"] % 29 for row in stored.table().to_pylist() if row["warmup"]}
    assert warm == {0, 1, 2, 3}, "known of those, too, that were lost"
    assert sendbench("report", str(latest(folder)), "--format", "md", folder=folder).returncode == 3
    for server in running(folder):  # what nobody is left to end
        os.kill(server, signal.SIGKILL)
