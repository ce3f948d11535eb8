"""A process that only sleeps, and notes how late it woke up: run by `bench.hiccup`, never imported.

It has the standard library alone and imports nothing of ours, so that it is there within milliseconds.
Its moments are fixed in advance, so a stall makes every moment in it late, each by what was left of the
stall: a quantile of the lateness is what somebody who wanted to run at any moment would have had to wait.

It reads one line, `<from> <to>` once or more (ns on CLOCK_MONOTONIC), answers with `<moments> <p99.9> <most>`
(ns) about all of these spans and ends; at the end of its input it ends at once, so it does not outlive who
started it.
"""

from __future__ import annotations

import select
import sys
import time
from array import array
from collections import Counter

PERIOD_NS = 5_000_000
"""One waking costs 10 to 25 us: less than 0.5 % of a core."""


def watch() -> tuple[int, array[int]]:
    """Sleep until there is input; the first moment, and by how many us each one was late."""
    sleep, now, standard_input = select.select, time.monotonic_ns, (0,)
    late_us = array("I")
    first_ns = due_ns = now() + PERIOD_NS
    while True:
        rest_ns = due_ns - now()
        if rest_ns > 0:
            if sleep(standard_input, (), (), rest_ns / 1e9)[0]:
                return first_ns, late_us
        else:
            late_us.append(-rest_ns // 1000)
            due_ns += PERIOD_NS


def told(first_ns: int, late_us: array[int], *edges_ns: int) -> str:
    """The answer about the moments from the first edge to the second, from the third to the fourth ..."""
    places = [min(max(0, -((first_ns - at) // PERIOD_NS)), len(late_us)) for at in edges_ns]
    counts = Counter[int]()
    for begin, end in zip(places[::2], places[1::2], strict=True):
        counts.update(late_us[begin:end])
    moments, seen, p999_us = sum(counts.values()), 0, 0
    for p999_us in sorted(counts):
        seen += counts[p999_us]
        if 1000 * seen >= 999 * moments:
            break
    return f"{moments} {p999_us * 1000} {max(counts, default=0) * 1000}"


if __name__ == "__main__":
    seen = watch()
    if line := sys.stdin.readline():
        print(told(*seen, *map(int, line.split())))  # noqa: T201 - the answer
