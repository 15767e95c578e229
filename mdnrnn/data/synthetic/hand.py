"""A hand that draws: lines, ovals and curves that wobble, close badly and never come out twice the same.

Shapes are planned on a sheet that reaches from about -1 to 1, x to the right and y down. Angles are in turns,
clockwise from the right: 0.25 points down, 0.75 up. A stroke is a float array (n, 2) in pen order; n = 1 is a dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mdnrnn.data.strokes import resample, simplify

Strokes = list[np.ndarray]
Point = Sequence[float] | np.ndarray
Points = Sequence[Point] | np.ndarray

BOX = 255
"""Side of the square that a finished drawing lies in; coordinates are integers from 0 to BOX."""

_SPACING = 0.05
"""Between the points of a stroke as it wobbles, in sheet units: fine enough that no turn is lost."""

_EPSILON = 2.2
"""How far a finished line may stray from the wobbly one, in units of the box: as coarse as goes unseen."""


def around(center: Point, radii: Point, turns: float | np.ndarray) -> np.ndarray:
    """The points (..., 2) of an ellipse at the angles `turns` (...)."""
    angle = 2 * np.pi * np.asarray(turns)
    return np.stack([center[0] + radii[0] * np.cos(angle), center[1] + radii[1] * np.sin(angle)], axis=-1)


def both_sides(right: Points) -> np.ndarray:
    """A symmetric shape (2n, 2), from its left end to its right, given its right half: points (n, 2)."""
    right = np.asarray(right, dtype=float)
    return np.concatenate([right[::-1] * (-1, 1), right])


def bulges(points: Points, height: float) -> np.ndarray:
    """A half ellipse from each point (n, 2) to the next, to the left of the way, `height` times the way's length."""
    points = np.asarray(points, dtype=float)
    way = np.diff(points, axis=0)[:, None]
    left = np.stack([way[..., 1], -way[..., 0]], axis=-1)
    angle = np.linspace(0, np.pi, 9)[None, :, None]
    return (points[:-1, None] + way * (1 - np.cos(angle)) / 2 + left * height * np.sin(angle)).reshape(-1, 2)


def spline(points: Points, closed: bool = False) -> np.ndarray:
    """A smooth curve through the points (n, 2): a uniform Catmull-Rom spline, eight steps a span."""
    p = np.asarray(points, dtype=float)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    spans = b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2)
    return np.concatenate([spans.reshape(-1, 2), p[-2:-1]])


def rounded(corners: Points, radius: float) -> np.ndarray:
    """Straight lines through the corners (n, 2), each inner corner cut by a curve that begins `radius` before it."""
    p = np.asarray(corners, dtype=float)
    if len(p) < 3 or radius == 0:
        return p
    way = np.diff(p, axis=0)
    length = np.hypot(way[:, 0], way[:, 1])[:, None] + 1e-9
    way *= np.minimum(radius, 0.45 * length) / length
    before, corner, after = p[1:-1] - way[:-1], p[1:-1], p[1:-1] + way[1:]
    turn = np.stack([before, (before + 2 * corner + after) / 4, after], axis=1)
    return np.concatenate([p[:1], turn.reshape(-1, 2), p[-1:]])


