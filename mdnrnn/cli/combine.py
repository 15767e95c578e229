"""`mdnrnn combine RUN --out FILE --plus A C --minus B`: add and subtract latent vectors of drawings."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.options import LatentDrawingOptions, Seed, Temperatures, parse
from mdnrnn.errors import quantity
from mdnrnn.tasks.latent_space import TEMPERATURES, combine, select


@dataclass(frozen=True, kw_only=True)
class CombineOptions(LatentDrawingOptions):
    """Add and subtract the latent vectors of drawings, and generate drawings from the result.

    For example, --plus 3 7 --minus 5 generates from z3 + z7 - z5, where zi is the latent vector of drawing i.
    """

    plus: tuple[int, ...]
    """Indices of the drawings to add; they count from 0 within the split."""
    minus: tuple[int, ...] = ()
    """Indices of the drawings to subtract; they count from 0 within the split."""
    temperatures: Temperatures = TEMPERATURES
    seed: Seed = 0


def main(arguments: list[str]) -> int:
    """Encode the given drawings, generate drawings from the signed sum, and save the given and the new drawings."""
    options = parse(CombineOptions, "combine", arguments)
    options.check()
    run, drawings = options.open()
    indices = [*options.plus, *options.minus]
    signs = [1] * len(options.plus) + [-1] * len(options.minus)
    combined = combine(run, select(drawings, indices), signs, options.temperatures, options.seed)
    terms = [f"{'+' if sign > 0 else '−'}{index}" for sign, index in zip(signs, indices, strict=True)]
    results = [f"= at {temperature:g}" for temperature in options.temperatures]
    options.save(combined, len(combined), [*terms, *results])
    print(f"{options.out}: {' '.join(terms)} of {quantity(len(drawings), 'drawings')}")
    return 0
