"""D mixtures side by side, each dimension with weights of its own: the kind of Ha and Schmidhuber's world models.

p(x) = prod_d sum_k softmax(logits_d)_k Normal(x_d; mean_dk, s_dk)        (arXiv:1803.10122)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions.gaussian_mixture import Estimate, GaussianMixture, Interval
from mdnrnn.distributions.validation import check_value, positions


class PerDimensionMixture(Distribution):
    """Independent dimensions over points of shape (..., D), each a mixture of K normals.

    Args:
        logits, means, log_scales: as a GaussianMixture's, but of shape (..., D, K) each; log_scales may have 1 in
            place of K.
        validate_args: check parameters and every value asked for; by default what torch.distributions is set to.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor, validate_args: bool | None = None) -> None:
        if logits.ndim < 2 or 0 in logits.shape[-2:]:
            raise ValueError(f"logits: received shape {tuple(logits.shape)}, expected (..., D, K), both 1 or more")
        for name, tensor in (("means", means), ("log_scales", log_scales)):
            if tensor.shape != logits.shape and not (name == "log_scales" and tensor.shape == (*logits.shape[:-1], 1)):
                raise ValueError(f"{name}: received shape {tuple(tensor.shape)}, expected {tuple(logits.shape)}")
        self._hold(GaussianMixture(logits, means.unsqueeze(-1), log_scales.unsqueeze(-1), validate_args=validate_args))

    @classmethod
    def from_univariate(cls, parts: GaussianMixture) -> PerDimensionMixture:
        """Of one-dimensional mixtures, batch shape (..., D): its last becomes the dimensions of a point."""
        if parts.event_shape[0] != 1 or not parts.batch_shape:
            raise ValueError(
                f"parts: received batch shape {tuple(parts.batch_shape)} and {parts.event_shape[0]} dimensions, "
                "expected (..., D) and 1"
            )
        new = cls.__new__(cls)
        new._hold(parts)
        return new

    def _hold(self, parts: GaussianMixture) -> None:
        self.univariate = parts
        """The mixtures of the dimensions, batch shape (..., D), D = 1."""
        Distribution.__init__(self, parts.batch_shape[:-1], parts.batch_shape[-1:], validate_args=False)
        self._validate_args = parts._validate_args

    def __repr__(self) -> str:
        return f"PerDimensionMixture({self.univariate!r})"

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
        """Expected value, shape (..., D)."""
        return self.univariate.mean.squeeze(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, shape (..., D)."""
        return self.univariate.variance.squeeze(-1)

    @property
    def covariance(self) -> Tensor:
        """Covariance matrix, shape (..., D, D): diagonal."""
        return torch.diag_embed(self.variance)

    @property
    def mode(self) -> Tensor:
        """The highest point of the density, shape (..., D)."""
        return self.univariate.mode.squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value`, shape (..., D), in nats; the result has shape (...)."""
        return self.univariate.log_prob(self._apart(value)).sum(-1)

    def discretized_log_prob(self, value: Tensor, width: Tensor) -> Tensor:
        """Log probability of the box of `width`, shape (..., D) or (D,), centered at `value`, shape (..., D)."""
        return self.univariate.discretized_log_prob(self._apart(value), width.unsqueeze(-1)).sum(-1)

    def component_posterior(self, value: Tensor) -> Tensor:
        """Probabilities (..., D, K) that each component of each dimension made `value` (..., D)."""
        return self.univariate.component_posterior(self._apart(value))

    def transform(self, uniform: Tensor, normal: Tensor, bin_width: Tensor | None = None) -> Tensor:
        """Turn noise into a sample: `uniform` (..., D) picks the components, `normal` (..., D) moves in them.

        With `bin_width`, widths (D,), it is a point of that grid, as GaussianMixture's.
        """
        bin_width = None if bin_width is None else bin_width.unsqueeze(-1)
        return self.univariate.transform(uniform, normal.unsqueeze(-1), bin_width).squeeze(-1)

    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw points, shape (*sample_shape, ..., D)."""
        return self.univariate.sample(sample_shape, generator=generator).squeeze(-1)

    def rsample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw points with gradients to the parameters, as GaussianMixture does."""
        return self.univariate.rsample(sample_shape, generator=generator).squeeze(-1)

    def entropy(self, samples: int = 1000, *, generator: torch.Generator | None = None) -> Estimate:  # type: ignore[override]
        """Differential entropy in nats, shape (...), estimated from `samples` draws of each dimension."""
        value, error = self.univariate.entropy(samples, generator=generator)
        return Estimate(value.sum(-1), error.square().sum(-1).sqrt())

    def marginal(self, dims: int | Sequence[int]) -> PerDimensionMixture:
        """The distribution of one dimension, or of several in the order given."""
        return PerDimensionMixture.from_univariate(self.univariate[..., positions(dims, self.event_shape[0])])

    def condition(self, dims: int | Sequence[int], value: Tensor) -> PerDimensionMixture:
        """The distribution of the other dimensions: `value` (..., len(dims)) tells nothing about them."""
        given = positions(dims, self.event_shape[0])
        rest = [i for i in range(self.event_shape[0]) if i not in given]
        if not rest:
            raise ValueError(f"dims: received all {len(given)} dimensions, expected to leave one at least")
        self.marginal(given)._apart(value)
        left = self.marginal(rest)
        return left.expand(torch.broadcast_shapes(left.batch_shape, value.shape[:-1]))

    def pit(self, value: Tensor) -> Tensor:
        """Probability integral transform of each dimension, shape (..., D)."""
        return self.univariate.cdf(self._apart(value))

    def icdf(self, value: Tensor) -> Tensor:
        """Quantiles of each dimension, shape (..., D), of probabilities `value`, shape (..., D)."""
        return self.univariate.icdf(value).squeeze(-1)

    def interval(self, mass: float) -> Interval:
        """The central interval of each dimension that holds `mass`, its ends (..., D)."""
        return Interval(*(end.squeeze(-1) for end in self.univariate.interval(mass)))

    def crps(self, value: Tensor) -> Tensor:
        """Continuous ranked probability score of each dimension, shape (..., D)."""
        return self.univariate.crps(self._apart(value))

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> PerDimensionMixture:
        """A new distribution, as GaussianMixture's."""
        return PerDimensionMixture.from_univariate(self.univariate.tempered(temperature, scale_temperature))

    def biased(self, bias: float) -> PerDimensionMixture:
        """A new distribution, as GaussianMixture's."""
        return PerDimensionMixture.from_univariate(self.univariate.biased(bias))

    def affine(self, shift: Tensor, scale: Tensor) -> PerDimensionMixture:
        """The distribution of shift + scale x, both of shape (..., D), scale positive."""
        return PerDimensionMixture.from_univariate(self.univariate.affine(shift.unsqueeze(-1), scale.unsqueeze(-1)))

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Any = None
    ) -> PerDimensionMixture:
        """The same distribution over a larger batch shape."""
        return PerDimensionMixture.from_univariate(self.univariate.expand((*batch_shape, *self.event_shape)))

    def __getitem__(self, index: Any) -> PerDimensionMixture:
        """Some of the batch, by any index of its dimensions."""
        index = index if isinstance(index, tuple) else (index,)
        index = index if any(part is Ellipsis for part in index) else (*index, Ellipsis)
        return PerDimensionMixture.from_univariate(self.univariate[(*index, slice(None))])

    def to(self, target: torch.device | torch.dtype | str) -> PerDimensionMixture:
        """The same distribution on another device, or in another precision (float32 or wider)."""
        return PerDimensionMixture.from_univariate(self.univariate.to(target))

    def _apart(self, value: Tensor) -> Tensor:
        """Points (..., D) as (..., D, 1)."""
        check_value(value, self.batch_shape, self.event_shape, bool(self._validate_args))
        return value.unsqueeze(-1)
