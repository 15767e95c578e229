"""`mdnrnn combine RUN --out FILE --plus A C --minus B`: sums and differences of drawings."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.arguments import parse
from mdnrnn.cli.drawings import DrawingsOptions
from mdnrnn.tasks.latent_space import TEMPERATURES, combine, select


@dataclass(frozen=True, kw_only=True)
class CombineOptions(DrawingsOptions):
    """Add and subtract the latents of drawings, and draw from the sum: --plus 3 7 --minus 5 draws what tells 3 from 5,
    on 7."""

    plus: tuple[int, ...]
    """Drawings to add, by their numbers in the split, counted from 0."""
    minus: tuple[int, ...] = ()
    """Drawings to subtract."""
    temperatures: tuple[float, ...] = TEMPERATURES
    """One result each; low: what the model holds most probable."""
    seed: int = 0
    """Of the noise, which is the same for all of them."""


def main(arguments: list[str]) -> int:
    """Encode the terms, draw from their sum, save both."""
    options = parse(CombineOptions, "combine", arguments)
    options.check()
    run, drawings = options.open()
    indices = [*options.plus, *options.minus]
    signs = [1] * len(options.plus) + [-1] * len(options.minus)
    both = combine(run, select(drawings, indices), signs, options.temperatures, options.seed)
    terms = [f"{'+' if sign > 0 else '−'}{index}" for sign, index in zip(signs, indices, strict=True)]
    options.save(both, len(both), [*terms, *(f"= at {temperature:g}" for temperature in options.temperatures)])
    print(f"{options.out}: {' '.join(terms)} of {len(drawings)} drawings")
    return 0
