"""The wire under our own clients: what has been said counts, however the connection ends."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from dataclasses import dataclass, field

import pytest

from bench.clock import RunClock
from bench.transports.link import Link

pytestmark = pytest.mark.anyio

LAST_WORDS = b"421 4.3.2 bye\r\n"
MORE_THAN_FITS = b"x" * 40_000_000


@dataclass
class Told:
    """Keeps what a link tells."""

    data: bytes = b""
    errors: list[int | None] = field(default_factory=list)

    def data_received(self, data: bytes, now_ns: int) -> None:
        self.data += data

    def secured(self, now_ns: int) -> None: ...

    def drained(self, now_ns: int) -> None: ...

    def ended(self, error: OSError | None, now_ns: int) -> None:
        self.errors.append(None if error is None else error.errno)


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        ours.setblocking(False)
        return ours, listener.accept()[0]


@pytest.mark.parametrize("words", [b"", LAST_WORDS, LAST_WORDS * 5000], ids=["none", "a line", "many"])
@pytest.mark.parametrize("when", ["in the middle of a write", "before a write"])
async def test_what_was_said_before_a_reset_is_read_though_writing_fails_first(
    words: bytes, when: str
) -> None:
    """S50, H05: which of the two the event loop sees first must not decide."""
    ours, theirs = connected()
    told = Told()
    link = Link(ours, told, RunClock(), asyncio.get_running_loop())
    if when == "in the middle of a write":
        link.write(MORE_THAN_FITS)
        assert link.unsent
    theirs.sendall(words)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    if link.unsent:
        link._writable()
    else:
        link.write(b"RCPT")
        await asyncio.sleep(0)
    assert told.data == words
    assert told.errors in ([errno.ECONNRESET], [errno.EPIPE])
    assert link.closed
