"""Charts as inline SVG. The only module that knows matplotlib.

Every chart takes values and returns the text of one `<svg>` element: no clock, no random ids,
no pyplot state, so the same values give the same bytes. Text stays text and is drawn in the
fonts of the page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from bench.analysis.paired import QUANTILES
from bench.analysis.quantiles import Floats
from bench.model import Limits, Shift
from bench.report.colours import (
    BAD,
    COMPARED,
    GRID,
    INK,
    MESSAGE_SHADE,
    MUTED,
    SET_UP_SHADE,
    colour_of,
    on,
    shades,
)
from bench.report.comparisons import Compared, Found, against, judged
from bench.report.figures import MS, label
from bench.report.panels import End, Line, Panel, Trend, spread
from bench.report.series import Profile
from bench.report.text import visible

WIDTH = 10.4
"""Inches; the page scales it to its own width."""
RASTER_ABOVE = 2000
"""Points of one chart above which they are drawn as pixels: a page must stay small."""


def _named(text: str, limit: int = 34) -> str:
    """A name as a chart has room for it; tables have it whole."""
    shown = visible(text)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


# ------------------------------------------------------------------------- phases


def phases_chart(panels: Sequence[Panel]) -> str:
    """Stacked phases of a typical message, one bar a case, each panel on its own scale."""
    with _styled():
        figure, axes = _grid(len(panels), 1 if len(panels) == 1 else 2, _bars_height(panels))
        for axis, panel in zip(axes, panels, strict=False):
            _draw_bars(axis, panel, narrow=len(panels) > 1)
        figure.legend(
            handles=[
                Patch(color=SET_UP_SHADE, label="opening the connection"),
                Patch(color=MESSAGE_SHADE, label="sending the message"),
                Patch(facecolor="none", edgecolor=MUTED, linestyle=":", label="QUIT, after the final answer"),
            ],
            loc="outside upper left",
            ncols=3,
        )
        return _svg(figure, "phases")


def _bars_height(panels: Sequence[Panel]) -> float:
    return 0.95 + 0.44 * max((len(panel.lines) for panel in panels), default=1)


def _draw_bars(axis: Axes, panel: Panel, *, narrow: bool) -> None:
    profiles = [line.profile for line in panel.lines]
    widest = max((p.total_ms + p.quit_ms for p in profiles if p), default=1.0) or 1.0
    limit = widest * (1.16 if not narrow else 1.22)
    for row, one in enumerate(profiles):
        if one is None:
            axis.text(0, row, "nothing accepted", va="center", color=BAD)
            continue
        _draw_bar(axis, row, one, limit, narrow=narrow)
        axis.text(
            one.total_ms + one.quit_ms + limit * 0.008,
            row,
            f"{MS.text(one.total_ms)} ms",
            va="center",
            weight="bold",
        )
    axis.set(xlim=(0, limit), ylim=(len(panel.lines) - 0.4, -0.6), title=_named(panel.title, 56))
    axis.set_yticks(range(len(panel.lines)), [_named(line.name) for line in panel.lines], color=INK)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("ms")
    _mark_round_trips(axis, panel, limit)


def _draw_bar(axis: Axes, row: int, one: Profile, limit: float, *, narrow: bool) -> None:
    left, points, size = (0.0, 285, 6.8) if narrow else (0.0, 600, 8.0)
    colours = shades(one.phases_ms)
    for name, width in one.phases_ms.items():
        axis.barh(row, width, left=left, height=0.66, color=colours[name], edgecolor="white", linewidth=0.8)
        if width / limit * points > 0.6 * size * len(name) + 2:
            at, colour = left + width / 2, on(colours[name])
            axis.text(at, row, name, ha="center", va="center", size=size, color=colour)
        left += width
    if one.quit_ms > limit * 0.002:
        axis.barh(
            row,
            one.quit_ms,
            left=left,
            height=0.66,
            color="none",
            edgecolor=MUTED,
            linewidth=0.8,
            linestyle=":",
        )


def _mark_round_trips(axis: Axes, panel: Panel, limit: float) -> None:
    """A scale in round trips above the one in ms, where all cases share one RTT."""
    rtts = {line.rtt_ms for line in panel.lines}
    rtt = rtts.pop() if len(rtts) == 1 else None
    if not rtt or limit / rtt > 40 or limit / rtt < 1:
        axis.grid(axis="x", color=GRID)
        return
    above = axis.secondary_xaxis("top")
    trips = range(0, int(limit / rtt) + 1, 1 if limit / rtt < 20 else 2)
    above.set_xticks([trip * rtt for trip in trips], [str(trip) for trip in trips])
    above.set_xlabel(f"round trips of {rtt:g} ms")
    above.spines["top"].set_visible(False)
    above.tick_params(length=0)
    for trip in range(1, int(limit / rtt) + 1):
        axis.axvline(trip * rtt, color=GRID, linewidth=0.8, zorder=0)


# ----------------------------------------------------------------------- spectrum


def spectrum_chart(panels: Sequence[Panel]) -> str:
    """Percentiles on a 1/(1-q) axis with their 95 % band; a line ends where its sample does."""
    with _styled():
        columns = 1 if len(panels) == 1 else 2
        figure, axes = _grid(len(panels), columns, 4.1 if columns == 1 else 3.0)
        for axis, panel in zip(axes, panels, strict=False):
            _draw_spectrum(axis, panel)
        return _svg(figure, "spectrum")


def _draw_spectrum(axis: Axes, panel: Panel) -> None:
    drawn = [(position, line) for position, line in enumerate(panel.lines) if len(line.spectrum)]
    axis.set_title(_named(panel.title, 56))
    if not drawn:
        axis.text(
            0.5, 0.5, "too few accepted messages for any percentile", ha="center", transform=axis.transAxes
        )
        axis.set_axis_off()
        return
    for position, line in drawn:
        colour, curve = colour_of(line.transport, line.connection, position), line.spectrum
        axis.fill_between(curve.nines, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        axis.plot(curve.nines, curve.value, color=colour, linewidth=1.8)
        axis.plot(curve.nines[-1:], curve.value[-1:], "o", color=colour, markersize=4)
        if line.service is not None and len(line.service):
            axis.plot(line.service.nines, line.service.value, "--", color=colour, linewidth=1.1)
    _scale_nines(axis, max(float(line.spectrum.nines[-1]) for _, line in drawn))
    _scale_times(axis, np.concatenate([line.spectrum.value for _, line in drawn]))
    _label_ends(axis, [_spectrum_end(position, line) for position, line in drawn])


def _spectrum_end(position: int, line: Line) -> End:
    colour = colour_of(line.transport, line.connection, position)
    return End(_named(line.name), colour, float(line.spectrum.nines[-1]), float(line.spectrum.value[-1]))


def _scale_nines(axis: Axes, last: float) -> None:
    axis.set_xscale("log")
    axis.set_xlim(1, last * last**0.34)
    known = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}
    shown = {name: 1 / (1 - q) for name, q in known.items() if 1 / (1 - q) <= last * 1.001}
    names = {"p9999": "p99.99", "p95": "p95"}
    axis.xaxis.set_major_locator(FixedLocator(list(shown.values())))
    axis.set_xticks(list(shown.values()), [names.get(name, label(name)) for name in shown])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(axis="x", color=GRID)


def _scale_times(axis: Axes, values: Floats) -> None:
    """Log where the cases lie far apart, else linear from zero; always plain numbers in ms."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > 4:
        axis.set_yscale("log")
        axis.set_ylim(low * 0.75, high * 1.35)
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        axis.set_ylim(0, high * 1.12)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_ylabel("ms")
    axis.grid(axis="y", color=GRID)


