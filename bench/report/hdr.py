"""HdrHistogram's two files: percentiles as text (`.hgrm`) and the log of histograms (`.hlog`).

The text is of the records themselves, so that its values are exact. The log holds counts of values that agree
in three significant digits: what a reader takes out of it is at most 0.1 % away. Both forms are those of
HdrHistogram itself (github.com/HdrHistogram/HdrHistogram): `outputPercentileDistribution`, and log format 1.3
with histograms in encoding V2, compressed.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis import counted
from bench.analysis.frame import numbers, present, span_ns
from bench.analysis.quantiles import NS_PER_MS, Floats, quantile_rank
from bench.report import slug
from bench.report.figures import times_of
from bench.report.text import visible

if TYPE_CHECKING:
    import pandas as pd

    from bench.model import Answer, CaseSummary, Summary

TICKS = 5
"""Lines for each halving of the distance to 100 %."""
DIGITS = 3
SUB_BUCKETS = 2048
"""The least power of two in which every value below 2 x 10^DIGITS has a bucket of its own."""
_HALF = SUB_BUCKETS // 2
_BITS = SUB_BUCKETS.bit_length() - 1
_COOKIE, _COMPRESSED_COOKIE = 0x1C849313, 0x1C849314


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """`.hgrm`: the percentiles of each case's time in ms: latency under an open load, else service."""
    sections = []
    for case in summary.cases:
        (name, _), *_ = times_of(case)
        sections.append(_percentiles(case, name, present(span_ns(_rows(frame, case), name))))
    return "\n".join(sections).encode()


def render_log(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """`.hlog`: a histogram for each case and time, tagged `<number>-<case>:<time>`, values in ns."""
    started_s = _seconds(summary.run.started_at)
    lines = [
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {started_s:.3f} (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    for number, case in enumerate(summary.cases, 1):
        rows = _rows(frame, case)
        length_s = _length_s(rows)
        for name, _ in times_of(case):
            ordered = present(span_ns(rows, name))
            if len(ordered):
                lines.append(
                    f"Tag={number:02}-{slug(case.id)}:{name},{started_s:.3f},{length_s:.3f},"
                    f"{ordered[-1] / NS_PER_MS:.6f},{_encoded(ordered)}"
                )
    return ("\n".join(lines) + "\n").encode("ascii")


def _rows(frame: pd.DataFrame, case: CaseSummary) -> pd.DataFrame:
    """What the case's percentiles are of."""
    if "case" not in frame:
        return frame
    return counted(frame[frame["case"].eq(case.id)], pooled=case.cold is not None)


def _length_s(rows: pd.DataFrame) -> float:
    starts, ends = present(numbers(rows, "start_ns")), present(numbers(rows, "end_ns"))
    return float(ends[-1] - starts[0]) / 1e9 if len(starts) and len(ends) else 0.0


def _percentiles(case: CaseSummary, name: str, ordered: Floats) -> str:
    lines = [
        f"#[Case: {visible(case.id)}, {name} in ms]",
        f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}",
        "",
    ]
    lines += [_line(ordered, share) for share in _shares(len(ordered))]
    if len(ordered):
        ms = ordered / NS_PER_MS
        lines.append(f"{ms[-1]:12.6f} {1.0:2.12f} {len(ms):10}")
        lines.append(f"#[Mean    = {ms.mean():12.6f}, StdDeviation   = {ms.std():12.6f}]")
        lines.append(f"#[Max     = {ms[-1]:12.6f}, Total count    = {len(ms):12}]")
    return "\n".join(lines) + "\n"


def _line(ordered: Floats, share: float) -> str:
    rank = quantile_rank(len(ordered), share) if share else 1
    value = float(ordered[rank - 1])
    # As many as are not larger, ties included.
    count = int(np.searchsorted(ordered, value, side="right"))
    return f"{value / NS_PER_MS:12.6f} {share:2.12f} {count:10} {1 / (1 - share):14.2f}"


def _shares(count: int) -> Iterator[float]:
    """From 0 on in TICKS steps for each halving of what is left, until that is less than a message."""
    for halvings in range(count.bit_length()):
        for tick in range(TICKS):
            share = (2**halvings - 1 + tick / (2 * TICKS)) / 2**halvings
            if count * (1 - share) < 1:
                return
            yield share


def _encoded(ordered: Floats) -> str:
    """A histogram of these as base64 of compressed V2: a header, then the counts as zigzag LEB128 in which a
    negative number is that many zeros."""
    highest = max(SUB_BUCKETS, int(ordered[-1]))
    counts = np.bincount(indexes(ordered))
    payload = b"".join(_leb128(number) for number in _runs(counts))
    head = struct.pack(">iiiiqqd", _COOKIE, len(payload), 0, DIGITS, 1, highest, 1.0)
    packed = zlib.compress(head + payload)
    return base64.b64encode(struct.pack(">ii", _COMPRESSED_COOKIE, len(packed)) + packed).decode("ascii")


def indexes(values: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The index of each value's bucket: exact below SUB_BUCKETS, after that of doubling width."""
    whole = np.maximum(np.rint(values), 0).astype(np.int64)
    shift = np.maximum(np.frexp(whole.astype(np.float64))[1] - _BITS, 0).astype(np.int64)
    return np.asarray((shift << (_BITS - 1)) + (whole >> shift), dtype=np.int64)


def _runs(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[int]:
    zeros = 0
    for count in counts.tolist():
        if count == 0:
            zeros += 1
            continue
        if zeros:
            yield -zeros
            zeros = 0
        yield count


def _leb128(number: int) -> bytes:
    """Zigzag, then seven bits a byte, the lowest first. No count is so large that it takes a ninth byte."""
    rest, found = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def _seconds(started_at: str) -> float:
    """Since the epoch; 0 for what is no time."""
    try:
        moment = datetime.fromisoformat(started_at)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
