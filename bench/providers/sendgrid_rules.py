"""What SendGrid's Mail Send refuses in a request body, in the words of its error documentation.

Checked is what a sender of plain messages can get wrong: envelope, subject, content, attachments,
headers, custom arguments. Templates, scheduling, suppression groups and tracking are taken as they come.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
"""to + cc + bcc of the whole request"""
MAX_ADDRESS = 320
MAX_CUSTOM_ARGUMENTS_BYTES = 10_000

RESERVED_HEADERS = frozenset(
    {
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
        "to", "from", "subject", "reply-to", "cc", "bcc",
    }
)  # fmt: skip

_ADDRESS = re.compile(r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+@[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+\.[^\s@.<>]+")
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_FIELDS = ("to", "cc", "bcc")
_TEXT_ORDER = {"text/plain": 0, "text/html": 1}

Shape = dict[str, object]


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of the `errors` list."""

    message: str
    field: str | None = None
    help: str | None = None


_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#"
_EXAMPLE = (
    'e.g. {"email" : "example@example.com"} or '
    '{"email" : "example@example.com", "name" : "Example Recipient"}.'
)
_MESSAGES = {
    "none": "The personalizations field is required and must have at least one personalization.",
    "personalizations": "The personalization block is limited to 1000 personalizations per API request. You "
    "have provided %s personalizations. Please consider splitting this into multiple requests and resending "
    "your request.",
    "recipients": "There is a limit of 1000 total recipients (to + cc + bcc) per request.",
    "to": "The to array is required for all personalization objects, and must have at least one email object "
    "with a valid email address.",
    "list": "The %s array, when used, must at least have an email parameter with a valid email address and "
    "it may also contain a name parameter. " + _EXAMPLE,
    "address": "Does not contain a valid address.",
    "address_of": "The %s email does not contain a valid address.",
    "length": "The %s email exceeds the maximum total length of 320 characters",
    "duplicate": "Each email address in the personalization block should be unique between to, cc, and bcc. "
    "We found the first duplicate instance of [%s] in the %s field.",
    "arguments": "All values of custom arguments object must be strings",
    "no_arguments": "custom_args cannot be empty.",
    "arguments_size": "The combined size of both global and personalization custom arguments may not exceed "
    "10,000 bytes per personalization.",
    "header_values": "The header values must be strings.",
    "header_twice": "The headers cannot contain duplicate keys.",
    "header_name": "Header keys cannot contain non-ASCII characters and empty spaces.",
    "header_reserved": "Header can not be one of the reserved keys.",
    "from": "The from object must be provided for every email send. It is an object that requires the email "
    "parameter, but may also contain a name parameter. " + _EXAMPLE,
    "no_subject": "The subject is required. You can get around this requirement if you use a template with a "
    "subject defined or if every personalization has a subject defined.",
    "subject": "The subject of your email must be a string at least one character in length.",
    "no_content": "Unless a valid template_id is provided, the content parameter is required. There must be "
    "at least one defined content block. We typically suggest both text/plain and text/html blocks are "
    "included, but only one block is required.",
    "content_order": "Following RFC 1341, section 7.2, if either text/html or text/plain are to be sent in "
    "your email: text/plain needs to be first, followed by text/html, followed by any other content.",
    "content_type": "Your content type must be a string with length of at least one character.",
    "content_type_form": "Cannot contain ';', or CRLF characters.",
    "content_value": "The content value must be a string at least one character in length.",
    "attachment": "The attachment content must be a string at least one character in length.",
    "attachment_base64": "The attachment content must be base64 encoded.",
    "attachment_name": "filename is required.",
    "attachment_disposition": 'The disposition of your attachment can be either "inline" or "attachment". '
    "You provided %s.",
}


def _problem(name: str, path: str, anchor: str, *values: object) -> Problem:
    return Problem(_MESSAGES[name] % values if values else _MESSAGES[name], path, _HELP + anchor)


