"""Our models as one would write them first, in plain PyTorch, to measure ours against.

Padded batches, float32, nn.LSTM, torch.distributions with their checks, a mask over the loss; drawings in two
dimensions, no dropout, no classes.
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

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import Step
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig


class PlainModel(nn.Module, ABC):
    """A model with a loss, of batches padded to the longest."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Mean nats a real point, with the density."""


class PlainMDNRNN(PlainModel):
    """MDN-RNN: diagonal Gaussians."""

    def __init__(self, config: MDNRNNConfig) -> None:
        super().__init__()
        self.components = config.components
        self.lstm = nn.LSTM(5, config.hidden)
        self.head = nn.Linear(config.hidden, 5 * config.components + 3)

    def loss(self, batch: Batch) -> Tensor:
        """Mean nats a real point, with the density."""
        outputs, _ = self.lstm(_rows(batch, batch.previous))
        k = self.components
        logits, mean, log_scale, pen = self.head(outputs).split([k, 2 * k, 2 * k, 3], -1)
        shape = (*logits.shape, 2)
        parts = Independent(Normal(mean.view(shape), log_scale.view(shape).exp()), 1)
        return _masked_mean(batch, MixtureSameFamily(Categorical(logits=logits), parts), pen)


class PlainSketchRNN(PlainModel):
    """Sketch-RNN: a bidirectional encoder, z beside every input, bivariate Gaussians by their scales and correlation.

    The encoder runs over padded sequences, its last states gathered: packed ones (`pack_padded_sequence`) take 3 to 8
    times as long on a CPU. Backwards it reads the padding first, so that it is Sketch-RNN's own to the number where
    all sequences of a batch are of one length, and the same work everywhere.

    Args:
        config: the sizes.
        factors: whether a Gaussian is given its Cholesky factor, instead of a covariance matrix that PyTorch factors.
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
        """The bound: mean nats a real point, with the density, and the KL divergence."""
        posterior = self._encode(batch)
        z = posterior.rsample()
        hidden, cell = torch.tanh(self.start(z)).unsqueeze(0).chunk(2, -1)
        inputs = torch.cat([_rows(batch, batch.previous), z.expand(batch.steps, -1, -1)], -1)
        outputs, _ = self.decoder(inputs, (hidden.contiguous(), cell.contiguous()))
        nats = _full_nll(batch, self.head(outputs), self.components, self.factors)
        prior = Normal(torch.zeros_like(z), torch.ones_like(z))
        return nats + kl_divergence(posterior, prior).sum() / batch.points

    def _encode(self, batch: Batch) -> Normal:
        """q(z | drawing), of (B, Z)."""
        outputs, _ = self.encoder(_rows(batch, batch.target))
        forth, back = outputs.chunk(2, -1)
        last = forth[batch.lengths - 1, torch.arange(batch.size, device=forth.device)]
        mean, log_scale = self.posterior(torch.cat([last, back[0]], -1)).chunk(2, -1)
        return Normal(mean, log_scale.exp())


class PlainHandwriting(PlainModel):
    """Handwriting synthesis: LSTM cells and the window, all of it a Python loop over the steps; Gaussians are given
    their Cholesky factors: it is the loop that is measured."""

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
        """Mean nats a real point, with the density."""
        assert batch.text is not None
        known = functional.pad(batch.text.unsqueeze(-1) == self.codes, (0, 0, 0, 1))
        mark = ~known.any(-1, keepdim=True) & functional.pad(known, (0, 0, 1, -1)).any(-1, keepdim=True)
        characters = torch.cat([known, mark], -1).to(self.window.weight.dtype)  # (B, U + 1, C)
        u = torch.arange(characters.shape[1], device=characters.device)
        seen, place = characters.new_zeros(batch.size, characters.shape[2]), characters.new_zeros(batch.size, 1)
        states: list[tuple[Tensor, Tensor] | None] = [None] * self.config.layers
        outputs = []
        for row in _rows(batch, batch.previous):
            states[0] = hidden, _ = self.first(torch.cat([row, seen], -1), states[0])
            alpha, beta, delta = self.window(hidden).exp().chunk(3, -1)
            place = place + delta
            phi = (alpha.unsqueeze(-1) * torch.exp(-beta.unsqueeze(-1) * (place.unsqueeze(-1) - u) ** 2)).sum(1)
            seen = torch.bmm(phi.unsqueeze(1), characters).squeeze(1)
            hiddens = [hidden]
            for number, cell in enumerate(self.above, 1):
                states[number] = hidden, _ = cell(torch.cat([row, seen, hiddens[-1]], -1), states[number])
                hiddens.append(hidden)
            outputs.append(torch.cat([*hiddens, seen], -1))
        features = torch.stack(outputs)
        rows, end = self.head(features).split([6 * self.config.components + 2, 1], -1)
        rows = torch.cat([rows, end + features[..., -1:].clamp_min(1e-3).log()], -1)  # of the mark behind the text
        return _full_nll(batch, rows, self.config.components, factors=True)


def _full_nll(batch: Batch, rows: Tensor, k: int, factors: bool) -> Tensor:
    """Mean nats a real point under K bivariate Gaussians and a pen, of rows (T, B, 6 K + 3)."""
    logits, mean, log_scale, correlation, pen = rows.split([k, 2 * k, 2 * k, k, 3], -1)
    shape = (*logits.shape, 2)
    parts = _gaussians(mean.view(shape), log_scale.view(shape).exp(), torch.tanh(correlation), factors)
    return _masked_mean(batch, MixtureSameFamily(Categorical(logits=logits), parts), pen)


def _gaussians(mean: Tensor, scale: Tensor, correlation: Tensor, factors: bool) -> MultivariateNormal:
    """Bivariate Gaussians of mean and scale (..., K, 2), correlation (..., K)."""
    x, y = scale.unbind(-1)
    if factors:
        rows = [x, torch.zeros_like(x), correlation * y, (1 - correlation.square()).sqrt() * y]
        return MultivariateNormal(mean, scale_tril=torch.stack(rows, -1).unflatten(-1, (2, 2)))
    across = correlation * x * y
    rows = [x.square(), across, across, y.square()]
    return MultivariateNormal(mean, covariance_matrix=torch.stack(rows, -1).unflatten(-1, (2, 2)))


def _rows(batch: Batch, steps: Step) -> Tensor:
    """Motion and event one-hot (START: zeros) of a batch's steps, padded, (T, B, 5)."""
    event = functional.one_hot(steps.event + 1, 4)[:, 1:].to(steps.motion.dtype)
    return batch.pad(torch.cat([steps.motion, event], -1))


def _masked_mean(batch: Batch, motion: Distribution, pen: Tensor) -> Tensor:
    """Mean nats a real point, under distributions of padded steps, (T, B), and logits of their events (T, B, 3)."""
    target, event = batch.pad(batch.target.motion), batch.pad(batch.target.event.unsqueeze(-1)).squeeze(-1)
    mask = torch.arange(batch.steps, device=target.device)[:, None] < batch.lengths
    nats = functional.cross_entropy(pen.flatten(0, 1), event.flatten(), reduction="none").view(mask.shape)
    nats = nats - motion.log_prob(target)
    return (nats * mask).sum() / mask.sum()
