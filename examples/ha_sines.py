"""David Ha's post on mixture density networks (2015) and the notebook after it: a sine, then its inverse.

    python examples/ha_sines.py [OUT.png]

A plain network learns y from x; with x and y exchanged there are several answers, and a mixture is needed. Published:
forward, squared error 1.36 on its 1000 training points after 90,000 steps; inverse, one hidden layer of 100 tanh
units, 20 components, 2500 points, loss 1.93 after 20,000 steps. The mixture network is his; the plain one, of 50
units, and 3000 steps of training are ours.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mdnrnn import MDN, MDNConfig, TrainConfig, fit
from mdnrnn.data.toys import TOYS
from mdnrnn.models.configs import BodyConfig
from mdnrnn.models.feedforward import SquaredErrorNetwork
from mdnrnn.render import figure_bytes
from mdnrnn.render.figures import densities
from mdnrnn.tasks.toy_demos import measure, squared_error

out = Path(sys.argv[1] if len(sys.argv) > 1 else "ha_sines.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # networks this small gain nothing from more
training = TrainConfig(
    batch_size=500, steps=3000, learning_rate=5e-3, final_rate=0.0, clip=10.0, precision="float32", device="cpu"
)

sine, inverse = TOYS["forward-sine"].problem(1000), TOYS["sine"].problem(2500)
plain = SquaredErrorNetwork(1, 1, BodyConfig(widths=(50,), activation="tanh", detail=3.0), sine.points)
fit(plain, sine.points, config=training)
mdn = MDN(1, 1, MDNConfig(widths=(100,), activation="tanh", detail=3.0, input_noise=0.06), inverse.points)
fit(mdn, inverse.points, config=training)

known, fresh = (squared_error(plain, points) for points in (sine.points, sine.fresh(50_000, seed=0)))
print(f"sine: squared error {known:.3f} in training, published 1.36")
print(f"    held out {fresh:.3f}, floor 1.000: the variance of the noise, whose entropy is {sine.entropy():.4f} nats")
nll, _ = measure(mdn, inverse.fresh(50_000, seed=0))
print(f"inverse sine: held out {nll:.4f} nats a point, floor {inverse.entropy():.4f}; published 1.93, in training")

figure = Figure(figsize=(7.2, 3.8), dpi=144, layout="constrained")
left = figure.add_subplot(1, 2, 1, title="sine", xlabel="x", ylabel="y")
right = figure.add_subplot(1, 2, 2, title="inverse sine", xlabel="x", ylabel="y")
line, x = torch.linspace(-10.5, 10.5, 400).unsqueeze(1), inverse.points.x
left.scatter(*sine.points, s=12, linewidths=0, color=densities.PALE, label="data")
left.plot(line, plain(line).detach(), color=densities.ORANGE, label="plain network")
right.scatter(*inverse.points, s=12, linewidths=0, color=densities.PALE)
right.scatter(x, mdn(x).sample(), s=3, linewidths=0, color=densities.BLUE, label="samples of the mixture")
figure.legend(loc="outside lower center", ncols=4, frameon=False)
out.write_bytes(figure_bytes(figure, out.suffix))
