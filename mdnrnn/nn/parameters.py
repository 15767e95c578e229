"""Layout of the unconstrained parameters that a mixture density head outputs, and the step distribution they define."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from mdnrnn.distributions.function_transforms import is_transformed
from mdnrnn.kernels import has_mixture_kernel, kernels_available
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.initialization import cluster_points
from mdnrnn.pen_events import END


class MixtureShape(NamedTuple):
    """Layout of the unconstrained parameters of a mixture in one vector: logits, means, raw log scales, slopes.

    `smooth_floor` converts raw log scales, which can be any real numbers, to log scales. Slopes are the regression
    coefficients of `mdnrnn.distributions.cholesky`; only full covariances have slopes. Means and raw log scales are
    flattened from shape (K, D). Exceptions: raw log scales have shape (K, 1) if the covariance is isotropic and (1, D)
    if it is shared. In per-dimension mixtures, logits, means and raw log scales are flattened from shape (D, K).
    """

    features: int
    """Number of features D."""
    components: int
    """Number of components K of the mixture, or of each dimension of a per-dimension mixture."""
    log_floor: float
    """Log of the lower bound of component scales."""
    covariance: Covariance = "diagonal"

    @property
    def sizes(self) -> list[int]:
        """Numbers of logits, means, raw log scales and slopes, in this order."""
        k, d = self.components, self.features
        scales = {"isotropic": k, "shared": d}.get(self.covariance, k * d)
        slopes = k * d * (d - 1) // 2 if self.covariance == "full" else 0
        return [k * d if self.covariance == "per-dimension" else k, k * d, scales, slopes]

    @property
    def size(self) -> int:
        """Number of parameters P of the mixture."""
        return sum(self.sizes)

    def unpack(self, parameters: Tensor) -> GaussianMixture | PerDimensionMixture:
        """Return the mixture, in float32 or wider, that the unconstrained `parameters`, shape (..., P), define."""
        parameters = parameters.float() if parameters.dtype in (torch.bfloat16, torch.float16) else parameters
        k, d = self.components, self.features
        logits, means, raw, below_diagonal = parameters.split_with_sizes(self.sizes, -1)
        log_scales = smooth_floor(raw, self.log_floor)
        if self.covariance == "per-dimension":
            shape = (d, k)
            means, log_scales = means.unflatten(-1, (*shape, 1)), log_scales.unflatten(-1, (*shape, 1))
            return PerDimensionMixture.from_univariate(
                GaussianMixture(logits.unflatten(-1, shape), means, log_scales, validate_args=False)
            )
        batch = parameters.shape[:-1]
        scale_shape = {"isotropic": (k, 1), "shared": (1, d)}.get(self.covariance, (k, d))
        slopes = lower_triangular(below_diagonal.unflatten(-1, (k, -1)), d) if self.covariance == "full" else None
        means, log_scales = means.reshape(*batch, k, d), log_scales.reshape(*batch, *scale_shape)
        return GaussianMixture(logits, means, log_scales, slopes, validate_args=False)

    @torch.no_grad()
    def initialize(self, linear: nn.Linear) -> None:
        """Initialize the linear layer of a head for normalized targets, which have standard deviation 1.

        The first P outputs of `linear` must be the parameters of the mixture. Biases are set such that all components
        have the same weight. If K > 1, means are drawn from a normal distribution with standard deviation 0.7, and
        scales are 0.7 plus the scale floor. If K = 1, the mean is 0, and the scale is 1 plus the scale floor.
        """
        nn.init.normal_(linear.weight, std=0.1 / math.sqrt(linear.in_features))
        nn.init.zeros_(linear.bias)
        if self.components > 1:
            _, means, scales, _ = linear.bias[: self.size].split(self.sizes)
            nn.init.normal_(means, std=0.7)
            nn.init.constant_(scales, math.log(0.7))

    @torch.no_grad()
    def initialize_from_targets(self, linear: nn.Linear, targets: Tensor) -> None:
        """Initialize a linear layer such that each component is fitted to one cluster of `targets`, shape (N, D).

        The first P outputs of `linear` must be the parameters of the mixture. The weights of these outputs are set to
        0, so the mixture is the same for all inputs.
        """
        k = self.components
        linear.weight[: self.size].zero_()
        if self.covariance == "per-dimension":  # parameters have shape (D, K): cluster each dimension separately
            clusters = [cluster_points(column.unsqueeze(-1), k) for column in targets.unbind(-1)]
            weights, centers, spreads = (torch.stack(part).flatten() for part in zip(*clusters, strict=True))
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
    """Return log(exp(raw) + exp(log_floor)): a differentiable map from any real `raw` to values above `log_floor`."""
    if is_transformed():  # unlike that of `logaddexp`, the second derivative of `softplus` does not overflow
        return functional.softplus(raw - log_floor) + log_floor
    if not raw.requires_grad:  # `_SmoothFloor` saves no memory here
        return add_floor(raw, raw.new_full((), log_floor))
    result: Tensor = _SmoothFloor.apply(raw, log_floor)
    return result


def add_floor(raw: Tensor, log_floor: Tensor) -> Tensor:
    """Return log(exp(raw) + exp(log_floor)) like `smooth_floor`, but for a 0-dimensional tensor `log_floor`."""
    return torch.logaddexp(raw, log_floor)


class _SmoothFloor(torch.autograd.Function):
    """Autograd function of `smooth_floor`.

    The forward pass saves only `raw`. Because `raw` is a view of the output of the head, this needs no extra memory.
    """

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


def lower_triangular(values: Tensor, features: int) -> Tensor:
    """Return strictly lower triangular matrices, shape (..., D, D).

    Args:
        values: elements below the diagonal, row by row, shape (..., D (D - 1) / 2).
        features: number of rows D.
    """
    rows, columns = torch.tril_indices(features, features, -1, device=values.device)
    matrix = values.new_zeros(*values.shape[:-1], features * features)
    return matrix.index_copy(-1, rows * features + columns, values).unflatten(-1, (features, features))


class StepParameters(StepDistribution):
    """Step distribution defined by the unconstrained parameters that a head outputs.

    `motion` and `event_logits` are computed from the parameters when they are first accessed. They are not needed if
    `nll` is computed by a GPU kernel, which reads the parameters directly.

    Args:
        parameters: P parameters of the mixture followed by E event logits, shape (..., P + E).
        shape: layout of the parameters of the mixture.
        events: number of event logits E, as in `StepHead`.
        end_logit_shift: value to add to the logit of END, shape (...); None to add nothing.
    """

    def __init__(
        self, parameters: Tensor, shape: MixtureShape, events: int, end_logit_shift: Tensor | None = None
    ) -> None:
        self.parameters, self.shape, self.events, self.end_logit_shift = parameters, shape, events, end_logit_shift
        self._unpacked: tuple[GaussianMixture | PerDimensionMixture, Tensor] | None = None
        Distribution.__init__(self, parameters.shape[:-1], validate_args=False)

    @property
    def motion(self) -> GaussianMixture | PerDimensionMixture:  # type: ignore[override]
        """Mixture over motions of shape (..., D)."""
        return self.unpack()[0]

    @property
    def event_logits(self) -> Tensor:  # type: ignore[override]
        """Logits of the events, shape (..., E). If E = 2, the shape is (..., 3), and UP has logit -inf."""
        return self.unpack()[1]

    def unpack(self) -> tuple[GaussianMixture | PerDimensionMixture, Tensor]:
        """Return the mixture and the event logits. The first call computes and caches them.

        If the parameters require gradients, the results are differentiable even if the first call is under
        `torch.no_grad`.
        """
        if self._unpacked is None:
            if self.parameters.requires_grad and not torch.is_grad_enabled():
                with torch.enable_grad():
                    self._unpacked = self._compute()
            else:
                self._unpacked = self._compute()
        return self._unpacked

    def _compute(self) -> tuple[GaussianMixture | PerDimensionMixture, Tensor]:
        mixture, logits = self.parameters.split_with_sizes([self.shape.size, self.events], -1)
        motion = self.shape.unpack(mixture)
        logits = logits.to(motion.logits.dtype)
        if self.events == 2:  # the logits are those of DOWN and END; UP is impossible
            down, end = logits.split(1, -1)
            logits = torch.cat([down, torch.full_like(down, -math.inf), end], -1)
        if self.end_logit_shift is not None:
            end = logits[..., END : END + 1] + self.end_logit_shift.unsqueeze(-1)
            logits = torch.cat([logits[..., :END], end, logits[..., END + 1 :]], -1)
        return motion, logits

    def nll(self, value: Step, bin_width: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the negative log-likelihoods of the motion and of the event in nats, shape (...) each.

        Uses one fused GPU kernel if possible; see `uses_kernel`. See `StepDistribution.nll` for the arguments.
        """
        if not self.uses_kernel(value.motion):
            return super().nll(value, bin_width)
        from mdnrnn.kernels.mixture import Layout, step_nll

        shape = self.shape
        layout = Layout(shape.features, shape.components, self.events, shape.log_floor, shape.covariance)
        return step_nll(self.parameters, value.motion, value.event, bin_width, self.end_logit_shift, layout)

    def uses_kernel(self, motion: Tensor) -> bool:
        """Return whether `nll` uses the fused GPU kernel for the given motions.

        Conditions: the parameters have two dimensions, (steps, parameters per step), are on a GPU and are in float32 or
        bfloat16; the motions are in float32 and do not require a gradient; E is at most 3; `has_mixture_kernel` is true
        for the mixture; no function transform is active.
        """
        return (
            kernels_available(self.parameters)
            and self.parameters.ndim == 2
            and self.parameters.dtype in (torch.float32, torch.bfloat16)
            and has_mixture_kernel(self.shape.covariance, self.shape.components, self.shape.features)
            and motion.dtype == torch.float32
            and not motion.requires_grad
            and self.events <= END + 1
            and not is_transformed()
        )
