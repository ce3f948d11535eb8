"""The shaper between real sockets: what a path costs, what it carries, how it ends.

Lower bounds are exact, upper ones generous: the machine may be busy, but nothing may arrive early.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import statistics
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench.clock import Alarm, monotonic_ns
from bench.errors import RefusedError
from bench.mock.shaper import IN_FLIGHT_BYTES, Shaper
from bench.model import Network, WireConnection
from tests.integration.paths import Path, Streams, path_to
from tests.loops import BOTH_LOOPS

MS = 1_000_000
RTT = 20 * MS
LATE = 100 * MS
"""More than this machine is ever late, we hope."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BOTH_LOOPS), pytest.mark.alone]


@asynccontextmanager
async def path(
    handler: Handler,
    *,
    rtt: int = 0,
    jitter: int = 0,
    bandwidth: float = 0,
    host: str = "127.0.0.1",
    name: str = "",
) -> AsyncIterator[Path]:
    """A shaper in front of a server that does what `handler` says."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass  # a client went away without a word, as some tests want it
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0)
    upstream = (name or host, server.sockets[0].getsockname()[1])
    async with server, path_to(upstream, rtt=rtt, jitter=jitter, bandwidth=bandwidth) as made:
        yield made


async def greet_and_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    await echo(reader, writer)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    seen = hashlib.sha256()
    while data := await reader.read(2**16):
        seen.update(data)
    writer.write(seen.digest())


def with_reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def exchange(streams: Streams) -> int:
    reader, writer = streams
    start = monotonic_ns()
    writer.write(b"ping\n")
    assert await reader.readline() == b"ping\n"
    return monotonic_ns() - start


async def leave(streams: Streams) -> None:
    streams[1].close()
    await streams[1].wait_closed()


# ------------------------------------------------------------------------------------ what it costs


async def test_connect_greeting_and_each_exchange_cost_a_round_trip() -> None:
    async with path(greet_and_echo, rtt=RTT) as made:
        start = monotonic_ns()
        streams = await made.connect()
        assert await streams[0].readline() == b"hello\n"
        greeted = monotonic_ns() - start
        spans = [await exchange(streams) for _ in range(15)]
        await leave(streams)
        (wire,) = await made.closed()
    assert 2 * RTT <= greeted < 2 * RTT + LATE
    assert min(spans) >= RTT
    assert statistics.median(spans) < 1.25 * RTT
    assert wire.turn_arounds == 1 + 15
    assert (wire.bytes_up, wire.bytes_down) == (15 * 5, 6 + 15 * 5)


async def test_a_client_that_speaks_first_pays_the_connect_too() -> None:
    async with path(echo, rtt=RTT) as made:
        start = monotonic_ns()
        streams = await made.connect()
        await exchange(streams)
        spent = monotonic_ns() - start
        await leave(streams)
        (wire,) = await made.closed()
    assert 2 * RTT <= spent < 2 * RTT + LATE
    assert wire.turn_arounds == 1


async def test_the_server_sees_a_connection_after_one_and_a_half_round_trips() -> None:
    seen = asyncio.get_running_loop().create_future()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(monotonic_ns())
        await reader.read()

    async with path(note, rtt=RTT) as made:
        start = monotonic_ns()
        streams = await made.connect()
        after = await seen - start
        await leave(streams)
    assert 1.5 * RTT <= after < 1.5 * RTT + LATE


async def test_what_is_sent_at_once_travels_at_once() -> None:
    """Delay is not occupancy: a window's worth of chunks costs one round trip, not one each."""
    async with path(echo, rtt=RTT) as made:
        streams = await made.connect()
        await exchange(streams)
        start = monotonic_ns()
        for _ in range(20):
            streams[1].write(b"x" * 99 + b"\n")
            await asyncio.sleep(0)
        for _ in range(20):
            await streams[0].readline()
        spent = monotonic_ns() - start
        await leave(streams)
    assert RTT <= spent < 3 * RTT


@pytest.mark.parametrize("size", [100_000, 1_000])
async def test_bandwidth(size: int) -> None:
    rate = 1e6
    async with path(digest, bandwidth=rate) as made:
        reader, writer = await made.connect()
        start = monotonic_ns()
        writer.write(bytes(size))
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(bytes(size)).digest()
        spent = monotonic_ns() - start
        await leave((reader, writer))
    paid = (size + 32) / rate * 1e9
    assert paid <= spent < paid + LATE


