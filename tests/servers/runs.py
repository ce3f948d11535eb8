"""The product as a person runs it, and what must hold of what arrived."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.runs import Finished, finished
from tests.servers.place import DOMAIN, PASSWORD, USER

ROOT = Path(__file__).parents[2]
MESSAGES = 200
BODY = b"".join(
    # Every kind of line that SMTP has to stuff, at ever other offsets, and what could end it too early.
    b".\r\n..\r\n...\r\n.leading dot %d\r\n%b\r\n \r\n\r\n.\r\n\tplain = 100%% %d.\r\n"
    % (n, b"x." * (n % 300), n)
    for n in range(60)
)
EML = (
    b"From: Bench <sender@%b>\r\nTo: Someone <to@%b>\r\nSubject: dots\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    % (DOMAIN.encode(), DOMAIN.encode())
) + BODY
KEY = re.compile(rb"^X-Sendbench-Id: (\S+)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ran:
    """An ended `sendbench run`: its exit code, what it printed, and the run it left behind."""

    code: int
    printed: str
    found: Finished


def run(
    text: str, folder: Path, *, password: str = PASSWORD, files: Mapping[str, bytes] | None = None
) -> Ran:
    """Write a scenario (and `files`) to `folder` and run it there in a process of its own."""
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    secrets = {"BENCH_USER": USER, "BENCH_PASSWORD": password}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench", "run", "scenario.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **secrets},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    latest = folder / "results" / "latest"
    assert latest.exists(), printed
    return Ran(done.returncode, printed, finished(latest.resolve()))


def key_of(message: bytes) -> str:
    """The key of a message; raises AssertionError where it has none, or two."""
    keys = KEY.findall(message.replace(b"\r\n", b"\n").partition(b"\n\n")[0])
    assert len(keys) == 1, message[:2000]
    return bytes(keys[0]).decode()


def body_of(message: bytes) -> bytes:
    """What follows the header; mailboxes keep lines with LF alone, so line ends are CRLF again."""
    return message.replace(b"\r\n", b"\n").partition(b"\n\n")[2].replace(b"\n", b"\r\n")


def check_arrived(messages: Iterable[bytes], sent: Iterable[str]) -> None:
    """Every key arrived exactly once, nothing else did, and every body is what was sent."""
    arrived = list(messages)
    assert Counter(map(key_of, arrived)) == Counter(sent)
    assert {body_of(message) for message in arrived} == {BODY}


def sent_keys(found: Finished, outcome: str = "accepted") -> list[str]:
    """The keys of all messages with that outcome, warm-up included."""
    return list(found.frame[found.frame["outcome"] == outcome]["key"])
