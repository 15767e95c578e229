"""The geometry of a line of writing: its baseline, its slant, its height; leveled, made upright, laid out on a page.

Strokes are polylines (n, 2), raw units, x right, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdnrnn.data.strokes import Polyline

_STEEP = 25.0
_MOST_COLUMNS = 500
_PITCH = 3.0
"""From baseline to baseline, in heights of the small letters."""


class Shape(NamedTuple):
    """How a line stands: `baseline` at x = 0 and its `slope`, downwards per unit; `slant` of the letters, degrees to
    the right; `height` of the small letters."""

    baseline: float
    slope: float
    slant: float
    height: float


def shape_of(strokes: Sequence[Polyline]) -> Shape:
    """Measured on the strokes of one line.

    The baseline goes through the lowest points of columns about a letter wide: most letters stand on it, so that
    medians take no notice of those that hang below. The height is that of the columns' highest points, the same way.
    The slant is the mean direction of what goes down steeply, within 25 degrees of itself.
    """
    points = np.concatenate(strokes).astype(np.float64)
    width, tall = np.ptp(points, axis=0).tolist()
    column, slope = max(0.4 * tall, width / _MOST_COLUMNS, 1e-9), 0.0
    for _ in range(3):  # which points are lowest depends on the slope
        x, low, _ = _columns(points, slope, column)
        slope += _median_slope(x, low)
    _, low, high = _columns(points, slope, column)
    return Shape(float(np.median(low)), slope, _slant(strokes, slope), float(np.median(low) - np.median(high)))


def leveled(strokes: Sequence[Polyline], shape: Shape) -> list[Polyline]:
    """The line on a horizontal baseline."""
    return [np.stack([s[:, 0], s[:, 1] - shape.slope * s[:, 0]], 1) for s in strokes]


def made_upright(strokes: Sequence[Polyline], shape: Shape) -> list[Polyline]:
    """The line without its slant."""
    lean = np.tan(np.radians(shape.slant))
    return [np.stack([s[:, 0] + lean * (s[:, 1] - shape.baseline), s[:, 1]], 1) for s in strokes]


def page(lines: Sequence[Sequence[Polyline]], spacing: float = 1.0) -> list[Polyline]:
    """Lines one below the other, their left ends in one column, their baselines `spacing` times three heights of their
    small letters apart, or four fifths of the highest line where that is more."""
    shapes = [shape_of(line) for line in lines]
    flat = [leveled(line, shape) for line, shape in zip(lines, shapes, strict=True)]
    tallest = max(float(np.ptp(np.concatenate(line)[:, 1])) for line in flat)
    pitch = spacing * max(_PITCH * float(np.median([shape.height for shape in shapes])), 0.8 * tallest, 1.0)
    placed = []
    for number, (line, shape) in enumerate(zip(lines, shapes, strict=True)):
        left = min(float(stroke[:, 0].min()) for stroke in line)
        at = np.array([-left, number * pitch - (shape.baseline + shape.slope * left)])
        placed += [stroke + at for stroke in line]
    return placed


def _columns(points: np.ndarray, slope: float, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every column that has points: the place of its lowest point, how low that is, and how high its highest."""
    level = points[:, 1] - slope * points[:, 0]
    column = ((points[:, 0] - points[:, 0].min()) // width).astype(np.int64)
    x, low, high = [], [], []
    for number in np.unique(column):
        members = np.flatnonzero(column == number)
        lowest = members[level[members].argmax()]
        x.append(points[lowest, 0])
        low.append(level[lowest])
        high.append(level[members].min())
    return np.array(x), np.array(low), np.array(high)


def _median_slope(x: np.ndarray, y: np.ndarray) -> float:
    """The median of the slopes between all pairs (Theil 1950, Sen 1968); 0 of a single point."""
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    apart = run > 0
    return float(np.median((y[second] - y[first])[apart] / run[apart])) if apart.any() else 0.0


def _slant(strokes: Sequence[Polyline], slope: float) -> float:
    way = np.concatenate([np.diff(stroke.astype(np.float64), axis=0) for stroke in strokes])
    way[:, 1] -= slope * way[:, 0]
    way = way[way[:, 1] > 0]  # downwards
    angle, slant = np.degrees(np.arctan2(-way[:, 0], way[:, 1])), 0.0
    for _ in range(5):  # which pieces count depends on the slant
        right, down = way[np.abs(angle - slant) < _STEEP].sum(0)
        slant = float(np.degrees(np.arctan2(-right, down))) if down > 0 else 0.0
    return slant
