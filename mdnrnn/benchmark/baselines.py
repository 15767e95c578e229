"""Implementations of the models in plain PyTorch, the baselines of the training benchmark.

The baselines use padded batches, float32, `nn.LSTM`, `torch.distributions` with argument validation, and a masked
loss. They support drawings (offsets dx and dy, three events) and have neither dropout nor class inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)
from torch.nn import functional

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import Step
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig


class PlainModel(nn.Module, ABC):
    """Base class of the baselines. A batch is padded to its longest sequence."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return the mean negative log-density in nats per real step."""


class PlainMDNRNN(PlainModel):
    """MDN-RNN with diagonal Gaussians."""

    def __init__(self, config: MDNRNNConfig) -> None:
        super().__init__()
        self.components = config.components
        self.lstm = nn.LSTM(5, config.hidden)
        self.head = nn.Linear(config.hidden, 5 * config.components + 3)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean negative log-density in nats per real step."""
        outputs, _ = self.lstm(_rows(batch, batch.previous))
        k = self.components
        logits, mean, log_scale, pen = self.head(outputs).split([k, 2 * k, 2 * k, 3], -1)
        shape = (*logits.shape, 2)
        parts = Independent(Normal(mean.view(shape), log_scale.view(shape).exp()), 1)
        return _masked_mean(batch, MixtureSameFamily(Categorical(logits=logits), parts), pen)


class PlainSketchRNN(PlainModel):
    """Sketch-RNN with a bidirectional encoder and bivariate Gaussians. The decoder reads z at every time step.

    The encoder reads padded sequences, because `pack_padded_sequence` takes 3 to 8 times as long on a CPU. The
    backward direction of the encoder therefore reads the padding first. If the sequences of a batch have different
    lengths, the posterior is not the posterior of Sketch-RNN, but the computing time is the same.

    Args:
        config: sizes of the model.
        factors: whether to define the Gaussians by Cholesky factors instead of covariance matrices.
    """

    def __init__(self, config: SketchRNNConfig, factors: bool = False) -> None:
        super().__init__()
        self.components, self.factors = config.components, factors
        self.encoder = nn.LSTM(5, config.encoder, bidirectional=True)
        self.posterior = nn.Linear(2 * config.encoder, 2 * config.latent)
        self.start = nn.Linear(config.latent, 2 * config.hidden)
        self.decoder = nn.LSTM(5 + config.latent, config.hidden)
        self.head = nn.Linear(config.hidden, 6 * config.components + 3)

    def loss(self, batch: Batch) -> Tensor:
        """Return the negative evidence lower bound in nats per real step, computed from densities of the motions."""
        posterior = self._encode(batch)
        z = posterior.rsample()
        hidden, cell = torch.tanh(self.start(z)).unsqueeze(0).chunk(2, -1)
        inputs = torch.cat([_rows(batch, batch.previous), z.expand(batch.steps, -1, -1)], -1)
        outputs, _ = self.decoder(inputs, (hidden.contiguous(), cell.contiguous()))
        reconstruction = _full_nll(batch, self.head(outputs), self.components, self.factors)
        prior = Normal(torch.zeros_like(z), torch.ones_like(z))
        return reconstruction + kl_divergence(posterior, prior).sum() / batch.points

    def _encode(self, batch: Batch) -> Normal:
        """Return the posterior q(z | drawing) of each drawing, batch shape (B, Z)."""
        outputs, _ = self.encoder(_rows(batch, batch.target))
        forth, back = outputs.chunk(2, -1)
        last = forth[batch.lengths - 1, torch.arange(batch.size, device=forth.device)]
        mean, log_scale = self.posterior(torch.cat([last, back[0]], -1)).chunk(2, -1)
        return Normal(mean, log_scale.exp())


class PlainHandwriting(PlainModel):
    """Handwriting synthesis model as a Python loop over the time steps. Cholesky factors define the Gaussians."""

    def __init__(self, config: HandwritingConfig, alphabet: str) -> None:
        super().__init__()
        self.config = config
        h, c = config.hidden, len(alphabet) + 1
        self.register_buffer("codes", torch.tensor([ord(letter) for letter in alphabet]))
        self.codes: Tensor
        self.first = nn.LSTMCell(5 + c, h)
        self.window = nn.Linear(h, 3 * config.window)
        self.above = nn.ModuleList(nn.LSTMCell(5 + c + h, h) for _ in range(config.layers - 1))
        self.head = nn.Linear(config.layers * h + c, 6 * config.components + 3)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean negative log-density in nats per real step."""
        assert batch.text is not None
        one_hot = functional.pad(batch.text.unsqueeze(-1) == self.codes, (0, 0, 0, 1))
        end_mark = ~one_hot.any(-1, keepdim=True) & functional.pad(one_hot, (0, 0, 1, -1)).any(-1, keepdim=True)
        characters = torch.cat([one_hot, end_mark], -1).to(self.window.weight.dtype)  # (B, U + 1, C)
        u = torch.arange(characters.shape[1], device=characters.device)
        window, position = characters.new_zeros(batch.size, characters.shape[2]), characters.new_zeros(batch.size, 1)
        states: list[tuple[Tensor, Tensor] | None] = [None] * self.config.layers
        outputs = []
        for row in _rows(batch, batch.previous):
            states[0] = hidden, _ = self.first(torch.cat([row, window], -1), states[0])
            alpha, beta, delta = self.window(hidden).exp().chunk(3, -1)
            position = position + delta
            phi = (alpha.unsqueeze(-1) * torch.exp(-beta.unsqueeze(-1) * (position.unsqueeze(-1) - u) ** 2)).sum(1)
            window = torch.bmm(phi.unsqueeze(1), characters).squeeze(1)
            hiddens = [hidden]
            for number, cell in enumerate(self.above, 1):
                states[number] = hidden, _ = cell(torch.cat([row, window, hiddens[-1]], -1), states[number])
                hiddens.append(hidden)
            outputs.append(torch.cat([*hiddens, window], -1))
        features = torch.stack(outputs)
        rows, end = self.head(features).split([6 * self.config.components + 2, 1], -1)
        # The log of the window weight of the end-of-text mark is added to the logit of END.
        rows = torch.cat([rows, end + features[..., -1:].clamp_min(1e-3).log()], -1)
        return _full_nll(batch, rows, self.config.components, factors=True)


