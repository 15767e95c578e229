"""`mdnrnn reconstruct RUN --out FILE`: reconstruct drawings from their latent vectors."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.cli.options import (
    Count,
    Indices,
    LatentDrawingOptions,
    Seed,
    Temperatures,
    parse,
    select_indices,
)
from mdnrnn.tasks.latent_space import TEMPERATURES, reconstruct, select


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(LatentDrawingOptions):
    """Reconstruct drawings from their latent vectors. Each row shows a drawing and its reconstructions."""

    n: Count = 10
    indices: Indices = ()
    temperatures: Temperatures = TEMPERATURES
    seed: Seed = 0


def main(arguments: list[str]) -> int:
    """Encode the drawings, reconstruct them and save the result."""
    options = parse(ReconstructOptions, "reconstruct", arguments)
    options.check()
    run, drawings = options.open()
    indices = select_indices(drawings, options.indices, options.n, options.seed)
    rows = reconstruct(run, select(drawings, indices), options.temperatures, options.seed)
    captions = ["original", *(f"{temperature:g}" for temperature in options.temperatures)]
    options.save(rows, len(captions), captions * len(indices))
    print(f"{options.out}: reconstructions of drawings {' '.join(map(str, indices))} of {len(drawings)}")
    return 0
