"""Line charts as SVG that takes its colours from the page, light or dark.

A point is told by its title, which browsers show under the pointer; lines differ in dashes as well
as in colour. Coordinates are those of the viewBox, about 440 wide, so that text stays readable on a
narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unet_native.report.page import text

__all__ = ["Line", "chart"]

_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 26, 40
_COLUMNS = 380  # a line of more points is thinned to its extremes in that many columns
_MARKED = 60  # points that are drawn one by one


@dataclass(frozen=True)
class Line:
    """Some (x, y) by name; a y that is not finite leaves a gap.

    style   1 to 6: colour and dashes
    points  whether each point is marked and tells its values (if there are few enough)
    filled  whether the area below is tinted
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: int = 1
    points: bool = False
    filled: bool = False


def chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    caption: str = "",
    log: bool = False,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    band: Line | None = None,
    best: tuple[float, float, str] | None = None,
) -> str:
    """A figure; nothing if no line has a point.

    log      of the y axis, on which only positive values show
    x_range  None: as the values ask for
    y_range  likewise, from 0 on a linear axis
    band     drawn behind the lines, as the range of its values
    best     (x, y, text) to point out
    """
    shown = [line for line in [*lines, *([band] if band else [])] if _finite(line, log)]
    if not shown:
        return ""
    x_values = [x for line in shown for x, _ in _finite(line, log)]
    y_values = [y for line in shown for _, y in _finite(line, log)]
    x_axis = _Axis.over(*(x_range or (min(x_values), max(x_values))), _LEFT, _WIDTH - _RIGHT)
    low, high = y_range or ((min(y_values) if log else min(0, *y_values, 0)), max(y_values))
    y_axis = _Axis.over(low, high, _HEIGHT - _BOTTOM, _TOP, log=log)
    parts = [_axes(x_axis, y_axis, x_label, y_label)]
    if band in shown:
        parts.append(_band(band, x_axis, y_axis))
    for line in lines:
        if line in shown:
            parts.append(_line(line, x_axis, y_axis, x_label))
    if best is not None:
        parts.append(_best(best, x_axis, y_axis))
    drawn = [line for line in lines if line in shown]
    legend = "".join(f"<li>{_key(line)}{text(line.name)}</li>" for line in drawn)
    if band in shown:
        legend += f"<li>{_BAND_KEY}{text(band.name)}</li>"
    said = f"{title}: {', '.join(line.name for line in drawn)} over {x_label}"
    return (
        f'<figure><h3>{text(title)}</h3><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" aria-label="{text(said)}">{"".join(parts)}</svg>'
        f'<ul class="legend">{legend}</ul>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


@dataclass(frozen=True)
class _Axis:
    """From values to coordinates."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    @classmethod
    def over(cls, low: float, high: float, start: float, end: float, log: bool = False) -> _Axis:
        if log and high / low < 1.5:
            low, high = low / 1.5, high * 1.5
        if not high > low:
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        return cls(low, high, start, end, log)

    def __call__(self, value: float) -> float:
        scale: Callable[[float], float] = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        share = (scale(min(max(value, self.low), self.high)) - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if self.high / self.low < 300 else (1,)
            decades = range(first, last + 1, max(1, (last - first) // 6))
            found = [m * 10.0**e for e in decades for m in steps]
        else:
            step = _nice((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            found = [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [t for t in found if self.low * (1 - 1e-9) <= t <= self.high * (1 + 1e-9)]


def _nice(step: float) -> float:
    """The next number of the kind 1, 2, 5, 10, 20, .."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _axes(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in y_axis.ticks():
        y = y_axis(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{_short(tick)}</text>')
    for tick in x_axis.ticks():
        x = x_axis(tick)
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 17}" text-anchor="middle">{_short(tick)}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 5}" text-anchor="middle">{text(x_label)}</text>'
    )
    parts.append(f'<text x="2" y="12">{text(y_label)}</text>')
    return "".join(parts)


def _line(line: Line, x_axis: _Axis, y_axis: _Axis, x_label: str) -> str:
    parts = []
    for run in _runs(line, y_axis.log):
        points = [(x_axis(x), y_axis(y)) for x, y in _thinned(run)]
        path = " ".join(f"{x},{y}" for x, y in points)
        if line.filled:
            bottom = _HEIGHT - _BOTTOM
            closed = f"{points[0][0]},{bottom} {path} {points[-1][0]},{bottom}"
            parts.append(f'<polygon class="area f{line.style}" points="{closed}"/>')
        if len(points) > 1:
            parts.append(f'<polyline class="line s{line.style} d{line.style}" points="{path}"/>')
        if len(points) == 1 or (line.points and len(line.x) <= _MARKED):
            parts.extend(
                f'<circle class="f{line.style}" cx="{x_axis(x)}" cy="{y_axis(y)}" r="3">'
                f"<title>{text(line.name)} {y:.4g} at {text(x_label)} {_short(x)}</title></circle>"
                for x, y in run
            )
    return "".join(parts)


def _band(line: Line, x_axis: _Axis, y_axis: _Axis) -> str:
    """Least and greatest value of each column of the picture."""
    upper: dict[int, float] = {}
    lower: dict[int, float] = {}
    for x, y in _finite(line, y_axis.log):
        column, row = round(x_axis(x)), y_axis(y)
        upper[column] = min(upper.get(column, row), row)
        lower[column] = max(lower.get(column, row), row)
    # Half a pixel more on either side: a steady curve shows, too.
    there = [f"{column},{row - 0.5}" for column, row in sorted(upper.items())]
    back = [f"{column},{row + 0.5}" for column, row in sorted(lower.items(), reverse=True)]
    return f'<polygon class="raw" points="{" ".join(there + back)}"/>'


def _best(best: tuple[float, float, str], x_axis: _Axis, y_axis: _Axis) -> str:
    x, y = x_axis(best[0]), y_axis(best[1])
    left = x > (_LEFT + _WIDTH) / 2
    at = x - 8 if left else x + 8
    below = y < _TOP + 8
    return (
        f'<circle class="mark" cx="{x}" cy="{y}" r="6"/><text class="note" x="{at}" '
        f'y="{y + (18 if below else -9)}" text-anchor="{"end" if left else "start"}">'
        f"{text(best[2])}</text>"
    )


_BAND_KEY = (
    '<svg viewBox="0 0 30 10" aria-hidden="true"><rect class="raw" y="1" width="30" height="8"/>'
    "</svg>"
)


def _key(line: Line) -> str:
    return (
        '<svg viewBox="0 0 30 10" aria-hidden="true"><line x1="0" x2="30" y1="5" y2="5" '
        f'class="line s{line.style} d{line.style}"/></svg>'
    )


def _finite(line: Line, log: bool) -> list[tuple[float, float]]:
    return [pair for run in _runs(line, log) for pair in run]


def _runs(line: Line, log: bool) -> list[list[tuple[float, float]]]:
    """The stretches of a line between the points that cannot be drawn."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(y) and (y > 0 or not log):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _thinned(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = math.ceil(len(run) / _COLUMNS)
    return run if step == 1 else [*run[:-1:step], run[-1]]


def _short(value: float) -> str:
    """A number for an axis: 0.05, 12000."""
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