def _full_nll(batch: Batch, rows: Tensor, k: int, factors: bool) -> Tensor:
    """Return the mean negative log-density in nats per real step.

    Args:
        batch: the batch.
        rows: (T, B, 6 K + 3), parameters of K bivariate Gaussians and their weights, followed by the event logits.
        k: K.
        factors: whether to define the Gaussians by Cholesky factors instead of covariance matrices.
    """
    logits, mean, log_scale, correlation, pen = rows.split([k, 2 * k, 2 * k, k, 3], -1)
    shape = (*logits.shape, 2)
    parts = _gaussians(mean.view(shape), log_scale.view(shape).exp(), torch.tanh(correlation), factors)
    return _masked_mean(batch, MixtureSameFamily(Categorical(logits=logits), parts), pen)


def _gaussians(mean: Tensor, scale: Tensor, correlation: Tensor, factors: bool) -> MultivariateNormal:
    """Return bivariate Gaussians with means (..., K, 2), standard deviations (..., K, 2) and correlations (..., K)."""
    x, y = scale.unbind(-1)
    if factors:
        rows = [x, torch.zeros_like(x), correlation * y, (1 - correlation.square()).sqrt() * y]
        return MultivariateNormal(mean, scale_tril=torch.stack(rows, -1).unflatten(-1, (2, 2)))
    across = correlation * x * y
    rows = [x.square(), across, across, y.square()]
    return MultivariateNormal(mean, covariance_matrix=torch.stack(rows, -1).unflatten(-1, (2, 2)))


def _rows(batch: Batch, steps: Step) -> Tensor:
    """Return the motion and the one-hot event of each step, padded to (T, B, 5).

    The event START is encoded as zeros.
    """
    event = functional.one_hot(steps.event + 1, 4)[:, 1:].to(steps.motion.dtype)
    return batch.pad(torch.cat([steps.motion, event], -1))


def _masked_mean(batch: Batch, motion: Distribution, pen: Tensor) -> Tensor:
    """Return the mean negative log-density in nats per real step.

    Args:
        batch: the batch.
        motion: distributions of the motion, batch shape (T, B).
        pen: event logits (T, B, 3).
    """
    target, event = batch.pad(batch.target.motion), batch.pad(batch.target.event.unsqueeze(-1)).squeeze(-1)
    mask = torch.arange(batch.steps, device=target.device)[:, None] < batch.lengths
    nll = functional.cross_entropy(pen.flatten(0, 1), event.flatten(), reduction="none").view(mask.shape)
    nll = nll - motion.log_prob(target)
    return (nll * mask).sum() / mask.sum()
