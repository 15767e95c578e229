"""Drawings as PNG and PDF through matplotlib's objects: no pyplot, no state shared with the caller."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.drawing import Drawing, is_dot
from mdnrnn.render.layout import CELL, Page, lay_out
from mdnrnn.render.style import INK, PLAIN, Style

if TYPE_CHECKING:
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

POINTS_PER_INCH = 72
PIXELS_PER_POINT = 2.0
LARGEST_SIDE = 4000
"""In pixels: a page that would be larger is drawn at a lower resolution."""
UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""What to leave out of each kind of file, so that the same figure makes the same bytes."""


def to_figure(
    drawings: Sequence[Drawing],
    style: Style = PLAIN,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    size: float = CELL,
) -> Figure:
    """One drawing or a grid of them; `size` is the side of a cell in points, each drawn as two pixels."""
    figure, _ = page_figure(lay_out(drawings, style, columns, labels, size))
    return figure


def page_figure(page: Page, largest_side: float = LARGEST_SIDE) -> tuple[Figure, LineCollection]:
    """A figure whose only axes are the page, a page unit being a point; and all its strokes in pen order."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    pixels_per_point = min(PIXELS_PER_POINT, largest_side / max(page.width, page.height))
    figure = Figure(
        figsize=(page.width / POINTS_PER_INCH, page.height / POINTS_PER_INCH),
        dpi=POINTS_PER_INCH * pixels_per_point,
        facecolor="white",
    )
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, page.width), ylim=(page.height, 0))
    axes.set_axis_off()
    strokes = [stroke for cell in page.cells for stroke in cell.strokes]
    colors = [color for cell in page.cells for color in cell.colors]
    widths = [width for cell in page.cells for width in cell.widths]
    lines = LineCollection(
        visible_lines(strokes),
        colors=colors,
        linewidths=widths,
        capstyle="round",
        joinstyle="round",
        snap=False,
    )
    axes.add_collection(lines, autolim=False)
    for cell in page.cells:
        if cell.label:
            x, y = cell.label_place
            axes.text(x, y, cell.label, fontsize=page.font_size, color=INK, ha="center", parse_math=False)
    return figure, lines


def visible_lines(strokes: Drawing) -> Drawing:
    """The strokes with each dot drawn out by a hair, since matplotlib draws no line of no length."""
    hair = np.array([[0.0, 0.0], [1e-3, 0.0]])
    return [stroke[:1] + hair if is_dot(stroke) else stroke for stroke in strokes]


def figure_bytes(figure: Figure, ending: str) -> bytes:
    """A matplotlib figure as a file, .png, .pdf or .svg: the same bytes for the same figure."""
    import matplotlib

    kind = ending.removeprefix(".")
    if kind not in UNDATED:
        raise InputError(f"a figure: received ending {ending!r}, expected one of .png, .pdf, .svg")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mdnrnn"}), warnings.catch_warnings():
        # Labels in scripts that no font here has come out as boxes; in SVG the reader's own fonts draw them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind, dpi="figure", facecolor="white", metadata=UNDATED[kind])
    return buffer.getvalue()
