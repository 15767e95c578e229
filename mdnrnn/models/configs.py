"""Configs of all models: sizes and hyperparameters, with range checks; this module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mdnrnn.errors import InputError
from mdnrnn.nn.covariance import Covariance, StepCovariance

Activation = Literal["silu", "tanh", "relu"]
Cell = Literal["plain", "layer-norm"]


@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """Hidden layers of a feedforward network."""

    widths: tuple[int, ...] = (64, 64)
    """Number of units of each hidden layer."""
    activation: Activation = "silu"
    """Activation after each hidden layer."""
    detail: float = 1.0
    """Maximum absolute value of the initial weights of the first layer, for standardized inputs; larger values resolve
    finer detail."""

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"widths: received {self.widths}, expected one or more, each 1 or more")
        if self.activation not in get_args(Activation):
            raise InputError(
                f"activation: received {self.activation!r}, expected one of {', '.join(get_args(Activation))}"
            )
        if not 0 < self.detail < math.inf:
            raise InputError(f"detail: received {self.detail}, expected a positive number")


@dataclass(frozen=True, kw_only=True)
class MDNConfig(BodyConfig):
    """Mixture density network: sizes, and regularizers that are off by default."""

    components: int = 20
    """Number of mixture components, K."""
    covariance: Covariance = "diagonal"
    """Covariance structure of the components."""
    scale_floor: float = 1e-3
    """Lower bound of the components' scales, in standard deviations of the targets."""
    input_noise: float = 0.0
    """Standard deviation of the noise added to inputs in training, in standard deviations of the inputs."""
    target_noise: float = 0.0
    """Standard deviation of the noise added to targets in training, in standard deviations of the targets."""
    weight_entropy: float = 0.0
    """Coefficient of the mean entropy of the mixture weights, in nats, which is subtracted from the training loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_noise", "target_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: received {getattr(self, name)}, expected a number >= 0")


@dataclass(frozen=True, kw_only=True)
class MDNRNNConfig:
    """MDN-RNN: sizes and hyperparameters."""

    hidden: int = 512
    """Hidden size, H."""
    layers: int = 1
    """Number of LSTM layers."""
    components: int = 20
    """Number of mixture components, K."""
    covariance: StepCovariance = "diagonal"
    """Covariance structure of the components: diagonal, full or per-dimension (an independent univariate mixture in
    each dimension)."""
    skip: bool = False
    """Whether to add skip connections from the input to every layer and from every layer to the head (Graves 2013)."""
    dropout: float = 0.4
    """Dropout probability after each LSTM layer in training; one mask per sequence."""
    position: float = 1.0
    """Scale factor of the position (the sum of the offsets so far) as an input feature; 0 omits the position."""
    scale_floor: float = 1e-3
    """Lower bound of the components' scales, in normalized units."""
    end_weight: float = 1.0
    """Weight of END events in the training loss; 10 in World Models. Reported likelihoods are not weighted."""

    def __post_init__(self) -> None:
        _check_sizes(self, hidden=1, layers=1, components=1)
        _check_dropout(self)
        if not 0 <= self.position < math.inf:
            raise InputError(f"model.position: received {self.position}, expected a number >= 0")
        for name in ("scale_floor", "end_weight"):
            _check_positive(self, name)


