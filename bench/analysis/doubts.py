"""What stands between a reader and the figures, in words: invalid cases, lost messages, failed limits."""

from __future__ import annotations

from bench.analysis.groups import listed, names, number
from bench.model import Summary, ThresholdVerdict

MOST = 4
"""How many reasons are put into words; the tables hold the rest."""


def doubts(summary: Summary) -> list[str]:
    """The gravest first; empty where nothing speaks against the run."""
    run = summary.run
    sentences = []
    if run.state != "complete":
        why = f" ({run.reason})" if run.reason else ""
        sentences.append(f"The run is {run.state}{why}: the figures are about what was recorded.")
    return [
        *_insecure(summary),
        *sentences,
        *_by_reason(summary, valid=False, intro="Not valid"),
        *_lost(summary),
        *_retried(summary),
        *_mismatches(summary),
        *_by_reason(summary, valid=True, intro="Note on"),
        *_unsteady(summary),
        *_thresholds(summary),
    ]


def _insecure(summary: Summary) -> list[str]:
    """Said before everything else: who answered is not known, and what was sent may have been read."""
    called = names(summary)
    ids = [called[case.id] for case in summary.cases if case.labels.get("tls.verify") == "false"]
    where = f"any of the {len(ids)} cases" if 1 < len(ids) == len(summary.cases) else listed(ids)
    return [f"INSECURE: certificates were not checked in {where} (tls.verify is false)."] if ids else []


def _by_reason(summary: Summary, *, valid: bool, intro: str) -> list[str]:
    """A sentence for each reason, with all the cases that share it."""
    called = names(summary)
    by_reason: dict[str, list[str]] = {}
    for case in summary.cases:
        if case.generator.valid is valid:
            for reason in case.generator.reasons:
                by_reason.setdefault(reason, []).append(called[case.id])
    total = len(summary.cases)
    sentences = [
        f"{intro} {f'all {total} cases' if 1 < total == len(ids) else listed(ids)}: {reason}."
        for reason, ids in by_reason.items()
    ]
    more = len(sentences) - MOST
    return [*sentences[:MOST], *([f"{intro} {more} more; the tables say why."] if more > 0 else [])]


def _lost(summary: Summary) -> list[str]:
    """Valid cases that lost messages; of an invalid one its reasons already speak."""
    called = names(summary)
    parts = []
    for case in summary.cases:
        lost = case.counts.scheduled - case.counts.accepted
        if case.generator.valid and lost > 0:
            causes = listed(f"{count} x {cause}" for cause, count in case.errors.items())
            told = f" ({causes})" if causes else ""
            parts.append(f"{lost} of {case.counts.scheduled} messages of {called[case.id]}{told}")
    return [f"Not accepted: {listed(parts)}; the times are those of accepted messages."] if parts else []


def _retried(summary: Summary) -> list[str]:
    """What was sent again, and what that came to; all other figures are about first attempts."""
    called = names(summary)
    parts = []
    for case in summary.cases:
        found = case.retries
        if found is None or not found.attempts:
            continue
        whole = found.end_to_end.p50 if found.end_to_end is not None else None
        took = f", end to end {number(whole.value_ms)} ms at the median" if whole is not None else ""
        again = case.referee.resent if case.referee is not None else 0
        twice = f", {again} of them taken twice" if again else ""
        which = f"{found.messages} messages of {called[case.id]}"
        parts.append(f"{which} ({found.attempts} attempts{took}{twice})")
    return [f"Sent again: {listed(parts)}; the times are those of first attempts."] if parts else []


def _unsteady(summary: Summary) -> list[str]:
    """Of valid cases whose messages were not all of one kind; nothing has been left out for that."""
    called = names(summary)
    warmups, drifts, modes = [], [], []
    for case in summary.cases:
        found, name = case.steadiness, called[case.id]
        if found is None or not case.generator.valid:
            continue
        if n := found.warmup:
            warmups.append(
                f"the first {n} messages of {name} were {found.slower:.0%} slower (load.warmup: {n})"
            )
        if found.drift is not None:
            way = "slower" if found.drift > 0 else "faster"
            drifts.append(f"{name} became {abs(found.drift):.0%} {way} over the run")
        if found.modes is not None:
            low, high = number(found.modes.low_ms), number(found.modes.high_ms)
            modes.append(f"{found.modes.share:.0%} of {name} take about {low} ms, the rest {high} ms")
    sentences = [
        (warmups, "Warm-up", "the figures hold with a warm-up of so many"),
        (drifts, "Drift", "the figures mix its beginning and its end"),
        (modes, "Bimodal", "percentiles between the two are of neither"),
    ]
    return [
        f"{word}: {listed(parts)}; {what}.".replace("%", " %") for parts, word, what in sentences if parts
    ]


def _mismatches(summary: Summary) -> list[str]:
    checked = sum(case.round_trips.checked_connections for case in summary.cases)
    wrong = sum(case.round_trips.mismatched_connections for case in summary.cases)
    if not wrong:
        return []
    called = names(summary)
    where = listed(called[case.id] for case in summary.cases if case.round_trips.mismatched_connections)
    text = (
        f"On {wrong} of {checked} connections the wire saw another number of round trips than the client "
        f"counted ({where}): do not rely on the round trips there."
    )
    return [text]


def _thresholds(summary: Summary) -> list[str]:
    called = names(summary)
    results = [(called[case.id], result) for case in summary.cases for result in case.thresholds]
    failed = [f"{r.text} ({name})" for name, r in results if r.verdict is ThresholdVerdict.FAIL]
    unsettled = [
        f"{r.text} ({name}: {r.note})" if r.note else f"{r.text} ({name})"
        for name, r in results
        if r.verdict is ThresholdVerdict.INCONCLUSIVE
    ]
    sentences = []
    if failed:
        sentences.append(f"{len(failed)} of {len(results)} threshold checks failed: {listed(failed)}.")
    if unsettled:
        sentences.append(
            f"{len(unsettled)} of {len(results)} threshold checks are inconclusive: {listed(unsettled)}."
        )
    return sentences
