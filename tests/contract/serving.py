"""One provider's API mock in a thread of the test, as a vendor's SDK is told to address it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from socket import create_server
from tempfile import TemporaryDirectory

import anyio
from anyio.from_thread import start_blocking_portal

from bench.clock import Alarm
from bench.mock.api import serve_api
from bench.mock.certificates import throw_away_authority
from bench.mock.log import TakenLog, read_taken
from bench.mock.service import Decider
from bench.model import Auth, ServiceTime
from bench.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Server:
    """Where the mock is, and what opens it."""

    url: str
    """`http://127.0.0.1:PORT` or `https://...`, without a path: the provider has the server to itself."""
    auth: Auth
    ca_file: Path | None
    log: Path
    taken_log: TakenLog

    @property
    def netloc(self) -> str:
        """`127.0.0.1:PORT`."""
        return self.url.partition("://")[2]

    @property
    def key(self) -> str:
        """The password, key or token."""
        return self.auth.password.reveal()

    @property
    def user(self) -> str:
        """The user, where the provider's credentials have one."""
        return self.auth.user.reveal() if self.auth.user else ""

    def took(self, count: int) -> bool:
        """Whether so many messages have been taken; they enter the log right after their answer is sent."""
        until = time.monotonic() + 2
        while (found := self._taken()) < count and time.monotonic() < until:
            time.sleep(0.005)
        return found == count

    def _taken(self) -> int:
        self.taken_log.flush()
        return sum(1 for _ in read_taken(self.log))


@contextmanager
def serving(provider: Provider, *, tls: bool = False, rate_limit: float | None = None) -> Iterator[Server]:
    """The mock of that provider until the block ends."""
    with (
        TemporaryDirectory() as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            _serving(provider, Path(folder), tls=tls, rate_limit=rate_limit)
        ) as server,
    ):
        yield server


@asynccontextmanager
async def _serving(
    provider: Provider, folder: Path, *, tls: bool, rate_limit: float | None
) -> AsyncIterator[Server]:
    auth, log = provider.mock_credentials(Random(5)), folder / "taken.jsonl"
    listener = create_server(("127.0.0.1", 0))
    with throw_away_authority([]) as authority, TakenLog(str(log)) as taken_log, Alarm() as alarm:
        async with anyio.create_task_group() as tasks:
            await tasks.start(
                partial(
                    serve_api,
                    [listener],
                    ssl_context=authority.server_context(alpn=("http/1.1",)) if tls else None,
                    providers={provider.name: provider},
                    credentials={provider.name: auth},
                    decider=Decider(ServiceTime(), 1),
                    taken_log=taken_log,
                    alarm=alarm,
                    seed=1,
                    at_root=provider.name,
                    rate_limit=rate_limit,
                )
            )
            port = listener.getsockname()[1]
            url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield Server(url, auth, authority.ca_file if tls else None, log, taken_log)
            tasks.cancel_scope.cancel()
