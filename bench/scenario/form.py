"""The version 1 form of a scenario as pydantic models: one case, after matrix and profile.

The models check single values and give the JSON Schema; what concerns several keys at once is
checked in `convert`. Durations are ns, sizes bytes, rates per second, bandwidths bytes per second.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from bench import units
from bench.model import Secret, Transport
from bench.scenario import known
from bench.scenario.problems import suggest

_REFERENCE = r"\$\{(env|file):[^}]+\}"


def _text_schema(pattern: str, example: str, *, zero: bool = True) -> WithJsonSchema:
    pattern = f"^\\s*({pattern})\\s*$|{_REFERENCE}"
    text: dict[str, object] = {"type": "string", "pattern": pattern, "examples": [example]}
    return WithJsonSchema({"anyOf": [text, {"const": 0}]} if zero else text)


def _positive(what: str) -> AfterValidator:
    def check(value: float) -> float:
        if value <= 0:
            raise ValueError(f"the {what} must be more than 0")
        return value

    return AfterValidator(check)


_NUMBER = r"([0-9]+(\.[0-9]+)?|\.[0-9]+)\s*"
_DURATION = _NUMBER + r"(ns|us|µs|ms|s|m|h)"
_RATE = _NUMBER + r"/(s|min|h)"
Duration = Annotated[int, BeforeValidator(units.parse_duration), _text_schema(_DURATION, "50ms")]
Span = Annotated[
    int,
    BeforeValidator(units.parse_duration),
    _positive("duration"),
    _text_schema(_DURATION, "30s", zero=False),
]
Size = Annotated[
    int, BeforeValidator(units.parse_size), _text_schema(_NUMBER + "(B|KB|MB|GB|KiB|MiB|GiB)", "10KiB")
]
StartRate = Annotated[float, BeforeValidator(units.parse_rate), _text_schema(_RATE, "50/s")]
Rate = Annotated[
    float, BeforeValidator(units.parse_rate), _positive("rate"), _text_schema(_RATE, "50/s", zero=False)
]
Bandwidth = Annotated[
    float,
    BeforeValidator(units.parse_bandwidth),
    _text_schema(_NUMBER + "(bit|kbit|Mbit|Gbit)/s", "10Mbit/s"),
]


def _one_of(what: str, built: tuple[str, ...], not_built: tuple[str, ...] = ()) -> PlainValidator:
    """A word out of `built`; the words of `not_built` are refused by name."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in built:
            return value
        if isinstance(value, str) and value in not_built:
            raise ValueError(f"the {what} {value!r} is {known.NOT_BUILT}; use {' or '.join(built)}")
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
        raise ValueError(f"unknown {what} {shown}; one of {', '.join(built)}{suggest(str(value), built)}")

    return PlainValidator(check)


def _enum(words: tuple[str, ...]) -> WithJsonSchema:
    return WithJsonSchema({"enum": list(words)})


_CLIENTS = tuple(name for names in known.CLIENTS.values() for name in names)
_SMTP, _API = known.CLIENTS[Transport.SMTP], known.CLIENTS[Transport.API]
_MODES, _SETTINGS = ("starttls", "implicit", "none"), ("auto", "off")
_TRANSPORTS, _CONNECTIONS = ("smtp", "api"), ("pooled", "unpooled")
Provider = Annotated[
    str, _one_of("provider", known.PROVIDERS, known.PROVIDERS_NOT_BUILT), _enum(known.PROVIDERS)
]
Client = Annotated[str, _one_of("client", _CLIENTS, known.CLIENTS_NOT_BUILT), _enum(_CLIENTS)]
SmtpClient = Annotated[str, _one_of("smtp client", _SMTP, known.CLIENTS_NOT_BUILT), _enum(_SMTP)]
ApiClient = Annotated[str, _one_of("api client", _API, known.CLIENTS_NOT_BUILT), _enum(_API)]
Extension = Annotated[str, _one_of("setting", _SETTINGS, ("on", "required", "always")), _enum(_SETTINGS)]
Mode = Annotated[str, _one_of("TLS mode", _MODES), _enum(_MODES)]
TransportName = Annotated[str, _one_of("transport", _TRANSPORTS), _enum(_TRANSPORTS)]
ConnectionName = Annotated[str, _one_of("connection", _CONNECTIONS), _enum(_CONNECTIONS)]


def _recipients(value: object) -> int | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a number of recipients or the name of a file of addresses")
    if not 1 <= value <= MAX_RECIPIENTS:
        raise ValueError(f"a message has 1 to {MAX_RECIPIENTS} recipients, not {value}")
    return value


MAX_RECIPIENTS = 1000
Recipients = Annotated[
    int | str,
    PlainValidator(_recipients),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_RECIPIENTS}, {"type": "string"}]}
    ),
]

Word = str | int | float | bool
"""A scalar that is taken as the text it was written as."""

SecretText = Annotated[
    InstanceOf[Secret],
    WithJsonSchema({"type": "string", "pattern": f"^{_REFERENCE}$", "examples": ["${env:SMTP_PASSWORD}"]}),
]
UserText = Annotated[InstanceOf[Secret] | str, WithJsonSchema({"type": "string"})]


