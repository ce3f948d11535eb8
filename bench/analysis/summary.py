"""From the samples of a run to its figures. Pure: rows and manifest in, `Summary` out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.analysis.checks import check_round_trips, disputes, referee
from bench.analysis.comparisons import compare_cases
from bench.analysis.frame import Mask, Tabular, flags, numbers, only, outcomes, present, span_ns, timed
from bench.analysis.generator import check_generator
from bench.analysis.groups import listed
from bench.analysis.quantiles import NS_PER_MS, Floats, percentile, point
from bench.analysis.steady import steadiness
from bench.analysis.thresholds import Population, cut_short, evaluate, unmatched
from bench.model import (
    PHASES,
    CaseRun,
    CaseSummary,
    Cold,
    Counts,
    Distribution,
    Manifest,
    Outcome,
    PhaseSummary,
    Retries,
    RoundTrips,
    RunInfo,
    Steadiness,
    Summary,
    Threshold,
    ThresholdResult,
    Throughput,
    WireConnection,
)

Logs = Mapping[str, Tabular]
Wires = Mapping[str, Sequence[WireConnection]]


def summarize(frame: pd.DataFrame, manifest: Manifest, takes: Logs, wires: Wires) -> Summary:
    """Every figure of a run from its `sample_frame`; `takes` and `wires` hold the mock's log (a table
    with a column `key`) and the shaper's by case id.

    Rows of a case that the manifest does not know (the run died in it) make a case of their
    own, which is marked as not having ended.
    """
    rows = {str(name): only(frame, _equal(frame, name)) for name in frame["case"].unique()}
    known = {case.id for case in manifest.cases}
    runs = [*manifest.cases, *(_unfinished(name, group) for name, group in rows.items() if name not in known)]
    empty = frame.iloc[:0]
    cases = [
        _summarize_case(
            run, rows.get(run.id, empty), manifest, takes=takes.get(run.id), wires=wires.get(run.id)
        )
        for run in runs
    ]
    return Summary(
        run=_info(manifest, cases),
        cases=_add_unmatched(cases, manifest.thresholds),
        comparisons=compare_cases(
            frame,
            manifest.cases,
            manifest.gate,
            manifest.looks,
            invalid={case.id for case in cases if not case.generator.valid},
        ),
    )


def _equal(frame: pd.DataFrame, case: str) -> Mask:
    return np.asarray(frame["case"].eq(case), dtype=np.bool_)


def _info(manifest: Manifest, cases: Sequence[CaseSummary]) -> RunInfo:
    """What the manifest says of the run; a run whose accounts do not balance is invalid, whatever it says.

    Not while it is running: its logs are not at the same point then.
    """
    info = _recorded(manifest)
    disputed = [case.id for case in cases if case.referee and disputes(case.referee)]
    if not disputed or manifest.state == "running":
        return info
    reasons = [f"accounting: client and mock disagree about what was taken in {listed(disputed)}"]
    return replace(info, state="invalid", reason="; ".join([*reasons, *filter(None, [manifest.reason])]))


def _recorded(manifest: Manifest) -> RunInfo:
    return RunInfo(
        id=manifest.id,
        scenario=manifest.scenario,
        description=manifest.description,
        state=manifest.state,
        started_at=manifest.started_at,
        tool_version=manifest.tool_version,
        seed=manifest.seed,
        facts=manifest.facts,
        tags=manifest.tags,
        reason=manifest.reason,
        rows=manifest.rows,
        log_sha256=manifest.log_sha256,
        file=manifest.file,
    )


def _summarize_case(
    run: CaseRun,
    rows: pd.DataFrame,
    manifest: Manifest,
    *,
    takes: Tabular | None,
    wires: Sequence[WireConnection] | None,
) -> CaseSummary:
    jury = None if takes is None else referee(rows, takes)  # first: nothing else takes as much memory
    if jury is not None and run.retry == "unknown":
        jury = replace(jury, duplicates=0, resent=jury.duplicates)
    every = only(rows, ~flags(rows, "warmup"))
    measured, final = _first_and_final(every)
    accepted = outcomes(measured, Outcome.ACCEPTED)
    cold = _cold_rows(measured, run.pooled)
    main = only(timed(measured), accepted & ~cold)
    timings = _each_once(main)
    counts = _counts(run, final)
    throughput = _throughput(run, measured, counts)
    errors = _errors(final[~outcomes(final, Outcome.ACCEPTED)])
    latency = distribution(span_ns(timings, "latency")) if run.open else None
    return CaseSummary(
        id=run.id,
        labels=run.labels,
        counts=counts,
        throughput=throughput,
        latency=latency,
        service=distribution(span_ns(timings, "service")),
        wait=distribution(span_ns(timings, "wait")),
        phases=_phases(timings),
        round_trips=_round_trips(run, rows, main, wires),
        cold=_cold(measured[accepted & cold]) if run.pooled else None,
        thresholds=_verdicts(
            run,
            manifest,
            Population(
                timings,
                counts,
                throughput,
                by_outcome=_by_outcome(measured),
                began_ns=run.started_ns,
                ends_ns=present(numbers(only(final, outcomes(final, Outcome.ACCEPTED)), "end_ns")),
            ),
        ),
        generator=check_generator(run, measured, main, counts, jury, errors, manifest.facts),
        rtt_ms=_rtt_ms(run, rows),
        open=run.open,
        errors=errors,
        referee=jury,
        error=run.error,
        comparison=run.comparison,
        retries=_retries(every, measured, final) if run.retry else None,
        steadiness=_steadiness(run, timings, measured),
    )


def _steadiness(run: CaseRun, timings: pd.DataFrame, measured: pd.DataFrame) -> Steadiness | None:
    """None, too, where the load itself is meant to change."""
    if run.labels.get("load") in ("ramp", "steps"):
        return None
    service, starts = span_ns(timings, "service"), numbers(timings, "start_ns")
    order = np.argsort(starts, kind="stable")
    order = order[~np.isnan(service[order])]
    found = steadiness(service[order])
    if found is None or not found.warmup:
        return found
    before = numbers(measured, "start_ns") < starts[order[found.warmup]]
    return replace(found, warmup=int(np.count_nonzero(before)))


def _verdicts(run: CaseRun, manifest: Manifest, population: Population) -> tuple[ThresholdResult, ...]:
    if manifest.state == "stopped" and run.interrupted:
        return cut_short(manifest.thresholds, run)
    return evaluate(manifest.thresholds, run.labels, population)


def counted(rows: pd.DataFrame, *, pooled: bool) -> pd.DataFrame:
    """Of a case's rows those whose times its percentiles are of: first attempts that were accepted, without
    warm-up, without cold ones where connections are kept, one row a call."""
    measured, _ = _first_and_final(only(rows, ~flags(rows, "warmup")))
    main = outcomes(measured, Outcome.ACCEPTED) & ~_cold_rows(measured, pooled)
    return _each_once(only(timed(measured), main))


def _cold_rows(rows: pd.DataFrame, pooled: bool) -> Mask:
    return flags(rows, "cold") if pooled else np.zeros(len(rows), dtype=np.bool_)


def _first_and_final(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first attempts, and what each message ended with; the same where nothing was sent again."""
    again = numbers(rows, "attempt") > 1
    if not again.any():
        return rows, rows
    return rows[~again], rows.drop_duplicates("seq", keep="last")