async def test_bandwidth_counts_each_way_alone() -> None:
    async with path(echo, bandwidth=1e6) as made:
        reader, writer = await made.connect()
        start = monotonic_ns()
        writer.write(bytes(100_000))
        await reader.readexactly(100_000)
        spent = monotonic_ns() - start
        await leave((reader, writer))
    assert 100 * MS <= spent < 190 * MS, "an echo comes back while the rest is still going up"


async def test_jitter_stays_around_the_round_trip() -> None:
    async with path(echo, rtt=RTT, jitter=RTT // 2) as made:
        streams = await made.connect()
        await exchange(streams)
        spans = [await exchange(streams) for _ in range(30)]
        await leave(streams)
    assert min(spans) >= RTT // 2
    assert RTT * 0.8 < statistics.median(spans) < RTT * 1.4
    assert statistics.pstdev(spans) > MS


# --------------------------------------------------------------------------------- what it carries


@pytest.mark.parametrize("network", [(0, 0, 0), (4 * MS, 4 * MS, 50e6)], ids=["open", "shaped"])
async def test_a_mebibyte_arrives_whole(network: tuple[int, int, float]) -> None:
    payload = random.Random(1).randbytes(2**20)
    rtt, jitter, bandwidth = network
    async with path(echo, rtt=rtt, jitter=jitter, bandwidth=bandwidth) as made:
        reader, writer = await made.connect()
        writer.write(payload)
        assert await reader.readexactly(len(payload)) == payload
        await leave((reader, writer))
        (wire,) = await made.closed()
    assert (wire.bytes_up, wire.bytes_down) == (2**20, 2**20)


async def test_many_connections_side_by_side() -> None:
    async with path(greet_and_echo, rtt=RTT) as made:

        async def client() -> int:
            streams = await made.connect()
            port: int = streams[1].get_extra_info("sockname")[1]
            await streams[0].readline()
            for _ in range(3):
                await exchange(streams)
            await leave(streams)
            return port

        start = monotonic_ns()
        ports = await asyncio.gather(*(client() for _ in range(50)))
        spent = monotonic_ns() - start
        wires = await made.closed(50)
    assert 5 * RTT <= spent < 5 * RTT + 5 * LATE
    assert sorted(wire.connection for wire in wires) == list(range(1, 51))
    assert sorted(wire.client_port for wire in wires) == sorted(ports)
    assert {wire.turn_arounds for wire in wires} == {4}


async def test_a_far_side_that_does_not_read_stops_the_near_one() -> None:
    go, size = asyncio.Event(), 64 * 2**20

    async def sluggish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await digest(reader, writer)

    chunk = bytes(2**18)
    async with path(sluggish, rtt=2 * MS) as made:
        reader, writer = await made.connect()
        sent = 0
        try:
            async with asyncio.timeout(1):
                while sent < size:
                    writer.write(chunk)
                    sent += len(chunk)
                    await writer.drain()
        except TimeoutError:
            pass
        assert IN_FLIGHT_BYTES < sent < size
        go.set()
        while sent < size:
            writer.write(chunk)
            sent += len(chunk)
            await writer.drain()
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(bytes(size)).digest()
        await leave((reader, writer))
        (wire,) = await made.closed()
    assert wire.bytes_up == size


async def test_nothing_waits_for_more_to_send() -> None:
    async with path(echo) as made:
        streams = await made.connect()
        await exchange(streams)
        (connection,) = made.shaper._connections
        for side in (connection, connection.server):
            assert side.transport is not None
            option = side.transport.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY
            )
            assert option == 1
        await leave(streams)


# ------------------------------------------------------------------------------------- how it ends


async def test_a_half_closed_connection_still_carries_the_answer() -> None:
    async with path(digest, rtt=RTT) as made:
        reader, writer = await made.connect()
        start = monotonic_ns()
        writer.write(b"all of it")
        writer.write_eof()
        assert await reader.read() == hashlib.sha256(b"all of it").digest()
        assert monotonic_ns() - start >= 1.9 * RTT
        await leave((reader, writer))
        await made.closed()


async def test_a_server_that_closes_is_heard_after_its_last_word() -> None:
    async def bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"221 bye\n")

    async with path(bye, rtt=RTT) as made:
        reader, writer = await made.connect()
        writer.write(b"QUIT\n")
        assert await reader.read() == b"221 bye\n"
        await leave((reader, writer))
        (wire,) = await made.closed()
    assert wire.turn_arounds == 1


