"""The mixture head at the end of your own network, in your own training loop.

    python examples/head_alone.py [OUT.png]

The inverse sine, which Ha, Edward, InferPy and keras-mdn-layer share, has several y for one x. Published: 1.93 nats a
point (Ha, in training, of 2500 points) and 1.369 (keras-mdn-layer, validation, of 3000). Here plain Adam learns from
10,000 points, and 50,000 fresh ones measure the network.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from mdnrnn import MixtureHead
from mdnrnn.data.toys import TOYS
from mdnrnn.render import figure_bytes
from mdnrnn.render.figures import densities

out = Path(sys.argv[1] if len(sys.argv) > 1 else "head_alone.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # networks this small gain nothing from more
problem = TOYS["sine"].problem(10_000)
x, y = problem.points  # shapes (N, 1)

head = MixtureHead(64, 1, components=20)
head.initialize(y)  # the components start where the targets are
net = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), head)
optimizer = torch.optim.Adam(net.parameters(), 5e-3)
for _ in range(2000):
    some = torch.randint(len(x), (1000,))
    loss = -net(x[some]).log_prob(y[some]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    fresh = problem.fresh(50_000, seed=0)
    nll = -net(fresh.x).log_prob(fresh.y).mean()
    print(f"held out {nll:.4f} nats a point, floor {problem.entropy():.4f}; published 1.93 and 1.369")
    samples = net(x).sample()
known, drawn = (densities.Cloud(x[:, 0].numpy(), targets.numpy()) for targets in (y, samples))
figure = densities.samples_figure(known, None, drawn, title="inverse sine, by a network and a loop of one's own")
out.write_bytes(figure_bytes(figure, out.suffix))
