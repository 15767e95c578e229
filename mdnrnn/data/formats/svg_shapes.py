"""Outlines of the SVG elements <line>, <rect>, <circle> and <ellipse>, and detection of backgrounds and areas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mdnrnn.data.formats.bezier import BezierPath, PathBuilder, concatenate
from mdnrnn.data.formats.flattening import is_straight
from mdnrnn.data.formats.svg_tree import Element


class LengthOf(Protocol):
    """Function that returns a length property of an element in user units."""

    def __call__(self, element: Element, name: str, /) -> float:
        """Return the length property `name` of `element`."""


def shape_outline(element: Element, length: LengthOf) -> BezierPath:
    """Return the outline of a line, rectangle, circle or ellipse.

    The outline is empty if the width or height of a rectangle, or a radius of a circle or ellipse, is not positive.

    Raises:
        InvalidLengthError: an attribute is not a length.
    """
    builder = PathBuilder()
    _APPEND[element.tag](builder, element, length)
    return builder.build()


def _append_line(builder: PathBuilder, element: Element, length: LengthOf) -> None:
    builder.move_to(length(element, "x1"), length(element, "y1"))
    builder.line_to(length(element, "x2"), length(element, "y2"))


def _append_rect(builder: PathBuilder, element: Element, length: LengthOf) -> None:
    """Append a rectangle, clockwise from the left end of its upper side, as defined by the SVG specification."""
    x, y, width, height = (length(element, name) for name in ("x", "y", "width", "height"))
    if width <= 0 or height <= 0:
        return
    rx, ry = _radii(element, length)
    rx, ry = min(rx, width / 2), min(ry, height / 2)
    if not rx or not ry:
        rx = ry = 0.0
    right, bottom = x + width, y + height
    builder.move_to(x + rx, y)
    for side_end, corner_end in (
        ((right - rx, y), (right, y + ry)),
        ((right, bottom - ry), (right - rx, bottom)),
        ((x + rx, bottom), (x, bottom - ry)),
        ((x, y + ry), (x + rx, y)),
    ):
        if side_end != (builder.x, builder.y):
            builder.line_to(*side_end)
        if rx:
            builder.arc_to(rx, ry, 0, 0, 1, *corner_end)
    builder.close()


def _append_ellipse(builder: PathBuilder, element: Element, length: LengthOf) -> None:
    """Append a circle or ellipse, clockwise from its rightmost point, as defined by the SVG specification."""
    cx, cy = length(element, "cx"), length(element, "cy")
    rx, ry = _radii(element, length) if element.tag == "ellipse" else [length(element, "r")] * 2
    if rx <= 0 or ry <= 0:
        return
    builder.move_to(cx + rx, cy)
    for x, y in ((cx, cy + ry), (cx - rx, cy), (cx, cy - ry), (cx + rx, cy)):
        builder.arc_to(rx, ry, 0, 0, 1, x, y)
    builder.close()


def _radii(element: Element, length: LengthOf) -> list[float]:
    """Return [rx, ry]. A radius is invalid if it is missing, "auto" or negative.

    If one radius is invalid, it is set to the other radius. If both are invalid, both are set to 0.
    """
    radii = {name: length(element, name) for name in ("rx", "ry") if element.get_property(name) not in (None, "auto")}
    radii = {name: radius for name, radius in radii.items() if radius >= 0}
    rx = radii.get("rx", radii.get("ry", 0.0))
    return [rx, radii.get("ry", rx)]


_APPEND: dict[str, Callable[[PathBuilder, Element, LengthOf], None]] = {
    "line": _append_line,
    "rect": _append_rect,
    "circle": _append_ellipse,
    "ellipse": _append_ellipse,
}


def covers_page(path: BezierPath, page: np.ndarray) -> bool:
    """Return whether a path is an upright rectangle that covers the page, with a tolerance of 1% of the page size.

    Args:
        page: [[left, top], [right, bottom]].
    """
    segments, slack = path.segments, np.ptp(page, axis=0) / 100
    # The first segment of a subpath is its start point. In a rectangle, 4 segments for the sides follow, or 3 if the
    # last side is implicit.
    if len(path.subpath_starts) != 1 or len(segments) not in (4, 5) or not is_straight(segments).all():
        return False
    corners = segments[:, 3]
    minimum, maximum = corners.min(0), corners.max(0)
    at_maximum = np.abs(corners - maximum) < slack
    at_minimum = np.abs(corners - minimum) < slack
    upright = (at_maximum != at_minimum).all() and (at_maximum[1:] == at_maximum[:-1]).any(1).all()
    covered = (minimum <= page[0] + slack).all() and (maximum >= page[1] - slack).all()
    return bool(upright and covered and len(np.unique(at_maximum, axis=0)) == 4)


def are_closed(paths: Sequence[BezierPath]) -> np.ndarray:
    """Return for each path whether all its subpaths are closed, shape (len(paths),).

    A closed subpath ends where it starts, with a tolerance of 1% of its size, and encloses an area.
    """
    segments, starts = concatenate(paths)
    first_subpaths = np.cumsum([0, *(len(path.subpath_starts) for path in paths)])[:-1]
    ends = segments[:, 3]
    last = np.append(starts[1:], len(ends)) - 1
    size = np.maximum.reduceat(ends, starts) - np.minimum.reduceat(ends, starts)
    closed = np.abs(ends[last] - ends[starts]).max(1) <= size.max(1) / 100
    if closed.any():
        # If the scatter matrix of its control points is singular, a subpath lies on a line and encloses no area.
        offsets = segments - segments[starts, :1].repeat(last + 1 - starts, axis=0)
        scatter = np.add.reduceat(np.einsum("kci,kcj->kij", offsets, offsets), starts)
        determinant = scatter[:, 0, 0] * scatter[:, 1, 1] - scatter[:, 0, 1] ** 2
        closed &= determinant > 1e-9 * np.trace(scatter, axis1=1, axis2=2) ** 2
    return np.asarray(np.logical_and.reduceat(closed, first_subpaths))