async def test_a_client_that_closes_is_missed_after_half_a_round_trip() -> None:
    missed = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        missed.set_result(monotonic_ns())
        writer.write(b"too late")

    async with path(wait, rtt=RTT) as made:
        streams = await made.connect()
        await asyncio.sleep(2 * RTT / 1e9)
        start = monotonic_ns()
        await leave(streams)
        assert await missed - start >= RTT / 2 - MS
        (wire,) = await made.closed()
    assert wire.turn_arounds == 0


async def test_a_client_gone_before_the_server_knew_of_it() -> None:
    seen = asyncio.get_running_loop().create_future()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(await reader.read())

    async with path(note, rtt=RTT) as made:
        reader, writer = await made.connect()
        writer.write(b"in a hurry")
        await leave((reader, writer))
        assert await seen == b"in a hurry"
        await made.closed()


async def test_a_reset_by_the_client_reaches_the_server() -> None:
    told = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            told.set_result(await reader.read())
        except ConnectionResetError:
            told.set_result(monotonic_ns())

    async with path(wait, rtt=RTT) as made:
        _, writer = await made.connect()
        await asyncio.sleep(2 * RTT / 1e9)
        start = monotonic_ns()
        with_reset(writer)
        end = await told
        assert isinstance(end, int), "a reset, not an orderly end"
        assert end - start >= RTT / 2 - MS
        await made.closed()


async def test_a_reset_by_the_server_reaches_the_client_behind_its_words() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"421 no more of this\n")
        await asyncio.sleep(0.002)
        with_reset(writer)

    async with path(rude, rtt=RTT) as made:
        reader, writer = await made.connect()
        writer.write(b"MAIL\n")
        assert await reader.readline() == b"421 no more of this\n"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await made.closed()


async def test_an_absent_server_shows_as_a_reset(free_port: int) -> None:
    async with path_to(("127.0.0.1", free_port), rtt=RTT) as made:
        start = monotonic_ns()
        reader, writer = await made.connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert 2 * RTT <= monotonic_ns() - start < 2 * RTT + LATE
        writer.close()
        (wire,) = await made.closed()
    assert wire == WireConnection(1, wire.client_port, 0, 0, 0)


async def test_open_connections_are_ended_and_told_of_at_the_end() -> None:
    async with path(greet_and_echo) as made:
        first, second = await made.connect(), await made.connect()
        for reader, _ in (first, second):
            await reader.readline()
        await exchange(second)
    assert [wire.turn_arounds for wire in sorted(made.wires, key=lambda wire: wire.connection)] == [1, 2]
    for reader, writer in (first, second):
        assert await reader.read() == b""
        writer.close()


async def test_the_end_does_not_wait_for_what_is_under_way() -> None:
    start = monotonic_ns()
    async with path(greet_and_echo, rtt=60_000 * MS) as made:
        streams = await made.connect()
        streams[1].write(b"anyone there?")
        await asyncio.sleep(0.02)
    assert monotonic_ns() - start < 5_000 * MS
    assert [wire.bytes_up for wire in made.wires] == [13]
    streams[1].close()


# --------------------------------------------------------------------------------- where it may go


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "::", "mail.example.com", "", "::ffff:192.0.2.1"])
async def test_an_upstream_elsewhere_is_refused(host: str) -> None:
    with Alarm() as alarm, pytest.raises(RefusedError, match="loopback"):
        Shaper(upstream=(host, 25), network=Network(), alarm=alarm, seed=0, on_close=lambda _: None)


async def test_localhost_is_followed_to_the_address_that_answers() -> None:
    async with path(echo, name="localhost") as made:
        made.shaper._upstreams.insert(
            0, "127.0.0.2"
        )  # nobody listens there, as on ::1 where localhost is both
        for _ in range(2):
            streams = await made.connect()
            await exchange(streams)
            await leave(streams)
        await made.closed(2)
        assert made.shaper._upstreams == ["127.0.0.1", "127.0.0.2"]


async def test_ipv6_has_a_loopback_too() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with path(echo, host="::1") as made:
        assert made.host == "::1"
        streams = await made.connect()
        await exchange(streams)
        await leave(streams)
        await made.closed()
