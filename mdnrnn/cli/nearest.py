"""`mdnrnn nearest RUN --out FILE`: find the nearest neighbors of drawings in the latent space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from mdnrnn.cli.options import Indices, Json, LatentDrawingOptions, Seed, parse, print_json, select_indices
from mdnrnn.tasks.latent_space import find_nearest, select

_QUERIES = 8


@dataclass(frozen=True, kw_only=True)
class NearestOptions(LatentDrawingOptions):
    """Find the drawings whose latent vectors are nearest to those of given drawings, the queries.

    Each row shows a query and its neighbors, nearest first.
    """

    indices: Indices = ()
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 7
    """Number of neighbors per query drawing."""
    seed: Seed = 0
    json: Json = False


def main(arguments: list[str]) -> int:
    """Encode the drawings, find the neighbors, save them and print their distances."""
    options = parse(NearestOptions, "nearest", arguments)
    options.check()
    run, drawings = options.open()
    queries = select_indices(drawings, options.indices, _QUERIES, options.seed)
    neighbors = find_nearest(run, queries, drawings, options.n)
    rows = list(zip(queries, neighbors.indices.tolist(), neighbors.distances.tolist(), strict=True))
    shown: list[int] = []
    captions: list[str] = []
    for query, indices, distances in rows:
        shown += [query, *indices]
        captions += [str(query), *(f"{i}: {distance:.2f}" for i, distance in zip(indices, distances, strict=True))]
    options.save(select(drawings, shown), 1 + options.n, captions)
    if options.json:
        print_json(
            [{"drawing": query, "nearest": indices, "distances": distances} for query, indices, distances in rows]
        )
        return 0
    for query, indices, distances in rows:
        print(f"{query}: " + ", ".join(f"{i} ({distance:.3f})" for i, distance in zip(indices, distances, strict=True)))
    return 0
