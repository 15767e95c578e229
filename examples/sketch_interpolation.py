"""Train a Sketch-RNN, and look at its latents: drawings reconstructed, interpolated, combined, and on a map.

    python examples/sketch_interpolation.py [DATA] [MINUTES]

DATA is a catalog name, or a file or folder of any format that mdnrnn reads; by default the bundled doodles. Leaves the
run in runs/sketch, and pictures beside it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import mdnrnn
from mdnrnn.render.save import save_drawings, save_morph
from mdnrnn.runs.presets import PRESETS
from mdnrnn.tasks.latent_space import serpentine_order

data = sys.argv[1] if len(sys.argv) > 1 else "doodles"
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
folder = Path("runs")

preset = PRESETS["sketch-small"]
mdnrnn.train(preset, data, folder / "sketch", training=replace(preset.training, minutes=minutes))

run = mdnrnn.load(folder / "sketch")
drawings = run.open_data().part("test")
four = mdnrnn.select(drawings, np.random.default_rng(1).choice(len(drawings), 4, replace=False).tolist())

save_drawings(mdnrnn.reconstruct(run, four), folder / "reconstructed.svg", columns=4)
save_drawings(mdnrnn.interpolate(run, four, rows=6, columns=8), folder / "interpolated.svg", columns=8)
morph = mdnrnn.interpolate(run, four, rows=4, columns=16)
save_morph(mdnrnn.select(morph, serpentine_order(4, 16)), folder / "interpolated.gif")
save_drawings(mdnrnn.combine(run, mdnrnn.select(four, [0, 1, 2]), [1, -1, 1]), folder / "combined.svg", columns=6)

found = mdnrnn.save_map(run, drawings, folder / "map.svg")
first, second = found.explained_variance_ratio
print(f"{len(drawings)} drawings; {first:.0%} and {second:.0%} of the variance lie in the plane of runs/map.svg")
