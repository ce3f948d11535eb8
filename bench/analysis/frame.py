"""The samples table as analysis sees it: one typed pandas frame, and columns of it as numpy arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.quantiles import NS_PER_MS, Floats
from bench.model import PHASES, Outcome

Mask = NDArray[np.bool_]
Frame = pd.DataFrame
"""One row an attempt, as `sample_frame` makes it."""

SPANS = {
    "lag": ("due_ns", "ready_ns"),
    "wait": ("ready_ns", "start_ns"),
    "service": ("start_ns", "end_ns"),
    "latency": ("due_ns", "end_ns"),
}
"""name -> the columns it lies between"""

_NUMBERS = (
    "seq", "attempt", "batch_index", "due_ns", "ready_ns", "start_ns", "end_ns", "round_trips", "quit_ns",
    "connection_id", "code", "errno", *(f"{phase}_ns" for phase in PHASES),
)  # fmt: skip
_TIMED = frozenset(
    (
        "due_ns",
        "ready_ns",
        "start_ns",
        "end_ns",
        "round_trips",
        "connection_id",
        "batch_index",
        *(f"{phase}_ns" for phase in PHASES),
    )
)
_FLAGS = ("warmup", "cold")
_TEXTS = ("case", "key", "outcome", "error", "notes")
ANALYSED = (*_TEXTS, *_FLAGS, *_NUMBERS)
"""The columns that analysis and charts read; a table for them needs no other."""


class Tabular(Protocol):
    """What can become a frame, such as an Arrow table."""

    def to_pandas(self) -> pd.DataFrame: ...


def sample_frame(table: Tabular) -> pd.DataFrame:
    """The rows as they were recorded, and spans in milliseconds.

    Times are ns on the run's clock (float64 where some are missing); `warmup` and `cold` are
    booleans; `lag_ms`, `wait_ms`, `service_ms` and `latency_ms` are NaN where not reached. Numbers that
    the table lacks stay absent: two million of them, all NaN, are 16 MB a column.
    """
    frame = table.to_pandas().reset_index(drop=True)
    for name in _NUMBERS:
        if name in frame and not _clean(frame, name):
            frame[name] = _number(frame, name)
    for name in _FLAGS:
        frame[name] = flags(frame, name)
    for name in _TEXTS:
        if name not in frame:
            frame[name] = pd.Series(None, index=frame.index, dtype=object)
    for name in SPANS:
        frame[f"{name}_ms"] = span_ns(frame, name) / NS_PER_MS
    return frame


def only(frame: pd.DataFrame, mask: Mask) -> pd.DataFrame:
    """The rows for which `mask` holds; where that is all of them no copy is made."""
    return frame if mask.all() else frame[mask]


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with their times and round trips alone: a part of them is copied for little."""
    return frame[[name for name in frame if name in _TIMED]]


def numbers(frame: pd.DataFrame, name: str) -> Floats:
    """A column as float64, NaN where it is null; all NaN where the frame has no such column."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def flags(frame: pd.DataFrame, name: str) -> Mask:
    """A column as booleans; null and absent count as False."""
    if name not in frame:
        return np.zeros(len(frame), dtype=np.bool_)
    return np.asarray(frame[name].eq(True).fillna(False).to_numpy(), dtype=np.bool_)


def outcomes(frame: pd.DataFrame, *which: Outcome) -> Mask:
    """The rows that ended in one of these."""
    return np.asarray(frame["outcome"].isin([outcome.value for outcome in which]), dtype=np.bool_)


def span_ns(frame: pd.DataFrame, name: str) -> Floats:
    """lag, wait, service or latency of each row in ns; NaN where an end of it is missing."""
    begin, end = SPANS[name]
    return numbers(frame, end) - numbers(frame, begin)


def present(values: Floats) -> Floats:
    """Those that are not NaN, in ascending order."""
    return np.sort(values[~np.isnan(values)])


def _clean(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and frame[name].dtype in (np.dtype(np.int64), np.dtype(np.float64))


def _number(frame: pd.DataFrame, name: str) -> Floats:
    if name in frame and frame[name].dtype == object:
        return np.asarray(pd.to_numeric(frame[name]), dtype=np.float64)
    return numbers(frame, name)
