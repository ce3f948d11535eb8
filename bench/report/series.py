"""From rows to what a chart draws: arrays of one case, its percentile spectrum, its phase profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.frame import Mask, flags, numbers, only, outcomes
from bench.analysis.quantiles import NS_PER_MS, Floats, percentile, supported
from bench.model import PHASES, Outcome

NS_PER_S = 1e9
GRID = 140
"""Points of a spectrum: more than a screen shows."""


@dataclass(frozen=True, slots=True)
class Series:
    """The measured messages of one case, in the order of time; NaN where something did not happen."""

    at_s: Floats
    """When its work began (or should have), in seconds since the first one."""
    service_ms: Floats
    latency_ms: Floats
    accepted: Mask
    cold: Mask
    counted: Mask
    """What enters the percentiles: accepted, and not on a cold connection where connections are kept."""
    phases_ms: Mapping[str, Floats]
    quit_ms: Floats

    def __len__(self) -> int:
        return len(self.at_s)


def series_of(frame: pd.DataFrame, case: str, *, pooled: bool) -> Series:
    """The rows of a case without warm-up. Columns that are not there count as null."""
    if "case" not in frame:
        frame = frame.iloc[:0].assign(case=None)
    rows = only(frame, np.asarray(frame["case"].eq(case), dtype=np.bool_))
    rows = only(rows, ~flags(rows, "warmup"))
    start, end, due = (numbers(rows, f"{name}_ns") for name in ("start", "end", "due"))
    began = np.where(np.isnan(start), np.where(np.isnan(due), numbers(rows, "ready_ns"), due), start)
    order = np.argsort(began, kind="stable")
    first = np.nanmin(began) if np.isfinite(began).any() else 0.0
    accepted = outcomes(rows, Outcome.ACCEPTED) if "outcome" in rows else flags(rows, "outcome")
    cold = flags(rows, "cold")
    known = [name for name in PHASES if f"{name}_ns" in rows]
    phases = {name: numbers(rows, f"{name}_ns")[order] / NS_PER_MS for name in known}
    return Series(
        at_s=((began - first) / NS_PER_S)[order],
        service_ms=((end - start) / NS_PER_MS)[order],
        latency_ms=((end - due) / NS_PER_MS)[order],
        accepted=accepted[order],
        cold=cold[order],
        counted=(accepted & ~cold)[order] if pooled else accepted[order],
        phases_ms={name: values for name, values in phases.items() if np.isfinite(values).any()},
        quit_ms=(numbers(rows, "quit_ns") / NS_PER_MS)[order],
    )


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Percentiles and their 95 % intervals in ms, as far as the sample supports them."""

    quantile: Floats
    value: Floats
    low: Floats
    high: Floats

    def __len__(self) -> int:
        return len(self.quantile)

    @property
    def nines(self) -> Floats:
        """1 / (1 - q): the axis on which each further nine is as wide as the one before."""
        return np.asarray(1 / (1 - self.quantile), dtype=np.float64)


def spectrum(times_ms: Floats) -> Spectrum:
    """The percentile spectrum of a time; it ends where `n` no longer supports an interval."""
    ordered = np.sort(times_ms[np.isfinite(times_ms)]) * NS_PER_MS
    count = len(ordered)
    grid = np.round(1 - 1 / np.geomspace(1.02, max(1.03, count), GRID), 5)
    grid = np.unique(np.concatenate([grid, [0.5, 0.9, 0.95, 0.99, 0.999]]))
    points = [(q, percentile(ordered, q)) for q in grid.tolist() if 0 < q < 1 and supported(count, q)]
    found = [(q, point.value_ms, *point.ci95_ms) for q, point in points if point is not None]
    columns = np.array(found, dtype=np.float64).reshape(-1, 4).T
    return Spectrum(columns[0], columns[1], columns[2], columns[3])


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a typical message goes: mean phases of the middle tenth of messages."""

    phases_ms: Mapping[str, float]
    quit_ms: float
    """What QUIT adds after the final answer; 0 where none was waited for."""

    @property
    def total_ms(self) -> float:
        return sum(self.phases_ms.values())


def profile(series: Series) -> Profile | None:
    """The phases of the messages around the median service time, None where nothing was accepted.

    Medians of phases do not add up to the median of the whole; means over the messages whose
    whole lies around the median do, and the middle tenth keeps the tail out of them.
    """
    service = np.where(series.counted, series.service_ms, np.nan)
    order = np.argsort(service, kind="stable")[: int(np.isfinite(service).sum())]
    if not len(order):
        return None
    half = max(2, round(len(order) * 0.05))
    middle = (len(order) - 1) // 2
    chosen = order[max(0, middle - half) : middle + half + 1]
    means = {name: float(np.nan_to_num(values[chosen]).mean()) for name, values in series.phases_ms.items()}
    quits = series.quit_ms[chosen]
    quit_ms = float(np.nanmedian(quits)) if np.isfinite(quits).any() else 0.0
    return Profile({name: means[name] for name in _dialogue(means) if means[name] > 0}, quit_ms)


def _dialogue(phases: Mapping[str, float]) -> list[str]:
    """The order in which phases follow each other: with STARTTLS the handshake comes after it."""
    names = list(phases)
    if "starttls" in phases and "tls" in phases:
        names.remove("tls")
        names.insert(names.index("starttls") + 1, "tls")
    return names
