"""`mdnrnn generate RUN --out FILE`: drawings by a trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mdnrnn.cli.arguments import parse
from mdnrnn.data.corpus import Corpus
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.files import write_bytes
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render import ENDINGS, MOVING, attention_figure, figure_bytes
from mdnrnn.render import save as saving
from mdnrnn.runs.run import Run, load, read_prefix
from mdnrnn.tasks.handwriting import HandwritingColor, read_style, save_handwriting, wrap_text, write_pages
from mdnrnn.training.config import Device

_SHOWN = 8
"""Lines in a picture of the window, at most."""


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Draw with a trained model, let it complete a drawing, or let it write a text."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    out: Path
    """The file to write; its ending picks the format: .svg .png .pdf .gif .npz .ndjson."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """How many drawings, by default 16; of a text, one."""
    sampling: Annotated[Sampling, tyro.conf.arg(name="")] = field(default_factory=Sampling)
    seed: int = 0
    """Drawing i is the same for the same seed, however many are drawn."""
    label: str | None = None
    """The class to draw; by default all of them in turn."""
    prefix: str | None = None
    """Data whose first drawing is completed: a file, a folder or a catalog name."""
    prefix_index: int = 0
    """Which of its drawings instead of the first."""
    prefix_points: int | None = None
    """How many of its points are kept; by default all."""
    text: str | None = None
    """What to write, for a model that does; its lines are broken where they are longer than the run has learned."""
    width: int | None = None
    """Characters in a line of the text, at most; by default as many as the run has learned."""
    style: str | None = None
    """A line to write like: its number in the test split of the run's data, or a file that begins with it,
    or a line further down: hands.npz:3. By default the first line's own hand."""
    style_text: str | None = None
    """What is written in the style, where its file does not say."""
    level: tyro.conf.FlagCreatePairsOff[bool] = False
    """Turn the baselines of what is written to the horizontal."""
    upright: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take the slant out of what is written."""
    spacing: float = 1.0
    """Of written lines from each other, in what is usual."""
    attention: Path | None = None
    """Another picture, .svg .png .pdf: where the window stood on the text's first lines as they were written."""
    max_steps: int | None = None
    """The most steps of a drawing; by default as many as the longest that the run was trained on, or of a line of a
    text as many as its characters may take."""
    color: HandwritingColor = "ink"
    """Of the lines in pictures: one ink, by stroke, by order, or of a text by character."""
    columns: int | None = None
    """Of the grid in pictures; by default about as many as rows."""
    animate: tyro.conf.FlagCreatePairsOff[bool] = False
    """An SVG that draws itself."""
    device: Device = "auto"
    """Where to compute; auto: a GPU if there is one."""
    workers: int = 1
    """Processes that share the drawings, on a CPU; the drawings are the same for any number."""


def main(arguments: list[str]) -> int:
    """Draw and save."""
    options = parse(GenerateOptions, "generate", arguments)
    saving.check_out(options.out)
    if options.animate and options.out.suffix.lower() not in MOVING:
        raise InputError(f"{options.out}: its ending is {options.out.suffix!r}; to animate, expected .svg or .gif")
    if options.n is not None and options.n < 1:
        raise InputError(f"-n is {options.n}; expected 1 or more")
    run = load(options.run, choose_device(options.device))
    if options.text is not None:
        return _write(options, run)
    _only_for_texts(options)
    if run.model.uses_text:
        raise InputError("the run writes texts; say which: --text ...")
    n, prefix = options.n or 16, None
    if options.prefix is not None:
        prefix = read_prefix(run, options.prefix, options.prefix_index, options.prefix_points)
    drawn = run.generate(
        n,
        labels=None if options.label is None else [options.label],
        prefix=prefix,
        sampling=options.sampling,
        seed=options.seed,
        max_steps=options.max_steps,
        workers=options.workers,
    )
    if drawn.metadata.is_touch and options.out.suffix.lower() in ENDINGS:
        saving.save_performances(drawn, options.out, columns=options.columns, animate=options.animate)
    else:
        _save(drawn, options)
    print(f"{options.out}: {len(drawn)} drawings, {len(drawn.event)} points")
    return 0


def _save(drawn: Corpus, options: GenerateOptions) -> None:
    saving.save_drawings(
        drawn,
        options.out,
        color=options.color if options.color != "character" else "ink",
        columns=options.columns,
        labels=drawn.label is not None,
        animate=options.animate,
    )


def _write(options: GenerateOptions, run: Run) -> int:
    """Write the text as often as asked for, on a page each, and save the pages."""
    if options.workers != 1:
        raise InputError(f"{options.workers} workers were asked for beside a text, which one writes; leave them out")
    if options.prefix_index or (options.prefix, options.prefix_points, options.label) != (None, None, None):
        raise InputError("a text was given beside a prefix or a label; give one of them, a --style say")
    looks = options.level or options.upright or options.spacing != 1 or options.color != "ink" or options.columns
    if looks and options.out.suffix.lower() not in ENDINGS:
        raise InputError(
            f"{options.out}: level, upright, spacing, color and columns are of pictures; expected {', '.join(ENDINGS)}"
        )
    if options.attention is not None:
        saving.check_out(options.attention, (".svg", ".png", ".pdf"))
        if options.attention == options.out:
            raise InputError(f"{options.out} was asked for twice; expected other places for --out and --attention")
    if options.style_text is not None and options.style is None:
        raise InputError("--style-text goes with a style; give one with --style")
    if not 0.2 <= options.spacing <= 10:
        raise InputError(f"the spacing is {options.spacing}; expected 0.2 to 10")
    lines = wrap_text(run, options.text or "", options.width)
    style = None if options.style is None else read_style(run, options.style, options.style_text)
    copies = options.n or 1
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
        figure = attention_figure(pages[0].windows[:_SHOWN], lines[:_SHOWN])
        write_bytes(options.attention, figure_bytes(figure, options.attention.suffix.lower()))
    lasts = [int(page.lines[i].event[-1]) for page in pages for i in range(len(lines))]
    unfinished = sum(last != END for last in lasts)
    cut = f", {unfinished} cut short" if unfinished else ""
    print(
        f"{options.out}: {len(lines)} lines, {copies} times, {sum(len(page.lines.event) for page in pages)} points{cut}"
    )
    return 0


def _only_for_texts(options: GenerateOptions) -> None:
    given = {
        "--width": options.width,
        "--style": options.style,
        "--style-text": options.style_text,
        "--attention": options.attention,
        "--level": options.level or None,
        "--upright": options.upright or None,
        "--spacing": None if options.spacing == 1 else options.spacing,
        "--color character": None if options.color != "character" else True,
    }
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise InputError(f"{', '.join(wrong)} goes with a text; give one with --text")
