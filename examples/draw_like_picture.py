"""Draw something like a given picture: a small convolutional network on the picture conditions every step.

    python examples/draw_like_picture.py [STEPS]

STEPS is the number of training steps, by default 1500. Writes draw-like-picture.svg:
test drawings in the odd rows, and below each one a drawing that the model made from its picture of 24 by 24 pixels.
"""

import sys
from dataclasses import replace

import numpy as np
import torch
from torch import nn

import mdnrnn
from mdnrnn.data.strokes import Drawing, resample
from mdnrnn.render.geometry import bounds
from mdnrnn.render.save import save_picture
from mdnrnn.render.style import DrawingOptions

SIZE = 24


def render(drawing: Drawing) -> np.ndarray:
    """Return the pixels of a drawing, shape (SIZE x SIZE,)."""
    box = bounds(drawing)
    points = np.concatenate([resample(stroke, max(box.width, box.height) / 96)[0] for stroke in drawing])
    half = max(box.width, box.height) / 2
    x, y = points[:, 0] - box.left - box.width / 2, points[:, 1] - box.top - box.height / 2
    ink, *_ = np.histogram2d(y, x, bins=SIZE, range=[[-half, half], [-half, half]])
    return (ink.ravel() > 0).astype(np.float32)


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
corpus = mdnrnn.open_corpus("doodles")
pictures = np.stack([render(corpus.drawing(i)) for i in range(len(corpus))])
corpus = replace(corpus, label=None, metadata=replace(corpus.metadata, classes=()), context=pictures)
normalizer = mdnrnn.Normalizer.from_corpus(corpus)
train, valid, test = (mdnrnn.Batches(corpus, split, normalizer) for split in ("train", "valid", "test"))

torch.manual_seed(0)
encoder = nn.Sequential(
    nn.Unflatten(1, (1, SIZE, SIZE)), nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * (SIZE // 4) ** 2, 64), nn.Tanh(),
)  # fmt: skip
config = mdnrnn.MDNRNNConfig(hidden=256, dropout=0.1)
model = mdnrnn.MDNRNN(mdnrnn.StepShape.from_corpus(corpus), config, context_encoder=encoder)
mdnrnn.fit(model, train, valid, config=mdnrnn.SequenceTrainConfig(steps=steps, learning_rate=3e-3))
print(f"{mdnrnn.evaluate(model, test).nll_per_point:.3f} nats per point")

chosen = np.linspace(*corpus.splits["test"], 18, endpoint=False).astype(int)
sampling, bin_width = mdnrnn.Sampling(temperature=0.2), torch.tensor(normalizer.bin_widths(corpus.metadata))
condition = mdnrnn.Condition(context=torch.from_numpy(pictures[chosen]))
drawn = mdnrnn.generate(model, 18, condition, sampling=sampling, bin_width=bin_width, max_steps=200)
motions = [normalizer.denormalize(sequence.motion).round() for sequence in drawn]
answers = mdnrnn.Corpus.from_arrays(motions, [sequence.event for sequence in drawn], splits=["test"] * 18)
pairs = [(corpus.drawing(chosen[i]), answers.drawing(i)) for i in range(18)]
rows = [pair[k] for first in (0, 9) for k in (0, 1) for pair in pairs[first : first + 9]]
save_picture(rows, "draw-like-picture.svg", DrawingOptions(columns=9))
