"""Flattening of cubic Bézier paths: polylines that stay within a tolerance of the curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdnrnn.data.formats.bezier import BezierPath, concatenate

RESOLUTION = 500
"""The flattening tolerance is the longer side of the drawing's bounding box divided by this number."""
_MAX_CHORDS = 1000
"""Maximum number of chords, the lines of a polyline, per segment.

Normally a segment needs fewer chords. If the coordinates are far from the origin, rounding errors can increase the
computed number.
"""


def flatten(paths: Sequence[BezierPath], max_points: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Approximate each subpath by a polyline.

    A subpath whose points all coincide becomes a single point. If `keeps_points` of its path is true, such a subpath
    keeps all its points.

    Coordinates that overflow become NaN or infinite.

    Args:
        paths: one or more paths, each with at least one segment.
        max_points: maximum total number of points, counted before coinciding points are merged.

    Returns:
        Points of all polylines, (P, 2), and the number of points of each polyline, (S,); or None if `max_points` is
        exceeded.
    """
    segments, starts = concatenate(paths)
    with np.errstate(all="ignore"):
        straight = is_straight(segments)
        counts = np.ones(len(segments), np.int64)
        if not straight.all():
            counts = count_chords(segments, longer_side(segments) / RESOLUTION)
        if counts.sum() > max_points:
            return None
        points = segments[:, 3] if straight.all() else evaluate_chords(segments, counts)
    lengths = np.add.reduceat(counts, starts)
    first_points = np.cumsum(lengths) - lengths
    equals_first = (points == points[first_points].repeat(lengths, axis=0)).all(1)
    is_dot = np.logical_and.reduceat(equals_first, first_points)
    is_dot &= ~np.repeat([path.keeps_points for path in paths], [len(path.subpath_starts) for path in paths])
    keep = ~is_dot.repeat(lengths)
    keep[first_points] = True
    return points[keep], np.where(is_dot, 1, lengths)


def longer_side(segments: np.ndarray) -> float:
    """Return the approximate longer side of the bounding box of segments (K, 4, 2).

    Only the points at the parameters 0, 1/4, 1/2, 3/4 and 1 of each segment are considered. Therefore, the result can
    be too small.
    """
    points = (_bernstein(np.arange(5) / 4) @ segments).reshape(-1, 2)
    return float(np.ptp(points, axis=0).max())


def is_straight(segments: np.ndarray) -> np.ndarray:
    """Return whether each segment (K, 4, 2) is a line from a to b with control points (a, a, b, b), shape (K,)."""
    return np.asarray((segments[:, 0] == segments[:, 1]).all(1) & (segments[:, 2] == segments[:, 3]).all(1))


def count_chords(segments: np.ndarray, tolerance: float) -> np.ndarray:
    """Return how many chords approximate each segment within a tolerance: (K,), at least 1.

    Wang's formula (Goldman, Pyramid Algorithms, 2003): if the parameter range of a segment B is divided into n equal
    parts, the chords deviate from B by at most max|B''| / (8 n^2). |B''| is at most 6 times the larger second
    difference of the control points.

    Args:
        segments: control points, (K, 4, 2).
        tolerance: maximum deviation of a chord from the curve.
    """
    second_differences = np.hypot(*np.moveaxis(np.diff(segments, 2, axis=1), 2, 0)).max(1)
    counts = np.where(is_straight(segments), 1, np.ceil(np.sqrt(0.75 * second_differences / tolerance)))
    return np.nan_to_num(counts, nan=1, posinf=1).clip(1, _MAX_CHORDS).astype(np.int64)


def evaluate_chords(segments: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the end points of the chords of all segments, (P, 2), without the start points of the segments.

    Args:
        segments: control points, (K, 4, 2).
        counts: number of chords of each segment, (K,).
    """
    starts = np.cumsum(counts) - counts
    t = (np.arange(counts.sum()) - starts.repeat(counts) + 1) / counts.repeat(counts)
    return np.asarray(np.einsum("pk,pkd->pd", _bernstein(t), segments.repeat(counts, axis=0)))


def _bernstein(t: np.ndarray) -> np.ndarray:
    """Return the values (P, 4) of the four Bernstein polynomials of degree 3 at the parameters `t` (P,)."""
    s = 1 - t
    return np.stack([s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t], axis=-1)
