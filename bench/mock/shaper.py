"""A network path between two sockets of this machine: delay, jitter, bandwidth, and the connect as well.

The shaper is a TCP relay on loopback below TLS, so that whatever protocol runs through it pays every one of
its round trips; `link` says when bytes arrive and what counts as a turn-around. Data, FIN and RST travel in
order; a source is read no further once too much of its data is under way or the far side takes no more.

Known limits: a refused upstream shows as a reset after 2 rtt, not 1; no loss, no slow start, no header
overhead, no bounded window.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from ipaddress import ip_address
from itertools import count
from typing import cast

from bench.clock import Alarm, monotonic_ns
from bench.errors import RefusedError
from bench.mock.link import Link, TurnArounds, open_path
from bench.model import Network, WireConnection

BACKLOG = 4096
IN_FLIGHT_BYTES = 4 * 2**20
"""What a direction may hold, beyond what its link has room for, before its source is no longer read."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

OnClose = Callable[[WireConnection], None]


class _End(Enum):
    """How a direction ends."""

    FIN = "fin"
    RESET = "reset"


class _Lane:
    """One direction of a connection: what has left its source and not yet arrived at its sink."""

    def __init__(
        self,
        link: Link,
        alarm: Alarm,
        limit: int,
        arrived: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        self._link, self._alarm, self._limit = link, alarm, limit
        self._arrived, self._ended = arrived, ended
        self._queue: deque[tuple[int, bytes | _End]] = deque()
        self._in_flight = 0
        self._source: asyncio.Transport | None = None
        self._sink: asyncio.Transport | None = None
        self._reading = True
        self._held = True
        """The sink takes nothing: not yet connected, or its buffer is full."""
        self._alarmed = False
        self._dead = False
        self.finished = False
        """The sink has been told that no more will come."""

    def read_from(self, source: asyncio.Transport) -> None:
        self._source = source

    def write_to(self, sink: asyncio.Transport) -> None:
        self._sink = sink
        self.release()

    def send(self, data: bytes) -> None:
        """Bytes leave the source now."""
        if self._dead:
            return
        now_ns, step = monotonic_ns(), self._link.slice_bytes
        if len(data) <= step:
            self._queue.append((self._link.arrival_ns(now_ns, len(data)), data))
        else:
            for start in range(0, len(data), step):
                piece = data[start : start + step]
                self._queue.append((self._link.arrival_ns(now_ns, len(piece)), piece))
        self._in_flight += len(data)
        if self._in_flight > self._limit and self._reading and self._source is not None:
            self._reading = False
            self._source.pause_reading()
        self._schedule()

    def end(self, how: _End) -> None:
        """The source is gone; the news travels behind its bytes."""
        self._source = None  # uvloop must never be asked to read again after the end
        if not self._dead:
            self._queue.append((self._link.arrival_ns(monotonic_ns()), how))
            self._schedule()

    def hold(self) -> None:
        """The sink's buffer is full."""
        self._held = True

    def release(self) -> None:
        """The sink takes bytes (again)."""
        self._held = self._dead
        self._schedule()

    def cut(self) -> None:
        """The sink is gone: drop everything, now and later, but go on reading to see the source's end."""
        self._dead = self._held = True
        self._queue.clear()
        self._resume()

    def _schedule(self) -> None:
        if self._alarmed or self._held or not self._queue:
            return
        due_ns = self._queue[0][0]
        if due_ns <= monotonic_ns():
            self._deliver()
        else:
            self._alarmed = True
            self._alarm.call_at(due_ns, self._ring)

    def _ring(self) -> None:
        self._alarmed = False
        if not self._held:
            self._deliver()

    def _deliver(self) -> None:
        """Hand over all that is due, in one write."""
        queue, now_ns = self._queue, monotonic_ns()
        pieces: list[bytes] = []
        while queue and queue[0][0] <= now_ns:
            item = queue.popleft()[1]
            if isinstance(item, bytes):
                pieces.append(item)
            else:
                self._write(pieces)
                pieces = []
                self._finish(item)
        self._write(pieces)
        if queue and not self._held:
            self._alarmed = True
            self._alarm.call_at(queue[0][0], self._ring)

    def _write(self, pieces: list[bytes]) -> None:
        if not pieces or self._sink is None or self._sink.is_closing():
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._in_flight -= len(data)
        self._arrived(data)
        self._sink.write(data)
        if self._in_flight <= self._limit // 2:
            self._resume()

    def _resume(self) -> None:
        if not self._reading and self._source is not None:
            self._reading = True
            self._source.resume_reading()

    def _finish(self, how: _End) -> None:
        self.finished = True
        if self._sink is None or self._sink.is_closing():
            return
        if how is _End.FIN:
            with suppress(OSError):  # it may have been reset without our noticing yet
                self._sink.write_eof()
            self._ended()
        else:
            # Not before the loop has handed over what was written a moment ago.
            asyncio.get_running_loop().call_soon(_reset, self._sink)


def _reset(transport: asyncio.Transport) -> None:
    """Close with a RST."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()


class _Side(asyncio.Protocol):
    """One end of a connection: what it reads goes out by one lane, what it writes comes in by the other."""

    transport: asyncio.Transport | None = None

    def __init__(self, outward: _Lane, inward: _Lane, lost: Callable[[], None]) -> None:
        self._outward, self._inward, self._lost = outward, inward, lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._outward.read_from(self.transport)
        self._inward.write_to(self.transport)

    def data_received(self, data: bytes) -> None:
        self._outward.send(data)

    def eof_received(self) -> bool:
        self._outward.end(_End.FIN)
        return True  # a half-closed connection still takes bytes

    def pause_writing(self) -> None:
        self._inward.hold()

    def resume_writing(self) -> None:
        self._inward.release()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._inward.cut()
        self._outward.end(_End.RESET)  # goes nowhere where we closed it ourselves
        self._lost()


class _Connection(_Side):
    """A connection through the shaper, and the client's side of it."""

    def __init__(self, shaper: Shaper, number: int) -> None:
        self._shaper, self.number = shaper, number
        self._up_link = Link(shaper.network, f"{shaper.seed}/{number}/up")
        self._down_link = Link(shaper.network, f"{shaper.seed}/{number}/down")
        self._turns = TurnArounds()
        self._bytes_up = self._bytes_down = self._port = 0
        self._server_pending = True
        limit = IN_FLIGHT_BYTES + round(shaper.network.bandwidth * shaper.network.rtt_ns / 1e9)
        self._upward = _Lane(self._up_link, shaper.alarm, limit, _ignore, self._ended)
        self._downward = _Lane(self._down_link, shaper.alarm, limit, self._reached_client, self._ended)
        self.server = _Side(self._downward, self._upward, self._server_lost)
        super().__init__(self._upward, self._downward, self._finished)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._port = transport.get_extra_info("peername")[1]
        self._shaper.opened(self, open_path(self._up_link, self._down_link, monotonic_ns()))

    def data_received(self, data: bytes) -> None:
        self._bytes_up += len(data)
        self._turns.client_spoke(data)
        self._upward.send(data)

    def _reached_client(self, data: bytes) -> None:
        self._bytes_down += len(data)
        self._turns.server_spoke(data)

    def eof_received(self) -> bool:
        self._turns.client_gone()
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._turns.client_gone()
        super().connection_lost(error)

    def refused(self) -> None:
        """There is no upstream."""
        self._server_pending = False
        self._upward.cut()
        self._downward.end(_End.RESET)
        self._finished()

    def abort(self) -> None:
        """End both sides at once."""
        for side in (self, self.server):
            if side.transport is not None:
                side.transport.abort()
        if self.server.transport is None:
            self._server_lost()

    def _ended(self) -> None:
        """Once both directions have ended in order, nothing is left to be said."""
        if self._upward.finished and self._downward.finished:
            for side in (self, self.server):
                if side.transport is not None:
                    side.transport.close()

    def _server_lost(self) -> None:
        self._server_pending = False
        self._finished()

    def _finished(self) -> None:
        if self.transport is None and not self._server_pending:
            wire = WireConnection(
                self.number, self._port, self._turns.count, self._bytes_up, self._bytes_down
            )
            self._shaper.closed(self, wire)


def _ignore(_: bytes) -> None:
    """Nobody counts what reaches the server."""


class Shaper:
    """A listener on loopback with `network` between it and `upstream`, a loopback address as well.

    `async with Shaper(...) as (host, port)`. `on_close` is called once per connection when both its sides
    are done, for those still open at the end too. The caller's `alarm` must outlive the shaper. Raises
    RefusedError for an upstream elsewhere, before there is any socket.
    """

    def __init__(
        self, upstream: tuple[str, int], network: Network, alarm: Alarm, seed: int, on_close: OnClose
    ) -> None:
        self.network, self.alarm, self.seed = network, alarm, seed
        self._host, self._port = upstream
        if self._host != "localhost":
            _check_loopback(self._host)
        self._on_close = on_close
        self._upstreams: list[str] = []
        self._server: asyncio.Server | None = None
        self._numbers = count(1)
        self._connections: set[_Connection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._closing = False
        self._drained = asyncio.Event()

    async def __aenter__(self) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        self._upstreams = sorted({str(entry[4][0]) for entry in found}, key=lambda host: ":" in host)
        for host in self._upstreams:
            _check_loopback(host)
        listen = "::1" if ":" in self._upstreams[0] else "127.0.0.1"
        self._server = await loop.create_server(
            lambda: _Connection(self, next(self._numbers)), listen, 0, backlog=BACKLOG
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._closing = True
        self._server.close()
        for dial in self._dials:
            dial.cancel()
        if self._dials:
            await asyncio.wait(self._dials)
        for connection in tuple(self._connections):
            connection.abort()
        if self._connections:
            await self._drained.wait()
        await self._server.wait_closed()

    def opened(self, connection: _Connection, established_ns: int) -> None:
        """A client has connected; the server is to see it at `established_ns`."""
        self._connections.add(connection)
        if self._closing:
            connection.abort()
        elif established_ns <= monotonic_ns():
            self._dial(connection)
        else:
            self.alarm.call_at(established_ns, partial(self._dial, connection))

    def _dial(self, connection: _Connection) -> None:
        if not self._closing:
            dial = asyncio.get_running_loop().create_task(self._connect(connection))
            self._dials.add(dial)
            dial.add_done_callback(self._dials.discard)

    async def _connect(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        for host in tuple(self._upstreams):
            try:
                await loop.create_connection(lambda: connection.server, host, self._port)
            except OSError:
                continue
            if host != self._upstreams[0]:  # localhost has two addresses; stay with the one that answers
                self._upstreams.sort(key=lambda each: each != host)
            return
        connection.refused()

    def closed(self, connection: _Connection, wire: WireConnection) -> None:
        """Both sides of a connection are done."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._on_close(wire)
            if self._closing and not self._connections:
                self._drained.set()


def _check_loopback(host: str) -> None:
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise RefusedError(f"{host}: the shaper stands in front of loopback addresses only")
