"""Keeps secrets out of what a run stores: the scenario's, and those of the servers started for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from bench.model import Sample, Scenario, Secret
from bench.redact import Redactor, secrets_of_case

NOTE_CHARS = 300
"""Characters of each text in the notes that are kept."""
ITEM_CHARS = 200
"""The same for a text in a list, of which there may be many."""


class Cleaner:
    """Masks in a run's rows and reasons whatever it knows as a secret."""

    def __init__(self, scenario: Scenario | None = None) -> None:
        self._secrets: set[Secret] = set()
        cases = () if scenario is None else scenario.cases
        self.learn(secret for case in cases for secret in secrets_of_case(case))

    @property
    def secrets(self) -> frozenset[Secret]:
        """All that it masks."""
        return frozenset(self._secrets)

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Mask these, too, from the next row on."""
        self._secrets |= set(secrets)
        self._redactor = Redactor(self._secrets)

    def samples(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The same rows, fit to be stored. Next to nothing where, as nearly always, none has to change."""
        short = all(sample.notes is None or len(sample.notes) <= ITEM_CHARS for sample in samples)
        if short and not (self._secrets and self._redactor.finds(_foreign_to(samples))):
            return samples
        return [self.sample(sample) for sample in samples]

    def sample(self, sample: Sample) -> Sample:
        """The same row, fit to be stored: a server may echo credentials in any field that is its own."""
        if not self._secrets or not self._redactor.finds(_foreign(sample)):
            return _shortened(sample)
        clean = self._redactor
        masked = sample._replace(
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


_foreign_values = attrgetter("reply", "replies", "notes", "anomaly", "message_id")


def _foreign_to(samples: Sequence[Sample]) -> bytes:
    """What others have said, each text once."""
    replies, streams, *texts = map(set, zip(*map(_foreign_values, samples), strict=True))
    return _joined(replies | streams, set().union(*texts))


def _foreign(sample: Sample) -> bytes:
    reply, replies, *texts = _foreign_values(sample)
    return _joined((reply, replies), texts)


def _joined(replies: Iterable[bytes | None], texts: Iterable[str | None]) -> bytes:
    text = "\n".join(filter(None, texts)).encode("utf-8", "surrogatepass")
    return b"\n".join((*filter(None, replies), text))


def _shortened(sample: Sample) -> Sample:
    """The row with notes of bounded length. Cut only what has been masked: half a secret is not found."""
    if sample.notes is None or len(sample.notes) <= ITEM_CHARS:
        return sample
    return sample._replace(notes=_rewrite(sample.notes, str))


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
