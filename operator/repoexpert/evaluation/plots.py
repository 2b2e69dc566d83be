"""Plots as inline SVG that follows the page's light or dark colours through its CSS classes. Pure.

Hand-written rather than matplotlib's: its SVG fixes colours and weighs 50 kB a plot. Every text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from markupsafe import Markup

_WIDTH = 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 38


class Bar(NamedTuple):
    """One row of an interval plot."""

    label: str
    value: float
    low: float | None
    high: float | None
    kind: str
    """CSS class of its colour: base, candidate, served."""


class Point(NamedTuple):
    """One dot of a scatter plot."""

    x: float
    y: float
    label: str


def interval_plot(rows: Sequence[Bar], axis: str) -> Markup:
    """Values with their intervals on a scale from 0 to 1, one row each."""
    left, step = 250, 30
    height = _TOP + step * len(rows) + _BOTTOM
    span = _WIDTH - left - 56

    def x(value: float) -> float:
        return left + span * min(max(value, 0.0), 1.0)

    parts = [_line(x(tick), _TOP, x(tick), height - _BOTTOM, "grid") for tick in (0, 0.25, 0.5, 0.75, 1)]
    parts += [
        _text(x(tick), height - _BOTTOM + 16, f"{tick:.0%}", "tick", "middle") for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    for number, row in enumerate(rows):
        y = _TOP + step * number + step / 2
        parts.append(_text(left - 10, y + 4, row.label, "label", "end"))
        if row.low is not None and row.high is not None:
            parts.append(_line(x(row.low), y, x(row.high), y, f"whisker {row.kind}"))
            parts += [_line(x(end), y - 5, x(end), y + 5, f"whisker {row.kind}") for end in (row.low, row.high)]
        parts.append(f'<circle class="dot {escape(row.kind)}" cx="{x(row.value):.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(_text(_WIDTH - 48, y + 4, f"{row.value:.1%}", "value", "start"))
    parts.append(_text(left + span / 2, height - 4, axis, "axis", "middle"))
    return _svg(height, axis, parts)


def line_plot(points: Sequence[tuple[float, float]], x_axis: str, y_axis: str) -> Markup:
    """A curve; fewer than two points give a note instead."""
    if len(points) < 2:
        return Markup('<p class="muted">Too few points for a curve.</p>')
    height = 260
    frame = _Frame(points, height)
    path = " ".join(f"{'M' if i == 0 else 'L'}{frame.x(a):.1f} {frame.y(b):.1f}" for i, (a, b) in enumerate(points))
    parts = [*frame.axes(x_axis, y_axis), f'<path class="curve" d="{path}"/>']
    parts += [
        f'<circle class="dot candidate" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3">'
        f"<title>{escape(x_axis)} {a:g}: {b:.4g}</title></circle>"
        for a, b in points
    ]
    return _svg(height, f"{y_axis} by {x_axis}", parts)


def paired_plot(points: Sequence[Point], x_axis: str, y_axis: str) -> Markup:
    """One dot a pair, with the diagonal where both are equal: below it the candidate is better."""
    if not points:
        return Markup('<p class="muted">Nothing to compare.</p>')
    height = 420
    values = [value for point in points for value in (point.x, point.y)]
    frame = _Frame([(min(values), min(values)), (max(values), max(values))], height)
    low, high = frame.x_range[0], frame.x_range[1]
    parts = frame.axes(x_axis, y_axis)
    parts.append(_line(frame.x(low), frame.y(low), frame.x(high), frame.y(high), "diagonal"))
    parts += [
        f'<circle class="dot candidate" cx="{frame.x(p.x):.1f}" cy="{frame.y(p.y):.1f}" r="4">'
        f"<title>{escape(p.label)}: {p.x:.3f} to {p.y:.3f}</title></circle>"
        for p in points
    ]
    return _svg(height, f"{y_axis} against {x_axis}", parts)


class _Frame:
    """Scales and axes around points."""

    def __init__(self, points: Sequence[tuple[float, float]], height: int) -> None:
        self._height = height
        self.x_range = _padded([a for a, _ in points])
        self.y_range = _padded([b for _, b in points])

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self._height - _BOTTOM - (self._height - _TOP - _BOTTOM) * (value - low) / (high - low)

    def axes(self, x_axis: str, y_axis: str) -> list[str]:
        bottom = self._height - _BOTTOM
        parts: list[str] = []
        for tick in _ticks(*self.y_range):
            parts.append(_line(_LEFT, self.y(tick), _WIDTH - _RIGHT, self.y(tick), "grid"))
            parts.append(_text(_LEFT - 8, self.y(tick) + 4, f"{tick:g}", "tick", "end"))
        parts += [_text(self.x(tick), bottom + 16, f"{tick:g}", "tick", "middle") for tick in _ticks(*self.x_range)]
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, self._height - 4, x_axis, "axis", "middle"))
        middle = (_TOP + bottom) / 2
        parts.append(
            f'<text class="axis" text-anchor="middle" transform="translate(14 {middle:.1f}) rotate(-90)">'
            f"{escape(y_axis)}</text>"
        )
        return parts


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers inside the range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next((factor for factor in (5, 2.5, 2) if (high - low) / (step * factor) >= 4), 1)
    first = math.ceil(low / step)
    return [round(step * number, 10) for number in range(first, math.floor(high / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{escape(kind)}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> Markup:
    text = (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
    return Markup(text)  # noqa: S704 - every text in it went through escape
