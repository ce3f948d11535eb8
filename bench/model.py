"""The values that cross module borders. Frozen, standard library only.

Read top to bottom this is the way data takes through the program:
`Case -> Message -> Sample -> CaseRun -> Summary`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

# --------------------------------------------------------------------------- words


class Transport(StrEnum):
    """How a message travels."""

    SMTP = "smtp"
    API = "api"


class Connection(StrEnum):
    """Whether connections are kept for the next message."""

    POOLED = "pooled"
    UNPOOLED = "unpooled"


class TlsMode(StrEnum):
    """When TLS begins: after STARTTLS (then required), at once, or never."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


class TargetKind(StrEnum):
    """What a scenario's `target` names."""

    MOCK = "mock"
    SMTP = "smtp"
    HTTP = "http"
    SANDBOX = "sandbox"
    LIVE = "live"


class Outcome(StrEnum):
    """The one state every scheduled message ends in."""

    ACCEPTED = "accepted"
    REJECTED_TEMP = "rejected_temp"
    REJECTED_PERM = "rejected_perm"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DROPPED = "dropped"


SMTP_PHASES = (
    "dns", "tcp", "tls", "banner", "ehlo", "starttls", "auth",
    "envelope", "mail", "rcpt", "data", "body", "reply",
)  # fmt: skip
API_PHASES = ("dns", "tcp", "tls", "send", "server", "receive")
API_ONLY_PHASES = ("send", "server", "receive")
PHASES = (*SMTP_PHASES, *API_ONLY_PHASES)
"""Every phase that tiles a service time, in the order a report shows them."""

# ------------------------------------------------------------------------ scenario


class Secret:
    """A value that no repr, format, copy or dump ever shows; `reveal()` gives it."""

    __slots__ = ("_value", "reference")

    def __init__(self, value: str, reference: str = "") -> None:
        self._value = value
        self.reference = reference
        """Where it came from, such as `${env:SMTP_PASSWORD}`: safe to show."""

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return (Secret, ("***",))

    def __getstate__(self) -> None:
        """Python 3.11's default would hand the slots out."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where messages go. `host` and `port` are empty for the mock until it has started."""

    kind: TargetKind
    url: str = ""
    host: str = ""
    port: int = 0
    path: str = "/"
    https: bool = False


_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*\Z")
_HEADER_NAME = re.compile(r"[!-9;-~]+\Z")


def check_address(text: str) -> str:
    """The bare address `local@domain`, unchanged: what is checked is what is sent.

    Raises ValueError for anything else: a display name, a list, quotes, a line break, non-ASCII
    characters, an address that is too long (RFC 5321 section 4.5.3.1).
    """
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII; addresses that need SMTPUTF8 are not built yet")
    if _ADDRESS.match(text) is None:
        raise ValueError(f"{text!r} is not one bare address such as ann@example.org")
    if len(text) > 254 or len(text.partition("@")[0]) > 64:
        raise ValueError(f"{text!r} is too long for an address (254 characters, 64 before the @)")
    return text


def check_header(name: str, value: str) -> None:
    """Raise ValueError for a header that could end early or start another (CR, LF, NUL, non-ASCII name)."""
    if _HEADER_NAME.match(name) is None:
        raise ValueError(f"{name!r} is not a header name: printable ASCII without spaces and colons")
    if any(c in value for c in "\r\n\0"):
        raise ValueError(f"the value of header {name} holds a line break or NUL")


_TOKEN = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}\Z")


