"""One connection to one target, the client that drives it, and the record of what it did.

A `Session` speaks through a client library or through our own client. It reports what it
is doing to a `Span`, which tiles the service time with phases: entering a phase ends the
one before it, so the phases of an attempt add up to its service time exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bench.clock import Clock
from bench.model import Message, Outcome

REPLY_LIMIT = 4096
"""Bytes of an answer that are kept until it has been masked; the record keeps fewer.

Cut shorter here, the first half of a secret at the cut would not be known for one.
"""

Note: TypeAlias = "str | int | bool | Sequence[Note] | None"
Notes = Mapping[str, Note]
"""What the columns of a sample have no room for; becomes JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended."""

    outcome: Outcome
    code: int | None = None
    enhanced_code: str | None = None
    reply: bytes | None = None
    error: str | None = None
    errno: int | None = None
    anomaly: str | None = None
    message_id: str | None = None
    recipients_accepted: int = 0
    notes: Notes | None = None


class AttemptFailed(Exception):
    """Ends an attempt from inside a session; never leaves `transports`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error or answer.outcome)
        self.answer = answer


class Span:
    """What one attempt did and when; times on the clock it is given."""

    __slots__ = (
        "_clock", "_mark", "_trips", "address", "bytes_sent", "end_ns", "handed_over", "local_port", "phase",
        "phases", "round_trips_known", "start_ns",
    )  # fmt: skip

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mark = 0
        self._trips = 0
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

    def begin(self, phase: str) -> None:
        """The service time starts here, in this phase."""
        self.start_ns = self._mark = self._clock()
        self.phase = phase

    def enter(self, phase: str) -> None:
        """Leave the current phase for this one; a phase may be entered more than once."""
        if phase == self.phase:
            return
        self._lap()
        self.phase = phase

    def round_trip(self, count: int = 1) -> None:
        """Count waits for the peer that the protocol demanded and that have been answered."""
        self._trips += count

    @property
    def round_trips(self) -> int | None:
        """How many there were; None where that is not known."""
        return self._trips if self.round_trips_known else None

    def end(self) -> None:
        """The service time ends here; a second call changes nothing."""
        if self.end_ns is None and self.start_ns is not None:
            self.end_ns = self._lap()

    def _lap(self) -> int:
        now = self._clock()
        if self.phase is not None:
            self.phases[self.phase] = self.phases.get(self.phase, 0) + now - self._mark
        self._mark = now
        return now

    @property
    def cut_off(self) -> Outcome:
        """What an attempt is that ends here without an answer."""
        return Outcome.UNKNOWN if self.handed_over else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Recovery:
    """Whether a connection proved to be clean after a refusal, and what that took."""

    clean: bool
    rset: bool = False
    """Whether an RSET was answered, well or not: a round trip that belongs to no message."""


class Session(Protocol):
    """One connection, kept or not. Errors of the library below never leave it."""

    connection_id: int
    uses: int
    """How many messages this connection has been given, this one included."""
    http_version: str | None
    tls_version: str | None

    @property
    def first_phase(self) -> str:
        """The phase a message starts in: depends on whether a connection must be opened."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the connection is open and, as far as can be seen, fit for another message."""
        ...

    async def exchange(self, message: Message, span: Span) -> Answer:
        """Connect if need be, hand the message over, read the answer. `AttemptFailed` ends it early."""
        ...

    async def recover(self) -> Recovery:
        """Prove after a refusal that the connection is clean; if it is not, it must be given up."""
        ...

    async def close(self) -> bool:
        """Take leave as the protocol wants it; True if a QUIT was answered."""
        ...

    async def abort(self) -> None:
        """Drop the connection at once, without leave-taking."""
        ...