def problems(body: object) -> tuple[Problem, ...]:
    """Everything that is wrong with a request body; empty: the message is taken."""
    if not isinstance(body, dict):
        return (Problem("Bad Request"),)
    checks = (_personalizations, _from, _reply_to, _subject, _contents, _attachments)
    found = tuple(problem for check in checks for problem in check(body))
    return found + tuple(_headers(body.get("headers"), "headers", "message.headers"))


def custom_arguments(body: Shape, name: str) -> tuple[str, ...]:
    """That custom argument for each personalization, else the whole message's, else ""."""
    default = _text_argument(body.get("custom_args"), name)
    return tuple(
        _text_argument(each.get("custom_args"), name) or default
        for each in _objects(body.get("personalizations"))
    )


def is_sandbox(body: Shape) -> bool:
    """Whether the request only asks to be checked."""
    match body:
        case {"mail_settings": {"sandbox_mode": {"enable": True}}}:
            return True
    return False


def _text_argument(arguments: object, name: str) -> str:
    value = arguments.get(name) if isinstance(arguments, dict) else None
    return value if isinstance(value, str) else ""


def _objects(shape: object) -> list[Shape]:
    return [each for each in shape if isinstance(each, dict)] if isinstance(shape, list) else []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


# ------------------------------------------------------------------ personalizations


def _personalizations(body: Shape) -> Iterator[Problem]:
    listed = body.get("personalizations")
    where = ("personalizations", "message.personalizations")
    if not isinstance(listed, list) or not listed:
        yield _problem("none", "personalizations", "-Personalizations-Errors")
    elif len(listed) > MAX_PERSONALIZATIONS:
        yield _problem("personalizations", *where, len(listed))
    elif sum(len(_objects(each.get(name))) for each in _objects(listed) for name in _FIELDS) > MAX_RECIPIENTS:
        yield _problem("recipients", *where)
    else:
        for index, each in enumerate(listed):
            yield from _personalization(each, f"personalizations.{index}")


def _personalization(shape: object, path: str) -> Iterator[Problem]:
    if not isinstance(shape, dict) or not isinstance(shape.get("to"), list) or not shape["to"]:
        yield _problem("to", f"{path}.to", "message.personalizations.to")
        return
    for name in _FIELDS:
        yield from _recipients(shape.get(name, []), name, f"{path}.{name}")
    yield from _duplicates(shape, path)
    yield from _headers(shape.get("headers"), f"{path}.headers", "message.personalizations.headers")
    yield from _custom_arguments(shape.get("custom_args"), f"{path}.custom_args")
    if "subject" in shape and not _is_text(shape["subject"]):
        yield _problem("subject", f"{path}.subject", "message.personalizations.subject")


def _recipients(listed: object, name: str, path: str) -> Iterator[Problem]:
    anchor = f"message.personalizations.{name}"
    if not isinstance(listed, list):
        yield _problem("list", path, anchor, name)
        return
    for index, each in enumerate(listed):
        yield from _address(each, f"{path}.{index}.email", anchor, "To" if name == "to" else name.upper())


def _address(shape: object, path: str, anchor: str, what: str, *, named: bool = False) -> Iterator[Problem]:
    """Check an email object; `named`: the message says whose address it is."""
    address = shape.get("email") if isinstance(shape, dict) else None
    if isinstance(address, str) and len(address) > MAX_ADDRESS:
        yield _problem("length", path, anchor, what)
    elif not isinstance(address, str) or _ADDRESS.fullmatch(address) is None:
        yield (
            _problem("address_of", path, anchor, what.lower()) if named else _problem("address", path, anchor)
        )


