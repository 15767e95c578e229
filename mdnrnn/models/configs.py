"""Configs of all models: sizes and hyperparameters, with range checks. This module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mdnrnn.errors import InputError
from mdnrnn.nn.covariance import Covariance, StepCovariance

Activation = Literal["silu", "tanh", "relu"]
Cell = Literal["plain", "layer-norm"]
Core = Literal["lstm", "gru", "transformer"]
_MAX_LAYERS = 100
"""Maximum number of layers of the core. Each layer is a module, even if its weights are not allocated."""
_MAX_POSITION_FACTOR = 1e6


@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """Config of the hidden layers of a feedforward network."""

    widths: tuple[int, ...] = (64, 64)
    """Number of units of each hidden layer."""
    activation: Activation = "silu"
    """Activation function after each hidden layer."""
    detail: float = 1.0
    """Maximum absolute value of the initial weights of the first layer, whose inputs are standardized. With a larger
    value the network can fit finer detail."""

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
    """Config of a mixture density network: sizes and regularizers. The regularizers are off by default."""

    components: int = 20
    """Number of mixture components, K."""
    covariance: Covariance = "diagonal"
    """Covariance structure of the components: diagonal, full, isotropic, shared (one diagonal matrix for all
    components) or per-dimension (an independent univariate mixture in each dimension)."""
    scale_floor: float = 1e-3
    """Lower bound of the standard deviations of the components, in standard deviations of the targets."""
    input_noise: float = 0.0
    """Standard deviation of the noise added to inputs in training, in standard deviations of the inputs."""
    target_noise: float = 0.0
    """Standard deviation of the noise added to targets in training, in standard deviations of the targets."""
    weight_entropy: float = 0.0
    """Factor of the entropy regularizer: the training loss is reduced by the factor times the mean entropy of the
    mixture weights in nats."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_noise", "target_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: received {getattr(self, name)}, expected a number >= 0")


@dataclass(frozen=True, kw_only=True)
class MDNRNNConfig:
    """Config of an MDN-RNN."""

    core: Core = "lstm"
    """Network that reads the steps: lstm, gru or transformer (causal self-attention with rotary positions)."""
    hidden: int = 512
    """Hidden size, H."""
    layers: int = 1
    """Number of layers of the core."""
    heads: int = 4
    """Number of attention heads; for the transformer only. H must be a multiple of 2 x heads."""
    span: int = 1024
    """Maximum number of steps that a step attends to, including itself; for the transformer only."""
    components: int = 20
    """Number of mixture components, K."""
    covariance: StepCovariance = "diagonal"
    """Covariance structure of the components: diagonal, full or per-dimension (an independent univariate mixture in
    each dimension)."""
    skip: bool = False
    """Whether to add skip connections from the input to every layer and from every layer to the head (Graves 2013);
    not for the transformer."""
    dropout: float = 0.4
    """Dropout probability after each layer in training. LSTM and GRU: one mask per sequence, the same at all steps.
    Transformer: one mask per step."""
    position: float = 1.0
    """Factor of the position (the sum of the offsets so far) in the input features; 0 omits the position."""
    scale_floor: float = 1e-3
    """Lower bound of the standard deviations of the components, in normalized units."""
    end_weight: float = 1.0
    """Weight of END events in the training loss. World Models (arXiv:1803.10122) uses 10. Reported likelihoods are not
    weighted."""

    def __post_init__(self) -> None:
        _check_sizes(self, hidden=1, layers=1, components=1, heads=1, span=1)
        _check_dropout(self)
        _check_core(self)
        if not 0 <= self.position <= _MAX_POSITION_FACTOR:
            raise InputError(
                f"model.position: received {self.position}, expected a number >= 0 and <= {_MAX_POSITION_FACTOR:g}"
            )
        for name in ("scale_floor", "end_weight"):
            _check_positive(self, name)


