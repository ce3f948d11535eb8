"""The server's side of SMTP (RFC 5321) without sockets or clocks.

::

    machine = SmtpServer(config)
    machine.greet()
    machine.receive(data, mark)             # bytes in; `mark` is what the caller wants back, such as a time
    while (event := machine.next_event()):  # None: nothing more until there is more input, or an answer
        ...
    transport.write(machine.data_to_send())

`MessageReceived` has to be answered with `accept` or `refuse`, `TlsRequested` with `tls_started`; what the
client has pipelined meanwhile waits (RFC 2920), except behind STARTTLS, where it is thrown away
(CVE-2011-0411). However the input is cut, the events and replies are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from bench.protocol.smtp_auth import AuthExchange
from bench.protocol.smtp_commands import (
    MESSAGE_TOO_LARGE,
    SEQUENCE,
    MailCommand,
    Refusal,
    Reply,
    State,
    parse_bdat,
    parse_mail,
    parse_rcpt,
)
from bench.protocol.smtp_events import (
    Closed,
    Envelope,
    Event,
    MessageReceived,
    Said,
    ServerConfig,
    TlsRequested,
)
from bench.protocol.smtp_input import Input, checked_message

__all__ = (
    "Closed",
    "Envelope",
    "Event",
    "MessageReceived",
    "Said",
    "ServerConfig",
    "SmtpServer",
    "TlsRequested",
)

COMMAND_LIMIT = 2048
"""The longest command line with its CRLF; the standard asks for 512 and what extensions add."""
CHALLENGE_LIMIT = 12288
"""The longest line of an AUTH exchange (RFC 4954 section 4.2)."""


class _Step(Enum):
    """What reading led to, if not to an event."""

    AGAIN = auto()
    NEED_DATA = auto()


@dataclass(slots=True)
class _Transaction:
    """What has come of one message (section 3.3)."""

    command: MailCommand
    mark: int
    recipients: list[str] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    chunks_bytes: int = 0

    def add(self, octets: int) -> int:
        """Count a chunk that is coming; the sum of them."""
        self.chunks_bytes += octets
        return self.chunks_bytes

    def received(self, body: bytes) -> MessageReceived:
        """The whole message."""
        command = self.command
        envelope = Envelope(
            command.sender, tuple(self.recipients), command.size_bytes, command.body, command.smtputf8
        )
        return MessageReceived(envelope, body, self.mark)


@dataclass(slots=True)
class _Chunk:
    """One BDAT whose octets are still coming; those of a refused one are swallowed (RFC 3030 section 2)."""

    octets: int
    left: int
    last: bool
    after: State
    refusal: Refusal | None = None


_OK = Reply(250, "2.0.0", "Ok")
_SENDER_OK = Reply(250, "2.1.0", "Sender ok")
_RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
_GO_AHEAD = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
_BAD_SEQUENCE = (503, "5.5.1", "Bad sequence of commands")


class SmtpServer:
    """One session. See the module."""

    def __init__(self, config: ServerConfig, *, secured: bool = False, stepwise: bool = False) -> None:
        self.config = config
        self._stepwise = stepwise
        """Whether each answer is an event of its own (`Said`), so that the caller may tamper with it."""
        self.secured = secured
        """Whether TLS is on."""
        self.crowded = False
        """Whether the client has more connections than it may have: then it cannot authenticate."""
        self.authenticated = False
        self.state = State.GREETED
        self._needs_auth = config.auth is not None and bool(config.mechanisms)
        self._enhanced = "ENHANCEDSTATUSCODES" in config.extensions
        self._input = Input()
        self._out: list[bytes] = []
        self._exchange: AuthExchange | None = None
        self._message = _Transaction(MailCommand(""), 0)
        self._granted: State | None = None
        """Before the last command, if that was granted."""
        self._chunk = _Chunk(0, 0, False, State.READY)

    # ------------------------------------------------------------------ the caller's side

    def greet(self) -> None:
        """Put the banner among the bytes to send."""
        self._say(Reply(220, "", f"{self.config.hostname} ESMTP sendbench mock"))

    def receive(self, data: bytes, mark: int = 0) -> None:
        """Take input. What comes after the end, or before TLS that was asked for, is thrown away."""
        if self.state is not State.CLOSED and self.state is not State.TLS:
            self._input.receive(data, mark)

    def next_event(self) -> Event | None:
        """Read on. None: more input is needed, or an answer to the last event."""
        while True:
            reader = _READERS[self.state]
            if reader is None:
                return None
            step = reader(self)
            if step is _Step.NEED_DATA:
                return None
            if step is not _Step.AGAIN:
                return step

    def data_to_send(self) -> bytes:
        """Everything said since the last call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    @property
    def waiting_bytes(self) -> int:
        """Input that has not been read yet."""
        return len(self._input)

    def accept(self, name: str) -> None:
        """Take the message, which is called `name` from now on: 250. Raises RuntimeError when none waits."""
        enhanced, text = self.config.accepted
        self._decide(Reply(250, enhanced, text.replace("{id}", name)))

    def refuse(self, code: int, enhanced: str, text: str) -> None:
        """Refuse the message. Raises RuntimeError when none waits."""
        self._decide(Reply(code, enhanced, text))

    def tls_started(self) -> None:
        """TLS is on; all that was said before is forgotten (RFC 3207 section 4.2). Raises RuntimeError."""
        if self.state is not State.TLS:
            raise RuntimeError("TLS was not asked for")
        self.secured = True
        self.state = State.GREETED

    def _decide(self, reply: Reply) -> None:
        if self.state is not State.DECIDING:
            raise RuntimeError("no message waits for a decision")
        self._say(reply)
        self.state = State.READY

    def _say(self, reply: Reply) -> None:
        self._out.append(reply.wire(self._enhanced))

    def take_back(self) -> None:
        """The last command was granted, and the client is told that it was not: as if it had been refused."""
        before, self._granted = self._granted, None
        if before is None:
            return
        if self.state is State.RCPT:
            self._message.recipients.pop()
        if before is State.CHALLENGED or (self.authenticated and before is self.state is State.READY):
            self.authenticated = False
        self.state = State.READY if before is State.CHALLENGED else before

    # ------------------------------------------------------------------ reading

    def _read_command(self) -> Event | _Step:
        before, self._granted, step = self.state, None, ""
        try:
            line = self._input.line(COMMAND_LIMIT)
            if line is None:
                return _Step.NEED_DATA
            step = line.partition(b" ")[0].decode("ascii", "replace").lower()
            self._command(line)
            self._granted = before
        except Refusal as refusal:
            self.state = before
            self._say(refusal.reply)
        if self._stepwise and self.state is not State.CHUNK:
            return Said(step)
        if self.state is State.TLS or self.state is State.CLOSED:
            self._input.clear()
            return TlsRequested() if self.state is State.TLS else Closed()
        return _Step.AGAIN

    def _command(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        handler = _HANDLERS.get(verb)
        if handler is None:
            raise Refusal(500, "5.5.2", "Command not recognized")
        try:
            argument = rest.decode().rstrip(" \t")
        except UnicodeDecodeError:
            raise Refusal(500, "5.5.2", "Neither ASCII nor UTF-8") from None
        before, target = self.state, SEQUENCE[verb].get(self.state)
        if target is not None:
            self.state = target
        elif verb == b"DATA" and before is State.MAIL:
            raise Refusal(554, "5.5.1", "No valid recipients")
        elif verb != b"BDAT":  # which has to swallow its octets first
            raise Refusal(*_BAD_SEQUENCE)
        handler(self, argument)

    def _read_challenge(self) -> Event | _Step:
        try:
            line = self._input.line(CHALLENGE_LIMIT)
            if line is None:
                return _Step.NEED_DATA
            self._granted = None
            if self._exchange is not None:
                self._go_on(self._exchange.respond(line))
                self._granted = State.CHALLENGED
        except Refusal as refusal:
            self.state = State.READY
            self._say(refusal.reply)
        return Said("challenge") if self._stepwise else _Step.AGAIN

    def _read_text(self) -> Event | _Step:
        try:
            text = self._input.text(self.config.max_message_bytes)
        except Refusal as refusal:
            self.state = State.READY
            self._say(refusal.reply)
            return _Step.AGAIN
        if text is None:
            return _Step.NEED_DATA
        self.state = State.DECIDING
        return self._message.received(text)

    def _read_chunk(self) -> Event | _Step:
        chunk = self._chunk
        if chunk.left and not len(self._input):
            return _Step.NEED_DATA
        data = self._input.take(chunk.left)
        chunk.left -= len(data)
        if chunk.refusal is None:
            self._message.chunks.append(data)
        return _Step.AGAIN if chunk.left else self._end_chunk(chunk)

    def _end_chunk(self, chunk: _Chunk) -> Event | _Step:
        self.state = chunk.after
        try:
            if chunk.refusal is not None:
                raise chunk.refusal
            if chunk.last:
                body = b"".join(self._message.chunks)
                checked_message(body, body, self.config.max_message_bytes)
                self.state = State.DECIDING
                return self._message.received(body)
        except Refusal as refusal:
            self._say(refusal.reply)
        else:
            self._say(Reply(250, "2.0.0", f"{chunk.octets} octets received"))
        return Said("bdat") if self._stepwise else _Step.AGAIN

    # ------------------------------------------------------------------ session commands

    def _ehlo(self, argument: str) -> None:
        _need_hostname(argument, "EHLO")
        lines = [self.config.hostname, *self._offers()]
        self._out.extend(f"250-{each}\r\n".encode() for each in lines[:-1])
        self._out.append(f"250 {lines[-1]}\r\n".encode())

    def _offers(self) -> list[str]:
        offers = [f"SIZE {self.config.max_message_bytes}", *self.config.extensions]
        if self.config.starttls and not self.secured:
            return [*offers, "STARTTLS"]
        return [*offers, "AUTH " + " ".join(self.config.mechanisms)] if self._needs_auth else offers

    def _helo(self, argument: str) -> None:
        _need_hostname(argument, "HELO")
        self._say(Reply(250, "", self.config.hostname))

    def _starttls(self, argument: str) -> None:
        if not self.config.starttls:
            raise Refusal(502, "5.5.1", "STARTTLS is not offered")
        if self.secured:
            raise Refusal(503, "5.5.1", "TLS is on already")
        _need_nothing(argument, "STARTTLS")
        self._say(Reply(220, "2.0.0", "Ready to start TLS"))

    def _rset(self, argument: str) -> None:
        _need_nothing(argument, "RSET")
        self._say(_OK)

    def _noop(self, argument: str) -> None:
        self._say(_OK)

    def _help(self, argument: str) -> None:
        self._say(Reply(214, "2.0.0", "See RFC 5321"))

    def _vrfy(self, argument: str) -> None:
        if not argument:
            raise Refusal(501, "5.5.4", "Syntax: VRFY address")
        self._say(Reply(252, "2.5.2", "Cannot VRFY, but will take the message"))

    def _expn(self, argument: str) -> None:
        raise Refusal(502, "5.5.1", "EXPN is not implemented")

    def _quit(self, argument: str) -> None:
        _need_nothing(argument, "QUIT")
        self._say(Reply(221, "2.0.0", "Bye"))

    def _auth(self, argument: str) -> None:
        self._need_tls()
        if self.config.auth is None or not self._needs_auth:
            raise Refusal(502, "5.5.1", "AUTH is not offered")
        if self.authenticated:
            raise Refusal(503, "5.5.1", "Already authenticated")
        if self.crowded:
            raise Refusal(535, "5.7.8", "Too many connections per account")
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() not in self.config.mechanisms:
            raise Refusal(504, "5.5.4", "Authentication mechanism not offered")
        self._exchange = AuthExchange(self.config.auth)
        self._go_on(self._exchange.begin(mechanism.upper(), initial))

    def _go_on(self, step: bytes | bool) -> None:
        """Send the next challenge, or the verdict."""
        if isinstance(step, bytes):
            self._out.append(b"334 " + step + b"\r\n")
            self.state = State.CHALLENGED
            return
        self.state = State.READY
        if not step:
            raise Refusal(535, "5.7.8", "Authentication credentials invalid")
        self.authenticated = True
        self._say(Reply(235, "2.7.0", "Authentication successful"))

    # ------------------------------------------------------------------ transactions

    def _need_tls(self) -> None:
        if self.config.starttls and not self.secured:
            raise Refusal(530, "5.7.0", "Must issue a STARTTLS command first")

    def _mail(self, argument: str) -> None:
        self._need_tls()
        if self._needs_auth and not self.authenticated:
            raise Refusal(530, "5.7.0", "Authentication required")
        command = parse_mail(argument)
        if command.size_bytes is not None and command.size_bytes > self.config.max_message_bytes:
            raise Refusal(*MESSAGE_TOO_LARGE)
        self._message = _Transaction(command, self._input.mark_at_line())
        self._say(_SENDER_OK)

    def _rcpt(self, argument: str) -> None:
        message = self._message
        if len(message.recipients) >= self.config.max_recipients:
            raise Refusal(452, "4.5.3", "Too many recipients")
        message.recipients.append(parse_rcpt(argument, smtputf8=message.command.smtputf8))
        self._say(_RECIPIENT_OK)

    def _data(self, argument: str) -> None:
        _need_nothing(argument, "DATA")
        self._say(_GO_AHEAD)

    def _bdat(self, argument: str) -> None:
        if "CHUNKING" not in self.config.extensions:
            raise Refusal(502, "5.5.1", "CHUNKING is not offered")
        try:
            octets, last = parse_bdat(argument)
        except Refusal as refusal:  # where its octets end is anyone's guess: none may be read as commands
            self._say(refusal.reply)
            self.state = State.CLOSED
            return
        chunk = _Chunk(octets, octets, last, State.READY if last else State.CHUNKS)
        if self.state is not State.CHUNK:
            chunk.after, chunk.refusal = self.state, Refusal(*_BAD_SEQUENCE)
        elif self._message.add(octets) > self.config.max_message_bytes:
            chunk.after, chunk.refusal = State.READY, Refusal(*MESSAGE_TOO_LARGE)
        self._chunk, self.state = chunk, State.CHUNK


_HANDLERS: Mapping[bytes, Callable[[SmtpServer, str], None]] = {
    b"EHLO": SmtpServer._ehlo, b"HELO": SmtpServer._helo, b"STARTTLS": SmtpServer._starttls,
    b"AUTH": SmtpServer._auth, b"MAIL": SmtpServer._mail, b"RCPT": SmtpServer._rcpt,
    b"DATA": SmtpServer._data, b"BDAT": SmtpServer._bdat, b"RSET": SmtpServer._rset,
    b"NOOP": SmtpServer._noop, b"HELP": SmtpServer._help, b"VRFY": SmtpServer._vrfy,
    b"EXPN": SmtpServer._expn, b"QUIT": SmtpServer._quit,
}  # fmt: skip


_READERS: Mapping[State, Callable[[SmtpServer], Event | _Step] | None] = {
    **dict.fromkeys(State, SmtpServer._read_command),
    State.TEXT: SmtpServer._read_text,
    State.CHUNK: SmtpServer._read_chunk,
    State.CHALLENGED: SmtpServer._read_challenge,
    **dict.fromkeys((State.DECIDING, State.TLS, State.CLOSED)),
}
"""What reads the input in each state; None: it waits."""


def _need_nothing(argument: str, command: str) -> None:
    if argument:
        raise Refusal(501, "5.5.4", f"Syntax: {command}")


def _need_hostname(argument: str, command: str) -> None:
    if not argument or " " in argument or not argument.isprintable():
        raise Refusal(501, "5.5.4", f"Syntax: {command} hostname")
