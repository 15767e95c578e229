"""Train an MDN-RNN on strokes, evaluate it and generate drawings: the whole workflow from Python.

    python examples/strokes.py [DATA] [STEPS]

DATA is a catalog name, file or folder, by default the bundled doodles. STEPS is the number of training steps, by
default 1500 (about two minutes on two cores). Writes the run to runs/strokes and the picture runs/strokes.svg.
"""

import sys
from dataclasses import replace

import mdnrnn
from mdnrnn.render.save import save_drawings
from mdnrnn.runs.presets import PRESETS

data = sys.argv[1] if len(sys.argv) > 1 else "doodles"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500

preset = PRESETS["stroke-small"]
mdnrnn.train(preset, data, "runs/strokes", training=replace(preset.training, steps=steps, minutes=None))

run = mdnrnn.load("runs/strokes")
likelihood = run.evaluate("test")
print(f"{likelihood.nll_per_sequence:.1f} nats per drawing; null model: {likelihood.null_nll_per_sequence:.1f}")

drawings = run.generate(25, sampling=mdnrnn.Sampling(temperature=0.4), seed=0)
save_drawings(drawings, "runs/strokes.svg")
