"""A mixture of Gaussians in D dimensions: the distribution that every head of this project returns.

    p(x) = sum_k softmax(logits)_k Normal(x; mean_k, L_k L_k^T)

Bishop, "Mixture density networks" (1994). Covariances are diagonal, L = diag(s), or full by their modified Cholesky
factors (see cholesky.py). Everything is computed in log space, in float32 or wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions import cholesky, univariate
from mdnrnn.distributions.categorical import bias_logits, sample_categorical, temper_logits, temper_log_scale
from mdnrnn.distributions.density import HALF_LOG_TWO_PI, sum_features, log_components, log_density
from mdnrnn.distributions.discretized import discretized_log_prob
from mdnrnn.distributions.modes import highest_point
from mdnrnn.distributions.reparameterization import attach
from mdnrnn.distributions.validation import check_shapes, check_value, check_values, positions, refuse

_MOST_AT_ONCE = 2**23
"""Numbers in a tensor, where draws are many."""


class Estimate(NamedTuple):
    """A mean over random draws, and its standard error."""

    value: Tensor
    standard_error: Tensor


class Interval(NamedTuple):
    """From low to high."""

    low: Tensor
    high: Tensor


class GaussianMixture(Distribution):
    """K Gaussians over points of shape (..., D); `...` is the batch shape, of any rank.

    Args:
        logits: unnormalized log weights, shape (..., K); -inf is a weight of zero.
        means: component means, shape (..., K, D).
        log_scales: logs of the component standard deviations, shape (..., K, D), or with 1 in place of K (shared by
            all components) or D (isotropic); -inf is a point mass, to sample from.
        slopes: for full covariances, shape (..., K, D, D), of which the part below the diagonal counts: in a
            component, x_i = mean_i + sum_{j<i} slopes_ij (x_j - mean_j) + exp(log_scale_i) e_i.
        validate_args: check parameters and every value asked for; by default what torch.distributions is set to (it
            checks, until torch.compile is first used: that switches its checks off).
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
        self.logits, self.means = _wide(logits), _wide(means)
        log_scales = _wide(log_scales)
        self.log_scales = log_scales if log_scales.shape == means.shape else log_scales.expand(means.shape)
        self.slopes = None if slopes is None else _wide(slopes).tril(-1)
        super().__init__(logits.shape[:-1], means.shape[-1:], validate_args=False)
        if type(self)._validate_args if validate_args is None else validate_args:
            self._validate_args = True
            check_values(logits=self.logits, means=self.means, log_scales=self.log_scales, slopes=self.slopes)

    @classmethod
    def from_scale_tril(cls, logits: Tensor, means: Tensor, scale_tril: Tensor) -> GaussianMixture:
        """With covariances given by their Cholesky factors, shape (..., K, D, D), positive on the diagonal."""
        log_scales, slopes = cholesky.from_scale_tril(_wide(scale_tril))
        return cls(logits, means, log_scales, slopes)

    @property
    def log_weights(self) -> Tensor:
        """Normalized log weights, shape (..., K)."""
        return torch.log_softmax(self.logits, -1)

    @property
    def scale_tril(self) -> Tensor:
        """The components' Cholesky factors, shape (..., K, D, D)."""
        if self.slopes is None:
            return torch.diag_embed(self.log_scales.exp())
        return cholesky.scale_tril(self.log_scales, self.slopes)

    @property
    def mean(self) -> Tensor:
        """Expected value, shape (..., D)."""
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * self.means).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, shape (..., D)."""
        own = (2 * self.log_scales).exp() if self.slopes is None else self.scale_tril.square().sum(-1)
        spread = (self.means - self.mean.unsqueeze(-2)).square() + own
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * spread).sum(-2)

    @property
    def covariance(self) -> Tensor:
        """Covariance matrix, shape (..., D, D)."""
        # Matrix products by elementwise ones: autocast would narrow them.
        factor, centered = self.scale_tril, self.means - self.mean.unsqueeze(-2)
        own = (factor.unsqueeze(-2) * factor.unsqueeze(-3)).sum(-1)
        between = centered.unsqueeze(-1) * centered.unsqueeze(-2)
        return (torch.softmax(self.logits, -1)[..., None, None] * (own + between)).sum(-3)

    @property
    @torch.no_grad()
    def mode(self) -> Tensor:
        """The highest point of the density, shape (..., D), by an ascent from every component; see modes.py."""
        self._has_density()
        precision = cholesky.precision(self.log_scales.double(), None if self.slopes is None else self.slopes.double())
        return highest_point(self.log_weights, self.means, precision).to(self.means.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value`, shape (..., D), in nats; the result has shape (...)."""
        value = self._value(value)
        if self.slopes is not None:
            return torch.logsumexp(self.log_weights + self._log_components(value), -1)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        k, d = self.means.shape[-2:]
        return log_density(
            self.log_weights.expand(*shape, k),
            self.means.expand(*shape, k, d),
            self.log_scales.expand(*shape, k, d),
            value.expand(*shape, d),
        )

    def discretized_log_prob(self, value: Tensor, width: Tensor) -> Tensor:
        """Log probability of the box of `width`, shape (..., D) or (D,), centered at `value`, shape (..., D); where a
        width is 0, the log density.

        With full covariances, of the bin_width of each dimension given the centers of the bin_widths before: what `transform`
        draws when it is given the widths. The probabilities of all bin_widths sum to 1 either way.
        """
        distance = self._innovations(self._value(value))
        components = sum_features(discretized_log_prob(distance, self.log_scales, _wide(width).unsqueeze(-2)))
        return torch.logsumexp(self.log_weights + components, -1)

    def component_posterior(self, value: Tensor) -> Tensor:
        """Probabilities (..., K) that each component made `value` (..., D): Bishop's responsibilities."""
        return torch.softmax(self.log_weights + self._log_components(self._value(value)), -1)

    def transform(self, uniform: Tensor, normal: Tensor, bin_width: Tensor | None = None) -> Tensor:
        """Turn noise into a sample: `uniform` (...) in [0, 1) picks the component, `normal` (..., D) moves in it.

        With `bin_width`, widths (D,): a point of that grid, drawn with the probabilities of `discretized_log_prob`; where a width
        is 0, on no grid.
        """
        component = sample_categorical(self.logits, uniform)
        d = self.means.shape[-1]
        index = component[..., None, None].expand(*component.shape, 1, d)
        mean, log_scale = _chosen(self.means, index), _chosen(self.log_scales, index)
        if self.slopes is None:
            return cholesky.transform_noise(mean, log_scale, None, normal, bin_width)
        wide = component[..., None, None].expand(*component.shape, 1, d * d)
        slopes = _chosen(self.slopes.flatten(-2), wide).unflatten(-1, (d, d))
        return cholesky.transform_noise(mean, log_scale, slopes, normal, bin_width)

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw points, shape (*sample_shape, ..., D)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.empty(shape[:-1], device=self.logits.device, dtype=self.logits.dtype)
        normal = torch.empty(shape, device=self.logits.device, dtype=self.logits.dtype)
        return self.transform(uniform.uniform_(generator=generator), normal.normal_(generator=generator))

    def rsample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw points, shape (*sample_shape, ..., D), with gradients to the parameters.

        Implicit reparameterization: a point keeps its probability integral transform u = F(x; parameters) as the
        parameters move, so dx = -dF / p, dimension after dimension (Graves, arXiv:1607.05690; Figurnov, Mohamed and
        Mnih, arXiv:1805.08498). First derivatives alone. Where components lie far apart, the weights' gradients
        come from the few draws in the gap between them: expect noise.
        """
        self._has_density()
        point = self.sample(sample_shape, generator=generator)
        return attach(point, self.log_weights, self.means, self.log_scales, self.slopes)

    def entropy(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Estimate:  # type: ignore[override]
        """Differential entropy in nats, shape (...), estimated from `samples` draws, without gradient."""
        if samples < 2:
            raise ValueError(f"samples: received {samples}, expected 2 or more")
        at_once = max(1, _MOST_AT_ONCE // max(1, self.means.numel()))
        with torch.no_grad():
            parts = [min(at_once, samples - first) for first in range(0, samples, at_once)]
            nats = torch.cat([-self.log_prob(self.sample((part,), generator=generator)) for part in parts])
        mean = nats.mean(0)
        return Estimate(mean, ((nats - mean).square().sum(0) / (samples - 1) / samples).sqrt())

    def marginal(self, dims: int | Sequence[int]) -> GaussianMixture:
        """The distribution of one dimension, or of several in the order given."""
        order = positions(dims, self.means.shape[-1])
        means = self.means[..., order]
        if self.slopes is None:
            return self._like(self.logits, means, self.log_scales[..., order])
        factor = cholesky.reordered(self.scale_tril, order)
        return self._like(self.logits, means, *cholesky.from_scale_tril(factor))

    def condition(self, dims: int | Sequence[int], value: Tensor) -> GaussianMixture:
        """The distribution of the other dimensions, in their order, given `value`, shape (..., number of dims)."""
        given = positions(dims, self.means.shape[-1])
        rest = [i for i in range(self.means.shape[-1]) if i not in given]
        if not rest:
            raise ValueError(f"dims: received all {len(given)} dimensions, expected to leave one at least")
        known = self.marginal(given)
        value = known._value(value)
        logits = self.log_weights + known._log_components(value)
        shape = (*logits.shape, len(rest))
        means = self.means[..., rest].expand(shape)
        if self.slopes is None:
            return self._like(logits, means, self.log_scales[..., rest].expand(shape))
        factor, n = cholesky.reordered(self.scale_tril, given + rest), len(given)
        distance = (value.unsqueeze(-2) - known.means).unsqueeze(-1)
        noise = torch.linalg.solve_triangular(factor[..., :n, :n].expand(*logits.shape, n, n), distance, upper=False)
        means = means + (factor[..., n:, :n] * noise.mT).sum(-1)
        log_scales, slopes = cholesky.from_scale_tril(factor[..., n:, n:])
        return self._like(logits, means, log_scales.expand(shape), slopes.expand(*shape, len(rest)))

    def pit(self, value: Tensor) -> Tensor:
        """Probability integral transform, shape (..., D): F(x_d given the dimensions before d) of each dimension.

        Uniform and independent where `value` is drawn from this distribution (Rosenblatt 1952).
        """
        z = self._innovations(self._value(value)) * torch.exp(-self.log_scales)
        logs = -0.5 * z.square() - self.log_scales - HALF_LOG_TWO_PI
        before = torch.cat([self.log_weights.unsqueeze(-1).expand_as(z[..., :1]), logs[..., :-1]], -1).cumsum(-1)
        # Weights that are rounded can sum to a little more than 1.
        return (torch.softmax(before, -2) * univariate.normal_cdf(z)).sum(-2).clamp(max=1)

    def cdf(self, value: Tensor) -> Tensor:
        """Distribution function at `value`, shape (..., 1); the result has shape (...). D = 1 alone."""
        self._on_a_line("cdf")
        return self.pit(value).squeeze(-1)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantiles, shape (..., 1), of probabilities `value`, shape (...); gradients flow. D = 1 alone."""
        self._on_a_line("icdf")
        self._has_density()
        prob = torch.as_tensor(value, dtype=self.means.dtype, device=self.means.device)
        refuse("value", prob, ~((prob >= 0) & (prob <= 1)), "probabilities from 0 to 1")
        with torch.no_grad():
            found = univariate.quantile(
                prob, self.log_weights, self.means.squeeze(-1), self.log_scales.squeeze(-1).exp()
            )
            found = torch.where(prob == 0, -math.inf, torch.where(prob == 1, math.inf, found))
            found = found.to(self.means.dtype).unsqueeze(-1)
        return attach(found, self.log_weights, self.means, self.log_scales, None, prob)

    def interval(self, mass: float) -> Interval:
        """The central interval that holds `mass`, its ends (..., 1) at equal tail probabilities. D = 1 alone."""
        if not 0 < mass < 1:
            raise ValueError(f"mass: received {mass}, expected a number between 0 and 1")
        ends = self.means.new_tensor([0.5 - 0.5 * mass, 0.5 + 0.5 * mass])
        found = self.icdf(ends.view(2, *(1 for _ in self.batch_shape)))
        return Interval(found[0], found[1])

    def crps(self, value: Tensor) -> Tensor:
        """Continuous ranked probability score (...) of `value` (..., 1), in its units; see univariate.py. D = 1 alone."""
        self._on_a_line("crps")
        self._has_density()
        value = self._value(value).squeeze(-1)
        return univariate.crps(value, self.log_weights, self.means.squeeze(-1), self.log_scales.squeeze(-1).exp())

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> GaussianMixture:
        """A new mixture, sharper below 1 and wilder above.

        Logits are divided by `temperature`; **variances** are multiplied by `scale_temperature` (default: the
        same number), so scales by its square root: Ha and Eck's convention (arXiv:1704.03477, section 3.3).
        Temperature 0 is its limit, the mean of the most probable component: a point mass, to sample from.
        """
        logits = temper_logits(self.logits, temperature)
        shift = temper_log_scale(temperature if scale_temperature is None else scale_temperature)
        return self._like(logits, self.means, self.log_scales + shift, self.slopes)

    def biased(self, bias: float) -> GaussianMixture:
        """A new mixture with Graves' probability bias (arXiv:1308.0850, section 5.4): logits x (1 + b), log s - b."""
        return self._like(bias_logits(self.logits, bias), self.means, self.log_scales - bias, self.slopes)

    def affine(self, shift: Tensor, scale: Tensor) -> GaussianMixture:
        """The distribution of shift + scale x, both of shape (..., D), scale positive: back to raw units, say."""
        if self._validate_args:
            refuse("scale", scale, ~(scale > 0), "positive numbers")
        shift, scale = shift.unsqueeze(-2), scale.unsqueeze(-2)
        slopes = None if self.slopes is None else self.slopes * (scale.unsqueeze(-1) / scale.unsqueeze(-2))
        return self._like(self.logits, shift + scale * self.means, self.log_scales + scale.log(), slopes)

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Any = None) -> GaussianMixture:
        """The same distribution over a larger batch shape."""
        shape = torch.Size(batch_shape)
        return self._each(lambda tensor, own: tensor.expand(*shape, *tensor.shape[tensor.ndim - own :]))

    def __getitem__(self, index: Any) -> GaussianMixture:
        """Some of the batch, by any index of its dimensions."""
        index = index if isinstance(index, tuple) else (index,)
        index = index if any(part is Ellipsis for part in index) else (*index, Ellipsis)
        return self._each(lambda tensor, own: tensor[(*index, *[slice(None)] * own)])

    def to(self, target: torch.device | torch.dtype | str) -> GaussianMixture:
        """The same distribution on another device, or in another precision (float32 or wider)."""
        return self._each(lambda tensor, own: tensor.to(target))

    def _each(self, change: Callable[[Tensor, int], Tensor]) -> GaussianMixture:
        """Every parameter changed; `change` is told how many dimensions of it are not the batch's."""
        slopes = None if self.slopes is None else change(self.slopes, 3)
        return self._like(change(self.logits, 1), change(self.means, 2), change(self.log_scales, 2), slopes)

    def _like(self, logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None = None) -> GaussianMixture:
        """A new mixture, its parameters not checked again; values are if this one checks them."""
        new = GaussianMixture(logits, means, log_scales, slopes, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _value(self, value: Tensor) -> Tensor:
        check_value(value, self.batch_shape, self.event_shape, bool(self._validate_args))
        return _wide(value)

    def _innovations(self, value: Tensor) -> Tensor:
        """How far each dimension lies, (..., K, D), from where those before it lead one to expect it."""
        distance = value.unsqueeze(-2) - self.means
        return distance if self.slopes is None else cholesky.innovations(distance, self.slopes)

    def _log_components(self, value: Tensor) -> Tensor:
        return log_components(self._innovations(value), self.log_scales)

    def _has_density(self) -> None:
        refuse("log_scales", self.log_scales, self.log_scales.isinf(), "real numbers: a point mass is to sample from")

    def _on_a_line(self, what: str) -> None:
        if self.event_shape[0] != 1:
            raise ValueError(
                f"{what} was asked of {self.event_shape[0]} dimensions, expected 1: take marginal(i) first"
            )


def _chosen(parameter: Tensor, index: Tensor) -> Tensor:
    """Rows (..., D) of a parameter (..., K, D), the components of `index`, shape (sample shape, ..., 1, D)."""
    if index.shape[:-2] != parameter.shape[:-2]:  # several draws from each
        parameter = parameter.expand(*index.shape[:-2], *parameter.shape[-2:])
    return parameter.gather(-2, index).squeeze(-2)


def _wide(tensor: Tensor) -> Tensor:
    """Float32 or wider: likelihoods are never computed in half precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
