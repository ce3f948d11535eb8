"""When a run must not go on: a server that says no is not asked a thousand times.

Wrong credentials lock accounts, whoever's they are; the other rules are for real servers, where going on
costs somebody else. Each has its own reason, which the run records. Where a scenario wants that, a run ends
as well once one of its thresholds can no longer pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.model import Case, Connection, Outcome, Sample, Threshold

AUTH_IN_A_ROW = 3
UNKNOWN_SHARE, UNKNOWN_LEAST = 0.01, 20
REJECTED_SHARE, REJECTED_LEAST = 0.20, 20
_REJECTED = (Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM)


class StopRules:
    """Watches what was not accepted. Told of nothing else, it costs an accepted message nothing."""

    def __init__(self, *, real: bool) -> None:
        self._real = real
        self._ended: Counter[Outcome] = Counter()
        self._auth_in_a_row = 0
        self._accepted_then = 0

    def after(self, outcome: Outcome, error: str | None, *, accepted: int, done: int) -> str | None:
        """Why the run must stop after this message, which was not accepted; None where it may go on.

        `accepted` and `done` count the messages of the case so far, this one included.
        """
        if error == "auth":
            fresh = accepted != self._accepted_then
            self._auth_in_a_row = 1 if fresh else self._auth_in_a_row + 1
            self._accepted_then = accepted
            if self._auth_in_a_row >= AUTH_IN_A_ROW:
                return f"stopped: credentials were refused {AUTH_IN_A_ROW} times in a row"
        if not self._real:
            return None
        self._ended[outcome] += 1
        unknown = self._ended[Outcome.UNKNOWN]
        if unknown >= UNKNOWN_LEAST and unknown > UNKNOWN_SHARE * done:
            return f"stopped: what became of {unknown} of {done} messages is not known"
        rejected = sum(self._ended[each] for each in _REJECTED)
        if rejected >= REJECTED_LEAST and rejected > REJECTED_SHARE * done:
            return f"stopped: {rejected} of {done} messages were rejected"
        return None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many of a case's messages may be beyond a threshold's limit, and it can still pass."""

    threshold: Threshold
    planned: int
    forgiven: int

    def beyond(self, sample: Sample, *, pooled: bool) -> bool:
        """Whether this message is one of those: not within the limit, or not accepted.

        What analysis leaves out of the figures is not: a cold message of a pooled case, those of a call but
        the first, a time that was not recorded.
        """
        limit = self.threshold
        if limit.function == "share":
            return _is(sample.outcome, limit.subject) is limit.operator.startswith("<")
        if sample.outcome is not Outcome.ACCEPTED:
            return True
        if (pooled and sample.cold) or sample.batch_index:
            return False
        took_ns = _time(sample, limit.subject)
        return took_ns is not None and (
            took_ns > limit.limit or (took_ns == limit.limit and limit.operator == "<")
        )


def _is(outcome: Outcome, subject: str) -> bool:
    return outcome in _REJECTED if subject == "rejected" else outcome == subject


def _time(sample: Sample, subject: str) -> int | None:
    """ns; None where it was not recorded."""
    if subject.startswith("phase."):
        return sample.phases.get(subject.removeprefix("phase."))
    begin_ns = sample.due_ns if subject in ("lag", "latency") else sample.ready_ns
    end_ns = sample.ready_ns if subject == "lag" else sample.start_ns
    if subject == "service":
        begin_ns = sample.start_ns
    if subject in ("service", "latency"):
        end_ns = sample.end_ns
    return None if begin_ns is None or end_ns is None else end_ns - begin_ns


class _Recorder(Protocol):
    def reserve(self, first_seq: int, case: str) -> None: ...

    def append(self, sample: Sample) -> None: ...


class Watch:
    """A recorder that passes everything on, and asks for the end once a threshold can no longer pass.

    It stands before the real one only where a threshold wants that; no other run pays for it.
    """

    def __init__(
        self,
        case: Case,
        tolerances: tuple[Tolerance, ...],
        recorder: _Recorder,
        ask: Callable[[str], None],
    ) -> None:
        self._case, self._tolerances = case, tolerances
        self._recorder, self._ask = recorder, ask
        self._beyond = [0] * len(tolerances)
        self.stopped_by = ""
        """The threshold that could no longer pass."""

    def reserve(self, first_seq: int, case: str) -> None:
        """Put keys on record before they are used."""
        self._recorder.reserve(first_seq, case)

    def append(self, sample: Sample) -> None:
        """Take a finished sample."""
        self._recorder.append(sample)
        if sample.warmup or sample.outcome is Outcome.DROPPED or self.stopped_by:
            return
        pooled = self._case.connection is Connection.POOLED
        for number, each in enumerate(self._tolerances):
            self._beyond[number] += each.beyond(sample, pooled=pooled)
            if self._beyond[number] > each.forgiven:
                self.stopped_by = each.threshold.text
                self._ask(
                    f"{each.threshold.text} can no longer pass for {self._case.id}: "
                    f"{self._beyond[number]} messages are beyond it, and of {each.planned} at most "
                    f"{each.forgiven} may be"
                )
                return
