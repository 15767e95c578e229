"""How a head's row holds a mixture and event logits, and the distribution over steps that rows are."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from mdnrnn.events import END
from mdnrnn.kernels import has_mixture_kernel, kernels_available
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.initialization import cluster_points


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
            return PerDimensionMixture.from_univariate(
                GaussianMixture(logits.unflatten(-1, shape), means, log_scales, validate_args=False)
            )
        batch = row.shape[:-1]
        own = {"isotropic": (k, 1), "shared": (1, d)}.get(self.covariance, (k, d))
        slopes = lower(below.unflatten(-1, (k, -1)), d) if self.covariance == "full" else None
        means, log_scales = means.reshape(*batch, k, d), log_scales.reshape(*batch, *own)
        return GaussianMixture(logits, means, log_scales, slopes, validate_args=False)

    @torch.no_grad()
    def initialize(self, linear: nn.Linear) -> None:
        """A sound start for normalized targets: equal weights, means spread as the data are, scales below theirs.

        `linear`'s rows are the mixture's parameters, in the order of `unpack`.
        """
        nn.init.normal_(linear.weight, std=0.1 / math.sqrt(linear.in_features))
        nn.init.zeros_(linear.bias)
        if self.components > 1:
            _, means, scales, _ = linear.bias[: self.size].split(self.sizes)
            nn.init.normal_(means, std=0.7)
            nn.init.constant_(scales, math.log(0.7))

    @torch.no_grad()
    def initialize_from(self, linear: nn.Linear, targets: Tensor) -> None:
        """The mixture that has_mixture_kernel `targets` (N, D) as they are, by cluster_points of theirs, whatever the features."""
        k = self.components
        linear.weight[: self.size].zero_()
        if self.covariance == "per-dimension":  # (D, K) in the row, each dimension with cluster_points of its own
            found = [cluster_points(column.unsqueeze(-1), k) for column in targets.unbind(-1)]
            weights, centers, spreads = (torch.stack(part).flatten() for part in zip(*found, strict=True))
        else:
            weights, centers, spreads = cluster_points(targets, k)
            if self.covariance == "isotropic":
                spreads = spreads.square().mean(-1).sqrt()
            elif self.covariance == "shared":
                spreads = (weights.unsqueeze(-1) * spreads.square()).sum(0).sqrt()
        above_floor = (spreads - math.exp(self.log_floor)).clamp_min(math.exp(self.log_floor))
        logits, means, scales, slopes = linear.bias[: self.size].split(self.sizes)
        logits.copy_(weights.log())
        means.copy_(centers.flatten())
        scales.copy_(above_floor.log().flatten())
        slopes.zero_()


def smooth_floor(raw: Tensor, log_floor: float) -> Tensor:
    """log(exp(raw) + floor) = log_floor + softplus(raw - log_floor): a log scale that never falls below the floor."""
    if torch.compiler.is_compiling() or not raw.requires_grad:  # nothing to keep: a generated step, say
        return add_floor(raw, raw.new_full((), log_floor))
    result: Tensor = _SmoothFloor.apply(raw, log_floor)
    return result


def add_floor(raw: Tensor, log_floor: Tensor) -> Tensor:
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


class StepParameters(StepDistribution):
    """The distribution over steps that a head's rows (..., R) are: a mixture's parameters, then E event logits.

    E: 3; 2, of what can only go on or end; 0, of what never ends. `end_shift` (...) is added to the logit of END.
    `motion` and `event_logits` are unpacked when they are first asked for: where a kernel takes nats from rows, never.
    """

    def __init__(self, rows: Tensor, shape: MixtureShape, events: int, end_shift: Tensor | None = None) -> None:
        self.parameters, self.shape, self.events, self.end_shift = rows, shape, events, end_shift
        self._unpacked: tuple[GaussianMixture | PerDimensionMixture, Tensor] | None = None
        Distribution.__init__(self, rows.shape[:-1], validate_args=False)

    @property
    def motion(self) -> GaussianMixture | PerDimensionMixture:  # type: ignore[override]
        """The mixture over (..., D)."""
        return self.unpacked()[0]

    @property
    def event_logits(self) -> Tensor:  # type: ignore[override]
        """Shape (..., 3), or (..., 0) where there are no events."""
        return self.unpacked()[1]

    def unpacked(self) -> tuple[GaussianMixture | PerDimensionMixture, Tensor]:
        """The motion and the event logits, with the gradients that they would have if they had come with the rows."""
        if self._unpacked is None:
            if self.parameters.requires_grad and not torch.is_grad_enabled():
                with torch.enable_grad():
                    self._unpacked = self._unpack()
            else:
                self._unpacked = self._unpack()
        return self._unpacked

    def _unpack(self) -> tuple[GaussianMixture | PerDimensionMixture, Tensor]:
        parameters, logits = self.parameters.split_with_sizes([self.shape.size, self.events], -1)
        motion = self.shape.unpack(parameters)
        logits = logits.to(motion.logits.dtype)
        if self.events == 2:  # nothing is lifted: UP, between going on and END, cannot be
            going_on, end = logits.split(1, -1)
            logits = torch.cat([going_on, torch.full_like(going_on, -math.inf), end], -1)
        if self.end_shift is not None:
            before, end = logits.split([END, 1], -1)
            logits = torch.cat([before, end + self.end_shift.unsqueeze(-1)], -1)
        return motion, logits

    def nll(self, value: Step, width: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As any StepDistribution's; on a GPU by one kernel, with its gradient."""
        if not self.uses_kernel(value.motion):
            return super().nll(value, width)
        from mdnrnn.kernels.mixture import Layout, step_nll

        shape = self.shape
        layout = Layout(shape.features, shape.components, self.events, shape.log_floor, shape.covariance)
        return step_nll(self.parameters, value.motion, value.event, width, self.end_shift, layout)

    def uses_kernel(self, motion: Tensor) -> bool:
        """Whether the kernel computes the nats at `motion`: of flat rows on a GPU, float32 or bfloat16, wherever there
        is one for their mixture."""
        return (
            kernels_available(self.parameters)
            and self.parameters.ndim == 2
            and self.parameters.dtype in (torch.float32, torch.bfloat16)
            and has_mixture_kernel(self.shape.covariance, self.shape.components, self.shape.features)
            and motion.dtype == torch.float32
            and not motion.requires_grad
            and not torch.compiler.is_compiling()
        )
