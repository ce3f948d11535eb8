"""What may be sent to real servers: to whom, how much, and that somebody has read the plan and said so.

A run that reaches a real server needs all of: `--live` (or the target `sandbox`), `--budget N`, recipients
that stand on the person's own allow-list, and `--confirm` with the hash that `sendbench plan` prints, which
changes with everything that decides what is sent where. Nothing is asked on the way and nothing is guessed.
What was checked before the run is checked again on every message, on the recipients in the bytes that travel.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import compat32
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from bench.clock import monotonic_ns
from bench.errors import RefusedError, UsageError
from bench.model import Case, Message, TargetKind, TlsMode, Transport, check_address

MAX_RATE_PER_S = 50.0
"""Messages a second to a real server; to find its limits is its owner's affair."""
MAX_CONCURRENCY = 50
MAX_RECIPIENTS = 10
"""Of one message."""
LOOK_NS = 1_000_000_000
"""How often the kill switch is looked for."""

HASH_CHARACTERS = 12
_ADDRESS_KEYS = frozenset(
    {"to", "cc", "bcc", "toaddresses", "ccaddresses", "bccaddresses", "recipients", "bulk_list"}
)
"""Names under which the providers' APIs are told to whom, in lower case."""
_ADDRESS_HEADERS = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc", "x-mj-templateerrorreporting")
"""Whatever the envelope says, some servers go by these, and whoever answers all does."""
_ADDRESS = re.compile(r"[^\s<>,;\"']+@[^\s<>,;\"']+")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_FORM_FIELD = re.compile(
    rb'content-disposition: form-data; name="(?:to|cc|bcc)"\r\n\r\n(.*?)\r\n--',
    re.IGNORECASE | re.DOTALL,
)


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the person's own rules lie, outside any scenario."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "sendbench"


class AllowList:
    """Whom real mail may go to: exact addresses, and whole domains written as `@example.org`."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._addresses, self._domains = set[str](), set[str]()
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        local, _, domain = entry.partition("@")
        check_address(entry if local else f"x{entry}")
        if local:
            self._addresses.add(f"{local}@{domain.lower()}")
        else:
            self._domains.add(domain.lower())

    @staticmethod
    def read(path: Path) -> AllowList:
        """The list in a file, an entry a line, `#` begins a comment; no file: nobody. Raises UsageError."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return AllowList()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the allow-list {path}: {error}") from error
        found = AllowList()
        for number, line in enumerate(text.splitlines(), 1):
            entry = line.partition("#")[0].strip()
            try:
                if entry:
                    found._add(entry)
            except ValueError as error:
                raise UsageError(f"{path}:{number}: {error}") from error
        return found

    def allows(self, address: str) -> bool:
        """Whether mail may go there; only what `check_address` takes is an address at all."""
        try:
            local, _, domain = check_address(address).partition("@")
        except ValueError:
            return False
        domain = domain.lower()
        return domain in self._domains or f"{local}@{domain}" in self._addresses


@dataclass(frozen=True, slots=True)
class Permission:
    """What the person has said on the command line, and their own list."""

    live: bool = False
    budget: int = 0
    """Deliveries (messages times recipients) in a day, over all runs."""
    confirm: str = ""
    allow: AllowList = field(default_factory=AllowList)
    allow_file: str = "the allow-list"
    kill_switch: Path | None = None
    """A file that forbids everything as long as it exists."""


def deliveries(cases: Sequence[Case]) -> int:
    """How many deliveries these cases ask for. Raises RefusedError where one has no end."""
    total = 0
    for case in cases:
        if case.load.count is None:
            raise RefusedError(f"{case.id}: a load without a number of messages has no budget; give messages")
        total += case.load.count * case.message.recipients_each
    return total


def plan_hash(cases: Sequence[Case]) -> str:
    """A short name for all that a case is, so that nothing of it changes unseen; secrets do not enter it."""
    return hashlib.sha256(repr(tuple(cases)).encode()).hexdigest()[:HASH_CHARACTERS]


def require(cases: Sequence[Case], permission: Permission, simulators: Iterable[str] = ()) -> None:
    """Raise RefusedError, with what is missing, unless all of these cases may be sent to real servers."""
    if permission.kill_switch is not None and permission.kill_switch.exists():
        raise RefusedError(f"real targets are switched off: {permission.kill_switch} exists")
    boxed = all(case.target.kind is TargetKind.SANDBOX for case in cases)
    if not (permission.live or boxed):
        raise RefusedError("real mail needs --live; read what `sendbench plan` says of it first")
    for case in cases:
        _check_case(case)
        _check_recipients(case, permission, frozenset(simulators))
    needed = deliveries(cases)
    if permission.budget <= 0:
        raise RefusedError(f"real mail needs --budget N: the deliveries allowed in a day; this is {needed}")
    if needed > permission.budget:
        raise RefusedError(f"{needed} deliveries are more than --budget {permission.budget} allows")
    if not permission.confirm:
        raise RefusedError("real mail needs --confirm HASH, as `sendbench plan` prints it for this very plan")
    if permission.confirm != plan_hash(cases):
        raise RefusedError("--confirm names another plan: read what `sendbench plan` prints now")


