"""Mixture density heads: one linear layer, one split, a distribution (Bishop 1994)."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.nn.clusters import clusters

Covariance = Literal["diagonal", "full", "isotropic", "shared", "per-dimension"]
"""Of a component: diagonal; full; isotropic, one scale for all dimensions; shared, one diagonal for all components;
or of no joint component at all: per-dimension, every dimension a mixture of its own."""


StepCovariance = Literal["diagonal", "full", "per-dimension"]
"""Of a component of a step's motion."""


class MixtureShape(NamedTuple):
    """How the parameters of a mixture lie in one row: logits, means, raw log scales, slopes."""

    features: int
    """D."""
    components: int
    """K."""
    log_floor: float
    """Log of the least scale."""
    covariance: Covariance = "diagonal"

    @property
    def sizes(self) -> list[int]:
        """Numbers of logits, means, raw log scales and slopes in a row."""
        k, d = self.components, self.features
        scales = {"isotropic": k, "shared": d}.get(self.covariance, k * d)
        slopes = k * d * (d - 1) // 2 if self.covariance == "full" else 0
        return [k * d if self.covariance == "per-dimension" else k, k * d, scales, slopes]

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return sum(self.sizes)

    def unpack(self, row: Tensor) -> GaussianMixture | PerDimensionMixture:
        """Rows (..., size) as a mixture, in float32 or wider."""
        row = row.float() if row.dtype in (torch.bfloat16, torch.float16) else row
        k, d = self.components, self.features
        logits, means, raw, below = row.split_with_sizes(self.sizes, -1)
        log_scales = smooth_floor(raw, self.log_floor)
        if self.covariance == "per-dimension":
            shape = (d, k)
            means, log_scales = means.unflatten(-1, (*shape, 1)), log_scales.unflatten(-1, (*shape, 1))
            return PerDimensionMixture.of(
                GaussianMixture(logits.unflatten(-1, shape), means, log_scales, validate_args=False)
            )
        batch = row.shape[:-1]
        own = {"isotropic": (k, 1), "shared": (1, d)}.get(self.covariance, (k, d))
        slopes = lower(below.unflatten(-1, (k, -1)), d) if self.covariance == "full" else None
        means, log_scales = means.reshape(*batch, k, d), log_scales.reshape(*batch, *own)
        return GaussianMixture(logits, means, log_scales, slopes, validate_args=False)

    @torch.no_grad()
    def initialise(self, linear: nn.Linear) -> None:
        """A sound start for normalised targets: equal weights, means spread as the data are, scales below theirs.

        `linear`'s rows are the mixture's parameters, in the order of `unpack`.
        """
        nn.init.normal_(linear.weight, std=0.1 / math.sqrt(linear.in_features))
        nn.init.zeros_(linear.bias)
        if self.components > 1:
            _, means, scales, _ = linear.bias[: self.size].split(self.sizes)
            nn.init.normal_(means, std=0.7)
            nn.init.constant_(scales, math.log(0.7))

    @torch.no_grad()
    def initialise_from(self, linear: nn.Linear, targets: Tensor) -> None:
        """The mixture that fits `targets` (N, D) as they are, by clusters of theirs, whatever the features."""
        k = self.components
        linear.weight[: self.size].zero_()
        if self.covariance == "per-dimension":  # (D, K) in the row, each dimension with clusters of its own
            found = [clusters(column.unsqueeze(-1), k) for column in targets.unbind(-1)]
            weights, centres, spreads = (torch.stack(part).flatten() for part in zip(*found, strict=True))
        else:
            weights, centres, spreads = clusters(targets, k)
            if self.covariance == "isotropic":
                spreads = spreads.square().mean(-1).sqrt()
            elif self.covariance == "shared":
                spreads = (weights.unsqueeze(-1) * spreads.square()).sum(0).sqrt()
        above_floor = (spreads - math.exp(self.log_floor)).clamp_min(math.exp(self.log_floor))
        logits, means, scales, slopes = linear.bias[: self.size].split(self.sizes)
        logits.copy_(weights.log())
        means.copy_(centres.flatten())
        scales.copy_(above_floor.log().flatten())
        slopes.zero_()


def smooth_floor(raw: Tensor, log_floor: float) -> Tensor:
    """log(exp(raw) + floor) = log_floor + softplus(raw - log_floor): a log scale that never falls below the floor."""
    if torch.compiler.is_compiling() or not raw.requires_grad:  # nothing to keep: a generated step, say
        return floored(raw, raw.new_full((), log_floor))
    result: Tensor = _SmoothFloor.apply(raw, log_floor)
    return result


def floored(raw: Tensor, log_floor: Tensor) -> Tensor:
    """The same without derivatives, of a floor that is a tensor already, ()."""
    return torch.logaddexp(raw, log_floor)


class _SmoothFloor(torch.autograd.Function):
    """Keeps nothing but its argument, which is part of the head's row and kept anyway."""

    generate_vmap_rule = True

    @staticmethod
    def forward(raw: Tensor, log_floor: float) -> Tensor:
        return functional.softplus(raw - log_floor).add_(log_floor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.log_floor = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * (ctx.saved_tensors[0] - ctx.log_floor).sigmoid_(), None


def lower(below: Tensor, features: int) -> Tensor:
    """Numbers (..., D (D - 1) / 2) laid out row by row below the diagonal of (..., D, D)."""
    rows, columns = torch.tril_indices(features, features, -1, device=below.device)
    matrix = below.new_zeros(*below.shape[:-1], features * features)
    return matrix.index_copy(-1, rows * features + columns, below).unflatten(-1, (features, features))


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
        self.shape.initialise(self.linear)

    def forward(self, features: Tensor) -> GaussianMixture | PerDimensionMixture:
        """features: (..., I)."""
        return self.shape.unpack(self.linear(features))

    def initialise(self, targets: Tensor) -> None:
        """Start from the mixture of `targets`, shape (N, D), as a whole: means at quantiles of theirs, or k-means'.

        The features come in with the first steps of a training: until then they change nothing.
        """
        if targets.ndim != 2 or targets.shape[1] != self.shape.features or not len(targets):
            raise InputError(
                f"targets: received shape {tuple(targets.shape)}, expected (N, {self.shape.features}), N 1 or more"
            )
        if not bool(targets.isfinite().all()):
            raise InputError("targets: received some that are infinite or no numbers, expected real numbers")
        self.shape.initialise_from(self.linear, targets)

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

    E: 3, of strokes; 2, of what can only go on or end; 0, of what never ends. `choices` is how many components a step
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
        self.events, self.choices = events, out_features if covariance == "per-dimension" else 1
        self.linear = nn.Linear(in_features, self.shape.size + events)
        self.shape.initialise(self.linear)

    def forward(self, features: Tensor) -> StepDistribution:
        """features: (..., I)."""
        mixture, events = self.linear(features).split_with_sizes([self.shape.size, self.events], -1)
        if self.events == 2:  # nothing is lifted: UP, between going on and END, cannot be
            going_on, end = events.split(1, -1)
            events = torch.cat([going_on, torch.full_like(going_on, -math.inf), end], -1)
        return StepDistribution(self.shape.unpack(mixture), events)

    def end_odds(self, features: Tensor) -> Tensor | None:
        """What the logit of END is raised by, given the features: (..., 1); None: nothing, as here."""
        return None


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
