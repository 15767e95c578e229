"""Animations of drawings as SVG and GIF.

An animation draws all drawings of a sheet at the same time. A morph is a GIF that shows one drawing after the other.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from svgwrite.animate import Animate
from svgwrite.path import Path

from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError
from mdnrnn.render.fonts import complete_fonts
from mdnrnn.render.geometry import is_dot, partial_drawing, stroke_times
from mdnrnn.render.layout import Cell, Sheet, lay_out
from mdnrnn.render.raster import draw_sheet, visible_lines
from mdnrnn.render.style import DEFAULT_OPTIONS, DrawingOptions
from mdnrnn.render.svg import svg_document

if TYPE_CHECKING:
    from PIL.Image import Image

PAUSE = 1.5
"""Pause before an animation repeats, in seconds."""
FRAME = 50
"""Duration of a GIF frame in milliseconds. Frames of long touch performances are longer."""
MORPH_FRAME, MORPH_END = 120, 600
"""Milliseconds for which a morph shows a drawing: `MORPH_END` for the first and last drawing, else `MORPH_FRAME`."""
GIF_MAX_SIDE = 800
"""Maximum width and height of a GIF in pixels."""


def to_animated_svg(sheet: Sheet, seconds: float = DEFAULT_OPTIONS.seconds) -> str:
    """Return an animated SVG. In a loop, it draws the sheet in the given number of seconds and then pauses.

    Viewers that do not support animation show the complete drawings.
    """
    document, paths = svg_document(sheet)
    for cell, cell_paths in zip(sheet.cells, paths, strict=True):
        times = stroke_times(cell.strokes) * seconds / (seconds + PAUSE)
        for stroke, path, span in zip(cell.strokes, cell_paths, pairwise(times), strict=True):
            animate_path(path, span, () if is_dot(stroke) else (0.0, 1.0), seconds + PAUSE)
    return str(document.tostring())


def to_gif(sheet: Sheet, seconds: float = DEFAULT_OPTIONS.seconds) -> bytes:
    """Return an animated GIF. In a loop, it draws the sheet in the given number of seconds and then pauses."""
    count = max(round(1000 * seconds / FRAME), 1)
    durations = [FRAME] * (count - 1) + [FRAME + round(1000 * PAUSE)]
    return encode_gif(sheet, (_partial_sheet(sheet, number / count) for number in range(1, count + 1)), durations)


def to_morph_gif(drawings: Sequence[Drawing], options: DrawingOptions = DEFAULT_OPTIONS) -> bytes:
    """Return a GIF that shows one drawing after the other in the same place, forward and then backward.

    Args:
        options: picture options; columns and labels are ignored.

    Raises:
        InputError: there are no drawings, or a drawing is invalid (see `check_drawing`).
    """
    if not drawings:
        raise InputError("drawings: received none, expected one or more")
    sheet = lay_out(drawings, replace(options, columns=1, labels=None))
    cells = [_move_to_corner(cell) for cell in sheet.cells]
    sheets = [replace(sheet, height=cell.height, cells=[cell]) for cell in cells]
    durations = [MORPH_FRAME] * (len(cells) - 2)
    durations = [MORPH_END, *durations, MORPH_END, *durations] if len(cells) > 1 else [MORPH_END]
    return encode_gif(replace(sheets[0], cells=cells), sheets + sheets[-2:0:-1], durations)


def animate_path(path: Path, times: Sequence[float], lengths: Sequence[float], seconds: float) -> None:
    """Animate an SVG path: in a loop, draw it from its start to its end.

    The animation lengthens a dash that starts at the start of the path. Before times[0] the path is hidden, because a
    dash of length 0 would be visible as a round cap. Only the animation sets the dash pattern. Viewers that do not
    support animation therefore show the complete path.

    Args:
        times: increasing times, as fractions of the loop's duration.
        lengths: for each time, the fraction of the path's length that is drawn. Empty for a dot, which appears at
            times[0].
        seconds: duration of the loop.
    """
    timing = {"dur": f"{seconds:g}s", "repeatCount": "indefinite", "debug": False}
    if times[0] > 0:
        key_times = f"0;{times[0]:.5f}"
        path.add(Animate("visibility", "hidden;visible", calcMode="discrete", keyTimes=key_times, **timing))
    if len(lengths):
        path["pathLength"] = 1
        key_times = ";".join(["0", *(f"{time:.5f}" for time in times), "1"])
        dashes = ";".join(["0 1", *(f"{length:.4g} 1" for length in lengths), "1 1"])
        path.add(Animate("stroke-dasharray", dashes, keyTimes=key_times, **timing))


def encode_gif(complete: Sheet, sheets: Iterable[Sheet], durations: list[int]) -> bytes:
    """Return a GIF that repeats a sequence of frames.

    Args:
        complete: a sheet that contains all colors and labels of the frames.
        sheets: the frames, all of the same size.
        durations: duration of each frame in milliseconds.
    """
    from PIL.Image import Dither

    frames = _draw_frames(complete, sheets)
    palette = _palette(next(frames))
    first, *others = [frame.quantize(palette=palette, dither=Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()


def _draw_frames(complete: Sheet, sheets: Iterable[Sheet]) -> Iterator[Image]:
    """Yield an image of `complete` and then of each sheet; every image shows the labels of `complete`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, lines = draw_sheet(complete, GIF_MAX_SIDE)
    complete_fonts(figure)
    canvas: Any = FigureCanvasAgg(figure)
    for sheet in chain([complete], sheets):
        lines.set_segments(visible_lines([stroke for cell in sheet.cells for stroke in cell.strokes]))
        lines.set_colors([color for cell in sheet.cells for color in cell.colors])
        lines.set_linewidth([width for cell in sheet.cells for width in cell.line_widths])
        canvas.draw()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _palette(image: Image) -> Image:
    """Return a palette image with the colors of `image`, in which almost white colors are replaced by white.

    When Pillow maps a pixel to the palette, it rounds each channel of the pixel down to a multiple of 4. It does not
    round the palette colors. A white pixel (255) is therefore compared as 252, and would be mapped to an almost white
    color.
    """
    indexed = image.quantize(128)
    colors = np.array(indexed.getpalette()).reshape(-1, 3)
    colors[colors.min(axis=1) >= 246] = 255
    indexed.putpalette(colors.ravel().tolist())
    return indexed


def _partial_sheet(sheet: Sheet, fraction: float) -> Sheet:
    """Return the sheet with only the part of each drawing that is drawn in the first `fraction` of its drawing time."""
    cells = []
    for cell in sheet.cells:
        strokes = partial_drawing(cell.strokes, fraction)
        count = len(strokes)
        cells.append(replace(cell, strokes=strokes, colors=cell.colors[:count], line_widths=cell.line_widths[:count]))
    return replace(sheet, cells=cells)


def _move_to_corner(cell: Cell) -> Cell:
    """Return a copy of the cell, moved to the upper left corner of the sheet."""
    corner = np.array([cell.left, cell.top])
    return replace(cell, left=0.0, top=0.0, strokes=[stroke - corner for stroke in cell.strokes])
