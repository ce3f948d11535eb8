"""What the charts show, in the order in which they show it: panels of cases, trends over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.model import CaseSummary, Summary
from bench.report.figures import groups
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
    """One way of sending over several cases: x, p50 in ms with its interval, and words for the end."""

    name: str
    transport: str
    connection: str
    x: tuple[float, ...]
    p50_ms: tuple[float, ...]
    low_ms: tuple[float, ...]
    high_ms: tuple[float, ...]
    words: str
    slope: float | None = None
    """Of a fitted line, in ms per x; None: the points are joined."""
    intercept: float = 0.0


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
