"""The generator about itself: what it cost, and every reason not to believe a case."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.frame import numbers, only, outcomes, present, span_ns
from bench.analysis.quantiles import NS_PER_MS, Floats, point
from bench.model import CaseRun, Counts, GeneratorCheck, Outcome, Referee

LAG_FLOOR_MS = 1.0
LAG_SHARE = 0.10
"""An open case is invalid when lag p99 exceeds the larger of the floor and this share of p50 latency."""
STARTED_SHARE = 0.99
"""... or when fewer of its scheduled messages were started."""
HICCUP_FLOOR_MS = 1.0
HICCUP_SHARE = 0.50
"""... or when the platform's hiccups (p99.9) exceed both the floor and this share of p99 latency."""
EXHAUSTED_SHARE = 0.001
"""Any case is invalid when this share of its messages failed for want of ports or descriptors of ours."""
CPU_LIMIT = 0.90
"""Cores of CPU, for each process, above which a closed case measures the generator more than the target."""
CPU_LEAST_NS = 500_000_000
"""A case that took less time says nothing about what the generator can do for long."""


class _Pacing(NamedTuple):
    """What an open case is judged by; None where nothing was measured."""

    lag_p50_ms: float | None
    lag_p99_ms: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None


def check_generator(
    run: CaseRun,
    measured: pd.DataFrame,
    main: pd.DataFrame,
    counts: Counts,
    jury: Referee | None,
    errors: Mapping[str, int],
    facts: Mapping[str, str],
) -> GeneratorCheck:
    """What the generator cost, and every reason not to believe the case."""
    pacing = _pacing(run, measured, main)
    wall_ns = run.took_ns
    share = run.cpu_ns / wall_ns / run.workers if run.cpu_ns and wall_ns > 0 else None
    faults = [
        *_unusable(run, counts, errors),
        *_untimed(measured),
        *_disputed(jury, run.labels.get("client", "")),
        *_exhausted(measured, counts),
        *(_unpaced(run, counts, pacing) if run.open else []),
    ]
    return GeneratorCheck(
        lag_p50_ms=pacing.lag_p50_ms,
        lag_p99_ms=pacing.lag_p99_ms,
        cpu_us_per_message=_each_us(run, counts),
        cpu_share=share,
        event_loop=facts.get("event_loop", ""),
        valid=not faults,
        reasons=(*faults, *_remarks(run, share, counts)),
        hiccup_p999_ms=_ms(run.hiccup_p999_ns),
        hiccup_max_ms=_ms(run.hiccup_max_ns),
    )


def _each_us(run: CaseRun, counts: Counts) -> float | None:
    """Of cases that ran interleaved the mean over all of them: whose the CPU was is not known."""
    attempted = counts.attempted * run.interleaved
    return run.cpu_ns / 1e3 / attempted if run.cpu_ns and attempted else None


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / NS_PER_MS


def _pacing(run: CaseRun, measured: pd.DataFrame, main: pd.DataFrame) -> _Pacing:
    if not run.open:
        return _Pacing(None, None, None, None)
    # a dropped message is ready when it is given up
    lag = present(span_ns(only(measured, ~outcomes(measured, Outcome.DROPPED)), "lag") / NS_PER_MS)
    latency = present(span_ns(main, "latency") / NS_PER_MS)
    return _Pacing(_point(lag, 0.5), _point(lag, 0.99), _point(latency, 0.5), _point(latency, 0.99))


def _point(ordered: Floats, quantile: float) -> float | None:
    return point(ordered, quantile) if len(ordered) else None


def _unusable(run: CaseRun, counts: Counts, errors: Mapping[str, int]) -> list[str]:
    worst = next(iter(errors), None)
    because = f"; most often: {worst} ({errors[worst]} of {sum(errors.values())})" if worst else ""
    reasons = [f"the case did not run to its end: {run.error}"] if run.error else []
    if not counts.attempted:
        reasons.append("no message was started")
    elif not counts.accepted:
        reasons.append(f"none of {counts.attempted} messages was accepted{because}. {_advice(worst)}")
    missing = counts.scheduled - counts.attempted - counts.dropped
    if missing and not run.interrupted and not run.error:
        reasons.append(
            f"{counts.scheduled} messages were scheduled and {counts.scheduled - missing} have a record: "
            "the record is incomplete or counts some twice; run the case again"
        )
    return reasons


def _untimed(measured: pd.DataFrame) -> list[str]:
    """What no clock gives: a message that was accepted without an end, or before it was begun."""
    times = span_ns(measured, "service")[outcomes(measured, Outcome.ACCEPTED)]
    count = int(np.count_nonzero(~(times >= 0)))
    if not count:
        return []
    text = f"{count} of {len(times)} accepted messages have no time or a negative one: the record is damaged"
    return [f"{text}; run the case again"]


def _advice(error: str | None) -> str:
    """What to do about the class of error that prevailed (the classes of `faults`)."""
    for classes, advice in _ADVICE.items():
        if error in classes:
            return advice
    return "Look at the replies in the samples table"


