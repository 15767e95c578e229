"""Train an MDN-RNN on strokes, measure it, draw with it: the whole workflow from Python.

    python examples/strokes.py [DATA] [MINUTES]

DATA is a catalog name, or a file or folder of any format that mdnrnn reads; by default the bundled doodles.
"""

import sys
from dataclasses import replace

import mdnrnn
from mdnrnn.render import save_picture
from mdnrnn.runs.presets import PRESETS

data = sys.argv[1] if len(sys.argv) > 1 else "doodles"
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0

preset = PRESETS["stroke-small"]
mdnrnn.train(preset, data, "runs/strokes", training=replace(preset.training, minutes=minutes))

run = mdnrnn.load("runs/strokes")
likelihood = run.evaluate("test")
print(f"{likelihood.nll_per_sequence:.1f} nats a drawing; the null model: {likelihood.null_nll_per_sequence:.1f}")

drawings = run.generate(25, sampling=mdnrnn.Sampling(temperature=0.4), seed=0)
save_picture([drawings.drawing(i) for i in range(len(drawings))], "runs/strokes.svg")
