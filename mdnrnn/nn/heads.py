"""Mixture density heads: one linear layer, one split, a distribution (Bishop 1994)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.distributions import GaussianMixture, StepDistribution


class MixtureShape(NamedTuple):
    """How the parameters of a diagonal mixture lie in one row: K logits, K x D means, K x D raw log scales."""

    features: int
    components: int
    log_floor: float

    @property
    def size(self) -> int:
        """Numbers in a row: K (1 + 2 D)."""
        return self.components * (1 + 2 * self.features)

    def unpack(self, row: Tensor) -> GaussianMixture:
        """Rows (..., K (1 + 2 D)) as a mixture, in float32 or wider."""
        row = row.float() if row.dtype in (torch.bfloat16, torch.float16) else row
        k, d = self.components, self.features
        logits, means, raw = row.split_with_sizes([k, k * d, k * d], -1)
        # A smooth floor in log space: floor + softplus(raw - floor), in one operation.
        log_scales = torch.logaddexp(raw, raw.new_full((), self.log_floor))
        shape = (*row.shape[:-1], k, d)
        return GaussianMixture(logits, means.reshape(shape), log_scales.reshape(shape))

    @torch.no_grad()
    def initialise(self, linear: nn.Linear) -> None:
        """A sound start for normalised targets: equal weights, means spread as the data are, scales below theirs.

        `linear`'s rows are the mixture's parameters, in the order of `unpack`.
        """
        k, d = self.components, self.features
        nn.init.normal_(linear.weight, std=0.1 / math.sqrt(linear.in_features))
        nn.init.zeros_(linear.bias)
        if k > 1:
            nn.init.normal_(linear.bias[k : k + k * d], std=0.7)
            nn.init.constant_(linear.bias[k + k * d : self.size], math.log(0.7))


class MixtureHead(nn.Module):
    """Features (..., I) to a mixture over (..., D): a module like any other, in any network.

    Args:
        in_features: I.
        out_features: D.
        components: K.
        scale_floor: the least scale of a component, in units of the targets.
    """

    def __init__(self, in_features: int, out_features: int, components: int, scale_floor: float = 1e-3) -> None:
        super().__init__()
        self.shape = MixtureShape(out_features, components, math.log(scale_floor))
        self.linear = nn.Linear(in_features, self.shape.size)
        self.shape.initialise(self.linear)

    def forward(self, features: Tensor) -> GaussianMixture:
        """features: (..., I)."""
        return self.shape.unpack(self.linear(features))


class StepHead(nn.Module):
    """Features (..., I) to a distribution over steps: a mixture over D motions beside E event logits."""

    def __init__(
        self, in_features: int, out_features: int, components: int, events: int, scale_floor: float = 1e-3
    ) -> None:
        super().__init__()
        self.shape, self.events = MixtureShape(out_features, components, math.log(scale_floor)), events
        self.linear = nn.Linear(in_features, self.shape.size + events)
        self.shape.initialise(self.linear)

    def forward(self, features: Tensor) -> StepDistribution:
        """features: (..., I)."""
        mixture, event_logits = self.linear(features).split_with_sizes([self.shape.size, self.events], -1)
        return StepDistribution(self.shape.unpack(mixture), event_logits)