@dataclass(frozen=True, kw_only=True)
class SketchRNNConfig:
    """Sketch-RNN: sizes, hyperparameters and the schedule of the KL weight.

    The training objective, in nats per drawing, is reconstruction + weight(step) max(KL, kl_floor Z) with
    weight(step) = kl_weight (1 - (1 - kl_start) kl_rate^step). Ha and Eck (arXiv:1704.03477) divide the reconstruction
    by the number of points of the longest drawing, N_max, and the KL divergence by Z. Their w_KL of 0.5 therefore
    corresponds to a kl_weight of 0.5 N_max / Z, which is 0.98 for N_max = 250 and Z = 128.
    """

    encoder: int = 256
    """Hidden size of the encoder in each direction."""
    hidden: int = 512
    """Hidden size of the decoder, H."""
    layers: int = 1
    """Number of LSTM layers of the decoder."""
    latent: int = 128
    """Size of the latent vector, Z; 0 omits the encoder."""
    components: int = 20
    """Number of mixture components, K."""
    covariance: StepCovariance = "full"
    """Covariance structure of the components: full (as published), diagonal or per-dimension."""
    cell: Cell = "plain"
    """Type of the LSTM layers: plain, or layer-norm, which is slower; both are published variants."""
    dropout: float = 0.0
    """Dropout probability after each decoder layer in training; one mask per drawing."""
    recurrent_dropout: float = 0.1
    """Dropout probability of the recurrent weights in training; one mask per batch."""
    position: bool = True
    """Whether the position (the sum of the offsets so far) is an input feature."""
    kl_weight: float = 1.0
    """Final weight of the KL divergence in the objective; 1 gives the evidence lower bound, 0 omits the encoder."""
    kl_start: float = 0.01
    """Weight of the KL divergence at the first step, as a fraction of kl_weight."""
    kl_rate: float = 0.99995
    """Decay factor of KL annealing per step; closer to 1 is slower."""
    kl_floor: float = 0.2
    """Free nats per dimension of z: a KL divergence below kl_floor Z is not penalized."""
    scale_floor: float = 1e-3
    """Lower bound of the components' scales, in normalized units."""

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise InputError(f"model.cell: received {self.cell!r}, expected one of {', '.join(get_args(Cell))}")
        for name, low, high in _SKETCH_RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"model.{name}: received {value}, expected {low:g} to {high:g}")


_SKETCH_RANGES: tuple[tuple[str, float, float], ...] = (
    ("encoder", 1, 1e6),
    ("hidden", 1, 1e6),
    ("layers", 1, 1e3),
    ("latent", 0, 1e6),
    ("components", 1, 1e6),
    ("dropout", 0, 0.99),
    ("recurrent_dropout", 0, 0.99),
    ("kl_weight", 0, 1e6),
    ("kl_start", 0, 1),
    ("kl_rate", 0, 1),
    ("kl_floor", 0, 1e6),
    ("scale_floor", 1e-12, 1e6),
)


@dataclass(frozen=True, kw_only=True)
class HandwritingConfig:
    """Handwriting synthesis network: sizes and hyperparameters."""

    hidden: int = 400
    """Hidden size, H."""
    layers: int = 3
    """Number of LSTM layers; the first layer controls the attention window."""
    window: int = 10
    """Number of Gaussians of the attention window over the text."""
    components: int = 20
    """Number of mixture components, K."""
    covariance: StepCovariance = "full"
    """Covariance structure of the components: full (as published), diagonal or per-dimension."""
    dropout: float = 0.0
    """Dropout probability after each LSTM layer in training; one mask per line."""
    position: bool = False
    """Whether the position (the sum of the offsets so far) is an input feature."""
    scale_floor: float = 1e-3
    """Lower bound of the components' scales, in normalized units."""

    def __post_init__(self) -> None:
        _check_sizes(self, hidden=1, layers=2, window=1, components=1)
        _check_dropout(self)
        _check_positive(self, "scale_floor")


def _check_sizes(config: Any, **minimums: int) -> None:
    for name, minimum in minimums.items():
        if getattr(config, name) < minimum:
            raise InputError(f"model.{name}: received {getattr(config, name)}, expected a whole number >= {minimum}")


def _check_dropout(config: Any) -> None:
    if not 0 <= config.dropout < 1:
        raise InputError(f"model.dropout: received {config.dropout}, expected a number >= 0 and < 1")


def _check_positive(config: Any, name: str) -> None:
    if not 0 < getattr(config, name) < math.inf:
        raise InputError(f"model.{name}: received {getattr(config, name)}, expected a positive number")
