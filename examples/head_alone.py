"""Use the mixture head as the last layer of your own network, in your own training loop.

    python examples/head_alone.py [OUT.png]

The inverse sine has several values of y per x. Published results: 1.93 nats per point (Ha, training loss, 2500 points)
and 1.369 (keras-mdn-layer, validation loss, 3000 points). This script trains with Adam on 10,000 points and evaluates
on 50,000 new points.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from mdnrnn import MixtureHead
from mdnrnn.data.toys import TOYS
from mdnrnn.render.figures import densities
from mdnrnn.render.raster import figure_bytes

out = Path(sys.argv[1] if len(sys.argv) > 1 else "head_alone.png")
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks do not benefit from more
problem = TOYS["sine"].make_dataset(10_000)
x, y = problem.points  # shapes (N, 1)

head = MixtureHead(64, 1, components=20)
head.initialize(y)  # spreads the means over the targets
net = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), head)
optimizer = torch.optim.Adam(net.parameters(), 5e-3)
for _ in range(2000):
    rows = torch.randint(len(x), (1000,))
    loss = -net(x[rows]).log_prob(y[rows]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    fresh = problem.sample(50_000, seed=0)
    nll = -net(fresh.x).log_prob(fresh.y).mean()
    print(f"held out {nll:.4f} nats per point, floor {problem.entropy():.4f}; published 1.93 and 1.369")
    samples = net(x).sample()
data, draws = (densities.PointCloud(x[:, 0].numpy(), targets.numpy()) for targets in (y, samples))
figure = densities.samples_figure(data, None, draws, title="inverse sine with a custom network and training loop")
out.write_bytes(figure_bytes(figure, out.suffix))
