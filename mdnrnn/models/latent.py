"""Models of sequences given a latent: variational autoencoders (Kingma and Welling, arXiv:1312.6114)."""

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
    """q(z | sequence): normals, mean and log_scale (B, Z). The prior p(z) is standard normal."""

    mean: Tensor
    log_scale: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (..., B, Z) as draws of z."""
        return self.mean + self.log_scale.exp() * noise

    def kl(self) -> Tensor:
        """KL divergence from the prior, nats, shape (B,)."""
        return 0.5 * (self.mean.square() + (2 * self.log_scale).exp() - 1 - 2 * self.log_scale).sum(-1)

    def log_ratio(self, latent: Tensor) -> Tensor:
        """log q(z | sequence) - log p(z) of z (..., B, Z), shape (..., B)."""
        deviation = (latent - self.mean) * torch.exp(-self.log_scale)
        return (0.5 * (latent.square() - deviation.square()) - self.log_scale).sum(-1)


class LatentModel(SequenceModel):
    """A sequence model whose condition holds a latent z (B, Z), with an encoder of sequences to q(z | sequence).

    Where `latent` is 0 it is a sequence model like any other, and encodes nothing.
    """

    @abstractmethod
    def encode(self, batch: Batch) -> Posterior:
        """q(z | sequence) of a batch's sequences."""

    @abstractmethod
    def decode(self, batch: Batch, latent: Tensor | None) -> StepDistribution:
        """The distributions of all real steps, flat (S,), teacher-forced, given z (B, Z)."""

    def forward(self, batch: Batch) -> StepDistribution:
        """The distributions of all real steps, flat (S,), given a draw of each sequence's own z."""
        return self.decode(batch, _draw(self.encode(batch)) if self.latent else None)

    def loss(self, batch: Batch) -> Loss:
        """The bound, from one draw of z: reconstruction by its parts, and "kl", all a point."""
        if not self.latent:
            return super().loss(batch)
        posterior = self.encode(batch)
        motion, event = negative_log_likelihood(self.decode(batch, _draw(posterior)), batch)
        terms = {"motion": motion.mean(), "event": event.mean(), "kl": posterior.kl().sum() / batch.points}
        return Loss(terms["motion"] + terms["event"] + terms["kl"], terms)


def _draw(posterior: Posterior) -> Tensor:
    return posterior.sample(torch.randn_like(posterior.mean))


def require_encoder(model: SequenceModel) -> LatentModel:
    """The model, if it encodes; an error that says what to do where it does not."""
    if isinstance(model, LatentModel) and model.latent:
        return model
    raise InputError("the run has no encoder; expected one of a variational model: mdnrnn train sketch, say")
