"""The `message` section -> MessageSpec: addresses, files, attachments, and whether it can have its size."""

from __future__ import annotations

import email
import email.policy
import email.utils
import random
import re
from collections.abc import Callable

from bench.errors import UsageError
from bench.model import Attachment, Case, MessageSpec, check_address, check_header, check_media_type
from bench.scenario import known
from bench.scenario.form import AttachmentForm, MessageForm
from bench.scenario.paths import Files
from bench.scenario.problems import Problems
from bench.scenario.tree import Node

Check = Callable[[Case], object]
"""Builds the message of a case as it would be sent. Raises ValueError or UsageError where it cannot."""

MAX_SIZE = 64 << 20
MAX_WORD = 997
"""A line has 998 characters (RFC 5322 section 2.1.1); the first of a folded one is a space."""
_DEFAULT = MessageSpec()
_WRITTEN_BY_US = {
    "from": "message.from", "to": "message.recipients", "subject": "message.subject",
    "date": "", "message-id": "", "x-sendbench-id": "", "mime-version": "",
    "content-type": "", "content-transfer-encoding": "",
    "cc": "message.recipients", "bcc": "message.recipients",
}  # fmt: skip
_KEYED = re.compile(r"(batch|region|template|message(?:\.[a-z]+)?): (.*)", re.DOTALL)
_FIRST_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


def message_spec(form: MessageForm, node: Node, files: Files, problems: Problems) -> MessageSpec:
    """The message of a case. What is wrong goes to `problems`; the result then means nothing."""
    eml = _user_file(form, node, files, problems)
    recipients, rotate = _recipients(form, node, files, problems)
    attachments = tuple(
        _attachment(part, node.nearest("attachments"), number, files, problems)
        for number, part in enumerate(form.attachments or [])
    )
    spec = MessageSpec(
        size_bytes=_size(form, node, problems),
        sender=_sender(form, node, eml, problems),
        recipients=recipients,
        rotate_recipients=rotate,
        subject=_subject(form, node, problems),
        text=form.text,
        html=form.html,
        headers=_headers(form, node, problems),
        attachments=attachments,
        eml=eml,
    )
    _check_room(spec, node, problems)
    return spec


def note_unsendable(case: Case, tree: Node, check: Check, problems: Problems) -> None:
    """Let `check` build the message of a case; what it cannot build, or its provider not carry, is noted.

    An error that begins with a key of the scenario, as `message.headers: ...`, is noted there.
    """
    try:
        check(case)
    except (ValueError, UsageError) as error:
        found = _KEYED.fullmatch(str(error))
        key, text = found.groups() if found else ("", str(error))
        whole = "message.file" if case.message.eml is not None else "message"
        at = tree.get(key) if key != "message" else None
        problems.add(at or tree.nearest(whole), text)


def _size(form: MessageForm, node: Node, problems: Problems) -> int | None:
    content = (form.text, form.html, form.attachments, form.file)
    if form.size is None:
        return known.DEFAULT_SIZE if all(part is None for part in content) else None
    if form.size > MAX_SIZE:
        problems.add(node.nearest("size"), f"is more than {MAX_SIZE >> 20} MiB")
    return form.size


def _user_file(form: MessageForm, node: Node, files: Files, problems: Problems) -> bytes | None:
    if form.file is None:
        return None
    at = node.nearest("file")
    for key in ("size", "subject", "text", "html", "headers", "attachments"):
        if key in node.entries:
            problems.add(
                node.entries[key], "cannot stand beside file: your own message is sent as it is", at_key=True
            )
    try:
        eml = files.content(form.file, at)
    except ValueError as error:
        problems.add(at, str(error))
        return None
    if _FIRST_FIELD.match(eml) is None:
        problems.add(at, f"{form.file} is not a mail message: it does not begin with a header line")
    return eml


def _sender(form: MessageForm, node: Node, eml: bytes | None, problems: Problems) -> str:
    if form.sender is not None:
        return _address(form.sender, node.nearest("from"), problems)
    if eml is None:
        return _DEFAULT.sender
    head = email.message_from_bytes(eml[: 256 * 1024], policy=email.policy.compat32)
    address = email.utils.parseaddr(str(head.get("From", "")))[1]
    try:
        return check_address(address)
    except ValueError:
        return _DEFAULT.sender


def _address(text: str, node: Node, problems: Problems) -> str:
    try:
        return check_address(text)
    except ValueError as error:
        problems.add(node, str(error))
        return _DEFAULT.sender


def _recipients(
    form: MessageForm, node: Node, files: Files, problems: Problems
) -> tuple[tuple[str, ...], bool]:
    if form.recipients == 1:
        return _DEFAULT.recipients, False
    if isinstance(form.recipients, int):
        return tuple(f"recipient{n}@sendbench.example" for n in range(1, form.recipients + 1)), False
    at = node.nearest("recipients")
    if "@" in form.recipients and "/" not in form.recipients:
        problems.add(at, "takes a number or a file; put the addresses into a file, one a line")
        return _DEFAULT.recipients, False
    try:
        return _address_file(form.recipients, files.content(form.recipients, at)), True
    except ValueError as error:
        problems.add(at, str(error))
        return _DEFAULT.recipients, False


