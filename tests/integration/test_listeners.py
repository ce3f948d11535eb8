"""X06, X07 and F19: what listens is for this machine alone, and a mock connects to nobody."""

from __future__ import annotations

import http.client
import ipaddress
import json
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from bench.model import Auth, Secret
from bench.providers import PROVIDERS
from tests.integration.test_cli import ENVIRONMENT, command
from tests.integration.test_mock_api import parts

LISTEN = "0A"


class Socket(NamedTuple):
    """A TCP socket of a process."""

    address: str
    port: int
    peer_port: int
    state: str


def sockets(pid: int) -> list[Socket]:
    """Those that a process and its children hold, as the kernel tells (and `ss` with it)."""
    known = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, remote, state, *rest = line.split()
            host, port = local.split(":")
            known[rest[5]] = Socket(address(host), int(port, 16), int(remote.split(":")[1], 16), state)
    return [known[inode] for each in family(pid) for inode in inodes(each) if inode in known]


def address(text: str) -> str:
    """`0100007F` -> `127.0.0.1`: four bytes at a time, each in the machine's order."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return str(ipaddress.ip_address(raw))


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return [pid, *(one for child in found for one in family(child))]


def inodes(pid: int) -> Iterator[str]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = str(path.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if name.startswith("socket:["):
            yield name[8:-1]


@contextmanager
def mock(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """A mock by the command line; what it says when ready, and (after the block) on stderr."""
    said: list[str] = []
    process = subprocess.Popen(
        command("mock", *arguments), cwd=folder, env={**ENVIRONMENT, **(env or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), said
    finally:
        process.terminate()
        said += process.communicate(timeout=10)[1].splitlines()
    assert process.returncode == 0


def call(ready: dict[str, Any], name: str, host: str | None = None, *, wrong: bool = False) -> int:
    """The status of one message's call, with the mock's credentials or others."""
    url, known = urlsplit(ready["api"][name]), ready["credentials"]["api"][name]
    user = None if known["user"] is None else Secret(known["user"])
    auth = Auth(user, Secret("wrong" if wrong else known["password"]))
    provider = PROVIDERS[name]
    request = provider.request(parts(f"run-{name}"))
    shown = host or f"127.0.0.1:{url.port}"
    whole = replace(request, headers=(*request.headers, ("Host", shown)))
    connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=10)
    headers = dict((*whole.headers, *provider.auth_headers(auth, whole)))
    with closing(connection):
        connection.request(request.method, url.path + request.path, request.body, headers)
        with connection.getresponse() as response:
            response.read()
            return response.status


def send(ready: dict[str, Any], *, login: bool = True) -> None:
    known = ready["credentials"]["smtp"]
    with smtplib.SMTP("127.0.0.1", ready["smtp"]["port"], timeout=10) as client:
        if ready["ca_file"] is not None:
            context = ssl.create_default_context(cafile=ready["ca_file"])
            context.check_hostname = False
            client.starttls(context=context)
        if login:
            client.login(known["user"], known["password"])
        client.sendmail("a@example.org", ["stranger@example.com"], "X-Sendbench-Id: run-1\r\n\r\nx\r\n")


@pytest.mark.parametrize("more", [(), ("--faults", "S05"), ("--rtt", "2ms"), ("--host", "::1")], ids=str)
def test_every_socket_of_a_mock_listens_to_this_machine_alone(tmp_path: Path, more: tuple[str, ...]) -> None:
    with mock(tmp_path, "all", "--tls", "none", *more) as (ready, _):
        found = [each for each in sockets(ready["pid"]) if each.state == LISTEN]
        assert len(found) >= 2
        assert {each.address for each in found} <= {"127.0.0.1", "::1"}


def test_every_socket_of_a_run_listens_to_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "version: 1\nname: x\ntarget: mock\nprovider: sendgrid\nworkers: 2\nnetwork: {rtt: 20ms}\n"
        "load: {model: closed, concurrency: 4, messages: 100000}\n"
    )
    pipe = subprocess.DEVNULL
    process = subprocess.Popen(
        command("run", "x.yaml"), cwd=tmp_path, env=ENVIRONMENT, stdout=pipe, stderr=pipe
    )
    try:
        found: list[Socket] = []
        while len([each for each in found if each.state != LISTEN]) <= 8:  # or the test's time is up
            found = sockets(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert {each.address for each in found if each.state == LISTEN} == {"127.0.0.1"}
    assert {each.address for each in found} == {"127.0.0.1"}, "nothing goes anywhere else either"


def test_a_mock_for_others_warns_and_lets_nobody_in_without_its_credentials(tmp_path: Path) -> None:
    with mock(tmp_path, "all", "--tls", "none", "--host", "0.0.0.0", "--listen-any") as (ready, said):
        assert {each.address for each in sockets(ready["pid"]) if each.state == LISTEN} == {"0.0.0.0"}
        for name in PROVIDERS:
            assert 400 <= call(ready, name, wrong=True) < 500, name
            assert 200 <= call(ready, name, host="mock.lab.example") < 300, name
        with pytest.raises(smtplib.SMTPException, match="530"):
            send(ready, login=False)
        send(ready)
    assert len(said) == 1
    assert "can be reached by other machines" in said[0]


@pytest.mark.parametrize("more", [(), ("--faults", "late.yaml")], ids=["plain", "with faults"])
def test_a_page_of_another_site_gets_403(tmp_path: Path, more: tuple[str, ...]) -> None:
    """DNS rebinding: a name of an attacker's that has been pointed at this machine."""
    (tmp_path / "late.yaml").write_text(
        "name: late\nproto: http\nscript: [{at: status, nth: 1000, do: rst}]\nexpect: {outcome: failed}\n"
    )
    with mock(tmp_path, "api", "--tls", "none", "--log", "taken", *more) as (ready, _):
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2"):
            assert call(ready, "postmark", host) == 403
    assert (tmp_path / "taken").read_bytes() == b""


SITE = """\
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"):
        if event != "socket.getaddrinfo" or args[0] not in ("127.0.0.1", None):
            os.write(2, f"CONNECTED {event} {args}\\n".encode())
            os._exit(99)
sys.addaudithook(watch)
"""


@pytest.mark.parametrize("hook", [True, False], ids=["audited", "uvloop"])
def test_a_mock_connects_to_nobody_whatever_it_is_given(tmp_path: Path, hook: bool) -> None:
    """Audited, with asyncio's own loop; uvloop connects where no hook sees it, so its sockets are counted."""
    (tmp_path / "sitecustomize.py").write_text(SITE + 'sys.modules["uvloop"] = None\n')
    path = {"PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"} if hook else {}
    with mock(tmp_path, "all", "--tls", "none", env=path) as (ready, said):
        listening = {each.port for each in sockets(ready["pid"]) if each.state == LISTEN}
        for name in PROVIDERS:
            assert 200 <= call(ready, name) < 300
        send(ready)
        assert {each.port for each in sockets(ready["pid"])} == listening, "all others are what it accepted"
    assert said == []
