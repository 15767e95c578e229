"""A simulated hand that draws lines, ovals and curves with random deviations, gaps and overshoots.

Shapes are planned on a sheet with coordinates from about -1 to 1: x increases to the right and y downward. Angles are
measured clockwise from the x axis, in full turns: 0.25 is the direction down, and 0.75 is the direction up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mdnrnn.data.strokes import Drawing, Polyline, resample, simplify

Point = Sequence[float] | np.ndarray
Points = Sequence[Point] | np.ndarray

BOX = 255
"""Side of the square that contains a finished drawing. The coordinates of the drawing are integers from 0 to BOX."""

_SPACING = 0.05
"""Maximum spacing of the points of a planned stroke before deviations are added, in sheet units."""

_EPSILON = 2.2
"""Tolerance of the simplification of finished strokes, in the units of BOX. The error is not visible."""


def ellipse(center: Point, radii: Point, turns: float | np.ndarray) -> np.ndarray:
    """Return the points (..., 2) of an ellipse at the angles `turns` (...), in full turns."""
    angle = 2 * np.pi * np.asarray(turns)
    return np.stack([center[0] + radii[0] * np.cos(angle), center[1] + radii[1] * np.sin(angle)], axis=-1)


def mirror(right: Points) -> np.ndarray:
    """Return a shape (2n, 2) that is symmetric about x = 0, given the points (n, 2) of its right half."""
    right = np.asarray(right, dtype=float)
    return np.concatenate([right[::-1] * (-1, 1), right])


def bulges(points: Points, height: float) -> np.ndarray:
    """Connect consecutive points (n, 2) by half ellipses, each to the left of the direction from point to point.

    The height of each half ellipse is `height` times the distance between its two points.
    """
    points = np.asarray(points, dtype=float)
    segments = np.diff(points, axis=0)[:, None]
    left = np.stack([segments[..., 1], -segments[..., 0]], axis=-1)
    angle = np.linspace(0, np.pi, 9)[None, :, None]
    return (points[:-1, None] + segments * (1 - np.cos(angle)) / 2 + left * height * np.sin(angle)).reshape(-1, 2)


def spline(points: Points, closed: bool = False) -> np.ndarray:
    """Return a uniform Catmull-Rom spline through the points (n, 2), sampled at eight points per span."""
    p = np.asarray(points, dtype=float)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    spans = b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2)
    return np.concatenate([spans.reshape(-1, 2), p[-2:-1]])


def round_corners(corners: Points, radius: float) -> np.ndarray:
    """Return the polyline through the corners (n, 2), rounded at all corners except the first and the last.

    The rounding starts and ends at most `radius` from the corner.
    """
    p = np.asarray(corners, dtype=float)
    if len(p) < 3 or radius == 0:
        return p
    segments = np.diff(p, axis=0)
    length = np.hypot(segments[:, 0], segments[:, 1])[:, None] + 1e-9
    segments *= np.minimum(radius, 0.45 * length) / length
    before, corner, after = p[1:-1] - segments[:-1], p[1:-1], p[1:-1] + segments[1:]
    turn = np.stack([before, (before + 2 * corner + after) / 4, after], axis=1)
    return np.concatenate([p[:1], turn.reshape(-1, 2), p[-1:]])


@dataclass(frozen=True)
class Hand:
    """Simulate one person who draws one picture.

    The person's habits are the properties of this class. Each habit is sampled from `rng` once, on first use. The
    deviations of the pen are sampled again for every stroke. The drawing therefore depends on the order of the calls.
    """

    rng: np.random.Generator

    @cached_property
    def sloppiness(self) -> float:
        """Scale of the deviations, from 0.4 (careful) to 1.4 (hasty)."""
        return self.between(0.4, 1.4)

    @cached_property
    def softness(self) -> float:
        """Radius of rounded corners, in sheet units."""
        return max(0.0, self.between(-0.06, 0.1))

    @cached_property
    def reversal_probability(self) -> float:
        """Probability of drawing a closed shape in the reverse order of its points."""
        return 0.85 if self.chance(0.2) else 0.1

    def between(self, low: float, high: float) -> float:
        """Return a uniform random number from low to high."""
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.rng.random() < probability

    def integer(self, low: int, high: int) -> int:
        """Return a uniform random integer from low to high, inclusive."""
        return int(self.rng.integers(low, high + 1))

    def maybe(self, probability: float, *strokes: Polyline) -> Drawing:
        """Return the strokes with the given probability, else an empty list."""
        return list(strokes) if self.chance(probability) else []

    def ordered(self, first: Drawing, second: Drawing) -> Drawing:
        """Return the strokes of both parts in random order: `first` comes before `second` with probability 0.75."""
        return [*second, *first] if self.chance(0.25) else [*first, *second]

    def dot(self, x: float, y: float) -> np.ndarray:
        """Draw a dot at (x, y)."""
        return self._perturb([(x, y)])

    def line(self, *corners: Point) -> np.ndarray:
        """Draw straight lines from corner to corner."""
        return round_corners(self._perturb(corners), self.softness)

    def curve(self, *points: Point) -> np.ndarray:
        """Draw a smooth open curve through the points."""
        return spline(self._perturb(points))

    def arc(self, center: Point, radii: Point, start: float, end: float) -> np.ndarray:
        """Draw the part of an ellipse from the angle `start` to the angle `end`, both in full turns."""
        error = self.rng.normal(0, 0.008 * self.sloppiness, 2)
        return ellipse(center, radii, np.linspace(start + error[0], end + error[1], 33))

    def outline(self, *corners: Point) -> np.ndarray:
        """Draw a closed polygon, starting at a random corner. The pen stops slightly before or beyond this corner."""
        p = np.roll(self._perturb(corners), self.integer(1, len(corners)), axis=0)
        p = p[::-1] if self.chance(self.reversal_probability) else p
        side = p[0] - p[-1]
        length = float(np.hypot(*side))
        return round_corners([*p, p[0] + side * (self._overshoot(0.3 * length) / length)], self.softness)

    def box(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """Draw a closed rectangle with center (x, y), half width rx and half height ry."""
        return self.outline((x - rx, y - ry), (x - rx, y + ry), (x + rx, y + ry), (x + rx, y - ry))

    def oval(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """Draw a closed ellipse with center (x, y) and radii rx and ry, starting near its top."""
        stretch = 1 + self.rng.normal(0, 0.04 * self.sloppiness, 2)
        return self.loop(ellipse((x, y), (rx, ry) * stretch, self.rng.normal(0.75, 0.06) + np.linspace(0, 1, 49)))

    def blob(self, *points: Point) -> np.ndarray:
        """Draw a smooth closed curve through the points, starting at a random point."""
        p = self._perturb(points)
        return self.loop(spline(np.roll(p, -self.integer(0, len(p) - 1), axis=0), closed=True))

    def loop(self, path: np.ndarray) -> np.ndarray:
        """Draw a closed path (n, 2) in a random direction. The pen stops slightly before or beyond the start."""
        path = path[::-1] if self.chance(self.reversal_probability) else path
        segments = np.diff(path, axis=0)
        length = float(np.hypot(segments[:, 0], segments[:, 1]).sum())
        extra = round(len(path) * self._overshoot(0.1 * length) / length)
        return np.concatenate([path, path[1 : 1 + extra]]) if extra >= 0 else path[:extra]

    def _perturb(self, points: Points) -> np.ndarray:
        """Add random errors to the points (n, 2)."""
        p = np.asarray(points, dtype=float)
        return p + self.rng.normal(0, 0.014 * self.sloppiness, p.shape)

    def _overshoot(self, maximum: float) -> float:
        """Return a random length by which a closed shape goes beyond its start, in sheet units; negative for a gap."""
        return float(np.clip(self.rng.normal(0.01, 0.05 * self.sloppiness), max(-0.08, -maximum), min(0.14, maximum)))

    def finish(self, strokes: Drawing) -> Drawing:
        """Convert planned strokes to the finished drawing: simplified strokes of integers (n, 2) from 0 to BOX."""
        strokes = self._join_and_split([s[::-1] if self.chance(0.12) else s for s in strokes])
        strokes = [resample(s, _SPACING)[0] if len(s) > 1 else s for s in strokes]
        lengths = [len(s) for s in strokes]
        points = self._transform(self._warp(np.concatenate(strokes)) + self._wobble(lengths))
        low, high = points.min(axis=0), points.max(axis=0)
        size = BOX * self.between(0.75, 1.0)
        points = (points - (low + high) / 2) * (size / (high - low).max()) + BOX / 2
        return _round_to_grid(points, np.array(lengths))

    def _join_and_split(self, strokes: Drawing) -> Drawing:
        """Randomly join strokes that end near the start of the next stroke, and randomly split the longest stroke."""
        joined = strokes[:1]
        join_probability = self.between(-0.2, 0.8)
        for stroke in strokes[1:]:
            is_near = np.abs(stroke[0] - joined[-1][-1]).max() < 0.08
            if is_near and len(stroke) > 1 and len(joined[-1]) > 1 and self.chance(join_probability):
                joined[-1] = np.concatenate([joined[-1], stroke])
            else:
                joined.append(stroke)
        longest = max(range(len(joined)), key=lambda i: len(joined[i]))
        if len(joined[longest]) > 12 and self.chance(0.15):
            cut = self.integer(len(joined[longest]) // 3, 2 * len(joined[longest]) // 3)
            joined[longest : longest + 1] = [joined[longest][:cut], joined[longest][cut - self.integer(0, 1) :]]
        return joined

    def _warp(self, points: np.ndarray) -> np.ndarray:
        """Displace all points by the same smooth waves. Proportions change, but touching strokes still touch."""
        waves = self.rng.uniform(-0.35, 0.35, (2, 3))
        phases = self.rng.uniform(0, 2 * np.pi, 3)
        swing = self.rng.uniform(-0.045, 0.045, (3, 2))
        return points + np.sin(2 * np.pi * points @ waves + phases) @ swing

    def _wobble(self, lengths: Sequence[int]) -> np.ndarray:
        """Return deviations of all points of strokes, shape (sum of lengths, 2).

        The deviation of a stroke is a slow wave plus a drift from the start to the end of the stroke.
        """
        size = np.array(lengths)
        stroke = np.repeat(np.arange(len(size)), size)
        step = np.arange(len(stroke)) - np.repeat(np.cumsum(size) - size, size)
        amount = (0.014 * self.sloppiness * np.minimum(1, size * _SPACING))[stroke, None]
        rate = self.rng.uniform(0.3, 1.0, (len(size), 2))[stroke] * _SPACING
        phase = self.rng.random((len(size), 2))[stroke]
        drift = self.rng.normal(0, 1, (len(size), 2))[stroke] * (step / size[stroke] - 0.5)[:, None]
        return amount * (np.sin(2 * np.pi * (rate * step[:, None] + phase)) + drift)

    def _transform(self, points: np.ndarray) -> np.ndarray:
        """Rotate, shear and stretch the points slightly; mirror them with probability 0.3."""
        turn, slant, stretch = self.rng.normal(0, (0.05, 0.06, 0.06))
        cos, sin = np.cos(turn), np.sin(turn)
        facing = -1 if self.chance(0.3) else 1
        shear = np.array([[facing * (1 + stretch), 0], [-slant, 1 - stretch]])
        return points @ shear @ np.array([[cos, sin], [-sin, cos]])


def _round_to_grid(points: np.ndarray, lengths: np.ndarray) -> Drawing:
    """Simplify strokes, round their points to integers and remove consecutive duplicates; return the strokes.

    Args:
        points: points of all strokes, end to end, shape (N, 2).
        lengths: number of points of each stroke.
    """
    stroke = np.arange(len(lengths)).repeat(lengths)
    kept = simplify(points, _EPSILON, lengths)
    points, stroke = np.rint(points[kept]).astype(np.int64), stroke[kept]
    differs = np.ones(len(points), bool)
    differs[1:] = np.any(points[1:] != points[:-1], axis=1) | (stroke[1:] != stroke[:-1])
    return np.split(points[differs], np.flatnonzero(np.diff(stroke[differs])) + 1)
