"""The parts of the long tier: each does one thing many times over and says what it counted.

A part is a function of how often; the short tier calls the same functions with small numbers.
"""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from bench.errors import StorageError
from bench.model import Outcome
from bench.protocol.http_client import ResponseError, ResponseReader
from bench.providers import PROVIDERS
from bench.providers.base import Response
from bench.store import RunWriter, frames, open_run
from tests.protocol.smtp_faults import ROWS
from tests.protocol.talking import LOST, PAYLOAD, STUCK, TIMEOUT, Talk
from tests.store.samples import make_case, make_sample, make_scenario, start
from tests.store.test_crash import check_cut_off, child, kill_after

ROOT = Path(__file__).parents[2]
STEP_LIMIT_S = 0.05
GROWTH_LIMIT_BYTES = 16 << 20


@dataclass
class Counted:
    """What a part has done, and everything that was wrong."""

    done: int = 0
    facts: dict[str, float | int | str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def blame(self, what: str) -> None:
        """Note something wrong; a hundred of a kind are enough to see it."""
        if len(self.wrong) < 100:
            self.wrong.append(what)


# ---------------------------------------------------------------------- replies


_PIECES = (
    b"250 ok", b"250-ok", b"220 here", b"354 go", b"235 in", b"334 ", b"421 bye", b"451 later", b"550 no",
    b"554 5.6.0 no", b"250 2.0.0 queued as 1A", b"250-PIPELINING", b"250 CHUNKING", b"250-AUTH PLAIN LOGIN",
    b"250 STARTTLS", b"25", b"2500 x", b"2_5", b" 250 ok", b"\x00", b"\xff\xfe", b"\x1b[31m", b"x" * 300,
)  # fmt: skip
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n")
_GOOD = re.compile(rb"2\d\d(?:[ -]|\r?\n)")
BODY = PAYLOAD[-10:]


def _reply(rng: random.Random) -> bytes:
    """Mostly a reply; now and then what no server should say."""
    reply = b"".join(
        rng.choice(_PIECES) + rng.choice(_ENDS) for _ in range(rng.choices((1, 2, 3), (8, 2, 1))[0])
    )
    for _ in range(rng.choices((0, 1, 2), (8, 1, 1))[0]):
        at = rng.randrange(len(reply) + 1)
        reply = reply[:at] + bytes([rng.randrange(256)]) + reply[at + 1 :]
    return reply


def fuzz_smtp(count: int, seed: int = 1) -> Counted:
    """So many replies to our SMTP client, sans I/O: no exception, no long step, and never accepted unless the
    first thing said after the message was a 2yz."""
    rng, found = random.Random(seed), Counted()
    before, slowest, accepted = _rss(), 0.0, 0
    while found.done < count:
        row = rng.choice(ROWS)
        talk, after = Talk(rng.choice(ROWS).config if rng.random() < 0.2 else row.config), b""
        talk.begin()
        script = [each for each in row.replies if each not in (LOST, TIMEOUT, STUCK)]
        for number in range(rng.randint(1, 12)):
            if talk.machine.answer is not None:
                break
            honest = number < len(script) and rng.random() < 0.8
            said = _raw(script[number]) if honest else _reply(rng)
            found.done += 1
            for piece in [said[at : at + 1] for at in range(len(said))] if rng.random() < 0.05 else [said]:
                after += piece if BODY in talk.wire else b""
                begun = time.perf_counter()
                try:
                    talk.hear(piece)
                except Exception as error:
                    found.blame(f"{type(error).__name__}: {error} at {said!r}")
                slowest = max(slowest, time.perf_counter() - begun)
        answer = talk.machine.answer
        if answer is not None and answer.outcome is Outcome.ACCEPTED:
            accepted += 1
            if not _GOOD.match(after):
                found.blame(f"accepted after {after!r}")
    return _measured(found, before, slowest, accepted=accepted)


def _raw(reply: str) -> bytes:
    return reply.encode("latin-1").replace(b"\n", b"\r\n") + b"\r\n"


def _measured(found: Counted, before: int, slowest: float, **facts: int) -> Counted:
    """What a fuzzer's steps cost."""
    growth = _rss() - before
    found.facts = {
        **facts,
        "slowest step ms": round(slowest * 1e3, 1),
        "growth MiB": round(growth / 2**20, 1),
    }
    if growth > GROWTH_LIMIT_BYTES:
        found.blame(f"grew by {growth >> 20} MiB")
    return found


def fuzz_http(count: int, seed: int = 1) -> Counted:
    """So many responses to our HTTP client and, where it takes them, to every provider's judge."""
    rng, found = random.Random(seed), Counted()
    providers = list(PROVIDERS.values())
    before, slowest, read = _rss(), 0.0, 0
    for _ in range(count):
        raw = _response(rng)
        begun = time.perf_counter()
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
        slowest = max(slowest, time.perf_counter() - begun)
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


def _response(rng: random.Random) -> bytes:
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
                raw = _raw(reply)
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


# ---------------------------------------------------------------------- storage


def kill_9(count: int, seed: int = 1) -> Counted:
    """A writing process killed at so many random moments: what was acknowledged is there."""
    rng, found = random.Random(seed), Counted()
    lost = 0
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            with child(Path(folder)) as (process, run):
                acknowledged, started = kill_after(process, rng.randrange(1, 800))
            begun = time.perf_counter()
            try:
                stored = open_run(run)
                check_cut_off(stored, acknowledged, started)
                lost += stored.table()["outcome"].to_pylist().count("unknown")
            except AssertionError as error:
                found.blame(f"kill {number}: {error}")
            found.facts["slowest to open s"] = round(
                max(float(found.facts.get("slowest to open s", 0)), time.perf_counter() - begun), 2
            )
        found.done += 1
    found.facts["unknown in all"] = lost
    return found


class _Memory:
    """The file layer of a machine without power backup: what was not synced is gone when it stops."""

    def __init__(self) -> None:
        self.written: dict[int, int] = {}
        self.synced: dict[int, int] = {}

    def write(self, fd: int, data: bytes | memoryview) -> int:
        count = os.write(fd, data)
        self.written[fd] = self.written.get(fd, 0) + count
        return count

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)
        self.synced[fd] = self.written.get(fd, 0)


