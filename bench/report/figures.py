"""What the tables of every format share: which cases stand together, under which names, in which
unit, and how a figure is written. So a number reads the same wherever it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.analysis.groups import WAYS, extensions
from bench.analysis.quantiles import smallest_count
from bench.model import (
    CaseSummary,
    Distribution,
    GeneratorCheck,
    Percentile,
    Referee,
    Summary,
    ThresholdResult,
    ThresholdVerdict,
)

SET_UP = ("dns", "tcp", "tls", "banner", "ehlo", "starttls", "auth")
"""The phases that a kept connection saves."""

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
MISSING = "–"  # noqa: RUF001  an en dash is what a table shows for "none"

_OWN_LABELS = ("provider", "transport", "connection", "client")
_IN_NAMES = ("client.", "smtp.")
"""Keys that say how a message travels: a case's name has them, so that such cases stand side by side."""
_KEYS = {
    "network.rtt": "RTT",
    "network.jitter": "jitter",
    "network.bandwidth": "bandwidth",
    "load.concurrency": "concurrency",
    "load.rate": "rate",
    "load.model": "load",
    "message.size": "size",
    "message.recipients": "recipients",
    "pool.size": "pool",
    "tls.mode": "TLS",
    "mock.service_time": "service time",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that differ only in how a message travels, and so belong side by side."""

    title: str
    """What they have in common and other groups have not, such as `RTT 50ms`; empty for the only one."""
    cases: tuple[CaseSummary, ...]
    labels: tuple[str, ...]
    """The short name of each case within the group."""

    @property
    def named(self) -> Iterable[tuple[str, CaseSummary]]:
        return zip(self.labels, self.cases, strict=True)


@dataclass(frozen=True, slots=True)
class Unit:
    """The one unit of a table; `per_ms` of it make a millisecond."""

    name: str
    per_ms: float

    def text(self, value_ms: float) -> str:
        """Three significant digits."""
        value = value_ms * self.per_ms
        return f"{value:.{decimals(value)}f}"

    def interval(self, value: Percentile) -> str:
        """The 95 % interval, each side with as many digits as the value."""
        low, high = (self.text(side) for side in value.ci95_ms)
        return f"{low}{MISSING}{high}"


MS = Unit("ms", 1.0)


def decimals(value: float) -> int:
    """How many decimals leave three significant digits, at most three."""
    if value == 0 or not math.isfinite(value):
        return 0
    return min(3, max(0, 2 - math.floor(math.log10(abs(value)))))


def unit_for(cases: Iterable[CaseSummary]) -> Unit:
    """ms, except where every time of the table is far above or below it."""
    times = [d.p50.value_ms if d.p50 else d.mean_ms for case in cases for _, d in times_of(case) if d]
    if times and max(times) < 0.5:
        return Unit("µs", 1000.0)
    if times and min(times) >= 10_000:
        return Unit("s", 0.001)
    return MS


def times_of(case: CaseSummary) -> list[tuple[str, Distribution | None]]:
    """The times that describe a case, the leading one first: latency only where there is a schedule."""
    if case.open:
        return [("latency", case.latency), ("service", case.service)]
    return [("service", case.service)]


def headline(case: CaseSummary) -> Distribution | None:
    """The time a case is judged by: latency in open models, service in closed ones."""
    return times_of(case)[0][1]


def percentile(distribution: Distribution | None, name: str) -> Percentile | None:
    """`p95` of a distribution, None where the sample cannot support it or there is none."""
    value = getattr(distribution, name, None)
    return value if isinstance(value, Percentile) else None


def set_up_share(case: CaseSummary) -> float | None:
    """The share of all service time spent on setting connections up.

    From median phases and their counts; where connections are kept, the messages that opened one
    are apart (`cold`), and what they took longer than the others is set-up too.
    """
    spent = {name: phase.count * phase.p50_ms for name, phase in case.phases.items()}
    set_up, total = sum(time for name, time in spent.items() if name in SET_UP), sum(spent.values())
    if case.cold and case.cold.service and case.service:
        longer = max(0.0, case.cold.service.mean_ms - case.service.mean_ms)
        set_up += case.cold.count * longer
        total += case.cold.count * case.cold.service.mean_ms
    return set_up / total if total > 0 else None


def percent(share: float | None) -> str:
    """`72 %`, with a decimal only near the ends, so that 99.9 % never reads as 100 %."""
    if share is None:
        return MISSING
    value = share * 100
    if value in (0, 100) or 1 <= value < 99:
        return f"{value:.0f} %"
    return "<0.1 %" if value < 0.1 else f"{min(value, 99.9):.1f} %"


def per_second(rate: float | None) -> str:
    """Three significant digits and `/s`."""
    return MISSING if rate is None else f"{rate:.{min(decimals(rate), 2)}f} /s"


def round_trips(case: CaseSummary) -> str:
    """The median, which is a whole number wherever all messages took the same way."""
    return MISSING if case.round_trips.p50 is None else f"{case.round_trips.p50:g}"


def rate(case: CaseSummary) -> str:
    """Accepted per second, and what was offered where that is not the same thing."""
    offered, accepted = case.throughput.offered_per_s, case.throughput.accepted_per_s
    if offered is None or accepted is None:
        return per_second(accepted)
    return f"{accepted:.{min(decimals(accepted), 2)}f} of {per_second(offered)}"


def measured(result: ThresholdResult) -> str:
    """What a threshold was held against, in the unit of its limit, its interval, and what to say of it."""
    if result.value is None or not math.isfinite(result.value):
        return result.note or MISSING
    said = f"; {result.note}" if result.note else ""
    return f"{_value(result, result.value)}{_interval(result)}{said}"


def _interval(result: ThresholdResult) -> str:
    if result.interval is None:
        return ""
    low, high = ("no end" if end is None else _value(result, end) for end in result.interval)
    return f" ({low} to {high})"


def _value(result: ThresholdResult, value: float) -> str:
    if result.text.startswith("share"):
        return f"{100 * value if value in (0.0, 1.0) else min(100 * value, 99.999):.5g} %"
    if result.text.startswith("rate"):
        return per_second(value)
    return f"{MS.text(value)} ms"


@dataclass(frozen=True, slots=True)
class ThresholdLine:
    """A verdict to show: each case that does not pass by itself, those that pass together."""

    verdict: ThresholdVerdict
    text: str
    where: str
    """A case's id, or how many cases passed."""
    measured: str


def threshold_lines(summary: Summary) -> tuple[ThresholdLine, ...]:
    """The thresholds in the order of the scenario, what fails first within each."""
    by_text: dict[str, list[tuple[CaseSummary, ThresholdResult]]] = {}
    for case in summary.cases:
        for result in case.thresholds:
            by_text.setdefault(result.text, []).append((case, result))
    return tuple(line for text, results in by_text.items() for line in _threshold_lines(text, results))


def _threshold_lines(
    text: str, results: list[tuple[CaseSummary, ThresholdResult]]
) -> Iterable[ThresholdLine]:
    passed = [result for _, result in results if result.verdict is ThresholdVerdict.PASS]
    for case, result in results:
        if result.verdict is not ThresholdVerdict.PASS or len(passed) == 1:
            yield ThresholdLine(result.verdict, text, case.id, measured(result))
    if len(passed) > 1:
        which = f"all {len(results)}" if len(passed) == len(results) else f"{len(passed)} of {len(results)}"
        yield ThresholdLine(ThresholdVerdict.PASS, text, f"{which} cases", _range(passed))


def _range(results: list[ThresholdResult]) -> str:
    """From the lowest to the highest value."""
    ordered = sorted((result for result in results if result.value is not None), key=lambda r: r.value or 0.0)
    ends = [_value(each, each.value or 0.0) for each in (ordered[0], ordered[-1])] if ordered else []
    return " to ".join(dict.fromkeys(ends)) or MISSING


def groups(summary: Summary) -> tuple[Group, ...]:
    """The cases in groups, in the order of the run. Names are unique: a full id where a short one is not."""
    varying = _varying(summary.cases)
    by_title: dict[str, list[CaseSummary]] = {}
    for case in summary.cases:
        by_title.setdefault(_title(case.labels, varying), []).append(case)
    return tuple(
        Group(title, tuple(cases), _names([case.id for case in cases], cases, varying))
        for title, cases in by_title.items()
    )


def _varying(cases: Iterable[CaseSummary]) -> set[str]:
    values: dict[str, set[str | None]] = {}
    labels = [case.labels for case in cases]
    for key in {key for label in labels for key in label}:
        values[key] = {label.get(key) for label in labels}
    varying = {key for key, found in values.items() if len(found) > 1}
    if not _differs_within_transport(labels):
        varying -= {"client"}
    # `load` says in words what `load.<key>` says in figures.
    return varying - {"load"} if any(key.startswith("load.") for key in varying) else varying


def _differs_within_transport(labels: Iterable[Mapping[str, str]]) -> bool:
    """SMTP and API have a client each; a name needs it only where one transport has several."""
    clients: dict[str, set[str]] = {}
    for label in labels:
        clients.setdefault(label.get("transport", ""), set()).add(label.get("client", ""))
    return any(len(found) > 1 for found in clients.values())


def _title(labels: Mapping[str, str], varying: set[str]) -> str:
    keys = sorted(key for key in varying if key not in _OWN_LABELS and not key.startswith(_IN_NAMES))
    return ", ".join(f"{_KEYS.get(key, key)} {_spaced(labels[key])}" for key in keys if key in labels)


def _spaced(value: str) -> str:
    """`50ms` as `50 ms`."""
    return re.sub(r"^([0-9.]+)([A-Za-zµ]+)$", r"\1 \2", value)


def _names(ids: list[str], cases: list[CaseSummary], varying: set[str]) -> tuple[str, ...]:
    names = [_name(case, varying) for case in cases]
    return tuple(names) if len(set(names)) == len(names) else tuple(ids)


def _name(case: CaseSummary, varying: set[str]) -> str:
    shown = [case.labels.get(key, "") for key in ("transport", "connection")]
    before = [case.labels.get("provider", "")] if "provider" in varying else []
    after = [f"({case.labels['client']})"] if "client" in varying and "client" in case.labels else []
    used = WAYS.get(extensions(case.labels), "")
    name = " ".join(part for part in (*before, *shown, used, *after) if part)
    return name or case.id


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a reader must know before believing a figure."""

    case: str
    word: str
    """INVALID: do not use its figures; ERRORS: not every message was accepted; NOTE: a remark."""
    text: str


def generator_figures(check: GeneratorCheck) -> list[str]:
    """What the generator says about itself, as far as it is known."""
    figures = (
        ("lag p50 {:.3f} ms", check.lag_p50_ms),
        ("lag p99 {:.3f} ms", check.lag_p99_ms),
        ("hiccups p99.9 {:.3f} ms", check.hiccup_p999_ms),
        ("longest hiccup {:.3f} ms", check.hiccup_max_ms),
        ("{:.0f} us CPU a message", check.cpu_us_per_message),
        ("{:.0%} of a core", check.cpu_share),
    )
    known = [text.format(value) for text, value in figures if value is not None]
    return [*known, "valid" if check.valid else "not valid"]


def problems(summary: Summary) -> tuple[Problem, ...]:
    """Everything that is wrong with a run, worst first."""
    found = [problem for case in summary.cases for problem in _problems(case)]
    return tuple(sorted(found, key=lambda problem: ("INVALID", "ERRORS", "NOTE").index(problem.word)))


def _problems(case: CaseSummary) -> Iterable[Problem]:
    reasons = "; ".join(case.generator.reasons)
    if not case.generator.valid:
        yield Problem(case.id, "INVALID", reasons or "the generator's self-check failed")
    if case.error:
        yield Problem(case.id, "ERRORS" if case.generator.valid else "INVALID", case.error)
    if case.counts.accepted < case.counts.scheduled:
        yield Problem(case.id, "ERRORS", _losses(case))
    if case.referee and _disagrees(case.referee):
        yield Problem(case.id, "INVALID", _disagreement(case.referee))
    if case.round_trips.mismatched_connections:
        yield Problem(case.id, "NOTE", _miscounted(case))
    if case.generator.valid and reasons:
        yield Problem(case.id, "NOTE", reasons)


def _losses(case: CaseSummary) -> str:
    counts = case.counts
    parts = [
        f"{count} {name}"
        for name, count in (
            ("rejected", counts.rejected),
            ("failed", counts.failed),
            ("unknown", counts.unknown),
            ("dropped", counts.dropped),
        )
        if count
    ]
    why = sorted(case.errors.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{count} x {name}" for name, count in why[:5])
    more = f", {len(why) - 5} more kinds" if len(why) > 5 else ""
    text = f"{counts.scheduled - counts.accepted} of {counts.scheduled} not accepted"
    return text + (f": {', '.join(parts)}" if parts else "") + (f" ({shown}{more})" if shown else "")


def _disagrees(referee: Referee) -> bool:
    return bool(referee.false_accepted or referee.unaccounted or referee.duplicates)


def _disagreement(referee: Referee) -> str:
    return (
        f"the mock's log disagrees: {referee.false_accepted} counted as accepted but never taken, "
        f"{referee.unaccounted} taken but not counted, {referee.duplicates} taken twice"
    )


def _miscounted(case: CaseSummary) -> str:
    trips = case.round_trips
    return (
        f"the round trips of {trips.mismatched_connections} of {trips.checked_connections} connections "
        "differ from what the shaper saw"
    )


def missing_note(summary: Summary, names: Iterable[str]) -> str | None:
    """What a dash in the table means, None where there is none."""
    shown = [d for case in summary.cases for _, d in times_of(case)]
    lost = [name for name in names if any(percentile(d, name) is None for d in shown)]
    if not lost:
        return None
    needs = ", ".join(f"{label(name)} needs n >= {smallest_count(QUANTILES[name])}" for name in lost)
    return f"{MISSING} not enough accepted messages: {needs}"


def label(name: str) -> str:
    """`p999` as people write it."""
    return "p99.9" if name == "p999" else name
