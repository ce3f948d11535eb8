"""The servers, each started once for the tests of a module, and the table of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.servers.nginx import Nginx, start_nginx
from tests.servers.opensmtpd import start_opensmtpd
from tests.servers.place import MailServer
from tests.servers.postfix import start_postfix
from tests.servers.scripted import start_aiosmtpd, start_smtp_server

REPORT = Path(__file__).parents[2] / "reports" / "servers.md"
SERVERS: dict[str, Callable[[], AbstractContextManager[MailServer]]] = {
    "postfix": start_postfix,
    "opensmtpd": start_opensmtpd,
    "aiosmtpd": start_aiosmtpd,
    "smtp-server": start_smtp_server,
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    """Each of the SMTP servers in turn."""
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(autouse=True)
def _empty_mailbox(request: pytest.FixtureRequest) -> None:
    """No test counts what another one sent."""
    if "server" in request.fixturenames:
        running: MailServer = request.getfixturevalue("server")
        running.forget()


@pytest.fixture
def nginx() -> Iterator[Nginx]:
    """nginx with TLS."""
    with start_nginx() as running:
        yield running


@pytest.fixture(scope="session")
def findings() -> Iterator[list[str]]:
    """Rows of the table; written when the last test has ended."""
    rows: list[str] = []
    yield rows
    if rows:
        head = [
            "# Real servers", "",
            "| server | client | connection | options | accepted = arrived | round trips p50 | service p50 |",
            "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
