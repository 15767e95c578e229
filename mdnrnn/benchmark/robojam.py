"""RoboJam (Martin and Torresen, arXiv:1711.10746) as published: the model to measure ours against on touches.

A row is (x, y, dt, moving): the place on the screen, seconds since the row before (0 in the first), 0 where a finger
comes down and 1 where it goes on; all of it times 10. An LSTM reads the row before, zeros first, and a mixture of K = 5
diagonal Gaussians over the four columns together predicts the row. It is trained on the density of that.

That density counts nothing that can be counted: `moving` is 0 or 1, places lie on a grid. For nats in our units a row
has instead, of a mixture with weights w_k, means m_k and scales s_k over ten times its columns, the probability

    p(x, y, dt, moving) = sum_k w_k P_k(x) P_k(y) 10 N(10 dt; m_k, s_k) Phi(+-(m_k - 5) / s_k)

with P_k of the bin_width of one bin_width around the place (given the past the same event as the bin_width of the offset), dt's
density in seconds, and for `moving` the mass of its Gaussian above the middle, + for 1, or below it, - for 0. A first
row's dt and moving are no news and are left out. The end of a performance is not modeled and costs nothing, where
ours pays for it at every event: that is in its favor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Metadata
from mdnrnn.data.normalizer import WIDE, Normalizer
from mdnrnn.device import full_precision
from mdnrnn.distributions import GaussianMixture
from mdnrnn.distributions.density import add_dimensions
from mdnrnn.distributions.discretized import discretized_log_prob
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, START, UP
from mdnrnn.models.base import Loss, Model
from mdnrnn.nn.heads import MixtureHead
from mdnrnn.nn.lstm import LSTM

COMPONENTS = 5
TIMES = 10.0
_COLUMNS = 4


class RoboJam(Model):
    """A density of the next row (x, y, dt, moving), given the rows before.

    Trained for minutes it is the stronger for a head that starts from the rows as a whole:
    `model.head.initialize(torch.cat([model.rows(batch) for batch in train]))`; that is not published.

    Args:
        metadata: of a corpus of touches: features dx, dy, dt.
        normalizer: of the batches' motions.
        hidden: H.
        layers: LSTM layers.
        scale_floor: the least scale of a component, of ten times a column. None is published, and `moving`, which is 0
            or 10 and nothing between, shrinks its scale to whatever is allowed: without a floor the density has no
            bound. On tiny performances, 600 steps of 32 at H 256, nats an event of the valid split were 8.6 with 0.01,
            5.6 with 0.1, 6.9 with 0.3.
    """

    def __init__(
        self, metadata: Metadata, normalizer: Normalizer, hidden: int = 512, layers: int = 2, scale_floor: float = 0.1
    ) -> None:
        super().__init__()
        if not metadata.is_touch:
            raise InputError(
                f"{metadata.name} has features {metadata.features}, start {metadata.start!r}; expected touches"
            )
        self.metadata, self.normalizer = metadata, normalizer
        self.lstm = LSTM(_COLUMNS, hidden, layers)
        self.head = MixtureHead(hidden, _COLUMNS, COMPONENTS, scale_floor=scale_floor)

    def rows(self, batch: Batch) -> Tensor:
        """Ten times x, y, dt, moving of the batch's real steps, (S, 4)."""
        raw = torch.from_numpy(self.normalizer.restore(batch.target.motion.cpu().numpy())).to(batch.slots.device)
        place = batch.unpad(batch.pad(raw[:, :2]).cumsum(0))
        time = raw[:, 2].masked_fill(batch.previous.event == START, 0)
        moving = batch.previous.event == DOWN
        return TIMES * torch.column_stack([place, time, moving]).to(self.head.linear.weight.dtype)

    def forward(self, batch: Batch, rows: Tensor) -> GaussianMixture:
        """The mixtures over the batch's real `rows` (S, 4), flat (S,), each given the rows before it.

        Never in half precision: of absolute places that keeps no more than a 256th.
        """
        before = functional.pad(batch.pad(rows), (0, 0, 0, 0, 1, 0))[:-1]
        with torch.autocast(rows.device.type, enabled=False):
            outputs, _ = self.lstm(before, self.lstm.initial_state(batch.size))
            return cast(GaussianMixture, self.head(batch.unpad(outputs)))

    def loss(self, batch: Batch) -> Loss:
        """Mean over the batch's rows: minus the log density of all four columns, times 10."""
        rows = self.rows(batch)
        density = -self(batch, rows).log_prob(rows).mean()
        return Loss(density, {"density": density})

    def bin_widths(self, batch: Batch) -> Tensor:
        """Widths (S, 3) of the bin_widths of ten times x, y, dt; 0: the density counts; WIDE: the time of a first row."""
        first = (batch.previous.event == START).unsqueeze(-1)
        grid = torch.from_numpy(TIMES * self.metadata.bin_widths(_COLUMNS - 1)).to(self.head.linear.weight)
        return torch.where(first & (torch.arange(_COLUMNS - 1, device=first.device) == 2), WIDE, grid)


