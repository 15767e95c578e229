"""Where drawings stand on a page: one grid of cells, shared by every format so that the pictures agree.

A cell has the area `size` x `size`. It is a square, unless the typical drawing is more than three times as
wide as high (lines of handwriting) or the reverse: then the cell takes its shape, and columns follow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.drawing import Bounds, Drawing, bounds, checked
from mdnrnn.render.style import Style, stroke_colors

CELL = 160.0
"""The default side of a cell, in page units: SVG pixels, points of a PDF."""


@dataclass(frozen=True)
class Cell:
    """A drawing in its place: all lengths are in page units, from the upper left corner of the page."""

    left: float
    top: float
    width: float
    height: float
    strokes: Drawing
    colors: list[str]
    widths: list[float]
    label: str
    label_place: tuple[float, float]
    """the middle of the line that the label stands on"""
    moments: tuple[np.ndarray, ...] = ()
    """where the pen's times are known: for each stroke the seconds (n,) at which it came to the points"""


@dataclass(frozen=True)
class Page:
    """Drawings in a grid, row by row, and what they have in common."""

    width: float
    height: float
    line_width: float
    """of most strokes: a cell tells each stroke's own"""
    font_size: float
    cells: list[Cell]


class Grid(NamedTuple):
    """Cells of one width and height, row by row, with room for a line of text below each."""

    columns: int
    rows: int
    width: float
    height: float
    font_size: float

    @property
    def pitch(self) -> float:
        """From the top of one row to that of the next."""
        return self.height + 1.6 * self.font_size

    def corner(self, index: int) -> tuple[float, float]:
        """Left and top of a cell."""
        row, column = divmod(index, self.columns)
        return column * self.width, row * self.pitch

    def label_place(self, index: int) -> tuple[float, float]:
        """The middle of the line that the label of a cell stands on."""
        left, top = self.corner(index)
        return left + self.width / 2, top + self.height + 0.9 * self.font_size


def lay_out(
    drawings: Sequence[Drawing],
    style: Style,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    size: float = CELL,
) -> Page:
    """Each drawing centered in a cell of the grid, scaled uniformly to fit it, its label below."""
    texts = one_line_each(labels, len(drawings))
    boxes = [bounds(drawing, index) for index, drawing in enumerate(drawings)]
    grid = make_grid(texts, _cell_aspect(boxes), columns, size)
    width, height = grid.width, grid.height
    line_width = style.width * size
    scales = _scales(boxes, width, height, style, line_width)
    cells = []
    for index, (drawing, box, scale) in enumerate(zip(drawings, boxes, scales, strict=True)):
        left, top = grid.corner(index)
        strokes = _placed(drawing, box, scale, left + width / 2, top + height / 2)
        colors = stroke_colors(style.color, len(strokes), style.groups[index] if style.groups else ())
        widths = [line_width] * len(strokes)
        cells.append(Cell(left, top, width, height, strokes, colors, widths, texts[index], grid.label_place(index)))
    return Page(grid.columns * width, grid.rows * grid.pitch, line_width, grid.font_size, cells)


def make_grid(texts: Sequence[str], aspect: float, columns: int | None, size: float) -> Grid:
    """A cell for each text, of the area `size` x `size`, its width over its height being `aspect`."""
    columns = _columns(columns, len(texts), aspect)
    if not 0 < size < math.inf:
        raise InputError(f"size: received {size}, expected a positive number")
    width, height = size * math.sqrt(aspect), size / math.sqrt(aspect)
    rows = max(math.ceil(len(texts) / columns), 1)
    return Grid(columns, rows, width, height, _font_size(texts, width, size))


def one_line_each(labels: Sequence[str] | None, drawings: int) -> list[str]:
    if labels is None:
        return [""] * drawings
    if len(labels) != drawings:
        raise InputError(f"labels: received {len(labels)}, expected one for each of the {drawings} drawings")
    return ["".join(c if c.isprintable() else " " for c in label).strip() for label in labels]


def _cell_aspect(boxes: Sequence[Bounds]) -> float:
    """Width over height of a cell: 1, or that of the median drawing where it is far from a square."""
    aspects = [
        min(max(box.width, box.height / 16) / max(box.height, box.width / 16), 16.0)
        for box in boxes
        if box.width > 0 or box.height > 0
    ]
    typical = median(aspects) if aspects else 1.0
    return 1.0 if 1 / 3 <= typical <= 3 else typical


def _columns(columns: int | None, drawings: int, aspect: float) -> int:
    """As many as asked for, or as make the page about as wide as high; never more than there are drawings."""
    if columns is not None and columns < 1:
        raise InputError(f"columns: received {columns}, expected at least 1")
    wanted = columns or math.ceil(math.sqrt(drawings / aspect))
    return max(min(wanted, drawings), 1)


def _font_size(texts: Sequence[str], width: float, size: float) -> float:
    """One size for all labels, so that the longest fits its cell; 0 where there is none."""
    longest = max(map(len, texts), default=0)
    return min(0.085 * size, 0.95 * width / (0.6 * longest)) if longest else 0.0


def unit_scales(drawings: Sequence[Drawing], style: Style) -> list[float]:
    """Page units per raw unit of each drawing, in cells of `size` 1."""
    boxes = [bounds(drawing, index) for index, drawing in enumerate(drawings)]
    side = math.sqrt(_cell_aspect(boxes))
    return _scales(boxes, side, 1 / side, style, style.width)


def _scales(boxes: Sequence[Bounds], width: float, height: float, style: Style, line_width: float) -> list[float]:
    """Page units per raw unit of each drawing, in cells of width and height; one without extent takes 1."""
    inset = style.margin * min(width, height) + line_width / 2
    width, height = width - 2 * inset, height - 2 * inset
    fits = [
        min(width / box.width if box.width else math.inf, height / box.height if box.height else math.inf)
        for box in boxes
    ]
    smallest = min(fits, default=math.inf)
    return [fit if math.isfinite(fit) else 1.0 for fit in ([smallest] * len(fits) if style.same_scale else fits)]


def _placed(drawing: Drawing, box: Bounds, scale: float, x: float, y: float) -> Drawing:
    """The strokes in page units, rounded to a hundredth, the middle of their box at (x, y)."""
    strokes = checked(drawing)
    if not strokes:
        return []
    middle = np.array([box.left + box.width / 2, box.top + box.height / 2])
    points = ((np.concatenate(strokes) - middle) * scale + np.array([x, y])).round(2)
    return np.split(points, np.cumsum([len(stroke) for stroke in strokes])[:-1])
