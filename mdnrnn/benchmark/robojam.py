"""RoboJam (Martin and Torresen, arXiv:1711.10746) as published, the baseline for touch performances.

A row is (x, y, dt, moving), multiplied by 10: the position on the screen, the seconds since the previous row (0 in the
first row), and 0 for a tap or 1 for a continued touch. An LSTM reads the previous row (zeros at the start) and a
mixture of K = 5 diagonal Gaussians predicts the four columns jointly. The training loss is the negative log-density of
a row.

This density cannot be compared with the likelihood of our model: `moving` is 0 or 1 and positions lie on a grid. For a
mixture with weights w_k, means m_k and scales s_k over the multiplied columns, the comparable likelihood is

    p(x, y, dt, moving) = sum_k w_k P_k(x) P_k(y) 10 N(10 dt; m_k, s_k) Phi(+-(m_k - 5) / s_k)

P_k is the probability of the bin around the position. Given the previous position, it equals the probability of the bin
of the offset. The time dt has a density per second. The probability of `moving` is the mass of its Gaussian above the
midpoint (+, for 1) or below it (-, for 0). The dt and moving of a first row are fixed and are left out.

RoboJam does not model the end of a performance, whereas the likelihood of our model includes the probability at every
event that the performance ends or not. The comparison therefore favors RoboJam.
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
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import CERTAIN_BIN_WIDTH, Normalizer
from mdnrnn.device import full_precision
from mdnrnn.distributions import GaussianMixture
from mdnrnn.distributions.density import sum_features
from mdnrnn.distributions.discretized import discretized_log_prob
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, Model
from mdnrnn.nn.heads import MixtureHead
from mdnrnn.nn.lstm import LSTM
from mdnrnn.pen_events import DOWN, START, UP

COMPONENTS = 5
TIMES = 10.0
_COLUMNS = 4


class RoboJam(Model):
    """Density of the next row (x, y, dt, moving) given the previous rows.

    After short training, the likelihood is better if the head was initialized from the training data (not part of the
    published model): `model.head.initialize(torch.cat([model.rows(batch) for batch in train]))`.

    Args:
        metadata: metadata of a corpus of touch performances, with features dx, dy, dt.
        normalizer: normalizer of the batches' motions.
        hidden: H.
        layers: number of LSTM layers.
        scale_floor: minimum scale of a component, in units of the multiplied columns. No minimum is published, but
            without one the density of `moving`, which is 0 or 10, has no upper bound. On tiny-performances (600 steps,
            batch size 32, H = 256) the validation split had 8.6 nats per event with 0.01, 5.6 with 0.1 and 6.9 with
            0.3.
    """

    def __init__(
        self, metadata: Metadata, normalizer: Normalizer, hidden: int = 512, layers: int = 2, scale_floor: float = 0.1
    ) -> None:
        super().__init__()
        if not metadata.is_touch:
            raise InputError(
                f"{metadata.name} has features {metadata.features} and start {metadata.start!r}; "
                "expected touch performances: dx, dy, dt and start 'up'"
            )
        self.metadata, self.normalizer = metadata, normalizer
        self.lstm = LSTM(_COLUMNS, hidden, layers)
        self.head = MixtureHead(hidden, _COLUMNS, COMPONENTS, scale_floor=scale_floor)

    def rows(self, batch: Batch) -> Tensor:
        """Return the rows (x, y, dt, moving), multiplied by 10, of the batch's real steps, shape (S, 4)."""
        raw = torch.from_numpy(self.normalizer.denormalize(batch.target.motion.cpu().numpy())).to(batch.slots.device)
        position = batch.unpad(batch.pad(raw[:, :2]).cumsum(0))
        time = raw[:, 2].masked_fill(batch.previous.event == START, 0)
        moving = batch.previous.event == DOWN
        return TIMES * torch.column_stack([position, time, moving]).to(self.head.linear.weight.dtype)

    def forward(self, batch: Batch, rows: Tensor) -> GaussianMixture:
        """Return the mixtures over the batch's `rows` (S, 4), each conditioned on the previous rows; batch shape (S,).

        They are always computed in float32, because bfloat16 would round absolute positions to 1/256.
        """
        before = functional.pad(batch.pad(rows), (0, 0, 0, 0, 1, 0))[:-1]
        with torch.autocast(rows.device.type, enabled=False):
            outputs, _ = self.lstm(before, self.lstm.initial_state(batch.size))
            return cast(GaussianMixture, self.head(batch.unpad(outputs)))

    def loss(self, batch: Batch) -> Loss:
        """Return the mean negative log-density of the batch's multiplied rows."""
        rows = self.rows(batch)
        density = -self(batch, rows).log_prob(rows).mean()
        return Loss(density, {"density": density})

    def bin_widths(self, batch: Batch) -> Tensor:
        """Return bin widths (S, 3) of the multiplied x, y, dt.

        The bin width is 0 for features with a density, and `CERTAIN_BIN_WIDTH` for the dt of a first row.
        """
        first = (batch.previous.event == START).unsqueeze(-1)
        grid = torch.from_numpy(TIMES * self.metadata.bin_widths(_COLUMNS - 1)).to(self.head.linear.weight)
        return torch.where(first & (torch.arange(_COLUMNS - 1, device=first.device) == 2), CERTAIN_BIN_WIDTH, grid)


