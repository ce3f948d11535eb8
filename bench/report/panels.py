"""What the charts show, in the order in which they show it: panels of cases, trends over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.fits import RttFit
from bench.analysis.knees import Knee
from bench.model import CaseSummary, Summary
from bench.report.figures import groups, per_second
from bench.report.series import Profile, Series, Spectrum, profile, series_of, spectrum


@dataclass(frozen=True, slots=True)
class Line:
    """One case of a chart: its name within the panel, what it is, and what was measured."""

    name: str
    transport: str
    connection: str
    series: Series
    spectrum: Spectrum
    """Of the time the case is judged by."""
    service: Spectrum | None
    """Beside it in open models, where that is the latency."""
    profile: Profile | None
    rtt_ms: float | None
    open: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Cases that belong side by side."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """One way of sending over several cases: points, and words for the end of the line through them."""

    name: str
    transport: str
    connection: str
    points: tuple[tuple[float, float], ...]
    words: str
    line: tuple[float, float] | None = None
    """Slope and intercept of a fitted line; None: the points are joined."""
    mark: float | None = None
    """An x to stress, such as the knee."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a line ends, and what is written there."""

    words: str
    colour: str
    x: float
    y: float


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """The positions, moved upwards as little as it takes to keep neighbours `gap` apart."""
    placed = list(positions)
    last = -np.inf
    for index in np.argsort(np.array(positions), kind="stable").tolist():
        placed[index] = last = max(placed[index], last + gap)
    return placed


def panels_of(summary: Summary, frame: pd.DataFrame) -> tuple[Panel, ...]:
    """The cases as charts group them, each with its messages."""
    return tuple(
        Panel(group.title, tuple(_line(name, case, frame) for name, case in group.named))
        for group in groups(summary)
    )


def _line(name: str, case: CaseSummary, frame: pd.DataFrame) -> Line:
    series = series_of(frame, case.id, pooled=case.labels.get("connection") == "pooled")
    service = spectrum(series.service_ms[series.counted])
    return Line(
        name=name,
        transport=case.labels.get("transport", ""),
        connection=case.labels.get("connection", ""),
        series=series,
        spectrum=spectrum(series.latency_ms[series.counted]) if case.open else service,
        service=service if case.open else None,
        profile=profile(series),
        rtt_ms=case.rtt_ms,
        open=case.open,
    )


def family_name(name: str) -> str:
    """`smtp/pooled` as cases are named elsewhere in a report."""
    return name.replace("/", " ")


def rtt_trends(fits: Sequence[RttFit]) -> tuple[Trend, ...]:
    """Service p50 over RTT, with the fitted line."""
    return tuple(
        Trend(
            name=family_name(fit.name),
            transport=fit.transport,
            connection=fit.connection,
            points=fit.points,
            words=f"{fit.slope:.2f} x RTT {_signed(fit.intercept_ms)} ms",
            line=(fit.slope, fit.intercept_ms),
        )
        for fit in fits
    )


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'} {abs(value):.1f}"


def knee_trends(found: Sequence[Knee]) -> tuple[Trend, ...]:
    """Accepted messages per second over concurrency, the knee stressed."""
    return tuple(
        Trend(
            name=family_name(knee.name),
            transport=knee.transport,
            connection=knee.connection,
            points=tuple((float(x), y) for x, y in knee.points),
            words=f"best {per_second(knee.best_per_s)}"
            + (f", from {knee.concurrency} on" if knee.reached else ", still rising")
            + (", generator-bound" if knee.generator_bound else ""),
            mark=float(knee.concurrency) if knee.reached else None,
        )
        for knee in found
    )
