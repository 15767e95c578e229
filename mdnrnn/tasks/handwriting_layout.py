"""Layout of handwritten lines on pages, and their pictures; this module does not import torch."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.strokes import Polyline
from mdnrnn.data.text_lines import measure_line, remove_slant, remove_slope, stack_lines
from mdnrnn.pen_events import DOWN
from mdnrnn.render.layout import unit_scales
from mdnrnn.render.save import PICTURE_EXTENSIONS, check_output_path, save_drawings, save_picture
from mdnrnn.render.style import DrawingOptions, HandwritingColor

_PEN_WIDTH, _LETTER_HEIGHT = 0.1, 12.0
"""Pen width as a fraction of the x-height (height of small letters), and x-height in SVG pixels."""
_MIN_CELL, _MAX_CELL = 40.0, 4000.0
"""Minimum and maximum side of a page's cell, in SVG pixels."""
_MIN_LINE_WIDTH, _MAX_LINE_WIDTH = 0.0002, 0.02
"""Minimum and maximum line width, as a fraction of the side of the cell."""


class WrittenLines(NamedTuple):
    """Handwritten lines with their texts, and the attention weights of each line.

    `lines`: corpus of the lines. `windows`: one array (T, U + 1) of weights per line. The columns of the array are the
    U characters of the text and the position after the last character. `rows`: row of each line on its page; None for
    consecutive rows. Rows without a line are blank.
    """

    lines: Corpus
    windows: list[np.ndarray]
    rows: tuple[int, ...] | None = None

    def sequences(self) -> list[Sequence]:
        """Return the lines as a list."""
        return [self.lines[i] for i in range(len(self.lines))]

    def concatenate(self, other: WrittenLines) -> WrittenLines:
        """Return these lines followed by the lines of `other`."""
        sequences = self.sequences() + other.sequences()
        return WrittenLines(pack(self.lines.metadata, {"test": sequences}), self.windows + other.windows)

    def split(self, size: int) -> list[WrittenLines]:
        """Return consecutive parts of `size` lines each."""
        sequences = self.sequences()
        return [
            WrittenLines(
                pack(self.lines.metadata, {"test": sequences[first : first + size]}), self.windows[first : first + size]
            )
            for first in range(0, len(sequences), size)
        ]


class HandwritingPage(NamedTuple):
    """Layout of a page.

    `strokes`: strokes of all lines. `characters`: if strokes are cut between characters, the index of each stroke's
    character in the text of the page; otherwise empty. `height`: x-height in raw units, the median over the lines.
    """

    strokes: list[Polyline]
    characters: tuple[int, ...]
    height: float


def layout_page(
    written: WrittenLines, *, cut: bool = False, level: bool = False, upright: bool = False, spacing: float = 1.0
) -> HandwritingPage:
    """Arrange lines below each other on one page.

    Args:
        written: lines of the page.
        cut: whether to cut strokes between characters.
        level: whether to remove the slope of the baselines.
        upright: whether to remove the slant of the letters.
        spacing: line spacing, as a multiple of the default.
    """
    lines: list[list[Polyline]] = []
    characters: list[int] = []
    preceding = 0  # number of characters in the lines above
    for number, window in enumerate(written.windows):
        strokes = written.lines.drawing(number)
        if cut:
            strokes, indices = _cut_between_characters(written.lines[number], window[:, :-1].argmax(1))
            characters += [preceding + index for index in indices]
            preceding += window.shape[1] - 1
        strokes = remove_slope(strokes, measure_line(strokes)) if level else strokes
        lines.append(remove_slant(strokes, measure_line(strokes)) if upright else strokes)
    height = float(np.median([measure_line(line).height for line in lines]))
    return HandwritingPage(stack_lines(lines, spacing, written.rows), tuple(characters), height)


def _cut_between_characters(sequence: Sequence, characters: np.ndarray) -> tuple[list[Polyline], list[int]]:
    """Cut the strokes of a line between characters.

    Args:
        sequence: the line.
        characters: index of the character that each step belongs to, shape (T,).

    Returns:
        The pieces of the strokes, and the index of the character of each piece.
    """
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(sequence.motion, axis=0, dtype=np.float64)])
    lifted = np.concatenate([[False], np.asarray(sequence.event[:-1]) != DOWN])
    # A movement with the pen up belongs to the character that is drawn after it.
    starts = np.flatnonzero(lifted[:-1] & ~lifted[1:])
    characters = characters.copy()
    characters[starts] = characters[starts + 1]
    is_first = lifted | np.concatenate([[True], characters[1:] != characters[:-1]])
    firsts = np.flatnonzero(is_first)
    pieces = []
    for first, last in zip(firsts, [*firsts[1:], len(characters)], strict=True):
        start = first + 1 if lifted[first] else first  # the movement with the pen up is not drawn
        pieces.append(points[start : last + 1])
    return pieces, characters[firsts].tolist()


def save_handwriting(
    pages: Items[WrittenLines],
    path: Path,
    *,
    color: HandwritingColor = "ink",
    columns: int | None = None,
    animate: bool = False,
    level: bool = False,
    upright: bool = False,
    spacing: float = 1.0,
) -> None:
    """Save pages to a picture or a data file.

    A picture has one cell per page. A data file contains a corpus of all lines.

    Args:
        pages: the lines of each page.
        path: file to write; its extension selects the format. For a data file, the arguments below are ignored.
        color: color of the lines; with "character", successive characters have different colors.
        columns: number of pages per row.
        animate: whether to animate an SVG.
        level: whether to remove the slope of the baselines.
        upright: whether to remove the slant of the letters.
        spacing: line spacing, as a multiple of the default.

    Raises:
        InputError: the file cannot be written.
    """
    check_output_path(path)
    if path.suffix.lower() not in PICTURE_EXTENSIONS:
        sequences = [sequence for page in pages for sequence in page.sequences()]
        save_drawings(pack(pages[0].lines.metadata, {"test": sequences}), path)
        return
    cut = color == "character"
    layouts = [layout_page(page, cut=cut, level=level, upright=upright, spacing=spacing) for page in pages]
    strokes = [layout.strokes for layout in layouts]
    options = DrawingOptions(
        color="stroke" if color == "character" else color,
        groups=tuple(layout.characters for layout in layouts) if cut else (),
        line_width=_MIN_LINE_WIDTH,
        margin=0.05,
        columns=columns,
        animate=animate,
    )
    # Choose the cell size so that the x-height is at least `_LETTER_HEIGHT` on every page, up to the maximum cell size.
    heights = [layout.height * scale for layout, scale in zip(layouts, unit_scales(strokes, options), strict=True)]
    size = float(np.clip(_LETTER_HEIGHT / max(min(heights), 1e-9), _MIN_CELL, _MAX_CELL))
    line_width = float(np.clip(_PEN_WIDTH * _LETTER_HEIGHT / size, _MIN_LINE_WIDTH, _MAX_LINE_WIDTH))
    save_picture(strokes, path, replace(options, line_width=line_width, cell_size=size))
