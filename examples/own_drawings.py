"""Train a model on a folder of drawings and generate new ones.

    python examples/own_drawings.py [FOLDER] [STEPS]

FOLDER contains SVG files or drawings in any other supported format; its subfolders become classes. Without FOLDER, the
bundled doodles are first exported as 5,400 SVG files, one folder per class. STEPS is the number of training steps, by
default 1500 (about two minutes on two cores). Writes own-drawings.svg, the corpus own-drawings/ and the run own-run/.
"""

import sys
from dataclasses import replace
from pathlib import Path

import mdnrnn
from mdnrnn.data.formats import WRITERS
from mdnrnn.render.save import save_drawings
from mdnrnn.runs.presets import PRESETS

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "drawings")
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
if len(sys.argv) < 2 and not folder.exists():
    WRITERS["svg"](mdnrnn.open_corpus("doodles").select_split("train"), folder)

# Equal size, integer coordinates and few points make training faster and the likelihoods comparable.
recipe = mdnrnn.Recipe(box=255, simplify=2, max_points=250, split="0.8,0.1,0.1")
report = mdnrnn.import_corpus([folder], "own-drawings", recipe)
print(f"{report.kept} of {report.read} drawings kept, {report.points} points, {report.classes} classes")
for reason, (count, first) in {**report.dropped, **report.repaired}.items():
    print(f"{reason}: {count} drawings, first {first}")

preset = PRESETS["stroke-small"]
mdnrnn.train(preset, "own-drawings", "own-run", training=replace(preset.training, steps=steps, minutes=None))
run = mdnrnn.load("own-run")
likelihood = run.evaluate("test")
print(f"{likelihood.nll_per_sequence:.1f} nats per drawing; null model: {likelihood.null_nll_per_sequence:.1f}")
drawings = run.generate(36, sampling=mdnrnn.Sampling(temperature=0.3), seed=0)
save_drawings(drawings, "own-drawings.svg")
