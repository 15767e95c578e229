"""Train a model on your own NumPy arrays, here 5,000 stars, and draw new ones.

    python examples/own_arrays.py [STEPS] [PICTURE]

STEPS is the number of training steps, by default 800 (about 15 seconds). Writes the run own-arrays-run/ and
own-arrays.svg with stars of 4 to 8 points.
"""

import sys
from dataclasses import replace

import numpy as np

import mdnrnn
from mdnrnn.render.save import save_drawings
from mdnrnn.render.style import DrawingOptions

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 800
picture = sys.argv[2] if len(sys.argv) > 2 else "own-arrays.svg"
rng = np.random.default_rng(0)


def star(points: int) -> np.ndarray:
    """Return the corners (T, 2) of a star, with integer coordinates; the last corner is the first one."""
    angle = np.arange(2 * points + 1) * np.pi / points + rng.uniform(0, 2 * np.pi)
    radius = np.where(np.arange(2 * points + 1) % 2, rng.uniform(30, 60), rng.uniform(80, 100))
    return np.rint(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])).astype(int)


# A corpus consists of offsets from point to point. Here each drawing is one stroke, which is the default. Without
# `labels`, the model is not conditioned on classes. Padded arrays (M, T, D) need the argument `lengths`.
counts = rng.integers(4, 9, 5000)
motions = [np.diff(star(count), axis=0) for count in counts]
corpus = mdnrnn.Corpus.from_arrays(motions, labels=[f"{count} points" for count in counts])

preset = mdnrnn.PRESETS["stroke-small"]
training = replace(preset.training, steps=steps, minutes=None, augment_scale=0.0, augment_drop=0.0)
mdnrnn.train(preset, corpus, "own-arrays-run", training=training)

run = mdnrnn.load("own-arrays-run")
likelihood = run.evaluate("test", corpus)
print(f"{likelihood.nll_per_point:.3f} nats per point; null model: {likelihood.null_nll_per_point:.3f}")
names = [f"{count} points" for count in range(4, 9)] * 6
drawings = run.generate(30, labels=names, sampling=mdnrnn.Sampling(temperature=0.3), seed=0)
save_drawings(drawings, picture, DrawingOptions(columns=10))
