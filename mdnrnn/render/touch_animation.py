"""Animations of touch performances in real time, as SVG and GIF."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mdnrnn.data.strokes import Polyline
from mdnrnn.render.animation import FRAME, PAUSE, animate_path, encode_gif
from mdnrnn.render.geometry import arc_lengths, is_dot, truncate
from mdnrnn.render.layout import Cell, Sheet
from mdnrnn.render.svg import svg_document

MAX_FRAMES = 300
"""Maximum number of frames of a GIF, excluding the last frame. In long performances, each frame is shown for longer."""


def to_performance_svg(sheet: Sheet) -> str:
    """Return an SVG that plays the performances of a sheet in real time, in a loop with a pause.

    Viewers that do not support animation show the complete performances.
    """
    document, paths = svg_document(sheet)
    loop = _duration(sheet) + PAUSE
    for cell, cell_paths in zip(sheet.cells, paths, strict=True):
        for stroke, times, path in zip(cell.strokes, cell.point_times, cell_paths, strict=True):
            if times[-1] > 0:
                animate_path(path, (times / loop).tolist(), _relative_lengths(stroke), loop)
    return str(document.tostring())


def to_performance_gif(sheet: Sheet) -> bytes:
    """Return a GIF that plays the performances of a sheet in real time, in a loop with a pause."""
    milliseconds = 1000 * _duration(sheet)
    frame = max(10 * math.ceil(milliseconds / MAX_FRAMES / 10), FRAME)  # GIF durations are multiples of 10 ms
    count = max(round(milliseconds / frame), 1)
    durations = [frame] * count + [round(1000 * PAUSE)]
    return encode_gif(sheet, _frames(sheet, np.arange(count + 1) / count), durations)


def _relative_lengths(stroke: Polyline) -> list[float]:
    """Return the arc length up to each point, as a fraction of the length of the stroke. Return [] for a dot."""
    lengths = arc_lengths(stroke)
    return [] if is_dot(stroke) else (lengths / lengths[-1]).tolist()


def _duration(sheet: Sheet) -> float:
    """Return the duration of the longest performance of the sheet, in seconds."""
    return max(float(times[-1]) for cell in sheet.cells for times in cell.point_times)


def _frames(sheet: Sheet, fractions: np.ndarray) -> Iterator[Sheet]:
    """Yield the sheet at each of the given fractions of the duration of the animation."""
    duration = _duration(sheet)
    for fraction in fractions:
        yield replace(sheet, cells=[cell_at_time(cell, fraction * duration) for cell in sheet.cells])


def cell_at_time(cell: Cell, seconds: float) -> Cell:
    """Return the cell with only the strokes, or parts of strokes, that are drawn in the first `seconds` seconds."""
    visible = [i for i, times in enumerate(cell.point_times) if times[0] <= seconds]
    return replace(
        cell,
        strokes=[_truncate_by_time(cell.strokes[i], cell.point_times[i], seconds) for i in visible],
        colors=[cell.colors[i] for i in visible],
        line_widths=[cell.line_widths[i] for i in visible],
    )


def _truncate_by_time(stroke: Polyline, times: np.ndarray, seconds: float) -> Polyline:
    return stroke if times[-1] <= seconds else truncate(stroke, times, seconds)
