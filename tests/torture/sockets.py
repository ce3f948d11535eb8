"""The same servers that say anything, over real sockets: our own clients, their pool, and deadlines."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from bench.model import Outcome
from tests.integration.clients import nothing_left
from tests.torture.counted import Counted
from tests.torture.fuzzing import GOOD, any_reply, any_response
from tests.transports.wire import HOST, Sender, sender

TIMEOUT_S = 0.05
HONEST = {"EHLO": b"250-here\r\n250 PIPELINING\r\n", "DATA": b"354 go\r\n", "": b"220 here\r\n"}
BODY = "the message"
TAKEN = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 0\r\n\r\n"
_SUCCESS = re.compile(rb"HTTP/1\.[01] 2\d\d")
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Liar:
    """Answers as a server should, and now and then not."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.said = 0
        """Replies."""
        self.verdict = b""
        """What was said to the last message, once it had come whole."""

    async def smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._answer("", writer)
        while line := await reader.readline():
            verb = line[:4].decode("latin-1").upper()
            if not (await self._answer(verb, writer)).startswith(b"354"):
                continue
            await reader.readuntil(b"\r\n.\r\n")
            await self._answer(BODY, writer)

    async def _answer(self, verb: str, writer: asyncio.StreamWriter) -> bytes:
        honest = self._rng.random() < 0.9
        reply = HONEST.get(verb, b"250 2.0.0 ok\r\n") if honest else any_reply(self._rng)
        if verb == BODY:
            self.verdict = reply
        await self._say(reply, writer, leave=not honest and self._rng.random() < 0.5)
        return reply

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
            honest = self._rng.random() < 0.5
            self.verdict = TAKEN if honest else any_response(self._rng)
            await self._say(self.verdict, writer, leave=not honest and self._rng.random() < 0.7)

    async def _say(self, reply: bytes, writer: asyncio.StreamWriter, *, leave: bool) -> None:
        self.said += 1
        at = self._rng.randrange(len(reply) + 1) if self._rng.random() < 0.2 else 0
        for piece in filter(None, (reply[:at], reply[at:])):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if leave:
            raise ConnectionAbortedError


def fuzz_sockets(count: int, seed: int = 1) -> Counted:
    """So many replies over real sockets: no exception, nothing beyond its time, nothing left open, and
    accepted is only what was answered so."""
    found = Counted()
    for proto in ("smtp", "http"):
        anyio.run(partial(_talk, proto, count // 2, seed, found))
    return found


async def _talk(proto: str, count: int, seed: int, found: Counted) -> None:
    liar, tasks = _Liar(seed), set[asyncio.Task[None]]()
    speak: Speak = liar.smtp if proto == "smtp" else liar.http

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    async with nothing_left():
        server = await asyncio.start_server(one, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        provider = None if proto == "smtp" else "sendgrid"
        async with sender(port, client="wire", provider=provider, timeout_s=TIMEOUT_S) as line:
            await _send_until(liar, count, line, proto, found)
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    found.done += liar.said


async def _send_until(liar: _Liar, count: int, line: Sender, proto: str, found: Counted) -> None:
    outcomes = dict.fromkeys(Outcome, 0)
    while liar.said < count:
        liar.verdict = b""
        try:
            with anyio.fail_after(20 * TIMEOUT_S):
                sent = await line.send()
        except Exception as error:
            found.blame(f"{proto}: {type(error).__name__}: {error} after {liar.verdict[:100]!r}")
            continue
        outcomes[sent.answer.outcome] += 1
        good = (GOOD if proto == "smtp" else _SUCCESS).match(liar.verdict)
        if sent.answer.outcome is Outcome.ACCEPTED and not good:
            found.blame(f"{proto}: accepted after {liar.verdict[:100]!r}")
    for outcome, times in outcomes.items():
        found.facts[f"{proto} {outcome.value}"] = times
