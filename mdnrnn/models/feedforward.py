"""Feedforward networks for data without time steps: a mixture density network, and a least-squares network."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mdnrnn.data.static import PointBatch, Points
from mdnrnn.device import to_float64
from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.errors import InputError
from mdnrnn.models.base import Loss, Model
from mdnrnn.models.configs import BodyConfig, MDNConfig
from mdnrnn.nn.heads import MixtureHead

_INPUT_RANGE = 2.0
"""Maximum initial distance between the mean input and the hyperplane of a first-layer unit, in standard deviations of
the inputs. On the hyperplane of a unit, the input of the activation function is 0."""
_ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU}


class _Feedforward(Model):
    """Base class of the feedforward networks: standardization, hidden layers and a head.

    Args:
        inputs: number of input features A.
        targets: number of target features D.
        config: config of the hidden layers.
        head: module that maps the outputs of the last hidden layer to a prediction of the standardized targets.
    """

    def __init__(self, inputs: int, targets: int, config: BodyConfig, head: nn.Module) -> None:
        super().__init__()
        for name, value in (("inputs", inputs), ("targets", targets)):
            if value < 1:
                raise InputError(f"{name}: received {value}, expected 1 or more")
        widths = (inputs, *config.widths)
        layers = [(nn.Linear(a, b), _ACTIVATIONS[config.activation]()) for a, b in itertools.pairwise(widths)]
        self.body = nn.Sequential(*(module for layer in layers for module in layer))
        _initialize_first_layer(layers[0][0], config.detail)
        self.head = head
        for name, size in (("input", inputs), ("target", targets)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.input_mean: Tensor
        self.input_scale: Tensor
        self.target_mean: Tensor
        self.target_scale: Tensor

    def fit_standardization(self, data: Points) -> None:
        """Set the means and scales of inputs and targets to the means and standard deviations of `data`.

        The network standardizes its inputs and targets by these means and scales.

        Raises:
            InputError: a shape in `data` does not match the network, or `data` has no points.
        """
        for name, values in (("input", data.x), ("target", data.y)):
            mean, scale = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_scale")
            if values.ndim != 2 or values.shape[1:] != mean.shape or not len(values):
                raise InputError(f"data: received {name}s {tuple(values.shape)}, expected (N, {len(mean)}) with N >= 1")
            values = to_float64(values)
            mean.copy_(values.mean(0))
            deviation = values.std(0, correction=0)
            # The scale of a nearly constant feature is 1, because its standard deviation is rounding error.
            scale.copy_(torch.where(deviation > 1e-6 * values.mean(0).abs(), deviation, 1.0))

    def _features(self, x: Tensor) -> Tensor:
        return self.body((x.to(self.input_mean) - self.input_mean) / self.input_scale)

    def _standardize_targets(self, y: Tensor) -> Tensor:
        return (y.to(self.target_mean) - self.target_mean) / self.target_scale


@torch.no_grad()
def _initialize_first_layer(layer: nn.Linear, detail: float) -> None:
    """Initialize the first layer for standardized inputs.

    Weights are uniform between -detail and detail. The input of a unit's activation function is 0 on a hyperplane.
    The bias places this hyperplane at a random distance of at most `_INPUT_RANGE` from the mean input.
    """
    nn.init.uniform_(layer.weight, -detail, detail)
    centers = torch.empty_like(layer.bias).uniform_(-_INPUT_RANGE, _INPUT_RANGE)
    layer.bias.copy_(centers * layer.weight.norm(dim=1))


class MDN(_Feedforward):
    """Mixture density network p(y | x) (Bishop 1994).

    Args:
        inputs: number of input features A.
        targets: number of target features D.
        config: sizes and regularizers.
        data: training points. The network standardizes inputs and targets by the means and standard deviations of these
            points. The initial mixture is fitted to the targets of these points. None: nothing is standardized, and the
            initial mixture is random.

    Raises:
        InputError: an argument is invalid.
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
            self.fit_standardization(data)
            self.head.initialize(self._standardize_targets(data.y))

    def forward(self, x: Tensor) -> GaussianMixture | PerDimensionMixture:
        """Return the distribution of targets y, shape (..., D), given inputs x, shape (..., A).

        Inputs and targets are in the units of the data.
        """
        return self.head(self._features(x)).affine(self.target_mean, self.target_scale)

    def loss(self, batch: PointBatch) -> Loss:
        """Return the mean negative log-likelihood in nats per point, for targets in the units of the data.

        In training mode the regularizers of `MDNConfig` are applied.
        """
        x = batch.x.to(self.input_mean)
        if self.training and self.config.input_noise:
            x = x + self.config.input_noise * self.input_scale * torch.randn_like(x)
        loss = self.head.loss(self.head(self._features(x)), self._standardize_targets(batch.y))
        return Loss(loss + self.target_scale.log().sum(), {})


class SquaredErrorNetwork(_Feedforward):
    """Network for least-squares regression: predicts E[y | x], for comparison with `MDN`.

    It has the same hidden layers as an `MDN`. If y has several modes given x, the prediction is an average of them.

    Args:
        inputs: number of input features A.
        targets: number of target features D.
        config: config of the hidden layers.
        data: training points. The network standardizes inputs and targets by the means and standard deviations of these
            points. None: nothing is standardized.

    Raises:
        InputError: an argument is invalid.
    """

    def __init__(self, inputs: int, targets: int, config: BodyConfig | None = None, data: Points | None = None) -> None:
        config = config or BodyConfig()
        super().__init__(inputs, targets, config, nn.Linear(config.widths[-1], targets))
        if data is not None:
            self.fit_standardization(data)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predicted mean of targets y, shape (..., D), given inputs x, shape (..., A).

        Inputs and targets are in the units of the data.
        """
        return self.target_mean + self.target_scale * self.head(self._features(x))

    def loss(self, batch: PointBatch) -> Loss:
        """Return the mean squared error over all points and features, in units of standardized targets."""
        return Loss((self.head(self._features(batch.x)) - self._standardize_targets(batch.y)).square().mean(), {})