def check_media_type(text: str) -> None:
    """Raise ValueError for what is no media type (RFC 6838 section 4.2) or none that a file can have."""
    if _MEDIA_TYPE.match(text) is None or text.lower().startswith(("multipart/", "message/")):
        raise ValueError(f"{text!r} is not a media type an attachment can have, such as application/pdf")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message."""

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """What to send. Either `eml` (the user's own message) or the other fields."""

    size_bytes: int | None = None
    """The whole MIME message before dot-stuffing; None: as long as its parts make it."""
    sender: str = "sender@sendbench.example"
    recipients: tuple[str, ...] = ("recipient@sendbench.example",)
    rotate_recipients: bool = False
    """True when the recipients came from a file: each message goes to the next one alone."""
    subject: str = "sendbench"
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    eml: bytes | None = None

    @property
    def recipients_each(self) -> int:
        """How many recipients one message has."""
        return 1 if self.rotate_recipients else len(self.recipients)


@dataclass(frozen=True, slots=True)
class Network:
    """What the shaper puts in front of a loopback target. `rtt_ns` is split in halves."""

    rtt_ns: int = 0
    jitter_ns: int = 0
    """Each one-way delay is drawn uniformly from rtt/2 +- jitter/2; bytes never overtake each other."""
    bandwidth: float = 0.0
    """Bytes per second each way; 0: no limit."""

    @property
    def shaped(self) -> bool:
        return bool(self.rtt_ns or self.jitter_ns or self.bandwidth)


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long the mock takes to decide: `constant`, or drawn per message from a seeded distribution."""

    kind: str = "constant"
    """constant | lognormal | exponential | uniform | observed"""
    p50_ns: int = 0
    """constant: the value; lognormal, observed: the median; exponential: the mean; uniform: the low end."""
    sigma: float = 0.0
    """lognormal: the standard deviation of the logarithm."""
    high_ns: int = 0
    """uniform: the high end."""
    values_ns: tuple[int, ...] = ()
    """observed: what is drawn from, each as likely as the others."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a mock does wrong, where, and to which occurrences of that; see `scenario.faults`."""

    at: str
    """The step at which it happens, such as `mail` or `dot`."""
    do: str
    """What happens, such as `reply` or `rst`."""
    text: bytes = b""
    """What is said, where something is."""
    nth: int | None = None
    """Only the step's so-manieth occurrence at this mock, from 1; None: each."""
    use: int | None = None
    """Only the so-manieth message or call of a connection, from 1; None: any."""
    connection: int | None = None
    """Only the so-manieth connection to this mock, from 1; None: any."""
    share: float = 1.0
    """Of what the fields above leave, so much, drawn at random."""
    delay_ns: int = 0
    """How long something is put off; drip: between two bytes."""
    size: int = 0
    """flood: so many bytes, 0: without end. body: it happens once so many bytes of the body have come."""
    taken: bool | None = None
    """reply: whether the message is taken all the same; None: as the answer's code says."""


def warms_up(seq: int, begins: Sequence[int], warmup: int) -> bool:
    """Whether a message is one of the first `warmup` of a part; `begins` has the first of each."""
    return any(begin <= seq < begin + warmup for begin in begins)


@dataclass(frozen=True, slots=True)
class Load:
    """How messages are released. Which fields count depends on the model; see `pacing`."""

    model: str
    """closed | constant | poisson | ramp | steps"""
    messages: int | None
    """Measured messages, without warm-up; None where only a closed model's duration bounds them."""
    duration_ns: int | None = None
    warmup: int = 0
    """Messages sent first, in the same way, and kept out of every figure."""
    concurrency: int | None = None
    rates_per_s: tuple[float, ...] = ()
    """constant, poisson: one; ramp: from and to; steps: one each."""
    step_ns: int | None = None
    max_in_flight: int | None = None
    parts: int = 1
    """It is sent in so many, one after another and as equal as can be, each against what has been started
    anew and with a warm-up of its own."""

    @property
    def open(self) -> bool:
        return self.model != "closed"

    @property
    def count(self) -> int | None:
        """All messages, warm-up included; None where only a duration bounds them."""
        return None if self.messages is None else self.begin(self.parts)

    def begin(self, part: int) -> int:
        """The first message of a part, with which its warm-up begins; of the part after the last: the end."""
        return part * self.warmup + -(-(self.messages or 0) * part // self.parts)

    @property
    def begins(self) -> tuple[int, ...]:
        """The first message of each part."""
        return tuple(map(self.begin, range(self.parts)))

    def part_of(self, seq: int) -> int:
        """The part of a message."""
        if self.messages is None:
            return 0
        return bisect_right(range(1, self.parts), seq, key=self.begin)

    def warms_up(self, seq: int) -> bool:
        """Whether a message belongs to the warm-up of its part."""
        return warms_up(seq, self.begins, self.warmup)

    @property
    def twice(self) -> Load:
        """The same for as many messages again, in as many parts again."""
        messages = None if self.messages is None else 2 * self.messages
        duration_ns = None if self.duration_ns is None else 2 * self.duration_ns
        return replace(self, messages=messages, duration_ns=duration_ns, parts=2 * self.parts)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """`ca_file` adds a certificate authority to be trusted; else the system's are."""

    mode: TlsMode = TlsMode.STARTTLS
    verify: bool = True
    resume: bool = False
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Auth:
    """SMTP: user and password. API: `password` is the key; `user` only where the provider has one."""

    user: Secret | None
    password: Secret


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The connections kept, and when one is given up before the server does it. None: never."""

    size: int
    max_messages: int | None = None
    """Messages that one connection is used for."""
    idle_ns: int | None = None
    """How long a connection may lie unused."""
    max_age_ns: int | None = None
    ping_ns: int | None = None
    """How long a connection may lie unused before it is asked for a sign of life (SMTP: NOOP)."""
    preconnect: bool = False
    """Open all of them before the first message; what that takes belongs to no message."""
    order: str = "lifo"
    """lifo: the one used last is used first; fifo: they take turns."""


@dataclass(frozen=True, slots=True)
class SmtpOptions:
    """Whether the client may use an extension that saves round trips: `auto` or `off`."""

    pipelining: str = "auto"
    chunking: str = "auto"


@dataclass(frozen=True, slots=True)
class Template:
    """What a JSON API of one's own is sent, and where in its answer the message's id stands."""

    body: str
    """JSON with placeholders, such as `{to}`"""
    method: str = "POST"
    id: str | None = None
    """The names on the way to the id, with dots between; None: its answer is not read"""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a message is sent again, which by default none is."""

    on: str
    """temp: rejected for now; unknown: that as well, and where nobody knows what became of it"""
    attempts: int = 5
    """At most, the first one included."""
    base_ns: int = 1_000_000_000
    """The longest wait before the second attempt; it doubles with each further one."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One parsed line of `thresholds:`, for instance `p95(service) < 800ms where connection=pooled`."""

    text: str
    function: str
    """p50 p90 p95 p99 p999 mean min max share rate"""
    subject: str
    """latency service wait lag phase.<name>, an outcome for share, empty for rate"""
    operator: str
    """< <= > >="""
    limit: float
    """ns for times, 0..1 for share, messages per second for rate"""
    where: tuple[tuple[str, str], ...] = ()
    line: int = 0
    abort: bool = False
    """Whether it ends the run once it can no longer pass."""


@dataclass(frozen=True, slots=True)
class Case:
    """One point of a scenario's matrix: everything that is needed to run it."""

    index: int
    id: str
    """`provider/transport/connection` plus every other varying key as `/key=value`, sorted"""
    labels: Mapping[str, str]
    """provider, transport, connection, client, load, and every varying key by its dotted name"""
    target: Target
    provider: str
    transport: Transport
    connection: Connection
    client: str
    message: MessageSpec
    network: Network
    service_time: ServiceTime
    load: Load
    tls: TlsSettings
    auth: Auth | None
    pool: PoolOptions
    smtp: SmtpOptions
    timeout_ns: int
    """The most one message may take, connection included."""
    workers: int = 1
    """Processes that share the load."""
    source_address: str | None = None
    """The local address to connect from; None: the kernel's choice."""
    rate_limit: float | None = None
    """What the mock takes a second: messages over SMTP, calls of an API; None: no limit."""
    batch: int | None = None
    """Messages in a call of the API; 0: as many as the provider takes. None: one, by the call for one."""
    region: str | None = None
    """One of the provider's; None: its default."""
    comparison: str = ""
    """What the comparison is called that it takes part in: cases of one run interleaved. Empty: none."""
    faults: tuple[Fault, ...] = ()
    """What the mock does wrong."""
    retry: Retry | None = None
    """None: one message, one attempt."""
    template: Template | None = None
    """None: a server of one's own gets the MIME message itself."""
    mock_auth: bool = True
    """Whether the SMTP mock asks for credentials."""
    command: str | None = None
    """What starts the server for the time of the case; the port of the target is known then."""

    @property
    def shaped_rtt_ns(self) -> int | None:
        """The configured round trip time, where a shaper imposes it."""
        return self.network.rtt_ns if self.network.shaped else None

    @property
    def planted_p50_ns(self) -> int | None:
        """The mock's planted service time; None where something else answers."""
        return self.service_time.p50_ns if self.target.kind is TargetKind.MOCK else None

    @property
    def server(self) -> str:
        """What answers: `mock`, the target's address, or the command that is started for it."""
        return self.command or self.target.url or str(self.target.kind)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much slower the second of two variants may be. Shares of 1; 0.05 is 5 %."""

    effect: Mapping[str, float]
    """p50, p95, p99 -> what is no regression even where it is shown."""
    limit: Mapping[str, float]
    """p50, p95, p99 -> below what the slowdown must be shown to be for a pass."""
    lost: float = 0.01
    """By how much the share of messages that were not accepted may grow, likewise."""
    own: tuple[str, ...] = ()
    """Percentiles with a limit of somebody's own: where one cannot be judged, nothing passes."""

    def within(self, limits: Mapping[str, float]) -> Limits:
        """The same with some limits of somebody's own: what they allow is no regression either."""
        return Limits({**self.effect, **limits}, {**self.limit, **limits}, self.lost, tuple(sorted(limits)))


DEFAULT_LIMITS = Limits(
    effect={"p50": 0.02, "p95": 0.04, "p99": 0.08}, limit={"p50": 0.05, "p95": 0.10, "p99": 0.50}
)


@dataclass(frozen=True, slots=True)
class Gate:
    """A verdict that is asked for on the second of two variants."""

    limits: Limits
    stages: int = 1
    """2: what is inconclusive goes on for as many messages again, and is judged on all of them."""
    processes: int = 1
    """How often each variant's server is started, one after another, for its share of a stage's messages. Of
    several, the process is what is exchanged (`paired`): what one has by chance is not taken for its code."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario after matrix and profile have been applied."""

    name: str
    description: str
    tags: Mapping[str, str]
    file: str
    source: bytes
    """The file as given."""
    cases: tuple[Case, ...]
    thresholds: tuple[Threshold, ...]
    compare: tuple[str, ...] = ()
    """The keys of the matrix whose values are compared, if any."""
    gate: Gate | None = None
    left_out: tuple[str, ...] = ()
    """Why cases that the file describes are not among these, a sentence each."""

    @property
    def longest(self) -> Scenario:
        """The same with all the messages that it may come to: those of its gate's second stage, too."""
        if self.gate is None or self.gate.stages == 1:
            return self
        return replace(self, cases=tuple(replace(case, load=case.load.twice) for case in self.cases))

    @property
    def groups(self) -> tuple[tuple[Case, ...], ...]:
        """The cases in the order of their running: each alone, those of a comparison together."""
        found: dict[str, list[Case]] = {}
        for case in self.cases:
            found.setdefault(f"compare {case.comparison}" if case.comparison else case.id, []).append(case)
        return tuple(tuple(cases) for cases in found.values())


# ------------------------------------------------------------------------- sending


class Message(NamedTuple):
    """One message, ready to travel."""

    seq: int
    key: str
    sender: str
    recipients: tuple[str, ...]
    head: bytes
    """Of what travels the beginning, as far as it is this message's own. SMTP: a MIME message with CRLF line
    ends, not dot-stuffed. API: the request body."""
    tail: bytes = b""
    """What follows, the same object for all messages of a case: a large one need not be copied for each."""
    dotted: bool = True
    """Whether a line may begin with a dot. To look for one takes longer than all else about a message."""
    eight_bit: bool | None = None
    """Whether a byte is over 127; None: to be looked up, which takes a while with a large message."""
    members: tuple[Message, ...] = ()
    """Of a batch call: the messages in it, without their payloads; the first one's names are the call's."""

    @property
    def payload(self) -> bytes:
        """All of it."""
        return self.head + self.tail if self.tail else self.head

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.head) + len(self.tail)


@dataclass(frozen=True, slots=True)
class Parts:
    """A message as a provider's API wants to hear it: in pieces. Addresses are bare."""

    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[Attachment, ...]
    key: str
    mime: bytes
    """The same message as MIME, for APIs that take that."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a case really connects to once mock and shaper are up, and how it proves who it is."""

    host: str
    port: int
    tls: TlsSettings
    auth: Auth | None
    server_name: str
    """The name the certificate must carry."""
    path: str = ""
    """API: what stands before the provider's own path, without a trailing slash."""
    source_address: str | None = None
    """The local address to connect from; None: the kernel's choice."""


# ------------------------------------------------------------------------- results


class Sample(NamedTuple):
    """The record of one attempt; one row of the samples table. Times: ns on the run's clock.

    A tuple, as the recorder wants columns: those of many tuples are one `zip`.
    """

    case: str
    key: str
    seq: int
    attempt: int
    worker: int
    """Closed: the task that sent it; where processes share the load, the tasks of one follow those of the
    one before. Open: the process, from 0. -1: its row was lost."""
    warmup: bool
    cold: bool
    due_ns: int | None
    ready_ns: int | None
    start_ns: int | None
    end_ns: int | None
    phases: Mapping[str, int]
    """phase -> ns; they tile `end - start`"""
    outcome: Outcome
    round_trips: int | None = None
    quit_ns: int | None = None
    connection_id: int | None = None
    connection_use: int | None = None
    client: str = ""
    http_version: str | None = None
    tls_version: str | None = None
    phase_at_end: str | None = None
    code: int | None = None
    enhanced_code: str | None = None
    reply: bytes | None = None
    """The first 512 bytes of the answer, as they came."""
    error: str | None = None
    """dns tcp timeout tls_missing tls_verify tls auth auth_missing protocol local throttle ... (`faults`)"""
    errno: int | None = None
    anomaly: str | None = None
    notes: str | None = None
    """JSON"""
    replies: bytes | None = None
    """SMTP: the reply to each command of the message, those of an accepted one as codes alone."""
    tcp_rtt_ns: int | None = None
    retransmits: int | None = None
    recipients: int = 1
    recipients_accepted: int | None = None
    bytes_sent: int | None = None
    message_id: str | None = None
    batch_id: str | None = None
    batch_index: int | None = None


@dataclass(frozen=True, slots=True)
class CaseRun:
    """What the engine knows about a case as a whole once it has ended; kept in the manifest."""

    id: str
    labels: Mapping[str, str]
    scheduled: int
    """Measured messages that should have been started, without warm-up."""
    warmup: int
    started_ns: int
    """When the first measured message became ready, on the run's clock."""
    ended_ns: int
    """When the last measured message ended."""
    cpu_ns: int
    """CPU time of the generator's processes from `started_ns` to `ended_ns`."""
    open: bool
    pooled: bool
    rtt_ns: int | None
    """The configured round trip time of a shaped case."""
    service_time_p50_ns: int | None
    """The planted service time of a mock, else None."""
    server: str = ""
    """What answered: `mock`, or the target's address."""
    error: str | None = None
    """Why the case could not be run to its end, in one line."""
    interrupted: bool = False
    quits: tuple[int, ...] = ()
    """connection_id of each kept connection that was taken leave of, with an answer, at the end of the case;
    what QUIT costs where connections are not kept stands in the rows."""
    hiccup_p999_ns: int | None = None
    """How late a process that only slept woke up, from `started_ns` to `ended_ns`: what the platform stole.
    None without one, or where the time was too short for this percentile."""
    hiccup_max_ns: int | None = None
    workers: int = 1
    """Processes that shared the load."""
    comparison: str = ""
    """The comparison it took part in: cases of one ran interleaved. Empty: none."""
    begins: tuple[int, ...] = (0,)
    """The first message of each part of its load, with which a warm-up begins."""
    paused_ns: int = 0
    """What of the time from `started_ns` to `ended_ns` lay between its parts."""
    interleaved: int = 1
    """Cases that one process sent at the same time, this one included; `cpu_ns` is what all of them took."""
    caveat: str = ""
    """What the figures are not, where a provider's sandbox answered."""
    retry: str = ""
    """What was sent again; see `Retry.on`. Empty: nothing."""
    remark: str = ""
    """What else must be known of the figures, as the rest of a sentence."""
    mock_share: float | None = None
    """CPU of the mock over wall time while the case ran; None where something else answered."""
    stopped_by: str = ""
    """The threshold that ended the run, as it could no longer pass for this case."""

    @property
    def took_ns(self) -> int:
        """The time in which its measured messages were sent."""
        return self.ended_ns - self.started_ns - self.paused_ns


@dataclass(frozen=True, slots=True)
class Taken:
    """One line of the mock's log: a message it took (times on CLOCK_MONOTONIC)."""

    key: str
    received_ns: int
    taken_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class WireConnection:
    """One line of the shaper's log: a connection as seen from the client's side of it."""

    connection: int
    client_port: int
    turn_arounds: int
    bytes_up: int
    bytes_down: int


MEASUREMENT = 4
"""Which definition of the figures holds: one more with each entry of the changelog under *Changes what is
measured*. Figures of two runs are only compared where it is the same."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run folder says about itself; the file `manifest.json`."""

    id: str
    """The folder's name: `<UTC time>-<scenario>-<random>`."""
    scenario: str
    description: str
    tags: Mapping[str, str]
    state: str
    """running | finalising | complete | stopped (by a threshold) | aborted | invalid"""
    reason: str | None
    """Why it was stopped or aborted or is invalid, in one line."""
    started_at: str
    """ISO 8601, UTC."""
    clock_offset_ns: int
    """CLOCK_MONOTONIC when the run's clock stood at 0."""
    seed: int
    tool_version: str
    facts: Mapping[str, str]
    """machine, kernel, python, event_loop, timer, git_commit, client versions ..., in the order to show"""
    thresholds: tuple[Threshold, ...]
    cases: tuple[CaseRun, ...]
    """Those that have ended, in the order in which they ran."""
    rows: int | None = None
    """Rows of samples.parquet, once it has been made."""
    log_sha256: str | None = None
    """SHA-256 of the raw log that samples.parquet was made from."""
    gate: Gate | None = None
    """The verdict that was asked for on what was compared, if one was."""
    looks: int = 1
    """How often the gate has judged: its stages so far."""
    config_hash: str = ""
    """What the cases were, in short: a run is only gone on with as what it was."""
    file: str = ""
    """The scenario's file as seen from the folder in which the run was started; empty where it is not below
    that, as the names of other folders are nobody's business."""
    measurement: int = 0
    """The `MEASUREMENT` it was made with; 0: from before that was kept."""


# ------------------------------------------------------------------------- summary


@dataclass(frozen=True, slots=True)
class Percentile:
    """An order statistic and its equal-tailed 95 % interval."""

    value_ms: float
    ci95_ms: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A time in milliseconds; a percentile is None where `count` cannot support it."""

    count: int
    mean_ms: float
    min_ms: float
    max_ms: float
    p50: Percentile | None
    p90: Percentile | None
    p95: Percentile | None
    p99: Percentile | None
    p999: Percentile | None


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """How long a phase took where it occurred."""

    count: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How the measured messages ended."""

    scheduled: int
    dropped: int
    attempted: int
    accepted: int
    rejected: int
    failed: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """Messages per second; `offered` is None in closed models."""

    offered_per_s: float | None
    accepted_per_s: float | None


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """`checked` connections were compared with the shaper's count; `mismatched` disagreed."""

    p50: float | None
    checked_connections: int = 0
    mismatched_connections: int = 0


@dataclass(frozen=True, slots=True)
class Cold:
    """The messages of a pooled case that opened a connection."""

    count: int
    service: Distribution | None


class ThresholdVerdict(StrEnum):
    """What became of a threshold."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """`value` in the unit of the limit (ms, share, messages/s)."""

    text: str
    value: float | None
    """None: inconclusive, or beyond every accepted message; `note` says which."""
    verdict: ThresholdVerdict
    line: int = 0
    note: str = ""
    limit: float | None = None
    interval: tuple[float | None, float | None] | None = None
    """95 %, of which an end that is None is infinite; where all of it is within the limit the threshold
    passes, where none of it is it fails. None: there is none, or what counts is what was seen."""


@dataclass(frozen=True, slots=True)
class GeneratorCheck:
    """What the load generator says about itself."""

    lag_p50_ms: float | None
    lag_p99_ms: float | None
    cpu_us_per_message: float | None
    cpu_share: float | None
    """CPU of the generator over wall time of the case, of each process on average; 1.0 is a whole core."""
    event_loop: str
    valid: bool
    reasons: tuple[str, ...] = ()
    """Why it is not valid, and what to do; or a remark where it is."""
    hiccup_p999_ms: float | None = None
    """How late a process that only slept woke up meanwhile: what the platform stole. None: not known."""
    hiccup_max_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Referee:
    """The client's record against the mock's log, by key."""

    taken: int
    false_accepted: int
    """Keys the client counts as accepted and the mock never took."""
    unaccounted: int
    """Keys the mock took that the client neither counts as accepted nor as unknown."""
    duplicates: int
    resent: int = 0
    """Takes of a message that had been taken before, where the run had asked for it (`retry: unknown`)."""


@dataclass(frozen=True, slots=True)
class Retries:
    """What sending again has come to; every other figure is about first attempts."""

    messages: int
    """Messages that were sent more than once."""
    attempts: int
    """Attempts beyond the first ones."""
    end_to_end: Distribution | None
    """Of all accepted messages: from the first moment due or ready to the end of the last attempt."""


class Verdict(StrEnum):
    """What a comparison of two variants says of the second one."""

    PASS = "pass"
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    """Not all of its cases are valid, so nothing is judged."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A percentile of the second variant over that of the first."""

    quantity: str
    """p50, p95 or p99"""
    ratio: float | None
    """None where the percentile is that of a lost message."""
    low: float | None
    """The ends of its interval; None: without end."""
    high: float | None
    p: float | None
    """How probable as much slower a second variant would be, were they alike (Holm-adjusted over the family);
    None where only an interval was asked for, or where the percentile is not judged."""
    detectable: float | None
    """The least slowdown that would be found with 95 % probability, as a share of 1."""
    note: str = ""
    """Why it is not judged, where it is not."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A quantile of the second variant over that of the first: one point of the curve through all of them."""

    q: float
    ratio: float
    low: float | None
    """The ends of its interval; None: without end."""
    high: float | None


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages that were not accepted, as shares of all, and how much more they are of the second variant."""

    a: float
    b: float
    low: float
    high: float
    """The ends of the interval of `b - a`."""
    p: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Two variants of one comparison, the second against the first."""

    a: str
    """Case ids."""
    b: str
    count: int
    """Messages a side; calls, where a call carries several."""
    level: float
    """How often the intervals hold what they are of."""
    ratios: tuple[Ratio, ...]
    lost: Lost | None
    """None where every message of both was accepted."""
    shift: tuple[Shift, ...] = ()
    """From low quantiles to high ones; only in a comparison of two."""


@dataclass(frozen=True, slots=True)
class Place:
    """A variant's place among those that it was compared with, the fastest first."""

    id: str
    groups: str
    """Letters; variants that share one cannot be told apart."""


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """Cases of one run that were interleaved, set against each other."""

    name: str
    """What was compared, such as `provider at transport=smtp`."""
    measure: str
    """latency where all of them ran on a schedule, else service"""
    pairs: tuple[Paired, ...]
    """Each with each."""
    places: tuple[Place, ...]
    """By the median; none where nothing can be said."""
    note: str = ""
    """Why nothing can be said, where that is so."""
    verdict: Verdict | None = None
    """On the second of two, where a gate asked for it."""
    reasons: tuple[str, ...] = ()
    """Of the verdict."""
    alpha: float | None = None
    """What the verdict spent: at most so often it finds a regression where there is none."""
    limits: Limits | None = None
    """What the verdict was judged by."""
    looks: int = 1
    """How often the gate has judged; each time but the last it was inconclusive."""
    stages: int = 1
    """How often it would have, at most."""
    processes: int = 1
    """Of which each variant was so many, one after another."""


Figures = tuple[float | None, float | None, float | None, float]
"""A case of a run in short: p50, p95 and p99 in ms, infinite where it is that of a lost message and None
where there were too few messages; and the share of messages that were not accepted."""


@dataclass(frozen=True, slots=True)
class BaselineRun:
    """What a baseline keeps of a run."""

    id: str
    started_at: str
    """ISO 8601, UTC."""
    commit: str
    """The commit of the working folder that it was started in; empty where that is not known."""
    figures: tuple[Figures, ...]
    """Of each case, in the order of the baseline's `cases`."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Runs of one scenario on one class of machines, as a yardstick for later ones."""

    scenario: str
    config_hash: str
    measurement: int
    machine: Mapping[str, str]
    """What makes the class of machines."""
    cases: Mapping[str, str]
    """Case -> what its times are: latency or service."""
    runs: tuple[BaselineRun, ...]
    """The oldest first."""


@dataclass(frozen=True, slots=True)
class CheckedCase:
    """A case of new runs against the same of a baseline's."""

    id: str
    measure: str
    ratios: tuple[Ratio, ...]
    lost: Lost | None
    """None where every message of all runs was accepted."""
    verdict: Verdict
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BaselineCheck:
    """New runs against a baseline: the worst of its cases' verdicts."""

    scenario: str
    machine: str
    """The class of machines."""
    kept: int
    """Runs in the baseline."""
    new: tuple[str, ...]
    """Ids of the new runs."""
    level: float
    """How often each interval holds what it is of."""
    alpha: float
    """At most so often a regression is found where there is none."""
    cases: tuple[CheckedCase, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Modes:
    """Two kinds of messages: a share of `share` takes about `low_ms`, the rest about `high_ms`."""

    share: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Whether service times were in one state from the first measured message to the last."""

    warmup: int = 0
    """So many messages at the beginning were slower than the rest; 0: none are shown to be."""
    slower: float = 0.0
    """By what share, at the median."""
    drift: float | None = None
    """By what share the median changed over the rest; None: no drift is shown."""
    modes: Modes | None = None
    """None: one mode, or not known."""


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """One case of a report."""

    id: str
    labels: Mapping[str, str]
    counts: Counts
    throughput: Throughput
    latency: Distribution | None
    service: Distribution | None
    wait: Distribution | None
    phases: Mapping[str, PhaseSummary]
    round_trips: RoundTrips
    cold: Cold | None
    thresholds: tuple[ThresholdResult, ...]
    generator: GeneratorCheck
    rtt_ms: float | None
    """The configured RTT of a shaped case, else the shortest tcp phase."""
    open: bool
    errors: Mapping[str, int] = field(default_factory=dict)
    """class of error or code -> count, for everything that was not accepted"""
    referee: Referee | None = None
    error: str | None = None
    comparison: str = ""
    """The comparison it took part in: cases of one ran interleaved. Empty: none."""
    retries: Retries | None = None
    """None where nothing was to be sent again."""
    steadiness: Steadiness | None = None
    """None where there are too few messages to tell, or where the load is meant to change."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which run a summary is about."""

    id: str
    scenario: str
    description: str
    state: str
    started_at: str
    tool_version: str
    seed: int
    facts: Mapping[str, str] = field(default_factory=dict)
    """How it was measured: machine, kernel, Python, event loop, timer, client versions ..."""
    tags: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    """Why it was aborted or is invalid, in one line."""
    rows: int | None = None
    log_sha256: str | None = None
    """What the run's figures were made from: so many rows, out of the raw log with this digest."""
    file: str = ""
    """The scenario's file as seen from where the run was started; empty where it is not below that."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole run in figures."""

    run: RunInfo
    cases: tuple[CaseSummary, ...]
    comparisons: tuple[ComparisonSummary, ...] = ()


class ClaimVerdict(StrEnum):
    """What a run says about a claim in circulation."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_TESTED = "not tested here"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence people repeat, and what this run measured of it."""

    text: str
    verdict: ClaimVerdict
    evidence: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A run in words: the first sentence is the headline."""

    sentences: tuple[str, ...]
    claims: tuple[Claim, ...]
