"""What one attempt to send a message did, and when.

Phases tile the service time: entering one ends the one before it, so those of an attempt add up to its
service time exactly.
"""

from __future__ import annotations

from bench.clock import Clock
from bench.model import Outcome


class Span:
    """What one attempt did and when; times on the clock it is given.

    Who has just read the clock may hand the time over; the clock is read otherwise.
    """

    __slots__ = (
        "_mark", "address", "bytes_sent", "clock", "end_ns", "handed_over", "local_port", "phase",
        "phases", "retransmits", "round_trips_known", "start_ns", "tcp_rtt_ns", "trips",
    )  # fmt: skip

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._mark = 0
        self.trips = 0
        """Round trips so far."""
        self.phase: str | None = None
        """The phase the attempt is in, and at its end the one it ended in."""
        self.phases: dict[str, int] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self.round_trips_known = True
        """False from where the client does not tell how often it waited."""
        self.handed_over = False
        """Whether the point of no return has been passed (`faults`: unknown instead of failed)."""
        self.bytes_sent: int | None = 0
        """Of the message; None where that cannot be known."""
        self.local_port: int | None = None
        """Set by an attempt that opened a connection."""
        self.address: str | None = None
        """The address that connection goes to; set together with `local_port`."""
        self.tcp_rtt_ns: int | None = None
        """The kernel's own estimate for the connection, where the platform and the client show it."""
        self.retransmits: int | None = None
        """Segments of the connection that the kernel had to send again."""

    def begin(self, phase: str, now_ns: int | None = None) -> None:
        """The service time starts here, in this phase."""
        self.start_ns = self._mark = self.clock() if now_ns is None else now_ns
        self.phase = phase

    def enter(self, phase: str, now_ns: int | None = None) -> None:
        """Leave the current phase for this one; a phase may be entered more than once."""
        left = self.phase
        if phase != left:
            if now_ns is None:
                now_ns = self.clock()
            if left is not None:
                phases = self.phases
                phases[left] = phases.get(left, 0) + now_ns - self._mark
            self._mark = now_ns
            self.phase = phase

    def round_trip(self, count: int = 1) -> None:
        """Count waits for the peer that the protocol demanded and that have been answered."""
        self.trips += count

    @property
    def round_trips(self) -> int | None:
        """How many there were; None where that is not known."""
        return self.trips if self.round_trips_known else None

    def end(self, now_ns: int | None = None) -> None:
        """The service time ends here; a second call changes nothing."""
        if self.end_ns is None and self.start_ns is not None:
            self.end_ns = self.clock() if now_ns is None else now_ns
            if self.phase is not None:
                self.phases[self.phase] = self.phases.get(self.phase, 0) + self.end_ns - self._mark

    @property
    def cut_off(self) -> Outcome:
        """What an attempt is that ends here without an answer."""
        return Outcome.UNKNOWN if self.handed_over else Outcome.FAILED
