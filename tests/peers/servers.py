"""What both sides send to: a new `smtp-sink` or nginx for every run, which counts what it took."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.integration.peers import ATTEMPTS, HOST, running, unused_ports
from tests.peers.compare import HarnessError

Result = TypeVar("Result")

PATH_EXTRA = "/usr/sbin:/sbin"
BACKLOG = "1024"

# One short line a request, buffered: what the server notes should not set the pace.
NGINX_CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    log_format taken '$status $content_length';
    access_log {folder}/taken taken buffer=64k;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    server {{
        listen {host}:{port} backlog={backlog};
        location / {{ return 202; }}
    }}
}}
"""


class Kind(Enum):
    """The server of a row."""

    SMTP = "smtp"
    HTTP = "http"
    DUMP = "dump"
    """SMTP that keeps every message, to see how large they are."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a server took in its life."""

    messages: int
    sizes_bytes: frozenset[int]
    """Of the messages (DUMP) or of the bodies (HTTP); SMTP does not tell."""


def find(program: str) -> str | None:
    """Where a program is, in the path or where Debian keeps servers."""
    return shutil.which(program) or shutil.which(program, path=PATH_EXTRA)


def serve(kind: Kind, core: int, work: Callable[[int], Result]) -> tuple[Result, Taken]:
    """Run a server on one core, do the work with its port, end the server and read what it took.

    Raises HarnessError when it does not start.
    """
    for _ in range(ATTEMPTS):
        with TemporaryDirectory(prefix="peers-") as name:
            folder = Path(name)
            [port] = unused_ports(1)
            command = ["taskset", "-c", str(core), *COMMANDS[kind](folder, port)]
            log = folder / "log"
            with running(command, [port], log) as started:
                if started:
                    result = work(port)
            if started:
                return result, COUNTS[kind](folder)
            told = log.read_text(encoding="utf-8", errors="replace")
    raise HarnessError(f"the {kind.value} server did not start: {told.strip()[-300:]}")


def _sink(folder: Path, port: int) -> list[str]:
    return [_program("smtp-sink"), *_unprivileged(), "-c", f"{HOST}:{port}", BACKLOG]


def _dump(folder: Path, port: int) -> list[str]:
    dumps = folder / "dumps"
    dumps.mkdir()
    return [
        _program("smtp-sink"),
        *_unprivileged(folder, dumps),
        "-d",
        f"{dumps}/m.",
        f"{HOST}:{port}",
        BACKLOG,
    ]


def _unprivileged(*folders: Path) -> list[str]:
    """smtp-sink insists on another user when root starts it, who then must own what it writes to."""
    if os.geteuid() != 0:
        return []
    for folder in folders:
        shutil.chown(folder, "nobody")
    return ["-u", "nobody"]


def _nginx(folder: Path, port: int) -> list[str]:
    # A worker of another user could not enter root's temporary folder.
    user = "user root root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    text = NGINX_CONFIG.format(folder=folder, host=HOST, port=port, user=user, backlog=BACKLOG)
    config.write_text(text, encoding="utf-8")
    return [_program("nginx"), "-p", str(folder), "-c", str(config)]


def _program(name: str) -> str:
    found = find(name)
    if found is None:
        raise HarnessError(f"{name} is not installed")
    return found


def _sink_took(folder: Path) -> Taken:
    """smtp-sink writes its counters over and over: the last ones count."""
    counters = re.findall(rb"mesg=(\d+)", (folder / "log").read_bytes())
    return Taken(int(counters[-1]) if counters else 0, frozenset())


def _dump_took(folder: Path) -> Taken:
    return Taken(*_sizes([path.read_bytes() for path in (folder / "dumps").iterdir()]))


def _sizes(dumps: list[bytes]) -> tuple[int, frozenset[int]]:
    """How many dumps, and the sizes of the messages as sent: lines end in CR LF there, LF here.

    smtp-sink puts lines about the envelope and a Received header of its own before the message, and
    an empty line after it.
    """
    messages = [_OWN_LINES.sub(b"", dump, count=1).removesuffix(b"\n") for dump in dumps]
    return len(messages), frozenset(len(text) + text.count(b"\n") for text in messages)


_OWN_LINES = re.compile(rb"\A(?:X-[^\n]*\n)*Received:[^\n]*\n(?:[ \t][^\n]*\n)*")


def _nginx_took(folder: Path) -> Taken:
    """The answered requests; raises HarnessError if one was answered with anything but 202."""
    lines = (folder / "taken").read_text(encoding="ascii").splitlines()
    kinds = set(lines)
    if any(not kind.startswith("202 ") for kind in kinds):
        raise HarnessError(f"nginx answered {sorted(kinds)[:5]} (status, length)")
    return Taken(len(lines), frozenset(int(kind.removeprefix("202 ").replace("-", "0")) for kind in kinds))


COMMANDS = {Kind.SMTP: _sink, Kind.DUMP: _dump, Kind.HTTP: _nginx}
COUNTS = {Kind.SMTP: _sink_took, Kind.DUMP: _dump_took, Kind.HTTP: _nginx_took}
