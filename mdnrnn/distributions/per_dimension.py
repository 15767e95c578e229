"""Product of D independent univariate mixtures, one per dimension.

    p(x) = prod_d sum_k softmax(logits_d)_k Normal(x_d; mean_dk, s_dk)

Source: world models of Ha and Schmidhuber (arXiv:1803.10122).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions.gaussian_mixture import GaussianMixture
from mdnrnn.distributions.mixture_parameters import with_ellipsis
from mdnrnn.distributions.monte_carlo import Estimate
from mdnrnn.distributions.univariate import Interval
from mdnrnn.distributions.validation import check_value, normalize_dims


class PerDimensionMixture(Distribution):
    """Distribution over points of shape (..., D) with independent dimensions, each a mixture of K normals.

    Args:
        logits: unnormalized log weights, shape (..., D, K).
        means: component means, shape (..., D, K).
        log_scales: logs of the component standard deviations, shape (..., D, K), or with 1 in place of K.
        validate_args: whether to check the parameters and the values passed to methods. None: use the global setting
            of torch.distributions; see `GaussianMixture`.

    Raises:
        ValueError: if shapes do not match or, with `validate_args`, if a parameter is invalid.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, 2),
        "means": constraints.independent(constraints.real, 2),
        "log_scales": constraints.independent(constraints.real, 2),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor, validate_args: bool | None = None) -> None:
        if logits.ndim < 2 or 0 in logits.shape[-2:]:
            raise ValueError(f"logits: received shape {tuple(logits.shape)}, expected (..., D, K) with D, K >= 1")
        for name, tensor in (("means", means), ("log_scales", log_scales)):
            if tensor.shape != logits.shape and not (name == "log_scales" and tensor.shape == (*logits.shape[:-1], 1)):
                raise ValueError(f"{name}: received shape {tuple(tensor.shape)}, expected {tuple(logits.shape)}")
        self._initialize(
            GaussianMixture(logits, means.unsqueeze(-1), log_scales.unsqueeze(-1), validate_args=validate_args)
        )

    @classmethod
    def from_univariate(cls, univariate: GaussianMixture) -> PerDimensionMixture:
        """Return the product of D univariate mixtures, given as one `GaussianMixture` of batch shape (..., D)."""
        if univariate.event_shape[0] != 1 or not univariate.batch_shape:
            raise ValueError(
                f"univariate: received batch shape {tuple(univariate.batch_shape)} and {univariate.event_shape[0]} "
                "dimensions, expected batch shape (..., D) and 1 dimension"
            )
        new = cls.__new__(cls)
        new._initialize(univariate)
        return new

    def _initialize(self, univariate: GaussianMixture) -> None:
        self.univariate = univariate
        """Univariate mixtures, one per dimension: batch shape (..., D), event shape (1,)."""
        Distribution.__init__(self, univariate.batch_shape[:-1], univariate.batch_shape[-1:], validate_args=False)
        self._validate_args = univariate._validate_args

    def __repr__(self) -> str:
        (d, k), device = self.univariate.logits.shape[-2:], self.univariate.logits.device
        dtype = str(self.univariate.logits.dtype).removeprefix("torch.")
        return (
            f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, K={k}, D={d}, dtype={dtype}, "
            f"device={str(device)!r})"
        )

    @property
    def logits(self) -> Tensor:
        """Unnormalized log weights, shape (..., D, K)."""
        return self.univariate.logits

    @property
    def means(self) -> Tensor:
        """Component means, shape (..., D, K)."""
        return self.univariate.means.squeeze(-1)

    @property
    def log_scales(self) -> Tensor:
        """Logs of the component standard deviations, shape (..., D, K)."""
        return self.univariate.log_scales.squeeze(-1)

    @property
    def log_weights(self) -> Tensor:
        """Normalized log weights, shape (..., D, K)."""
        return self.univariate.log_weights

    @property
    def mean(self) -> Tensor:
        """Mean, shape (..., D)."""
        return self.univariate.mean.squeeze(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, shape (..., D)."""
        return self.univariate.variance.squeeze(-1)

    @property
    def covariance(self) -> Tensor:
        """Covariance matrix, shape (..., D, D), diagonal."""
        return torch.diag_embed(self.variance)

    @property
    def mode(self) -> Tensor:
        """Point of highest density, shape (..., D), without gradient."""
        return self.univariate.mode.squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats, shape (...), at `value`, shape (..., D)."""
        return self.univariate.log_prob(self._prepare_value(value)).sum(-1)

    def discretized_log_prob(self, value: Tensor, bin_width: Tensor) -> Tensor:
        """Return the log probability of the bin centered at `value`, shape (...).

        Args:
            value: shape (..., D).
            bin_width: shape (D,) or (..., D); a dimension with bin width 0 contributes its log density.
        """
        return self.univariate.discretized_log_prob(self._prepare_value(value), bin_width.unsqueeze(-1)).sum(-1)

    def component_posterior(self, value: Tensor) -> Tensor:
        """Return the posterior probabilities of each dimension's components, shape (..., D, K), given `value`."""
        return self.univariate.component_posterior(self._prepare_value(value))

    def transform(self, uniform: Tensor, normal: Tensor, bin_width: Tensor | None = None) -> Tensor:
        """Transform noise into samples, shape (..., D).

        Args:
            uniform: noise in [0, 1) that selects each dimension's component, shape (..., D).
            normal: standard normal noise, shape (..., D), which is scaled and shifted by the selected components.
            bin_width: bin width of each dimension, shape (D,). Samples are rounded to multiples of the bin width;
                dimensions with bin width 0 are not rounded. None: no dimension is rounded.
        """
        bin_width = None if bin_width is None else bin_width.unsqueeze(-1)
        return self.univariate.transform(uniform, normal.unsqueeze(-1), bin_width).squeeze(-1)

    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw samples, shape (*sample_shape, ..., D)."""
        return self.univariate.sample(sample_shape, generator=generator).squeeze(-1)

    def rsample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw samples, shape (*sample_shape, ..., D), with gradients as in `GaussianMixture.rsample`."""
        return self.univariate.rsample(sample_shape, generator=generator).squeeze(-1)

    def entropy(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the differential entropy in nats, shape (...); see `GaussianMixture.entropy`."""
        return self.entropy_estimate(samples, generator=generator).value

    def entropy_estimate(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Estimate:
        """Return a Monte Carlo estimate of the differential entropy and its standard error, in nats, shape (...).

        Args:
            samples: number of samples per dimension, at least 2.
            generator: random number generator.
        """
        value, error = self.univariate.entropy_estimate(samples, generator=generator)
        return Estimate(value.sum(-1), error.square().sum(-1).sqrt())

    def marginal(self, dims: int | Sequence[int]) -> PerDimensionMixture:
        """Return the marginal distribution of the dimensions `dims`, in the given order."""
        return PerDimensionMixture.from_univariate(self.univariate[..., normalize_dims(dims, self.event_shape[0])])

    def condition(self, dims: int | Sequence[int], value: Tensor) -> PerDimensionMixture:
        """Return the distribution of the remaining dimensions, which are independent of `value`.

        Args:
            dims: dimensions to condition on; at least one dimension must remain.
            value: values of these dimensions, shape (..., len(dims)); only the shape affects the result.
        """
        dims = normalize_dims(dims, self.event_shape[0])
        remaining = [i for i in range(self.event_shape[0]) if i not in dims]
        if not remaining:
            raise ValueError(f"dims: received all {len(dims)} dimensions, expected at most {len(dims) - 1}")
        self.marginal(dims)._prepare_value(value)
        marginal = self.marginal(remaining)
        return marginal.expand(torch.broadcast_shapes(marginal.batch_shape, value.shape[:-1]))

    def pit(self, value: Tensor) -> Tensor:
        """Return the cumulative distribution function of each dimension at `value`, shape (..., D)."""
        return self.univariate.cdf(self._prepare_value(value))

    def icdf(self, value: Tensor) -> Tensor:
        """Return the quantiles of each dimension, shape (..., D), at the probabilities `value`, shape (..., D)."""
        return self.univariate.icdf(value).squeeze(-1)

    def interval(self, mass: float) -> Interval:
        """Return the central interval of probability `mass` of each dimension; both ends have shape (..., D)."""
        return Interval(*(end.squeeze(-1) for end in self.univariate.interval(mass)))

    def crps(self, value: Tensor) -> Tensor:
        """Return the continuous ranked probability score of each dimension of `value`, shape (..., D)."""
        return self.univariate.crps(self._prepare_value(value))

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> PerDimensionMixture:
        """Return a new distribution whose univariate mixtures are tempered; see `GaussianMixture.tempered`."""
        return PerDimensionMixture.from_univariate(self.univariate.tempered(temperature, scale_temperature))

    def biased(self, bias: float) -> PerDimensionMixture:
        """Return a new distribution whose univariate mixtures are biased; see `GaussianMixture.biased`."""
        return PerDimensionMixture.from_univariate(self.univariate.biased(bias))

    def truncated(self, top_k: int | None = None, top_p: float | None = None) -> PerDimensionMixture:
        """Return a new distribution whose univariate mixtures are truncated; see `GaussianMixture.truncated`."""
        return PerDimensionMixture.from_univariate(self.univariate.truncated(top_k, top_p))

    def affine(self, shift: Tensor, scale: Tensor) -> PerDimensionMixture:
        """Return the distribution of shift + scale x, where x has this distribution.

        Args:
            shift: shape (..., D).
            scale: positive, shape (..., D).
        """
        return PerDimensionMixture.from_univariate(self.univariate.affine(shift.unsqueeze(-1), scale.unsqueeze(-1)))

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Any = None
    ) -> PerDimensionMixture:
        """Return the distribution expanded to a larger batch shape."""
        return PerDimensionMixture.from_univariate(self.univariate.expand((*batch_shape, *self.event_shape)))

    def __getitem__(self, index: Any) -> PerDimensionMixture:
        """Return the distributions at `index`, any index that is valid for a tensor of the batch shape."""
        return PerDimensionMixture.from_univariate(self.univariate[(*with_ellipsis(index), slice(None))])

    def to(self, target: torch.device | torch.dtype | str) -> PerDimensionMixture:
        """Return the distribution on another device or in another precision (float32 or wider)."""
        return PerDimensionMixture.from_univariate(self.univariate.to(target))

    def _prepare_value(self, value: Tensor) -> Tensor:
        """Check points (..., D) and return them as (..., D, 1)."""
        check_value(value, self.batch_shape, self.event_shape, bool(self._validate_args))
        return value.unsqueeze(-1)
