"""Drawings that draw themselves, stroke by stroke in pen order, all of a grid at the same time; or one by one."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from svgwrite.animate import Animate
from svgwrite.path import Path

from mdnrnn.errors import InputError
from mdnrnn.render.drawing import Drawing, is_dot, pace, partial
from mdnrnn.render.layout import CELL, Cell, Page, lay_out
from mdnrnn.render.raster import page_figure, visible_lines
from mdnrnn.render.style import PLAIN, Style
from mdnrnn.render.svg import svg_document

if TYPE_CHECKING:
    from PIL.Image import Image

PAUSE = 1.5
"""Seconds for which the finished drawing stands before it starts again."""
FRAME = 50
"""Milliseconds for which a frame of a GIF stands."""
MORPH_FRAME, MORPH_END = 120, 600
"""Milliseconds for which a drawing stands that others come before and after, and the first and the last."""
LARGEST_SIDE = 800
"""Of a GIF, in pixels."""


def to_animated_svg(
    drawings: Sequence[Drawing],
    style: Style = PLAIN,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    size: float = CELL,
    seconds: float = 4.0,
) -> str:
    """An SVG that draws itself within `seconds`, pauses, starts again; without animation it is whole."""
    _check(seconds)
    page = lay_out(drawings, style, columns, labels, size)
    document, paths = svg_document(page)
    for cell, cell_paths in zip(page.cells, paths, strict=True):
        moments = pace(cell.strokes) * seconds / (seconds + PAUSE)
        for stroke, path, span in zip(cell.strokes, cell_paths, pairwise(moments), strict=True):
            draw_over(path, span, () if is_dot(stroke) else (0.0, 1.0), seconds + PAUSE)
    return str(document.tostring())


def to_gif(
    drawings: Sequence[Drawing],
    style: Style = PLAIN,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    size: float = CELL,
    seconds: float = 4.0,
) -> bytes:
    """A GIF that draws itself within `seconds`, pauses and starts again."""
    _check(seconds)
    page = lay_out(drawings, style, columns, labels, size)
    count = max(round(1000 * seconds / FRAME), 1)
    durations = [FRAME] * (count - 1) + [FRAME + round(1000 * PAUSE)]
    return gif_bytes(page, (_begun(page, number / count) for number in range(1, count + 1)), durations)


def to_morph(drawings: Sequence[Drawing], style: Style = PLAIN, size: float = CELL) -> bytes:
    """A GIF of one drawing after the other in one place, forth and back again."""
    if not drawings:
        raise InputError("drawings: received none, expected one or more")
    page = lay_out(drawings, style, 1, None, size)
    cells = [_moved(cell) for cell in page.cells]
    there = [replace(page, height=cell.height, cells=[cell]) for cell in cells]
    durations = [MORPH_FRAME] * (len(cells) - 2)
    durations = [MORPH_END, *durations, MORPH_END, *durations] if len(cells) > 1 else [MORPH_END]
    return gif_bytes(replace(there[0], cells=cells), there + there[-2:0:-1], durations)


def _check(seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds: received {seconds}, expected a positive number")


def draw_over(path: Path, moments: Sequence[float], shares: Sequence[float], seconds: float) -> None:
    """Hide the stroke until the first of the moments, which are fractions of a loop of `seconds`, then draw it: at
    each moment this share of its length stands. Where there are no shares it is a dot, and appears as a whole.

    Only the animation makes dashes, so a viewer without it shows the whole stroke. The hiding is needed
    beside them: a dash of no length has round ends too.
    """
    timing = {"dur": f"{seconds:g}s", "repeatCount": "indefinite", "debug": False}
    if moments[0] > 0:
        hidden = f"0;{moments[0]:.5f}"
        path.add(Animate("visibility", "hidden;visible", calcMode="discrete", keyTimes=hidden, **timing))
    if len(shares):
        path["pathLength"] = 1
        times = ";".join(["0", *(f"{moment:.5f}" for moment in moments), "1"])
        dashes = ";".join(["0 1", *(f"{share:.4g} 1" for share in shares), "1 1"])
        path.add(Animate("stroke-dasharray", dashes, keyTimes=times, **timing))


def _palette(finished: Image) -> Image:
    """The colors of the finished picture, for all frames to share; what is almost white is white.

    Pillow looks colors up in cells of 4 levels, by the lowest of each, 252: a near white would be nearer to it than
    255, the white of the paper, is.
    """
    indexed = finished.quantize(128)
    colors = np.array(indexed.getpalette()).reshape(-1, 3)
    colors[colors.min(axis=1) >= 246] = 255
    indexed.putpalette(colors.ravel().tolist())
    return indexed


def _begun(page: Page, fraction: float) -> Page:
    """The page with this fraction of each drawing drawn."""
    drawn = [partial(cell.strokes, fraction) for cell in page.cells]
    cells = [
        replace(cell, strokes=strokes, colors=cell.colors[: len(strokes)], widths=cell.widths[: len(strokes)])
        for cell, strokes in zip(page.cells, drawn, strict=True)
    ]
    return replace(page, cells=cells)


def _moved(cell: Cell) -> Cell:
    """The cell in the upper left corner of the page."""
    corner = np.array([cell.left, cell.top])
    return replace(cell, left=0.0, top=0.0, strokes=[stroke - corner for stroke in cell.strokes])


def gif_bytes(whole: Page, pages: Iterable[Page], durations: list[int]) -> bytes:
    """Pages of one size, which together have the colors of the `whole` one, each for so many milliseconds."""
    from PIL.Image import Dither

    frames = _frames(whole, pages)
    palette = _palette(next(frames))
    first, *others = [frame.quantize(palette=palette, dither=Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()


def _frames(whole: Page, pages: Iterable[Page]) -> Iterator[Image]:
    """Pictures of the whole page, then of the others, with its labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, lines = page_figure(whole, LARGEST_SIDE)
    canvas: Any = FigureCanvasAgg(figure)
    for page in chain([whole], pages):
        lines.set_segments(visible_lines([stroke for cell in page.cells for stroke in cell.strokes]))
        lines.set_colors([color for cell in page.cells for color in cell.colors])
        lines.set_linewidth([width for cell in page.cells for width in cell.widths])
        canvas.draw()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
