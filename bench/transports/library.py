"""What sessions by somebody else's library have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import anyio

from bench.clock import Clock
from bench.model import Message
from bench.transports.session import Answer, AttemptFailed, Span


class LibrarySession(ABC):
    """What a session by somebody else's library has to bring along: `exchange`, and the rest of `Session`."""

    watches_itself = False

    @property
    @abstractmethod
    def alive(self) -> bool:
        """See `Session`."""
        ...

    @property
    @abstractmethod
    def first_phase(self) -> str:
        """See `Session`."""
        ...

    @abstractmethod
    async def exchange(self, message: Message, span: Span) -> Answer:
        """Connect if need be, hand the message over, read the answer. `AttemptFailed` ends it early."""
        ...

    async def send(self, message: Message, span: Span, timeout_ns: int) -> Answer:
        """See `Session.send`."""
        message = message._replace(head=message.payload, tail=b"")  # no library takes it in parts
        span.begin(self.first_phase)
        try:
            with anyio.fail_after(timeout_ns / 1e9):
                return await self.exchange(message, span)
        except AttemptFailed as failed:
            return failed.answer
        except TimeoutError:
            return Answer(span.cut_off, error="timeout")
        finally:
            span.end()

    async def open(self, clock: Clock, timeout_ns: int) -> bool:
        """See `Session.open`: the libraries connect with their first message."""
        return False

    async def ping(self) -> bool:
        """See `Session.ping`: what the library shows of the connection's state has to do."""
        return self.alive