def _label_ends(axis: Axes, ends: Sequence[End]) -> None:
    """Words beside the end of each line, pushed apart where ends lie close together."""
    heights = [float(axis.transData.transform((end.x, end.y))[1]) for end in ends]
    for end, height, placed in zip(ends, heights, spread(heights, 12.0), strict=True):
        note = axis.annotate(
            _named(end.words, 72),
            (end.x, end.y),
            xytext=(7, placed - height),
            textcoords="offset points",
            va="center",
            color=end.colour,
            weight="bold",
            size=8.5,
        )
        note.set_in_layout(False)


# -------------------------------------------------------------------- over time


def time_chart(panels: Sequence[Panel]) -> str:
    """Every message over the time of its case; what was not accepted is marked in red."""
    shown = [(panel, position, line) for panel in panels for position, line in enumerate(panel.lines)]
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 6 else 4
    raster = sum(len(line.series) * (2 if line.open else 1) for _, _, line in shown) > RASTER_ABOVE
    with _styled():
        figure, axes = _grid(len(shown), columns, 2.9 if columns == 1 else 2.15 if columns == 2 else 1.75)
        for axis, (panel, position, line) in zip(axes, shown, strict=False):
            words = [_named(line.name), *([_named(panel.title)] if panel.title else [])]
            axis.set_title(
                "\n".join(words) if columns == 4 else ", ".join(words), size=9 if columns < 4 else 8
            )
            _draw_messages(axis, line, colour_of(line.transport, line.connection, position), raster=raster)
        return _svg(figure, "time")


