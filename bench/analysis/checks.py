"""Whether a case's figures may be believed: by the mock's log, the wire and the generator itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bench.analysis.frame import Mask, numbers, only, outcomes, present, span_ns
from bench.analysis.quantiles import NS_PER_MS, Floats, point
from bench.model import CaseRun, Counts, GeneratorCheck, Outcome, Referee, Taken, WireConnection

LAG_FLOOR_MS = 1.0
LAG_SHARE = 0.10
"""An open case is invalid when lag p99 exceeds the larger of the floor and this share of p50 latency."""
STARTED_SHARE = 0.99
"""... or when fewer of its scheduled messages were started."""
CPU_LIMIT = 0.90
"""Cores of CPU above which a closed case measures the generator more than the target."""
CPU_LEAST_NS = 500_000_000
"""A case that took less time says nothing about what the generator can do for long."""

_ANSWERED = (Outcome.ACCEPTED, Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM)


def referee(rows: pd.DataFrame, takes: Sequence[Taken]) -> Referee:
    """The client's record of a case, warm-up included, against what the mock took, by key."""
    taken = [take.key for take in takes]
    distinct = set(taken)
    accepted = set(rows.loc[outcomes(rows, Outcome.ACCEPTED), "key"])
    unknown = set(rows.loc[outcomes(rows, Outcome.UNKNOWN), "key"])
    return Referee(
        taken=len(taken),
        false_accepted=len(accepted - distinct),
        unaccounted=len(distinct - accepted - unknown),
        duplicates=len(taken) - len(distinct),
    )


def disputes(jury: Referee) -> bool:
    """Whether client and mock disagree about any message."""
    return bool(jury.false_accepted or jury.unaccounted or jury.duplicates)


def check_round_trips(run: CaseRun, rows: pd.DataFrame, wires: Sequence[WireConnection]) -> tuple[int, int]:
    """(connections compared, of which disagree) between the client's round trips and the shaper's.

    The shaper's turn-arounds and one for the connect must equal the round trips of all rows of
    the connection, one for each RSET, and one for QUIT if it was answered. Which connection is
    which is told by the local port that its first row notes; a port that was used again is told
    apart by order. Connections on which a message stayed without an answer, or whose client does
    not count, are left out: who waited for what is then not known.
    """
    client = _client_connections(run, rows)
    wire = pd.DataFrame(
        {
            "port": [connection.client_port for connection in wires],
            "order": [connection.connection for connection in wires],
            "seen": [connection.turn_arounds + 1 for connection in wires],
        }
    ).sort_values("order")
    wire["nth"] = wire.groupby("port").cumcount()
    pairs = client.merge(wire, on=["port", "nth"])
    pairs = pairs[pairs["clean"]]
    return len(pairs), int(np.count_nonzero(pairs["counted"] != pairs["seen"]))


def _client_connections(run: CaseRun, rows: pd.DataFrame) -> pd.DataFrame:
    """One row a connection of known port: port, nth use of that port, turns counted, clean."""
    identity = numbers(rows, "connection_id")
    used = rows[~np.isnan(identity)]
    values, inverse = np.unique(identity[~np.isnan(identity)], return_inverse=True)
    ids = pd.Index(values)

    def total(values: Floats) -> pd.Series[float]:
        return pd.Series(np.bincount(inverse, weights=values, minlength=len(ids)), index=ids)

    trips = total(numbers(used, "round_trips"))  # NaN where any row of the connection has none
    quits = (total((~np.isnan(numbers(used, "quit_ns"))).astype(np.float64)) > 0) | ids.isin(run.quits)
    resets = total(_flagged(used, "rset").astype(np.float64))
    counted = trips + resets + quits
    unanswered = total((~outcomes(used, *_ANSWERED)).astype(np.float64))
    port = used["notes"].astype("string").str.extract(r'"local_port":\s*(\d+)', expand=False)
    first = pd.DataFrame(
        {"id": identity[~np.isnan(identity)], "start": numbers(used, "start_ns"), "port": port.to_numpy()}
    )
    first = first[first["port"].notna()].drop_duplicates("id").sort_values("start", kind="stable")
    connections = pd.DataFrame(
        {
            "port": first["port"].astype(np.int64).to_numpy(),
            "counted": counted.reindex(first["id"]).to_numpy(),
            "clean": ((unanswered.reindex(first["id"]) == 0) & trips.reindex(first["id"]).notna()).to_numpy(),
        }
    )
    connections["nth"] = connections.groupby("port").cumcount()
    return connections


