"""Geometry of drawings: conversion between steps and polylines, simplification, resampling and dropping of points.

x increases to the right and y downward, in raw units. Steps consist of `motion` (T, 2), the offset from each point to
the next, and `event` (T,), the code DOWN, UP or END.
"""

from typing import Literal

import numpy as np

from mdnrnn.pen_events import DOWN, END, UP

Start = Literal["down", "up"]
"""Pen state before the first step: "down" (the first stroke starts at the origin) or "up" (the first step moves the
lifted pen to the first point)."""
Polyline = np.ndarray
"""Points (n, 2) of one stroke, in drawing order. A stroke with n = 1 is a dot."""
Drawing = list[Polyline]
"""Strokes of one drawing, in drawing order."""


class Strokes(list[Polyline]):
    """A drawing, as a list of its strokes. Notebooks show it as a picture."""


def to_polylines(motion: np.ndarray, event: np.ndarray, start: Start = "down") -> Strokes:
    """Convert steps to strokes.

    With start "down", the first stroke starts at the origin. If the first stroke is a single step of (0, 0), it is a
    dot, because `to_steps` repeats the point of a dot. With "up", the first stroke starts at the end point of the
    first step.
    If END is missing, the last stroke ends at the last step.

    Args:
        motion: (T, 2), offsets.
        event: (T,), event codes.
        start: pen state before the first step.
    """
    points = np.cumsum(np.asarray(motion, dtype=np.float64), axis=0)
    lifts = np.flatnonzero(np.asarray(event) != DOWN) + 1
    if start == "down":
        points, lifts = np.concatenate([np.zeros_like(points[:1]), points]), lifts + 1
    strokes = Strokes(stroke for stroke in np.split(points, lifts) if len(stroke))
    if strokes and start == "down" and len(strokes[0]) == 2 and (strokes[0][1] == strokes[0][0]).all():
        strokes[0] = strokes[0][:1]
    return strokes


def to_curves(rows: np.ndarray) -> Strokes:
    """Convert rows of D values to D curves over time.

    The curves are placed one below the other in a box of width 3 and height 1. Each curve is scaled separately.

    Args:
        rows: (T, 1 + D). Column 0 is the time since the preceding row; the other columns are the values.
    """
    time = np.cumsum(rows[:, 0].astype(np.float64))
    x = 3 * (time - time[0]) / ((time[-1] - time[0]) or 1.0)
    values = rows[:, 1:].astype(np.float64)
    minimum, extent = values.min(0), np.ptp(values, axis=0)
    heights = 1 - (values - minimum) / np.where(extent > 0, extent, 1)
    band = 1 / max(1, values.shape[1])
    return Strokes(np.stack([x, band * (i + 0.05 + 0.9 * heights[:, i])], axis=1) for i in range(values.shape[1]))


def from_polylines(strokes: Drawing, start: Start = "down") -> tuple[np.ndarray, np.ndarray]:
    """Convert one drawing to steps: motion (T, 2), and event (T,) as uint8.

    This is the inverse of `to_polylines`, except that with start "down" the position of the first point is lost.
    """
    strokes = [np.asarray(stroke) for stroke in strokes if len(stroke)]
    if not strokes:
        return np.zeros((0, 2)), np.zeros(0, np.uint8)
    lengths, counts = np.array([len(stroke) for stroke in strokes]), np.array([len(strokes)])
    motion, event, _ = to_steps(np.concatenate(strokes), lengths, counts, start)
    return motion, event


