"""The geometry of drawings: steps to polylines and back, simplified, resampled, augmented.

A polyline is an array (n, 2) of points, x right, y down, in raw units; a drawing is a list of them, a dot one of
a single point. Steps are `motion` (T, 2), offsets from point to point, and `event` (T,).
"""

from typing import Literal

import numpy as np

from mdnrnn.distributions.step import DOWN, END, UP

Start = Literal["down", "up"]
Polyline = np.ndarray


def to_polylines(motion: np.ndarray, event: np.ndarray, start: Start = "down") -> list[Polyline]:
    """The drawing of T steps: a polyline for each time that the pen is down.

    With start "down" the pen stands on the origin before the first step; with "up" the first step lands it.
    A sequence that was cut short, without END, draws as far as it goes.
    """
    points = np.cumsum(np.asarray(motion, dtype=np.float64), axis=0)
    lifts = np.flatnonzero(np.asarray(event) != DOWN) + 1
    if start == "down":
        points, lifts = np.concatenate([np.zeros((1, 2)), points]), lifts + 1
    strokes: list[Polyline] = [stroke for stroke in np.split(points, lifts) if len(stroke)]
    if strokes and start == "down" and (strokes[0] == strokes[0][0]).all():
        strokes[0] = strokes[0][:1]
    return strokes


def from_polylines(strokes: list[Polyline], start: Start = "down") -> tuple[np.ndarray, np.ndarray]:
    """Steps of a drawing: motion (T, 2) and event (T,), uint8. The inverse of `to_polylines` up to its origin."""
    strokes = [np.asarray(stroke) for stroke in strokes if len(stroke)]
    if not strokes:
        return np.zeros((0, 2)), np.zeros(0, np.uint8)
    if start == "down" and len(strokes[0]) == 1:
        strokes[0] = np.repeat(strokes[0], 2, axis=0)
    points = np.concatenate(strokes)
    event = np.full(len(points), DOWN, np.uint8)
    event[np.cumsum([len(stroke) for stroke in strokes]) - 1] = UP
    event[-1] = END
    if start == "down":
        return np.diff(points, axis=0), event[1:]
    return np.diff(points, axis=0, prepend=np.zeros((1, 2), points.dtype)), event


def resample(points: Polyline, spacing: float) -> Polyline:
    """Points (m, 2) at equal arc lengths, at most `spacing` apart, along `points` (n, 2); both ends are kept."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    total = float(lengths.sum())
    if total == 0:
        return points[:1]
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = np.linspace(0, total, max(2, int(np.ceil(total / spacing)) + 1))
    return np.stack([np.interp(wanted, along, points[:, axis]) for axis in (0, 1)], axis=1)


def simplify(points: Polyline, epsilon: float) -> Polyline:
    """The points (m, 2) of `points` (n, 2) that Ramer, Douglas and Peucker keep at a tolerance of `epsilon`."""
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _distance_to_segment(points[first + 1 : last], points[first], points[last])
        furthest = int(distance.argmax())
        if distance[furthest] > epsilon:
            middle = first + 1 + furthest
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def _distance_to_segment(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    chord = (b - a).astype(np.float64)
    square = float(chord @ chord)
    along = np.clip((points - a) @ chord / square, 0, 1) if square else np.zeros(len(points))
    return np.hypot(*(points - a - along[:, None] * chord).T)


def drop_points(
    motion: np.ndarray, event: np.ndarray, share: float, rng: np.random.Generator, start: Start = "down"
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out points inside strokes, drawn at random, a `share` of all points if there are so many.

    The steps after them take over their motion. The ends of strokes stay, and so do the steps that start one: the
    drawing keeps its strokes. The count follows from T up to rounding, so that sequences of like length stay so.
    """
    inside = np.asarray(event) == DOWN
    inside[1:] &= np.asarray(event[:-1]) == DOWN
    inside[0] &= start == "down"
    candidates = np.flatnonzero(inside)
    kept = np.ones(len(event), bool)
    count = min(len(candidates), int(share * len(event) + rng.random()))
    kept[rng.choice(candidates, count, replace=False)] = False
    points = np.cumsum(motion, axis=0)[kept]
    return np.diff(points, axis=0, prepend=np.zeros_like(points[:1])), event[kept]
