"""A folder of drawings to a model that draws like them.

    python examples/own_drawings.py [FOLDER] [MINUTES]

FOLDER holds SVG files, or drawings in any other format that mdnrnn reads; folders inside it become classes. Without
one, the bundled doodles are written out as 5,400 SVG files first, a folder a class, and read back. Leaves
own-drawings.svg, and beside it the corpus and the run.
"""

import sys
from dataclasses import replace
from pathlib import Path

import mdnrnn
from mdnrnn.data.formats import WRITERS
from mdnrnn.render import save_picture
from mdnrnn.runs.presets import PRESETS

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "drawings")
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
if len(sys.argv) < 2 and not folder.exists():
    WRITERS["svg"](mdnrnn.open_corpus("doodles").part("train"), folder)

# One size for all, whole numbers, and no more points than the shapes need: what a model learns from best.
recipe = mdnrnn.Recipe(box=255, simplify=2, max_points=250, split="0.8,0.1,0.1")
report = mdnrnn.import_corpus([folder], "own-drawings", recipe)
print(f"{report.kept} of {report.read} drawings kept, {report.points} points, {report.classes} classes")
for reason, (count, first) in {**report.dropped, **report.repaired}.items():
    print(f"{count} {reason}; the first: {first}")

preset = PRESETS["stroke-small"]
mdnrnn.train(preset, "own-drawings", "own-run", training=replace(preset.training, minutes=minutes))
run = mdnrnn.load("own-run")
likelihood = run.evaluate("test")
print(f"{likelihood.nll_per_sequence:.1f} nats a drawing; the null model: {likelihood.null_nll_per_sequence:.1f}")
drawings = run.generate(36, sampling=mdnrnn.Sampling(temperature=0.3), seed=0)
save_picture([drawings.drawing(i) for i in range(len(drawings))], "own-drawings.svg")
