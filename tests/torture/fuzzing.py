"""Servers that say anything: to our clients' machines, without sockets.

A part is a function of how often; the short tier calls the same functions with small numbers.
"""

from __future__ import annotations

import gc
import random
import re
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.model import Outcome
from bench.protocol.http_client import ResponseError, ResponseReader
from bench.providers import PROVIDERS
from bench.providers.base import Response
from tests.protocol.smtp_faults import ROWS
from tests.protocol.talking import LOST, PAYLOAD, STUCK, TIMEOUT, Talk
from tests.torture.counted import Counted

GROWTH_LIMIT_BYTES = 16 << 20
STEP_LIMIT_S = 0.05
"""Of CPU time: what the machine does meanwhile is not the parser's affair."""


_PIECES = (
    b"250 ok", b"250-ok", b"220 here", b"354 go", b"235 in", b"334 ", b"421 bye", b"451 later", b"550 no",
    b"554 5.6.0 no", b"250 2.0.0 queued as 1A", b"250-PIPELINING", b"250 CHUNKING", b"250-AUTH PLAIN LOGIN",
    b"250 STARTTLS", b"25", b"2500 x", b"2_5", b" 250 ok", b"\x00", b"\xff\xfe", b"\x1b[31m", b"x" * 300,
)  # fmt: skip
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n")
GOOD = re.compile(rb"2\d\d(?:[ -]|\r?\n)")
BODY = PAYLOAD[-10:]


def any_reply(rng: random.Random) -> bytes:
    """Mostly a reply; now and then what no server should say."""
    reply = b"".join(
        rng.choice(_PIECES) + rng.choice(_ENDS) for _ in range(rng.choices((1, 2, 3), (8, 2, 1))[0])
    )
    for _ in range(rng.choices((0, 1, 2), (8, 1, 1))[0]):
        at = rng.randrange(len(reply) + 1)
        reply = reply[:at] + bytes([rng.randrange(256)]) + reply[at + 1 :]
    return reply


@contextmanager
def _quick_collections() -> Iterator[None]:
    """What is there already is not searched whenever rubbish is collected: that is not the parser's time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_quick_collections()
def fuzz_smtp(count: int, seed: int = 1) -> Counted:
    """So many replies to our SMTP client, sans I/O: no exception, no long step, and never accepted unless the
    first thing said after the message was a 2yz."""
    rng, found = random.Random(seed), Counted()
    before, slowest, accepted = rss(), 0.0, 0
    while found.done < count:
        row = rng.choice(ROWS)
        talk, after = Talk(rng.choice(ROWS).config if rng.random() < 0.2 else row.config), b""
        talk.begin()
        script = [each for each in row.replies if each not in (LOST, TIMEOUT, STUCK)]
        for number in range(rng.randint(1, 12)):
            if talk.machine.answer is not None:
                break
            honest = number < len(script) and rng.random() < 0.8
            said = raw_reply(script[number]) if honest else any_reply(rng)
            found.done += 1
            for piece in [said[at : at + 1] for at in range(len(said))] if rng.random() < 0.05 else [said]:
                after += piece if BODY in talk.wire else b""
                begun = time.thread_time()
                try:
                    talk.hear(piece)
                except Exception as error:
                    found.blame(f"{type(error).__name__}: {error} at {said!r}")
                slowest = max(slowest, time.thread_time() - begun)
        answer = talk.machine.answer
        if answer is not None and answer.outcome is Outcome.ACCEPTED:
            accepted += 1
            if not GOOD.match(after):
                found.blame(f"accepted after {after!r}")
    return _measured(found, before, slowest, accepted=accepted)


def raw_reply(reply: str) -> bytes:
    return reply.encode("latin-1").replace(b"\n", b"\r\n") + b"\r\n"


def _measured(found: Counted, before: int, slowest: float, **facts: int) -> Counted:
    """What a fuzzer's steps cost."""
    growth = rss() - before
    found.facts = {
        **facts,
        "slowest step ms": round(slowest * 1e3, 1),
        "growth MiB": round(growth / 2**20, 1),
    }
    if slowest > STEP_LIMIT_S:
        found.blame(f"a step took {slowest * 1e3:.0f} ms")
    if growth > GROWTH_LIMIT_BYTES:
        found.blame(f"grew by {growth >> 20} MiB")
    return found


