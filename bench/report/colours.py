"""The colours of a report: one for each way of sending, the same in every chart and table."""

from __future__ import annotations

from collections.abc import Collection

from bench.report.figures import SET_UP

INK, MUTED, GRID, BAD = "#1c2733", "#5b6b7b", "#e4e9ee", "#c81e1e"
COMPARED = "#1c5796"
"""Of one thing set against another, where no way of sending has a colour."""
_COLOURS = {
    ("smtp", "unpooled"): "#b4371b",
    ("smtp", "pooled"): "#e08e1b",
    ("api", "unpooled"): "#4aa3d4",
    ("api", "pooled"): "#1c5796",
}
_OTHERS = ("#5f6f52", "#7a5195", "#8c6d46", "#4d4d4d")
_SET_UP_SHADES = ("#2f4358", "#3f5a75", "#4f6f8f", "#6a88a5", "#87a0b8", "#a3b7c9", "#bccad7")
_MESSAGE_SHADES = ("#f2b134", "#e99a1f", "#dc7f17", "#cb6212", "#b34a12")


def colour_of(transport: str, connection: str, position: int = 0) -> str:
    """The colour of a way of sending, the same in every chart of every report."""
    return _COLOURS.get((transport, connection), _OTHERS[position % len(_OTHERS)])


def shades(phases: Collection[str]) -> dict[str, str]:
    """Cold shades for opening a connection, warm ones for the message, in the order of the dialogue."""
    set_up = [name for name in phases if name in SET_UP]
    message = [name for name in phases if name not in SET_UP]
    return {
        **{name: _SET_UP_SHADES[index % len(_SET_UP_SHADES)] for index, name in enumerate(set_up)},
        **{name: _MESSAGE_SHADES[index % len(_MESSAGE_SHADES)] for index, name in enumerate(message)},
    }


def on(shade: str) -> str:
    """The colour of words upon a phase."""
    return "white" if shade in _SET_UP_SHADES[:4] or shade in _MESSAGE_SHADES[3:] else INK


SET_UP_SHADE, MESSAGE_SHADE = _SET_UP_SHADES[2], _MESSAGE_SHADES[1]
"""What stands for each kind of phase in a legend."""