def _duplicates(shape: Shape, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in _FIELDS:
        for each in _objects(shape.get(name)):
            address = str(each.get("email")).lower()
            if address in seen:
                yield _problem("duplicate", path, "message.recipient-errors", address, f"{path}.{name}")
                return
            seen.add(address)


def _custom_arguments(shape: object, path: str) -> Iterator[Problem]:
    anchor = "message.personalizations.custom_args"
    if shape is None:
        return
    if not isinstance(shape, dict) or not all(isinstance(value, str) for value in shape.values()):
        yield _problem("arguments", path, anchor)
    elif not shape:
        yield _problem("no_arguments", path, anchor)
    elif len(json.dumps(shape, ensure_ascii=False).encode("utf-8", "replace")) > MAX_CUSTOM_ARGUMENTS_BYTES:
        yield _problem("arguments_size", path, anchor)


def _headers(shape: object, path: str, anchor: str) -> Iterator[Problem]:
    if shape is None:
        return
    if not isinstance(shape, dict) or not all(isinstance(value, str) for value in shape.values()):
        yield _problem("header_values", path, anchor)
        return
    names = {name.lower() for name in shape}
    if len(names) != len(shape):
        yield _problem("header_twice", path, anchor)
    elif not all(_HEADER_NAME.fullmatch(name) for name in names):
        yield _problem("header_name", path, anchor)
    elif RESERVED_HEADERS & names:
        yield _problem("header_reserved", path, anchor)


# --------------------------------------------------------------- the message itself


def _from(body: Shape) -> Iterator[Problem]:
    sender = body.get("from")
    if isinstance(sender, dict) and "email" in sender:
        yield from _address(sender, "from.email", "message.from", "From", named=True)
    else:
        yield _problem("from", "from.email", "message.from")


def _reply_to(body: Shape) -> Iterator[Problem]:
    if "reply_to" in body:
        yield from _address(body["reply_to"], "reply_to.email", "message.reply_to", "Reply-To", named=True)


def _subject(body: Shape) -> Iterator[Problem]:
    listed = _objects(body.get("personalizations"))
    if "subject" in body:
        if not _is_text(body["subject"]):
            yield _problem("subject", "subject", "message.subject")
    elif "template_id" not in body and not (listed and all("subject" in each for each in listed)):
        yield _problem("no_subject", "subject", "message.subject")


def _contents(body: Shape) -> Iterator[Problem]:
    listed = body.get("content")
    if not isinstance(listed, list) or not listed:
        if "template_id" not in body:
            yield _problem("no_content", "content", "message.content")
        return
    for index, each in enumerate(listed):
        yield from _content(each if isinstance(each, dict) else {}, f"content.{index}")
    ranks = [_TEXT_ORDER.get(str(each.get("type")), 2) for each in _objects(listed)]
    if ranks != sorted(ranks):
        yield _problem("content_order", "content", "message.content.value")


def _content(each: Shape, path: str) -> Iterator[Problem]:
    if not _is_text(each.get("type")):
        yield _problem("content_type", f"{path}.type", "message.content.type")
    elif any(character in str(each["type"]) for character in ";\r\n"):
        yield _problem("content_type_form", f"{path}.type", "message.content.type")
    if not _is_text(each.get("value")):
        yield _problem("content_value", f"{path}.value", "message.content.value")


def _attachments(body: Shape) -> Iterator[Problem]:
    listed = body.get("attachments", [])
    for index, shape in enumerate(listed if isinstance(listed, list) else [listed]):
        yield from _attachment(shape if isinstance(shape, dict) else {}, f"attachments.{index}")


def _attachment(each: Shape, path: str) -> Iterator[Problem]:
    content, disposition = each.get("content"), each.get("disposition", "attachment")
    anchor = "message.attachments"
    if not isinstance(content, str) or not content:
        yield _problem("attachment", f"{path}.content", f"{anchor}.content")
    elif not _is_base64(content):
        yield _problem("attachment_base64", f"{path}.content", f"{anchor}.content")
    if not _is_text(each.get("filename")):
        yield _problem("attachment_name", f"{path}.filename", f"{anchor}.filename")
    if disposition not in ("inline", "attachment"):
        yield _problem(
            "attachment_disposition", f"{path}.disposition", f"{anchor}.disposition", repr(disposition)
        )


def _is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is text that is not ASCII
        return False
    return True
