"""The client's side of SMTP (RFC 5321) without sockets or clocks: one connection, message after message.

::

    machine = SmtpClient(config)
    write(machine.begin(message, span, now_ns))   # the connection is there
    ...
    write(machine.receive(data, now_ns))             # b"": nothing to send now
    if machine.carries: write(machine.tail)          # that was the message: `handed_over` when it is gone
    if machine.wants_tls: ...                        # do the handshake, then write(machine.secured(now_ns))
    if machine.answer: ...                           # the message has ended

The span learns about phases and round trips at the times that are handed in. However the input is cut,
the result is the same. What is not exactly what the standard allows at that point ends the connection
(`usable` is False): another message would be paired with somebody else's replies.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Final

from bench.model import Message, Outcome, TlsMode
from bench.protocol.answer import REPLY_LIMIT, Answer, Note, Notes
from bench.protocol.smtp_replies import (
    CODES,
    Heard,
    ReplyError,
    ReplyParser,
    enhanced_code,
    familiar,
    plain_replies,
    remember,
    text_of,
)
from bench.protocol.smtp_script import (
    BANNER,
    END_OF_TEXT,
    GOOD,
    NO_SHORT_CUT,
    NOOP,
    NOTHING_OFFERED,
    QUIT,
    RSET,
    STARTTLS,
    Capabilities,
    ClientConfig,
    Envelope,
    Flight,
    Step,
    Unsendable,
    as_chunk,
    as_text,
    envelope,
    hello,
    login,
    uses_pipeline,
)
from bench.protocol.span import Span

__all__ = ("ClientConfig", "SmtpClient")

RECIPIENT_REPLY_LIMIT = 1024
"""Characters of the reply to one recipient that are kept until they have been masked."""
_RCPT: Final = Step.RCPT
_BODY: Final = Step.BODY
_ACCEPTED: Final = Outcome.ACCEPTED
_TAKEN: Final[tuple[int, ...]] = (250,)
UNIMPLEMENTED = (500, 502)
"""How a server says that it does not know EHLO; HELO is tried then (RFC 5321 section 3.2)."""
WANTS_AUTH = (530, 538)


class SmtpClient:
    """One connection. See the module."""

    __slots__ = (
        "_anomaly", "_at", "_capabilities", "_config", "_empty_text", "_envelope", "_flights",
        "_login", "_message", "_notes", "_parser", "_ready", "_recipients", "_refusal", "_sayings", "_secure",
        "_skip", "_span", "_steps", "_taken", "_usual", "answer", "carries", "errand", "tail", "usable",
        "wants_tls",
    )  # fmt: skip

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._secure = False
        self._ready = False  # whether the connection is open for messages
        self._capabilities = NOTHING_OFFERED
        self._parser: ReplyParser | None = None  # only while a reply is not whole
        self._steps: Sequence[Step] = ()  # the replies that are waited for ...
        self._at = 0  # ... and which of them is next
        self._usual: tuple[int, ...] = NO_SHORT_CUT  # the codes that need no thought
        self._flights: list[Flight] = []  # those to come before the message, the next one last
        self._login: list[Flight] = []  # those to come before that, likewise
        self._envelope: tuple[tuple[str, tuple[str, ...], int, bool], Envelope] | None = None
        self._message: Message | None = None
        self._span: Span
        self._refusal: Answer | None = None
        self._notes: dict[str, Note] | None = None
        self._sayings: list[bytes] = []  # every reply to this message's commands
        self._recipients: list[tuple[int, bytes]] = []  # those to RCPT
        self._taken = 0  # recipients
        self._skip = 0  # replies to come that are the rest of one that came too early
        self._anomaly: str | None = None  # what was odd, but not the end of it
        self._empty_text = False
        self.wants_tls = False
        """It is time for the handshake: with implicit TLS at once, else when the server is ready."""
        self.carries = False
        """The message, or its one chunk, is on its way to the kernel."""
        self.tail = b""
        """What is to be sent behind what was returned, where that `carries` the message."""
        self.usable = True
        """Whether the connection is fit for another message."""
        self.errand: bool | None = None
        """How RSET, NOOP or QUIT went: None while it is not answered."""
        self.answer: Answer | None = None
        """How the message ended."""

    # ------------------------------------------------------------------ the caller's side

    @property
    def open(self) -> bool:
        """Whether the connection has been opened for messages: greeted, secured, logged in."""
        return self._ready

    @property
    def heard(self) -> bool:
        """Whether the server has said anything about the message."""
        return bool(self._sayings)

    @property
    def first_phase(self) -> str:
        """The phase in which a message begins once the connection is open."""
        return "envelope" if uses_pipeline(self._capabilities, self._config) else "mail"

    def begin(self, message: Message | None, span: Span, now_ns: int) -> bytes:
        """Take on the next message; what to send. Without one the connection is opened, as an errand.

        `answer` may be there at once: for a message that the server does not offer to take.
        """
        self._message, self._span = message, span
        self.answer = self.errand = self._refusal = self._notes = None
        self._taken = self._skip = 0
        self._empty_text, self._anomaly = False, None
        self._sayings, self._recipients = [], []
        if self._ready:
            return self._transaction(now_ns)
        if self._config.tls is TlsMode.IMPLICIT:
            self.wants_tls = True
            return b""
        return self._say(BANNER, now_ns)

    def secured(self, now_ns: int) -> bytes:
        """The handshake that was wanted is over; what to send. What was offered before counts no more."""
        self.wants_tls, self._secure, self._capabilities = False, True, NOTHING_OFFERED
        if self._config.tls is TlsMode.IMPLICIT:
            return self._say(BANNER, now_ns)
        return self._say(hello(Step.EHLO, self._config.local_name), now_ns)

    def handed_over(self, now_ns: int) -> None:
        """The kernel has taken the end of the message."""
        self.carries = False
        self._span.handed_over = not self._empty_text
        if self._steps[self._at] is _BODY:
            self._span.enter("reply", now_ns)
            if len(self._steps) == 1 and self._anomaly is None and self._refusal is None:
                self._usual = _TAKEN

    def lost(self, error: str, errno: int | None = None, notes: Notes | None = None) -> Answer:
        """The answer for a message whose connection is no more, or for which there is no time left."""
        self.usable = False
        if self._parser is not None and not self._skip:
            self._sayings.append(self._parser.pending)
        answer = Answer(self._span.cut_off, error=error, errno=errno, notes=notes)
        if self._refusal is not None:  # what the server still owed us would not have changed its mind
            answer = self._refusal._replace(errno=errno, notes={**(notes or {}), "ended_by": error})
        self._over(answer)
        assert self.answer is not None
        return self.answer

    def prove(self) -> bytes:
        """Ask for a clean slate after a refusal; `errand` tells."""
        return self._run(RSET)

    def ping(self) -> bytes:
        """Ask for a sign of life; `errand` tells."""
        return self._run(NOOP)

    def leave(self) -> bytes:
        """Take leave; `errand` tells."""
        return self._run(QUIT)

    def receive(self, data: bytes, now_ns: int) -> bytes:
        """Take what the server said; what to send."""
        codes, raws = heard = familiar.get(data) or plain_replies(data)
        if codes != self._usual:
            return self._read(data, heard, now_ns)
        # The short cut for what a kept connection hears most: the same as `_take` does, a few calls less.
        span, steps = self._span, self._steps
        span.trips += 1
        self._sayings += raws
        for at in range(len(raws)):
            if steps[at] is _RCPT:
                self._recipients.append((250, raws[at]))
                self._taken += 1
        if self._flights:
            out, self._steps, phase, self._usual = self._flights.pop()
            span.enter(phase, now_ns)
            return out
        self._at, self._usual = len(steps), NO_SHORT_CUT
        return _AFTER[steps[-1]](self, raws[-1], now_ns)

    # ------------------------------------------------------------------ reading

    def _read(self, data: bytes, heard: Heard, now_ns: int) -> bytes:
        """Whatever does not usually come."""
        self._usual = NO_SHORT_CUT
        if not self.usable and not self._steps:
            return b""  # nobody listens any more
        if self._parser is not None or not heard.codes:
            return self._parse(data, now_ns)
        out, codes, raws = b"", heard.codes, heard.raws
        for at in range(len(codes)):
            out = self._spoke_early(raws[at], out) if out else self._take(codes[at], raws[at], now_ns)
        return out

    def _parse(self, data: bytes, now_ns: int) -> bytes:
        """What comes in pieces, has several lines, or is not what it should be."""
        parser = self._parser = self._parser or ReplyParser()
        parser.receive(data)
        out = b""
        try:
            while (reply := parser.next()) is not None:
                if reply.anomaly is not None and self._at < len(self._steps):
                    self._anomaly, self.usable = self._anomaly or reply.anomaly, False
                if reply.raw == data and reply.anomaly is None:
                    remember(data, Heard((reply.code,), (data,)))
                out = self._spoke_early(reply.raw, out) if out else self._take(reply.code, reply.raw, now_ns)
        except ReplyError as error:
            return self._broken(error.anomaly, error.raw)
        pending = parser.pending
        if not pending:
            self._parser = None
        elif out or self._at == len(self._steps):  # the beginning of what nobody asked for
            self._skip += 1
            out = self._spoke_early(pending, out)
        return out

    def _take(self, code: int, raw: bytes, now_ns: int) -> bytes:
        """One reply."""
        steps, at = self._steps, self._at
        if at == len(steps):
            return self._spoke_early(raw, b"")
        if self._skip:
            self._skip -= 1
            return b""
        step = steps[at]
        self._at = at = at + 1
        self._sayings.append(raw)
        if step is _RCPT:
            self._recipients.append((code, raw))
            self._taken += code < 300
        if code not in GOOD[step] or (self.carries and step is _BODY):
            out = self._refused(step, code, raw, now_ns)
            if out is not None:
                return out
        if at < len(steps):
            if steps[at] is Step.BODY:
                self._span.enter("body" if self.carries else "reply", now_ns)
            return b""
        return self._landed(step, raw, now_ns)

    def _landed(self, step: Step, raw: bytes, now_ns: int) -> bytes:
        """All of a flight has been answered."""
        if step < Step.RSET:
            self._span.trips += 1
        if self._refusal is not None:
            return self._after_refusal(step, raw, now_ns)
        if self._flights:
            return self._say(self._flights.pop(), now_ns)
        return _AFTER[step](self, raw, now_ns)

    def _spoke_early(self, raw: bytes, out: bytes) -> bytes:
        """The server said what nobody had asked for yet: whatever it is, replies do not pair any more.

        `out` is what was about to be said; returns what of it still is.
        """
        self.usable = False
        if self.wants_tls:
            return self._broken("injection", raw)
        if self.answer is not None:
            self.answer = self._doubted(self.answer, raw)
            return b""
        if not self._steps:
            return b""  # between two messages
        if not self.carries:
            return self._broken("unsolicited", raw)
        # After a 354 the message goes out all the same: only what comes behind it tells what became of it.
        self._sayings.append(raw)
        self._anomaly = "unsolicited"
        return out

    def _doubted(self, answer: Answer, raw: bytes) -> Answer:
        """The answer after which more came, in the same breath."""
        notes = {**(answer.notes or {}), "unsolicited": text_of(raw, RECIPIENT_REPLY_LIMIT, skip=0)}
        answer = answer._replace(anomaly=answer.anomaly or "unsolicited", notes=notes)
        in_one_flight = self._envelope is not None and self._envelope[1].ahead is not None
        if answer.outcome is Outcome.ACCEPTED and in_one_flight and not raw.startswith(b"421"):
            # One of the replies to the whole flight was one too many, so this may be that to the message.
            return answer._replace(outcome=Outcome.UNKNOWN, error="protocol", recipients_accepted=0)
        return answer

    # ------------------------------------------------------------------ speaking

    def _say(self, flight: Flight, now_ns: int) -> bytes:
        self._steps, self._at, self._usual = flight.steps, 0, flight.usual
        self._span.enter(flight.phase, now_ns)
        return flight.data

    def _run(self, flight: Flight) -> bytes:
        """Something that belongs to no message."""
        self._steps, self._at, self._usual = flight.steps, 0, NO_SHORT_CUT
        self.answer = self.errand = self._refusal = None
        self._sayings = []
        return flight.data

    def _transaction(self, now_ns: int) -> bytes:
        """The first flight of the message."""
        message = self._message
        if message is None:
            return self._after_errand(b"", now_ns)
        try:
            found = self._envelope_of(message)
        except Unsendable as error:
            notes = {**(self._notes or {}), "reason": str(error)}
            return self._over(Answer(Outcome.FAILED, error="local", notes=notes))
        if found.ahead is not None:
            return self._carry(as_chunk(message), found.ahead, now_ns)
        self._flights = list(found.flights[:0:-1])
        return self._say(found.flights[0], now_ns)

    def _envelope_of(self, message: Message) -> Envelope:
        head, tail, eight_bit, kept = message.head, message.tail, message.eight_bit, self._envelope
        if eight_bit is None:
            eight_bit = not (head.isascii() and tail.isascii())
        described = (message.sender, message.recipients, len(head) + len(tail), eight_bit)
        if kept is None or kept[0] != described:
            kept = self._envelope = (described, self._written(*described))
        return kept[1]

    def _written(self, sender: str, recipients: tuple[str, ...], size: int, eight_bit: bool) -> Envelope:
        config = self._config
        return envelope(
            sender, recipients, size, eight_bit, self._capabilities, config.pipelining, config.chunking
        )

    def _carry(self, parts: tuple[bytes, bytes], ahead: Flight | None, now_ns: int) -> bytes:
        """Send the message itself, behind what goes ahead of it in the same flight."""
        data, self.tail = parts
        self.carries, self._at, self._usual = True, 0, NO_SHORT_CUT
        if ahead is None:
            self._steps = (_BODY,)
            self._span.enter("body", now_ns)
            return data
        self._steps = (*ahead.steps, Step.BODY)
        self._span.enter(ahead.phase, now_ns)
        return ahead.data + data

    # ------------------------------------------------------------------ what follows what

    def _after_banner(self, raw: bytes, now_ns: int) -> bytes:
        return self._say(hello(Step.EHLO, self._config.local_name), now_ns)

    def _after_ehlo(self, raw: bytes, now_ns: int) -> bytes:
        self._capabilities = Capabilities.of(raw)
        return self._after_hello(raw, now_ns)

    def _after_hello(self, raw: bytes, now_ns: int) -> bytes:
        """Whatever a HELO is answered with, it offers nothing."""
        config = self._config
        if config.tls is not TlsMode.NONE and not self._secure:
            if "STARTTLS" not in self._capabilities:
                return self._give_up(Answer(Outcome.FAILED, error="tls_missing"))
            return self._say(STARTTLS, now_ns)
        if config.auth is None:
            return self._after_login(raw, now_ns)
        flights = login(config.auth, self._capabilities.mechanisms)
        if flights is None:
            return self._give_up(Answer(Outcome.FAILED, error="auth_missing"))
        self._login = list(flights[:0:-1])
        return self._say(flights[0], now_ns)

    def _after_challenge(self, raw: bytes, now_ns: int) -> bytes:
        """Of AUTH LOGIN: what it asks for is known, but base64 it has to be (RFC 4954 section 4)."""
        try:
            b64decode(raw[4:].strip(), validate=True)
        except ValueError:
            return self._broken("malformed", raw)
        return self._say(self._login.pop(), now_ns)

    def _after_starttls(self, raw: bytes, now_ns: int) -> bytes:
        self.wants_tls = True
        return b""

    def _after_login(self, raw: bytes, now_ns: int) -> bytes:
        self._ready = True
        return self._transaction(now_ns)

    def _after_recipients(self, raw: bytes, now_ns: int) -> bytes:
        """Behind the last recipient where no DATA comes: the message as one chunk."""
        assert self._message is not None
        return self._carry(as_chunk(self._message), None, now_ns)

    def _after_data(self, raw: bytes, now_ns: int) -> bytes:
        assert self._message is not None
        return self._carry(as_text(self._message), None, now_ns)

    def _after_body(self, raw: bytes, now_ns: int) -> bytes:
        anomaly = self._anomaly
        if anomaly == "unsolicited":
            return self._broken(anomaly, raw)
        enhanced = enhanced_code(raw)
        if enhanced is not None and enhanced[0] != "2":
            anomaly = anomaly or "enhanced_mismatch"
        codes = b" ".join([saying[:3] for saying in self._sayings])
        notes = self._notes if self._taken == len(self._recipients) else self._all_notes()
        values = (
            _ACCEPTED, CODES[raw[:3]], enhanced, raw[:REPLY_LIMIT], None, None,
            anomaly, None, self._taken, notes or None, codes, (),
        )  # fmt: skip
        return self._over(tuple.__new__(Answer, values))  # see `Engine._sample`

    def _after_errand(self, raw: bytes, now_ns: int) -> bytes:
        self.errand, self._steps, self._at = True, (), 0
        return b""

    def _after_refusal(self, step: Step, raw: bytes, now_ns: int) -> bytes:
        """The flight in which the message was refused has been answered."""
        refusal = self._refusal
        assert refusal is not None
        if step is not Step.DATA or raw[:1] != b"3":
            if step is Step.BODY and raw[:1] == b"2" and not self._empty_text:
                return self._broken("bad_code", raw)  # taken, though nobody could be meant
            return self._over(refusal)
        if self._taken:  # a lone dot would now deliver an empty message
            return self._give_up(refusal)
        # RFC 2920 section 3.1: a 354 although every recipient was refused; an empty text leads out of it.
        self._empty_text = True
        return self._carry((END_OF_TEXT, b""), None, now_ns)

    # ------------------------------------------------------------------ refusals

    def _refused(self, step: Step, code: int, raw: bytes, now_ns: int) -> bytes | None:
        """A reply that the step has not succeeded with; None where the flight goes on nevertheless."""
        if step >= Step.RSET:
            self.errand, self.usable, self._steps, self._at = False, False, (), 0
            return b""
        if step is Step.EHLO and code in UNIMPLEMENTED:
            self._notes = {**(self._notes or {}), "helo_fallback": True}
            self._span.trips += 1
            return self._say(hello(Step.HELO, self._config.local_name), now_ns)
        if not 400 <= code < 600:
            early = self.carries and step is Step.BODY
            return self._broken("unsolicited" if early else "bad_code", raw, code)
        if self._refusal is None and (step is not Step.RCPT or code == 421 or self._none_taken):
            self._refusal = _refusal(step, code, raw)
        if step < Step.MAIL or code == 421 or (self.carries and step is Step.BODY):
            self._span.trips += 1
            assert self._refusal is not None
            return self._give_up(self._refusal)
        return None

    @property
    def _none_taken(self) -> bool:
        """Whether every recipient has been refused."""
        message = self._message
        return message is not None and not self._taken and len(self._recipients) == len(message.recipients)

    # ------------------------------------------------------------------ the end of a message

    def _broken(self, anomaly: str, raw: bytes, code: int | None = None) -> bytes:
        """Nothing that this server says can be relied on any more."""
        if self.answer is not None or not self._steps:
            self.usable = False
            return b""
        if self._steps[0] >= Step.RSET:
            self.errand = False
        if not self._sayings or self._sayings[-1] is not raw:
            self._sayings.append(raw)
        return self._give_up(
            Answer(
                self._span.cut_off,
                code,
                enhanced_code(raw),
                raw[:REPLY_LIMIT],
                "protocol",
                anomaly=anomaly,
            )
        )

    def _give_up(self, answer: Answer) -> bytes:
        """The end of the message, and of the connection."""
        self.usable = False
        return self._over(answer)

    def _over(self, answer: Answer) -> bytes:
        """The end of the message."""
        if answer.outcome is not _ACCEPTED:
            notes = {**self._all_notes(), **(answer.notes or {})}
            answer = answer._replace(
                anomaly=answer.anomaly or self._anomaly,
                replies=b"".join(self._sayings)[:REPLY_LIMIT] or None,
                notes=notes or None,
            )
        self.answer = answer
        self.carries = False
        self._steps, self._at, self._flights, self._usual = (), 0, [], NO_SHORT_CUT
        return b""

    def _all_notes(self) -> dict[str, Note]:
        """The notes, with the reply to each recipient where not all were taken."""
        notes = dict(self._notes or {})
        if self._taken < len(self._recipients):
            notes["replies"] = [(code, text_of(raw, RECIPIENT_REPLY_LIMIT)) for code, raw in self._recipients]
        return notes


def _refusal(step: Step, code: int, raw: bytes) -> Answer:
    """What a 4yz or 5yz means for the message."""
    enhanced, reply = enhanced_code(raw), raw[:REPLY_LIMIT]
    if step < Step.MAIL:
        kind = "auth" if step >= Step.AUTH_PLAIN else "refused"
        return Answer(Outcome.FAILED, code, enhanced, reply, kind)
    if step is Step.MAIL and code in WANTS_AUTH:
        return Answer(Outcome.FAILED, code, enhanced, reply, "auth_missing")
    outcome = Outcome.REJECTED_PERM if code >= 500 else Outcome.REJECTED_TEMP
    return Answer(outcome, code, enhanced, reply, _class_of(code, enhanced, reply))


def _class_of(code: int, enhanced: str | None, reply: bytes) -> str:
    if code == 555:
        return "param"
    if code in GREYLISTING and (enhanced == "4.7.1" or _GREYLISTED.search(reply)):
        return "greylist"
    return "rejected"


GREYLISTING = (450, 451)
_GREYLISTED = re.compile(rb"gr[ae]y-?list", re.IGNORECASE)
_AFTER: Final[list[Callable[[SmtpClient, bytes, int], bytes]]] = [
    {
        Step.BANNER: SmtpClient._after_banner,
        Step.EHLO: SmtpClient._after_ehlo,
        Step.HELO: SmtpClient._after_hello,
        Step.STARTTLS: SmtpClient._after_starttls,
        Step.AUTH_PLAIN: SmtpClient._after_login,
        Step.AUTH_LOGIN: SmtpClient._after_challenge,
        Step.AUTH_USER: SmtpClient._after_challenge,
        Step.AUTH_PASSWORD: SmtpClient._after_login,
        Step.RCPT: SmtpClient._after_recipients,
        Step.DATA: SmtpClient._after_data,
        Step.BODY: SmtpClient._after_body,
    }.get(step, SmtpClient._after_errand)
    for step in Step
]
"""step -> what follows when its flight has been answered well and no flight was planned behind it."""
