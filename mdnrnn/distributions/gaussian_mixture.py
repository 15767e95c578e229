"""Gaussian mixture distribution in D dimensions, as returned by mixture density networks.

    p(x) = sum_k softmax(logits)_k Normal(x; mean_k, L_k L_k^T)

Source: Bishop, "Mixture density networks" (1994). Covariances are either diagonal, L = diag(s), or full. Full
covariances are parameterized by modified Cholesky factors (see cholesky.py). Densities are computed in log space, in
float32 or wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions import cholesky, univariate
from mdnrnn.distributions.categorical import (
    bias_logits,
    log_scale_shift,
    sample_categorical,
    temper_logits,
    truncate_logits,
)
from mdnrnn.distributions.density import HALF_LOG_TWO_PI, component_log_density, log_density, sum_features
from mdnrnn.distributions.discretized import discretized_log_prob
from mdnrnn.distributions.modes import find_mode
from mdnrnn.distributions.reparameterization import attach_gradients
from mdnrnn.distributions.validation import check_elements, check_shapes, check_value, check_values, normalize_dims

_MAX_ELEMENTS = 2**23
"""Approximate maximum number of elements per intermediate tensor in `entropy`, which draws samples in chunks."""


class Estimate(NamedTuple):
    """Monte Carlo estimate (`value`) and its standard error."""

    value: Tensor
    standard_error: Tensor


class Interval(NamedTuple):
    """The interval from `low` to `high`."""

    low: Tensor
    high: Tensor


class GaussianMixture(Distribution):
    """Mixture of K Gaussians over points of shape (..., D), where `...` is the batch shape.

    Args:
        logits: unnormalized log weights, shape (..., K); -inf is a weight of zero.
        means: component means, shape (..., K, D).
        log_scales: logs of the component scales, shape (..., K, D), or with 1 in place of K (shared by all components)
            or D (isotropic). Without slopes, scales are standard deviations. -inf gives a point mass, which can be
            sampled but has no density.
        slopes: regression coefficients that define full covariances, shape (..., K, D, D). Only the elements below the
            diagonal are used. In each component,
            x_i = mean_i + sum_{j<i} slopes_ij (x_j - mean_j) + exp(log_scale_i) e_i with standard normal e_i. None:
            the covariances are diagonal.
        validate_args: whether to check the parameters and the values passed to methods. None: use the global setting
            of torch.distributions, which is on until the first use of torch.compile turns it off.

    Raises:
        ValueError: if shapes do not match or, with `validate_args`, if a parameter is invalid.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.real_vector,
        "means": constraints.independent(constraints.real, 2),
        "log_scales": constraints.independent(constraints.real, 2),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        logits: Tensor,
        means: Tensor,
        log_scales: Tensor,
        slopes: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        check_shapes(logits, means, log_scales, slopes)
        self.logits, self.means = _to_float32_or_wider(logits), _to_float32_or_wider(means)
        log_scales = _to_float32_or_wider(log_scales)
        self.log_scales = log_scales if log_scales.shape == means.shape else log_scales.expand(means.shape)
        self.slopes = None if slopes is None else _to_float32_or_wider(slopes).tril(-1)
        super().__init__(logits.shape[:-1], means.shape[-1:], validate_args=False)
        if type(self)._validate_args if validate_args is None else validate_args:
            self._validate_args = True
            check_values(logits=self.logits, means=self.means, log_scales=self.log_scales, slopes=self.slopes)

    @classmethod
    def from_scale_tril(cls, logits: Tensor, means: Tensor, scale_tril: Tensor) -> GaussianMixture:
        """Return a mixture with full covariances given by Cholesky factors.

        Args:
            logits: shape (..., K).
            means: shape (..., K, D).
            scale_tril: lower triangular with a positive diagonal, shape (..., K, D, D).
        """
        log_scales, slopes = cholesky.from_scale_tril(_to_float32_or_wider(scale_tril))
        return cls(logits, means, log_scales, slopes)

    @property
    def log_weights(self) -> Tensor:
        """Normalized log weights, shape (..., K)."""
        return torch.log_softmax(self.logits, -1)

    @property
    def scale_tril(self) -> Tensor:
        """Cholesky factors of the components' covariances, shape (..., K, D, D)."""
        if self.slopes is None:
            return torch.diag_embed(self.log_scales.exp())
        return cholesky.scale_tril(self.log_scales, self.slopes)

    @property
    def mean(self) -> Tensor:
        """Mean, shape (..., D)."""
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * self.means).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, shape (..., D)."""
        within = (2 * self.log_scales).exp() if self.slopes is None else self.scale_tril.square().sum(-1)
        second_moments = (self.means - self.mean.unsqueeze(-2)).square() + within
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * second_moments).sum(-2)

    @property
    def covariance(self) -> Tensor:
        """Covariance matrix, shape (..., D, D)."""
        # Elementwise products, because autocast would compute matrix products in half precision.
        factor, centered = self.scale_tril, self.means - self.mean.unsqueeze(-2)
        within = (factor.unsqueeze(-2) * factor.unsqueeze(-3)).sum(-1)
        between = centered.unsqueeze(-1) * centered.unsqueeze(-2)
        return (torch.softmax(self.logits, -1)[..., None, None] * (within + between)).sum(-3)

    @property
    @torch.no_grad()
    def mode(self) -> Tensor:
        """Point of highest density, shape (..., D), without gradient; see modes.py."""
        self._check_density()
        slopes = None if self.slopes is None else self.slopes.double()
        precision = cholesky.precision_matrix(self.log_scales.double(), slopes)
        return find_mode(self.log_weights, self.means, precision).to(self.means.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats, shape (...), at `value`, shape (..., D)."""
        value = self._prepare_value(value)
        if self.slopes is not None:
            return torch.logsumexp(self.log_weights + self._component_log_density(value), -1)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        k, d = self.means.shape[-2:]
        return log_density(
            self.log_weights.expand(*shape, k),
            self.means.expand(*shape, k, d),
            self.log_scales.expand(*shape, k, d),
            value.expand(*shape, d),
        )

    def discretized_log_prob(self, value: Tensor, bin_width: Tensor) -> Tensor:
        """Return the log probability of the bin centered at `value`, shape (...).

        In each component, the probability of a bin is a product of D factors, one per dimension. With full covariances,
        the factor of a dimension is conditional on the bin centers in the preceding dimensions. For diagonal and full
        covariances, the probabilities of all bins sum to 1. `transform` with the same bin widths samples bin centers
        with these probabilities.

        Args:
            value: shape (..., D).
            bin_width: shape (D,) or (..., D); a dimension with bin width 0 contributes its log density.
        """
        distance = self._innovations(self._prepare_value(value))
        bin_width = _to_float32_or_wider(bin_width).unsqueeze(-2)
        components = sum_features(discretized_log_prob(distance, self.log_scales, bin_width))
        return torch.logsumexp(self.log_weights + components, -1)

    def component_posterior(self, value: Tensor) -> Tensor:
        """Return the posterior probabilities (responsibilities) of the components, shape (..., K), given `value`."""
        return torch.softmax(self.log_weights + self._component_log_density(self._prepare_value(value)), -1)

    def transform(self, uniform: Tensor, normal: Tensor, bin_width: Tensor | None = None) -> Tensor:
        """Transform noise into samples, shape (..., D).

        Args:
            uniform: noise in [0, 1) that selects the component, shape (...).
            normal: standard normal noise, shape (..., D), which is scaled and shifted by the selected component.
            bin_width: bin width of each dimension, shape (D,). Samples are rounded to multiples of the bin width;
                dimensions with bin width 0 are not rounded. None: no dimension is rounded. Rounded samples have the
                probabilities that `discretized_log_prob` returns.
        """
        component = sample_categorical(self.logits, uniform)
        d = self.means.shape[-1]
        index = component[..., None, None].expand(*component.shape, 1, d)
        mean, log_scale = _gather_component(self.means, index), _gather_component(self.log_scales, index)
        if self.slopes is None:
            return cholesky.transform_noise(mean, log_scale, None, normal, bin_width)
        matrix_index = component[..., None, None].expand(*component.shape, 1, d * d)
        slopes = _gather_component(self.slopes.flatten(-2), matrix_index).unflatten(-1, (d, d))
        return cholesky.transform_noise(mean, log_scale, slopes, normal, bin_width)

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw samples, shape (*sample_shape, ..., D)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.empty(shape[:-1], device=self.logits.device, dtype=self.logits.dtype)
        normal = torch.empty(shape, device=self.logits.device, dtype=self.logits.dtype)
        return self.transform(uniform.uniform_(generator=generator), normal.normal_(generator=generator))

    def rsample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw samples, shape (*sample_shape, ..., D), that are differentiable with respect to the parameters.

        Uses implicit reparameterization (see reparameterization.py). Only first derivatives are correct. If components
        are far apart, the gradients with respect to the weights have high variance, because only the few samples
        between the components contribute to them.
        """
        self._check_density()
        point = self.sample(sample_shape, generator=generator)
        return attach_gradients(point, self.log_weights, self.means, self.log_scales, self.slopes)

    def entropy(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Estimate:  # type: ignore[override]
        """Return a Monte Carlo estimate of the differential entropy in nats, shape (...), without gradient.

        Args:
            samples: number of samples, at least 2.
            generator: random number generator.
        """
        if samples < 2:
            raise ValueError(f"samples: received {samples}, expected 2 or more")
        chunk = max(1, _MAX_ELEMENTS // max(1, self.means.numel()))
        with torch.no_grad():
            sizes = [min(chunk, samples - first) for first in range(0, samples, chunk)]
            nll = torch.cat([-self.log_prob(self.sample((size,), generator=generator)) for size in sizes])
        mean = nll.mean(0)
        return Estimate(mean, ((nll - mean).square().sum(0) / (samples - 1) / samples).sqrt())

    def marginal(self, dims: int | Sequence[int]) -> GaussianMixture:
        """Return the marginal distribution of the dimensions `dims`, in the given order."""
        dims = normalize_dims(dims, self.means.shape[-1])
        means = self.means[..., dims]
        if self.slopes is None:
            return self._with_parameters(self.logits, means, self.log_scales[..., dims])
        factor = cholesky.select_dimensions(self.scale_tril, dims)
        return self._with_parameters(self.logits, means, *cholesky.from_scale_tril(factor))

    def condition(self, dims: int | Sequence[int], value: Tensor) -> GaussianMixture:
        """Return the distribution of the remaining dimensions, in their original order, given the dimensions `dims`.

        Args:
            dims: dimensions to condition on; at least one dimension must remain.
            value: values of these dimensions, shape (..., len(dims)).
        """
        dims = normalize_dims(dims, self.means.shape[-1])
        remaining = [i for i in range(self.means.shape[-1]) if i not in dims]
        if not remaining:
            raise ValueError(f"dims: received all {len(dims)} dimensions, expected at most {len(dims) - 1}")
        given = self.marginal(dims)
        value = given._prepare_value(value)
        logits = self.log_weights + given._component_log_density(value)
        shape = (*logits.shape, len(remaining))
        means = self.means[..., remaining].expand(shape)
        if self.slopes is None:
            return self._with_parameters(logits, means, self.log_scales[..., remaining].expand(shape))
        factor, n = cholesky.select_dimensions(self.scale_tril, dims + remaining), len(dims)
        distance = (value.unsqueeze(-2) - given.means).unsqueeze(-1)
        noise = torch.linalg.solve_triangular(factor[..., :n, :n].expand(*logits.shape, n, n), distance, upper=False)
        means = means + (factor[..., n:, :n] * noise.mT).sum(-1)
        log_scales, slopes = cholesky.from_scale_tril(factor[..., n:, n:])
        return self._with_parameters(logits, means, log_scales.expand(shape), slopes.expand(*shape, len(remaining)))

    def pit(self, value: Tensor) -> Tensor:
        """Return the probability integral transform of `value`, shape (..., D).

        Element d is the cumulative distribution function of dimension d at `value[..., d]`, conditional on the values
        of the preceding dimensions. If `value` is a sample of this distribution, the elements are independent and
        uniform on [0, 1] (Rosenblatt 1952).
        """
        z = self._innovations(self._prepare_value(value)) * torch.exp(-self.log_scales)
        logs = -0.5 * z.square() - self.log_scales - HALF_LOG_TWO_PI
        before = torch.cat([self.log_weights.unsqueeze(-1).expand_as(z[..., :1]), logs[..., :-1]], -1).cumsum(-1)
        # Due to rounding, the weights can sum to slightly more than 1.
        return (torch.softmax(before, -2) * univariate.normal_cdf(z)).sum(-2).clamp(max=1)

    def cdf(self, value: Tensor) -> Tensor:
        """Return the cumulative distribution function, shape (...), at `value`, shape (..., 1). Requires D = 1."""
        self._check_univariate("cdf")
        return self.pit(value).squeeze(-1)

    def icdf(self, value: Tensor) -> Tensor:
        """Return the quantiles, shape (..., 1), at the probabilities `value`, shape (...). Requires D = 1.

        The result is differentiable with respect to the parameters and the probabilities.
        """
        self._check_univariate("icdf")
        self._check_density()
        prob = torch.as_tensor(value, dtype=self.means.dtype, device=self.means.device)
        check_elements("value", prob, ~((prob >= 0) & (prob <= 1)), "probabilities from 0 to 1")
        with torch.no_grad():
            quantiles = univariate.quantile(
                prob, self.log_weights, self.means.squeeze(-1), self.log_scales.squeeze(-1).exp()
            )
            quantiles = torch.where(prob == 0, -math.inf, torch.where(prob == 1, math.inf, quantiles))
            quantiles = quantiles.to(self.means.dtype).unsqueeze(-1)
        return attach_gradients(quantiles, self.log_weights, self.means, self.log_scales, None, prob)

    def interval(self, mass: float) -> Interval:
        """Return the central interval of probability `mass`, with equal tail probabilities. Requires D = 1.

        Both ends have shape (..., 1).
        """
        if not 0 < mass < 1:
            raise ValueError(f"mass: received {mass}, expected a number between 0 and 1")
        probs = self.means.new_tensor([0.5 - 0.5 * mass, 0.5 + 0.5 * mass])
        ends = self.icdf(probs.view(2, *(1 for _ in self.batch_shape)))
        return Interval(ends[0], ends[1])

    def crps(self, value: Tensor) -> Tensor:
        """Return the continuous ranked probability score, shape (...), of `value`, shape (..., 1). Requires D = 1.

        The score has the unit of `value`. For the formula, see univariate.py.
        """
        self._check_univariate("crps")
        self._check_density()
        value = self._prepare_value(value).squeeze(-1)
        return univariate.crps(value, self.log_weights, self.means.squeeze(-1), self.log_scales.squeeze(-1).exp())

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> GaussianMixture:
        """Return a new mixture that is less random for temperatures below 1 and more random for temperatures above 1.

        Logits are divided by `temperature`. **Variances** are multiplied by `scale_temperature` (default:
        `temperature`), and scales by its square root. This is the convention of Ha and Eck (arXiv:1704.03477, section
        3.3). If `temperature` is 0, only the component of largest weight remains. If `scale_temperature` is 0, all
        components are point masses, which can be sampled but have no density.
        """
        logits = temper_logits(self.logits, temperature)
        shift = log_scale_shift(temperature if scale_temperature is None else scale_temperature)
        return self._with_parameters(logits, self.means, self.log_scales + shift, self.slopes)

    def biased(self, bias: float) -> GaussianMixture:
        """Return a new mixture with logits multiplied by 1 + bias, and with `bias` subtracted from the log scales.

        A positive bias reduces randomness. Source: probability bias of Graves (arXiv:1308.0850, section 5.4).
        """
        return self._with_parameters(bias_logits(self.logits, bias), self.means, self.log_scales - bias, self.slopes)

    def truncated(self, top_k: int | None = None, top_p: float | None = None) -> GaussianMixture:
        """Return a new mixture of the components of largest weight; the weights are renormalized.

        See `categorical.truncate_logits` for the arguments.
        """
        logits = truncate_logits(self.logits, top_k, top_p)
        return self._with_parameters(logits, self.means, self.log_scales, self.slopes)

    def affine(self, shift: Tensor, scale: Tensor) -> GaussianMixture:
        """Return the distribution of shift + scale x, where x has this distribution.

        This converts, for example, from normalized to raw units.

        Args:
            shift: shape (..., D).
            scale: positive, shape (..., D).
        """
        if self._validate_args:
            check_elements("scale", scale, ~(scale > 0), "positive numbers")
        shift, scale = shift.unsqueeze(-2), scale.unsqueeze(-2)
        slopes = None if self.slopes is None else self.slopes * (scale.unsqueeze(-1) / scale.unsqueeze(-2))
        return self._with_parameters(self.logits, shift + scale * self.means, self.log_scales + scale.log(), slopes)

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Any = None) -> GaussianMixture:
        """Return the distribution expanded to a larger batch shape."""
        shape = torch.Size(batch_shape)
        return self._map_parameters(lambda tensor, n: tensor.expand(*shape, *tensor.shape[tensor.ndim - n :]))

    def __getitem__(self, index: Any) -> GaussianMixture:
        """Return the distributions at `index`, any index that is valid for a tensor of the batch shape."""
        index = index if isinstance(index, tuple) else (index,)
        index = index if any(part is Ellipsis for part in index) else (*index, Ellipsis)
        return self._map_parameters(lambda tensor, n: tensor[(*index, *[slice(None)] * n)])

    def to(self, target: torch.device | torch.dtype | str) -> GaussianMixture:
        """Return the distribution on another device or in another precision (float32 or wider)."""
        return self._map_parameters(lambda tensor, n: tensor.to(target))

    def _map_parameters(self, change: Callable[[Tensor, int], Tensor]) -> GaussianMixture:
        """Return the mixture with parameters `change(parameter, n)`.

        n is the number of dimensions of the parameter after the batch dimensions.
        """
        slopes = None if self.slopes is None else change(self.slopes, 3)
        logits, means, log_scales = change(self.logits, 1), change(self.means, 2), change(self.log_scales, 2)
        return self._with_parameters(logits, means, log_scales, slopes)

    def _with_parameters(
        self, logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None = None
    ) -> GaussianMixture:
        """Return a mixture with the given parameters, without checking them.

        The new mixture checks the values passed to its methods if and only if `self` does.
        """
        new = GaussianMixture(logits, means, log_scales, slopes, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _prepare_value(self, value: Tensor) -> Tensor:
        check_value(value, self.batch_shape, self.event_shape, bool(self._validate_args))
        return _to_float32_or_wider(value)

    def _innovations(self, value: Tensor) -> Tensor:
        """Return the distance of each dimension from its conditional mean, for each component, shape (..., K, D).

        The mean of a dimension is conditional on the values of the preceding dimensions.
        """
        distance = value.unsqueeze(-2) - self.means
        return distance if self.slopes is None else cholesky.innovations(distance, self.slopes)

    def _component_log_density(self, value: Tensor) -> Tensor:
        return component_log_density(self._innovations(value), self.log_scales)

    def _check_density(self) -> None:
        point_mass = self.log_scales.isinf()
        check_elements("log_scales", self.log_scales, point_mass, "real numbers: a point mass can only be sampled from")

    def _check_univariate(self, method: str) -> None:
        if self.event_shape[0] != 1:
            raise ValueError(
                f"{method}: received a mixture of {self.event_shape[0]} dimensions, expected 1; call marginal(i) first"
            )


def _gather_component(parameter: Tensor, index: Tensor) -> Tensor:
    """Return the parameters of the selected components, shape (*sample_shape, ..., D).

    Args:
        parameter: parameters of all components, shape (..., K, D).
        index: component indices, repeated D times, shape (*sample_shape, ..., 1, D).
    """
    if index.shape[:-2] != parameter.shape[:-2]:  # several samples per distribution
        parameter = parameter.expand(*index.shape[:-2], *parameter.shape[-2:])
    return parameter.gather(-2, index).squeeze(-2)


def _to_float32_or_wider(tensor: Tensor) -> Tensor:
    """Convert dtypes other than float32 and float64 to float32, so that likelihoods are not in half precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
