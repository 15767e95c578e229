"""Handwriting synthesis: write texts with a text-conditional model, optionally in a given handwriting.

Source: Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv:1308.0850), sections 5.4 and 5.5.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence as Items
from functools import partial
from pathlib import Path

import numpy as np

from mdnrnn.data.corpus import Sequence, mark_end, pack
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.handwriting import require_text_model
from mdnrnn.pen_events import DOWN
from mdnrnn.runs.rescaling import fit_scale
from mdnrnn.runs.run import Run
from mdnrnn.tasks.handwriting_layout import WrittenLines, save_handwriting

__all__ = ["MAX_CHARACTERS", "WrittenLines", "read_style", "save_handwriting", "wrap_text", "write", "write_pages"]

MAX_CHARACTERS = 20_000
"""Maximum number of characters of a text that `wrap_text` accepts."""
_MAX_WIDTH = 4
"""Maximum number of characters per line, as a multiple of the length of the longest training text."""


def wrap_text(run: Run, text: str, width: int | None = None) -> list[str]:
    """Return the lines of a text, wrapped at spaces to at most `width` characters.

    Args:
        run: run of a text-conditional model.
        text: text to wrap; its line breaks are kept. A line of spaces becomes an empty line.
        width: maximum number of characters per line; by default the length of the longest training text.

    Raises:
        InputError: the text is empty or too long, the width is out of range, or a word is longer than a line.
    """
    require_text_model(run.model)
    text, longest = to_nfc(text), run.config.longest_text
    width = longest if width is None else width
    if not 1 <= width <= _MAX_WIDTH * longest:
        raise InputError(f"width: received {width}, expected 1 to {_MAX_WIDTH * longest} characters")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"text: received {len(text)} characters, expected at most {MAX_CHARACTERS}")
    if not text.strip():
        raise InputError("text: received an empty text, expected at least one character")
    wrapper = textwrap.TextWrapper(width, expand_tabs=False, break_long_words=False, break_on_hyphens=False)
    lines = [part for line in text.splitlines() for part in wrapper.wrap(line.strip()) or [""]]
    longest_line = max(lines, key=len)
    if len(longest_line) > width:
        raise InputError(
            f"text: received {len(longest_line)} characters without a space, {longest_line[:40]!r}, "
            f"expected at most {width}; add spaces or increase the width"
        )
    return lines


def write(
    run: Run,
    lines: Items[str],
    style: Sequence | None = None,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    max_steps: int | None = None,
) -> WrittenLines:
    """Write each line of text as one sequence.

    With a style, the model first reads the handwritten line `style` and its text, and then writes each line of `lines`
    in the same handwriting (primed sampling, Graves section 5.5). The result does not contain the style line.

    Args:
        run: run of a text-conditional model.
        lines: texts of the lines.
        style: line of handwriting to imitate, with its text; by default the handwriting is random.
        sampling: sampling options. Stroke limits do not count the strokes of the style. A stopping rule also sees the
            steps of the style.
        seed: random seed; the noise of line i depends only on the seed and i.
        max_steps: maximum number of steps per line; by default it grows with the number of characters.

    Raises:
        InputError: a line is empty, the style has no text, or a character is not in the run's alphabet.
    """
    require_text_model(run.model)
    if not all(line.strip() for line in lines):
        raise InputError("lines: received an empty line, expected at least one character in each")
    lines = [to_nfc(line) for line in lines]
    texts, style_steps, style_characters = lines, 0, 0
    if style is not None:
        if not style.text:
            raise InputError("style: received a line without a text, expected its text")
        # The pen is lifted after the style line.
        style = style._replace(event=mark_end(style.event), text=to_nfc(style.text))
        texts = [f"{style.text} {line}" for line in lines]
        style_steps, style_characters = len(style.event), len(style.text or "") + 1
        sampling = (sampling or Sampling()).with_prefix_strokes(int((style.event != DOWN).sum()))
    generated = run.generate(len(texts), texts=texts, prefix=style, sampling=sampling, seed=seed, max_steps=max_steps)
    windows = run.attention(generated)
    sequences, line_windows = [], []
    for i, line in enumerate(lines):
        sequence, skipped = _remove_prefix(generated[i], style_steps) if style_steps else (generated[i], 0)
        sequences.append(sequence._replace(text=line))
        window = windows[i][style_steps + skipped :, style_characters : style_characters + len(line) + 1]
        line_windows.append(window)
    return WrittenLines(pack(generated.metadata, {"test": sequences}), line_windows)


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
    """Write the same lines on several pages, with one handwriting per page.

    With a style, all pages imitate the handwriting of `style`. Without a style, the first line of each page has a
    random handwriting, and all further lines of the page imitate the first line.

    Args:
        run: run of a text-conditional model.
        lines: texts of the lines. An empty line leaves space on the page; it is not written.
        pages: number of pages.
        style: line of handwriting to imitate; see `write`.
        sampling: sampling options.
        seed: random seed.
        max_steps: maximum number of steps per line; by default it grows with the number of characters.
    """
    rows = tuple(row for row, line in enumerate(lines) if line.strip())
    texts = [lines[row] for row in rows] or [""]  # `write` rejects the empty line
    write_lines = partial(write, run, sampling=sampling, max_steps=max_steps)
    if style is not None or len(texts) == 1:
        written = write_lines(texts * pages, style, seed=seed).split(len(texts))
    else:
        first_lines = write_lines(texts[:1] * pages, seed=seed).split(1)
        written = [
            first.concatenate(write_lines(texts[1:], first.lines[0], seed=seed + page))
            for page, first in enumerate(first_lines, 1)
        ]
    return [page._replace(rows=rows) for page in written]


def _remove_prefix(sequence: Sequence, steps: int) -> tuple[Sequence, int]:
    """Remove the first `steps` steps (the prefix) and the movement of the lifted pen from the prefix to the next line.

    The movement is the first step after the prefix. If the next line starts with a dot, this step also draws the dot.
    The step is then kept, with motion 0.

    Returns:
        The remaining sequence, and the number of steps removed after the prefix: 0 or 1.
    """
    motion, event = sequence.motion[steps:], sequence.event[steps:]
    if event[0] != DOWN or len(event) == 1:  # the line starts with a dot
        return sequence._replace(motion=np.concatenate([0 * motion[:1], motion[1:]]), event=event), 0
    return sequence._replace(motion=motion[1:], event=event[1:]), 1


def read_style(run: Run, style: str, text: str | None = None, rescale: bool | None = None) -> Sequence:
    """Return a handwritten line with its text, for the argument `style` of `write`.

    An `InputWarning` is issued if the line is not at the scale of the training lines.

    Args:
        run: run of a text-conditional model.
        style: index of a line in the test split of the run's data; or DATA:INDEX, for example hands.npz:1; or DATA,
            whose first line is used. DATA is a catalog name or a path, which may be relative to the run folder.
        text: text of the line; by default the text in the data.
        rescale: whether to scale the line to the size of the training lines; see `rescaling.fit_scale`.

    Raises:
        InputError: there is no such line, or it has no text.
    """
    require_text_model(run.model)
    data, _, index = style.rpartition(":")
    path = None
    if style.isdecimal():
        corpus, index = run.open_data().select_split("test"), style
    elif style:
        has_index = data and index.isdecimal() and not Path(style).exists()
        path, index = (_style_path(run, data), index) if has_index else (_style_path(run, style), "0")
        corpus = run.open_data(path, Recipe(split="1,0,0"))  # keeps the order of the file
    else:
        raise InputError("style: received nothing, expected the index of a line, or a file")
    if len(index) > 9 or int(index) >= len(corpus):
        raise InputError(f"style: received {style[:40]}, expected an index from 0 to {len(corpus) - 1}, or a file")
    line = corpus[int(index)]
    if path is not None:
        line = fit_scale(run.config, pack(corpus.metadata, {"test": [line]}), path, rescale)[0]
    line = line._replace(label=None, text=to_nfc(text) or line.text)
    if not line.text:
        raise InputError(f"style: received {style}, a line without a text; pass its text with --style-text")
    return line


def _style_path(run: Run, data: str) -> str:
    """Return `data`. If this path does not exist but the run folder contains such a file, return the file's path."""
    path = run.folder / data
    return str(path) if path.is_file() and not Path(data).exists() else data
