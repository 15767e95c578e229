"""`mdnrnn combine RUN --out FILE --plus A C --minus B`: sums and differences of drawings."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.options import LatentDrawingOptions, Seed, Temperatures, parse
from mdnrnn.tasks.latent_space import TEMPERATURES, combine, select


@dataclass(frozen=True, kw_only=True)
class CombineOptions(LatentDrawingOptions):
    """Add and subtract the latent vectors of drawings, and draw from the result.

    For example, --plus 3 7 --minus 5 adds the difference between drawings 3 and 5 to drawing 7.
    """

    plus: tuple[int, ...]
    """Indices of the drawings to add; the first drawing of the split has index 0."""
    minus: tuple[int, ...] = ()
    """Indices of the drawings to subtract."""
    temperatures: Temperatures = TEMPERATURES
    seed: Seed = 0


def main(arguments: list[str]) -> int:
    """Encode the terms, draw from their sum and save both."""
    options = parse(CombineOptions, "combine", arguments)
    options.check()
    run, drawings = options.open()
    indices = [*options.plus, *options.minus]
    signs = [1] * len(options.plus) + [-1] * len(options.minus)
    combined = combine(run, select(drawings, indices), signs, options.temperatures, options.seed)
    terms = [f"{'+' if sign > 0 else '−'}{index}" for sign, index in zip(signs, indices, strict=True)]
    results = [f"= at {temperature:g}" for temperature in options.temperatures]
    options.save(combined, len(combined), [*terms, *results])
    print(f"{options.out}: {' '.join(terms)} of {len(drawings)} drawings")
    return 0
