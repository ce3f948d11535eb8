"""The shaper's arithmetic: when bytes arrive, and which of them are a turn-around. No clock, no sockets.

**Delay.** Half the round trip time is spent each way; a link is busy for size / bandwidth and what comes
meanwhile queues up; jitter is drawn per chunk, and bytes never overtake each other.

**The connect.** The kernel accepts on our behalf at once (t0), so the connect is paid inside: the client
would have known at t0 + rtt, so nothing it sends leaves earlier; the server would have seen it at
t0 + 1.5 rtt, so that is when the shaper connects upstream.

**Turn-arounds** are counted as the client sees them: at the moments its bytes come in and bytes for it go
out. A connection begins with the client having spoken last (the connect is its question); each time bytes
go to the client while it spoke last is one turn-around, and then the server spoke last. So a greeting counts
one, an answer one, a TLS 1.3 handshake one; with one more for the connect they are the round trips of the
protocol. Two rules keep goodbyes out of it:

- what goes to the client after its FIN or reset does not count;
- an alert answered by an alert does not count: TLS clients that close in order (asyncio and uvloop send
  close_notify and wait for the server's) ask nothing that the protocol makes them wait for. A TLS 1.3 alert
  is told by its size, 2 bytes of content, since its type is encrypted; the answer must be one as well, since
  2 bytes can also be an empty line.

Session tickets come after the handshake as a flight of their own. They blur the count only where a client
takes longer than a round trip to follow its Finished with all of its first request.
"""

from __future__ import annotations

import random
import sys

from bench.model import Network

SEGMENT_BYTES = 1448
SLICE_NS = 1_000_000


class Link:
    """One direction of a path, as arithmetic: when would bytes sent at one moment arrive?"""

    __slots__ = ("_delay_ns", "_free_ns", "_last_ns", "_ns_per_byte", "_random", "_spread_ns", "slice_bytes")

    def __init__(self, network: Network, seed: str) -> None:
        self._delay_ns = network.rtt_ns // 2
        self._spread_ns = network.jitter_ns / 2
        self._random = random.Random(seed) if network.jitter_ns else None
        self._ns_per_byte = 1e9 / network.bandwidth if network.bandwidth else 0.0
        self._free_ns = 0
        self._last_ns = 0
        self.slice_bytes = sys.maxsize
        """The most to send at once: with a limited bandwidth, what the link carries in a millisecond."""
        if network.bandwidth:
            self.slice_bytes = max(SEGMENT_BYTES, int(network.bandwidth * SLICE_NS / 1e9))

    def arrival_ns(self, sent_ns: int, size: int = 0) -> int:
        """When the last of `size` bytes arrives; the link is busy with them until it has let them go."""
        left_ns = sent_ns if sent_ns > self._free_ns else self._free_ns
        if self._ns_per_byte:
            left_ns += round(size * self._ns_per_byte)
        self._free_ns = left_ns
        arrival_ns = left_ns + self._delay_ns
        if self._random is not None:
            drawn_ns = arrival_ns + round(self._random.uniform(-self._spread_ns, self._spread_ns))
            arrival_ns = max(drawn_ns, left_ns)
        if arrival_ns > self._last_ns:
            self._last_ns = arrival_ns
        return self._last_ns

    def hold_until(self, free_ns: int) -> None:
        """Let nothing leave before `free_ns`."""
        self._free_ns = max(self._free_ns, free_ns)


def open_path(up: Link, down: Link, accepted_ns: int) -> int:
    """Pay the connect: SYN up, SYN-ACK down, ACK up. Returns when the server gets to see the connection;
    what the client sends counts from the SYN-ACK on."""
    established_ns = down.arrival_ns(up.arrival_ns(accepted_ns))
    up.hold_until(established_ns)
    return up.arrival_ns(established_ns)


def is_alert(data: bytes) -> bool:
    """Whether `data` is one TLS alert record and nothing else."""
    if data[:2] == b"\x15\x03":
        return len(data) == 5 + int.from_bytes(data[3:5], "big")
    return len(data) == 24 and data.startswith(b"\x17\x03\x03\x00\x13")


class TurnArounds:
    """Counts how often the client had to wait; the rules are at the top of this module."""

    __slots__ = ("_alerted", "_asked", "_gone", "count")

    def __init__(self) -> None:
        self.count = 0
        self._asked = True
        self._alerted = False
        self._gone = False

    def client_spoke(self, data: bytes) -> None:
        """Bytes came from the client."""
        if is_alert(data):
            self._alerted = True
        else:
            self._asked = True

    def server_spoke(self, data: bytes) -> None:
        """Bytes go to the client."""
        if self._asked or (self._alerted and not is_alert(data)):
            self.count += not self._gone
        self._asked = self._alerted = False

    def client_gone(self) -> None:
        """The client closed its side."""
        self._gone = True
