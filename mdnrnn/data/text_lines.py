"""Geometry of lines of handwriting: measurement and correction of slope and slant, and layout of lines on a page.

Strokes are polylines (n, 2) in raw units. x increases to the right and y downward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdnrnn.data.strokes import Drawing, Polyline

_MAX_SLANT_DEVIATION = 25.0
"""Segments whose angle differs from the slant by this many degrees or more are ignored in the estimate of the slant."""
_MAX_COLUMNS = 500
_LINE_SPACING = 3.0
"""Default distance between baselines, as a multiple of the x-height."""


class LineShape(NamedTuple):
    """Geometry of a line of handwriting."""

    baseline: float
    """y of the baseline at x = 0, in raw units."""
    slope: float
    """Slope of the baseline, dy / dx; positive if the line descends to the right."""
    slant: float
    """Slant of the letters from the vertical, in degrees; positive for letters that lean to the right."""
    height: float
    """x-height: height of lowercase letters without ascenders and descenders, in raw units."""


def measure_line(strokes: Sequence[Polyline]) -> LineShape:
    """Estimate the shape of one line of handwriting.

    The line is divided into columns about as wide as a letter. The baseline is fitted to the lowest point of each
    column. The fit uses medians and is therefore robust to descenders, which few letters have. The x-height is the
    distance from the baseline to the median of the highest points of the columns. The slant is the mean direction of
    the downward segments; segments whose direction differs from the slant by 25 degrees or more are ignored.
    """
    points = np.concatenate(strokes).astype(np.float64)
    width, tall = np.ptp(points, axis=0).tolist()
    column, slope = max(0.4 * tall, width / _MAX_COLUMNS, 1e-9), 0.0
    for _ in range(3):  # iterate, because the lowest points of the columns depend on the slope
        x, low, _ = _column_extremes(points, slope, column)
        slope += _median_slope(x, low)
    _, low, high = _column_extremes(points, slope, column)
    return LineShape(float(np.median(low)), slope, _slant(strokes, slope), float(np.median(low) - np.median(high)))


def remove_slope(strokes: Sequence[Polyline], shape: LineShape) -> Drawing:
    """Shear the line vertically so that its baseline becomes horizontal."""
    return [np.stack([s[:, 0], s[:, 1] - shape.slope * s[:, 0]], 1) for s in strokes]


def remove_slant(strokes: Sequence[Polyline], shape: LineShape) -> Drawing:
    """Shear the line horizontally so that its letters become upright; points at y = `shape.baseline` do not move."""
    shear = np.tan(np.radians(shape.slant))
    return [np.stack([s[:, 0] + shear * (s[:, 1] - shape.baseline), s[:, 1]], 1) for s in strokes]


def stack_lines(
    lines: Sequence[Sequence[Polyline]], spacing: float = 1.0, rows: Sequence[int] | None = None
) -> Drawing:
    """Place lines one below the other, with aligned left ends. The slope of each line is kept.

    Args:
        lines: strokes of each line.
        spacing: distance between baselines, as a multiple of the default distance. The default distance is 3 times the
            median x-height or 0.8 times the height of the tallest line, whichever is larger.
        rows: row of each line, from the top of the page; by default consecutive rows.
    """
    shapes = [measure_line(line) for line in lines]
    leveled = [remove_slope(line, shape) for line, shape in zip(lines, shapes, strict=True)]
    tallest = max(float(np.ptp(np.concatenate(line)[:, 1])) for line in leveled)
    distance = spacing * max(_LINE_SPACING * float(np.median([shape.height for shape in shapes])), 0.8 * tallest, 1.0)
    placed = []
    for row, line, shape in zip(range(len(lines)) if rows is None else rows, lines, shapes, strict=True):
        left = min(float(stroke[:, 0].min()) for stroke in line)
        shift = np.array([-left, row * distance - (shape.baseline + shape.slope * left)])
        placed += [stroke + shift for stroke in line]
    return placed


def _column_extremes(points: np.ndarray, slope: float, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x and y of the lowest point, and y of the highest point, of each column that contains points.

    The columns are vertical strips of the given width. y is measured relative to the sloped line y = slope * x.
    """
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
    """Return the median slope over all pairs of points (Theil 1950, Sen 1968); 0 if all x are equal."""
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    distinct = run > 0
    return float(np.median((y[second] - y[first])[distinct] / run[distinct])) if distinct.any() else 0.0


def _slant(strokes: Sequence[Polyline], slope: float) -> float:
    segments = np.concatenate([np.diff(stroke.astype(np.float64), axis=0) for stroke in strokes])
    segments[:, 1] -= slope * segments[:, 0]
    segments = segments[segments[:, 1] > 0]  # downwards
    angle, slant = np.degrees(np.arctan2(-segments[:, 0], segments[:, 1])), 0.0
    for _ in range(5):  # iterate, because the selected segments depend on the slant
        right, down = segments[np.abs(angle - slant) < _MAX_SLANT_DEVIATION].sum(0)
        slant = float(np.degrees(np.arctan2(-right, down))) if down > 0 else 0.0
    return slant
