"""The other tools: how each is told to do the same work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from tests.peers.servers import find
from tests.peers.work import Job, Side

PROGRAMS = Path(__file__).parent / "programs"
INSTALLED = Path(".peers")
"""Where `make peers` puts what is from npm and PyPI."""
LOCUST = INSTALLED / "venv/bin/locust"
NODE_MODULES = INSTALLED / "npm/node_modules"

SOURCE_HEAD_BYTES = 166
"""What smtp-source puts before its payload, with the addresses below and CR LF."""
WRK_PER_S = 50_000
"""wrk sends for whole seconds, not so many messages: about as many as it sends in one."""


def _source(job: Job) -> list[str]:
    work = job.work
    return [
        "smtp-source", *(["-d"] if work.pooled else []),
        "-s", str(work.sessions), "-m", str(work.messages), "-l", str(work.size_bytes - SOURCE_HEAD_BYTES),
        "-M", "sendbench.example", "-f", "sender@sendbench.example", "-t", "recipient@sendbench.example",
        f"127.0.0.1:{job.port}",
    ]  # fmt: skip


def _loop(job: Job) -> list[str]:
    work = job.work
    figures = map(str, (job.port, work.messages, work.sessions, work.size_bytes))
    return [sys.executable, str(PROGRAMS / "aiosmtplib_pool.py"), *figures]


def _nodemailer(job: Job) -> list[str]:
    work = job.work
    figures = map(str, (job.port, work.messages, work.sessions, work.size_bytes))
    return ["node", str(PROGRAMS / "nodemailer_pool.js"), *figures]


def _wrk(job: Job) -> list[str]:
    seconds = max(1, round(job.work.messages / WRK_PER_S))
    script = str(PROGRAMS / "post.lua")
    return ["wrk", "-t", "1", "-c", str(job.work.sessions), "-d", f"{seconds}s", "-s", script, job.url]


def _hey(job: Job) -> list[str]:
    work = job.work
    counts = ["-n", str(work.messages), "-c", str(work.sessions), "-cpus", "1"]
    return ["hey", *counts, "-m", "POST", "-T", "message/rfc822", "-D", job.body, job.url]


def _h2load(job: Job) -> list[str]:
    work = job.work
    counts = ["-n", str(work.messages), "-c", str(work.sessions), "-t", "1", "-m", "1"]
    return ["h2load", "--h1", *counts, "-H", "Content-Type: message/rfc822", "-d", job.body, job.url]


def _autocannon(job: Job) -> list[str]:
    work = job.work
    script = str(NODE_MODULES / "autocannon/autocannon.js")
    counts = ["-a", str(work.messages), "-c", str(work.sessions), "-n", "-m", "POST"]
    return ["node", script, *counts, "-H", "Content-Type=message/rfc822", "-i", job.body, job.url]


def _locust(job: Job) -> list[str]:
    work = job.work
    users = ["-u", str(work.sessions), "-r", str(work.sessions), "--messages", str(work.messages)]
    return [
        str(LOCUST), "-f", str(PROGRAMS / "locustfile.py"), "--headless", "--only-summary",
        "--loglevel", "WARNING", *users, "--body", job.body, "--host", job.url.rstrip("/"),
    ]  # fmt: skip


def _httpx(job: Job) -> list[str]:
    figures = [job.url, str(job.work.messages), str(job.work.sessions), job.body]
    return [sys.executable, str(PROGRAMS / "httpx_loop.py"), *figures]


def _debian(program: str, package: str) -> Callable[[], str | None]:
    """The version of a program's Debian package, or only that it is there."""

    def version() -> str | None:
        if find(program) is None:
            return None
        if find("dpkg-query") is None:
            return "there"
        query = ["dpkg-query", "-W", "-f", "${Version}", package]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "there"

    return version


def _npm(package: str) -> Callable[[], str | None]:
    def version() -> str | None:
        manifest = NODE_MODULES / package / "package.json"
        if find("node") is None or not manifest.exists():
            return None
        return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])

    return version


def _locust_version() -> str | None:
    if not LOCUST.exists():
        return None
    told = subprocess.run([str(LOCUST), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", told)
    return found and found[0]


SMTP_SOURCE = Side("smtp-source", _debian("smtp-source", "postfix"), _source)
AIOSMTPLIB = Side("aiosmtplib", lambda: metadata.version("aiosmtplib"), _loop)
NODEMAILER = Side(
    "nodemailer",
    _npm("nodemailer"),
    _nodemailer,
    environment=lambda job: {"NODE_PATH": str(NODE_MODULES.resolve())},
)
WRK = Side("wrk", _debian("wrk", "wrk"), _wrk, environment=lambda job: {"BODY": job.body}, timed=True)
HEY = Side("hey", _debian("hey", "hey"), _hey)
H2LOAD = Side("h2load", _debian("h2load", "nghttp2-client"), _h2load)
AUTOCANNON = Side("autocannon", _npm("autocannon"), _autocannon)
LOCUST_FAST = Side("locust", _locust_version, _locust)
HTTPX = Side("httpx", lambda: metadata.version("httpx"), _httpx)