def log_moving(mixture: GaussianMixture) -> Tensor:
    """Log p(moving) of each component for moving 0 and 1, (..., K, 2)."""
    z = (mixture.means[..., 3] - TIMES / 2) * torch.exp(-mixture.log_scales[..., 3])
    return torch.special.log_ndtr(torch.stack([-z, z], -1))


def log_probs(mixture: GaussianMixture, rows: Tensor, bin_widths: Tensor) -> Tensor:
    """Log p(x, y, dt, moving) for moving 0 and 1, (S, 2): x, y, dt those of `rows` (S, 4), in `bin_widths` (S, 3)."""
    distance = rows[:, None, :3] - mixture.means[..., :3]
    seen = add_dimensions(discretized_log_prob(distance, mixture.log_scales[..., :3], bin_widths.unsqueeze(-2)))
    joint = (mixture.log_weights + seen).unsqueeze(-1) + log_moving(mixture)
    densities = (bin_widths == 0).sum(-1, keepdim=True, dtype=joint.dtype)
    return joint.logsumexp(-2) + math.log(TIMES) * densities


@full_precision()
@torch.no_grad()
def nll(model: RoboJam, data: Batches) -> float:
    """Nats an event of a split, in our units: the mean over all its rows."""
    total, points = 0.0, 0
    for batch, rows, mixture in _mixtures(model, data):
        logs = log_probs(mixture, rows, model.bin_widths(batch)).double()
        moving, first = (batch.previous.event == DOWN).long(), batch.previous.event == START
        own = torch.where(first, logs.logsumexp(-1), logs.gather(-1, moving.unsqueeze(-1)).squeeze(-1))
        total, points = total - float(own.sum()), points + batch.points
    return total / points


class Taps(NamedTuple):
    """Of every row but each performance's first, in order of their lengths: whether a finger comes down, booleans."""

    predicted: np.ndarray
    """The more probable, given the rows before."""
    inferred: np.ndarray
    """The more probable, given the row's place and time too."""
    true: np.ndarray


@full_precision()
@torch.no_grad()
def taps(model: RoboJam, data: Batches) -> Taps:
    """Which rows of a split are taps, and which of them the model takes for taps."""
    parts = []
    for batch, rows, mixture in _mixtures(model, data):
        past = (mixture.log_weights.unsqueeze(-1) + log_moving(mixture)).logsumexp(-2)
        seen = log_probs(mixture, rows, model.bin_widths(batch))
        event = batch.previous.event
        tap = torch.stack([past[:, 0] > past[:, 1], seen[:, 0] > seen[:, 1], event == UP])
        parts.append(tap[:, event != START].cpu())
    return Taps(*torch.cat(parts, 1).numpy())


def _mixtures(model: RoboJam, data: Batches) -> Iterator[tuple[Batch, Tensor, GaussianMixture]]:
    """The batches of a split with their rows (S, 4) and the mixtures over these."""
    device = model.head.linear.weight.device
    for cpu in data:
        batch = cpu.to(device)
        rows = model.rows(batch)
        yield batch, rows, model(batch, rows)
