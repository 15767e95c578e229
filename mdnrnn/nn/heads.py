"""Mixture density heads: a linear layer whose outputs are the parameters of a distribution (Bishop 1994)."""

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
    """Map features of shape (..., in_features) to a mixture over points of shape (..., out_features).

    The head can be used as the last module of any network:

        net = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), MixtureHead(64, 1, components=20))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for x, y in batches:  # shapes (B, 1)
            optimizer.zero_grad()
            (-net(x).log_prob(y).mean()).backward()
            optimizer.step()
        net(x).sample()

    Args:
        in_features: number of input features.
        out_features: number of features D of the targets.
        components: number of components K.
        covariance: covariance structure of the components; see `Covariance`.
        scale_floor: lower bound of the standard deviations of components, in units of the targets.
        noise: standard deviation, in units of the targets, of the normal noise that `loss` adds to the targets in
            training mode. The noise smooths the density where data are sparse (Rothfuss et al., arXiv:1907.08982).
        weight_entropy: factor of the entropy regularizer. In training mode, `loss` subtracts this factor times the mean
            entropy of the mixture weights in nats. A positive factor favors equal weights, a negative factor favors few
            components of large weight.

    Raises:
        InputError: if an argument is invalid.
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
        check_mixture_options(in_features, out_features, components, covariance, scale_floor)
        if not 0 <= noise < math.inf:
            raise InputError(f"noise: received {noise}, expected a standard deviation >= 0")
        if not math.isfinite(weight_entropy):
            raise InputError(f"weight_entropy: received {weight_entropy}, expected a finite number")
        self.shape = MixtureShape(out_features, components, math.log(scale_floor), covariance)
        self.noise, self.weight_entropy = noise, weight_entropy
        self.linear = nn.Linear(in_features, self.shape.size)
        self.shape.initialize(self.linear)

    def forward(self, features: Tensor) -> GaussianMixture | PerDimensionMixture:
        """Return the mixture given features of shape (..., in_features)."""
        return self.shape.unpack(self.linear(features))

    def initialize(self, targets: Tensor) -> None:
        """Initialize the head such that each component is fitted to one cluster of the targets.

        The clusters are quantile groups if D = 1 or if the covariance is "per-dimension"; otherwise they are found by
        k-means. The weights of the linear layer are set to 0, so the initial mixture does not depend on the features.

        Args:
            targets: shape (N, D).

        Raises:
            InputError: if the shape is wrong or a target is NaN or infinite.
        """
        if targets.ndim != 2 or targets.shape[1] != self.shape.features or not len(targets):
            raise InputError(
                f"targets: received shape {tuple(targets.shape)}, expected (N, {self.shape.features}) with N >= 1"
            )
        if not bool(targets.isfinite().all()):
            raise InputError("targets: received NaN or infinite values, expected real numbers")
        self.shape.initialize_from_targets(self.linear, targets)

    def loss(self, mixture: GaussianMixture | PerDimensionMixture, targets: Tensor) -> Tensor:
        """Return the mean negative log-likelihood in nats.

        In training mode, noise is added to the targets, and the entropy regularizer changes the loss; see the arguments
        `noise` and `weight_entropy` of the head.

        Args:
            mixture: result of `forward`.
            targets: shape (..., D).
        """
        if self.training and self.noise:
            targets = targets + self.noise * torch.randn_like(targets)
        loss = -mixture.log_prob(targets).mean()
        if self.training and self.weight_entropy:
            log_weights = mixture.log_weights
            loss = loss + self.weight_entropy * (log_weights.exp() * log_weights).sum(-1).mean()
        return loss


class StepHead(nn.Module):
    """Map features of shape (..., in_features) to a step distribution: a mixture over the motion, and event logits.

    The attribute `component_choices` is the number of components that are selected to sample one step: D for
    per-dimension mixtures, 1 otherwise.

    Args:
        in_features: number of input features.
        out_features: number of motion features D.
        components: number of components K.
        events: number of event logits E: 0 for sequences without events; 2 (DOWN, END); 3 (DOWN, UP, END); more for
            DOWN, UP, END and E - 3 further events, whose meaning is up to the caller.
        covariance: covariance structure of the components; see `StepCovariance`.
        scale_floor: lower bound of the standard deviations of components, in units of the targets.

    Raises:
        InputError: if an argument is invalid.
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
        check_mixture_options(in_features, out_features, components, covariance, scale_floor)
        if covariance not in get_args(StepCovariance):
            raise InputError(
                f"covariance: received {covariance!r}, expected one of {', '.join(get_args(StepCovariance))}"
            )
        if events < 0 or events == 1:
            raise InputError(f"events: received {events}, expected a whole number of 2 or more, or 0 for no events")
        self.shape = MixtureShape(out_features, components, math.log(scale_floor), covariance)
        self.events, self.component_choices = events, out_features if covariance == "per-dimension" else 1
        self.linear = nn.Linear(in_features, self.shape.size + events)
        self.shape.initialize(self.linear)

    def forward(self, features: Tensor) -> StepParameters:
        """Return the step distribution given features of shape (..., in_features)."""
        shift = self.end_logit_shift(features)
        parameters = _apply_padded(self.linear, features) if features.ndim == 2 else self.linear(features)
        return StepParameters(parameters, self.shape, self.events, None if shift is None else shift.squeeze(-1))

    def end_logit_shift(self, features: Tensor) -> Tensor | None:
        """Return a value to add to the logit of END, shape (..., 1), or None to add nothing.

        This implementation returns None; subclasses can override it.
        """
        return None


def _apply_padded(linear: nn.Linear, features: Tensor) -> Tensor:
    """Return `linear(features)` for features (S, in_features).

    Under autocast on a CPU, S is padded to a multiple of 256 internally. For every new S, oneDNN compiles the matrix
    products of the forward and backward pass, and caches up to a thousand compiled products. Padding reduces the number
    of different sizes.
    """
    if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return linear(features)
    missing = -len(features) % 256
    return linear(functional.pad(features, (0, 0, 0, missing)))[: len(features)]


def check_mixture_options(
    in_features: object, out_features: object, components: object, covariance: str, scale_floor: float
) -> None:
    """Raise `InputError` if an argument of a mixture head is invalid."""
    for name, value in (("in_features", in_features), ("out_features", out_features), ("components", components)):
        if not isinstance(value, Integral) or value < 1:
            raise InputError(f"{name}: received {value!r}, expected a whole number of 1 or more")
    if covariance not in get_args(Covariance):
        raise InputError(f"covariance: received {covariance!r}, expected one of {', '.join(get_args(Covariance))}")
    if not 0 < scale_floor < math.inf:
        raise InputError(f"scale_floor: received {scale_floor}, expected a positive number")