def log_moving(mixture: GaussianMixture) -> Tensor:
    """Return log p(moving) of each component for moving = 0 and 1, shape (..., K, 2)."""
    z = (mixture.means[..., 3] - TIMES / 2) * torch.exp(-mixture.log_scales[..., 3])
    return torch.special.log_ndtr(torch.stack([-z, z], -1))


def log_probs(mixture: GaussianMixture, rows: Tensor, bin_widths: Tensor) -> Tensor:
    """Return log p(x, y, dt, moving) of `rows` (S, 4) with `bin_widths` (S, 3), for moving = 0 and 1, shape (S, 2)."""
    distance = rows[:, None, :3] - mixture.means[..., :3]
    seen = sum_features(discretized_log_prob(distance, mixture.log_scales[..., :3], bin_widths.unsqueeze(-2)))
    joint = (mixture.log_weights + seen).unsqueeze(-1) + log_moving(mixture)
    densities = (bin_widths == 0).sum(-1, keepdim=True, dtype=joint.dtype)
    return joint.logsumexp(-2) + math.log(TIMES) * densities


@full_precision()
@torch.no_grad()
def nll(model: RoboJam, data: Batches) -> float:
    """Return the mean negative log-likelihood of a split in nats per event, comparable with that of our model."""
    total, points = 0.0, 0
    for batch, rows, mixture in _mixtures(model, data):
        logs = log_probs(mixture, rows, model.bin_widths(batch)).double()
        moving, first = (batch.previous.event == DOWN).long(), batch.previous.event == START
        log_prob = torch.where(first, logs.logsumexp(-1), logs.gather(-1, moving.unsqueeze(-1)).squeeze(-1))
        total, points = total - float(log_prob.sum()), points + batch.points
    return total / points


class Taps(NamedTuple):
    """Whether each row is a tap, booleans (N,), in order of sequence length; first rows are excluded."""

    predicted: np.ndarray
    """Prediction from the previous rows."""
    inferred: np.ndarray
    """Inference from the previous rows and the row's own position and time."""
    true: np.ndarray


@full_precision()
@torch.no_grad()
def predict_taps(model: RoboJam, data: Batches) -> Taps:
    """Return the true and the predicted taps of a split."""
    parts = []
    for batch, rows, mixture in _mixtures(model, data):
        past = (mixture.log_weights.unsqueeze(-1) + log_moving(mixture)).logsumexp(-2)
        seen = log_probs(mixture, rows, model.bin_widths(batch))
        event = batch.previous.event
        tap = torch.stack([past[:, 0] > past[:, 1], seen[:, 0] > seen[:, 1], event == UP])
        parts.append(tap[:, event != START].cpu())
    return Taps(*torch.cat(parts, 1).numpy())


def _mixtures(model: RoboJam, data: Batches) -> Iterator[tuple[Batch, Tensor, GaussianMixture]]:
    """Yield the batches of a split, their rows (S, 4) and the mixtures over these rows."""
    device = model.head.linear.weight.device
    for cpu in data:
        batch = cpu.to(device)
        rows = model.rows(batch)
        yield batch, rows, model(batch, rows)
