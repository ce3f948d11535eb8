"""httpx.AsyncClient as its documentation shows it: one client, as many tasks as connections.

usage: httpx_loop.py URL MESSAGES SESSIONS BODY_FILE
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx


async def post(client: httpx.AsyncClient, url: str, body: bytes, turns: Iterator[int]) -> None:
    """POST as long as there are turns left."""
    for _ in turns:
        answer = await client.post(url, content=body, headers={"Content-Type": "message/rfc822"})
        answer.raise_for_status()


async def main(url: str, messages: int, sessions: int, body: bytes) -> None:
    """All tasks take their turns from the same count."""
    turns = iter(range(messages))
    limits = httpx.Limits(max_connections=sessions, max_keepalive_connections=sessions)
    async with httpx.AsyncClient(limits=limits) as client:
        await asyncio.gather(*(post(client, url, body, turns) for _ in range(sessions)))


if __name__ == "__main__":
    url, messages, sessions, body = sys.argv[1:]
    asyncio.run(main(url, int(messages), int(sessions), Path(body).read_bytes()))
