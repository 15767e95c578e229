"""`mdnrnn reconstruct RUN --out FILE`: drawings, and what the model draws from their latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from mdnrnn.cli.arguments import parse
from mdnrnn.cli.drawings import DrawingsOptions, chosen
from mdnrnn.tasks.latent_space import TEMPERATURES, reconstruct, select


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(DrawingsOptions):
    """Encode drawings and draw them again from their latents: a row for each, itself first."""

    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 10
    """How many drawings."""
    indices: tuple[int, ...] = ()
    """Which, by their numbers in the split, counted from 0; by default the seed chooses them."""
    temperatures: tuple[float, ...] = TEMPERATURES
    """One column each; low: what the model holds most probable."""
    seed: int = 0
    """Of the choice; and of the noise, which is the same for all of them."""


def main(arguments: list[str]) -> int:
    """Encode, draw and save."""
    options = parse(ReconstructOptions, "reconstruct", arguments)
    options.check()
    run, drawings = options.open()
    indices = chosen(drawings, options.indices, options.n, options.seed)
    rows = reconstruct(run, select(drawings, indices), options.temperatures, options.seed)
    names = ["original", *(f"{temperature:g}" for temperature in options.temperatures)]
    options.save(rows, len(names), names * len(indices))
    print(f"{options.out}: drawings {' '.join(map(str, indices))} of {len(drawings)}, reconstructed")
    return 0
