"""`mdnrnn interpolate RUN --out FILE`: the drawings between two or four others."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.arguments import parse
from mdnrnn.cli.drawings import DrawingsOptions, chosen
from mdnrnn.render import save as saving
from mdnrnn.tasks.latent_space import interpolate, select, serpentine_order


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions(DrawingsOptions):
    """Draw what lies between two drawings, or between four at the corners of a grid. A .gif goes through them one
    after the other and back again: give it more columns."""

    rows: int | None = None
    """Of the grid; 1: between two drawings. By default 4, or 1 where two are given."""
    columns: int = 8
    """Of the grid."""
    indices: tuple[int, ...] = ()
    """Two drawings, or four, by their numbers in the split, counted from 0; by default the seed chooses them."""
    temperature: float = 0.2
    """Low: what the model holds most probable."""
    seed: int = 0
    """Of the choice; and of the noise, which is the same for all of them."""


def main(arguments: list[str]) -> int:
    """Encode the ends, draw what lies between, save."""
    options = parse(InterpolateOptions, "interpolate", arguments)
    options.check()
    run, drawings = options.open()
    ends = chosen(drawings, options.indices, 2 if options.rows == 1 else 4, options.seed)
    grid = interpolate(run, select(drawings, ends), options.rows, options.columns, options.temperature, options.seed)
    rows = len(grid) // options.columns
    if options.out.suffix.lower() == ".gif":
        saving.save_morph(select(grid, serpentine_order(rows, options.columns)), options.out, color=options.color)
    else:
        options.save(grid, options.columns)
    print(f"{options.out}: {rows} x {options.columns} between drawings {' '.join(map(str, ends))} of {len(drawings)}")
    return 0