@dataclass(frozen=True, kw_only=True)
class SketchRNNConfig:
    """Config of Sketch-RNN.

    The training objective of a batch, in nats per drawing, is

        reconstruction + weight(step) max(KL, kl_floor Z)
        weight(step) = kl_weight (1 - (1 - kl_start) kl_rate^step)

    The reconstruction loss and the KL divergence are means over the drawings of the batch. Ha and Eck
    (arXiv:1704.03477) divide the reconstruction loss by the number of points of the longest drawing, N_max, and the KL
    divergence by Z. Their w_KL of 0.5 therefore corresponds to a kl_weight of 0.5 N_max / Z, which is 0.98 for
    N_max = 250 and Z = 128.
    """

    encoder: int = 256
    """Hidden size of the bidirectional encoder, per direction."""
    hidden: int = 512
    """Hidden size of the decoder, H."""
    layers: int = 1
    """Number of LSTM layers of the decoder."""
    latent: int = 128
    """Size Z of the latent vector z; with 0, the model has no z and no encoder."""
    components: int = 20
    """Number of mixture components, K."""
    covariance: StepCovariance = "full"
    """Covariance structure of the components: full (as published), diagonal or per-dimension."""
    cell: Cell = "plain"
    """Type of the LSTM layers: plain or layer-norm. Layer-norm is slower."""
    dropout: float = 0.0
    """Dropout probability after each decoder layer in training; one mask per drawing, the same at all steps."""
    recurrent_dropout: float = 0.1
    """Dropout probability of the recurrent weights in training; one mask per batch, the same at all steps."""
    position: bool = True
    """Whether the position (the sum of the offsets so far) is an input feature."""
    kl_weight: float = 1.0
    """Final weight of the KL divergence in the training objective. With kl_weight 1 and kl_floor 0, the objective after
    annealing is the negative evidence lower bound. With 0, the model has no z and no encoder."""
    kl_start: float = 0.01
    """Weight of the KL divergence at the first training step, as a fraction of kl_weight."""
    kl_rate: float = 0.99995
    """KL annealing: factor by which each training step multiplies the difference between kl_weight and the current
    weight. Values closer to 1 give slower annealing."""
    kl_floor: float = 0.2
    """Free nats per dimension of z: a KL divergence below kl_floor times Z, in nats per drawing, is not penalized."""
    scale_floor: float = 1e-3
    """Lower bound of the standard deviations of the components, in normalized units."""

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
    ("layers", 1, _MAX_LAYERS),
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
    """Config of a handwriting synthesis network."""

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
    """Dropout probability after each LSTM layer in training; one mask per line, the same at all steps."""
    position: bool = False
    """Whether the position (the sum of the offsets so far) is an input feature."""
    scale_floor: float = 1e-3
    """Lower bound of the standard deviations of the components, in normalized units."""

    def __post_init__(self) -> None:
        _check_sizes(self, hidden=1, layers=2, window=1, components=1)
        _check_dropout(self)
        _check_positive(self, "scale_floor")


def _check_sizes(config: Any, **minimums: int) -> None:
    for name, minimum in minimums.items():
        if getattr(config, name) < minimum:
            raise InputError(f"model.{name}: received {getattr(config, name)}, expected a whole number >= {minimum}")
    if config.layers > _MAX_LAYERS:
        raise InputError(f"model.layers: received {config.layers}, expected at most {_MAX_LAYERS}")


def _check_core(config: MDNRNNConfig) -> None:
    if config.core not in get_args(Core):
        raise InputError(f"model.core: received {config.core!r}, expected one of {', '.join(get_args(Core))}")
    if config.core != "transformer":
        return
    if config.skip:
        raise InputError("model.skip: received true, expected false for the transformer")
    if config.hidden % (2 * config.heads):
        raise InputError(
            f"model.hidden: received {config.hidden}, expected a multiple of {2 * config.heads} (2 x heads) for the "
            "transformer"
        )


def _check_dropout(config: Any) -> None:
    if not 0 <= config.dropout < 1:
        raise InputError(f"model.dropout: received {config.dropout}, expected a number >= 0 and < 1")


def _check_positive(config: Any, name: str) -> None:
    if not 0 < getattr(config, name) < math.inf:
        raise InputError(f"model.{name}: received {getattr(config, name)}, expected a positive number")
