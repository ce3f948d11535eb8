"""F23: every way to end has the exit code that is documented for it, and never a traceback."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.test_cli import ENVIRONMENT, command, sendbench

BASE = """\
version: 1
name: ends
target: mock
provider: sendgrid
transport: smtp
load: {model: closed, concurrency: 2, messages: 20}
"""
WRONG = 'auth: {user: "${env:TEST_USER}", password: "${env:TEST_PASSWORD}"}\n'
SLOW = "load: {model: closed, concurrency: 1, messages: 100000}\n"
OVERLOAD = "workers: 1\nload: {model: constant, rate: 60000/s, messages: 30000, max_in_flight: 20}\n"
BAD_SMTP = "faults: S47\nclient: aiosmtplib\n"


def api_of(provider: str) -> tuple[str, ...]:
    """The options that have it sent over a provider's API."""
    return "--set", f"provider={provider}", "--set", "transport=api"


CAUSES: list[tuple[str, int, str, list[str]]] = [
    ("all is well", 0, BASE, []),
    ("a threshold held", 0, BASE + "thresholds: [share(accepted) >= 100%]\n", []),
    ("a threshold failed", 1, BASE + "thresholds: [p50(service) < 1us]\n", []),
    ("a threshold ended the run", 1,
     BASE + "thresholds: [{check: max(service) < 1us, abort: true}]\n", ["--set", "load.messages=100000"]),
    ("no verdict could be had", 2, BASE + "thresholds: [{check: p99(service) < 1s, abort: true}]\n",
     ["--set", "load.messages=300"]),
    ("a misspelt key", 2, BASE + "conection: pooled\n", []),
    ("no such option", 2, BASE, ["--fast"]),
    ("no such profile", 2, BASE, ["--profile", "none"]),
    ("a --set that makes no sense", 2, BASE, ["--set", "load.messages=many"]),
    ("a region nobody has", 2, BASE + "region: mars\n", []),
    ("no sandbox over SMTP", 2, BASE, ["--set", "target=sandbox"]),
    ("no sandbox at all", 2, BASE, [*api_of("smtpcom"), "--set", "target=sandbox"]),
    ("a region nobody has, over the API", 2, BASE, [*api_of("sendgrid"), "--set", "region=mars"]),
    ("more than a call takes", 2, BASE, [*api_of("ses"), "--set", "batch=51"]),
    ("more recipients than a call takes", 2, BASE,
     [*api_of("brevo"), "--set", "batch=1001", "--set", "message.recipients=2"]),
    ("nobody listens", 3, BASE + "tls: none\n", ["--set", "target=smtp://127.0.0.1:9"]),
    ("wrong credentials", 3, BASE + WRONG, []),
    ("nothing was accepted", 3, BASE + 'faults: [{at: dot, do: reply, text: "554 no"}]\n', []),
    ("overloaded", 3, BASE.replace("load: {model: closed, concurrency: 2, messages: 20}\n", OVERLOAD), []),
    ("nowhere to write", 3, BASE, ["--results", "/proc/nowhere"]),
    ("the client was wrong about a message", 3, BASE + BAD_SMTP, ["--set", "load.messages=3"]),
    ("too few messages to tell", 4, BASE + "thresholds: [p99(service) < 10s]\n", []),
    ("invalid beats a failed threshold", 3, BASE + WRONG + "thresholds: [share(accepted) > 99%]\n", []),
    ("a failed threshold beats an open one", 1, BASE
     + "thresholds: [p50(service) < 1us, p99(service) < 10s]\n", []),
    ("a real server", 5, BASE, ["--set", "target=smtp://smtp.example.net"]),
    ("a provider itself", 5, BASE, ["--set", "target=live"]),
    ("a private address without --lab", 5, BASE, ["--set", "target=smtp://10.1.2.3"]),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "code", "text", "arguments"), CAUSES, ids=[each[0] for each in CAUSES])
def test_each_cause_has_its_code(
    tmp_path: Path, cause: str, code: int, text: str, arguments: list[str]
) -> None:
    (tmp_path / "ends.yaml").write_text(text, encoding="utf-8")
    secrets = {"TEST_USER": "nobody-known", "TEST_PASSWORD": "not-the-password"}
    done = sendbench("run", "ends.yaml", *arguments, folder=tmp_path, env=secrets)
    assert done.returncode == code, f"{cause}: {done.stdout[-800:]}{done.stderr[-800:]}"
    assert "Traceback" not in done.stderr
    if code in (2, 5):
        assert done.stdout == ""
        assert not list(tmp_path.glob("results/*/samples*"))  # nothing was sent
    if arguments and code == 2 and "no such" not in cause:
        assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_signals(tmp_path: Path, number: signal.Signals, code: int) -> None:
    text = BASE.replace("load: {model: closed, concurrency: 2, messages: 20}\n", SLOW)
    (tmp_path / "ends.yaml").write_text(text, encoding="utf-8")
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command("run", "ends.yaml"), cwd=tmp_path, env=ENVIRONMENT, stdout=pipe, stderr=pipe
    )
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("results/*/mock-000.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"Traceback" not in errors