@_quick_collections()
def fuzz_http(count: int, seed: int = 1) -> Counted:
    """So many responses to our HTTP client and, where it takes them, to every provider's judge."""
    rng, found = random.Random(seed), Counted()
    providers = list(PROVIDERS.values())
    before, slowest, read = rss(), 0.0, 0
    for _ in range(count):
        raw = any_response(rng)
        begun = time.thread_time()
        try:
            reader = ResponseReader()
            reply = reader.receive(raw)
            reply = reply if reply is not None else reader.end()
            if reply is not None:
                read += 1
                headers = tuple(
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.head.items()
                )
                response = Response(reply.head.status, headers, reply.body)
                provider = rng.choice(providers)
                judged = provider.judge(response)
                provider.judge_batch(response, rng.randint(1, 5))
                if judged.outcome is Outcome.ACCEPTED and not 200 <= response.status < 300:
                    found.blame(f"{provider.name} accepted {response.status}")
        except ResponseError:
            pass
        except Exception as error:
            found.blame(f"{type(error).__name__}: {error} at {raw[:200]!r}")
        slowest = max(slowest, time.thread_time() - begun)
    found.done = count
    return _measured(found, before, slowest, read=read)


_BODIES = (
    b"", b"{}", b'{"id":"x"}', b'{"ErrorCode":0,"MessageID":"b7bc2f4a"}', b"[" * 3000, b'{"a":' * 500,
    b'{"message_ids":["x"],"success":true}', b"<html>", b"\xff\xfe", b'{"Messages":[{"Status":"success"}]}',
    b'{"messageId":"<x@y>"}', b'{"data":{"msg_id":"x"}}', b'{"MessageId":"x"}', b"null", b"1e999",
)  # fmt: skip
_HEADERS = (
    b"Content-Type: application/json", b"X-Message-Id: abc", b"X-Message-Id: def", b"Connection: close",
    b"Retry-After: 5", b"Transfer-Encoding: chunked", b"Content-Length: 3", b"Content-Encoding: gzip",
    b"X: " + b"y" * 200, b": empty", b"Bad Header: x", b" folded",
)  # fmt: skip


def any_response(rng: random.Random) -> bytes:
    """Mostly a response; now and then what no server should say."""
    body = rng.choice(_BODIES)
    status = rng.choice((200, 200, 201, 202, 204, 301, 400, 401, 409, 429, 500, 503, 99, 1000))
    lines = [b"HTTP/1.%d %d x" % (rng.choice((1, 1, 1, 0, 2)), status)]
    lines += rng.sample(_HEADERS, rng.choices((0, 1, 2, 3), (3, 4, 2, 1))[0])
    if rng.random() < 0.8:
        lines.append(b"Content-Length: %d" % max(0, len(body) + rng.choices((0, 1, -1), (18, 1, 1))[0]))
    raw = b"\r\n".join(lines) + b"\r\n\r\n" + body
    for _ in range(rng.choices((0, 1, 3), (8, 1, 1))[0]):
        at = rng.randrange(len(raw))
        raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
    return raw


def splits(count: int, seed: int = 1) -> Counted:
    """However a server's replies are cut, the client comes to the same end."""
    rng, found = random.Random(seed), Counted()
    rows = [row for row in ROWS if not row.one_segment and not {LOST, TIMEOUT, STUCK} & set(row.replies)]
    for _ in range(count):
        row = rng.choice(rows)
        ends = []
        for cut in (False, True):
            talk = Talk(row.config)
            talk.begin()
            for reply in row.replies:
                raw = raw_reply(reply)
                at = sorted(rng.randrange(len(raw) + 1) for _ in range(rng.randint(1, 4))) if cut else []
                for begin, end in zip([0, *at], [*at, len(raw)], strict=True):
                    if raw[begin:end]:
                        talk.hear(raw[begin:end])
            answer = talk.machine.answer
            verdict = answer and (answer.outcome, answer.code, answer.error, answer.anomaly)
            ends.append((verdict, talk.wire))
        if ends[0] != ends[1]:
            found.blame(f"{row.name}: {ends}")
    found.done = count
    return found


def rss() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
