"""`mdnrnn map RUN --out FILE`: a plane of drawings, like beside like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mdnrnn.cli.arguments import parse
from mdnrnn.cli.drawings import DataOptions
from mdnrnn.render.save import check_out
from mdnrnn.tasks.latent_space import MAP_ENDINGS, save_map


@dataclass(frozen=True, kw_only=True)
class MapOptions(DataOptions):
    """Draw drawings at the places of their latents in the plane of their first two principal components."""

    out: Path
    """The file to write: .svg .png .pdf, or .npz for the latents and their places."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200
    """The most drawings to draw, such as do not overlap much; dots stand for the others."""


def main(arguments: list[str]) -> int:
    """Encode, project_to_plane, save."""
    options = parse(MapOptions, "map", arguments)
    check_out(options.out, MAP_ENDINGS)
    run, drawings = options.open()
    first, second = save_map(run, drawings, options.out, options.n).explained_variance_ratio
    print(
        f"{options.out}: {len(drawings)} drawings; the first two principal components hold "
        f"{first:.1%} and {second:.1%} of the variance"
    )
    return 0
