"""Mixture density heads: one linear layer, one split, a distribution (Bishop 1994)."""

from __future__ import annotations

import math
from numbers import Integral
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.errors import InputError
from mdnrnn.nn.covariance import Covariance, StepCovariance
from mdnrnn.nn.parameters import MixtureShape, StepParameters


class MixtureHead(nn.Module):
    """Features (..., I) to a mixture over (..., D): a module like any other, in any network.

        net = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), MixtureHead(64, 1, components=20))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for x, y in batches:  # shapes (B, 1)
            optimizer.zero_grad()
            (-net(x).log_prob(y).mean()).backward()
            optimizer.step()
        net(x).sample()

    Args:
        in_features: I.
        out_features: D.
        components: K.
        covariance: of the components; see `Covariance`.
        scale_floor: the least scale of a component, in units of the targets.
        noise: standard deviation of the noise that `loss` adds to targets in training, in their units: smooths the
            density where data are few (Rothfuss et al., arXiv:1907.08982).
        weight_entropy: how much `loss` rewards, in training, each nat of the weights' mean entropy: keeps components
            alive; below 0 it prunes them.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        components: int,
        covariance: Covariance = "diagonal",
        scale_floor: float = 1e-3,
        noise: float = 0.0,
        weight_entropy: float = 0.0,
    ) -> None:
        super().__init__()
        check_mixture(in_features, out_features, components, covariance, scale_floor)
        if not 0 <= noise < math.inf:
            raise InputError(f"noise: received {noise}, expected a standard deviation of 0 or more")
        if not math.isfinite(weight_entropy):
            raise InputError(f"weight_entropy: received {weight_entropy}, expected a number")
        self.shape = MixtureShape(out_features, components, math.log(scale_floor), covariance)
        self.noise, self.weight_entropy = noise, weight_entropy
        self.linear = nn.Linear(in_features, self.shape.size)
        self.shape.initialize(self.linear)

    def forward(self, features: Tensor) -> GaussianMixture | PerDimensionMixture:
        """features: (..., I)."""
        return self.shape.unpack(self.linear(features))

    def initialize(self, targets: Tensor) -> None:
        """Start from the mixture of `targets`, shape (N, D), as a whole: means at quantiles of theirs, or k-means'.

        The features come in with the first steps of a training: until then they change nothing.
        """
        if targets.ndim != 2 or targets.shape[1] != self.shape.features or not len(targets):
            raise InputError(
                f"targets: received shape {tuple(targets.shape)}, expected (N, {self.shape.features}), N 1 or more"
            )
        if not bool(targets.isfinite().all()):
            raise InputError("targets: received some that are infinite or no numbers, expected real numbers")
        self.shape.initialize_from(self.linear, targets)

    def loss(self, mixture: GaussianMixture | PerDimensionMixture, targets: Tensor) -> Tensor:
        """Mean nats of `targets` (..., D) under what `forward` gave, with the regularisers asked for in training."""
        if self.training and self.noise:
            targets = targets + self.noise * torch.randn_like(targets)
        nats = -mixture.log_prob(targets).mean()
        if self.training and self.weight_entropy:
            log_weights = mixture.log_weights
            nats = nats + self.weight_entropy * (log_weights.exp() * log_weights).sum(-1).mean()
        return nats


class StepHead(nn.Module):
    """Features (..., I) to a distribution over steps: a mixture over D motions beside E event logits.

    E: 3, of strokes; 2, of what can only go on or end; 0, of what never ends. `component_choices` is how many components a step
    is drawn from: one, or one for each feature.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        components: int,
        events: int,
        covariance: StepCovariance = "diagonal",
        scale_floor: float = 1e-3,
    ) -> None:
        super().__init__()
        check_mixture(in_features, out_features, components, covariance, scale_floor)
        if covariance not in get_args(StepCovariance):
            raise InputError(
                f"covariance: received {covariance!r}, expected one of {', '.join(get_args(StepCovariance))}"
            )
        if events not in (0, 2, 3):
            raise InputError(f"events: received {events}, expected 3, 2 or 0")
        self.shape = MixtureShape(out_features, components, math.log(scale_floor), covariance)
        self.events, self.component_choices = events, out_features if covariance == "per-dimension" else 1
        self.linear = nn.Linear(in_features, self.shape.size + events)
        self.shape.initialize(self.linear)

    def forward(self, features: Tensor) -> StepParameters:
        """features: (..., I)."""
        odds = self.end_logit_shift(features)
        rows = _evenly(self.linear, features) if features.ndim == 2 else self.linear(features)
        return StepParameters(rows, self.shape, self.events, None if odds is None else odds.squeeze(-1))

    def end_logit_shift(self, features: Tensor) -> Tensor | None:
        """What the logit of END is raised by, given the features: (..., 1); None: nothing, as here."""
        return None


def _evenly(linear: nn.Linear, features: Tensor) -> Tensor:
    """`linear` of features (S, I); under autocast on a CPU S is brought to a multiple of 256 meanwhile.

    oneDNN compiles its products, forward and backward, for every S that it meets, and keeps a thousand of them.
    """
    missing = -len(features) % 256
    if not missing or features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return linear(features)
    return linear(functional.pad(features, (0, 0, 0, missing)))[: len(features)]


def check_mixture(
    in_features: object, out_features: object, components: object, covariance: str, scale_floor: float
) -> None:
    """InputError, a ValueError, that names the argument that cannot be."""
    for name, value in (("in_features", in_features), ("out_features", out_features), ("components", components)):
        if not isinstance(value, Integral) or value < 1:
            raise InputError(f"{name}: received {value!r}, expected a whole number of 1 or more")
    if covariance not in get_args(Covariance):
        raise InputError(f"covariance: received {covariance!r}, expected one of {', '.join(get_args(Covariance))}")
    if not 0 < scale_floor < math.inf:
        raise InputError(f"scale_floor: received {scale_floor}, expected a positive number")
