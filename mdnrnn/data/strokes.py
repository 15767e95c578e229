"""The geometry of drawings: steps to polylines and back, simplified, resampled, augmented.

A polyline is an array (n, 2) of points, x right, y down, in raw units; a drawing is a list of them, a dot one of
a single point. Steps are `motion` (T, 2), offsets from point to point, and `event` (T,).
"""

from typing import Literal

import numpy as np

from mdnrnn.events import DOWN, END, UP

Start = Literal["down", "up"]
"""Pen position before the first step: "down" at the origin, or "up" (the first step only moves the pen)."""
Polyline = np.ndarray
"""Points (n, 2) of one stroke, in pen order; n = 1 is a dot."""
Drawing = list[Polyline]
"""Strokes in pen order."""


def to_polylines(motion: np.ndarray, event: np.ndarray, start: Start = "down") -> list[Polyline]:
    """The drawing of T steps: a polyline for each time that the pen is down.

    With start "down" the pen stands on the origin before the first step; with "up" the first step lands it.
    A sequence that was cut short, without END, draws as far as it goes.
    """
    points = np.cumsum(np.asarray(motion, dtype=np.float64), axis=0)
    lifts = np.flatnonzero(np.asarray(event) != DOWN) + 1
    if start == "down":
        points, lifts = np.concatenate([np.zeros_like(points[:1]), points]), lifts + 1
    strokes: list[Polyline] = [stroke for stroke in np.split(points, lifts) if len(stroke)]
    if strokes and start == "down" and (strokes[0] == strokes[0][0]).all():
        strokes[0] = strokes[0][:1]
    return strokes


def traces(rows: np.ndarray) -> list[Polyline]:
    """Curves of rows (dt, x1, ..) of a stream or a world: each value over time, one above the other in a box three
    times as wide as high."""
    time = np.cumsum(rows[:, 0].astype(np.float64))
    along = 3 * (time - time[0]) / ((time[-1] - time[0]) or 1.0)
    values = rows[:, 1:].astype(np.float64)
    least, extent = values.min(0), np.ptp(values, axis=0)
    heights = 1 - (values - least) / np.where(extent > 0, extent, 1)
    share = 1 / max(1, values.shape[1])
    return [np.stack([along, share * (i + 0.05 + 0.9 * heights[:, i])], axis=1) for i in range(values.shape[1])]


def from_polylines(strokes: list[Polyline], start: Start = "down") -> tuple[np.ndarray, np.ndarray]:
    """Steps of a drawing: motion (T, 2) and event (T,), uint8. The inverse of `to_polylines` up to its origin."""
    strokes = [np.asarray(stroke) for stroke in strokes if len(stroke)]
    if not strokes:
        return np.zeros((0, 2)), np.zeros(0, np.uint8)
    lengths, counts = np.array([len(stroke) for stroke in strokes]), np.array([len(strokes)])
    motion, event, _ = to_steps(np.concatenate(strokes), lengths, counts, start)
    return motion, event