def _short_or_full(value: object) -> str:
    return "full" if isinstance(value, dict | BaseModel) else "short"


class Form(BaseModel):
    """A section of a scenario: unknown keys are errors, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class AttachmentForm(Form):
    """One attachment: a file of the user's, or generated bytes."""

    file: str | None = Field(None, description="A file beside the scenario.")
    size: Size | None = Field(None, description="So many generated, incompressible bytes.")
    name: str | None = Field(None, description="The file name the reader sees.")
    type: str | None = Field(None, description="The media type, such as application/pdf.")

    @model_validator(mode="after")
    def _one_source(self) -> AttachmentForm:
        if (self.file is None) == (self.size is None):
            raise ValueError("an attachment has either a file or a size")
        return self


class MessageForm(Form):
    """What is sent."""

    size: Size | None = Field(
        None, description="The whole MIME message before dot-stuffing; filler text makes it exact."
    )
    recipients: Recipients = Field(
        1,
        description="How many recipients a message has, or a file of addresses to take turns at.",
    )
    sender: str | None = Field(None, alias="from", description="The sender's bare address.")
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    headers: dict[str, Word] | None = Field(None, description="Further headers, name: value.")
    attachments: list[AttachmentForm] | None = None
    file: str | None = Field(None, description="Your own message, a .eml file beside the scenario.")


class NetworkForm(Form):
    """The shaper in front of the mock or of any loopback target."""

    rtt: Duration = Field(0, description="Round trip time to plant; half of it each way.")
    jitter: Duration = Field(0, description="Spread of the round trip time.")
    bandwidth: Bandwidth = Field(0.0, description="Each way; 0: no limit.")


class LognormalForm(Form):
    """Median and standard deviation of the logarithm."""

    p50: Span
    sigma: Annotated[float, Field(ge=0, le=5)]


class ExponentialForm(Form):
    """Mean."""

    mean: Span


class UniformForm(Form):
    """Both ends."""

    low: Duration
    high: Span


class ServiceTimeForm(Form):
    """A distribution: exactly one of the three."""

    lognormal: LognormalForm | None = None
    exponential: ExponentialForm | None = None
    uniform: UniformForm | None = None

    @model_validator(mode="after")
    def _one_distribution(self) -> ServiceTimeForm:
        if sum(part is not None for part in (self.lognormal, self.exponential, self.uniform)) != 1:
            raise ValueError("name one distribution: lognormal, exponential or uniform")
        return self


class MockForm(Form):
    """The local server that answers when the target is mock."""

    service_time: Annotated[
        Annotated[Duration, Tag("short")] | Annotated[ServiceTimeForm, Tag("full")],
        Discriminator(_short_or_full),
    ] = Field(0, description="How long it takes to decide about a message.")


Count = Annotated[int, Field(ge=1, le=known.MAX_MESSAGES)]
Warmup = Annotated[int, Field(ge=0, le=known.MAX_MESSAGES)]
InFlight = Annotated[int, Field(ge=1, le=100_000)]


def _one_bound(messages: int | None, duration: int | None) -> None:
    if (messages is None) == (duration is None):
        raise ValueError("give either messages or duration" + (", not both" if messages is not None else ""))


class ClosedForm(Form):
    """Workers that each send, wait for the answer, and send again."""

    model: Literal["closed"]
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = known.DEFAULT_CONCURRENCY
    messages: Count | None = None
    duration: Span | None = None
    warmup: Warmup = 0

    @model_validator(mode="after")
    def _bounded(self) -> ClosedForm:
        _one_bound(self.messages, self.duration)
        return self


class OpenForm(Form):
    """What all open models share: messages are due by the clock, whatever the answers do."""

    warmup: Warmup = 0
    max_in_flight: InFlight = known.DEFAULT_MAX_IN_FLIGHT


class RateForm(OpenForm):
    """A fixed mean rate."""

    rate: Rate
    messages: Count | None = None
    duration: Span | None = None

    @model_validator(mode="after")
    def _bounded(self) -> RateForm:
        _one_bound(self.messages, self.duration)
        return self


class ConstantForm(RateForm):
    """Equal gaps."""

    model: Literal["constant"]


class PoissonForm(RateForm):
    """Independent, exponentially distributed gaps; seeded."""

    model: Literal["poisson"]


class RampForm(OpenForm):
    """A rate that changes linearly."""

    model: Literal["ramp"]
    start: StartRate = Field(alias="from")
    to: StartRate
    duration: Span

    @model_validator(mode="after")
    def _moving(self) -> RampForm:
        if self.start == 0 and self.to == 0:
            raise ValueError("a ramp from 0/s to 0/s sends nothing")
        if self.start == 0 and self.warmup:
            raise ValueError("a ramp from 0/s has no rate to warm up at; let it start from a small rate")
        return self


class StepsForm(OpenForm):
    """One rate after the other."""

    model: Literal["steps"]
    rates: Annotated[list[Rate], Field(min_length=1, max_length=1000)]
    step: Span = Field(description="How long each rate is held.")


