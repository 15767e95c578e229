"""`mdnrnn interpolate RUN --out FILE`: generate drawings between two or four given drawings."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.options import Indices, LatentDrawingOptions, Seed, Temperature, parse, select_indices
from mdnrnn.render.save import save_morph
from mdnrnn.render.style import DrawingOptions
from mdnrnn.tasks.latent_geometry import serpentine_order
from mdnrnn.tasks.latent_space import interpolate, select


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions(LatentDrawingOptions):
    """Interpolate between two drawings, or between four drawings at the corners of a grid.

    The latent vectors of the drawings are interpolated. A .gif shows the drawings one after the other, forward and then
    backward; with more --columns the animation is smoother.
    """

    rows: int | None = None
    """Number of rows: 1 for two drawings, 2 or more for four. The default is 1 if --indices has two values, else 4."""
    columns: int = 8
    """Number of columns."""
    indices: Indices = ()
    temperature: Temperature = 0.2
    seed: Seed = 0


def main(arguments: list[str]) -> int:
    """Encode the given drawings, interpolate between them and save the result."""
    options = parse(InterpolateOptions, "interpolate", arguments)
    options.check()
    run, drawings = options.open()
    indices = select_indices(drawings, options.indices, 2 if options.rows == 1 else 4, options.seed)
    ends = select(drawings, indices)
    grid = interpolate(run, ends, options.rows, options.columns, options.temperature, options.seed)
    rows = len(grid) // options.columns
    if options.out.suffix.lower() == ".gif":
        frames = select(grid, serpentine_order(rows, options.columns))
        save_morph(frames, options.out, DrawingOptions(color=options.color))
    else:
        options.save(grid, options.columns)
    between = " ".join(map(str, indices))
    print(f"{options.out}: {rows} x {options.columns} drawings between drawings {between} of {len(drawings)}")
    return 0
