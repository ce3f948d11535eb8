"""aiosmtplib as its documentation shows it, each connection kept by a loop of its own.

usage: aiosmtplib_pool.py PORT MESSAGES SESSIONS SIZE

One message is made beforehand and handed over as bytes: the library's floor, without `email`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from email.message import EmailMessage

import aiosmtplib

SENDER = "sender@sendbench.example"
RECIPIENT = "recipient@sendbench.example"
LINE = "x" * 70 + "\r\n"


def build(size_bytes: int) -> bytes:
    """A plain text message of about `size_bytes`, headers included."""
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = RECIPIENT
    message["Subject"] = "sendbench"
    message["Date"] = "Mon, 01 Jan 2024 00:00:00 +0000"
    message["Message-ID"] = "<1@sendbench.example>"
    message.set_content("")
    head = message.as_bytes().replace(b"\n", b"\r\n")
    return head + (LINE * (size_bytes // len(LINE) + 1)).encode()[: size_bytes - len(head) - 2] + b"\r\n"


async def send(port: int, message: bytes, turns: Iterator[int]) -> None:
    """Send as long as there are turns left, over one connection."""
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        for _ in turns:
            await client.sendmail(SENDER, [RECIPIENT], message)


async def main(port: int, messages: int, sessions: int, size_bytes: int) -> None:
    """All sessions take their turns from the same count."""
    turns = iter(range(messages))
    message = build(size_bytes)
    await asyncio.gather(*(send(port, message, turns) for _ in range(sessions)))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
