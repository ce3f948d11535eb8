"""Keeps secrets out of what a run stores: the scenario's, and those of the servers started for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from bench.model import Sample, Scenario, Secret
from bench.redact import Redactor, secrets_of

NOTE_CHARS = 300
"""Characters of each text in the notes that are kept."""
ITEM_CHARS = 200
"""The same for a text in a list, of which there may be many."""


class Cleaner:
    """Masks in a run's rows and reasons whatever it knows as a secret."""

    def __init__(self, scenario: Scenario) -> None:
        self._secrets: set[Secret] = set()
        self.learn(secret for case in scenario.cases for secret in secrets_of(case.auth))

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Mask these, too, from the next row on."""
        self._secrets |= set(secrets)
        self._redactor = Redactor(self._secrets)

    def sample(self, sample: Sample) -> Sample:
        """The same row, fit to be stored: a server may echo credentials in any field that is its own."""
        if not self._secrets or not self._redactor.finds(_foreign(sample)):
            return _shortened(sample)
        clean = self._redactor
        masked = replace(
            sample,
            reply=None if sample.reply is None else clean.bytes(sample.reply),
            replies=None if sample.replies is None else clean.bytes(sample.replies),
            notes=None if sample.notes is None else _rewrite(sample.notes, clean.text),
            anomaly=self.text(sample.anomaly),
            message_id=self.text(sample.message_id),
        )
        return _shortened(masked)

    def text(self, text: str | None) -> str | None:
        """The same line, fit to be stored."""
        return None if text is None else self._redactor.text(text)


def _foreign(sample: Sample) -> bytes:
    texts = (sample.notes, sample.anomaly, sample.message_id)
    parts = [text.encode("utf-8", "surrogatepass") for text in texts if text is not None]
    return b"\n".join((sample.reply or b"", sample.replies or b"", *parts))


def _shortened(sample: Sample) -> Sample:
    """The row with notes of bounded length. Cut only what has been masked: half a secret is not found."""
    if sample.notes is None or len(sample.notes) <= ITEM_CHARS:
        return sample
    return replace(sample, notes=_rewrite(sample.notes, str))


def _rewrite(notes: str, change: Callable[[str], str]) -> str:
    """Notes with `change` applied to each text in them before it is cut; still JSON if they were."""
    try:
        found = json.loads(notes)
    except ValueError:
        return change(notes)
    return json.dumps(_rewritten(found, change, NOTE_CHARS))


def _rewritten(value: object, change: Callable[[str], str], limit: int) -> object:
    match value:
        case str():
            return change(value)[:limit]
        case list():
            return [_rewritten(each, change, ITEM_CHARS) for each in value]
        case dict():
            return {name: _rewritten(each, change, limit) for name, each in value.items()}
    return value
