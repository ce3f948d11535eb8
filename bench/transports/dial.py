"""From the addresses of a host to one connected socket: happy eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import anyio

from bench.transports.waiting import Handover

ATTEMPT_DELAY_S = 0.25
"""How long an address may keep silent before the next one is tried as well (RFC 8305, section 8)."""

BIND_ADDRESS_NO_PORT = 24 if sys.platform == "linux" else None
"""linux/in.h; the socket module only knows it in later versions."""

_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
"""Saves a system call where the platform has it."""

Socket: TypeAlias = socket.SocketType
"""What `socket.socket` is made of: all that our own clients need, and several microseconds less to make and
to close."""


class Dialled(NamedTuple):
    """A connected, non-blocking socket with TCP_NODELAY, and both of its ends."""

    sock: Socket
    address: str
    local_port: int


class Unreachable(Exception):
    """No address could be connected to."""

    def __init__(self, failures: Sequence[tuple[str, int | None]]) -> None:
        super().__init__(failures)
        self.failures = failures
        """(address, errno) of each, in the order in which they were tried."""


async def dial(addresses: Sequence[str], port: int, source: str | None = None) -> Dialled:
    """Connect to the first address that answers, from the local address `source` if there is one.

    The next address is tried once the one before has failed or been silent for `ATTEMPT_DELAY_S`; whoever
    comes second is closed. Raises Unreachable. Cancelled, it leaves no socket open.
    """
    if len(addresses) != 1:
        return await _race(interleaved(addresses), port, source)
    try:
        return await _open(addresses[0], port, source)
    except OSError as error:
        raise Unreachable([(addresses[0], error.errno)]) from error


def interleaved(addresses: Sequence[str]) -> tuple[str, ...]:
    """The families by turns, the family of the first address first; in each family the order stays."""
    first = [address for address in addresses if _family(address) == _family(addresses[0])]
    second = [address for address in addresses if _family(address) != _family(addresses[0])]
    turns = itertools.zip_longest(first, second)
    return tuple(address for turn in turns for address in turn if address is not None)


async def _race(addresses: Sequence[str], port: int, source: str | None) -> Dialled:
    connected: list[Dialled] = []
    failures: dict[str, int | None] = dict.fromkeys(addresses)

    async def attempt(address: str, over: anyio.Event) -> None:
        try:
            connected.append(await _open(address, port, source))
            attempts.cancel_scope.cancel()
        except OSError as error:
            failures[address] = error.errno
        over.set()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                over = anyio.Event()
                attempts.start_soon(attempt, address, over)
                with anyio.move_on_after(ATTEMPT_DELAY_S):
                    await over.wait()
    except BaseException:  # cancelled from outside in the moment in which one connected
        _close(connected)
        raise
    _close(connected[1:])  # two in the same round of the event loop
    if not connected:
        raise Unreachable(list(failures.items()))
    return connected[0]


def _close(dialled: Sequence[Dialled]) -> None:
    for each in dialled:
        each.sock.close()


async def _open(address: str, port: int, source: str | None) -> Dialled:
    """Connect to one address. Raises OSError."""
    return await finish(Attempt(address, port, source))


class Attempt:
    """To connect to one address, as far as that takes no waiting. Raises OSError.

    On loopback the handshake is over before the first call returns, though that still says EINPROGRESS;
    asking again costs a system call, where waiting would cost a round of the event loop.
    """

    __slots__ = ("address", "connected", "port", "sock")

    def __init__(self, address: str, port: int, source: str | None = None) -> None:
        self.address, self.port = address, port
        self.sock = Socket(_family(address), socket.SOCK_STREAM | _NONBLOCK)
        try:
            if not _NONBLOCK:
                self.sock.setblocking(False)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source is not None:
                _bind(self.sock, source)
            number = self.sock.connect_ex((address, port))
            if number == errno.EINPROGRESS:
                number = self.sock.connect_ex((address, port))
            self.connected = number in (0, errno.EISCONN)
            if not self.connected and number != errno.EALREADY:
                raise OSError(number, os.strerror(number))
        except BaseException:
            self.sock.close()
            raise

    def dialled(self) -> Dialled:
        """What has become of it once it is connected. Raises OSError."""
        try:
            local: tuple[str, int] = self.sock.getsockname()[:2]
            if local == (self.address, self.port):
                # Nobody listens, and the kernel gave us the very port: we met ourselves.
                raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        except OSError:
            self.sock.close()
            raise
        return Dialled(self.sock, self.address, local[1])


async def finish(attempt: Attempt) -> Dialled:
    """Wait until it is connected. Raises OSError. Cancelled, it leaves no socket open."""
    if not attempt.connected:
        try:
            await _writable(attempt.sock.fileno())
            number = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
        except BaseException:
            attempt.sock.close()
            raise
    return attempt.dialled()


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: Handover[None] = Handover(loop)
    loop.add_writer(fd, ready.finish, None)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _bind(sock: Socket, source: str) -> None:
    if BIND_ADDRESS_NO_PORT is not None:
        # Without it each socket takes a port for itself, whatever it is going to be connected to, and the
        # ports are used up after some 28,000 connections to all servers together instead of to each.
        with suppress(OSError):  # an older kernel
            sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
