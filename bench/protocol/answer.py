"""How an attempt to send a message ended, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from bench.model import Outcome

REPLY_LIMIT = 4096
"""Bytes of an answer that are kept until it has been masked; the record keeps fewer.

Cut shorter here, the first half of a secret at the cut would not be known for one.
"""

Note: TypeAlias = "str | int | bool | Sequence[Note] | None"
Notes = Mapping[str, Note]
"""What the columns of a sample have no room for; becomes JSON."""


class Answer(NamedTuple):
    """How an attempt ended."""

    outcome: Outcome
    code: int | None = None
    enhanced_code: str | None = None
    reply: bytes | None = None
    error: str | None = None
    errno: int | None = None
    anomaly: str | None = None
    message_id: str | None = None
    recipients_accepted: int = 0
    notes: Notes | None = None
    replies: bytes | None = None
    """SMTP: the reply to each command; of an accepted message the codes alone."""
    each: tuple[Answer, ...] = ()
    """Of a batch call that was answered: how each of its messages ended, in their order."""
