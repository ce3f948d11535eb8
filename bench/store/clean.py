"""Keeps secrets out of what a run stores: the scenario's, and those of the servers started for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bench.model import Sample, Scenario, Secret
from bench.redact import Redactor, secrets_of


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
            return sample
        clean = self._redactor
        return replace(
            sample,
            reply=None if sample.reply is None else clean.bytes(sample.reply),
            replies=None if sample.replies is None else clean.bytes(sample.replies),
            notes=self.text(sample.notes),
            anomaly=self.text(sample.anomaly),
            message_id=self.text(sample.message_id),
        )

    def text(self, text: str | None) -> str | None:
        """The same line, fit to be stored."""
        return None if text is None else self._redactor.text(text)


def _foreign(sample: Sample) -> bytes:
    texts = (sample.notes, sample.anomaly, sample.message_id)
    parts = [text.encode("utf-8", "surrogatepass") for text in texts if text is not None]
    return b"\n".join((sample.reply or b"", sample.replies or b"", *parts))
