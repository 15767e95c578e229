"""A drawing is its strokes in pen order, each an array (n, 2) of points: x right, y down, in raw units."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from mdnrnn.errors import InputError

Drawing: TypeAlias = list[np.ndarray]
"""Strokes in pen order, each of n >= 1 points. A dot is a stroke of one point, or of several equal ones."""

DOT_SHARE = 0.02
"""The time that the pen spends on a dot, as a share of the length of the whole drawing."""


class Bounds(NamedTuple):
    """The box around a drawing, in the drawing's own units."""

    left: float
    top: float
    width: float
    height: float


def checked(drawing: Drawing, index: int = 0) -> Drawing:
    """The strokes as float64 arrays; `index` is the drawing's place among others, for the error message."""
    strokes = [np.asarray(stroke, dtype=np.float64) for stroke in drawing]
    for number, stroke in enumerate(strokes):
        where = f"drawing {index}, stroke {number}"
        if stroke.ndim != 2 or stroke.shape[1] != 2 or len(stroke) == 0:
            raise InputError(f"{where}: received an array of shape {stroke.shape}, expected (n, 2), n >= 1")
        if not np.isfinite(stroke).all():
            raise InputError(f"{where}: received a coordinate that is not finite, expected finite numbers")
    return strokes


def bounds(drawing: Drawing, index: int = 0) -> Bounds:
    """The smallest box that holds every point; of an empty drawing, the origin."""
    strokes = checked(drawing, index)
    if not strokes:
        return Bounds(0.0, 0.0, 0.0, 0.0)
    points = np.concatenate(strokes)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Bounds(left, top, right - left, bottom - top)


def is_dot(stroke: np.ndarray) -> bool:
    """Whether all points of the stroke are the same one."""
    return bool((stroke == stroke[0]).all())


def arc_lengths(stroke: np.ndarray) -> np.ndarray:
    """The length of line from the first point to each point, shape (n,)."""
    steps = np.diff(stroke, axis=0)
    return np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])


def pace(drawing: Drawing) -> np.ndarray:
    """The moments at which each stroke starts and the last one ends, shape (strokes + 1,), from 0 to 1.

    The pen moves at one speed along the lines and jumps between them; a dot takes `DOT_SHARE` of the length.
    """
    if not drawing:
        return np.zeros(1)
    lengths = np.array([arc_lengths(stroke)[-1] for stroke in drawing])
    dot = DOT_SHARE * lengths.sum() or 1.0
    ends = np.cumsum(np.where(lengths > 0, lengths, dot))
    return np.concatenate([[0.0], ends / ends[-1]])


def partial(drawing: Drawing, fraction: float) -> Drawing:
    """What stands on the paper once this fraction of the drawing is drawn, by arc length (see `pace`)."""
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction: received {fraction}, expected a number from 0 to 1")
    moments = pace(drawing)
    drawn = [stroke for stroke, end in zip(drawing, moments[1:], strict=True) if end <= fraction]
    if len(drawn) == len(drawing) or fraction <= moments[len(drawn)]:
        return drawn
    start, end = moments[len(drawn) : len(drawn) + 2]
    return [*drawn, _beginning(drawing[len(drawn)], (fraction - start) / (end - start))]


def _beginning(stroke: np.ndarray, share: float) -> np.ndarray:
    """The first part of a stroke, cut at this share of its length; a dot appears at once."""
    if is_dot(stroke):
        return stroke
    along = arc_lengths(stroke)
    reach = share * along[-1]
    kept = int(np.searchsorted(along, reach, side="right"))
    tip = [np.interp(reach, along, stroke[:, axis]) for axis in (0, 1)]
    return np.vstack([stroke[:kept], tip])
