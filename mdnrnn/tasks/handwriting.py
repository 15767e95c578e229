"""Writing texts with a run that has learned to: lines in a hand that is given, laid out on a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence as Items
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.strokes import Polyline
from mdnrnn.data.text_lines import measure_line, layout_lines, remove_slant, remove_slope
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.handwriting import require_text_model
from mdnrnn.render import ENDINGS, Style, save_picture
from mdnrnn.render.layout import unit_scales
from mdnrnn.render.save import check_out, save_drawings
from mdnrnn.runs.run import Run

HandwritingColor = Literal["ink", "stroke", "order", "character"]
"""How what is written is colored."""

MAX_CHARACTERS = 20_000
"""Characters that are written at once, at most."""
_STRETCH = 4
"""The longest line that may be asked for, in the longest that the run has learned."""
_PEN, _LETTER = 0.1, 12.0
"""Width of the pen in heights of the small letters, and that height in units of the page."""
_SMALLEST, _LARGEST = 40.0, 4000.0
"""Side of a page's cell, in its units."""
_THINNEST = 0.0002


def wrap_text(run: Run, text: str, width: int | None = None) -> list[str]:
    """A text broken at its own line ends, and at spaces into lines of at most `width` characters.

    By default as long as the run has learned to write them.
    """
    require_text_model(run.model)
    learned = run.config.longest_text
    width = learned if width is None else width
    if not 1 <= width <= _STRETCH * learned:
        raise InputError(f"lines of {width} characters were asked for; expected 1 to {_STRETCH * learned}")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the text has {len(text)} characters; expected at most {MAX_CHARACTERS}")
    if not text.strip():
        raise InputError("the text is empty; expected something to write")
    wrapper = textwrap.TextWrapper(width, expand_tabs=False, break_long_words=False, break_on_hyphens=False)
    lines = [part for line in text.splitlines() for part in wrapper.wrap(line.strip())]
    longest = max(lines, key=len)
    if len(longest) > width:
        raise InputError(
            f"{longest[:40]!r} goes on for {len(longest)} characters without a space; a line has at most {width}"
        )
    return lines


class WrittenLines(NamedTuple):
    """Lines, each with its text, and where the window stood: for each line, weights (T, U + 1) of its characters and of
    the place behind them, at every step."""

    lines: Corpus
    windows: list[np.ndarray]

    def followed_by(self, other: WrittenLines) -> WrittenLines:
        """The lines of both."""
        lines = [part.lines[i] for part in (self, other) for i in range(len(part.lines))]
        return WrittenLines(pack(self.lines.metadata, {"test": lines}), self.windows + other.windows)

    def parts(self, size: int) -> list[WrittenLines]:
        """The same in parts of `size` lines each."""
        lines = [self.lines[i] for i in range(len(self.lines))]
        return [
            WrittenLines(
                pack(self.lines.metadata, {"test": lines[first : first + size]}), self.windows[first : first + size]
            )
            for first in range(0, len(lines), size)
        ]


def write(
    run: Run,
    lines: Items[str],
    style: Sequence | None = None,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    max_steps: int | None = None,
) -> WrittenLines:
    """Each line as a sequence of its own.

    Args:
        style: a line of writing with its text, that all go on from, in its hand as far as the model has learned to
            (Graves' priming); it is not drawn again.
        max_steps: of each line; by default as many as its characters may take.
    """
    require_text_model(run.model)
    if not all(line.strip() for line in lines):
        raise InputError("a line is empty; expected something to write in each")
    texts, given, written = list(lines), 0, 0
    if style is not None:
        if not style.text:
            raise InputError("the style has no text beside its strokes; expected what is written in it")
        texts, given, written = [f"{style.text} {line}" for line in lines], len(style.event), len(style.text) + 1
        style = style._replace(event=mark_end(style.event))  # the pen is lifted, even if it was cut short
    drawn = run.generate(len(texts), texts=texts, prefix=style, sampling=sampling, seed=seed, max_steps=max_steps)
    windows = run.attention(drawn)
    sequences, own = [], []
    for i, line in enumerate(lines):
        sequence, first = _after(drawn[i], given) if given else (drawn[i], 0)
        sequences.append(sequence._replace(text=line))
        own.append(windows[i][given + first :, written : written + len(line) + 1])
    return WrittenLines(pack(drawn.metadata, {"test": sequences}), own)


def write_pages(
    run: Run,
    lines: Items[str],
    pages: int = 1,
    style: Sequence | None = None,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    max_steps: int | None = None,
) -> list[WrittenLines]:
    """The same lines on so many pages, each in one hand: that of the style, or of its own first line, which the others
    go on from. Arguments as of `write`."""
    how = partial(write, run, sampling=sampling, max_steps=max_steps)
    if style is not None or len(lines) == 1:
        return how(list(lines) * pages, style, seed=seed).parts(len(lines))
    begun = how(list(lines[:1]) * pages, seed=seed).parts(1)
    return [
        first.followed_by(how(lines[1:], first.lines[0], seed=seed + number)) for number, first in enumerate(begun, 1)
    ]