def _draw_messages(axis: Axes, line: Line, colour: str, *, raster: bool) -> None:
    series = line.series
    times = series.latency_ms if line.open else series.service_ms
    good = series.accepted & np.isfinite(times)
    top = float(times[good].max()) * 1.15 if good.any() else 1.0
    if line.open:
        axis.scatter(
            series.at_s[good], series.service_ms[good], s=3, color="#9aa7b3", linewidths=0, rasterized=raster
        )
    axis.scatter(
        series.at_s[good], times[good], s=5, color=colour, alpha=0.55, linewidths=0, rasterized=raster
    )
    if line.connection == "pooled":
        cold = good & series.cold
        axis.scatter(
            series.at_s[cold],
            times[cold],
            s=20,
            marker="^",
            facecolors="none",
            edgecolors=INK,
            linewidths=0.8,
        )
    bad = ~series.accepted
    if bad.any():
        at = np.where(np.isfinite(times[bad]), np.minimum(times[bad], top), top)
        axis.scatter(series.at_s[bad], at, s=18, marker="x", color=BAD, linewidths=0.9, rasterized=raster)
        axis.text(
            1, 1.02, f"{int(bad.sum())} not accepted", transform=axis.transAxes, ha="right", color=BAD, size=8
        )
    axis.set_ylim(0, top * 1.04)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.grid(color=GRID)
    axis.set_xlabel("s")
    axis.set_ylabel("ms")


# ------------------------------------------------------------------------- trends


def rtt_chart(trends: Sequence[Trend]) -> str:
    """Service p50 over RTT with the fitted lines."""
    with _styled():
        figure, (axis,) = _grid(1, 1, 3.9)
        right = max(x for trend in trends for x, _ in trend.points)
        axis.set_xlim(0, right * 1.5)
        axis.set_ylim(0, max(y for trend in trends for _, y in trend.points) * 1.08)
        axis.set(xlabel="RTT, ms", ylabel="service p50, ms")
        _draw_trends(axis, trends, right)
        return _svg(figure, "rtt")


def knee_chart(trends: Sequence[Trend]) -> str:
    """Accepted messages per second over concurrency, on a log axis."""
    with _styled():
        figure, (axis,) = _grid(1, 1, 3.9)
        xs = [x for trend in trends for x, _ in trend.points]
        axis.set_xscale("log", base=2)
        axis.set_xlim(min(xs) / 1.1, max(xs) * (max(xs) / min(xs)) ** 0.5)
        axis.set_ylim(0, max(y for trend in trends for _, y in trend.points) * 1.08)
        axis.set(xlabel="concurrency", ylabel="accepted per second")
        _draw_trends(axis, trends, max(xs))
        return _svg(figure, "knee")


def _draw_trends(axis: Axes, trends: Sequence[Trend], right: float) -> None:
    axis.grid(color=GRID)
    ticks = sorted({x for trend in trends for x, _ in trend.points})
    axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    ends = []
    for position, trend in enumerate(trends):
        colour = colour_of(trend.transport, trend.connection, position)
        xs, ys = [x for x, _ in trend.points], [y for _, y in trend.points]
        axis.plot(xs, ys, "o" if trend.line else "o-", color=colour, markersize=5, linewidth=1.5)
        if trend.line:
            slope, intercept = trend.line
            axis.plot([0, right], [intercept, intercept + slope * right], color=colour, linewidth=1.5)
        if trend.mark in xs:
            axis.plot(
                [trend.mark], [ys[xs.index(trend.mark)]], "o", color=colour, markersize=11, fillstyle="none"
            )
        ends.append(End(f"{trend.name}: {trend.words}", colour, xs[-1], ys[-1]))
    _label_ends(axis, ends)


# ------------------------------------------------------------------------- comparisons


