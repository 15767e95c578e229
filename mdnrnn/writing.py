"""Writing texts with a run that has learnt to: lines in a hand that is given, laid out on a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mdnrnn.data import lines as geometry
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.lines import page, shape_of
from mdnrnn.data.recipe import Recipe
from mdnrnn.data.strokes import Polyline
from mdnrnn.distributions import DOWN
from mdnrnn.errors import InputError
from mdnrnn.generation import Sampling
from mdnrnn.render import ENDINGS, Style, save
from mdnrnn.runs import Run
from mdnrnn.saving import check_out, save_drawings

Colour = Literal["ink", "stroke", "order", "character"]

LONGEST = 20_000
"""Characters that are written at once, at most."""


def lines_of(run: Run, text: str, width: int | None = None) -> list[str]:
    """A text broken at its own line ends, and at spaces into lines of at most `width` characters.

    By default as long as the run has learnt to write them.
    """
    need_writer(run)
    width = run.config.longest_text if width is None else width
    if width < 1 or len(text) > LONGEST:
        raise InputError(f"a text of {len(text)} characters in lines of {width}; expected at most {LONGEST}, 1 or more")
    if not text.strip():
        raise InputError("the text is empty; expected something to write")
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line.strip(), width, break_long_words=False)]
    longest = max(lines, key=len)
    if len(longest) > width:
        raise InputError(
            f"{longest!r} has {len(longest)} characters and no space; a line has at most {width}; shorten it"
        )
    return lines


def need_writer(run: Run) -> None:
    """An error that says what to do where the run's model does not write."""
    if not run.model.writes:
        raise InputError("the run does not write texts; expected one that does: mdnrnn train handwriting, say")


class Written(NamedTuple):
    """Lines, each with its text, and where the window stood: for each line, weights (T, U + 1) of its characters and of
    the place behind them, at every step."""

    lines: Corpus
    windows: list[np.ndarray]

    def parts(self, size: int) -> list[Written]:
        """The same in parts of `size` lines each."""
        return [
            Written(
                pack(self.lines.facts, {"test": [self.lines[i] for i in range(first, first + size)]}),
                self.windows[first : first + size],
            )
            for first in range(0, len(self.lines), size)
        ]


def write(
    run: Run,
    lines: Items[str],
    style: Sequence | None = None,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    max_steps: int | None = None,
) -> Written:
    """Each line as a sequence of its own.

    Args:
        style: a line of writing with its text, that all go on from, in its hand as far as the model has learnt to
            (Graves' priming); it is not drawn again.
        max_steps: of each line; by default as many as its characters may take.
    """
    need_writer(run)
    texts, given, written = list(lines), 0, 0
    if style is not None:
        if not style.text:
            raise InputError("the style has no text beside its strokes; expected what is written in it")
        texts, given, written = [f"{style.text} {line}" for line in lines], len(style.event), len(style.text) + 1
    drawn = run.generate(len(texts), texts=texts, prefix=style, sampling=sampling, seed=seed, max_steps=max_steps)
    windows = run.attention(drawn)
    sequences, own = [], []
    for i, line in enumerate(lines):
        sequence, first = _after(drawn[i], given) if given else (drawn[i], 0)
        sequences.append(sequence._replace(text=line))
        own.append(windows[i][given + first :, written : written + len(line) + 1])
    return Written(pack(drawn.facts, {"test": sequences}), own)


def _after(sequence: Sequence, given: int) -> tuple[Sequence, int]:
    """What was drawn after `given` steps, from its own first point on, and how many steps more that leaves out."""
    motion, event = sequence.motion[given:], sequence.event[given:]
    if event[0] != DOWN:  # a dot: it stands where the pen is
        return sequence._replace(motion=np.concatenate([0 * motion[:1], motion[1:]]), event=event), 0
    return sequence._replace(motion=motion[1:], event=event[1:]), 1


def read_style(run: Run, style: str, text: str | None = None) -> Sequence:
    """A line to write like.

    Args:
        style: the number of a line in the test split of the run's data, counted from 0; or other data, whose first line
            it is, or another one: hands.npz:3.
        text: what is written in it; by default what the data say.
    """
    need_writer(run)
    if style.isdecimal():
        corpus = run.open_data().part("test")
        if int(style) >= len(corpus):
            raise InputError(f"style {style} was asked for; expected 0 to {len(corpus) - 1}, or a file")
        line = corpus[int(style)]
    else:
        data, _, number = style.rpartition(":")
        data, number = (data, number) if data and number.isdecimal() else (style, "0")
        corpus = run.open_data(data, Recipe(split="1,0,0"))
        if int(number) >= len(corpus):
            raise InputError(f"style {style} was asked for; expected {data}:0 to {data}:{len(corpus) - 1}")
        line = corpus[int(number)]
    line = line._replace(label=None, text=text or line.text)
    if not line.text:
        raise InputError(f"{style} has no text beside its strokes; say with --style-text what is written in it")
    return line


class Inked(NamedTuple):
    """A drawing, and for each of its strokes the number of the character that it belongs to."""

    strokes: list[Polyline]
    characters: tuple[int, ...]


def inked(written: Written, *, level: bool = False, upright: bool = False, spacing: float = 1.0) -> Inked:
    """All lines on one page, strokes cut where one character ends and the next begins.

    Args:
        level: whether baselines are turned to the horizontal.
        upright: whether the slant is taken out.
        spacing: of the lines, in what is usual.
    """
    lines, characters, before = [], [], 0
    for number, window in enumerate(written.windows):
        sequence = written.lines[number]
        strokes, owners = _cut(sequence, window[:, :-1].argmax(1))
        shape = shape_of(strokes)
        if level:
            strokes = geometry.levelled(strokes, shape)
        if upright:
            strokes = geometry.upright(strokes, shape_of(strokes))
        lines.append(strokes)
        characters += [before + owner for owner in owners]
        before += len(sequence.text or "")
    return Inked(page(lines, spacing), tuple(characters))


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


def save_written(
    written: Items[Written],
    path: Path,
    *,
    colour: Colour = "ink",
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
        save_drawings(pack(written[0].lines.facts, {"test": lines}), path)
        return
    pages = [inked(page, level=level, upright=upright, spacing=spacing) for page in written]
    style = Style(colour="stroke", groups=tuple(page.characters for page in pages))
    save(
        [page.strokes for page in pages],
        path,
        style=style if colour == "character" else Style(colour=colour),
        columns=columns,
        animate=animate,
    )
