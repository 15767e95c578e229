"""Gaussian mixture distribution in D dimensions, as returned by mixture density networks.

    p(x) = sum_k softmax(logits)_k Normal(x; mean_k, L_k L_k^T)

Source: Bishop, "Mixture density networks" (1994). Covariances are either diagonal, L = diag(s), or full. Full
covariances are parameterized by modified Cholesky factors (see cholesky.py). Densities are computed in log space, in
float32 or wider.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from mdnrnn.device import to_float64
from mdnrnn.distributions import cholesky, univariate
from mdnrnn.distributions.categorical import sample_categorical, select_component
from mdnrnn.distributions.density import HALF_LOG_TWO_PI, component_log_density, log_density, sum_features
from mdnrnn.distributions.discretized import discretized_log_prob
from mdnrnn.distributions.entropy import estimate_entropy
from mdnrnn.distributions.mixture_parameters import MixtureParameters, to_float32_or_wider
from mdnrnn.distributions.modes import find_mode
from mdnrnn.distributions.monte_carlo import Estimate
from mdnrnn.distributions.reparameterization import attach_gradients
from mdnrnn.distributions.univariate import Interval
from mdnrnn.distributions.validation import check_elements, check_value, normalize_dims


class GaussianMixture(MixtureParameters):
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
            of torch.distributions, which is on until the first use of torch.compile turns it off. Under torch.compile
            and the transforms of torch.func, only shapes are checked.

    Raises:
        ValueError: if shapes do not match or, with `validate_args`, if a parameter is invalid.
    """

    support = constraints.real_vector
    has_rsample = True

    @property
    def mode(self) -> Tensor:
        """Point of highest density, shape (..., D), without gradient; see modes.py."""
        self._check_density()
        slopes = None if self.slopes is None else to_float64(self.slopes.detach())
        precision = cholesky.precision_matrix(to_float64(self.log_scales.detach()), slopes)
        log_weights, means = to_float64(self.log_weights.detach()), to_float64(self.means.detach())
        return find_mode(log_weights, means, precision).to(self.means)

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
        bin_width = to_float32_or_wider(bin_width).unsqueeze(-2)
        components = sum_features(discretized_log_prob(distance, self.log_scales, bin_width))
        return torch.logsumexp(self.log_weights + components, -1)

    def component_posterior(self, value: Tensor) -> Tensor:
        """Return the posterior probabilities (responsibilities) of the components, shape (..., K), given `value`."""
        return self._log_posterior(self._prepare_value(value)).exp()

    def transform(self, uniform: Tensor, normal: Tensor, bin_width: Tensor | None = None) -> Tensor:
        """Transform noise into samples, shape (..., D).

        Args:
            uniform: noise in [0, 1) that selects the component, shape (...).
            normal: standard normal noise, shape (..., D), which is scaled and shifted by the selected component.
            bin_width: bin width of each dimension, shape (D,). Samples are rounded to multiples of the bin width;
                dimensions with bin width 0 are not rounded. None: no dimension is rounded. Rounded samples have the
                probabilities that `discretized_log_prob` returns.
        """
        return self._transform_component(sample_categorical(self.logits, uniform), normal, bin_width)

    def _transform_component(self, component: Tensor, normal: Tensor, bin_width: Tensor | None = None) -> Tensor:
        """Return samples of the components with the given indices, shape (...); see `transform`."""
        mean, log_scale = select_component(component, self.means, self.log_scales)
        slopes = None
        if self.slopes is not None:
            (rows,) = select_component(component, self.slopes.flatten(-2))
            slopes = rows.unflatten(-1, self.slopes.shape[-2:])
        return cholesky.transform_noise(mean, log_scale, slopes, normal, bin_width)

    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw samples, shape (*sample_shape, ..., D)."""
        with torch.no_grad():
            return self.transform(*self._draw_noise(sample_shape, generator)).detach()

    def _draw_noise(
        self, sample_shape: torch.Size | tuple[int, ...], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return uniform noise, shape (*sample_shape, ...), and normal noise, shape (*sample_shape, ..., D)."""
        shape, like = self._extended_shape(torch.Size(sample_shape)), self.logits
        uniform = torch.rand(shape[:-1], generator=generator, dtype=like.dtype, device=like.device)
        return uniform, torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

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

    def entropy(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the differential entropy in nats, shape (...): exact for K = 1, otherwise a Monte Carlo estimate.

        The result is differentiable with respect to the parameters. For the arguments, see `entropy_estimate`.
        """
        return self.entropy_estimate(samples, generator=generator).value

    def entropy_estimate(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Estimate:
        """Return a Monte Carlo estimate of the differential entropy and its standard error, in nats, shape (...).

        For K = 1, the value is exact and the standard error is 0. For the formula, see entropy.py.

        Args:
            samples: number of samples, at least 2.
            generator: random number generator.
        """
        return estimate_entropy(self, samples, generator)

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
        quantiles = univariate.quantile(
            prob, self.log_weights, self.means.squeeze(-1), self.log_scales.squeeze(-1).exp()
        )
        quantiles = quantiles.to(self.means).unsqueeze(-1)
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

    def _prepare_value(self, value: Tensor) -> Tensor:
        check_value(value, self.batch_shape, self.event_shape, bool(self._validate_args))
        return to_float32_or_wider(value)

    def _innovations(self, value: Tensor) -> Tensor:
        """Return the distance of each dimension from its conditional mean, for each component, shape (..., K, D).

        The mean of a dimension is conditional on the values of the preceding dimensions.
        """
        distance = value.unsqueeze(-2) - self.means
        return distance if self.slopes is None else cholesky.innovations(distance, self.slopes)

    def _component_log_density(self, value: Tensor) -> Tensor:
        return component_log_density(self._innovations(value), self.log_scales)

    def _log_posterior(self, value: Tensor) -> Tensor:
        return torch.log_softmax(self.log_weights + self._component_log_density(value), -1)

    def _check_density(self) -> None:
        point_mass = self.log_scales.isinf()
        check_elements("log_scales", self.log_scales, point_mass, "real numbers: a point mass can only be sampled from")

    def _check_univariate(self, method: str) -> None:
        if self.event_shape[0] != 1:
            raise ValueError(
                f"{method}: received a mixture of {self.event_shape[0]} dimensions, expected 1; call marginal(i) first"
            )
