"""Train a model on your own NumPy arrays, here 3,000 flowers, and draw new ones.

    python examples/own_arrays.py [STEPS] [PICTURE]

STEPS is the number of training steps, by default 1000 (about a minute on two cores). Writes the run own-arrays-run/ and
own-arrays.svg.
"""

import sys
from dataclasses import replace

import numpy as np

import mdnrnn
from mdnrnn.render.save import save_drawings
from mdnrnn.render.style import DrawingOptions

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
picture = sys.argv[2] if len(sys.argv) > 2 else "own-arrays.svg"
rng = np.random.default_rng(0)


def flower(petals: int) -> np.ndarray:
    """Return the points (T, 2) of a closed curve with integer coordinates."""
    angle = np.linspace(0, 2 * np.pi, 10 * petals + 1) + rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(60, 100) * (1 + rng.uniform(0.2, 0.6) * np.cos(petals * angle))
    return np.rint(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])).astype(int)


# A corpus consists of offsets from point to point. Here each drawing is one stroke, which is the default. Without
# `labels`, the model is not conditioned on classes. Padded arrays (M, T, D) need the argument `lengths`.
petals = rng.integers(3, 8, 3000)
motions = [np.diff(flower(count), axis=0) for count in petals]
corpus = mdnrnn.Corpus.from_arrays(motions, labels=[f"{count} petals" for count in petals])

preset = mdnrnn.PRESETS["stroke-small"]
training = replace(preset.training, steps=steps, minutes=None, augment_scale=0.0, augment_drop=0.0)
mdnrnn.train(preset, corpus, "own-arrays-run", training=training)

run = mdnrnn.load("own-arrays-run")
likelihood = run.evaluate("test", corpus)
print(f"{likelihood.nll_per_point:.3f} nats per point; null model: {likelihood.null_nll_per_point:.3f}")
names = [f"{count} petals" for count in range(3, 8)] * 6
drawings = run.generate(30, labels=names, sampling=mdnrnn.Sampling(temperature=0.3), seed=0)
save_drawings(drawings, picture, DrawingOptions(columns=10))
