"""Clients of either transport under one interface, and what this process holds while they are at work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from bench.mock.spec import Ready
from bench.model import Auth, Secret, SmtpOptions, TlsMode, Transport
from tests.transports.wire import ScriptedHttp, ScriptedSmtp, Sender, sender

RECIPIENTS = ("a@x.example", "b@x.example")
OK = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
ONE_BY_ONE = SmtpOptions(pipelining="off", chunking="off")
"""What all clients can do; what extensions save is for the tests of those that use them."""
Script = ScriptedSmtp | ScriptedHttp


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one transport."""

    transport: Transport
    name: str

    @property
    def over_smtp(self) -> bool:
        return self.transport is Transport.SMTP

    @property
    def last(self) -> str:
        """The step whose answer decides about a message."""
        return "body" if self.over_smtp else "http"

    @property
    def taken(self) -> str:
        return "250 taken" if self.over_smtp else OK

    def script(self, **answers: tuple[str, ...]) -> Script:
        """A server that takes messages, but for these answers."""
        return ScriptedSmtp(answers) if self.over_smtp else ScriptedHttp({"http": (OK,), **answers})

    @asynccontextmanager
    async def line(
        self,
        port: int,
        *,
        keep: bool = True,
        tls: TlsMode = TlsMode.NONE,
        ca_file: str | None = None,
        auth: Auth | None = None,
        server_name: str = "localhost",
        path: str = "",
        recipients: tuple[str, ...] = RECIPIENTS[:1],
        timeout_s: float = 5.0,
    ) -> AsyncIterator[Sender]:
        """A sender by this client."""
        provider = None if self.over_smtp else "sendgrid" if path else "generic"
        async with sender(
            port, provider=provider, client=self.name, smtp=ONE_BY_ONE, keep=keep, tls=tls, ca_file=ca_file,
            auth=auth, server_name=server_name, path=path, recipients=recipients, timeout_s=timeout_s,
        ) as line:  # fmt: skip
            yield line

    def line_to(
        self, ready: Ready, *, keep: bool = True, server_name: str = "localhost", password: str = ""
    ) -> AbstractAsyncContextManager[Sender]:
        """A sender to our mock, with TLS and its credentials or a wrong password."""
        if self.over_smtp:
            assert ready.smtp is not None
            port, path, tls, auth = ready.smtp[1], "", TlsMode.STARTTLS, ready.credentials.smtp
        else:
            url = urlsplit(ready.api["sendgrid"])
            assert url.port is not None
            port, path, tls, auth = url.port, url.path, TlsMode.IMPLICIT, ready.credentials.api["sendgrid"]
        assert auth is not None
        auth = replace(auth, password=Secret(password)) if password else auth
        return self.line(
            port, keep=keep, tls=tls, ca_file=ready.ca_file, auth=auth, server_name=server_name, path=path
        )


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds: threads, tasks, and sockets by the kernel's number for them."""

    threads: frozenset[threading.Thread]
    tasks: frozenset[object]
    sockets: frozenset[str]

    @classmethod
    def now(cls) -> Holdings:
        return cls(
            frozenset(threading.enumerate()), frozenset(asyncio.all_tasks()), frozenset(_open_sockets())
        )

    def added_to(self, before: Holdings) -> list[object]:
        return [
            *(self.threads - before.threads), *(self.tasks - before.tasks), *(self.sockets - before.sockets),
        ]  # fmt: skip


def _open_sockets() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one the folder is read by
            target = str(descriptor.readlink())
            if target.startswith("socket:"):
                yield target


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Whatever the block takes is given back, within a second of its end."""
    before = Holdings.now()
    yield
    deadline = anyio.current_time() + 1
    while (added := Holdings.now().added_to(before)) and anyio.current_time() < deadline:  # noqa: ASYNC110  # nothing tells
        await anyio.sleep(0.002)
    assert added == []