def _after(sequence: Sequence, given: int) -> tuple[Sequence, int]:
    """What was drawn after `given` steps, from its own first point on, and how many steps more that leaves out."""
    motion, event = sequence.motion[given:], sequence.event[given:]
    if event[0] != DOWN or len(event) == 1:  # a dot: it stands where the pen is
        return sequence._replace(motion=np.concatenate([0 * motion[:1], motion[1:]]), event=event), 0
    return sequence._replace(motion=motion[1:], event=event[1:]), 1


def read_style(run: Run, style: str, text: str | None = None) -> Sequence:
    """A line to write like.

    Args:
        style: the number of a line in the test split of the run's data, counted from 0; or other data, whose first line
            it is, or another one: hands.npz:3.
        text: what is written in it; by default what the data say.
    """
    require_text_model(run.model)
    data, _, number = style.rpartition(":")
    if style.isdecimal():
        corpus, number = run.open_data().select_split("test"), style
    elif data and number.isdecimal() and not Path(style).exists():
        corpus = run.open_data(data, Recipe(split="1,0,0"))  # in the order of the file
    elif style:
        corpus, number = run.open_data(style, Recipe(split="1,0,0")), "0"
    else:
        raise InputError("the style is empty; expected the number of a line, or a file")
    if len(number) > 9 or int(number) >= len(corpus):
        raise InputError(f"style {style[:40]} was asked for; expected 0 to {len(corpus) - 1}, or a file")
    line = corpus[int(number)]
    line = line._replace(label=None, text=text or line.text)
    if not line.text:
        raise InputError(f"{style} has no text beside its strokes; say with --style-text what is written in it")
    return line


class HandwritingPage(NamedTuple):
    """A page of writing: its strokes, for each of them the number of the character that it belongs to where they are
    cut between characters, and the height of the small letters."""

    strokes: list[Polyline]
    characters: tuple[int, ...]
    height: float


def layout_page(
    written: WrittenLines, *, cut: bool = False, level: bool = False, upright: bool = False, spacing: float = 1.0
) -> HandwritingPage:
    """All lines on one page.

    Args:
        cut: whether strokes end where one character ends and the next begins.
        level: whether baselines are turned to the horizontal.
        upright: whether the slant is taken out.
        spacing: of the lines, in what is usual.
    """
    lines: list[list[Polyline]] = []
    characters: list[int] = []
    before = 0
    for number, window in enumerate(written.windows):
        strokes = written.lines.drawing(number)
        if cut:
            strokes, owners = _cut(written.lines[number], window[:, :-1].argmax(1))
            characters += [before + owner for owner in owners]
            before += window.shape[1] - 1
        strokes = remove_slope(strokes, measure_line(strokes)) if level else strokes
        lines.append(remove_slant(strokes, measure_line(strokes)) if upright else strokes)
    height = float(np.median([measure_line(line).height for line in lines]))
    return HandwritingPage(layout_lines(lines, spacing), tuple(characters), height)


def _cut(sequence: Sequence, owners: np.ndarray) -> tuple[list[Polyline], list[int]]:
    """The strokes of a line, cut where `owners` (T,), the characters of its steps, change; and whose each piece is."""
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(sequence.motion, axis=0, dtype=np.float64)])
    lifted = np.concatenate([[False], np.asarray(sequence.event[:-1]) != DOWN])
    # A move to where a stroke begins belongs to what is drawn from there.
    begins = np.flatnonzero(lifted[:-1] & ~lifted[1:])
    owners = owners.copy()
    owners[begins] = owners[begins + 1]
    fresh = lifted | np.concatenate([[True], owners[1:] != owners[:-1]])
    firsts = np.flatnonzero(fresh)
    pieces = []
    for first, last in zip(firsts, [*firsts[1:], len(owners)], strict=True):
        start = first + 1 if lifted[first] else first  # after a lift nothing is drawn on the way
        pieces.append(points[start : last + 1])
    return pieces, owners[firsts].tolist()


def save_handwriting(
    written: Items[WrittenLines],
    path: Path,
    *,
    color: HandwritingColor = "ink",
    columns: int | None = None,
    animate: bool = False,
    level: bool = False,
    upright: bool = False,
    spacing: float = 1.0,
) -> None:
    """Pages, one for each of `written`, as a picture; or all their lines as a corpus."""
    check_out(path)
    if path.suffix.lower() not in ENDINGS:
        lines = [page.lines[i] for page in written for i in range(len(page.lines))]
        save_drawings(pack(written[0].lines.metadata, {"test": lines}), path)
        return
    cut = color == "character"
    pages = [layout_page(each, cut=cut, level=level, upright=upright, spacing=spacing) for each in written]
    strokes = [page.strokes for page in pages]
    style = Style(
        color="stroke" if color == "character" else color,
        groups=tuple(page.characters for page in pages) if cut else (),
        width=_THINNEST,
        margin=0.05,
    )
    # Letters are of one size, however many there are, until a page has more pixels than are drawn.
    heights = [page.height * scale for page, scale in zip(pages, unit_scales(strokes, style), strict=True)]
    size = float(np.clip(_LETTER / max(min(heights), 1e-9), _SMALLEST, _LARGEST))
    style = replace(style, width=float(np.clip(_PEN * _LETTER / size, _THINNEST, 0.02)))
    save_picture(strokes, path, style=style, columns=columns, animate=animate, size=size)
