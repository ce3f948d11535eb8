"""X01, X03, X04, F16 in whole processes: servers that echo credentials in every form, libraries that log at
DEBUG, and errors with all their local variables: no secret is printed, stored, or on a command line."""

from __future__ import annotations

import base64
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.canary import forms, found_in
from tests.integration.test_cli import ENVIRONMENT, command, latest, sendbench

PASSWORD = "C4n4ry/s3cret+\"q'<=x%y&z"
USER = "c4n4ry-user+x@mine.example"
SECRETS = (PASSWORD, USER)
SITE = """\
import logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
def told(kind, error, trace):
    whole = traceback.TracebackException(kind, error, trace, capture_locals=True)
    print(*whole.format(), file=sys.stderr)
sys.excepthook = told
"""
SCENARIO = """\
version: 1
name: canary
target: {target}
provider: {provider}
transport: {transport}
auth: {{user: "${{env:CANARY_USER}}", password: "${{env:CANARY_PASSWORD}}"}}
message: {{headers: {{X-Api-Key: "${{env:CANARY_PASSWORD}}"}}}}
load: {{model: closed, concurrency: 2, messages: 10}}
workers: {workers}
client: {client}
tls: none
"""


def echoed() -> list[bytes]:
    """All forms of both, a line each, as far as a line can hold them."""
    pairs = [f"\0{USER}\0{PASSWORD}", f"{USER}:{PASSWORD}"]
    made = [form for secret in SECRETS for form in forms(secret).values()]
    made += [base64.b64encode(pair.encode()) for pair in pairs]
    return [form for form in made if not {0, 10, 13} & set(form)]


