"""The mixture on the slide that opens the lecture on mixture density networks, before any network.

    python examples/mixture.py [OUT.png]

Two Gaussians of equal weight, means -5 and 5, standard deviations 2 and 3: their density over samples, and their
numbers beside what the samples give. Nothing is trained: it takes seconds.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mdnrnn import GaussianMixture
from mdnrnn.render import figure_bytes
from mdnrnn.render.figures import densities

out = Path(sys.argv[1] if len(sys.argv) > 1 else "mixture.png")
torch.manual_seed(0)

weights, means, sigmas = torch.tensor([0.5, 0.5]), torch.tensor([[-5.0], [5.0]]), torch.tensor([[2.0], [3.0]])
mixture = GaussianMixture(weights.log(), means, sigmas.log())
samples = mixture.sample((50_000,))
low, high = mixture.interval(0.9)
entropy, error = mixture.entropy(100_000)
print(f"mean {mixture.mean.item():.3f}, of 50,000 samples {samples.mean():.3f}")
print(f"variance {mixture.variance.item():.3f}, of the samples {samples.var():.3f}")
print(f"mode {mixture.mode.item():.3f}: the narrow component's mean, pulled a little by the wide one")
print(f"90% interval {low.item():.3f} to {high.item():.3f}")
print(f"entropy {entropy.item():.3f} ± {error.item():.3f} nats: a mean over samples, as there is no closed form")

x = torch.linspace(-14, 16, 601).unsqueeze(1)
density = mixture.log_prob(x).exp()
narrow, wide = (density.unsqueeze(1) * mixture.component_posterior(x)).unbind(1)  # weight x Normal, of each

figure = Figure(figsize=(7.2, 4), dpi=144, layout="constrained")
axes = figure.add_subplot(title="a mixture of two Gaussians", xlabel="x", ylabel="density", xlim=(-14, 16))
axes.hist(samples[:, 0].numpy(), bins=120, density=True, color=densities.PALE, label="50,000 samples")
axes.plot(x, narrow, color=densities.BLUE, linestyle="--", label="½ Normal(−5, 2²)")
axes.plot(x, wide, color=densities.BLUE, linestyle=":", label="½ Normal(5, 3²)")
axes.plot(x, density, color=densities.ORANGE, label="their sum")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
out.write_bytes(figure_bytes(figure, out.suffix))
