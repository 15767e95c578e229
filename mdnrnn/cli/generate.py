"""`mdnrnn generate RUN --out FILE`: generate drawings, complete a drawing or write a text with a trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from tyro.conf import FlagCreatePairsOff, arg

from mdnrnn.cli.options import Animate, Columns, RescaleOptions, Seed, check_count, parse
from mdnrnn.errors import InputError, quantity
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import END
from mdnrnn.render.style import DrawingOptions, HandwritingColor, PictureOptions

if TYPE_CHECKING:
    from mdnrnn.data.corpus import Corpus
    from mdnrnn.runs.run import Run

_DRAWINGS = 16
_ATTENTION_LINES = 8
"""Maximum number of lines in the picture of the attention weights."""


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(RescaleOptions):
    """Generate drawings, complete a drawing, or write a text.

    The noise of drawing i depends only on the seed and i. A larger -n therefore adds drawings without changing the
    first ones.
    """

    out: Path
    """Output file; its extension selects the format: .svg .png .pdf .gif .npz .ndjson .inkml."""
    n: Annotated[int | None, arg(aliases=["-n"])] = None
    """Number of drawings, by default 16. With --text, number of copies of the text, by default 1."""
    sampling: Annotated[Sampling, arg(name="")] = field(default_factory=Sampling)
    seed: Seed = 0
    label: str | None = None
    """Class of the drawings. By default the drawings cycle through all classes."""
    context: Annotated[str | None, arg(metavar="DATA")] = None
    """Data with context vectors: drawing i is conditioned on the context vector of test sequence i. Required for models
    with a context vector, unless the drawing to complete has one."""
    prefix: Annotated[str | None, arg(metavar="DATA")] = None
    """Data that contain the drawing to complete: a catalog name, a file or a folder."""
    prefix_index: int = 0
    """Index of the drawing to complete in the --prefix data, from 0."""
    prefix_points: int | None = None
    """Number of points to keep of the drawing to complete; the model continues after them. By default all points."""
    text: str | None = None
    """Text to write; only for handwriting models. Long lines are wrapped; blank lines are kept."""
    width: int | None = None
    """Maximum number of characters per line of the text. By default the length of the longest training line."""
    style: str | None = None
    """Line of handwriting to imitate: its index in the test split of the run's data; a FILE, for its first line; or
    FILE:INDEX, for another line. By default the handwriting is random."""
    style_text: str | None = None
    """Text of the --style line. Required if the data do not contain this text."""
    level: Annotated[bool, FlagCreatePairsOff] = False
    """Remove the slope of the baselines."""
    upright: Annotated[bool, FlagCreatePairsOff] = False
    """Remove the slant of the letters."""
    spacing: float = 1.0
    """Line spacing, as a multiple of the default."""
    attention: Path | None = None
    """Output file for a picture of the attention weights of the first 8 lines of the text: .svg .png .pdf."""
    max_steps: int | None = None
    """Maximum number of steps per drawing or line of text. The default depends on the training data."""
    color: HandwritingColor = "ink"
    """Line color in pictures: ink (dark), by stroke, by pen order (blue to red), or by character (only with --text)."""
    columns: Columns = None
    animate: Animate = False
    workers: int = 1
    """Number of worker processes on the CPU. It has no effect on the drawings."""


def main(arguments: list[str]) -> int:
    """Generate drawings or write a text, and save the result."""
    options = parse(GenerateOptions, "generate", arguments)
    from mdnrnn.render.save import check_output_path

    check_output_path(options.out, animate=options.animate)
    if options.n is not None:
        check_count(options.n)
    run = options.load()
    if options.text is not None:
        _write_text(options, run)
    else:
        _draw(options, run)
    return 0


def _draw(options: GenerateOptions, run: Run) -> None:
    """Generate drawings without a text and save them."""
    from mdnrnn.runs.run import read_prefix

    _check_no_text_options(options)
    if run.model.uses_text:
        raise InputError("this model needs a text: pass --text")
    prefix = None
    if options.prefix is not None:
        prefix = read_prefix(run, options.prefix, options.prefix_index, options.prefix_points, options.rescaling)
    n = _DRAWINGS if options.n is None else options.n
    drawings = run.generate(
        n,
        context=None if options.context is None else _read_context(run, options.context, n),
        labels=None if options.label is None else [options.label],
        prefix=prefix,
        sampling=options.sampling,
        seed=options.seed,
        max_steps=options.max_steps,
        workers=options.workers,
    )
    _save(drawings, options)
    print(f"{options.out}: {quantity(len(drawings), 'drawings')}, {quantity(len(drawings.event), 'points')}")


def _read_context(run: Run, data: str, n: int) -> np.ndarray:
    """Return the context vectors (n, C) of the first n test sequences of a corpus."""
    if not run.config.shape.context:
        raise InputError(f"--context: received {data} for a model without a context vector; omit --context")
    corpus = run.open_data(data)
    indices = corpus.indices("test")
    if n > len(indices):
        raise InputError(f"-n: received {n}, expected at most {len(indices)}, the number of test sequences of {data}")
    return np.stack([np.asarray(corpus[index].context) for index in indices[:n]])


def _save(drawings: Corpus, options: GenerateOptions) -> None:
    from mdnrnn.render.save import PICTURE_EXTENSIONS, save_drawings, save_performances, sequence_labels

    if drawings.metadata.is_touch and options.out.suffix.lower() in PICTURE_EXTENSIONS:
        save_performances(drawings, options.out, PictureOptions(columns=options.columns, animate=options.animate))
        return
    picture = DrawingOptions(
        color=options.color if options.color != "character" else "ink",
        columns=options.columns,
        labels=None if drawings.label is None else sequence_labels(drawings),
        animate=options.animate,
    )
    save_drawings(drawings, options.out, picture)


def _write_text(options: GenerateOptions, run: Run) -> None:
    """Write copies of the text, one per page. Save the pages and, with --attention, the picture of the weights."""
    from mdnrnn.files.atomic import write_bytes
    from mdnrnn.render.figures.attention import attention_figure
    from mdnrnn.render.raster import figure_bytes
    from mdnrnn.tasks.handwriting import read_style, save_handwriting, wrap_text, write_pages

    _check_text_options(options)
    lines = wrap_text(run, options.text or "", options.width)
    style = None if options.style is None else read_style(run, options.style, options.style_text, options.rescaling)
    copies = 1 if options.n is None else options.n
    pages = write_pages(
        run, lines, copies, style, sampling=options.sampling, seed=options.seed, max_steps=options.max_steps
    )
    save_handwriting(
        pages,
        options.out,
        color=options.color,
        columns=options.columns,
        animate=options.animate,
        level=options.level,
        upright=options.upright,
        spacing=options.spacing,
    )
    if options.attention is not None:
        first_lines = [line for line in lines if line][:_ATTENTION_LINES]
        figure = attention_figure(pages[0].windows[:_ATTENTION_LINES], first_lines)
        write_bytes(options.attention, figure_bytes(figure, options.attention.suffix.lower()))
    points = sum(len(page.lines.event) for page in pages)
    last_events = [int(page.lines[i].event[-1]) for page in pages for i in range(len(page.lines))]
    unfinished = sum(event != END for event in last_events)
    suffix = f", {quantity(unfinished, 'lines')} unfinished" if unfinished else ""
    counts = ", ".join([quantity(len(pages[0].lines), "lines"), quantity(copies, "pages"), quantity(points, "points")])
    print(f"{options.out}: {counts}{suffix}")


def _check_text_options(options: GenerateOptions) -> None:
    """Raise `InputError` if an option cannot be combined with --text or has an invalid value."""
    from mdnrnn.render.save import PICTURE_EXTENSIONS, check_output_path

    if options.workers != 1:
        raise InputError(f"--workers: received {options.workers} with --text, expected 1; omit --workers")
    if options.prefix_index or (options.prefix, options.prefix_points, options.label) != (None, None, None):
        raise InputError("--text cannot be combined with --prefix or --label; use --style")
    if options.context is not None:
        raise InputError("--text cannot be combined with --context; pass the context vectors in Python")
    is_styled = options.level or options.upright or options.spacing != 1 or options.color != "ink" or options.columns
    if is_styled and options.out.suffix.lower() not in PICTURE_EXTENSIONS:
        raise InputError(
            f"--out: received {options.out} with --level, --upright, --spacing, --color or --columns, which apply to "
            f"pictures only; expected one of {', '.join(PICTURE_EXTENSIONS)}"
        )
    if options.attention is not None:
        check_output_path(options.attention, (".svg", ".png", ".pdf"))
        if options.attention == options.out:
            raise InputError(f"--attention: received the same file as --out, {options.out}; expected another file")
    if options.style_text is not None and options.style is None:
        raise InputError("--style-text needs a style: pass --style")
    if not 0.2 <= options.spacing <= 10:
        raise InputError(f"--spacing: received {options.spacing}, expected 0.2 to 10")


def _check_no_text_options(options: GenerateOptions) -> None:
    """Raise `InputError` if an option is set that requires --text."""
    is_set = {
        "--width": options.width is not None,
        "--style": options.style is not None,
        "--style-text": options.style_text is not None,
        "--attention": options.attention is not None,
        "--level": options.level,
        "--upright": options.upright,
        "--spacing": options.spacing != 1,
        "--color character": options.color == "character",
    }
    names = [name for name, value in is_set.items() if value]
    if names:
        raise InputError(f"received {', '.join(names)} without a text; pass --text")
