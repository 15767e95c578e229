"""`mdnrnn nearest RUN --out FILE`: drawings, and those most like them to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.cli.drawings import DrawingsOptions, chosen
from mdnrnn.tasks.latent_space import find_nearest, select


@dataclass(frozen=True, kw_only=True)
class NearestOptions(DrawingsOptions):
    """Find the drawings whose latents lie nearest to those of some: a row for each, itself first."""

    indices: tuple[int, ...] = ()
    """Whose neighbors to find, by their numbers in the split, counted from 0; by default the seed chooses 8."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 7
    """How many neighbors of each."""
    seed: int = 0
    """Of the choice."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""


def main(arguments: list[str]) -> int:
    """Encode, compare, save and print."""
    options = parse(NearestOptions, "nearest", arguments)
    options.check()
    run, drawings = options.open()
    queries = chosen(drawings, options.indices, 8, options.seed)
    found = find_nearest(run, queries, drawings, options.n)
    rows = list(zip(queries, found.indices.tolist(), found.distances.tolist(), strict=True))
    shown = [index for query, indices, _ in rows for index in (query, *indices)]
    names = [
        name
        for query, indices, distances in rows
        for name in (f"{query}", *(f"{i}: {distance:.2f}" for i, distance in zip(indices, distances, strict=True)))
    ]
    options.save(select(drawings, shown), 1 + options.n, names)
    if options.json:
        print_json([{"drawing": query, "nearest": near, "distances": far} for query, near, far in rows])
        return 0
    for query, indices, distances in rows:
        print(f"{query}: " + ", ".join(f"{i} ({far:.3f})" for i, far in zip(indices, distances, strict=True)))
    return 0