@contextmanager
def _file_layer(**functions: Callable[..., object]) -> Iterator[None]:
    with mock.patch.object(frames.FrameFile.__init__, "__kwdefaults__", functions):
        yield


def power_loss(count: int, seed: int = 1) -> Counted:
    """So many moments at which everything that had not been synced is lost, and maybe a part of a page more
    was written: the run opens, and no more than a second of rows is missing."""
    rng, found = random.Random(seed), Counted()
    worst = 0.0
    for number in range(count):
        layer = _Memory()
        with tempfile.TemporaryDirectory() as folder:
            case = make_case(messages=None)
            with _file_layer(write=layer.write, sync=layer.sync):
                writer = start(Path(folder), make_scenario(case))
            stop = time.monotonic() + rng.uniform(0.2, 2.2)
            times = list[float]()
            while (now := time.monotonic()) < stop:
                seq = len(times)
                if seq % 100 == 0:
                    writer.reserve(seq, case.id)
                writer.append(make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}"))
                times.append(now)
                time.sleep(0.001)
            ended = time.monotonic()
            log = writer.folder / "samples.log"
            data = log.read_bytes()
            synced = max(layer.synced.values(), default=0)
            lost = Path(shutil.copytree(writer.folder, Path(folder) / "lost"))
            kept = data[: synced + (rng.randrange(len(data) - synced + 1) if rng.random() < 0.5 else 0)]
            (lost / "samples.log").write_bytes(kept + rng.randbytes(rng.choice((0, 0, 7, 300))))
            try:
                outcomes = open_run(lost).table()["outcome"].to_pylist()
                rows = sum(outcome != "unknown" for outcome in outcomes)
                missing_s = ended - times[rows] if rows < len(times) else 0.0
                worst = max(worst, missing_s)
                if missing_s > 1.2:
                    found.blame(f"loss {number}: {missing_s:.2f} s of rows are missing")
            except Exception as error:
                found.blame(f"loss {number}: {type(error).__name__}: {error}")
            writer.finish("complete")
        found.done += 1
    found.facts["most that was lost s"] = round(worst, 2)
    return found


def disk_full(count: int) -> Counted:
    """The disk is full at write number 1, 2, 3 ...: the run is invalid, all earlier rows can be read, and no
    message is taken after the error."""
    found = Counted()
    for number in range(1, count + 1):
        calls = 0

        def write(fd: int, data: bytes | memoryview, number: int = number) -> int:
            nonlocal calls
            calls += 1
            if calls == number:  # a full disk takes a part first
                return os.write(fd, bytes(data)[: max(1, len(data) // 2)])
            if calls > number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.write(fd, data)

        with tempfile.TemporaryDirectory() as folder, _file_layer(write=write, sync=os.fdatasync):
            _fill_disk(Path(folder), number, found)
        found.done += 1
    return found


def _fill_disk(folder: Path, number: int, found: Counted) -> None:
    case = make_case(messages=None)
    try:
        writer = start(folder, make_scenario(case))
    except StorageError:
        return  # not even begun: nothing was sent
    sent = _send_until_refused(writer)
    try:
        stored = open_run(writer.folder)
        outcomes = stored.table()["outcome"].to_pylist()
        if stored.manifest.state != "invalid":
            found.blame(f"write {number}: the run is {stored.manifest.state}")
        if outcomes.count("accepted") != writer.written:
            found.blame(f"write {number}: {outcomes.count('accepted')} rows of {writer.written}")
        if len(outcomes) < sent:
            found.blame(f"write {number}: {sent} messages were sent and {len(outcomes)} are on record")
    except Exception as error:
        found.blame(f"write {number}: {type(error).__name__}: {error}")


def _send_until_refused(writer: RunWriter) -> int:
    case = make_case(messages=None)
    sent = 0
    try:
        with writer:
            for seq in range(10**6):
                if seq % 100 == 0:
                    writer.reserve(seq, case.id)
                sent += 1
                writer.append(make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}"))
                if seq % 10 == 9:
                    writer.flush()
    except StorageError:
        pass
    return sent


# ------------------------------------------------------------------ by pytest


def pytest_part(*arguments: str, **environment: str) -> Counted:
    """Tests of the short tier with other numbers, in a process of their own."""
    found = Counted()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    words = re.findall(r"(\d+) (passed|failed|error)", done.stdout)
    for count, word in words:
        found.facts[word] = int(count)
        found.done += int(count)
    if done.returncode:
        found.blame("; ".join(line for line in done.stdout.splitlines() if line.startswith("FAILED"))[:2000])
    return found


def command_part(module: str, *arguments: str) -> Counted:
    """Another long test of its own, which says by its exit code whether all held."""
    found = Counted(1)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    rows = [line.split("|")[1:5] for line in done.stdout.splitlines() if line.startswith("| ")]
    found.facts = {what.strip(): value.strip() for what, value, _, _ in rows[1:]}
    if done.returncode:
        broken = [what.strip() for what, _, _, verdict in rows if "BROKEN" in verdict]
        found.blame(", ".join(broken) or done.stderr[-500:])
    return found


def _rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
