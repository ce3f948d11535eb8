"""A client's machine whose server is the test, without sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.model import Message
from bench.protocol.answer import Answer
from bench.protocol.smtp_client import ClientConfig, SmtpClient
from bench.protocol.span import Span

PAYLOAD = b"Subject: x\r\n\r\nthe body\r\n"
LOST, TIMEOUT, STUCK = "(lost)", "(timeout)", "(stuck)"
"""Instead of a reply: the connection ends, the time is up, or the kernel takes no more of the message."""


def new_span() -> Span:
    """Time stands still."""
    return Span(lambda: 0)


def phases_of(span: Span) -> list[str]:
    """Each in the order in which it was left first, the last one included."""
    last = span.phase
    return [*span.phases] if last is None or last in span.phases else [*span.phases, last]


def message(payload: bytes = PAYLOAD, *recipients: str, sender: str = "s@x.example") -> Message:
    return Message(0, "run-0", sender, recipients or ("a@x.example",), payload)


@dataclass
class Talk:
    """What is said is written down, what the server says is up to the test."""

    config: ClientConfig = field(default_factory=ClientConfig)
    machine: SmtpClient = field(init=False)
    span: Span = field(default_factory=new_span)
    sent: list[bytes] = field(default_factory=list)
    stuck: bool = False

    def __post_init__(self) -> None:
        self.machine = SmtpClient(self.config)

    @property
    def wire(self) -> bytes:
        return b"".join(self.sent)

    @property
    def answer(self) -> Answer:
        assert self.machine.answer is not None
        return self.machine.answer

    def begin(self, what: Message | None = None) -> None:
        self.span = new_span()
        self.act(self.machine.begin(what or message(), self.span, 0))

    def act(self, out: bytes) -> None:
        """What a session does; a handshake always succeeds."""
        if out:
            self.sent.append(out + self.machine.tail if self.machine.carries else out)
            if self.machine.carries and not self.stuck:
                self.machine.handed_over(0)
        elif self.machine.wants_tls and self.machine.answer is None:
            self.sent.append(b"(handshake)")
            self.act(self.machine.secured(0))

    def hear(self, data: bytes, *, byte_by_byte: bool = False) -> None:
        for piece in [data[at : at + 1] for at in range(len(data))] if byte_by_byte else [data]:
            self.act(self.machine.receive(piece, 0))

    def hear_all(self, *replies: str, byte_by_byte: bool = False) -> None:
        """One segment each; LF stands for CRLF."""
        for reply in replies:
            if reply == STUCK:
                self.stuck = True
            elif reply in (LOST, TIMEOUT):
                self.machine.lost("disconnected" if reply == LOST else "timeout")
            else:
                raw = reply.encode("latin-1").replace(b"\n", b"\r\n") + b"\r\n"
                self.hear(raw, byte_by_byte=byte_by_byte)


def commands(wire: bytes) -> list[str]:
    """The first word of each line that was sent."""
    return [line.split(b" ")[0].decode() for line in wire.split(b"\r\n") if line]