def to_steps(
    points: np.ndarray, stroke_lengths: np.ndarray, stroke_counts: np.ndarray, start: Start
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert M drawings to steps.

    Args:
        points: (P, F), the strokes of all drawings, end to end.
        stroke_lengths: (S,), number of points of each stroke, at least 1.
        stroke_counts: (M,), number of strokes of each drawing, at least 1.
        start: pen state before the first step.

    Returns:
        motion (N, F), event (N,) as uint8, and the number of steps of each drawing (M,).
    """
    first_strokes = np.cumsum(stroke_counts) - stroke_counts
    dots = first_strokes[stroke_lengths[first_strokes] == 1]
    if start == "down" and len(dots):
        # If the first stroke is a dot, its point is repeated, so that the dot becomes a step of (0, 0).
        repeats = np.ones(len(points), np.int64)
        repeats[(np.cumsum(stroke_lengths) - stroke_lengths)[dots]] = 2
        points, stroke_lengths = points.repeat(repeats, axis=0), stroke_lengths.copy()
        stroke_lengths[dots] = 2
    stroke_ends = np.cumsum(stroke_lengths)
    ends = stroke_ends[first_strokes + stroke_counts - 1]
    lengths = np.diff(ends, prepend=0)
    event = np.full(len(points), DOWN, np.uint8)
    event[stroke_ends - 1] = UP
    event[ends - 1] = END
    firsts = ends - lengths
    if start == "up":
        motion = np.diff(points, axis=0, prepend=np.zeros_like(points[:1]))
        motion[firsts] = points[firsts]
        return motion, event, lengths
    is_step = np.ones(len(points), bool)
    is_step[firsts] = False
    # `compress` is several times faster than indexing rows with a Boolean array.
    return np.diff(points, axis=0).compress(is_step[1:], axis=0), event.compress(is_step), lengths - 1


def fit_to_box(points: np.ndarray, point_counts: np.ndarray, side: float) -> np.ndarray:
    """Translate each drawing so that its minimum x and y are 0, and scale it so that its longer side is `side`.

    If all points of a drawing are equal, it is translated but not scaled.

    Args:
        points: (P, F), drawings end to end; only x and y are changed.
        point_counts: (M,), number of points of each drawing.
        side: length of the longer side, in raw units.
    """
    if not len(points):
        return points
    firsts = np.cumsum(point_counts) - point_counts
    low, high = (extreme.reduceat(points[:, :2], firsts) for extreme in (np.minimum, np.maximum))
    extent = (high - low).max(1)
    scale = np.divide(side, extent, out=np.ones_like(extent), where=extent > 0)
    boxed = points.copy()
    boxed[:, :2] = (points[:, :2] - low.repeat(point_counts, axis=0)) * scale.repeat(point_counts)[:, None]
    return boxed


def resample(
    points: np.ndarray, spacing: float, stroke_lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Resample each stroke at equal intervals of arc length.

    Return the points of all strokes (Q, F) and the number of points of each stroke (S,).

    The end points of strokes are kept. All features are interpolated linearly.

    Args:
        points: (P, F), the strokes end to end.
        spacing: maximum arc length between consecutive points, in raw units.
        stroke_lengths: (S,), number of points of each stroke. By default all points are one stroke.
    """
    stroke_lengths = np.array([len(points)]) if stroke_lengths is None else stroke_lengths
    if not len(points):
        return points, stroke_lengths
    lasts = np.cumsum(stroke_lengths) - 1
    firsts = lasts - stroke_lengths + 1
    segments = np.hypot(*np.diff(points[:, :2], axis=0).T)
    segments[lasts[:-1]] = 0
    arc_length = np.concatenate([[0.0], np.cumsum(segments)])
    totals = arc_length[lasts] - arc_length[firsts]
    # The tolerance absorbs rounding errors of the cumulative sum: a stroke of exactly n spacings gets n + 1 points.
    spans = np.ceil(totals / spacing - 1e-9).astype(np.int64)
    counts = np.where(totals > 0, np.maximum(2, spans + 1), 1)
    starts = np.cumsum(counts) - counts
    position = np.arange(counts.sum()) - starts.repeat(counts)
    targets = arc_length[firsts].repeat(counts) + position * (totals / np.maximum(counts - 1, 1)).repeat(counts)
    resampled = np.stack([np.interp(targets, arc_length, feature) for feature in points.T], axis=1)
    # Copy the end points: the end of a stroke and the start of the next have equal arc length, so the interpolation
    # cannot distinguish them.
    resampled[starts + counts - 1] = points[lasts]
    resampled[starts] = points[firsts]
    return resampled, counts


def simplify(points: np.ndarray, epsilon: float, stroke_lengths: np.ndarray | None = None) -> np.ndarray:
    """Return a mask (P,) of the points that the Ramer-Douglas-Peucker algorithm keeps.

    All strokes are processed together: each iteration performs one level of the recursion for all strokes.

    Args:
        points: (P, F), the strokes end to end; only x and y are used.
        epsilon: maximum distance of a removed point from the simplified stroke, in raw units.
        stroke_lengths: (S,), number of points of each stroke. By default all points are one stroke.
    """
    stroke_lengths = np.array([len(points)]) if stroke_lengths is None else stroke_lengths
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    last = np.cumsum(stroke_lengths) - 1
    first = last - stroke_lengths + 1
    keep = np.zeros(len(points), bool)
    keep[first], keep[last] = True, True
    while True:
        has_interior = last - first > 1
        first, last = first[has_interior], last[has_interior]
        if not len(first):
            return keep
        counts = last - first - 1
        starts = np.cumsum(counts) - counts
        index = np.arange(starts[-1] + counts[-1]) + (first + 1 - starts).repeat(counts)
        square = _squared_distances(x, y, index, first, last, counts)
        largest = np.maximum.reduceat(square, starts)
        split = largest > epsilon * epsilon
        # A span is a range of points between two kept points. `middle` contains the furthest point of each span that is
        # split; of several equally far points, it contains the first.
        furthest = np.flatnonzero(square == largest.repeat(counts))
        middle = index[furthest[np.searchsorted(furthest, starts)]][split]
        keep[middle] = True
        first, last = np.concatenate([first[split], middle]), np.concatenate([middle, last[split]])
        order = np.argsort(first, kind="stable")
        first, last = first[order], last[order]


def _squared_distances(
    x: np.ndarray, y: np.ndarray, index: np.ndarray, first: np.ndarray, last: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the squared distances (n,) of points to the line segments between the ends of their spans.

    A span is a range of points of a stroke between two points that are kept.

    Args:
        x: (P,), x of all points.
        y: (P,), y of all points.
        index: (n,), indices of the inner points of all spans, span by span.
        first: index of the first point of each span.
        last: index of the last point of each span.
        counts: number of inner points of each span.
    """
    chord_x, chord_y = x[last] - x[first], y[last] - y[first]
    square = chord_x * chord_x + chord_y * chord_y
    inverse = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    from_x, from_y = x[index] - x[first].repeat(counts), y[index] - y[first].repeat(counts)
    chord_x, chord_y = chord_x.repeat(counts), chord_y.repeat(counts)
    along = np.clip((from_x * chord_x + from_y * chord_y) * inverse.repeat(counts), 0, 1)
    from_x -= along * chord_x
    from_y -= along * chord_y
    return from_x * from_x + from_y * from_y


def drop_points(
    motion: np.ndarray,
    event: np.ndarray,
    lengths: np.ndarray,
    share: float,
    noise: tuple[np.ndarray, np.ndarray],
    start: Start = "down",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop random inner points of the strokes of each drawing.

    The first and last point of each stroke are kept, so the number of strokes does not change. The motion of a dropped
    step is added to the next kept step. In a drawing of T steps, share * T points are dropped, rounded up or down at
    random; if the drawing has fewer inner points, all inner points are dropped. Drawings of similar length thus usually
    stay similar in length.

    Args:
        motion: (N, D), steps of M drawings end to end.
        event: (N,), event codes.
        lengths: (M,), number of steps T of each drawing, at least 1.
        share: share of the points to drop, 0 <= share < 1.
        noise: two arrays of uniform random numbers on [0, 1): (M,) for the random rounding, and (N,) for the choice of
            the points.
        start: pen state before the first step.

    Returns:
        motion (N', D) as float64, event (N',), and lengths (M,), of the drawings without the dropped points.
    """
    firsts = np.cumsum(lengths) - lengths
    is_down = event == DOWN
    is_inside = is_down & np.roll(is_down, 1)
    is_inside[firsts] = is_down[firsts] & (start == "down")
    is_inside[firsts + lengths - 1] = False
    drawing = np.arange(len(lengths)).repeat(lengths)
    # Sort the steps of each drawing: candidates first, in random order, then the other steps.
    order = np.argsort(drawing + np.where(is_inside, 0.5 * noise[1], 0.75))
    rank = np.arange(len(event)) - firsts.repeat(lengths)
    candidates = np.add.reduceat(is_inside, firsts, dtype=np.int64)
    counts = np.minimum(candidates, (share * lengths + noise[0]).astype(np.int64))
    kept = np.ones(len(event), bool)
    kept[order[rank < counts.repeat(lengths)]] = False
    last = np.flatnonzero(kept)  # each run of merged steps ends at a kept step
    summed = np.add.reduceat(motion, np.concatenate([[0], last[:-1] + 1]), axis=0, dtype=np.float64)
    return summed, event[kept], lengths - counts
