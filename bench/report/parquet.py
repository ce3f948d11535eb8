"""The raw records as Parquet, for DuckDB, pandas, polars: what a run's folder holds, fit to be passed on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from bench.model import Answer, Summary

_BYTES = ("reply", "replies")


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """Every column as it is: times in ns as int64, spans in ms, a server's words as bytes, null for what is
    not known. A column's type does not depend on what is in it: the files of many runs go together."""
    typed = pd.DataFrame({name: _typed(str(name), frame[name]) for name in frame.columns})
    content = io.BytesIO()
    typed.to_parquet(content, engine="pyarrow", compression="zstd", index=False)
    return content.getvalue()


def _typed(name: str, column: pd.Series) -> pd.Series:
    if column.dtype == object:
        if name in _BYTES:
            return column.astype("binary[pyarrow]")
        return column.map(_sound, na_action="ignore").astype("string[pyarrow]")
    if column.dtype == np.dtype(np.float64) and not name.endswith("_ms"):
        return column.astype("Int64")  # it has been made float only because some are missing
    return column


def _sound(value: object) -> str:
    """The text without what has no UTF-8, such as half a surrogate pair."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
