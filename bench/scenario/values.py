"""The values a scenario's keys take: quantities with units, words out of a list, references."""

from __future__ import annotations

import ipaddress
import shlex
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, PlainValidator, WithJsonSchema

from bench import units
from bench.model import Secret, Transport
from bench.scenario import known
from bench.scenario.problems import suggest
from bench.scenario.target import PORT

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


def one_of(what: str, built: tuple[str, ...], not_built: tuple[str, ...] = ()) -> PlainValidator:
    """A word out of `built`; the words of `not_built` are refused by name."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in built:
            return value
        if isinstance(value, str) and value in not_built:
            raise ValueError(f"the {what} {value!r} is {known.NOT_BUILT}; use {' or '.join(built)}")
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
        raise ValueError(f"unknown {what} {shown}; one of {', '.join(built)}{suggest(str(value), built)}")

    return PlainValidator(check)


def enum_of(words: tuple[str, ...]) -> WithJsonSchema:
    """The same for the JSON Schema."""
    return WithJsonSchema({"enum": list(words)})


_CLIENTS = tuple(dict.fromkeys(name for names in known.CLIENTS.values() for name in names))
_SMTP, _API = known.CLIENTS[Transport.SMTP], known.CLIENTS[Transport.API]
_ORDERS = ("lifo", "fifo")
_RETRIES = ("off", "temp", "unknown")
_MODES, _SETTINGS = ("starttls", "implicit", "none"), ("auto", "off")
_TRANSPORTS, _CONNECTIONS = ("smtp", "api"), ("pooled", "unpooled")
Provider = Annotated[str, one_of("provider", known.PROVIDERS), enum_of(known.PROVIDERS)]
Client = Annotated[str, one_of("client", _CLIENTS), enum_of(_CLIENTS)]
SmtpClient = Annotated[str, one_of("smtp client", _SMTP), enum_of(_SMTP)]
ApiClient = Annotated[str, one_of("api client", _API), enum_of(_API)]
Extension = Annotated[str, one_of("setting", _SETTINGS, ("on", "required", "always")), enum_of(_SETTINGS)]
Order = Annotated[str, one_of("order", _ORDERS), enum_of(_ORDERS)]
Mode = Annotated[str, one_of("TLS mode", _MODES), enum_of(_MODES)]
RetryWord = Annotated[str, one_of("kind of retry", _RETRIES), enum_of(_RETRIES)]
TransportName = Annotated[str, one_of("transport", _TRANSPORTS), enum_of(_TRANSPORTS)]
ConnectionName = Annotated[str, one_of("connection", _CONNECTIONS), enum_of(_CONNECTIONS)]


def _share(value: object) -> float:
    """`5%`, or a number from 0 to 1."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError("must be a share such as 5%") from None
    if isinstance(value, bool) or not 0 < share <= 1:
        raise ValueError("must be a share of more than 0 and at most 100%")
    return share


Share = Annotated[
    float,
    PlainValidator(_share),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^[0-9.]+\s*%$"}, {"type": "number"}]}),
]


def _limit(value: object) -> float | None:
    """A share; None for `default`."""
    return None if value in ("default", None) else _share(value)


Limit = Annotated[
    float | None,
    PlainValidator(_limit),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9.]+\s*%$"},
                {"type": "number"},
                {"const": "default"},
            ]
        }
    ),
]


def _recipients(value: object) -> int | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a number of recipients or the name of a file of addresses")
    if not 1 <= value <= MAX_RECIPIENTS:
        raise ValueError(f"a message has 1 to {MAX_RECIPIENTS} recipients, not {value}")
    return value


def _batch(value: object) -> int | None:
    """0 for `max`, None for `off`."""
    if value in ("max", "off"):
        return 0 if value == "max" else None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a number of messages, max or off")
    if not 1 <= value <= known.MAX_BATCH:
        raise ValueError(f"a call carries 1 to {known.MAX_BATCH} messages, not {value}")
    return value


Batch = Annotated[
    int | None,
    PlainValidator(_batch),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": known.MAX_BATCH},
                {"enum": ["max", "off"]},
            ]
        }
    ),
]


def _compared(value: object) -> tuple[str, ...]:
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise ValueError("must be a key of the matrix, or a list of such keys")
    if len(set(keys)) < len(keys):
        raise ValueError("lists a key twice")
    return tuple(keys)


Compared = Annotated[
    tuple[str, ...],
    PlainValidator(_compared),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]

MAX_RECIPIENTS = 1000
Recipients = Annotated[
    int | str,
    PlainValidator(_recipients),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_RECIPIENTS}, {"type": "string"}]}
    ),
]


def _source_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address such as 127.0.0.2") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{text} is not an address that a connection can come from")
    return text


SourceAddress = Annotated[str, AfterValidator(_source_address), WithJsonSchema({"type": "string"})]


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"is not a command line: {error}") from None
    if not any(PORT in word for word in words):
        raise ValueError(f"needs {PORT}, in whose place the command is given a free port")
    return text


Command = Annotated[str, AfterValidator(_command), WithJsonSchema({"type": "string", "pattern": r"\{port\}"})]

Word = str | int | float | bool
"""A scalar that is taken as the text it was written as."""

SecretText = Annotated[
    InstanceOf[Secret],
    WithJsonSchema({"type": "string", "pattern": f"^{_REFERENCE}$", "examples": ["${env:SMTP_PASSWORD}"]}),
]
UserText = Annotated[InstanceOf[Secret] | str, WithJsonSchema({"type": "string"})]

Count = Annotated[int, Field(ge=1, le=known.MAX_MESSAGES)]
Workers = Annotated[int, Field(ge=1, le=known.MAX_WORKERS)]
Warmup = Annotated[int, Field(ge=0, le=known.MAX_MESSAGES)]
InFlight = Annotated[int, Field(ge=1, le=100_000)]