def _retries(every: pd.DataFrame, first: pd.DataFrame, final: pd.DataFrame) -> Retries:
    begun = pd.Series(numbers(first, "due_ns"), index=first["seq"])
    begun = begun.fillna(pd.Series(numbers(first, "ready_ns"), index=first["seq"]))
    taken = only(final, outcomes(final, Outcome.ACCEPTED))
    spans = numbers(taken, "end_ns") - begun.reindex(taken["seq"]).to_numpy()
    again = every[numbers(every, "attempt") > 1]
    return Retries(again["seq"].nunique(), len(again), distribution(spans))


def _each_once(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with one for each call: the messages of a batch share its timing, and a hundred copies of
    one observation are no hundred observations."""
    together = ~np.isnan(numbers(rows, "batch_index"))
    if not together.any():
        return rows
    calls = pd.DataFrame({name: numbers(rows, name) for name in ("connection_id", "start_ns")})
    return only(rows, ~(together & calls.duplicated().to_numpy()))


def distribution(values_ns: Floats) -> Distribution | None:
    """Count, mean, extremes and percentiles of what is not NaN; None where nothing is."""
    ordered = present(values_ns)
    if not len(ordered):
        return None
    return Distribution(
        count=len(ordered),
        mean_ms=float(ordered.mean()) / NS_PER_MS,
        min_ms=float(ordered[0]) / NS_PER_MS,
        max_ms=float(ordered[-1]) / NS_PER_MS,
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        p999=percentile(ordered, 0.999),
    )


def _phases(main: pd.DataFrame) -> dict[str, PhaseSummary]:
    phases = {}
    for phase in PHASES:
        ordered = present(numbers(main, f"{phase}_ns")) / NS_PER_MS
        if len(ordered):
            phases[phase] = PhaseSummary(
                len(ordered), p50_ms=point(ordered, 0.5), p95_ms=point(ordered, 0.95)
            )
    return phases


def _cold(rows: pd.DataFrame) -> Cold:
    return Cold(count=len(rows), service=distribution(span_ns(_each_once(rows), "service")))


def _counts(run: CaseRun, measured: pd.DataFrame) -> Counts:
    ended = _by_outcome(measured)
    dropped = ended[Outcome.DROPPED]
    return Counts(
        scheduled=run.scheduled,
        dropped=dropped,
        attempted=len(measured) - dropped,
        accepted=ended[Outcome.ACCEPTED],
        rejected=ended[Outcome.REJECTED_TEMP] + ended[Outcome.REJECTED_PERM],
        failed=ended[Outcome.FAILED],
        unknown=ended[Outcome.UNKNOWN],
    )


def _by_outcome(measured: pd.DataFrame) -> dict[Outcome, int]:
    return {outcome: int(np.count_nonzero(outcomes(measured, outcome))) for outcome in Outcome}


def _throughput(run: CaseRun, measured: pd.DataFrame, counts: Counts) -> Throughput:
    """Offered: intervals between due times per second, so that 50/s for 2 s is 50 and not 50.5."""
    offered = None
    due, parts = numbers(measured, "due_ns"), np.searchsorted(run.begins, numbers(measured, "seq"), "right")
    each = [present(due[parts == part + 1]) for part in range(len(run.begins))]
    gaps = sum(max(0, len(one) - 1) for one in each)
    spans_ns = sum(float(one[-1] - one[0]) for one in each if len(one))
    if run.open and spans_ns > 0:
        offered = gaps * 1e9 / spans_ns
    span_s = run.took_ns / 1e9
    return Throughput(offered_per_s=offered, accepted_per_s=counts.accepted / span_s if span_s > 0 else None)


def _errors(lost: pd.DataFrame) -> dict[str, int]:
    """What became of the messages that were not accepted, most frequent first.

    The class of error; the code where the server simply answered no; else the outcome.
    """
    codes = numbers(lost, "code")
    found: Counter[str] = Counter()
    for error, code, outcome in zip(lost["error"], codes, lost["outcome"], strict=True):
        told = isinstance(error, str) and (error != "rejected" or np.isnan(code))
        found[error if told else str(outcome) if np.isnan(code) else f"{code:.0f}"] += 1
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _round_trips(
    run: CaseRun, rows: pd.DataFrame, main: pd.DataFrame, wires: Sequence[WireConnection] | None
) -> RoundTrips:
    trips = present(numbers(main, "round_trips"))
    checked, mismatched = (0, 0) if wires is None else check_round_trips(run, rows, wires)
    return RoundTrips(point(trips, 0.5) if len(trips) else None, checked, mismatched)


def _rtt_ms(run: CaseRun, rows: pd.DataFrame) -> float | None:
    """The configured RTT, else the shortest tcp phase: what is longer waited for a busy machine.

    Warm-up counts too: a pooled case may connect nowhere else.
    """
    if run.rtt_ns is not None:
        return run.rtt_ns / NS_PER_MS
    connects = present(numbers(rows, "tcp_ns")[outcomes(rows, Outcome.ACCEPTED)])
    return float(connects[0]) / NS_PER_MS if len(connects) else None


def _unfinished(name: str, rows: pd.DataFrame) -> CaseRun:
    """What can be said of a case from its rows alone, when the run died before the case ended."""
    labels = _labels(name)
    warmup = flags(rows, "warmup")
    begin, end = _extent(rows[~warmup])
    return CaseRun(
        id=name,
        labels=labels,
        scheduled=int(np.count_nonzero(~warmup)),
        warmup=int(np.count_nonzero(warmup)),
        started_ns=begin,
        ended_ns=end,
        cpu_ns=0,
        open=bool(np.any(~np.isnan(numbers(rows, "due_ns")))),
        pooled=labels.get("connection") == "pooled",
        rtt_ns=None,
        service_time_p50_ns=None,
        error="the run ended before this case did",
        interrupted=True,
    )


def _labels(case_id: str) -> dict[str, str]:
    """The labels that a case id spells out; a value may hold a slash, as in `load.rate=50/s`."""
    path, *settings = re.split(r"/(?=[A-Za-z_][\w.]*=)", case_id)
    labels = dict(zip(("provider", "transport", "connection"), path.split("/"), strict=False))
    return labels | dict(setting.split("=", 1) for setting in settings)


def _extent(rows: pd.DataFrame) -> tuple[int, int]:
    times = present(np.concatenate([numbers(rows, "ready_ns"), numbers(rows, "end_ns")]))
    return (int(times[0]), int(times[-1])) if len(times) else (0, 0)


def _add_unmatched(cases: list[CaseSummary], thresholds: Sequence[Threshold]) -> tuple[CaseSummary, ...]:
    """A threshold that no case answers must not pass unseen: the first case carries it as inconclusive."""
    lost = unmatched(thresholds, [case.labels for case in cases])
    if not cases or not lost:
        return tuple(cases)
    first, *others = cases
    return (replace(first, thresholds=(*first.thresholds, *lost)), *others)
