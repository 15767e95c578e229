"""Base class of variational autoencoders for sequences (Kingma and Welling, arXiv:1312.6114)."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, SequenceModel, negative_log_likelihood


class Posterior(NamedTuple):
    """Approximate posterior q(z | sequence): a normal distribution with diagonal covariance.

    `mean`: means, shape (B, Z). `log_scale`: logs of the standard deviations, shape (B, Z). The prior p(z) is standard
    normal.
    """

    mean: Tensor
    log_scale: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Transform standard normal noise, shape (..., B, Z), into samples of z of the same shape."""
        return self.mean + self.log_scale.exp() * noise

    def kl(self) -> Tensor:
        """Return KL(q(z | sequence) || p(z)) in nats, shape (B,)."""
        return 0.5 * (self.mean.square() + (2 * self.log_scale).exp() - 1 - 2 * self.log_scale).sum(-1)

    def log_ratio(self, latent: Tensor) -> Tensor:
        """Return log q(z | sequence) - log p(z) at z = `latent`, shape (..., B).

        Args:
            latent: shape (..., B, Z).
        """
        deviation = (latent - self.mean) * torch.exp(-self.log_scale)
        return (0.5 * (latent.square() - deviation.square()) - self.log_scale).sum(-1)


class LatentModel(SequenceModel):
    """Base class of sequence models with a latent vector z per sequence and an encoder q(z | sequence).

    If the attribute `latent` is 0, the model has no encoder and no latent vector.
    """

    @abstractmethod
    def encode(self, batch: Batch) -> Posterior:
        """Return the approximate posterior q(z | sequence) of each sequence of a batch."""

    @abstractmethod
    def decode(self, batch: Batch, latent: Tensor | None) -> StepDistribution:
        """Return the distributions of all S real (unpadded) steps, given the true previous steps and z.

        Args:
            batch: the batch.
            latent: latent vectors z, shape (B, Z); None for a model without latent vector.

        Returns:
            One distribution of batch shape (S,).
        """

    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all S real (unpadded) steps, given the true previous steps and sampled z.

        One z per sequence is sampled from q(z | sequence). The result is one distribution of batch shape (S,).
        """
        return self.decode(batch, _sample(self.encode(batch)) if self.latent else None)

    def loss(self, batch: Batch) -> Loss:
        """Return the negative evidence lower bound in nats per point, estimated with one sample of z per sequence.

        The terms of the loss are "motion", "event" and "kl".
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
        "model: received a model without an encoder, expected one with an encoder; train one with: mdnrnn train sketch"
    )
