"""Reproduce the two notebooks of Charles Martin's keras-mdn-layer: the inverse sine and a spiral with two targets.

    python examples/keras_mdn_layer.py [OUT.png]

Both use two layers of 15 ReLU units and 10 components. Published validation losses after 500 epochs: 1.369 nats per
point for the inverse sine (3000 points) and 2.956 for the spiral (5000 points). The networks have the published size;
the training settings are our own, and the evaluation uses 50,000 new points.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mdnrnn import MDN, MDNConfig, TrainConfig, fit
from mdnrnn.data.toys import TOYS
from mdnrnn.render.figures import densities
from mdnrnn.render.raster import figure_bytes
from mdnrnn.tasks.toy_demos import measure

out = Path(sys.argv[1] if len(sys.argv) > 1 else "keras_mdn_layer.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks do not benefit from more
network = MDNConfig(widths=(15, 15), activation="relu", components=10, detail=2.0)
training = TrainConfig(
    batch_size=500, steps=4000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)

problems = (
    ("sine", 3000, 1.369, {"xlabel": "x", "ylabel": "y"}),
    ("spiral-2d", 5000, 2.956, {"xlabel": "z", "ylabel": "x1", "zlabel": "x2", "projection": "3d"}),
)
figure = Figure(figsize=(7.2, 4.2), dpi=144)
figure.subplots_adjust(left=0.1, right=0.92, bottom=0.22, wspace=0.1)
for position, (name, n, published, labels) in enumerate(problems, start=1):
    problem = TOYS[name].make_dataset(n)
    x, y = problem.points
    model = MDN(1, y.shape[1], network, problem.points)
    fit(model, problem.points, config=training)
    nll, _ = measure(model, problem.sample(50_000, seed=0))
    print(
        f"{problem.toy.title}: held out {nll:.4f} nats per point, floor {problem.entropy():.4f}; published {published}"
    )

    axes = figure.add_subplot(1, 2, position, title=problem.toy.title, **labels)
    axes.plot(*torch.cat([x, y], 1).T, ".", markersize=4, color=densities.PALE, label="data")
    axes.plot(*torch.cat([x, model(x).sample()], 1).T, ".", markersize=1, color=densities.BLUE, label="samples")
figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=2, markerscale=3, frameon=False)
out.write_bytes(figure_bytes(figure, out.suffix))
