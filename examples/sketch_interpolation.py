"""Train a Sketch-RNN, then reconstruct, interpolate, combine and map drawings in its latent space.

    python examples/sketch_interpolation.py [DATA] [STEPS]

DATA is a catalog name, file or folder, by default the bundled doodles. STEPS is the number of training steps, by
default 6000 (about ten minutes on two cores). Writes the run to runs/sketch and the pictures to runs/.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import mdnrnn
from mdnrnn.render.save import save_drawings, save_morph
from mdnrnn.render.style import DrawingOptions
from mdnrnn.runs.presets import PRESETS
from mdnrnn.tasks.latent_geometry import serpentine_order
from mdnrnn.tasks.latent_space import save_map, select

data = sys.argv[1] if len(sys.argv) > 1 else "doodles"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
folder = Path("runs")

preset = PRESETS["sketch-small"]
mdnrnn.train(preset, data, folder / "sketch", training=replace(preset.training, steps=steps, minutes=None))

run = mdnrnn.load(folder / "sketch")
drawings = run.open_data().select_split("test")
four = select(drawings, np.random.default_rng(1).choice(len(drawings), 4, replace=False).tolist())

save_drawings(mdnrnn.reconstruct(run, four), folder / "reconstructed.svg", DrawingOptions(columns=4))
save_drawings(mdnrnn.interpolate(run, four, rows=6, columns=8), folder / "interpolated.svg", DrawingOptions(columns=8))
morph = mdnrnn.interpolate(run, four, rows=4, columns=16)
save_morph(select(morph, serpentine_order(4, 16)), folder / "interpolated.gif")
combined = mdnrnn.combine(run, select(four, [0, 1, 2]), [1, -1, 1])
save_drawings(combined, folder / "combined.svg", DrawingOptions(columns=6))

found = save_map(run, drawings, folder / "map.svg")
first, second = found.explained_variance_ratio
print(f"{len(drawings)} drawings; the axes of runs/map.svg explain {first:.0%} and {second:.0%} of the variance")
