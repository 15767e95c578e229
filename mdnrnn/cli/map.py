"""`mdnrnn map RUN --out FILE`: draw a map of the latent space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mdnrnn.cli.options import LatentSpaceOptions, parse
from mdnrnn.errors import quantity
from mdnrnn.render.save import check_output_path
from mdnrnn.tasks.latent_space import MAP_EXTENSIONS, save_map


@dataclass(frozen=True, kw_only=True)
class MapOptions(LatentSpaceOptions):
    """Draw a map of the latent space.

    The position of a drawing on the map is given by the first two principal components of its latent vector.
    """

    out: Path
    """Output file: .svg .png .pdf, or .npz for the latent vectors and their positions on the map."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200
    """Maximum number of drawings to draw on the map. The other drawings, and those that would overlap, become dots."""


def main(arguments: list[str]) -> int:
    """Encode the drawings, project their latent vectors to the plane and save the map."""
    options = parse(MapOptions, "map", arguments)
    check_output_path(options.out, MAP_EXTENSIONS)
    run, drawings = options.open()
    first, second = save_map(run, drawings, options.out, options.n).explained_variance_ratio
    print(
        f"{options.out}: {quantity(len(drawings), 'drawings')}; the first two principal components explain "
        f"{first:.1%} and {second:.1%} of the variance"
    )
    return 0
