"""Two servers that are libraries, each in a program of a few lines: Python's aiosmtpd, npm's smtp-server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.peers import require_program
from tests.servers.place import (
    PASSWORD,
    REFUSED,
    UNPACKED,
    USER,
    MailServer,
    free_port,
    new_place,
    require_file,
    serving,
)

PROGRAMS = Path(__file__).parent / "programs"


@contextmanager
def start_aiosmtpd() -> Iterator[MailServer]:
    """Run aiosmtpd by the Python that has it."""
    python = require_file(UNPACKED / "venv/bin/python", "run `make servers`")
    with _started("aiosmtpd", [str(python), str(PROGRAMS / "aiosmtpd_server.py")]) as server:
        yield server


@contextmanager
def start_smtp_server() -> Iterator[MailServer]:
    """Run npm's smtp-server."""
    node = require_program("node", "nodejs")
    modules = require_file(UNPACKED / "npm/node_modules", "run `make servers`")
    with _started("smtp-server", [node, str(PROGRAMS / "smtp_server.js")], modules=str(modules)) as server:
        yield server


@contextmanager
def _started(name: str, command: list[str], **more: str) -> Iterator[MailServer]:
    with new_place(name) as place:
        mail = place.folder / "mail"
        mail.mkdir()
        port = free_port()
        settings = {
            "port": str(port), "cert": str(place.certificate), "key": str(place.key),
            "user": USER, "password": PASSWORD, "refused": REFUSED, "folder": str(mail), **more,
        }  # fmt: skip
        with serving(name, place, [*command, json.dumps(settings)], port, mail) as server:
            yield server
