"""`report.html`: one self-contained page. No script, no font, no image from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup, escape

from bench.analysis.fits import RttFit, rtt_fits
from bench.analysis.knees import Knee, knees
from bench.model import Answer, CaseSummary, Counts, Distribution, Summary
from bench.report import charts
from bench.report.caveats import caveats, facts, method
from bench.report.colours import colour_of
from bench.report.comparisons import Compared, compared
from bench.report.figures import (
    MISSING,
    MS,
    Group,
    Unit,
    groups,
    label,
    missing_note,
    percent,
    percentile,
    problems,
    rate,
    round_trips,
    set_up_share,
    threshold_lines,
    times_of,
    unit_for,
)
from bench.report.panels import Panel, family_name, knee_trends, panels_of, rtt_trends
from bench.report.text import visible
from bench.units import format_ms

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("p50", "p95", "p99")
MOST_PANELS = 12
"""More panels than this make a chart that nobody reads; the table has every case."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A percentile as the table shows it."""

    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of cases; an open case has two."""

    name: str
    colour: str
    measure: str
    """latency or service where a case shows both, else empty."""
    leading: bool
    figures: tuple[Figure, ...]
    bar: float
    """p50 as a share of the largest p50 of the table, 0 to 100."""
    round_trips: str
    set_up: str
    accepted: str
    complete: bool
    rate: str
    valid: bool


@dataclass(frozen=True, slots=True)
class TripRow:
    """What round trips explain of a case's p50."""

    name: str
    rtt: str
    trips: str
    product: str
    p50: str
    difference: str


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """The page as UTF-8."""
    unit = unit_for(summary.cases)
    panels = panels_of(summary, frame)
    fits = rtt_fits(summary)
    page = _environment().get_template("report.html.j2")
    return page.render(
        title=f"{summary.run.scenario} · sendbench",
        run=summary.run,
        headline=answer.sentences[0] if answer.sentences else "No answer",
        sentences=answer.sentences[1:],
        unit=unit.name,
        columns=[label(name) for name in SHOWN],
        tables=[(group.title, _rows(group, unit, _largest(summary))) for group in groups(summary)],
        note=missing_note(summary, SHOWN),
        open=any(case.open for case in summary.cases),
        problems=problems(summary),
        charts=_charts(panels, _clients(summary)),
        trips=[(group.title, rows) for group in groups(summary) if (rows := _trip_rows(group))],
        fits=fits,
        trends=_trends(fits, knees(summary)),
        comparisons=[
            (each, _comparison_chart(each, number)) for number, each in enumerate(compared(summary))
        ],
        thresholds=threshold_lines(summary),
        claims=answer.claims,
        counts=[(case.id, case.counts, _kinds(case)) for case in summary.cases],
        outcomes=list(Counts.__dataclass_fields__),
        checks=[(case.id, case.generator, case.referee, case.round_trips) for case in summary.cases],
        facts=facts(summary),
        method=method(summary),
        caveats=caveats(summary),
    ).encode()


def _environment() -> jinja2.Environment:
    """Everything is escaped, and control characters are made visible before that."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
    )
    environment.filters["ms"] = lambda value: MISSING if value is None else MS.text(value)
    environment.filters["quoted"] = _quoted
    environment.filters["family"] = family_name
    environment.filters["number"] = lambda value: MISSING if value is None else format_ms(value)
    return environment


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _quoted(text: str) -> Markup:
    """`name` in a sentence of ours as code; every piece is escaped."""
    pieces = visible(text).split("`")
    if len(pieces) % 2 == 0:
        return escape(visible(text))
    marked = (Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(pieces))
    return Markup("").join(marked)


def _rows(group: Group, unit: Unit, largest_ms: float) -> list[Row]:
    return [
        _row(name, position, case, index, unit, largest_ms)
        for position, (name, case) in enumerate(group.named)
        for index in range(len(times_of(case)))
    ]


def _row(name: str, position: int, case: CaseSummary, index: int, unit: Unit, largest_ms: float) -> Row:
    what, times = times_of(case)[index]
    p50 = percentile(times, "p50")
    counts = case.counts
    return Row(
        name=name,
        colour=colour_of(case.labels.get("transport", ""), case.labels.get("connection", ""), position),
        measure=what if case.open else "",
        leading=index == 0,
        figures=tuple(_figure(times, quantile, unit) for quantile in SHOWN),
        bar=100 * p50.value_ms / largest_ms if p50 and largest_ms and index == 0 else 0.0,
        round_trips=round_trips(case),
        set_up=percent(set_up_share(case)),
        accepted=f"{counts.accepted}/{counts.scheduled}",
        complete=counts.accepted == counts.scheduled,
        rate=rate(case),
        valid=case.generator.valid,
    )


def _figure(times: Distribution | None, quantile: str, unit: Unit) -> Figure:
    value = percentile(times, quantile)
    return Figure(unit.text(value.value_ms), unit.interval(value)) if value else Figure(MISSING, "")


def _largest(summary: Summary) -> float:
    p50s = [percentile(times, "p50") for case in summary.cases for _, times in times_of(case)]
    return max((p50.value_ms for p50 in p50s if p50), default=0.0)


def _trip_rows(group: Group) -> list[TripRow]:
    return [_trip_row(name, case) for name, case in group.named if case.round_trips.p50 is not None]


def _trip_row(name: str, case: CaseSummary) -> TripRow:
    p50, trips = percentile(case.service, "p50"), case.round_trips.p50 or 0.0
    product = trips * case.rtt_ms if case.rtt_ms else None
    difference = p50.value_ms - product if p50 and product else None
    return TripRow(
        name=name,
        rtt=f"{case.rtt_ms:.3g}" if case.rtt_ms else MISSING,
        trips=f"{trips:g}",
        product=MS.text(product) if product else MISSING,
        p50=MS.text(p50.value_ms) if p50 else MISSING,
        difference=_signed(difference, product),
    )


def _signed(difference: float | None, product: float | None) -> str:
    if difference is None or not product:
        return MISSING
    return f"{difference:+.1f} ({100 * difference / product:+.1f} %)"


def _kinds(case: CaseSummary) -> str:
    ranked = sorted(case.errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} x {name}" for name, count in ranked)


# -------------------------------------------------------------------------- charts


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and what it says."""

    title: str
    note: str
    svg: Markup