def _flagged(rows: pd.DataFrame, note: str) -> Mask:
    """The rows whose notes say that this is true."""
    found = rows["notes"].astype("string").str.contains(rf'"{note}":\s*true')
    return np.asarray(found.fillna(False).to_numpy(), dtype=np.bool_)


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
    started = only(
        measured, ~outcomes(measured, Outcome.DROPPED)
    )  # a dropped message is ready when it is given up
    lag_ms = present(span_ns(started, "lag") / NS_PER_MS) if run.open else np.empty(0)
    lag = (point(lag_ms, 0.5), point(lag_ms, 0.99)) if len(lag_ms) else (None, None)
    latency_ms = present(span_ns(main, "latency") / NS_PER_MS)
    wall_ns = run.ended_ns - run.started_ns
    share = run.cpu_ns / wall_ns if run.cpu_ns and wall_ns > 0 else None
    faults = [
        *_unusable(run, counts, errors),
        *_disputed(jury),
        *_unpaced(run, counts, lag[1], point(latency_ms, 0.5) if len(latency_ms) else None),
    ]
    return GeneratorCheck(
        lag_p50_ms=lag[0],
        lag_p99_ms=lag[1],
        cpu_us_per_message=run.cpu_ns / 1e3 / counts.attempted if run.cpu_ns and counts.attempted else None,
        cpu_share=share,
        event_loop=facts.get("event_loop", ""),
        valid=not faults,
        reasons=(*faults, *_remarks(run, share, counts)),
    )


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


def _disputed(jury: Referee | None) -> list[str]:
    if jury is None:
        return []
    findings = (
        (jury.false_accepted, "counted as accepted were never taken by the mock"),
        (jury.unaccounted, "taken by the mock are missing from the client's record"),
        (jury.duplicates, "were taken twice by the mock"),
    )
    return [
        f"accounting: {count} messages {text}; the samples cannot be trusted, please report it"
        for count, text in findings
        if count
    ]


def _unpaced(run: CaseRun, counts: Counts, lag_p99_ms: float | None, latency_ms: float | None) -> list[str]:
    """The two clauses of an open case's self-check."""
    if not run.open:
        return []
    reasons = []
    limit = max(LAG_FLOOR_MS, LAG_SHARE * (latency_ms or 0.0))
    if lag_p99_ms is not None and lag_p99_ms > limit:
        reasons.append(
            f"the generator started messages late: lag p99 {lag_p99_ms:.2f} ms, allowed {limit:.2f} ms; "
            "lower the rate or use a faster machine"
        )
    judged = not run.interrupted and not run.error and counts.scheduled > 0
    if judged and counts.attempted < STARTED_SHARE * counts.scheduled:
        reasons.append(
            f"only {counts.attempted} of {counts.scheduled} scheduled messages were started; "
            "lower the rate or raise max_in_flight"
        )
    return reasons


def _remarks(run: CaseRun, share: float | None, counts: Counts) -> list[str]:
    """What a closed case's CPU says, where it ran long enough and got anything done."""
    if run.open or share is None or share <= CPU_LIMIT:
        return []
    if not counts.accepted or run.ended_ns - run.started_ns < CPU_LEAST_NS:
        return []
    text = (
        f"generator-bound: sendbench itself used {share:.0%} of a core, so these figures show its own limit; "
        "send fewer messages at once or use a faster machine"
    )
    return [text]