class SmtpEcho(socketserver.StreamRequestHandler):
    """Takes nobody's credentials, and says what they were."""

    def handle(self) -> None:
        self.wfile.write(b"220 echo\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"EHLO":
                self.wfile.write(b"250-echo\r\n250 AUTH PLAIN LOGIN\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            elif word == b"AUTH":
                lines = [b"535-5.7.8 " + each for each in (*echoed(), line.strip())]
                self.wfile.write(b"\r\n".join(lines) + b"\r\n535 5.7.8 no\r\n")
            else:
                self.wfile.write(b"530 5.7.0 log in\r\n")


class HttpEcho(socketserver.StreamRequestHandler):
    """The same as a JSON error, with the request's own header in it."""

    def handle(self) -> None:
        while head := self._head():
            body = b'{"errors": [{"message": "' + b" ".join((*echoed(), *head)).replace(b'"', b"'") + b'"}]}'
            answer = b"HTTP/1.1 401 x\r\nX-Echo: %b\r\nContent-Length: %d\r\n\r\n"
            self.wfile.write(answer % (echoed()[0], len(body)) + body)

    def _head(self) -> list[bytes]:
        lines, size = [], 0
        while (line := self.rfile.readline().strip()) != b"":
            lines.append(line)
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        self.rfile.read(size)
        return lines


@contextmanager
def serving(handler: type[socketserver.StreamRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    path = os.pathsep.join([str(tmp_path / "site"), ENVIRONMENT["PYTHONPATH"]])
    return {
        "PYTHONPATH": path, "PYTHONASYNCIODEBUG": "1", "CANARY_USER": USER, "CANARY_PASSWORD": PASSWORD,
    }  # fmt: skip


def write(folder: Path, **values: object) -> None:
    known = {"workers": 1, "client": "wire", "provider": "sendgrid", **values}
    (folder / "canary.yaml").write_text(SCENARIO.format(**known))


def assert_clean(folder: Path, *said: str) -> None:
    for text in said:
        assert found_in(text.encode("utf-8", "surrogateescape"), SECRETS) == []
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name != "site":
            assert found_in(path.read_bytes(), SECRETS) == [], path


@pytest.mark.parametrize(
    ("transport", "client", "workers"),
    [("smtp", "wire", 1), ("smtp", "wire", 2), ("smtp", "aiosmtplib", 1), ("smtp", "smtplib", 1),
     ("api", "wire", 1), ("api", "httpx", 1), ("api", "httpx2", 2)],
)  # fmt: skip
def test_what_a_server_echoes_is_nowhere(
    tmp_path: Path, home: dict[str, str], transport: str, client: str, workers: int
) -> None:
    with serving(SmtpEcho if transport == "smtp" else HttpEcho) as port:
        scheme, query = ("smtp", "") if transport == "smtp" else ("http", "/x")
        target = f"{scheme}://127.0.0.1:{port}{query}"
        write(tmp_path, target=target, transport=transport, client=client, workers=workers)
        done = sendbench("run", "canary.yaml", folder=tmp_path, env=home)
    assert done.returncode == 3, done.stderr[-2000:]
    table = (latest(tmp_path) / "samples.parquet").read_bytes()
    assert table, "what the server said is on record"
    formats = ",".join(["md,json,csv,samples", *["html"] * (client == "wire")])
    made = sendbench("report", "--format", formats, folder=tmp_path, env=home)
    samples = next((tmp_path / "reports").rglob("samples.csv")).read_text()
    assert "***" in samples
    assert_clean(tmp_path, done.stdout, done.stderr, made.stdout, made.stderr)


FAULTY = """
import bench.transports.{module} as module
def broken(*arguments, **named):
    password = {password!r}  # a local variable that holds it
    raise RuntimeError("no good: " + password)
module.{name} = broken
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_error_with_its_local_variables_shows_none(
    tmp_path: Path, home: dict[str, str], workers: int, encoding: str
) -> None:
    """`ascii`: click then writes past `sys.stderr`, to what stands behind it, if anything does."""
    site = tmp_path / "site" / "sitecustomize.py"
    site.write_text(SITE + FAULTY.format(module="wire_smtp", name="SmtpClient", password=PASSWORD))
    write(tmp_path, target="mock", transport="smtp", workers=workers)
    done = sendbench("run", "canary.yaml", folder=tmp_path, env=home | {"PYTHONIOENCODING": encoding})
    assert "no good: ***" in done.stderr
    assert "password = '***'" in done.stderr
    assert_clean(tmp_path, done.stdout, done.stderr)


def test_no_command_line_of_any_process_holds_a_secret(tmp_path: Path, home: dict[str, str]) -> None:
    """X01: looked at all the while, with the mock's and the workers' processes."""
    write(tmp_path, target="mock", transport="smtp", workers=2)
    seen: set[bytes] = set()
    process = subprocess.Popen(
        command("run", "canary.yaml"), cwd=tmp_path, env={**ENVIRONMENT, **home},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(path.read_bytes())
            except OSError:  # it has ended
                continue
    assert any(b"bench.mock" in line for line in seen)
    assert any(b"bench.worker" in line for line in seen)
    for line in seen:
        assert found_in(line, SECRETS) == []


def test_credentials_of_the_environment_are_masked_like_those_of_a_scenario(
    tmp_path: Path, home: dict[str, str]
) -> None:
    """They are the provider's own, for a real target, which nothing here ever reaches."""
    config = tmp_path / "config" / "sendbench"
    config.mkdir(parents=True)
    (config / "allowed-recipients.txt").write_text("@mine.example\n")
    (tmp_path / "people.txt").write_text("ann@mine.example\n")
    site = tmp_path / "site" / "sitecustomize.py"
    site.write_text(SITE + FAULTY.format(module="connect", name="resolve", password=PASSWORD))
    home |= {
        "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state"),
        "SENDGRID_API_KEY": PASSWORD,
    }  # fmt: skip
    few = ("--set", "message.recipients=people.txt", "--set", "load.messages=2", "--set", "load.warmup=0")
    planned = sendbench("plan", "live-sendgrid", *few, folder=tmp_path, env=home)
    whole = planned.stdout.split("to run it: ")[1].splitlines()[0].split()
    done = sendbench("run", "live-sendgrid", *few, *whole, folder=tmp_path, env=home)
    assert "no good: ***" in done.stderr
    assert_clean(tmp_path, planned.stdout, planned.stderr, done.stdout, done.stderr)
