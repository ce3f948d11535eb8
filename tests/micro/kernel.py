"""A kernel without system calls: sockets whose peer is a server in memory, and the loop that has them."""

from __future__ import annotations

import asyncio
import itertools
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from bench.guard import Guard
from bench.model import Endpoint
from bench.transports.dial import Attempt
from bench.transports.session import Span

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

EPOLL_FD, FIRST_FD = 999_999, 1_000_000
"""No descriptor of this process comes near."""
OK = b"250 2.0.0 Ok\r\n"


class FakeSocket:
    """Answers every write in the loop's next round."""

    def __init__(self, fd: int, answers: dict[bytes, bytes], call_soon: Callable[[], object]) -> None:
        self._fd, self._answers, self._call_soon = fd, answers, call_soon
        self._waiting = b"220 here\r\n"

    def send(self, data: bytes) -> int:
        self._waiting = self._answers.get(data[:4], OK)
        self._call_soon()
        return len(data)

    def recv(self, count: int) -> bytes:
        return self._waiting

    def fileno(self) -> int:
        return self._fd

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return bytes(size)

    def close(self) -> None:
        pass


class FakeEpoll:
    """Tells each of the fake sockets when its server has answered."""

    def __init__(self, call_soon: Callable[[], object]) -> None:
        self._call_soon = call_soon
        self._ready: list[tuple[int, int]] = []

    def fileno(self) -> int:
        return EPOLL_FD

    def register(self, fd: int, events: int) -> None:
        self.note(fd)  # the banner is there

    def note(self, fd: int) -> None:
        """That socket can be read."""
        if not self._ready:
            self._call_soon()
        self._ready.append((fd, select.EPOLLIN))

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        ready, self._ready = self._ready, []
        return ready


class FakeKernel(asyncio.SelectorEventLoop):
    """An event loop that also knows when a fake socket can be read."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        super().__init__()
        self._answers = answers
        self._numbers = itertools.count(FIRST_FD)
        self._look: Callable[[], object]
        self.epoll = FakeEpoll(lambda: self.call_soon(self._look))

    async def connect(
        self, endpoint: Endpoint, span: Span, guard: Guard, begun: Attempt | None
    ) -> socket.socket:
        """What `transports.connect.connect` does, without a network."""
        fd = next(self._numbers)
        span.local_port, span.address = 40_000, endpoint.host
        sock = FakeSocket(fd, self._answers, lambda: self.epoll.note(fd))
        return cast("socket.socket", sock)

    def add_reader(self, fd: FileDescriptorLike, callback: Callable[..., object], *args: object) -> None:
        if fd == EPOLL_FD:
            self._look = callback
        else:
            super().add_reader(fd, callback, *args)
