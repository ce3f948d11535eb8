"""Service time as a line over the round trip time: how many round trips a message pays, and what else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.groups import family, median_ms, shorten, usable
from bench.model import CaseSummary, Summary

TOLERANCE = 0.03
"""How far the slope may be from the counted round trips before a sentence says so."""


@dataclass(frozen=True, slots=True)
class RttFit:
    """service p50 = slope x RTT + intercept, by ordinary least squares over the run's RTTs."""

    name: str
    """The cases' id without the RTT (and without the provider, where there is only one)."""
    provider: str
    transport: str
    connection: str
    slope: float
    """Round trips a message pays for."""
    intercept_ms: float
    """What does not depend on the distance: CPU, handshake arithmetic, library, service time."""
    counted: float | None
    """Round trips counted message by message (median)."""
    points: tuple[tuple[float, float], ...]
    """(RTT, service p50) in ms, by RTT"""
    residual_ms: float
    """The largest distance of a point from the line."""

    @property
    def agrees(self) -> bool:
        """Whether slope and count tell the same; True where nothing was counted."""
        return self.counted is None or abs(self.slope - self.counted) <= TOLERANCE * self.counted


def rtt_fits(summary: Summary) -> tuple[RttFit, ...]:
    """One line for all valid cases that differ only in `network.rtt`, where that took two values or more."""
    families: dict[str, list[CaseSummary]] = {}
    for case in summary.cases:
        if "network.rtt" in case.labels and case.rtt_ms is not None and usable(case):
            families.setdefault(family(case, "network.rtt"), []).append(case)
    return tuple(
        _fit(shorten(name, summary), cases)
        for name, cases in families.items()
        if len({case.rtt_ms for case in cases}) > 1
    )


def _fit(name: str, cases: Sequence[CaseSummary]) -> RttFit:
    points = sorted((case.rtt_ms or 0.0, median_ms(case)) for case in cases)
    rtt, service = np.array(points).T
    centred = rtt - rtt.mean()
    slope = float(centred @ service / (centred @ centred))
    intercept = float(service.mean() - slope * rtt.mean())
    counts = [case.round_trips.p50 for case in cases if case.round_trips.p50 is not None]
    labels = cases[0].labels
    return RttFit(
        name=name,
        provider=labels.get("provider", ""),
        transport=labels.get("transport", ""),
        connection=labels.get("connection", ""),
        slope=slope,
        intercept_ms=intercept,
        counted=float(np.median(counts)) if counts else None,
        points=tuple(points),
        residual_ms=float(np.abs(service - slope * rtt - intercept).max()),
    )