def shift_chart(shift: Sequence[Shift], limits: Limits | None, number: int) -> str:
    """By how many percent each quantile of the second of two is longer, with its band.

    It is the `number`-th comparison of its page.
    """
    with _styled():
        figure, (axis,) = _grid(1, 1, 3.6)
        qs = [each.q for each in shift]
        values = np.array([_percent(each.ratio) for each in shift])
        low, high = _percents([each.low for each in shift]), _percents([each.high for each in shift])
        axis.fill_between(qs, low, high, color=COMPARED, alpha=0.2, linewidth=0)
        axis.plot(qs, values, "o-", color=COMPARED, linewidth=1.8, markersize=4)
        axis.axhline(0, color=INK, linewidth=0.9)
        highest = 2 * max(10.0, np.nanmax([*high, *values]))
        for name, limit in limits.limit.items() if limits else ():
            q = QUANTILES[name]
            if qs[0] <= q <= qs[-1] and 100 * limit <= highest:  # one far above would flatten all the rest
                axis.plot([q - 0.018, q + 0.018], [100 * limit] * 2, color=BAD, linewidth=2.2)
                axis.annotate(
                    f"limit {100 * limit:.3g} %", (q, 100 * limit), xytext=(0, 4),
                    textcoords="offset points", ha="center", color=BAD, size=8,
                )  # fmt: skip
        axis.set_xlim(qs[0] - 0.03, 1.02)
        axis.set_xticks(qs, [f"p{100 * q:g}" for q in qs])
        axis.margins(y=0.15)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g} %" if value else "alike"))
        axis.set_ylabel("slower above, faster below")
        axis.grid(axis="y", color=GRID)
        return _svg(figure, f"shift-{number}")


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)


def _percents(ends: Sequence[float | None]) -> Floats:
    """Ends of intervals; where there is none, no band is drawn."""
    return np.array([np.nan if end is None else _percent(end) for end in ends])


def places_chart(found: Compared, number: int) -> str:
    """By how many percent each variant takes longer than the one that is first, a panel a percentile.

    It is the `number`-th comparison of its page.
    """
    source, quantities = found.source, judged(found.source)
    ratios = [against(source, source.places[0].id, place.id) for place in source.places]
    names = [f"{_named(name)} ({letters})" for name, letters, *_ in found.rows]
    with _styled():
        figure, axes = _grid(len(quantities), len(quantities), max(1.4, 0.36 * len(names) + 0.9))
        for axis, quantity in zip(axes, quantities, strict=True):
            _draw_places(axis, [each.get(quantity, (1.0, 1.0, 1.0)) for each in ratios])
            axis.set_title(f"{source.measure} {quantity}")
            axis.set_yticks(range(len(names)), names if axis is axes[0] else [], color=INK)
        return _svg(figure, f"places-{number}")


def _draw_places(axis: Axes, ratios: Sequence[Found]) -> None:
    known = [_percent(each) for found in ratios if found[0] is not None for each in found if each is not None]
    left, right = min([0.0, *known]), max([1.0, *known])
    room = 0.08 * (right - left)
    outer = (left - 2 * room, right + 2 * room)  # where what has no end leaves the picture
    for row, (ratio, *ends) in enumerate(ratios):
        if ratio is None:
            axis.annotate("lost", (0, row), xytext=(8, 0), textcoords="offset points", va="center", color=BAD)
            continue
        drawn = [edge if end is None else _percent(end) for end, edge in zip(ends, outer, strict=True)]
        axis.plot(drawn, [row, row], color=COMPARED, linewidth=2.2, alpha=0.5, solid_capstyle="butt")
        axis.plot([_percent(ratio)], [row], "o", color=COMPARED, markersize=5)
    axis.axvline(0, color=INK, linewidth=0.9)
    axis.set_xlim(left - room, right + room)
    axis.set_ylim(len(ratios) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g} %" if value else "first"))
    axis.grid(axis="x", color=GRID)


# -------------------------------------------------------------------------- canvas


def _styled() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "sendbench",
            "text.parse_math": False,
            "font.family": "DejaVu Sans",
            "font.size": 9.0,
            "text.color": INK,
            "axes.labelcolor": MUTED,
            "axes.edgecolor": "#b9c4cf",
            "axes.linewidth": 0.8,
            "axes.titlesize": 10.0,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.major.size": 3.0,
            "ytick.major.size": 3.0,
            "legend.frameon": False,
            "figure.dpi": 72.0,
            "savefig.dpi": 150.0,
        }
    )


def _grid(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """`count` axes in rows of `columns`, each `height` inches high."""
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(WIDTH, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[: max(1, count)]


def _svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element whose ids no other chart on the page has."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        # A label may hold any character; the page's font draws it, ours need not know it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<[^>]+>", lambda tag: _own_ids(tag[0], name), text)


def _own_ids(tag: str, name: str) -> str:
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
