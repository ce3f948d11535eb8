"""What the kernel knows about a connection."""

from __future__ import annotations

import socket
import struct
import sys
from typing import NamedTuple

from bench.transports.dial import Socket

_LAYOUT = struct.Struct("=68xI28xI")
"""struct tcp_info of linux/tcp.h, as far as needed: tcpi_rtt (us) at 68, tcpi_total_retrans at 100."""


class TcpInfo(NamedTuple):
    """The kernel's figures for one connection."""

    rtt_ns: int
    """Its smoothed estimate of the round trip time."""
    retransmits: int
    """Segments sent again since the connection was opened, its SYN included."""


def tcp_info(sock: Socket) -> TcpInfo | None:
    """The kernel's figures; None where the platform does not show them, or the socket is closed."""
    if sys.platform == "linux":
        try:
            found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
            rtt_us, retransmits = _LAYOUT.unpack(found)
        except (OSError, struct.error):
            return None
        return TcpInfo(rtt_us * 1000, retransmits)
    return None
