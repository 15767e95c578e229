"""Paths of cubic Bézier segments, built from lines, curves and elliptical arcs."""

from __future__ import annotations

import cmath
import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdnrnn.data.formats.svg_values import IDENTITY, Matrix

_ARC_SEGMENT = math.pi / 4
"""Maximum angle of the arc that one segment approximates, in radians.

The segment deviates from the ellipse by at most 4e-6 of the radius.
"""
MAX_ARC_SEGMENTS = 8
"""Maximum number of segments that approximate one arc."""


class BezierPath(NamedTuple):
    """Subpaths of cubic Bézier segments, concatenated.

    Args:
        segments: control points of each segment, (K, 4, 2). A straight line from a to b has the control points
            (a, a, b, b).
        subpath_starts: index of the first segment of each subpath, (S,). This segment has length 0: its four control
            points equal the start point of the subpath.
        keeps_points: whether a subpath whose points all coincide keeps these points, as in a <polyline>. If false, such
            a subpath becomes a single point, a dot.
    """

    segments: np.ndarray
    subpath_starts: np.ndarray
    keeps_points: bool = False

    def transform(self, matrix: Matrix) -> BezierPath:
        """Return the image of the path under an affine map."""
        if matrix == IDENTITY:
            return self
        a, b, c, d, e, f = matrix
        return self._replace(segments=self.segments @ np.array([[a, b], [c, d]]) + (e, f))


def concatenate(paths: Sequence[BezierPath]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate one or more paths; return the segments and the subpath starts of the resulting path."""
    if len(paths) == 1:
        return paths[0].segments, paths[0].subpath_starts
    first_segments = np.cumsum([0, *(len(path.segments) for path in paths)])[:-1]
    starts = [path.subpath_starts + first for path, first in zip(paths, first_segments, strict=True)]
    return np.concatenate([path.segments for path in paths]), np.concatenate(starts)


class PathBuilder:
    """Builder of a `BezierPath`, with the current point (x, y).

    The first segment after a move or a close begins a subpath.
    """

    def __init__(self) -> None:
        self.x = self.y = 0.0
        self._start = (0.0, 0.0)
        self._coordinates = array("d")
        self._subpath_starts: list[int] = []
        self._in_subpath = False
        self._moved = False
        """Whether the last call was `move_to`."""

    def __len__(self) -> int:
        """Return the number of segments so far."""
        return len(self._coordinates) // 8

    def build(self) -> BezierPath:
        """Return the path of all segments. The builder cannot be used afterwards."""
        segments = np.frombuffer(self._coordinates) if self._coordinates else np.zeros(0)
        return BezierPath(segments.reshape(-1, 4, 2), np.array(self._subpath_starts, np.int64))

    def move_to(self, x: float, y: float) -> None:
        """End the subpath and set the current point."""
        self.x, self.y = self._start = (x, y)
        self._in_subpath, self._moved = False, True

    def line_to(self, x: float, y: float) -> None:
        """Append a straight line to (x, y)."""
        if not self._in_subpath:
            self._begin_subpath()
        self._coordinates.extend((self.x, self.y, self.x, self.y, x, y, x, y))
        self.x, self.y = x, y

    def cubic_to(self, x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> None:
        """Append a cubic curve to (x, y) with the control points (x1, y1) and (x2, y2)."""
        self._append(x1, y1, x2, y2, x, y)

    def quadratic_to(self, x1: float, y1: float, x: float, y: float) -> None:
        """Append a quadratic curve to (x, y) with the control point (x1, y1)."""
        third = 2 / 3
        x0, y0 = self.x, self.y
        self._append(x0 + third * (x1 - x0), y0 + third * (y1 - y0), x + third * (x1 - x), y + third * (y1 - y), x, y)

    def arc_to(self, rx: float, ry: float, degrees: float, large: float, sweep: float, x: float, y: float) -> None:
        """Append an elliptical arc, as defined in SVG 1.1, appendix F.6, or a straight line if a radius is 0.

        Args:
            rx, ry: radii of the ellipse. If the ellipse is too small to reach (x, y), both radii are scaled up.
            degrees: rotation of the ellipse, in degrees.
            large: large-arc-flag; nonzero for an arc of more than 180 degrees.
            sweep: sweep-flag; nonzero for an arc in the direction of increasing angles.
            x, y: end point.
        """
        if (x, y) == (self.x, self.y):
            self._begin_subpath()
            return
        try:
            segments = self._arc_segments(abs(rx), abs(ry), math.radians(degrees), bool(large), bool(sweep), x, y)
        except (ArithmeticError, ValueError):  # radius 0 or overflow
            self.line_to(x, y)
            return
        for segment in segments:
            self._append(*segment)

    def _arc_segments(
        self, rx: float, ry: float, rotation: float, large: bool, sweep: bool, x: float, y: float
    ) -> list[tuple[float, float, float, float, float, float]]:
        """Return the segments of an arc, each as (x1, y1, x2, y2, x, y): two control points and the end point.

        The computation maps the ellipse to the unit circle in the complex plane.
        """
        cos, sin = math.cos(rotation), math.sin(rotation)
        dx, dy = (self.x - x) / 2, (self.y - y) / 2
        half_chord = complex((dx * cos + dy * sin) / rx, (dy * cos - dx * sin) / ry)
        length = abs(half_chord)
        if length > 1:  # the ellipse is too small to contain both end points and is scaled up
            rx, ry, half_chord, length = rx * length, ry * length, half_chord / length, 1.0
        center = half_chord * complex(0, -1 if large != sweep else 1) * math.sqrt(1 - length * length) / length
        first = half_chord - center
        angle = cmath.phase((-half_chord - center) / first)
        if sweep and angle < 0:
            angle += 2 * math.pi
        elif not sweep and angle > 0:
            angle -= 2 * math.pi
        count = max(1, math.ceil(abs(angle) / _ARC_SEGMENT - 1e-9))
        step = angle / count
        control = complex(1, 4 / 3 * math.tan(step / 4))
        middle_x, middle_y = (self.x + x) / 2, (self.y + y) / 2

        def to_user_space(point: complex) -> tuple[float, float]:
            point += center
            u, v = point.real * rx, point.imag * ry
            return middle_x + u * cos - v * sin, middle_y + u * sin + v * cos

        segments, end, opposite_control = [], first, control.conjugate()
        for i in range(1, count + 1):
            start, end = end, first * cmath.rect(1, i * step)
            end_point = (x, y) if i == count else to_user_space(end)
            segments.append((*to_user_space(start * control), *to_user_space(end * opposite_control), *end_point))
        return segments

    def close(self) -> None:
        """Close the subpath: append a line to its start if the current point is elsewhere.

        A close directly after a move appends a dot.
        """
        if self._moved:
            self._begin_subpath()
        if (self.x, self.y) != self._start:
            self.line_to(*self._start)
        self._in_subpath = self._moved = False

    def _begin_subpath(self) -> None:
        if not self._in_subpath:
            self._subpath_starts.append(len(self))
            self._coordinates.extend((self.x, self.y) * 4)
            self._in_subpath, self._moved = True, False

    def _append(self, x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> None:
        if not self._in_subpath:
            self._begin_subpath()
        self._coordinates.extend((self.x, self.y, x1, y1, x2, y2, x, y))
        self.x, self.y = x, y
