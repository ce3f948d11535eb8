"""What the replies of an SMTP server mean for a message, whichever library read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.model import Outcome
from bench.transports.session import REPLY_LIMIT, Answer, Notes, Span

_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")
_RECIPIENT_REPLY_LIMIT = 1024
"""Characters of the reply to one recipient that are kept until they have been masked."""
_BEFORE_MAIL = ("tls", "banner", "ehlo", "starttls", "auth")
_WANTS_AUTH = (530, 538)


def accepted(
    code: int, text: str, payload: bytes, recipients: Sequence[tuple[int, str]], span: Span
) -> Answer:
    """The answer to a message that was taken; `recipients` are the replies to each of them."""
    span.bytes_sent = len(payload)
    taken = sum(reply_code < 300 for reply_code, _ in recipients)
    return Answer(
        Outcome.ACCEPTED,
        code=code,
        enhanced_code=_enhanced(text),
        reply=_reply(code, text),
        recipients_accepted=taken,
        notes=per_recipient(recipients) if taken < len(recipients) else None,
    )


def refusal(code: int, text: str, span: Span) -> Answer:
    """The answer to a message that was not, by the phase the reply came in."""
    enhanced, reply = _enhanced(text), _reply(code, text)
    if not 400 <= code < 600:
        anomaly = "malformed" if code == -1 else "bad_code"
        return Answer(span.cut_off, code, enhanced, reply, error="protocol", anomaly=anomaly)
    if span.phase in _BEFORE_MAIL:
        kind = "auth" if span.phase == "auth" else "refused"
        return Answer(Outcome.FAILED, code, enhanced, reply, error=kind)
    if span.phase == "mail" and code in _WANTS_AUTH:
        return Answer(Outcome.FAILED, code, enhanced, reply, error="auth_missing")
    outcome = Outcome.REJECTED_PERM if code >= 500 else Outcome.REJECTED_TEMP
    return Answer(outcome, code, enhanced, reply, error="rejected")


def goes_on(replies: Sequence[tuple[int, str]], recipients: int) -> bool:
    """Whether a transaction goes on after the last of these replies, which the library calls a refusal.

    252 is none (RFC 5321: "cannot verify, but will take the message").
    """
    code = replies[-1][0]
    if code == 252:
        return True
    all_refused = len(replies) == recipients and all(code >= 400 for code, _ in replies)
    return 400 <= code < 600 and code != 421 and not all_refused


def per_recipient(replies: Sequence[tuple[int, str]]) -> Notes:
    """The note that keeps the reply to each recipient."""
    return {"replies": [(code, text[:_RECIPIENT_REPLY_LIMIT]) for code, text in replies]}


def _enhanced(text: str) -> str | None:
    match = _ENHANCED.match(text)
    return match[1] if match else None


def _reply(code: int, text: str) -> bytes:
    return f"{code} {text}".encode("utf-8", "surrogateescape")[:REPLY_LIMIT]