_ADVICE = {
    ("dns",): "Check the target's host name",
    ("tcp", "connect", "timeout"): "Check that the target is up, its host and port, and any firewall between",
    ("tls", "tls_verify", "tls_missing"): "Check tls.mode, the port, and whether the certificate is trusted",
    ("auth", "auth_missing", "535", "401", "403"): "Check user and password, or the API key",
    ("local",): "The fault is on this machine: check its limits on open files and ports",
    ("throttle", "429", "421", "451"): "The target asks for less: lower the rate or the concurrency",
}


_OWN = ("", "wire")
"""The client whose record is ours to answer for."""


def _disputed(jury: Referee | None, client: str) -> list[str]:
    if jury is None:
        return []
    if client in _OWN:
        whose = "the samples cannot be trusted, please report it"
    else:
        whose = f"that is what {client} said of them, and it was wrong"
    findings = (
        (jury.false_accepted, "counted as accepted were never taken by the mock"),
        (jury.unaccounted, "taken by the mock are missing from the client's record"),
        (jury.duplicates, "were taken twice by the mock"),
    )
    return [f"accounting: {count} messages {text}; {whose}" for count, text in findings if count]


def _exhausted(measured: pd.DataFrame, counts: Counts) -> list[str]:
    """Messages that failed because this machine had no port or descriptor left for them."""
    local = numbers(measured, "errno")[np.asarray(measured["error"].eq("local"), dtype=np.bool_)]
    found = {number: int(np.count_nonzero(local == number)) for number in _EXHAUSTED}
    if sum(found.values()) <= EXHAUSTED_SHARE * counts.attempted:
        return []
    return [
        f"{count} of {counts.attempted} messages failed on this machine: {_EXHAUSTED[number]}"
        for number, count in found.items()
        if count
    ]


_EXHAUSTED = {
    errno.EADDRNOTAVAIL: (
        "no local port was free (each rests for 60 s after its connection); keep connections "
        "(connection: pooled), lower the rate, send from more addresses (source_address), or widen "
        "net.ipv4.ip_local_port_range"
    ),
    errno.EMFILE: (
        "the process had too many files open; raise the limit (`ulimit -n`), or lower pool.size or the "
        "concurrency"
    ),
    errno.ENFILE: "the system had too many files open; raise fs.file-max or stop what holds them",
}


def _unpaced(run: CaseRun, counts: Counts, pacing: _Pacing) -> list[str]:
    """The clauses of an open case's self-check."""
    reasons = []
    lag_ms, limit_ms = pacing.lag_p99_ms, max(LAG_FLOOR_MS, LAG_SHARE * (pacing.latency_p50_ms or 0.0))
    if lag_ms is not None and lag_ms > limit_ms:
        reasons.append(
            f"the generator started messages late: lag p99 {lag_ms:.2f} ms, allowed {limit_ms:.2f} ms; "
            "lower the rate or use a faster machine"
        )
    judged = not run.interrupted and not run.error and counts.scheduled > 0
    if judged and counts.attempted < STARTED_SHARE * counts.scheduled:
        reasons.append(
            f"only {counts.attempted} of {counts.scheduled} scheduled messages were started; "
            "lower the rate or raise max_in_flight"
        )
    return [*reasons, *_held_up(run, pacing)]


def _held_up(run: CaseRun, pacing: _Pacing) -> list[str]:
    hiccup_ms = _ms(run.hiccup_p999_ns)
    limit_ms = max(HICCUP_FLOOR_MS, HICCUP_SHARE * (pacing.latency_p99_ms or 0.0))
    if hiccup_ms is None or hiccup_ms <= limit_ms:
        return []
    text = (
        f"the machine held its programs up: one that only slept woke up {hiccup_ms:.2f} ms late (p99.9), "
        f"allowed {limit_ms:.2f} ms; stop what else runs here, or use a machine with more cores to spare"
    )
    return [text]


def _remarks(run: CaseRun, share: float | None, counts: Counts) -> list[str]:
    """What must be known of a case whose figures are those of what was asked for."""
    own = [run.remark] if run.remark else []
    return [*own, *_sandboxed(run), *_mock_bound(run, counts), *_generator_bound(run, share, counts)]


def _sandboxed(run: CaseRun) -> list[str]:
    return [f"not the real path: {run.caveat.rstrip('.')}"] if run.caveat else []


def _mock_bound(run: CaseRun, counts: Counts) -> list[str]:
    if run.mock_share is None or run.mock_share <= CPU_LIMIT or not counts.accepted:
        return []
    text = (
        f"mock-bound: the mock used {run.mock_share:.0%} of a core, so these figures show its limit and not "
        "the client's; send less at once"
    )
    return [text]


def _generator_bound(run: CaseRun, share: float | None, counts: Counts) -> list[str]:
    """What a closed case's CPU says, where it ran long enough and got anything done."""
    if run.open or share is None or share <= CPU_LIMIT:
        return []
    if not counts.accepted or run.took_ns < CPU_LEAST_NS:
        return []
    who = "sendbench itself" if run.workers == 1 else f"each of sendbench's {run.workers} processes"
    text = (
        f"generator-bound: {who} used {share:.0%} of a core, so these figures show its own limit; "
        "send fewer messages at once, raise workers or use a faster machine"
    )
    return [text]
