"""Layout of drawings in a grid of cells, used by all picture formats.

All cells have the same size and an area of `cell_size`². Cells are square if the median aspect ratio of the drawings is
between 1/3 and 3. Otherwise, for example for lines of handwriting, cells have the median aspect ratio of the drawings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError
from mdnrnn.render.geometry import Bounds, bounds, check_drawing
from mdnrnn.render.style import DEFAULT_OPTIONS, DrawingOptions, PictureOptions, stroke_colors

MAX_ASPECT = 16.0
"""Maximum ratio of the longer to the shorter side of a cell."""


@dataclass(frozen=True)
class Cell:
    """A drawing at its position on a sheet.

    Lengths are in page units: pixels (SVG) or points of 1/72 inch (other formats). The origin is the upper left corner
    of the sheet.
    """

    left: float
    top: float
    width: float
    height: float
    strokes: Drawing
    colors: list[str]
    """Color of each stroke."""
    line_widths: list[float]
    """Line width of each stroke."""
    label: str
    label_position: tuple[float, float]
    """Position of the center of the label's baseline."""
    point_times: tuple[np.ndarray, ...] = ()
    """For touch performances, the times of the points of each stroke in seconds, each (n,); otherwise empty."""


@dataclass(frozen=True)
class Sheet:
    """A page of drawings in a grid of cells. The encoder of each picture format receives a sheet.

    `cells` contains the first row of the grid from left to right, then the second row, and so on.
    """

    width: float
    height: float
    line_width: float
    """Line width of most strokes; `Cell.line_widths` contains the width of each stroke."""
    font_size: float
    cells: list[Cell]


class Grid(NamedTuple):
    """A grid of cells of the same size, numbered row by row, with a line of text below each cell."""

    columns: int
    rows: int
    cell_width: float
    cell_height: float
    font_size: float

    @property
    def row_height(self) -> float:
        """Height of a row: a cell and the label below it."""
        return self.cell_height + 1.6 * self.font_size

    @property
    def width(self) -> float:
        """Total width of all columns."""
        return self.columns * self.cell_width

    @property
    def height(self) -> float:
        """Total height of all rows."""
        return self.rows * self.row_height

    def corner(self, index: int) -> tuple[float, float]:
        """Return the upper left corner of cell `index`."""
        row, column = divmod(index, self.columns)
        return column * self.cell_width, row * self.row_height

    def label_position(self, index: int) -> tuple[float, float]:
        """Return the position of the center of the label's baseline for cell `index`."""
        left, top = self.corner(index)
        return left + self.cell_width / 2, top + self.cell_height + 0.9 * self.font_size


def lay_out(drawings: Sequence[Drawing], options: DrawingOptions = DEFAULT_OPTIONS) -> Sheet:
    """Arrange drawings in a grid. Each drawing is scaled uniformly to fit its cell, and centered in the cell.

    Raises:
        InputError: a drawing is invalid (see `check_drawing`), or the numbers of labels and drawings differ.
    """
    labels = clean_labels(options.labels, len(drawings))
    boxes = [bounds(drawing, index) for index, drawing in enumerate(drawings)]
    grid = make_grid(labels, _cell_aspect(boxes), options)
    width, height = grid.cell_width, grid.cell_height
    line_width = options.line_width * options.cell_size
    scales = _scales(boxes, width, height, options, line_width)
    cells = []
    for index, (drawing, box, scale) in enumerate(zip(drawings, boxes, scales, strict=True)):
        left, top = grid.corner(index)
        strokes = _transform(drawing, box, scale, left + width / 2, top + height / 2)
        colors = stroke_colors(options.color, len(strokes), options.groups[index] if options.groups else ())
        widths = [line_width] * len(strokes)
        cells.append(Cell(left, top, width, height, strokes, colors, widths, labels[index], grid.label_position(index)))
    return Sheet(grid.width, grid.height, line_width, grid.font_size, cells)


def make_grid(labels: Sequence[str], aspect: float, options: PictureOptions) -> Grid:
    """Return a grid with one cell per label.

    Args:
        labels: text below each cell.
        aspect: width of a cell divided by its height.
        options: picture options; columns and cell size are used.
    """
    size = options.cell_size
    columns = options.columns or math.ceil(math.sqrt(len(labels) / aspect))
    columns = max(min(columns, len(labels)), 1)
    rows = max(math.ceil(len(labels) / columns), 1)
    width, height = size * math.sqrt(aspect), size / math.sqrt(aspect)
    return Grid(columns, rows, width, height, _font_size(labels, width, size))


def clean_labels(labels: Sequence[str] | None, count: int) -> list[str]:
    """Return labels of one line each, in which unprintable characters are replaced by spaces.

    If `labels` is None, return `count` empty labels.

    Raises:
        InputError: the number of labels is not `count`.
    """
    if labels is None:
        return [""] * count
    if len(labels) != count:
        raise InputError(f"labels: received {len(labels)}, expected {count}: one per drawing")
    return ["".join(c if c.isprintable() else " " for c in label).strip() for label in labels]


def _cell_aspect(boxes: Sequence[Bounds]) -> float:
    """Return the width of a cell divided by its height.

    The result is 1 if the median aspect ratio of the boxes is between 1/3 and 3, else this median.
    """
    aspects = [
        min(max(box.width, box.height / MAX_ASPECT) / max(box.height, box.width / MAX_ASPECT), MAX_ASPECT)
        for box in boxes
        if box.width > 0 or box.height > 0
    ]
    typical = median(aspects) if aspects else 1.0
    return 1.0 if 1 / 3 <= typical <= 3 else typical


def _font_size(labels: Sequence[str], cell_width: float, cell_size: float) -> float:
    """Return a font size at which the longest label fits its cell; 0 if all labels are empty."""
    longest = max(map(len, labels), default=0)
    return min(0.085 * cell_size, 0.95 * cell_width / (0.6 * longest)) if longest else 0.0


def unit_scales(drawings: Sequence[Drawing], options: DrawingOptions) -> list[float]:
    """Return the scale of each drawing on a sheet with cell size 1, in page units per raw unit."""
    boxes = [bounds(drawing, index) for index, drawing in enumerate(drawings)]
    side = math.sqrt(_cell_aspect(boxes))
    return _scales(boxes, side, 1 / side, options, options.line_width)


def _scales(
    boxes: Sequence[Bounds], width: float, height: float, options: DrawingOptions, line_width: float
) -> list[float]:
    """Return the scale at which each drawing fits a cell of size `width` x `height`, in page units per raw unit.

    With `options.same_scale`, all drawings have the smallest of these scales. A drawing whose points are all equal fits
    at every scale: its scale is 1, or with `options.same_scale` the scale of the other drawings.
    """
    inset = options.margin * min(width, height) + line_width / 2
    width, height = width - 2 * inset, height - 2 * inset
    scales = [
        min(width / box.width if box.width else math.inf, height / box.height if box.height else math.inf)
        for box in boxes
    ]
    if options.same_scale:
        scales = [min(scales, default=math.inf)] * len(scales)
    return [scale if math.isfinite(scale) else 1.0 for scale in scales]


def _transform(drawing: Drawing, box: Bounds, scale: float, x: float, y: float) -> Drawing:
    """Return the strokes in page units, rounded to 0.01, with the center of their bounding box at (x, y)."""
    strokes = check_drawing(drawing)
    if not strokes:
        return []
    center = np.array([box.left + box.width / 2, box.top + box.height / 2])
    points = ((np.concatenate(strokes) - center) * scale + np.array([x, y])).round(2)
    return np.split(points, np.cumsum([len(stroke) for stroke in strokes])[:-1])