LOADS: dict[str, type[Form]] = {
    "closed": ClosedForm,
    "constant": ConstantForm,
    "poisson": PoissonForm,
    "ramp": RampForm,
    "steps": StepsForm,
}
Load = Annotated[ClosedForm | ConstantForm | PoissonForm | RampForm | StepsForm, Field(discriminator="model")]


class ClientForm(Form):
    """The code that speaks, for each transport."""

    smtp: SmtpClient = known.DEFAULT_CLIENT["smtp"]
    api: ApiClient = known.DEFAULT_CLIENT["api"]


def _no_resumption(value: bool) -> bool:
    if value:
        raise ValueError(f"TLS resumption is {known.NOT_BUILT}; leave it false")
    return value


class TlsForm(Form):
    """How connections are secured."""

    mode: Mode | None = Field(None, description="starttls (then required), implicit or none.")
    verify: bool = Field(True, description="Check the server's certificate.")
    resume: Annotated[bool, AfterValidator(_no_resumption)] = False
    ca: str | None = Field(None, description="A PEM file beside the scenario with an authority to trust.")


class AuthForm(Form):
    """Who we say we are; only references, never a literal password. API: the key is the password."""

    user: UserText | None = None
    password: SecretText


class PoolForm(Form):
    """The connections kept."""

    size: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Default: the concurrency, or max_in_flight in open models."
    )


class SmtpForm(Form):
    """Whether extensions that save round trips may be used."""

    pipelining: Extension = "auto"
    chunking: Extension = "auto"


def _version(value: object) -> int:
    if value != 1 or isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be 1, the version of the form this sendbench reads, not {value!r}")
    return value


class CaseForm(Form):
    """Every key of a case, and those that name the scenario."""

    version: Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    description: str = Field("", description="What question the scenario answers.")
    tags: dict[str, Word] = Field(default_factory=dict, description="Carried into every report.")
    target: str = Field(
        "mock", description="mock, smtp://host:port, http(s)://host:port/path, sandbox or live"
    )
    provider: Provider = known.DEFAULT_PROVIDER
    transport: TransportName | None = Field(
        None, description="Default: api where the target is an http address, else smtp."
    )
    connection: ConnectionName = Field(
        "pooled", description="unpooled: a fresh connection for every message."
    )
    message: MessageForm = Field(default_factory=MessageForm)
    network: NetworkForm = Field(default_factory=NetworkForm)
    mock: MockForm = Field(default_factory=MockForm)
    load: Load
    client: Annotated[
        Annotated[Client, Tag("short")] | Annotated[ClientForm, Tag("full")], Discriminator(_short_or_full)
    ] = Field(default_factory=ClientForm)
    tls: Annotated[
        Annotated[Mode, Tag("short")] | Annotated[TlsForm, Tag("full")], Discriminator(_short_or_full)
    ] = Field(default_factory=TlsForm)
    auth: AuthForm | None = None
    pool: PoolForm = Field(default_factory=PoolForm)
    smtp: SmtpForm = Field(default_factory=SmtpForm)
    timeout: Span = Field(
        known.DEFAULT_TIMEOUT_NS, description="The most one message may take, connection included."
    )


SECTIONS: dict[str, type[Form]] = {
    "": CaseForm,
    "message": MessageForm,
    "network": NetworkForm,
    "mock": MockForm,
    "mock.service_time": ServiceTimeForm,
    "mock.service_time.lognormal": LognormalForm,
    "mock.service_time.exponential": ExponentialForm,
    "mock.service_time.uniform": UniformForm,
    "client": ClientForm,
    "tls": TlsForm,
    "auth": AuthForm,
    "pool": PoolForm,
    "smtp": SmtpForm,
}
"""The model of each section but `load`, by dotted name."""
WHOLE_FILE = ("matrix", "thresholds", "profiles")
"""Top-level keys that stand beside the case's own."""
SCENARIO_ONLY = ("version", "name", "description", "tags")
"""Keys that cannot vary."""
SHORT_FORMS = {"tls": "mode"}
"""Sections that may be written as one scalar, and the key that scalar stands for."""


def keys_of(form: type[Form]) -> tuple[str, ...]:
    """The keys of a section as they are written in a file."""
    return tuple(field.alias or name for name, field in form.model_fields.items())


def section_keys(section: str, model: str = "") -> tuple[str, ...]:
    """The keys of a section by its dotted name; `load` has those of its model, or of all."""
    if section == "load":
        forms = [LOADS[model]] if model in LOADS else list(LOADS.values())
        return tuple(dict.fromkeys(key for form in forms for key in keys_of(form)))
    if section.startswith("message.attachments"):
        return keys_of(AttachmentForm)
    return keys_of(SECTIONS[section]) if section in SECTIONS else ()


def dotted_keys() -> tuple[str, ...]:
    """Every key that may vary, by its dotted name: `provider`, `network`, `network.rtt`, ..."""
    names = [key for key in keys_of(CaseForm) if key not in SCENARIO_ONLY]
    for section in (*SECTIONS, "load"):
        names += [f"{section}.{key}" for key in section_keys(section) if section]
    return tuple(names)
