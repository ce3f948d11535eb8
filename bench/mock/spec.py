"""What a mock process is asked to be, and what it says once it is, in lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

from bench.errors import UsageError
from bench.model import Auth, Fault, Network, Secret, ServiceTime, TlsMode

KINDS = ("smtp", "api", "all", "relay")


@dataclass(frozen=True, slots=True)
class MockSpec:
    """Everything a mock process needs to know."""

    kind: str
    """smtp | api | all | relay (only the shaper, in front of `upstream`)"""
    provider: str = "generic"
    """Whose user convention the SMTP credentials follow; the API answers for every provider."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one. With kind `all` it is the SMTP server's, and the API takes a free one."""
    tls: TlsMode = TlsMode.STARTTLS
    """SMTP: when TLS begins. API: HTTPS unless this is `none`."""
    service_time: ServiceTime = field(default_factory=ServiceTime)
    network: Network = field(default_factory=Network)
    """Where shaped, a shaper of its own stands in front of each server."""
    seed: int = 0
    log: str | None = None
    """Where to append a line per message taken."""
    wire_log: str | None = None
    """Where to append a line per connection the shapers saw."""
    upstream: tuple[str, int] | None = None
    """kind relay: the loopback server behind the shaper."""
    auth_mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    """What the SMTP server offers; empty: no AUTH, and none is required."""
    listen_any: bool = False
    """Allows a `host` that is not this machine alone."""
    resume: bool = False
    """Whether TLS sessions may be resumed."""
    rate_limit: float | None = None
    """Messages a second over SMTP, calls a second of each API; what is more is throttled. None: no limit."""
    at_root: bool = False
    """Whether `provider` has the API's server to itself, with the vendor's own paths."""
    max_recipients: int = 1000
    max_message_bytes: int = 50 * 2**20
    faults: tuple[Fault, ...] = ()
    """What goes wrong."""
    byte_log: str | None = None
    """Where to append every byte, with faults only."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown kind of mock {self.kind!r}; known: {', '.join(KINDS)}")
        if self.at_root and self.kind == "smtp":
            raise UsageError("only an API can be served at the root")
        if (self.kind == "relay") != (self.upstream is not None):
            raise UsageError("a relay, and only a relay, needs an upstream")


def to_json(specs: Sequence[MockSpec]) -> str:
    """One line without its line end."""
    return json.dumps([asdict(spec) for spec in specs], default=_text)


def from_json(text: str) -> list[MockSpec]:
    """Read `to_json` back; fields left out take their defaults. Raises UsageError."""
    try:
        values = json.loads(text)
        if not isinstance(values, list):
            raise TypeError("not a list")
        return [_spec_from(each) for each in values]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"the mock's specification is wrong: {error}") from error


def _spec_from(values: object) -> MockSpec:
    if not isinstance(values, dict):
        raise TypeError("not an object")
    readers = {
        "tls": _tls,
        "service_time": _service_time,
        "network": _network,
        "upstream": _address,
        "auth_mechanisms": _texts,
        "faults": _faults,
    }
    plain = {"kind": str, "provider": str, "host": str, "port": int, "seed": int, "max_recipients": int}
    plain |= {"max_message_bytes": int, "listen_any": bool, "resume": bool, "at_root": bool}
    unknown = set(values) - {each.name for each in fields(MockSpec)}
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
    for name, kind in plain.items():
        if not isinstance(values.get(name, kind()), kind):
            raise TypeError(f"{name}: not {kind.__name__}")
    if not isinstance(values.get("rate_limit"), float | int | None):
        raise TypeError("rate_limit: not a number")
    for name in ("log", "wire_log", "byte_log"):
        if not isinstance(values.get(name), str | None):
            raise TypeError(f"{name}: not a path")
    read = {name: readers[name](value) if name in readers else value for name, value in values.items()}
    return MockSpec(**read)  # type: ignore[arg-type]  # every field has just been checked


def _text(value: object) -> str:
    """Bytes as JSON has them: a character each."""
    assert isinstance(value, bytes)
    return value.decode("latin-1")


def _faults(value: object) -> tuple[Fault, ...]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TypeError("faults: not a list of objects")
    return tuple(Fault(**{**each, "text": str(each.get("text", "")).encode("latin-1")}) for each in value)


def _tls(value: object) -> TlsMode:
    return TlsMode(str(value))


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or not all(isinstance(each, int | float) for each in value.values()):
        raise TypeError(f"{value!r} is not an object of numbers")
    return value


def _network(value: object) -> Network:
    numbers = _numbers(value)
    return Network(int(numbers["rtt_ns"]), int(numbers["jitter_ns"]), float(numbers["bandwidth"]))


def _service_time(value: object) -> ServiceTime:
    if not isinstance(value, dict):
        raise TypeError("service_time: not an object")
    numbers = _numbers({name: each for name, each in value.items() if name not in ("kind", "values_ns")})
    return ServiceTime(
        str(value["kind"]),
        int(numbers["p50_ns"]),
        float(numbers["sigma"]),
        int(numbers["high_ns"]),
        tuple(map(int, value["values_ns"])),
    )


def _address(value: object) -> tuple[str, int] | None:
    match value:
        case None:
            return None
        case [str(host), int(port)]:
            return host, port
    raise TypeError(f"{value!r} is not a host and a port")


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(str(each) for each in value)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client has to show; made up afresh by each mock process."""

    smtp: Auth | None = None
    api: Mapping[str, Auth] = field(default_factory=dict)
    """provider -> key"""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a mock says once it listens; `smtp` and `api` name the shaper where there is one.

    A relay says where it listens in `smtp`, whatever the protocol.
    """

    smtp: tuple[str, int] | None = None
    api: Mapping[str, str] = field(default_factory=dict)
    """provider -> base URL"""
    credentials: Credentials = field(default_factory=Credentials)
    ca_file: str | None = None
    log: str | None = None
    pid: int = 0

    def to_json(self) -> str:
        """The line of `sendbench mock`, without its line end. The credentials in it open this mock only."""
        credentials: dict[str, object] = {}
        if self.credentials.smtp is not None:
            credentials["smtp"] = _auth_out(self.credentials.smtp)
        if self.credentials.api:
            credentials["api"] = {name: _auth_out(auth) for name, auth in self.credentials.api.items()}
        shape = {
            "smtp": {"host": self.smtp[0], "port": self.smtp[1]} if self.smtp else None,
            "api": dict(self.api),
            "credentials": credentials,
            "ca_file": self.ca_file,
            "log": self.log,
            "pid": self.pid,
        }
        return json.dumps(shape)

    @staticmethod
    def from_json(text: str) -> Ready:
        """Read `to_json` back. Raises ValueError, KeyError or TypeError when it is something else."""
        shape = json.loads(text)
        smtp, credentials = shape["smtp"], shape["credentials"]
        return Ready(
            smtp=(smtp["host"], smtp["port"]) if smtp else None,
            api=shape["api"],
            credentials=Credentials(
                _auth_in(credentials["smtp"]) if "smtp" in credentials else None,
                {name: _auth_in(auth) for name, auth in credentials.get("api", {}).items()},
            ),
            ca_file=shape["ca_file"],
            log=shape["log"],
            pid=shape["pid"],
        )


def _auth_out(auth: Auth) -> dict[str, str | None]:
    return {"user": auth.user.reveal() if auth.user else None, "password": auth.password.reveal()}


def _auth_in(shape: Mapping[str, str | None]) -> Auth:
    user, password = shape["user"], shape["password"]
    if password is None:
        raise ValueError("credentials without a password")
    return Auth(Secret(user) if user is not None else None, Secret(password))
