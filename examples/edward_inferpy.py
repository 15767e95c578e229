"""Train the mixture density network of the Edward and InferPy tutorials and plot its conditional density.

    python examples/edward_inferpy.py [OUT.png]

The tutorials of these two probabilistic programming libraries train similar networks on the inverse sine. This script
uses InferPy's sizes: two layers of 15 ReLU units, 20 components, 5000 points. InferPy publishes no likelihood, so the
result is compared with the floor only, the exact entropy of y given x.
"""

import sys
from pathlib import Path

import torch

from mdnrnn import MDN, MDNConfig, TrainConfig, fit
from mdnrnn.data.toys import TOYS
from mdnrnn.render.figures import densities
from mdnrnn.render.raster import figure_bytes
from mdnrnn.tasks.toy_demos import measure

out = Path(sys.argv[1] if len(sys.argv) > 1 else "edward_inferpy.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks do not benefit from more

problem = TOYS["sine"].make_dataset(5000)
network = MDNConfig(widths=(15, 15), activation="relu", components=20, input_noise=0.04)
training = TrainConfig(
    batch_size=500, steps=3000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)
model = MDN(1, 1, network, problem.points)
fit(model, problem.points, config=training)

nll, pit = measure(model, problem.sample(50_000, seed=0))
inside = ((pit > 0.05) & (pit < 0.95)).double().mean()
print(f"held out {nll:.4f} nats per point, floor {problem.entropy():.4f}; published: none")
print(f"central 90% intervals contain {inside:.1%} of the held-out targets")

with torch.no_grad():
    grid = torch.linspace(-12, 12, 400).unsqueeze(1)  # values of x and of y
    mixture = model(grid)
    density = mixture.log_prob(grid.unsqueeze(1)).exp().unsqueeze(2)  # shape (y, x, 1)
    quantiles = mixture.icdf(torch.tensor(densities.LEVELS).unsqueeze(1))
figure = densities.density_figure(
    grid[:, 0].numpy(), grid.numpy(), density.numpy(), quantiles.numpy(), title="inverse sine: density and quantiles"
)
out.write_bytes(figure_bytes(figure, out.suffix))
