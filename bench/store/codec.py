"""Frozen dataclasses to JSON and back, exactly: `decode(kind, encode(value)) == value`.

It knows what `model` is made of: dataclasses, enums, text, bytes (as base64), numbers, None, tuples and
mappings with text keys. Anything else is a TypeError, so that a `Secret` cannot slip into a file.
"""

from __future__ import annotations

import base64
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
T = TypeVar("T")


def encode(value: object) -> Json:
    """The JSON form of a value. Raises TypeError for a type that has none."""
    if isinstance(value, StrEnum):
        return value.value
    if value is None or type(value) in (bool, int, float, str):
        return cast("Json", value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): encode(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(kind: type[T], data: Json, where: str = "") -> T:
    """The value of type `kind` that was encoded. Raises ValueError: `cases[0].id: missing`."""
    return cast("T", _decode(kind, data, where))


def dump_line(value: object) -> bytes:
    """One line of JSON without its line end."""
    return _LINE.encode(encode(value)).encode()


_LINE = json.JSONEncoder(allow_nan=False, separators=(",", ":"))  # `json.dumps` makes one for each call


def load(text: bytes) -> Json:
    """Parse JSON. Raises ValueError, for too deep nesting as well."""
    try:
        return cast("Json", json.loads(text, parse_constant=_no_constant))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{type(key).__name__} cannot be a key")
    return str(key)


def _decode(kind: object, data: Json, where: str) -> object:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_optional(get_args(kind), data, where)
    if origin is tuple:
        return _decode_tuple(get_args(kind), data, where)
    if origin is not None and issubclass(origin, Mapping):
        item_kind = get_args(kind)[1]
        return {key: _decode(item_kind, item, f"{where}.{key}") for key, item in _object(data, where).items()}
    if not isinstance(kind, type):
        raise TypeError(f"{kind!r} has no JSON form")
    if is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    return _decode_scalar(kind, data, where)


def _decode_optional(kinds: tuple[object, ...], data: Json, where: str) -> object:
    rest = [kind for kind in kinds if kind is not type(None)]
    if data is None and len(rest) < len(kinds):
        return None
    if len(rest) != 1:
        raise TypeError(f"{where}: only `X | None` has a JSON form")
    return _decode(rest[0], data, where)


def _decode_tuple(kinds: tuple[object, ...], data: Json, where: str) -> tuple[object, ...]:
    if not isinstance(data, list):
        raise ValueError(f"{where}: not a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(data)
    if len(kinds) != len(data):
        raise ValueError(f"{where}: {len(data)} items instead of {len(kinds)}")
    return tuple(
        _decode(kind, item, f"{where}[{number}]")
        for number, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _decode_dataclass(kind: type, data: Json, where: str) -> object:
    given = _object(data, where)
    hints = _hints(kind)
    values: dict[str, object] = {}
    for field in fields(kind):
        place = f"{where}.{field.name}" if where else field.name
        if field.name in given:
            values[field.name] = _decode(hints[field.name], given[field.name], place)
        elif _required(field):
            raise ValueError(f"{place}: missing")
    return cast("Callable[..., object]", kind)(**values)


def _required(field: Field[object]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _object(data: Json, where: str) -> dict[str, Json]:
    if not isinstance(data, dict):
        raise ValueError(f"{where or 'the whole'}: not an object")
    return data


@cache
def _hints(kind: type) -> dict[str, object]:
    return dict(get_type_hints(kind))


def _decode_scalar(kind: type, data: Json, where: str) -> object:
    if issubclass(kind, StrEnum) and isinstance(data, str):
        try:
            return kind(data)
        except ValueError:
            raise ValueError(f"{where}: {data!r} is none of {', '.join(kind)}") from None
    if kind is bytes and isinstance(data, str):
        return _bytes(data, where)
    if kind is float and type(data) is int:
        return float(data)
    if kind in (bool, int, float, str) and type(data) is kind:
        return data
    raise ValueError(f"{where}: {json.dumps(data)[:40]} is not {_ENGLISH.get(kind, kind.__name__)}")


def _bytes(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"{where}: not base64") from None


_ENGLISH = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