def to_steps(
    points: np.ndarray, strokes: np.ndarray, counts: np.ndarray, start: Start
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps of many drawings end to end: motion (N, F), event (N,), uint8, and how many steps each has, (M,).

    Args:
        points: (P, F), all strokes end to end.
        strokes: how many points each stroke has, (S,), at least 1.
        counts: how many strokes each drawing has, (M,), at least 1.
    """
    heads = np.cumsum(counts) - counts
    if start == "down":
        # A dot as the first stroke is a step of (0, 0) where the pen stands.
        dots = heads[strokes[heads] == 1]
        twice = np.ones(len(points), np.int64)
        twice[(np.cumsum(strokes) - strokes)[dots]] = 2
        points, strokes = points.repeat(twice, axis=0), strokes.copy()
        strokes[dots] = 2
    stroke_ends = np.cumsum(strokes)
    ends = stroke_ends[heads + counts - 1]
    lengths = np.diff(ends, prepend=0)
    event = np.full(len(points), DOWN, np.uint8)
    event[stroke_ends - 1] = UP
    event[ends - 1] = END
    motion = np.diff(points, axis=0, prepend=np.zeros_like(points[:1]))
    firsts = ends - lengths
    if start == "up":
        motion[firsts] = points[firsts]
        return motion, event, lengths
    inside = np.ones(len(points), bool)
    inside[firsts] = False
    return motion[inside], event[inside], lengths - 1


def box(points: np.ndarray, sizes: np.ndarray, side: float) -> np.ndarray:
    """Points (P, F) of drawings of `sizes` (M,) points, each drawing's least x and y moved to 0 and its longer side
    scaled to `side`; a drawing without extent is moved alone."""
    if not len(points):
        return points
    firsts = np.cumsum(sizes) - sizes
    least, most = (extreme.reduceat(points[:, :2], firsts) for extreme in (np.minimum, np.maximum))
    extent = (most - least).max(1)
    scale = np.divide(side, extent, out=np.ones_like(extent), where=extent > 0)
    boxed = points.copy()
    boxed[:, :2] = (points[:, :2] - least.repeat(sizes, axis=0)) * scale.repeat(sizes)[:, None]
    return boxed


def resample(points: np.ndarray, spacing: float, strokes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points (Q, F) at equal arc lengths, at most `spacing` apart, and how many of them each stroke has, (S,).

    Args:
        points: (P, F), the strokes end to end; features beyond x and y are interpolated. Ends of strokes are kept.
        strokes: how many points each stroke has, (S,); by default they are one stroke.
    """
    strokes = np.array([len(points)]) if strokes is None else strokes
    if not len(points):
        return points, strokes
    lasts = np.cumsum(strokes) - 1
    firsts = lasts - strokes + 1
    segments = np.hypot(*np.diff(points[:, :2], axis=0).T)
    segments[lasts[:-1]] = 0
    along = np.concatenate([[0.0], np.cumsum(segments)])
    totals = along[lasts] - along[firsts]
    # A length of so many spacings to the last bit needs no point more: what stands before a stroke rounds it.
    spans = np.ceil(totals / spacing - 1e-9).astype(np.int64)
    counts = np.where(totals > 0, np.maximum(2, spans + 1), 1)
    starts = np.cumsum(counts) - counts
    place = np.arange(counts.sum()) - starts.repeat(counts)
    wanted = along[firsts].repeat(counts) + place * (totals / np.maximum(counts - 1, 1)).repeat(counts)
    resampled = np.stack([np.interp(wanted, along, feature) for feature in points.T], axis=1)
    # One stroke's end and the next one's start lie at the same arc length: both are set by hand.
    resampled[starts + counts - 1] = points[lasts]
    resampled[starts] = points[firsts]
    return resampled, counts


def simplify(points: np.ndarray, epsilon: float, strokes: np.ndarray | None = None) -> np.ndarray:
    """Which points (P,) Ramer, Douglas and Peucker keep at a tolerance of `epsilon`.

    All spans of all strokes are split together, one level of the recursion after the other.

    Args:
        points: (P, F), the strokes end to end; x and y count.
        strokes: how many points each stroke has, (S,); by default they are one stroke.
    """
    strokes = np.array([len(points)]) if strokes is None else strokes
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    last = np.cumsum(strokes) - 1
    first = last - strokes + 1
    keep = np.zeros(len(points), bool)
    keep[first], keep[last] = True, True
    while True:
        wide = last - first > 1
        first, last = first[wide], last[wide]
        if not len(first):
            return keep
        inside = last - first - 1
        starts = np.cumsum(inside) - inside
        index = np.arange(starts[-1] + inside[-1]) + (first + 1 - starts).repeat(inside)
        square = _squares_to_segments(x, y, index, first, last, inside)
        largest = np.maximum.reduceat(square, starts)
        split = largest > epsilon * epsilon
        # The first point of each span at the largest distance.
        furthest = np.flatnonzero(square == largest.repeat(inside))
        middle = index[furthest[np.searchsorted(furthest, starts)]][split]
        keep[middle] = True
        first, last = np.concatenate([first[split], middle]), np.concatenate([middle, last[split]])
        order = np.argsort(first, kind="stable")
        first, last = first[order], last[order]


def _squares_to_segments(
    x: np.ndarray, y: np.ndarray, index: np.ndarray, first: np.ndarray, last: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Squared distances of the points `index` (n,) to the segments between the ends of their spans, (n,)."""
    chord_x, chord_y = x[last] - x[first], y[last] - y[first]
    square = chord_x * chord_x + chord_y * chord_y
    inverse = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    from_x, from_y = x[index] - x[first].repeat(inside), y[index] - y[first].repeat(inside)
    chord_x, chord_y = chord_x.repeat(inside), chord_y.repeat(inside)
    along = np.clip((from_x * chord_x + from_y * chord_y) * inverse.repeat(inside), 0, 1)
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
    """Leave out points inside strokes, drawn at random, a `share` of each drawing's points if there are so many.

    The steps after them take over their motion. The ends of strokes stay, and so do the steps that start one: the
    drawings keep their strokes. The count follows from T up to rounding, so that sequences of like length stay so.

    Args:
        motion: (N, D), the steps of M drawings end to end; what comes back is float64.
        event: (N,).
        lengths: T of each drawing, (M,), at least 1.
        noise: uniform numbers, (M,) to round the counts by, (N,) to choose the points by.
    """
    tops = np.cumsum(lengths) - lengths
    continues = event == DOWN
    inside = continues & np.roll(continues, 1)
    inside[tops] = continues[tops] & (start == "down")
    inside[tops + lengths - 1] = False
    drawing = np.arange(len(lengths)).repeat(lengths)
    # In each drawing the points that may go come first, in random order; as many of these as are to go are taken.
    order = np.argsort(drawing + np.where(inside, 0.5 * noise[1], 0.75))
    rank = np.arange(len(event)) - tops.repeat(lengths)
    candidates = np.add.reduceat(inside, tops, dtype=np.int64)
    counts = np.minimum(candidates, (share * lengths + noise[0]).astype(np.int64))
    kept = np.ones(len(event), bool)
    kept[order[rank < counts.repeat(lengths)]] = False
    last = np.flatnonzero(kept)  # of each run of steps that becomes one: it ends where it is kept
    summed = np.add.reduceat(motion, np.concatenate([[0], last[:-1] + 1]), axis=0, dtype=np.float64)
    return summed, event[kept], lengths - counts
