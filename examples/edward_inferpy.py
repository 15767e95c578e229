"""The mixture density network of the Edward and InferPy tutorials: the inverse sine once more, drawn as a density.

    python examples/edward_inferpy.py [OUT.png]

Both are libraries for probabilistic programs, and their tutorials train the same kind of network on the same kind of
data; this is InferPy's size: two layers of 15 ReLU units, 20 components, 5000 points. It publishes no likelihood, so
the one number to stand beside ours is the floor, the exact entropy of y given x.
"""

import sys
from pathlib import Path

import torch

from mdnrnn import MDN, MDNConfig, TrainConfig, fit
from mdnrnn.data.toys import TOYS
from mdnrnn.render import figure_bytes
from mdnrnn.render.figures import densities
from mdnrnn.tasks.toy_demos import measure

out = Path(sys.argv[1] if len(sys.argv) > 1 else "edward_inferpy.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # networks this small gain nothing from more

problem = TOYS["sine"].problem(5000)
network = MDNConfig(widths=(15, 15), activation="relu", components=20, input_noise=0.04)
training = TrainConfig(
    batch_size=500, steps=3000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)
model = MDN(1, 1, network, problem.points)
fit(model, problem.points, config=training)

nll, pit = measure(model, problem.fresh(50_000, seed=0))
inside = ((pit > 0.05) & (pit < 0.95)).double().mean()
print(f"held out {nll:.4f} nats a point, floor {problem.entropy():.4f}; published: no number")
print(f"the central 90% intervals hold {inside:.1%} of the held-out targets")

with torch.no_grad():
    grid = torch.linspace(-12, 12, 400).unsqueeze(1)  # of x, and of y
    mixture = model(grid)
    density = mixture.log_prob(grid.unsqueeze(1)).exp().unsqueeze(2)  # shape (y, x, 1)
    quantiles = mixture.icdf(torch.tensor(densities.LEVELS).unsqueeze(1))
figure = densities.density_figure(
    grid[:, 0].numpy(), grid.numpy(), density.numpy(), quantiles.numpy(), title="inverse sine: density and quantiles"
)
out.write_bytes(figure_bytes(figure, out.suffix))
