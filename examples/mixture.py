"""Plot a mixture of two Gaussians and compare its closed-form statistics with samples.

    python examples/mixture.py [OUT.png]

The mixture, from Charles Martin's lecture on mixture density networks, has equal weights, means -5 and 5 and standard
deviations 2 and 3. No network is trained; the script takes seconds.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mdnrnn import GaussianMixture
from mdnrnn.render.figures import densities
from mdnrnn.render.raster import figure_bytes

out = Path(sys.argv[1] if len(sys.argv) > 1 else "mixture.png")
torch.manual_seed(0)

weights, means, sigmas = torch.tensor([0.5, 0.5]), torch.tensor([[-5.0], [5.0]]), torch.tensor([[2.0], [3.0]])
mixture = GaussianMixture(weights.log(), means, sigmas.log())
samples = mixture.sample((50_000,))
low, high = mixture.interval(0.9)
entropy, error = mixture.entropy_estimate()
print(f"mean {mixture.mean.item():.3f}; sample mean {samples.mean():.3f} (50,000 samples)")
print(f"variance {mixture.variance.item():.3f}; sample variance {samples.var():.3f}")
print(f"mode {mixture.mode.item():.3f}: close to the mean of the narrow component")
print(f"90% interval {low.item():.3f} to {high.item():.3f}")
print(f"entropy {entropy.item():.3f} ± {error.item():.3f} nats, a Monte Carlo estimate")

x = torch.linspace(-14, 16, 601).unsqueeze(1)
density = mixture.log_prob(x).exp()
narrow, wide = (density.unsqueeze(1) * mixture.component_posterior(x)).unbind(1)  # weighted component densities

figure = Figure(figsize=(7.2, 4), dpi=144, layout="constrained")
axes = figure.add_subplot(title="a mixture of two Gaussians", xlabel="x", ylabel="density", xlim=(-14, 16))
axes.hist(samples[:, 0].numpy(), bins=120, density=True, color=densities.PALE, label="50,000 samples")
axes.plot(x, narrow, color=densities.BLUE, linestyle="--", label="½ Normal(−5, 2²)")
axes.plot(x, wide, color=densities.BLUE, linestyle=":", label="½ Normal(5, 3²)")
axes.plot(x, density, color=densities.ORANGE, label="their sum")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
out.write_bytes(figure_bytes(figure, out.suffix))