@dataclass(frozen=True)
class Hand:
    """One person drawing one picture: habits drawn once from `rng`, accidents drawn from it at every stroke."""

    rng: np.random.Generator

    @cached_property
    def sloppiness(self) -> float:
        """How far from the plan: about 0.4 for the careful, 1.4 for the hasty."""
        return self.between(0.4, 1.4)

    @cached_property
    def softness(self) -> float:
        """The radius at which this hand cuts corners, in sheet units."""
        return max(0.0, self.between(-0.06, 0.1))

    @cached_property
    def backward(self) -> float:
        """How often this hand goes round, or along, the other way."""
        return 0.85 if self.chance(0.2) else 0.1

    # choices

    def between(self, low: float, high: float) -> float:
        """Any number from low to high."""
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        """Whether it happens this time."""
        return self.rng.random() < probability

    def some(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def maybe(self, probability: float, *strokes: np.ndarray) -> Strokes:
        """A part that not every drawing has."""
        return list(strokes) if self.chance(probability) else []

    def ordered(self, first: Strokes, second: Strokes) -> Strokes:
        """The first part and then the second; now and then the other way round."""
        return [*second, *first] if self.chance(0.25) else [*first, *second]

    # strokes

    def dot(self, x: float, y: float) -> np.ndarray:
        """The pen put down and lifted again."""
        return self._aim([(x, y)])

    def line(self, *corners: Point) -> np.ndarray:
        """Straight lines from corner to corner."""
        return rounded(self._aim(corners), self.softness)

    def curve(self, *points: Point) -> np.ndarray:
        """A smooth open curve through the points."""
        return spline(self._aim(points))

    def arc(self, center: Point, radii: Point, start: float, end: float) -> np.ndarray:
        """Part of an ellipse, from turn `start` to turn `end`."""
        slip = self.rng.normal(0, 0.008 * self.sloppiness, 2)
        return around(center, radii, np.linspace(start + slip[0], end + slip[1], 33))

    def outline(self, *corners: Point) -> np.ndarray:
        """A closed polygon, begun at any corner; its last side runs past the first corner or stops short of it."""
        p = np.roll(self._aim(corners), self.some(1, len(corners)), axis=0)
        p = p[::-1] if self.chance(self.backward) else p
        side = p[0] - p[-1]
        length = float(np.hypot(*side))
        return rounded([*p, p[0] + side * (self._miss(0.3 * length) / length)], self.softness)

    def box(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """A closed rectangle around (x, y), rx and ry being half its sides."""
        return self.outline((x - rx, y - ry), (x - rx, y + ry), (x + rx, y + ry), (x + rx, y - ry))

    def oval(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """A closed ellipse, begun near its top."""
        stretch = 1 + self.rng.normal(0, 0.04 * self.sloppiness, 2)
        return self.loop(around((x, y), (rx, ry) * stretch, self.rng.normal(0.75, 0.06) + np.linspace(0, 1, 49)))

    def blob(self, *points: Point) -> np.ndarray:
        """A smooth closed curve, begun at any of the points."""
        p = self._aim(points)
        return self.loop(spline(np.roll(p, -self.some(0, len(p) - 1), axis=0), closed=True))

    def loop(self, path: np.ndarray) -> np.ndarray:
        """A closed path (n, 2) as a hand follows it: a little more or less than once round, either way."""
        path = path[::-1] if self.chance(self.backward) else path
        way = np.diff(path, axis=0)
        length = float(np.hypot(way[:, 0], way[:, 1]).sum())
        extra = round(len(path) * self._miss(0.1 * length) / length)
        return np.concatenate([path, path[1 : 1 + extra]]) if extra >= 0 else path[:extra]

    def _aim(self, points: Points) -> np.ndarray:
        """Where the pen lands when it aims at the points (n, 2)."""
        p = np.asarray(points, dtype=float)
        return p + self.rng.normal(0, 0.014 * self.sloppiness, p.shape)

    def _miss(self, most: float) -> float:
        """How far a closed shape overshoots its start; negative, the gap that it leaves. In sheet units."""
        return float(np.clip(self.rng.normal(0.01, 0.05 * self.sloppiness), max(-0.08, -most), min(0.14, most)))

    # the finished drawing

    def finish(self, strokes: Strokes) -> Strokes:
        """The plan as it comes out on paper: integer points (n, 2) within the box, sparse, in pen order."""
        strokes = self._lift([s[::-1] if self.chance(0.12) else s for s in strokes])
        strokes = [resample(s, _SPACING)[0] if len(s) > 1 else s for s in strokes]
        lengths = [len(s) for s in strokes]
        points = self._tilt(self._warp(np.concatenate(strokes)) + self._wobble(lengths))
        low, high = points.min(axis=0), points.max(axis=0)
        size = BOX * self.between(0.75, 1.0)
        points = (points - (low + high) / 2) * (size / (high - low).max()) + BOX / 2
        return [_on_grid(s) for s in np.split(points, np.cumsum(lengths)[:-1])]

    def _lift(self, strokes: Strokes) -> Strokes:
        """Sometimes leave the pen down where one stroke ends and the next begins; sometimes lift it on the way."""
        joined = strokes[:1]
        lazy = self.between(-0.2, 0.8)
        for stroke in strokes[1:]:
            near = np.abs(stroke[0] - joined[-1][-1]).max() < 0.08
            if near and len(stroke) > 1 and len(joined[-1]) > 1 and self.chance(lazy):
                joined[-1] = np.concatenate([joined[-1], stroke])
            else:
                joined.append(stroke)
        longest = max(range(len(joined)), key=lambda i: len(joined[i]))
        if len(joined[longest]) > 12 and self.chance(0.15):
            cut = self.some(len(joined[longest]) // 3, 2 * len(joined[longest]) // 3)
            joined[longest : longest + 1] = [joined[longest][:cut], joined[longest][cut - self.some(0, 1) :]]
        return joined

    def _warp(self, points: np.ndarray) -> np.ndarray:
        """Bend the whole sheet in long waves: proportions change, and what touches goes on touching."""
        waves = self.rng.uniform(-0.35, 0.35, (2, 3))
        phases = self.rng.uniform(0, 2 * np.pi, 3)
        swing = self.rng.uniform(-0.045, 0.045, (3, 2))
        return points + np.sin(2 * np.pi * points @ waves + phases) @ swing

    def _wobble(self, lengths: Sequence[int]) -> np.ndarray:
        """Slow waves along each stroke, and a drift from its start to its end: shape (sum of lengths, 2)."""
        size = np.array(lengths)
        stroke = np.repeat(np.arange(len(size)), size)
        step = np.arange(len(stroke)) - np.repeat(np.cumsum(size) - size, size)
        amount = (0.014 * self.sloppiness * np.minimum(1, size * _SPACING))[stroke, None]
        rate = self.rng.uniform(0.3, 1.0, (len(size), 2))[stroke] * _SPACING
        phase = self.rng.random((len(size), 2))[stroke]
        drift = self.rng.normal(0, 1, (len(size), 2))[stroke] * (step / size[stroke] - 0.5)[:, None]
        return amount * (np.sin(2 * np.pi * (rate * step[:, None] + phase)) + drift)

    def _tilt(self, points: np.ndarray) -> np.ndarray:
        """Turn, slant and stretch the sheet a little, and show some things from their other side."""
        turn, slant, stretch = self.rng.normal(0, (0.05, 0.06, 0.06))
        cos, sin = np.cos(turn), np.sin(turn)
        facing = -1 if self.chance(0.3) else 1
        shear = np.array([[facing * (1 + stretch), 0], [-slant, 1 - stretch]])
        return points @ shear @ np.array([[cos, sin], [-sin, cos]])


def _on_grid(stroke: np.ndarray) -> np.ndarray:
    """The few integer points that keep the shape of a stroke (n, 2); two in a row never coincide."""
    points = np.rint(stroke[simplify(stroke, _EPSILON)]).astype(np.int64)
    moved = np.any(points[1:] != points[:-1], axis=1)
    return points[np.concatenate([[True], moved])]
