"""Flattening of cubic Bézier paths: polylines that stay within a tolerance of the curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdnrnn.data.formats.bezier import BezierPath

RESOLUTION = 500
"""The flattening tolerance is the longer side of the drawing's bounding box divided by this number."""
_MAX_CHORDS = 1000
"""Maximum chords per segment. A segment inside the bounding box needs fewer, but rounding errors far from the origin
can increase the estimate."""


def flatten(paths: Sequence[BezierPath], max_points: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return one polyline per subpath; a subpath whose points all coincide becomes a single point.

    Coordinates that overflow become NaN or infinite.

    Args:
        paths: at least one path, none of them empty.
        max_points: maximum number of points before coinciding points are merged.

    Returns:
        Points (P, 2) and the number of points of each polyline (S,), or None if there would be more than `max_points`.
    """
    segments = np.concatenate([path.segments for path in paths])
    first_segments = np.cumsum([0, *(len(path.segments) for path in paths)])[:-1]
    starts = np.concatenate([path.subpath_starts + first for path, first in zip(paths, first_segments, strict=True)])
    with np.errstate(all="ignore"):
        counts = count_chords(segments, longer_side(segments) / RESOLUTION)
        if counts.sum() > max_points:
            return None
        points = evaluate_chords(segments, counts)
    lengths = np.add.reduceat(counts, starts)
    first_points = np.cumsum(lengths) - lengths
    equals_first = (points == points[first_points].repeat(lengths, axis=0)).all(1)
    is_dot = np.logical_and.reduceat(equals_first, first_points)
    keep = ~is_dot.repeat(lengths)
    keep[first_points] = True
    return points[keep], np.where(is_dot, 1, lengths)


def longer_side(segments: np.ndarray) -> float:
    """Return the longer side of a bounding box of segments (K, 4, 2), sampled at multiples of 1/4 of the parameter.

    It is a lower bound of the longer side of the exact bounding box.
    """
    points = (_bernstein(np.arange(5) / 4) @ segments).reshape(-1, 2)
    return float(np.ptp(points, axis=0).max())


def count_chords(segments: np.ndarray, tolerance: float) -> np.ndarray:
    """Return how many chords approximate each segment (K, 4, 2) within the tolerance, shape (K,), at least 1.

    Wang's formula (Goldman, Pyramid Algorithms, 2003): a chord over 1/n of the parameter deviates by at most
    max|B''| / (8 n^2), and |B''| is at most 6 times the larger second difference of the control points.
    """
    second_differences = np.hypot(*np.moveaxis(np.diff(segments, 2, axis=1), 2, 0)).max(1)
    straight = (segments[:, 0] == segments[:, 1]).all(1) & (segments[:, 2] == segments[:, 3]).all(1)
    counts = np.where(straight, 1, np.ceil(np.sqrt(0.75 * second_differences / tolerance)))
    return np.nan_to_num(counts, nan=1, posinf=1).clip(1, _MAX_CHORDS).astype(np.int64)


def evaluate_chords(segments: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the end points (P, 2) of `counts` (K,) chords of each segment (K, 4, 2), without the segments' starts."""
    starts = np.cumsum(counts) - counts
    t = (np.arange(counts.sum()) - starts.repeat(counts) + 1) / counts.repeat(counts)
    return np.asarray(np.einsum("pk,pkd->pd", _bernstein(t), segments.repeat(counts, axis=0)))


def _bernstein(t: np.ndarray) -> np.ndarray:
    """Return the Bernstein polynomials of degree 3 at parameters (P,), shape (P, 4)."""
    s = 1 - t
    return np.stack([s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t], axis=-1)
