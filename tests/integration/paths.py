"""A shaper to put between a test's client and its server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.clock import Alarm
from bench.mock.shaper import Shaper
from bench.model import Network, WireConnection

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Path:
    """A shaper, and what it said about its connections."""

    host: str
    port: int
    shaper: Shaper
    wires: list[WireConnection]
    news: asyncio.Event

    async def connect(self, context: ssl.SSLContext | None = None) -> Streams:
        name = "localhost" if context else None
        return await asyncio.open_connection(self.host, self.port, ssl=context, server_hostname=name)

    async def closed(self, connections: int = 1) -> list[WireConnection]:
        """Wait for the shaper to have seen so many connections end."""
        async with asyncio.timeout(10):
            while len(self.wires) < connections:
                self.news.clear()
                await self.news.wait()
        return self.wires


@asynccontextmanager
async def path_to(
    upstream: tuple[str, int], *, rtt: int = 0, jitter: int = 0, bandwidth: float = 0
) -> AsyncIterator[Path]:
    wires: list[WireConnection] = []
    news = asyncio.Event()

    def note(wire: WireConnection) -> None:
        wires.append(wire)
        news.set()

    with Alarm() as alarm:
        shaper = Shaper(
            upstream=upstream,
            network=Network(rtt, jitter, bandwidth),
            alarm=alarm,
            seed=7,
            on_close=note,
        )
        async with shaper as (host, port):
            yield Path(host, port, shaper, wires, news)
