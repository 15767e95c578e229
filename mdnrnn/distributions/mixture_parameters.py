"""Parameters of Gaussian mixtures: checks, moments, changes of the parameters and batch operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions import cholesky
from mdnrnn.distributions.categorical import bias_logits, log_scale_shift, temper_logits, truncate_logits
from mdnrnn.distributions.validation import check_elements, check_shapes, check_values

if TYPE_CHECKING:
    from typing_extensions import Self


class MixtureParameters(Distribution):
    """Base class of `GaussianMixture`, which documents the arguments."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.real_vector,
        "means": constraints.independent(constraints.real, 2),
        "log_scales": constraints.independent(constraints.real, 2),
    }

    def __init__(
        self,
        logits: Tensor,
        means: Tensor,
        log_scales: Tensor,
        slopes: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        check_shapes(logits, means, log_scales, slopes)
        self.logits, self.means = to_float32_or_wider(logits), to_float32_or_wider(means)
        log_scales = to_float32_or_wider(log_scales)
        self.log_scales = log_scales if log_scales.shape == means.shape else log_scales.expand(means.shape)
        self.slopes = None if slopes is None else to_float32_or_wider(slopes).tril(-1)
        super().__init__(logits.shape[:-1], means.shape[-1:], validate_args=False)
        if type(self)._validate_args if validate_args is None else validate_args:
            self._validate_args = True
            check_values(logits=self.logits, means=self.means, log_scales=self.log_scales, slopes=self.slopes)

    @classmethod
    def from_scale_tril(cls, logits: Tensor, means: Tensor, scale_tril: Tensor) -> Self:
        """Return a mixture with full covariances given by Cholesky factors.

        Args:
            logits: shape (..., K).
            means: shape (..., K, D).
            scale_tril: lower triangular with a positive diagonal, shape (..., K, D, D).
        """
        log_scales, slopes = cholesky.from_scale_tril(to_float32_or_wider(scale_tril))
        return cls(logits, means, log_scales, slopes)

    def __repr__(self) -> str:
        (k, d), device, dtype = self.means.shape[-2:], self.means.device, str(self.means.dtype).removeprefix("torch.")
        covariance = "diagonal" if self.slopes is None else "full"
        return (
            f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, K={k}, D={d}, covariance={covariance!r}, "
            f"dtype={dtype}, device={str(device)!r})"
        )

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

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> Self:
        """Return a new mixture that is less random for temperatures below 1 and more random for temperatures above 1.

        Logits are divided by `temperature`. **Variances** are multiplied by `scale_temperature` (default:
        `temperature`), and scales by its square root. This is the convention of Ha and Eck (arXiv:1704.03477, section
        3.3). If `temperature` is 0, only the component of largest weight remains. If `scale_temperature` is 0, all
        components are point masses, which can be sampled but have no density.
        """
        logits = temper_logits(self.logits, temperature)
        shift = log_scale_shift(temperature if scale_temperature is None else scale_temperature)
        return self._with_parameters(logits, self.means, self.log_scales + shift, self.slopes)

    def biased(self, bias: float) -> Self:
        """Return a new mixture with logits multiplied by 1 + bias, and with `bias` subtracted from the log scales.

        A positive bias reduces randomness. Source: probability bias of Graves (arXiv:1308.0850, section 5.4).
        """
        return self._with_parameters(bias_logits(self.logits, bias), self.means, self.log_scales - bias, self.slopes)

    def truncated(self, top_k: int | None = None, top_p: float | None = None) -> Self:
        """Return a new mixture of the components of largest weight; the weights are renormalized.

        See `categorical.truncate_logits` for the arguments.
        """
        logits = truncate_logits(self.logits, top_k, top_p)
        return self._with_parameters(logits, self.means, self.log_scales, self.slopes)

    def affine(self, shift: Tensor, scale: Tensor) -> Self:
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

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Any = None) -> Self:
        """Return the distribution expanded to a larger batch shape."""
        shape = torch.Size(batch_shape)
        return self._map_parameters(lambda tensor, n: tensor.expand(*shape, *tensor.shape[tensor.ndim - n :]))

    def __getitem__(self, index: Any) -> Self:
        """Return the distributions at `index`, any index that is valid for a tensor of the batch shape."""
        index = with_ellipsis(index)
        return self._map_parameters(lambda tensor, n: tensor[(*index, *[slice(None)] * n)])

    def to(self, target: torch.device | torch.dtype | str) -> Self:
        """Return the distribution on another device or in another precision (float32 or wider)."""
        return self._map_parameters(lambda tensor, n: tensor.to(target))

    def _map_parameters(self, change: Callable[[Tensor, int], Tensor]) -> Self:
        """Return the mixture with parameters `change(parameter, n)`.

        n is the number of dimensions of the parameter after the batch dimensions.
        """
        slopes = None if self.slopes is None else change(self.slopes, 3)
        logits, means, log_scales = change(self.logits, 1), change(self.means, 2), change(self.log_scales, 2)
        return self._with_parameters(logits, means, log_scales, slopes)

    def _with_parameters(self, logits: Tensor, means: Tensor, log_scales: Tensor, slopes: Tensor | None = None) -> Self:
        """Return a mixture of the same class with the given parameters, without checking them.

        The new mixture checks the values passed to its methods if and only if `self` does.
        """
        new = type(self).__new__(type(self))
        MixtureParameters.__init__(new, logits, means, log_scales, slopes, validate_args=False)
        new._validate_args = self._validate_args
        return new


def with_ellipsis(index: Any) -> tuple[Any, ...]:
    """Return an index of the batch dimensions as a tuple with an ellipsis.

    Indices of the dimensions after the batch can be appended to the result.
    """
    index = index if isinstance(index, tuple) else (index,)
    return index if any(part is Ellipsis for part in index) else (*index, Ellipsis)


def to_float32_or_wider(tensor: Tensor) -> Tensor:
    """Convert dtypes other than float32 and float64 to float32, so that likelihoods are not in half precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
