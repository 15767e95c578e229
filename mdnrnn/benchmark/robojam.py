"""RoboJam as published (Martin and Torresen, arXiv:1711.10746), the baseline for models of touch performances.

A touch performance is a sequence of rows (x, y, dt, moving), multiplied by 10. x and y are the position on the screen.
dt is the time in seconds since the previous row; in the first row it is 0. moving is 0 for a tap (the finger touches
down) and 1 if the finger moves on the screen. To predict a row, an LSTM reads the previous row; for the first row, it
reads zeros. A mixture of K = 5 diagonal Gaussians predicts the four columns jointly. The training loss is the negative
log-density of a row.

This density cannot be compared with the likelihood of the touch models of this package, because moving is 0 or 1 and
positions lie on a grid. For a mixture with weights w_k, and with means m_k and scales s_k of each multiplied column,
the comparable likelihood is

    p(x, y, dt, moving) = sum_k w_k P_k(x) P_k(y) 10 N(10 dt; m_k, s_k) Phi(+-(m_k - 5) / s_k)

P_k is the probability under component k of the grid bin that contains the position. Given the previous position, it is
also the probability of the bin of the offset, which the touch models predict. The likelihood of dt is a density per
second. The probability of moving is the mass of the Gaussian of this column above the midpoint 5 (sign +, moving = 1)
or below the midpoint (sign -, moving = 0). In the first row, dt and moving are fixed, so their likelihood is not
included.

RoboJam does not model the end of a performance. The likelihood of the touch models of this package includes, at every
event, the probability that the performance ends or continues. The comparison therefore favors RoboJam.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
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
    """Model of the density of a row (x, y, dt, moving), multiplied by 10, given the previous rows.

    With short training, the likelihood is better if the head is initialized from the training data with
    `model.head.initialize(torch.cat([model.rows(batch) for batch in train]))`. The published model is not initialized
    from data.

    Args:
        metadata: metadata of a corpus of touch performances, with features dx, dy, dt.
        normalizer: normalizer of the motions in the batches.
        hidden: hidden size H.
        layers: number of LSTM layers.
        scale_floor: minimum scale of a component, in units of the multiplied columns. The published model has no
            minimum. Without a minimum, however, the density of the column moving, which is 0 or 10, has no upper bound.
            On the data set tiny-performances (600 steps, batch size 32, H = 256), the negative log-likelihood of the
            validation split was 8.6 nats per event with the minimum 0.01, 5.6 with 0.1, and 6.9 with 0.3.
    """

    def __init__(
        self, metadata: Metadata, normalizer: Normalizer, hidden: int = 512, layers: int = 2, scale_floor: float = 0.1
    ) -> None:
        super().__init__()
        if not metadata.is_touch:
            raise InputError(
                f"{metadata.name}: received features {metadata.features} and the pen {metadata.start} at the start, "
                "expected touch performances (features dx, dy, dt; pen up at the start)"
            )
        self.metadata, self.normalizer = metadata, normalizer
        self.lstm = LSTM(_COLUMNS, hidden, layers)
        self.head = MixtureHead(hidden, _COLUMNS, COMPONENTS, scale_floor=scale_floor)

    def rows(self, batch: Batch) -> Tensor:
        """Return the rows (x, y, dt, moving), multiplied by 10, of all steps of the batch, shape (S, 4)."""
        raw = torch.from_numpy(self.normalizer.denormalize(batch.target.motion.cpu().numpy())).to(batch.slots.device)
        position = batch.unpad(batch.pad(raw[:, :2]).cumsum(0))
        time = raw[:, 2].masked_fill(batch.previous.event == START, 0)
        moving = batch.previous.event == DOWN
        return TIMES * torch.column_stack([position, time, moving]).to(self.head.linear.weight.dtype)

    def forward(self, batch: Batch, rows: Tensor) -> GaussianMixture:
        """Return the distribution of each row given the previous rows of its sequence, batch shape (S,).

        The computation is in float32 even under autocast, because bfloat16 would round positions to 1/256.

        Args:
            batch: the batch.
            rows: rows of the batch (S, 4), as returned by the method `rows`.
        """
        before = functional.pad(batch.pad(rows), (0, 0, 0, 0, 1, 0))[:-1]
        with torch.autocast(rows.device.type, enabled=False):
            outputs, _ = self.lstm(before, self.lstm.initial_state(batch.size))
            return cast(GaussianMixture, self.head(batch.unpad(outputs)))

    def loss(self, batch: Batch) -> Loss:
        """Return the mean negative log-density of the rows, which are multiplied by 10."""
        rows = self.rows(batch)
        density = -self(batch, rows).log_prob(rows).mean()
        return Loss(density, {"density": density})

    def bin_widths(self, batch: Batch) -> Tensor:
        """Return the bin widths of the columns x, y and dt, multiplied by 10, shape (S, 3).

        Columns with a density have bin width 0. In the first row of a sequence, the bin of dt is so wide that its
        log-probability is 0.
        """
        first = (batch.previous.event == START).unsqueeze(-1)
        grid = torch.from_numpy(TIMES * self.metadata.bin_widths(_COLUMNS - 1)).to(self.head.linear.weight)
        return torch.where(first & (torch.arange(_COLUMNS - 1, device=first.device) == 2), CERTAIN_BIN_WIDTH, grid)


def log_moving(mixture: GaussianMixture) -> Tensor:
    """Return log p(moving) under each component, for moving = 0 and moving = 1, shape (..., K, 2)."""
    z = (mixture.means[..., 3] - TIMES / 2) * torch.exp(-mixture.log_scales[..., 3])
    return torch.special.log_ndtr(torch.stack([-z, z], -1))


def log_probs(mixture: GaussianMixture, rows: Tensor, bin_widths: Tensor) -> Tensor:
    """Return log p(x, y, dt, moving) of each row, for moving = 0 and moving = 1, shape (S, 2).

    Args:
        mixture: distributions of the rows, batch shape (S,).
        rows: (S, 4), as returned by `RoboJam.rows`; the column moving is not used.
        bin_widths: (S, 3), see `RoboJam.bin_widths`.
    """
    distance = rows[:, None, :3] - mixture.means[..., :3]
    seen = sum_features(discretized_log_prob(distance, mixture.log_scales[..., :3], bin_widths.unsqueeze(-2)))
    joint = (mixture.log_weights + seen).unsqueeze(-1) + log_moving(mixture)
    densities = (bin_widths == 0).sum(-1, keepdim=True, dtype=joint.dtype)
    return joint.logsumexp(-2) + math.log(TIMES) * densities


@full_precision()
@torch.no_grad()
def nll(model: RoboJam, data: Batches) -> float:
    """Return the mean negative log-likelihood of a split in nats per event.

    The result is comparable with the NLL of the touch models of this package; see the description of the module.
    """
    total, points = 0.0, 0
    for batch, rows, mixture in _mixtures(model, data):
        logs = log_probs(mixture, rows, model.bin_widths(batch)).double()
        moving, first = (batch.previous.event == DOWN).long(), batch.previous.event == START
        log_prob = torch.where(first, logs.logsumexp(-1), logs.gather(-1, moving.unsqueeze(-1)).squeeze(-1))
        total, points = total - float(log_prob.sum()), points + batch.points
    return total / points


class Taps(NamedTuple):
    """Whether each row of a split is a tap (moving = 0), booleans (N,).

    The first row of each sequence is excluded. Rows are ordered by the length of their sequence.
    """

    predicted: np.ndarray
    """Predictions from the previous rows of the sequence."""
    inferred: np.ndarray
    """Classifications from the previous rows and from the position and time of the row itself."""
    true: np.ndarray


@full_precision()
@torch.no_grad()
def predict_taps(model: RoboJam, data: Batches) -> Taps:
    """Return the predicted, inferred and true taps of a split."""
    parts = []
    for batch, rows, mixture in _mixtures(model, data):
        past = (mixture.log_weights.unsqueeze(-1) + log_moving(mixture)).logsumexp(-2)
        seen = log_probs(mixture, rows, model.bin_widths(batch))
        event = batch.previous.event
        tap = torch.stack([past[:, 0] > past[:, 1], seen[:, 0] > seen[:, 1], event == UP])
        parts.append(tap[:, event != START].cpu())
    return Taps(*torch.cat(parts, 1).numpy())


def _mixtures(model: RoboJam, data: Batches) -> Iterator[tuple[Batch, Tensor, GaussianMixture]]:
    """Yield the batches of a split, their rows (S, 4) and the predicted distributions of these rows."""
    device = model.head.linear.weight.device
    for cpu in data:
        batch = cpu.to(device)
        rows = model.rows(batch)
        yield batch, rows, model(batch, rows)
