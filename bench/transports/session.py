"""One connection to one target, the client that drives it, and the record of what it did.

A `Session` speaks through a client library or through our own client. It reports what it
is doing to a `Span`, which tiles the service time with phases: entering a phase ends the
one before it, so the phases of an attempt add up to its service time exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.clock import Clock
from bench.model import Message
from bench.protocol.answer import REPLY_LIMIT, Answer, Note, Notes
from bench.protocol.span import Span

__all__ = [
    "REPLY_LIMIT", "Answer", "AttemptFailed", "Note", "Notes", "Recovery", "Session",
    "Span",
]  # fmt: skip


ERRAND_LIMIT_S = 1.0
"""The longest that RSET, NOOP or QUIT may take; none of them changes what became of a message."""


class AttemptFailed(Exception):
    """Ends an attempt from inside a session; never leaves `transports`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error or answer.outcome)
        self.answer = answer


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
    watches_itself: bool
    """Whether it ends errands in time by itself; else they are cut off from outside, which costs more."""

    @property
    def first_phase(self) -> str:
        """The phase a message starts in: depends on whether a connection must be opened."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the connection is open and, as far as can be seen, fit for another message."""
        ...

    async def send(self, message: Message, span: Span, timeout_ns: int) -> Answer:
        """Connect if need be, hand the message over, read the answer.

        However it ends, there is an answer and the span has ended. Only cancellation from outside passes
        through, with the span ended; the connection is then fit for nothing but `abort`.
        """
        ...

    async def open(self, clock: Clock, timeout_ns: int) -> bool:
        """Connect without a message, as far as the client can; whether the connection is there."""
        ...

    async def ping(self) -> bool:
        """Ask the server for a sign of life, where the protocol has a way; whether the connection is fit."""
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
