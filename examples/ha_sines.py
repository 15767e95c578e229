"""Reproduce David Ha's post on mixture density networks (2015): a sine and its inverse.

    python examples/ha_sines.py [OUT.png]

A squared-error network can predict y from x, but the inverse problem has several values of y per x and needs a mixture.
Published results: squared error 1.36 on 1000 training points of the sine after 90,000 steps; training loss 1.93 on the
inverse sine after 20,000 steps, with one hidden layer of 100 tanh units, 20 components and 2500 points. The mixture
network has the published size; the squared-error network has 50 units, and both are trained for 3000 steps.
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

out = Path(sys.argv[1] if len(sys.argv) > 1 else "ha_sines.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks do not benefit from more
training = TrainConfig(
    batch_size=500, steps=3000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)

sine, inverse = TOYS["forward-sine"].make_dataset(1000), TOYS["sine"].make_dataset(2500)
plain = SquaredErrorNetwork(1, 1, BodyConfig(widths=(50,), activation="tanh", detail=3.0), sine.points)
fit(plain, sine.points, config=training)
mdn = MDN(1, 1, MDNConfig(widths=(100,), activation="tanh", detail=3.0, input_noise=0.06), inverse.points)
fit(mdn, inverse.points, config=training)

train_error, test_error = (squared_error(plain, points) for points in (sine.points, sine.sample(50_000, seed=0)))
print(f"sine: squared error {train_error:.3f} in training, published 1.36")
print(f"    held out {test_error:.3f}, floor 1.000 (variance of the noise; its entropy is {sine.entropy():.4f} nats)")
nll, _ = measure(mdn, inverse.sample(50_000, seed=0))
print(f"inverse sine: held out {nll:.4f} nats per point, floor {inverse.entropy():.4f}; published 1.93 in training")

figure = Figure(figsize=(7.2, 3.8), dpi=144, layout="constrained")
left = figure.add_subplot(1, 2, 1, title="sine", xlabel="x", ylabel="y")
right = figure.add_subplot(1, 2, 2, title="inverse sine", xlabel="x", ylabel="y")
line, x = torch.linspace(-10.5, 10.5, 400).unsqueeze(1), inverse.points.x
left.scatter(*sine.points, s=12, linewidths=0, color=densities.PALE, label="data")
left.plot(line, plain(line).detach(), color=densities.ORANGE, label="squared-error network")
right.scatter(*inverse.points, s=12, linewidths=0, color=densities.PALE)
right.scatter(x, mdn(x).sample(), s=3, linewidths=0, color=densities.BLUE, label="samples of the mixture")
figure.legend(loc="outside lower center", ncols=4, frameon=False)
out.write_bytes(figure_bytes(figure, out.suffix))
