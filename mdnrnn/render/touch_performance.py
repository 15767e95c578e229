"""Touch performances: data, conversion to JSON, and layout on a sheet, where colors show the time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.layout import Cell, Grid, Sheet, clean_labels, make_grid
from mdnrnn.render.style import DEFAULT_OPTIONS, PictureOptions, plasma_color

LEVELS = 24
"""Number of colors that show time. A color represents the same time interval in all performances of a sheet."""
COLORS = tuple(plasma_color(level / (LEVELS - 1)) for level in range(LEVELS))
EDGE_COLOR = "#d3d9e3"
"""Color of the outline of the touch screen."""
MARGIN = 0.06
"""Margin between the outline of the touch screen and its cell, as a fraction of the side of the cell."""
LINE, TAP, EDGE = 0.011, 0.044, 0.006
"""Line widths of finger movements (LINE), of dots at touch-downs (TAP), and of the outline of the touch screen (EDGE).

The widths are fractions of the side of a cell.
"""
FONT, BAR = 0.07, 0.025
"""Font size of the time scale of a sheet without labels (FONT), and height of the color bar of the time scale (BAR).

Both are fractions of the side of a cell.
"""


@dataclass(frozen=True)
class Performance:
    """A touch performance: a sequence of T >= 1 touches on a screen."""

    seconds: np.ndarray
    """(T,), time of each touch in seconds since the first touch; nondecreasing."""
    positions: np.ndarray
    """(T, 2), positions (x, y) from 0 to 1 on the screen; x points right and y points down."""
    down: np.ndarray
    """(T,), bool: True at a touch-down, such as the first touch; False if the finger moves on the screen."""

    @classmethod
    def from_steps(cls, motion: np.ndarray, lifted: np.ndarray) -> Performance:
        """Convert time steps to a performance.

        Args:
            motion: (T, 3), offsets (dx, dy, dt) from the preceding touch. The first row contains the position of the
                first touch as (dx, dy).
            lifted: (T,), whether the finger is lifted after each touch.
        """
        x, y, time = np.cumsum(np.asarray(motion, np.float64), axis=0).T
        down = np.concatenate([[True], np.asarray(lifted, bool)[:-1]])
        return cls(time - time[:1], np.column_stack([x, y]), down[: len(time)])

    @property
    def duration(self) -> float:
        """Time from the first touch to the last touch, in seconds."""
        return float(self.seconds[-1])

    def check(self, index: int = 0) -> None:
        """Raise `InputError` if the performance is invalid.

        Shapes must match, numbers must be finite, and times must start at 0 and not decrease. The first touch must be a
        touch-down.

        Args:
            index: index of the performance, for the error message.
        """
        shapes = self.seconds.shape, self.positions.shape, self.down.shape
        count = len(self.seconds) if self.seconds.ndim else 0
        if count < 1 or shapes != ((count,), (count, 2), (count,)):
            raise InputError(f"performance {index}: received arrays {shapes}, expected ((T,), (T, 2), (T,)), T >= 1")
        if not (np.isfinite(self.seconds).all() and np.isfinite(self.positions).all()):
            raise InputError(f"performance {index}: received a number that is not finite, expected finite numbers")
        if self.seconds[0] != 0 or (np.diff(self.seconds) < 0).any() or not self.down[0]:
            raise InputError(
                f"performance {index}: received times that decrease, or a first row that is not a touch at time 0; "
                "expected seconds since the first touch, in ascending order"
            )


def to_json(performances: Sequence[Performance], name: str, labels: Sequence[str] | None = None) -> str:
    """Return performances as JSON text, with one touch per line.

    The structure is {"name": .., "performances": [{"label": .., "seconds": .., "touches": [{"time": .., "x": ..,
    "y": .., "moving": 0}, ..]}, ..]}. `moving` is 0 at a touch-down and 1 if the finger moves. Numbers are rounded to 6
    decimals. An empty or missing label is null.

    Args:
        performances: the performances.
        name: value of "name".
        labels: value of "label" for each performance.

    Raises:
        InputError: a performance is invalid, or the numbers of labels and performances differ.
    """
    count = len(performances)
    texts: Sequence[str | None] = [None] * count if labels is None else labels
    if len(texts) != count:
        raise InputError(f"labels: received {len(texts)}, expected {count}: one per performance")
    entries = []
    for index, (performance, text) in enumerate(zip(performances, texts, strict=True)):
        performance.check(index)
        head = f'{{"label": {json.dumps(text or None)}, "seconds": {round(performance.duration, 6)}, "touches": ['
        entries.append("\n".join([head, ",\n".join(_touches(performance)), "]}"]))
    return f'{{"name": {json.dumps(name)}, "performances": [\n' + ",\n".join(entries) + "\n]}\n"


def _touches(performance: Performance) -> list[str]:
    """Return one JSON object per touch, as text."""
    rows = np.column_stack([performance.seconds, performance.positions]).round(6) + 0.0  # + 0.0 converts -0.0 to 0.0
    return [
        json.dumps({"time": time, "x": x, "y": y, "moving": int(not down)})
        for (time, x, y), down in zip(rows.tolist(), performance.down, strict=True)
    ]


class Part(NamedTuple):
    """A line of one color, or a dot. The screen extends from position (0, 0), upper left, to (1, 1), lower right."""

    points: np.ndarray
    """(n, 2), positions."""
    times: np.ndarray
    """(n,), time of each point in seconds."""
    color: str
    line_width: float
    """Line width, as a fraction of the side of a cell."""


def lay_out_performances(performances: Sequence[Performance], options: PictureOptions = DEFAULT_OPTIONS) -> Sheet:
    """Arrange performances in a grid, and add a time scale below the grid.

    Each cell shows the outline of the touch screen and the touches. Touches outside the screen are drawn in the margin
    between the outline and the edge of the cell. Touches outside the cell are drawn at the edge of the cell.

    Args:
        performances: the performances.
        options: picture options; only columns, labels and cell size are used.

    Raises:
        InputError: there are no performances, a performance is invalid, or the number of labels is wrong.
    """
    if not len(performances):
        raise InputError("performances: received none, expected one or more to draw")
    for index, performance in enumerate(performances):
        performance.check(index)
    longest = max(performance.duration for performance in performances)
    labels = clean_labels(options.labels, len(performances))
    grid = make_grid(labels, 1.0, options)
    cells = [
        _cell(screen_parts(performance, longest), grid, index, labels[index])
        for index, performance in enumerate(performances)
    ]
    height = grid.height
    font_size = grid.font_size or FONT * options.cell_size
    if longest > 0:
        cells += _time_scale(longest, grid.width, height, font_size, options.cell_size)
        height += 1.9 * font_size
    return Sheet(grid.width, height, LINE * options.cell_size, font_size, cells)


def screen_parts(performance: Performance, longest: float) -> list[Part]:
    """Return the outline of the screen, the lines of the finger movements, and one dot per touch-down, in this order.

    Args:
        performance: the performance.
        longest: duration of the longest performance of the sheet, in seconds.
    """
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    edge = Part(corners, np.zeros(len(corners)), EDGE_COLOR, EDGE)
    return [edge, *_lines(performance, longest), *_taps(performance, longest)]


def color_levels(seconds: np.ndarray, longest: float) -> np.ndarray:
    """Return the index in `COLORS` of the color of each time in `seconds`, shape (n,).

    The time from 0 to `longest` is divided into `LEVELS` equal intervals, one per color.
    """
    fraction = np.asarray(seconds) / (longest or 1.0)
    return np.clip((LEVELS * fraction).astype(int), 0, LEVELS - 1)


def _lines(performance: Performance, longest: float) -> list[Part]:
    """Return the lines of the finger movements.

    A movement leads from one touch to the next. The color of a movement shows the mean of the times of both touches.
    Consecutive movements of equal color form one line.
    """
    seconds, moved = performance.seconds, ~performance.down[1:]
    level = color_levels((seconds[1:] + seconds[:-1]) / 2, longest)
    changes = np.flatnonzero((level[1:] != level[:-1]) | (moved[1:] != moved[:-1])) + 1
    runs = [run for run in np.split(np.arange(len(moved)), changes) if len(run) and moved[run[0]]]
    slices = [slice(run[0], run[-1] + 2) for run in runs]
    return [
        Part(performance.positions[span], seconds[span], COLORS[level[run[0]]], LINE)
        for run, span in zip(runs, slices, strict=True)
    ]


def _taps(performance: Performance, longest: float) -> list[Part]:
    """Return one dot per touch-down."""
    taps = np.flatnonzero(performance.down)
    level = color_levels(performance.seconds, longest)
    return [Part(performance.positions[t : t + 1], performance.seconds[t : t + 1], COLORS[level[t]], TAP) for t in taps]


def _cell(parts: Sequence[Part], grid: Grid, index: int, label: str) -> Cell:
    """Return cell `index` of the grid, which contains the parts of a performance."""
    left, top = grid.corner(index)
    side = grid.cell_width
    # Distance from the edge of the screen to the center of a dot at the edge of the cell, in sides of the screen.
    overshoot = (MARGIN - TAP / 2) / (1 - 2 * MARGIN)
    strokes = [
        np.round(side * (MARGIN + (1 - 2 * MARGIN) * np.clip(part.points, -overshoot, 1 + overshoot)) + [left, top], 2)
        for part in parts
    ]
    colors = [part.color for part in parts]
    widths = [part.line_width * side for part in parts]
    times = tuple(part.times for part in parts)
    return Cell(left, top, side, grid.cell_height, strokes, colors, widths, label, grid.label_position(index), times)


def _time_scale(longest: float, width: float, top: float, font_size: float, cell_size: float) -> list[Cell]:
    """Return the cells of the time scale: a color bar, the start time on its left, and the end time on its right.

    The upper edge of the time scale is at y = `top`.
    """
    texts = "0 s", f"{longest:.{1 if longest >= 1 else 3}f} s"
    before, after = (font_size * (0.6 * len(text) + 0.7) for text in texts)  # widths of the texts, with a gap
    length = max(min(2 * cell_size, (1 - 2 * MARGIN) * width) - before - after, font_size)
    left = (width - length + before - after) / 2
    bar = _color_bar(longest, left, length, top + 0.75 * font_size, BAR * cell_size)
    baseline = top + 1.1 * font_size
    positions = (left - before / 2, baseline), (left + length + after / 2, baseline)
    ends = [
        Cell(*position, 0.0, 0.0, [], [], [], text, position) for text, position in zip(texts, positions, strict=True)
    ]
    return [bar, *ends]


def _color_bar(longest: float, left: float, length: float, center: float, height: float) -> Cell:
    """Return the color bar: one segment per color on a pale background. An animation draws the segments one by one."""
    fractions = np.linspace(0, 1, LEVELS + 1)
    y = np.full(LEVELS + 1, round(center))  # integer coordinates give sharp edges
    points = np.column_stack([left + length * fractions, y]).round(2)
    strokes = [points[[0, -1]], *(points[i : i + 2] for i in range(LEVELS))]
    times = (np.zeros(2), *(longest * fractions[i : i + 2] for i in range(LEVELS)))
    widths = [height] * len(strokes)
    corner = left, center - height / 2
    return Cell(*corner, length, height, strokes, [EDGE_COLOR, *COLORS], widths, "", corner, times)
