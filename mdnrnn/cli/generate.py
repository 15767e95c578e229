"""`mdnrnn generate RUN --out FILE`: drawings by a trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mdnrnn import saving
from mdnrnn.cli.arguments import parse
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.generation import Sampling
from mdnrnn.render import MOVING, Colour
from mdnrnn.runs import load, read_prefix
from mdnrnn.training.config import Device


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Draw with a trained model, or let it complete a drawing."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    out: Path
    """The file to write; its ending picks the format: .svg .png .pdf .gif .npz .ndjson."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 16
    """How many drawings."""
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
    max_steps: int | None = None
    """The most steps of a drawing; by default as many as the longest that the run was trained on."""
    colour: Colour = "ink"
    """Of the lines in pictures: one ink, by stroke, or by order."""
    columns: int | None = None
    """Of the grid in pictures; by default about as many as rows."""
    animate: tyro.conf.FlagCreatePairsOff[bool] = False
    """An SVG that draws itself."""
    device: Device = "auto"
    """Where to compute; auto: a GPU if there is one."""


def main(arguments: list[str]) -> int:
    """Draw and save."""
    options = parse(GenerateOptions, "generate", arguments)
    saving.check_out(options.out)
    if options.animate and options.out.suffix.lower() not in MOVING:
        raise InputError(f"{options.out}: its ending is {options.out.suffix!r}; to animate, expected .svg or .gif")
    if options.n < 1:
        raise InputError(f"-n is {options.n}; expected 1 or more")
    run = load(options.run, choose_device(options.device))
    prefix = None
    if options.prefix is not None:
        prefix = read_prefix(run, options.prefix, options.prefix_index, options.prefix_points)
    drawn = run.generate(
        options.n,
        labels=None if options.label is None else [options.label],
        prefix=prefix,
        sampling=options.sampling,
        seed=options.seed,
        max_steps=options.max_steps,
    )
    saving.save_drawings(
        drawn,
        options.out,
        colour=options.colour,
        columns=options.columns,
        labels=drawn.label is not None,
        animate=options.animate,
    )
    print(f"{options.out}: {len(drawn)} drawings, {len(drawn.event)} points")
    return 0