def _address_file(name: str, data: bytes) -> tuple[str, ...]:
    """One bare address a line; empty lines and lines that begin with # do not count."""
    addresses = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            addresses.append(check_address(text))
        except ValueError as error:
            raise ValueError(f"{name} line {number}: {error}") from None
    if not addresses:
        raise ValueError(f"{name} holds no address")
    return tuple(addresses)


def _headers(form: MessageForm, node: Node, problems: Problems) -> tuple[tuple[str, str], ...]:
    headers = []
    for name, at in node.nearest("headers").entries.items() if form.headers else ():
        value = at.value if isinstance(at.value, str) else at.text
        try:
            check_header(name, value)
        except ValueError as error:
            problems.add(at, str(error), at_key=True)
        if name.lower() in _WRITTEN_BY_US:
            instead = _WRITTEN_BY_US[name.lower()]
            hint = f"; use {instead}" if instead else ""
            problems.add(at, f"the header {name} is written by sendbench{hint}", at_key=True)
        _check_words(value, at, problems)
        headers.append((name, value))
    return tuple(headers)


def _subject(form: MessageForm, node: Node, problems: Problems) -> str:
    if form.subject is None:
        return _DEFAULT.subject
    at = node.nearest("subject")
    if any(c in form.subject for c in "\r\n\0"):
        problems.add(at, "holds a line break or NUL")
    _check_words(form.subject, at, problems)
    return form.subject


def _check_words(value: str, at: Node, problems: Problems) -> None:
    """Header lines are folded at spaces; only what is not ASCII is encoded and can be folded anywhere."""
    if value.isascii() and max(map(len, value.split(" "))) > MAX_WORD:
        problems.add(at, f"holds a word of more than {MAX_WORD} characters: longer than a mail line may be")


def _attachment(
    form: AttachmentForm, node: Node, number: int, files: Files, problems: Problems
) -> Attachment:
    at = node.items[number] if number < len(node.items) else node
    name = form.name or (form.file.rpartition("/")[2] if form.file else f"attachment{number + 1}.bin")
    kind = form.type or "application/octet-stream"
    if not name.isprintable() or any(c in name for c in '"\\/') or len(name) > 200:
        problems.add(at.nearest("name"), f"{name!r} is not a plain file name")
    try:
        check_media_type(kind)
    except ValueError as error:
        problems.add(at.nearest("type"), str(error))
    content = b""
    try:
        if form.file is not None:
            content = files.content(form.file, at.nearest("file"))
        elif form.size is not None and form.size <= MAX_SIZE:
            content = random.Random(f"{name} {form.size}").randbytes(form.size)
        else:
            problems.add(at.nearest("size"), f"is more than {MAX_SIZE >> 20} MiB")
    except ValueError as error:
        problems.add(at.nearest("file"), str(error))
    return Attachment(name, kind, content)


def _check_room(spec: MessageSpec, node: Node, problems: Problems) -> None:
    if spec.size_bytes is None or spec.eml is not None:
        return
    needed = room_needed(spec)
    if spec.size_bytes < needed:
        problems.add(
            node.nearest("size"),
            f"{spec.size_bytes} bytes are too small for the headers and contents; give at least {needed} B",
        )


def room_needed(spec: MessageSpec) -> int:
    """A size, in bytes, that certainly holds everything a message must have (a little generous).

    Counts what `bench.message` writes: 400 bytes of fixed header lines, three times the text
    where it has to be quoted, 4/3 of each attachment and its line ends.
    """
    room = 400 + len(spec.sender) + 3 * _quoted(spec.subject)
    room += sum(
        len(address) + 4 for address in (spec.recipients[:1] if spec.rotate_recipients else spec.recipients)
    )
    room += sum(len(name) + 8 + 3 * _quoted(value) for name, value in spec.headers)
    room += _quoted(spec.text or "")
    if spec.html is not None:
        room += 450 + _quoted(spec.html)
    for part in spec.attachments:
        room += 300 + 3 * len(part.filename.encode()) + (len(part.content) + 2) // 3 * 4
        room += 2 * (len(part.content) // 57 + 1)
    return room + (150 if spec.attachments else 0)


def _quoted(text: str) -> int:
    """At most so many bytes when encoded: line ends become two bytes, other bytes three and a soft break."""
    data = text.encode("utf-8")
    if text.isascii() and all(len(line) <= 998 and line.isprintable() for line in text.splitlines()):
        return len(data) + text.count("\n") + 2
    return len(data) * 3 + len(data) // 8 + 6
