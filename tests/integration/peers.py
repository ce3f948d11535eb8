"""Servers that nobody here wrote: Postfix's `smtp-sink` and nginx, on loopback.

Each runs in the foreground as a child of the test, writes what it received where the test can
read it, and is ended by the test that started it.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

HOST = "127.0.0.1"
START_LIMIT_S = 10.0
STOP_LIMIT_S = 5.0
ATTEMPTS = 5
"""How often a server is started anew when somebody else took its port meanwhile."""

NGINX_CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format taken escape=json '{{"status": $status, "method": "$request_method", "path": "$uri",'
        ' "length": "$content_length", "key": "$http_x_sendbench_id", "connection": $connection}}';
    access_log {folder}/access.log taken;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    keepalive_requests 1000000;
    default_type text/plain;
    server {{
        listen {host}:{http_port};
        listen {host}:{https_port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        location = /send {{ return 202; }}
        location = /400 {{ return 400 "bad request"; }}
        location = /401 {{ return 401 "no such key"; }}
        location = /429 {{ return 429 "slow down"; }}
        location = /500 {{ return 500 "broken"; }}
        location = /503 {{ return 503 "come back later"; }}
        location / {{ return 404; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class SmtpSink:
    """A running `smtp-sink`: plain SMTP with PIPELINING, takes every message."""

    host: str
    port: int
    folder: Path

    def dumps(self) -> list[bytes]:
        """One dump a message, in no order: lines such as X-Mail-Args and X-Rcpt-Args, then the message."""
        return [path.read_bytes() for path in self.folder.iterdir()]

    def wait_for_dumps(self, count: int) -> list[bytes]:
        """At least `count` dumps; raises AssertionError when they do not come."""
        wait_until(lambda: len(self.dumps()) >= count, f"{count} messages in smtp-sink")
        return self.dumps()


@dataclass(frozen=True, slots=True)
class Request:
    """One line of nginx's access log."""

    status: int
    method: str
    path: str
    length: int
    key: str
    connection: int


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx: POST /send is answered 202, /400 /401 /429 /500 /503 with that status."""

    host: str
    http_port: int
    https_port: int
    ca_file: Path
    folder: Path

    @property
    def http_url(self) -> str:
        """The base address without TLS."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def https_url(self) -> str:
        """The base address with TLS; the certificate is signed by `ca_file`."""
        return f"https://{self.host}:{self.https_port}"

    def requests(self) -> list[Request]:
        """What it answered, in order of the answers; written a moment after each answer."""
        lines = (self.folder / "access.log").read_text(encoding="utf-8").splitlines()
        return [_request(line) for line in lines]

    def wait_for_requests(self, count: int) -> list[Request]:
        """At least `count` requests; raises AssertionError when they do not come."""
        wait_until(lambda: len(self.requests()) >= count, f"{count} requests in nginx's log")
        return self.requests()


def _request(line: str) -> Request:
    fields = json.loads(line)
    return Request(
        status=fields["status"],
        method=fields["method"],
        path=fields["path"],
        length=int(fields["length"] or 0),
        key=fields["key"],
        connection=fields["connection"],
    )


def require_program(name: str, package: str) -> str:
    """The path of a program; without it the test is skipped, or fails where CI=true."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        reason = f"{name} is not installed (Debian package {package})"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = START_LIMIT_S) -> None:
    """Poll until `condition()` holds; raises AssertionError after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(0.005)


def unused_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listens(port: int) -> bool:
    """Whether 127.0.0.1 accepts connections on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running(command: list[str], ports: list[int], log: Path) -> Iterator[bool]:
    """Run a server until the block ends; yields False if it exited before it listened on all ports."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process,
    ):
        try:
            wait_until(
                lambda: process.poll() is not None or all(listens(port) for port in ports), " ".join(command)
            )
            yield process.poll() is None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End exactly this child."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def start_smtp_sink(*options: str) -> Iterator[SmtpSink]:
    """Run `smtp-sink` with more options, such as `-f RCPT` (refuses it) or `-8` (no 8BITMIME)."""
    program = require_program("smtp-sink", "postfix")
    log = ""
    for _ in range(ATTEMPTS):
        with TemporaryDirectory(prefix="smtp-sink-") as name:
            folder = Path(name, "dumps")
            folder.mkdir()
            [port] = unused_ports(1)
            privileges = _drop_privileges(Path(name), folder)
            command = [program, *privileges, *options, "-d", f"{folder}/m.", f"{HOST}:{port}", "256"]
            with running(command, [port], Path(name, "log")) as started:
                if started:
                    yield SmtpSink(HOST, port, folder)
                    return
            log = Path(name, "log").read_text(encoding="utf-8", errors="replace")
    raise AssertionError(f"smtp-sink did not start: {log}")


def _drop_privileges(*folders: Path) -> list[str]:
    """smtp-sink insists on another user when it is started by root, who then must own the dumps."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    for folder in folders:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return ["-u", "nobody"]


@contextmanager
def start_nginx(folder: Path) -> Iterator[Nginx]:
    """Run nginx with everything it writes under `folder`."""
    program = require_program("nginx", "nginx-light")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    certificate = ca.issue_cert(HOST, "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for index, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(folder / "certificate.pem", append=index > 0)
    for _ in range(ATTEMPTS):
        ports = http_port, https_port = unused_ports(2)
        config = folder / "nginx.conf"
        config.write_text(_nginx_config(folder, http_port, https_port), encoding="utf-8")
        command = [program, "-p", str(folder), "-c", str(config)]
        with running(command, ports, folder / "output.log") as started:
            if started:
                yield Nginx(HOST, http_port, https_port, folder / "ca.pem", folder)
                return
    raise AssertionError(f"nginx did not start: {(folder / 'output.log').read_text(encoding='utf-8')}")


def _nginx_config(folder: Path, http_port: int, https_port: int) -> str:
    # A worker of another user could not enter the private temporary folders of a root's test run.
    user = "user root root;" if os.geteuid() == 0 else ""
    return NGINX_CONFIG.format(
        folder=folder, host=HOST, http_port=http_port, https_port=https_port, user=user
    )
