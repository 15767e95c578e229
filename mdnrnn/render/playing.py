"""Performances that play themselves in real time, all of a page at once: each touch appears when it was made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mdnrnn.render.animation import FRAME, PAUSE, draw_over, gif_bytes
from mdnrnn.render.drawing import arc_lengths, is_dot
from mdnrnn.render.layout import Cell, Page
from mdnrnn.render.svg import svg_document

MOST_FRAMES = 300
"""Of a GIF: where a performance lasts longer, each frame stands longer."""


def to_played_svg(page: Page) -> str:
    """An SVG that plays in real time, pauses, starts again; without animation it is whole."""
    document, paths = svg_document(page)
    loop = _duration(page) + PAUSE
    for cell, cell_paths in zip(page.cells, paths, strict=True):
        for stroke, moments, path in zip(cell.strokes, cell.moments, cell_paths, strict=True):
            if moments[-1] > 0:
                draw_over(path, (moments / loop).tolist(), _shares(stroke), loop)
    return str(document.tostring())


def _shares(stroke: np.ndarray) -> list[float]:
    """How much of its length lies before each of its points; of a dot, nothing to tell."""
    lengths = arc_lengths(stroke)
    return [] if is_dot(stroke) else (lengths / lengths[-1]).tolist()


def to_played_gif(page: Page) -> bytes:
    """A GIF that plays in real time, pauses and starts again."""
    milliseconds = 1000 * _duration(page)
    frame = max(10 * math.ceil(milliseconds / MOST_FRAMES / 10), FRAME)  # a GIF counts hundredths of a second
    count = max(round(milliseconds / frame), 1)
    durations = [frame] * count + [round(1000 * PAUSE)]
    return gif_bytes(page, _played(page, np.arange(count + 1) / count), durations)


def _duration(page: Page) -> float:
    """Seconds until all is drawn."""
    return max(float(moments[-1]) for cell in page.cells for moments in cell.moments)


def _played(page: Page, fractions: np.ndarray) -> Iterator[Page]:
    """The page as it stands after each of these fractions of its time."""
    for fraction in fractions:
        yield replace(page, cells=[played_until(cell, fraction * _duration(page)) for cell in page.cells])


def played_until(cell: Cell, seconds: float) -> Cell:
    """The cell as it stands after so many seconds."""
    begun = [i for i, moments in enumerate(cell.moments) if moments[0] <= seconds]
    return replace(
        cell,
        strokes=[_beginning(cell.strokes[i], cell.moments[i], seconds) for i in begun],
        colors=[cell.colors[i] for i in begun],
        widths=[cell.widths[i] for i in begun],
    )


def _beginning(stroke: np.ndarray, moments: np.ndarray, seconds: float) -> np.ndarray:
    """The stroke up to where the touch was then."""
    if moments[-1] <= seconds:
        return stroke
    kept = int(np.searchsorted(moments, seconds, side="right"))
    tip = [np.interp(seconds, moments, stroke[:, axis]) for axis in (0, 1)]
    return np.vstack([stroke[:kept], tip])
