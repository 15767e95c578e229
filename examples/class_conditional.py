"""Draw every class with a class-conditional model and check the drawings with a classifier.

    python examples/class_conditional.py [RUN] [PICTURE]

RUN is a run folder or a bundled model, by default doodles. The model draws ten drawings per class, one row per
class. A small convolutional classifier, trained on newly generated doodles, reports how many it recognizes. Writes
class-conditional.svg.
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn

import mdnrnn
from mdnrnn.data.strokes import Drawing, resample
from mdnrnn.data.synthetic.corpora import make_doodles
from mdnrnn.render.geometry import bounds
from mdnrnn.render.save import save_drawings
from mdnrnn.render.style import DrawingOptions

run = mdnrnn.load(sys.argv[1] if len(sys.argv) > 1 else "doodles")
picture = sys.argv[2] if len(sys.argv) > 2 else "class-conditional.svg"
classes = run.config.metadata.classes

names = [name for name in classes for _ in range(10)]
drawn = run.generate(len(names), labels=names, sampling=mdnrnn.Sampling(temperature=0.3), seed=0)
save_drawings(drawn, picture, DrawingOptions(columns=10, labels=names))


def image(drawing: Drawing) -> Tensor:
    """Return the drawing as an image of 24 by 24 pixels, the classifier's input, shape (1, 24, 24)."""
    box = bounds(drawing)
    points = np.concatenate([resample(stroke, max(box.width, box.height) / 96)[0] for stroke in drawing])
    half = max(box.width, box.height) / 2
    x, y = points[:, 0] - box.left - box.width / 2, points[:, 1] - box.top - box.height / 2
    ink, *_ = np.histogram2d(y, x, bins=24, range=[[-half, half], [-half, half]])
    return torch.from_numpy(np.minimum(ink, 4) / 4).float().unsqueeze(0)


def images(corpus: mdnrnn.Corpus, split: str) -> tuple[Tensor, Tensor]:
    """Return the images (M, 1, 24, 24) and labels (M,) of a split."""
    indices = corpus.indices(split)
    labels = torch.tensor([corpus[i].label for i in indices])
    return torch.stack([image(corpus.drawing(i)) for i in indices]), labels


torch.manual_seed(0)
classifier = nn.Sequential(
    nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Dropout(0.5), nn.Linear(32 * 6 * 6, len(classes)),
)  # fmt: skip
x, y = images(make_doodles(per_class=300, seed=1), "train")
optimizer = torch.optim.Adam(classifier.parameters(), 2e-3)
for _ in range(12):
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(x[rows]), y[rows]).backward()
        optimizer.step()
classifier.eval()


def is_recognized(corpus: mdnrnn.Corpus) -> Tensor:
    """Return whether the classifier predicts the label of each drawing of the test split, shape (M,)."""
    x, y = images(corpus, "test")
    return classifier(x).argmax(-1) == y


print(f"held-out doodles: {is_recognized(mdnrnn.open_corpus('doodles')).float().mean():.1%} recognized")
counts = is_recognized(drawn).view(len(classes), 10).sum(1)
for name, count in zip(classes, counts.tolist(), strict=True):
    print(f"{name}: {count} of 10")
print(f"generated at temperature 0.3: {counts.sum() / len(names):.1%} recognized")
