"""Compare a squared-error network and a mixture density network on the inverse sine (lecture by Charles Martin).

    python examples/arcsine_lecture.py [OUT.png]

Both networks have two layers of 15 units: the first uses tanh and squared error (286 parameters), the second ReLU and
a mixture of 5 components (510 parameters). The lecture trains with RMSprop and publishes neither a likelihood nor the
number of points. This script uses 2500 points, as Ha does, and compares with the exact entropy of y given x.
"""

import math
import sys
from pathlib import Path

import torch

from mdnrnn import MDN, MDNConfig, TrainConfig, fit
from mdnrnn.data.toys import TOYS
from mdnrnn.models.configs import BodyConfig
from mdnrnn.models.feedforward import SquaredErrorNetwork
from mdnrnn.render.figures import densities
from mdnrnn.render.raster import figure_bytes
from mdnrnn.tasks.toy_demos import measure, squared_error

out = Path(sys.argv[1] if len(sys.argv) > 1 else "arcsine_lecture.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks do not benefit from more
training = TrainConfig(
    batch_size=500, steps=6000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)

problem = TOYS["arcsine"].make_dataset(2500)
plain = SquaredErrorNetwork(1, 1, BodyConfig(widths=(15, 15), activation="tanh"), problem.points)
mdn = MDN(1, 1, MDNConfig(widths=(15, 15), activation="relu", components=5, input_noise=0.04), problem.points)
assert [sum(p.numel() for p in model.parameters()) for model in (plain, mdn)] == [286, 510]  # as published
fit(plain, problem.points, config=training)
fit(mdn, problem.points, config=training)

fresh = problem.sample(50_000, seed=0)
error, nll = squared_error(plain, fresh), measure(mdn, fresh)[0]
single = 0.5 * math.log(2 * math.pi * math.e * error)  # NLL of one Gaussian around the curve
print(
    f"286 parameters by squared error: held-out squared error {error:.2f}, as one Gaussian {single:.4f} nats per point"
)
print(f"510 parameters as a mixture: held out {nll:.4f} nats per point, floor {problem.entropy():.4f}")

x, y = problem.points
line = torch.linspace(-14, 14, 400).unsqueeze(1)
curve, samples = plain(line).detach(), mdn(x).sample()
data, prediction, draws = (
    densities.PointCloud(a[:, 0].numpy(), b.numpy()) for a, b in ((x, y), (line, curve), (x, samples))
)
figure = densities.samples_figure(data, prediction, draws, title="inverse sine: squared error and mixture")
out.write_bytes(figure_bytes(figure, out.suffix))
