"""When a run must not go on: a server that says no is not asked a thousand times.

Wrong credentials lock accounts, whoever's they are; the other rules are for real servers, where going on
costs somebody else. Each has its own reason, which the run records.
"""

from __future__ import annotations

from collections import Counter

from bench.model import Outcome

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
