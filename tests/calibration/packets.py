"""What the kernel saw: a capture of loopback by tcpdump, and how long each message took in it.

Only durations inside the capture are used. Packet times are CLOCK_REALTIME and ours CLOCK_MONOTONIC, but
both run at the same rate, so nothing has to be converted.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

START_S = 10
SNAP_BYTES = 200
BUFFER_KIB = 65536
BLOCK_S = 1.5
"""How long the kernel may keep packets from tcpdump, and a little more (its blocks last 1 s)."""
NANOSECONDS = b"\x4d\x3c\xb2\xa1"
"""How a little-endian capture with times in nanoseconds begins (pcap-savefile(5))."""
FILE_HEADER, RECORD = 24, struct.Struct("<IIII")
ETHERNET = 14
SYN, ACK = 0x02, 0x10
OPENINGS = re.compile(rb"MAIL FROM:|POST /", re.IGNORECASE)
"""How a message begins on the wire."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP segment between a client and the one server whose port was captured."""

    at_ns: int
    client_port: int
    from_client: bool
    syn: bool
    size: int
    data: bytes
    """The payload's first bytes, as many as were captured."""


@contextmanager
def captured(file: Path, port: int) -> Iterator[None]:
    """Capture what goes over loopback from and to a port into `file`; complete once the block has ended.

    Skips the test where there is no tcpdump or it may not capture; fails where the kernel dropped packets.
    """
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    command = ["tcpdump", "-i", "lo", "-w", str(file), "--time-stamp-precision=nano"]
    command += ["-s", str(SNAP_BYTES), "-B", str(BUFFER_KIB), "-n"]
    command += ["-Z", "root"] if os.geteuid() == 0 else []  # else it may not write where we want it to
    with subprocess.Popen([*command, f"tcp port {port}"], stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        try:
            said = [tcpdump.stderr.readline()]
            while said[-1] and "listening on" not in said[-1]:
                said.append(tcpdump.stderr.readline())
            if not said[-1]:
                pytest.skip(f"tcpdump may not capture here: {''.join(said).strip()}")
            yield
            time.sleep(BLOCK_S)
        finally:
            tcpdump.send_signal(signal.SIGINT)
            rest = tcpdump.stderr.read()
            tcpdump.wait(START_S)
    assert "0 packets dropped by kernel" in rest, rest


def read_packets(file: Path, port: int) -> Iterator[Packet]:
    """The TCP segments of a capture, in order; `port` is the server's."""
    raw = file.read_bytes()
    assert raw.startswith(NANOSECONDS)
    at = FILE_HEADER
    while at < len(raw):
        seconds, ns, kept, _ = RECORD.unpack_from(raw, at)
        at += RECORD.size
        yield _packet(seconds * 1_000_000_000 + ns, raw[at : at + kept], port)
        at += kept


def _packet(at_ns: int, frame: bytes, port: int) -> Packet:
    ip = frame[ETHERNET:]
    assert ip[0] >> 4 == 4
    head = (ip[0] & 15) * 4
    tcp = ip[head:]
    source, target = struct.unpack_from(">HH", tcp)
    data = (tcp[12] >> 4) * 4
    size = int.from_bytes(ip[2:4], "big") - head - data
    from_client = target == port
    opens = tcp[13] & (SYN | ACK) == SYN
    return Packet(at_ns, source if from_client else target, from_client, opens, size, tcp[data : data + size])


@dataclass(slots=True)
class _Conversation:
    """One connection; what follows a message's last answer (QUIT, say) does not belong to it."""

    opened_ns: int | None
    started_ns: int | None = None
    answered_ns: int = 0
    took_ns: list[int] = field(default_factory=list)

    def add(self, packet: Packet) -> None:
        if not packet.from_client:
            self.answered_ns = packet.at_ns
        elif OPENINGS.match(packet.data):
            self.end()
            self.started_ns = packet.at_ns if self.opened_ns is None else self.opened_ns
            self.opened_ns = None
        elif packet.data[:4].upper() == b"QUIT":
            self.end()

    def end(self) -> None:
        if self.started_ns is not None:
            self.took_ns.append(self.answered_ns - self.started_ns)
            self.started_ns = None


def services_ns(packets: Iterable[Packet]) -> dict[int, list[int]]:
    """client port -> how long each message of that connection took, in order.

    From the first packet of the message (the connection's SYN for its first one) to the last one that
    carries a part of its answer.
    """
    found: dict[int, _Conversation] = {}
    for packet in packets:
        if packet.syn:
            assert packet.client_port not in found, "a port was used for two connections"
            found[packet.client_port] = _Conversation(packet.at_ns)
        elif packet.size:
            found[packet.client_port].add(packet)
    for each in found.values():
        each.end()
    return {port: each.took_ns for port, each in found.items()}
