"""HTML forms as request bodies: multipart/form-data (RFC 7578) both ways, and urlencoded ones read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

MAX_FIELDS = 5000
_BOUNDARY = re.compile(r'boundary="?([A-Za-z0-9\'()+_,./:=? -]{1,70})"?\s*(?:;|$)')
_NAME = re.compile(rb'[;\s]name="([^"\r\n]*)"')
_FILE = re.compile(rb'[;\s]filename="([^"\r\n]*)"')


class Field(NamedTuple):
    """One field of a form; a file has a name of its own."""

    name: str
    value: bytes
    filename: str | None = None
    content_type: str | None = None


class FormError(ValueError):
    """A body that is not the form it should be."""


def boundary_for(fields: Sequence[Field]) -> str:
    """The same for the same fields, and nowhere in them."""
    digest = hashlib.sha256()
    for field in fields:
        digest.update(b"%d " % len(field.value) + field.value)
    return f"sendbench-{digest.hexdigest()[:32]}"


def part(field: Field, boundary: str) -> bytes:
    """One field with the delimiter before it. Raises ValueError for a name that cannot be written."""
    if any(mark in f"{field.name}{field.filename}" for mark in '"\r\n'):
        raise ValueError(f"{field.filename or field.name!r} cannot be the name of a form's field")
    file = f'; filename="{field.filename}"' if field.filename is not None else ""
    kind = f"\r\nContent-Type: {field.content_type}" if field.content_type is not None else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field.name}"{file}{kind}\r\n\r\n'
    return head.encode() + field.value + b"\r\n"


def end(boundary: str) -> bytes:
    """What ends a form."""
    return f"--{boundary}--\r\n".encode()


def read_form(content_type: str, body: bytes) -> list[Field]:
    """The fields of a body, in order. Raises FormError."""
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise FormError("no form")
    delimiter = b"\r\n--" + found[1].encode()
    pieces = (b"\r\n" + body).split(delimiter, MAX_FIELDS + 1)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise FormError("the form has no end, or too many fields")
    return [_field(piece) for piece in pieces[1:-1]]


def _field(piece: bytes) -> Field:
    head, blank, value = piece.partition(b"\r\n\r\n")
    name, file = _NAME.search(head), _FILE.search(head)
    if not piece.startswith(b"\r\n") or not blank or name is None:
        raise FormError("a part of the form has no name")
    return Field(_text(name[1]), value, None if file is None else _text(file[1]))


def _urlencoded(body: bytes) -> list[Field]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise FormError(str(error)) from error
    return [Field(name, value.encode("utf-8", "replace")) for name, value in pairs]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
