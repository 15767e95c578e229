"""Geometry of drawings: bounding boxes, arc lengths, and the part of a drawing that is drawn up to a given time.

A drawing is a list of strokes in the order in which they are drawn. A stroke is an array (n, 2) of n >= 1 points in raw
units; x points right and y points down. A dot is a stroke of one point, or of several equal points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdnrnn.data.strokes import Drawing, Polyline
from mdnrnn.errors import InputError

DOT_FRACTION = 0.02
"""Drawing time of a dot, as a fraction of the total time for all strokes that are not dots."""


class Bounds(NamedTuple):
    """The bounding box of a drawing, in raw units."""

    left: float
    top: float
    width: float
    height: float


def check_drawing(drawing: Drawing, index: int = 0) -> Drawing:
    """Return the strokes as float64 arrays, after checking shapes and coordinates.

    Args:
        drawing: the drawing.
        index: index of the drawing, for the error message.

    Raises:
        InputError: a stroke is not an array (n, 2) with n >= 1, or a coordinate is NaN or infinite.
    """
    strokes = [np.asarray(stroke, dtype=np.float64) for stroke in drawing]
    for number, stroke in enumerate(strokes):
        name = f"drawing {index}, stroke {number}"
        if stroke.ndim != 2 or stroke.shape[1] != 2 or len(stroke) == 0:
            raise InputError(f"{name}: received an array of shape {stroke.shape}, expected (n, 2), n >= 1")
        if not np.isfinite(stroke).all():
            raise InputError(f"{name}: received a coordinate that is not finite, expected finite numbers")
    return strokes


def bounds(drawing: Drawing, index: int = 0) -> Bounds:
    """Return the bounding box of a drawing; for an empty drawing, a box of size 0 at the origin.

    Args:
        drawing: the drawing.
        index: index of the drawing, for the error message.

    Raises:
        InputError: the drawing is invalid (see `check_drawing`).
    """
    strokes = check_drawing(drawing, index)
    if not strokes:
        return Bounds(0.0, 0.0, 0.0, 0.0)
    points = np.concatenate(strokes)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Bounds(left, top, right - left, bottom - top)


def is_dot(stroke: Polyline) -> bool:
    """Return whether all points of the stroke are equal."""
    return bool((stroke == stroke[0]).all())


def arc_lengths(stroke: Polyline) -> np.ndarray:
    """Return the arc length from the first point of a stroke to each of its n points, shape (n,)."""
    offsets = np.diff(stroke, axis=0)
    return np.concatenate([[0.0], np.cumsum(np.hypot(offsets[:, 0], offsets[:, 1]))])


def stroke_times(drawing: Drawing) -> np.ndarray:
    """Return the start time of each stroke, followed by the end time of the last stroke, shape (strokes + 1,).

    Times are fractions of the drawing time: the first is 0 and the last is 1. The pen moves along the strokes at
    constant speed. Movements between strokes take no time. A dot takes `DOT_FRACTION` of the total time for all strokes
    that are not dots. For an empty drawing, the result is [0].
    """
    if not drawing:
        return np.zeros(1)
    lengths = np.array([arc_lengths(stroke)[-1] for stroke in drawing])
    dot = DOT_FRACTION * lengths.sum() or 1.0
    ends = np.cumsum(np.where(lengths > 0, lengths, dot))
    return np.concatenate([[0.0], ends / ends[-1]])


def partial_drawing(drawing: Drawing, fraction: float) -> Drawing:
    """Return the part of the drawing that is drawn in the first `fraction` of the drawing time (see `stroke_times`).

    Raises:
        InputError: `fraction` is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction: received {fraction}, expected a number from 0 to 1")
    times = stroke_times(drawing)
    complete = [stroke for stroke, end in zip(drawing, times[1:], strict=True) if end <= fraction]
    if len(complete) == len(drawing) or fraction <= times[len(complete)]:
        return complete
    start, end = times[len(complete) : len(complete) + 2]
    return [*complete, _truncate_by_length(drawing[len(complete)], (fraction - start) / (end - start))]


def _truncate_by_length(stroke: Polyline, fraction: float) -> Polyline:
    """Return the first part of a stroke, up to `fraction` of its length. A dot is returned unchanged."""
    if is_dot(stroke):
        return stroke
    lengths = arc_lengths(stroke)
    return truncate(stroke, lengths, fraction * lengths[-1])


def truncate(stroke: Polyline, parameter: np.ndarray, end: float) -> Polyline:
    """Return the part of a stroke up to the parameter value `end`; its last point is interpolated linearly.

    Args:
        stroke: points (n, 2).
        parameter: arc length or time at each point, (n,), nondecreasing.
        end: arc length or time at which the stroke is cut.
    """
    count = int(np.searchsorted(parameter, end, side="right"))
    tip = [np.interp(end, parameter, stroke[:, axis]) for axis in (0, 1)]
    return np.vstack([stroke[:count], tip])
