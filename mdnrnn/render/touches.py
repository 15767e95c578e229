"""Where performances stand on a page: each on a screen of its own, in colors that tell the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.layout import CELL, Cell, Grid, Page, make_grid, one_line_each
from mdnrnn.render.performance import Performance
from mdnrnn.render.style import along_plasma

LEVELS = 24
"""Times are told apart in so many colors, the same for all performances of a picture."""
COLORS = tuple(along_plasma(level / (LEVELS - 1)) for level in range(LEVELS))
PALE = "#d3d9e3"
"""The color of the edges of the screen."""
MARGIN = 0.06
"""Around a screen, as a fraction of its cell."""
LINE, TAP, EDGE = 0.011, 0.044, 0.006
"""How thick a line, a touch-down and the edge of the screen are, as fractions of a cell."""
FONT, BAR = 0.07, 0.025
"""How high the letters of the time key are, where there are no labels, and its bar, as fractions of a cell."""


class Part(NamedTuple):
    """A line of one color, or a dot: points (n, 2), the seconds (n,) at which the touch was there, how thick."""

    points: np.ndarray
    moments: np.ndarray
    color: str
    width: float


def lay_out_performances(
    performances: Sequence[Performance],
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    size: float = CELL,
) -> Page:
    """Each performance on its whole screen, at its place and in its size, its label below; then the key of the time.

    Touches beyond the screen stand in the margin around it, at the edge of the cell if they are farther out.
    """
    if not len(performances):
        raise InputError("performances: received none, expected one or more to draw")
    for index, performance in enumerate(performances):
        performance.check(index)
    longest = max(performance.duration for performance in performances)
    texts = one_line_each(labels, len(performances))
    grid = make_grid(texts, 1.0, columns, size)
    cells = [
        _cell(screen_parts(performance, longest), grid, index, texts[index])
        for index, performance in enumerate(performances)
    ]
    width, height = grid.columns * grid.width, grid.rows * grid.pitch
    font_size = grid.font_size or FONT * size
    if longest > 0:
        cells += _key(longest, width, height, font_size, size)
        height += 1.9 * font_size
    return Page(width, height, LINE * size, font_size, cells)


def screen_parts(performance: Performance, longest: float) -> list[Part]:
    """The edge of the screen, the lines, and above them a dot wherever a touch came down."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    edge = Part(corners, np.zeros(len(corners)), PALE, EDGE)
    return [edge, *_lines(performance, longest), *_taps(performance, longest)]


def levels(seconds: np.ndarray, longest: float) -> np.ndarray:
    """Which of the colors tells each time, shape (n,): the first at 0, the last up to `longest`."""
    share = np.asarray(seconds) / (longest or 1.0)
    return np.clip((LEVELS * share).astype(int), 0, LEVELS - 1)


def _lines(performance: Performance, longest: float) -> list[Part]:
    """The pieces between touches and those moved on from them, in the color of their middle; neighbors of one color
    are one line."""
    seconds, moved = performance.seconds, ~performance.down[1:]
    level = levels((seconds[1:] + seconds[:-1]) / 2, longest)
    changes = np.flatnonzero((level[1:] != level[:-1]) | (moved[1:] != moved[:-1])) + 1
    runs = [run for run in np.split(np.arange(len(moved)), changes) if len(run) and moved[run[0]]]
    rows = [slice(run[0], run[-1] + 2) for run in runs]
    return [
        Part(performance.places[span], seconds[span], COLORS[level[run[0]]], LINE)
        for run, span in zip(runs, rows, strict=True)
    ]


def _taps(performance: Performance, longest: float) -> list[Part]:
    taps = np.flatnonzero(performance.down)
    level = levels(performance.seconds, longest)
    return [Part(performance.places[t : t + 1], performance.seconds[t : t + 1], COLORS[level[t]], TAP) for t in taps]


def _cell(parts: Sequence[Part], grid: Grid, index: int, label: str) -> Cell:
    """The parts of a performance in their cell of the grid."""
    left, top = grid.corner(index)
    side = grid.width
    spill = MARGIN - TAP / 2  # a dot there ends where the cell does
    reach = spill / (1 - 2 * MARGIN)
    strokes = [
        np.round(side * (MARGIN + (1 - 2 * MARGIN) * np.clip(part.points, -reach, 1 + reach)) + [left, top], 2)
        for part in parts
    ]
    widths = [part.width * side for part in parts]
    moments = tuple(part.moments for part in parts)
    colors = [part.color for part in parts]
    return Cell(left, top, side, grid.height, strokes, colors, widths, label, grid.label_place(index), moments)


def _key(longest: float, page_width: float, top: float, font_size: float, size: float) -> list[Cell]:
    """A bar of all colors between its two times, in a row of its own below `top`: it fills as time goes on."""
    texts = "0 s", f"{longest:.{1 if longest >= 1 else 3}f} s"
    before, after = (font_size * (0.6 * len(text) + 0.7) for text in texts)  # room for them, and a gap
    length = max(min(2 * size, (1 - 2 * MARGIN) * page_width) - before - after, font_size)
    left = (page_width - length + before - after) / 2
    bar = _bar(longest, left, length, top + 0.75 * font_size, BAR * size)
    base = top + 1.1 * font_size
    places = (left - before / 2, base), (left + length + after / 2, base)
    words = [Cell(*place, 0.0, 0.0, [], [], [], text, place) for text, place in zip(texts, places, strict=True)]
    return [bar, *words]


def _bar(longest: float, left: float, length: float, middle: float, thickness: float) -> Cell:
    """A piece of each color in its time, over a pale bar that stands all the time."""
    steps = np.linspace(0, 1, LEVELS + 1)
    heights = np.full(LEVELS + 1, round(middle))  # on whole pixels edges are sharp
    points = np.column_stack([left + length * steps, heights]).round(2)
    strokes = [points[[0, -1]], *(points[i : i + 2] for i in range(LEVELS))]
    moments = (np.zeros(2), *(longest * steps[i : i + 2] for i in range(LEVELS)))
    widths = [thickness] * len(strokes)
    place = left, middle - thickness / 2
    return Cell(*place, length, thickness, strokes, [PALE, *COLORS], widths, "", place, moments)
