"""Base class of variational autoencoders for sequences (Kingma and Welling, arXiv:1312.6114)."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, SequenceModel, negative_log_likelihood


class Posterior(NamedTuple):
    """Approximate posterior q(z | sequence): a diagonal normal distribution; the prior p(z) is standard normal.

    `mean` and `log_scale` have shape (B, Z).
    """

    mean: Tensor
    log_scale: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Transform standard normal noise, shape (..., B, Z), into samples of z of the same shape."""
        return self.mean + self.log_scale.exp() * noise

    def kl(self) -> Tensor:
        """Return the KL divergence from the prior in nats, shape (B,)."""
        return 0.5 * (self.mean.square() + (2 * self.log_scale).exp() - 1 - 2 * self.log_scale).sum(-1)

    def log_ratio(self, latent: Tensor) -> Tensor:
        """Return log q(z | sequence) - log p(z), shape (..., B), at z of shape (..., B, Z)."""
        deviation = (latent - self.mean) * torch.exp(-self.log_scale)
        return (0.5 * (latent.square() - deviation.square()) - self.log_scale).sum(-1)


class LatentModel(SequenceModel):
    """Sequence model conditioned on a latent vector z, with an encoder that maps sequences to q(z | sequence).

    If `latent` is 0, the model has no encoder and no latent variables.
    """

    @abstractmethod
    def encode(self, batch: Batch) -> Posterior:
        """Return q(z | sequence) for each sequence of a batch."""

    @abstractmethod
    def decode(self, batch: Batch, latent: Tensor | None) -> StepDistribution:
        """Return the teacher-forced distributions of all real steps, of batch shape (S,), given z, shape (B, Z)."""

    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all real steps, of batch shape (S,), given one posterior sample per sequence."""
        return self.decode(batch, _sample(self.encode(batch)) if self.latent else None)

    def loss(self, batch: Batch) -> Loss:
        """Return the negative evidence lower bound with one posterior sample per sequence, in nats per point.

        Its terms are "motion", "event" and "kl".
        """
        if not self.latent:
            return super().loss(batch)
        posterior = self.encode(batch)
        motion, event = negative_log_likelihood(self.decode(batch, _sample(posterior)), batch)
        terms = {"motion": motion.mean(), "event": event.mean(), "kl": posterior.kl().sum() / batch.points}
        return Loss(terms["motion"] + terms["event"] + terms["kl"], terms)


def _sample(posterior: Posterior) -> Tensor:
    return posterior.sample(torch.randn_like(posterior.mean))


def require_encoder(model: SequenceModel) -> LatentModel:
    """Return the model; raise `InputError` if it has no encoder."""
    if isinstance(model, LatentModel) and model.latent:
        return model
    raise InputError(
        "model: received one without an encoder, expected a variational model; train one with: mdnrnn train sketch"
    )
