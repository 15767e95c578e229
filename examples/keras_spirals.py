"""Reproduce the Keras example on one-to-many mappings: predict one column of a noisy spiral from the other.

    python examples/keras_spirals.py [OUT.png]

Spiral A has normal noise; spiral B, from another version of the example, has uniform noise. The networks have two
layers of 128 ReLU units and the mixture has 20 components. Published validation results for A after 143 epochs: -0.1763
nats per point, and squared error 0.99 of a squared-error network. There are none for B. The training settings are our
own.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mdnrnn import MDN, MDNConfig, TrainConfig, fit
from mdnrnn.data.toys import TOYS
from mdnrnn.models.configs import BodyConfig
from mdnrnn.models.feedforward import SquaredErrorNetwork
from mdnrnn.render.figures import densities
from mdnrnn.render.raster import figure_bytes
from mdnrnn.tasks.toy_demos import measure, squared_error

out = Path(sys.argv[1] if len(sys.argv) > 1 else "keras_spirals.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks do not benefit from more
training = TrainConfig(
    batch_size=128, steps=4000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)

figure = Figure(figsize=(7.2, 5), dpi=144, layout="constrained")
rows = figure.subplots(2, 3, sharex="row", sharey="row")
for panels, name, published in zip(rows, ("spiral", "spiral-jitter"), ("-0.1763 and 0.99", "none"), strict=True):
    problem = TOYS[name].make_dataset(10_000)
    plain = SquaredErrorNetwork(1, 1, BodyConfig(widths=(128, 128), activation="relu"), problem.points)
    mdn = MDN(1, 1, MDNConfig(widths=(128, 128), activation="relu", components=20), problem.points)
    for model in (plain, mdn):
        fit(model, problem.points, config=training)
    fresh = problem.sample(50_000, seed=0)
    print(f"{problem.toy.title}: held out {measure(mdn, fresh)[0]:.4f} nats per point, floor {problem.entropy():.4f},")
    print(f"    squared-error network {squared_error(plain, fresh):.3f}; published {published}")

    x, y = problem.points.x[:5000], problem.points.y[:5000]
    panels[0].scatter(x, y, s=0.5, color="black")
    panels[1].scatter(x, y, s=0.5, color=densities.PALE)
    panels[1].plot(x.sort(0).values, plain(x.sort(0).values).detach(), color=densities.ORANGE, linewidth=2)
    panels[2].scatter(x, mdn(x).sample(), s=0.5, color=densities.BLUE)
    panels[0].set_ylabel(f"{problem.toy.title}: y")
    for axes, title in zip(panels, ("data", "squared-error network", "samples of the mixture"), strict=True):
        axes.set(title=title, xlabel="x")
out.write_bytes(figure_bytes(figure, out.suffix))
