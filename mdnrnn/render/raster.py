"""Convert sheets to matplotlib figures, and figures to PNG, PDF and SVG files.

This module does not use pyplot, because pyplot has global state.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError
from mdnrnn.render.fonts import complete_fonts
from mdnrnn.render.geometry import is_dot
from mdnrnn.render.layout import Sheet
from mdnrnn.render.style import INK

if TYPE_CHECKING:
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

POINTS_PER_INCH = 72
PIXELS_PER_POINT = 2.0
MAX_SIDE = 4000
"""Maximum width and height of a picture in pixels. Larger sheets are drawn at a lower resolution."""
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""Metadata that are omitted from the files of each format, so that equal figures give files with equal bytes."""


def to_figure(sheet: Sheet) -> Figure:
    """Return a figure of the sheet.

    A page unit is a point (1/72 inch) and is drawn two pixels wide. If a side of the figure would then exceed
    `MAX_SIDE` pixels, the resolution is reduced so that the longer side is `MAX_SIDE` pixels.
    """
    return draw_sheet(sheet)[0]


def draw_sheet(sheet: Sheet, max_side: float = MAX_SIDE) -> tuple[Figure, LineCollection]:
    """Return a figure of the sheet, and the line collection that contains all strokes.

    The axes fill the figure. They have the coordinates of the sheet: x from 0 to its width, y from 0 to its height.

    Args:
        sheet: the sheet.
        max_side: maximum width and height in pixels.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    pixels_per_point = min(PIXELS_PER_POINT, max_side / max(sheet.width, sheet.height))
    figure = Figure(
        figsize=(sheet.width / POINTS_PER_INCH, sheet.height / POINTS_PER_INCH),
        dpi=POINTS_PER_INCH * pixels_per_point,
        facecolor="white",
    )
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, sheet.width), ylim=(sheet.height, 0))
    axes.set_axis_off()
    lines = LineCollection(
        visible_lines([stroke for cell in sheet.cells for stroke in cell.strokes]),
        colors=[color for cell in sheet.cells for color in cell.colors],
        linewidths=[width for cell in sheet.cells for width in cell.line_widths],
        capstyle="round",
        joinstyle="round",
        snap=False,
    )
    axes.add_collection(lines, autolim=False)
    for cell in sheet.cells:
        if cell.label:
            x, y = cell.label_position
            axes.text(x, y, cell.label, fontsize=sheet.font_size, color=INK, ha="center", parse_math=False)
    return figure, lines


def visible_lines(strokes: Drawing) -> Drawing:
    """Return the strokes, with dots replaced by lines of length 0.001, because matplotlib does not draw dots."""
    extension = np.array([[0.0, 0.0], [1e-3, 0.0]])
    return [stroke[:1] + extension if is_dot(stroke) else stroke for stroke in strokes]


def figure_bytes(figure: Figure, extension: str) -> bytes:
    """Return the content of a PNG, PDF or SVG file of a matplotlib figure; equal figures give equal bytes.

    Args:
        figure: the figure.
        extension: .png, .pdf or .svg.

    Raises:
        InputError: the extension is not .png, .pdf or .svg.
    """
    import matplotlib

    kind = extension.removeprefix(".")
    if kind not in METADATA:
        raise InputError(f"figure: received extension {extension!r}, expected one of .png, .pdf, .svg")
    complete_fonts(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mdnrnn"}):
        figure.savefig(buffer, format=kind, dpi="figure", facecolor="white", metadata=METADATA[kind])
    return buffer.getvalue()