PHASES_NOTE = (
    "Each bar is a typical message: the mean of every phase over the middle tenth of messages around the "
    "median (medians of phases would not add up; these means do, to about the p50)."
)
MERGED_NOTE = (
    " aiosmtplib and smtplib do not let all phases be told apart: their data covers body and reply, their "
    "starttls the TLS handshake, and with implicit TLS aiosmtplib's banner covers tls."
)
SPECTRUM_NOTE = (
    "Read upwards: so many percent of messages took at most this long. The band is the 95 % interval; a line "
    "ends where the sample no longer supports one.{open}"
)
TIME_NOTE = (
    "Every measured message at the time its work began. Red crosses were not accepted; triangles opened a "
    "connection in a pooled case.{open}"
)


def _clients(summary: Summary) -> set[str]:
    return {case.labels.get("client", "") for case in summary.cases}


def _charts(panels: tuple[Panel, ...], clients: set[str]) -> list[Chart]:
    panels = tuple(panel for panel in panels if any(len(line.series) for line in panel.lines))
    if not panels:
        return []
    shown = panels[:MOST_PANELS]
    left = (
        f" Only the first {len(shown)} of {len(panels)} groups are drawn." if len(panels) > len(shown) else ""
    )
    is_open = any(line.open for panel in shown for line in panel.lines)
    shaped = any(line.rtt_ms for panel in shown for line in panel.lines)
    about = " The grid counts round trips: the time goes into waiting for the peer." if shaped else ""
    about += MERGED_NOTE if {"aiosmtplib", "smtplib"} & clients else ""
    lines = [line for panel in shown for line in panel.lines]
    drawn = []
    if any(line.profile for line in lines):
        drawn.append(("Where the time goes", PHASES_NOTE + about, charts.phases_chart(shown)))
    if any(len(line.spectrum) for line in lines):
        both = " Solid: latency; dashed: the service time in it." if is_open else ""
        drawn.append(("Every percentile", SPECTRUM_NOTE.format(open=both), charts.spectrum_chart(shown)))
    both = " Coloured: latency; grey: the service time in it." if is_open else ""
    drawn.append(("Over time", TIME_NOTE.format(open=both), charts.time_chart(shown)))
    # Our own charts escape what they draw (see charts); nothing else is marked as safe.
    return [Chart(title, note + left, Markup(svg)) for title, note, svg in drawn]


SHIFT_NOTE = (
    "How much longer the second takes than the first, from its fastest messages to its slowest; the band is "
    "the 95 % interval of each point.{limits}"
)
LIMITS_NOTE = (
    " This is the gate, drawn: it passes where the band at p50, p95 and p99 ends below the red marks; one "
    "far above the curve is left out."
)
PLACES_NOTE = (
    "How much longer each takes than the one with the fastest median. All intervals of a percentile hold "
    "together 95 times of 100; one without an end leaves the picture."
)


def _comparison_chart(found: Compared, number: int) -> Chart | None:
    if len(found.source.pairs) > 1:
        return Chart(found.title, PLACES_NOTE, Markup(charts.places_chart(found, number)))
    (pair,) = found.source.pairs
    if not pair.shift:
        return None
    note = SHIFT_NOTE.format(limits=LIMITS_NOTE if found.source.limits else "")
    return Chart(found.title, note, Markup(charts.shift_chart(pair.shift, found.source.limits, number)))


RTT_NOTE = (
    "The slope of each line is the number of round trips a message pays for, whatever the distance; where it "
    "meets the left edge is what does not depend on distance."
)
KNEE_NOTE = (
    "Messages accepted per second as more workers send at once. The ring marks the smallest concurrency that "
    "reaches 95 % of the best rate."
)


def _trends(fits: Sequence[RttFit], found: Sequence[Knee]) -> list[Chart]:
    drawn = []
    if fits:
        svg = Markup(charts.rtt_chart(rtt_trends(fits)))
        drawn.append(Chart("Service time over distance", RTT_NOTE, svg))
    if found:
        svg = Markup(charts.knee_chart(knee_trends(found)))
        drawn.append(Chart("Where more load stops helping", KNEE_NOTE, svg))
    return drawn