def _check_case(case: Case) -> None:
    if case.tls.mode is TlsMode.NONE:
        raise RefusedError(f"{case.id}: nothing is sent to a real server without TLS")
    if not case.tls.verify:
        raise RefusedError(f"{case.id}: a real server's certificate is checked; remove tls.verify: false")
    if case.workers > 1:
        raise RefusedError(f"{case.id}: real mail is sent by one process; remove workers")
    if case.retry is not None and case.retry.on == "unknown":
        raise RefusedError(f"{case.id}: retry: unknown may deliver twice; it is not for real servers")
    rate = max(case.load.rates_per_s, default=0.0)
    if rate > MAX_RATE_PER_S:
        raise RefusedError(f"{case.id}: {rate:g}/s; a real server is sent at most {MAX_RATE_PER_S:g}/s")
    if (case.load.concurrency or 0) > MAX_CONCURRENCY:
        raise RefusedError(f"{case.id}: a real server is sent at most {MAX_CONCURRENCY} at a time")
    if case.message.recipients_each > MAX_RECIPIENTS:
        raise RefusedError(f"{case.id}: a real message has at most {MAX_RECIPIENTS} recipients")


def _check_recipients(case: Case, permission: Permission, simulators: frozenset[str]) -> None:
    for address in (*case.message.recipients, *_written_out(case)):
        if address not in simulators and not permission.allow.allows(address):
            raise RefusedError(
                f"{case.id}: {address} is not on the allow-list; write it, or @its-domain, into "
                f"{permission.allow_file}"
            )


def _written_out(case: Case) -> Iterator[str]:
    """The addresses in the target's URL and in a template: under what name a server of one's own is told to
    whom, nobody knows."""
    body = (
        ""
        if case.template is None
        else _ESCAPED.sub(lambda found: chr(int(found[1], 16)), case.template.body)
    )
    for address in _ADDRESS.findall(f"{unquote(case.target.url)} {body}"):
        if address != case.message.sender:
            yield address


class Permit:
    """Looks at every message of a run before it is sent: its recipients as they travel, and the budget."""

    def __init__(self, permission: Permission, budget: int, simulators: Iterable[str] = ()) -> None:
        self._permission, self._budget, self.used = permission, budget, 0
        self._simulators = frozenset(simulators)
        self._looked_ns = 0

    def refusal(self, message: Message, transport: Transport) -> str | None:
        """Why this message, or this call, must not be sent; None where it may. Counts what it lets pass."""
        people = [one for each in message.members or (message,) for one in each.recipients]
        named = recipients_in(message.payload, transport)
        for address in (*people, *named):
            if address not in self._simulators and not self._permission.allow.allows(address):
                return f"refused: {address!r} is not on the allow-list"
        if self._is_switched_off():
            return f"refused: {self._permission.kill_switch} exists"
        if self.used + len(people) > self._budget:
            return "refused: the budget is spent"
        self.used += len(people)
        return None

    def _is_switched_off(self) -> bool:
        switch, now_ns = self._permission.kill_switch, monotonic_ns()
        if switch is None or now_ns - self._looked_ns < LOOK_NS:
            return False
        if switch.exists():
            return True
        self._looked_ns = now_ns
        return False


def recipients_in(payload: bytes, transport: Transport) -> tuple[str, ...]:
    """Every address that the bytes of a message or a call name as a recipient."""
    if transport is Transport.SMTP:
        return tuple(_of_mime(payload))
    body = payload.lstrip()
    if body.startswith((b"{", b"[")):
        try:
            return tuple(_of_json(json.loads(body), named=False))
        except ValueError:
            return ("a call that cannot be read",)
    if body.startswith(b"--"):
        texts = [each.decode("utf-8", "replace") for each in _FORM_FIELD.findall(body)]
    else:
        fields = parse_qsl(body.decode("utf-8", "replace"))
        texts = [value for name, value in fields if name.lower() in ("to", "cc", "bcc")]
    named = (address for text in texts for address in _ADDRESS.findall(text))
    return (*named, *_of_mime(payload))  # a message as it is may be a call, too


def _of_json(shape: object, *, named: bool) -> Iterator[str]:
    """The addresses below the names under which recipients are told."""
    match shape:
        case dict():
            for name, value in shape.items():
                yield from _of_json(value, named=named or str(name).lower() in _ADDRESS_KEYS)
        case list():
            for value in shape:
                yield from _of_json(value, named=named)
        case str() if named:
            yield from _ADDRESS.findall(shape)


def _of_mime(mime: bytes) -> Iterator[str]:
    """The addresses of the header, and those to which SendGrid sends by a header of its own."""
    head = mime.partition(b"\r\n\r\n")[0]
    headers = BytesHeaderParser(policy=compat32).parsebytes(head + b"\r\n\r\n")
    for name in _ADDRESS_HEADERS:
        for text in headers.get_all(name, []):
            yield from _ADDRESS.findall(str(text))
    for text in headers.get_all("x-smtpapi", []):
        try:
            yield from _of_json(json.loads(str(text)), named=False)
        except ValueError:
            yield "a header X-SMTPAPI that cannot be read"
