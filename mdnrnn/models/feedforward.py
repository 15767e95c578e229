"""Feedforward networks on static problems: a mixture density network, and the squared-error network beside it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mdnrnn.data.static import PointBatch, Points
from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, Model
from mdnrnn.models.configs import BodyConfig, MDNConfig
from mdnrnn.nn.heads import MixtureHead

_REACH = 2.0
"""Standard deviations of the inputs that the first layer's units turn within."""
ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU}


class _Feedforward(Model):
    """Standardized inputs, hidden layers, a head: what both networks are."""

    def __init__(self, inputs: int, targets: int, config: BodyConfig, head: nn.Module) -> None:
        super().__init__()
        for name, value in (("inputs", inputs), ("targets", targets)):
            if value < 1:
                raise InputError(f"{name}: received {value}, expected 1 or more")
        widths = (inputs, *config.widths)
        layers = [(nn.Linear(a, b), ACTIVATIONS[config.activation]()) for a, b in itertools.pairwise(widths)]
        self.body = nn.Sequential(*(module for layer in layers for module in layer))
        _spread(layers[0][0], config.detail)
        self.head = head
        for name, size in (("input", inputs), ("target", targets)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.input_mean: Tensor
        self.input_scale: Tensor
        self.target_mean: Tensor
        self.target_scale: Tensor

    def standardize(self, data: Points) -> None:
        """Learn the units of `data`: from now on inputs and targets are standardized inside."""
        for name, values in (("input", data.x), ("target", data.y)):
            mean, scale = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_scale")
            if values.ndim != 2 or values.shape[1:] != mean.shape or not len(values):
                raise InputError(
                    f"data: received {name}s {tuple(values.shape)}, expected (N, {len(mean)}), N 1 or more"
                )
            values = values.double()
            mean.copy_(values.mean(0))
            spread = values.std(0, correction=0)
            # A column that hardly changes has no unit of its own.
            scale.copy_(torch.where(spread > 1e-6 * values.mean(0).abs(), spread, 1.0))

    def _features(self, x: Tensor) -> Tensor:
        return self.body((x.to(self.input_mean) - self.input_mean) / self.input_scale)

    def _targets(self, y: Tensor) -> Tensor:
        return (y.to(self.target_mean) - self.target_mean) / self.target_scale


@torch.no_grad()
def _spread(layer: nn.Linear, detail: float) -> None:
    """Start with units that turn all over the standardized inputs, in directions of all kinds."""
    nn.init.uniform_(layer.weight, -detail, detail)
    turns = torch.empty_like(layer.bias).uniform_(-_REACH, _REACH)
    layer.bias.copy_(turns * layer.weight.norm(dim=1))


class MDN(_Feedforward):
    """p(y | x), a mixture whose parameters are a network's: Bishop's mixture density network (1994).

    Args:
        inputs: A.
        targets: D.
        config: sizes and regularisers.
        data: points to take the units from, and the mixture to start from; without them both are standard.
    """

    def __init__(self, inputs: int, targets: int, config: MDNConfig | None = None, data: Points | None = None) -> None:
        config = config or MDNConfig()
        head = MixtureHead(
            config.widths[-1], targets, config.components, config.covariance, config.scale_floor,
            config.target_noise, config.weight_entropy,
        )  # fmt: skip
        super().__init__(inputs, targets, config, head)
        self.head: MixtureHead
        self.config = config
        if data is not None:
            self.standardize(data)
            self.head.initialize(self._targets(data.y))

    def forward(self, x: Tensor) -> GaussianMixture | PerDimensionMixture:
        """x (..., A) to the distribution of y (..., D), both in the units of the data."""
        return self.head(self._features(x)).affine(self.target_mean, self.target_scale)

    def loss(self, batch: PointBatch) -> Loss:
        """Mean nats a point, in the units of the data; with the regularisers in training."""
        x = batch.x.to(self.input_mean)
        if self.training and self.config.input_noise:
            x = x + self.config.input_noise * self.input_scale * torch.randn_like(x)
        nats = self.head.loss(self.head(self._features(x)), self._targets(batch.y))
        return Loss(nats + self.target_scale.log().sum(), {})


class SquaredErrorNetwork(_Feedforward):
    """E[y | x] by least squares: the plain network of the same body, which averages over branches."""

    def __init__(self, inputs: int, targets: int, config: BodyConfig | None = None, data: Points | None = None) -> None:
        config = config or BodyConfig()
        super().__init__(inputs, targets, config, nn.Linear(config.widths[-1], targets))
        if data is not None:
            self.standardize(data)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., A) to the mean of y (..., D), both in the units of the data."""
        return self.target_mean + self.target_scale * self.head(self._features(x))

    def loss(self, batch: PointBatch) -> Loss:
        """Mean squared error of standardized targets."""
        return Loss((self.head(self._features(batch.x)) - self._targets(batch.y)).square().mean(), {})
