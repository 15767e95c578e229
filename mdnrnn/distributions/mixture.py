"""A mixture of diagonal Gaussians in D dimensions: the distribution that every head of this project returns.

    p(x) = sum_k softmax(logits)_k prod_d Normal(x_d; mean_kd, exp(log_scale_kd))

Bishop, "Mixture density networks" (1994). All of it is computed in log space, in float32 or wider.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from mdnrnn.distributions.cell import log_cell_prob

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class GaussianMixture(Distribution):
    """K Gaussians with diagonal covariance, over points of shape (..., D).

    Args:
        logits: unnormalised log weights, shape (..., K).
        mean: component means, shape (..., K, D).
        log_scale: logs of the component standard deviations, shape (..., K, D); -inf is a point mass.
        validate_args: check shapes, finiteness and every value asked for; off by default.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.real_vector,
        "mean": constraints.independent(constraints.real, 2),
        "log_scale": constraints.independent(constraints.real, 2),
    }
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, logits: Tensor, mean: Tensor, log_scale: Tensor, validate_args: bool | None = False) -> None:
        if mean.shape != log_scale.shape or mean.shape[:-1] != logits.shape:
            raise ValueError(
                f"a mixture received logits {tuple(logits.shape)}, mean {tuple(mean.shape)} and log_scale "
                f"{tuple(log_scale.shape)}; expected (..., K), (..., K, D) and (..., K, D)"
            )
        self.logits, self.means, self.log_scales = _wide(logits), _wide(mean), _wide(log_scale)
        super().__init__(logits.shape[:-1], mean.shape[-1:], validate_args=validate_args)

    @property
    def log_weights(self) -> Tensor:
        """Normalised log weights, shape (..., K)."""
        return torch.log_softmax(self.logits, -1)

    @property
    def mean(self) -> Tensor:
        """Expected value, shape (..., D)."""
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * self.means).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Variance of each dimension, shape (..., D)."""
        spread = (self.means - self.mean.unsqueeze(-2)).square() + (2 * self.log_scales).exp()
        return (torch.softmax(self.logits, -1).unsqueeze(-1) * spread).sum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value`, shape (..., D), in nats; the result has shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        z = (_wide(value).unsqueeze(-2) - self.means) * torch.exp(-self.log_scales)
        components = (-0.5 * z.square() - self.log_scales - _HALF_LOG_TWO_PI).sum(-1)
        return torch.logsumexp(self.log_weights + components, -1)

    def log_cell_prob(self, value: Tensor, width: Tensor) -> Tensor:
        """Log probability of the box of `width`, shape (..., D) or (D,), centred at `value`, shape (..., D)."""
        if self._validate_args:
            self._validate_sample(value)
        distance = _wide(value).unsqueeze(-2) - self.means
        components = log_cell_prob(distance, self.log_scales, _wide(width).unsqueeze(-2)).sum(-1)
        return torch.logsumexp(self.log_weights + components, -1)

    def transform(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Turn noise into a sample: `uniform` (...) in [0, 1) picks the component, `normal` (..., D) moves in it."""
        component = pick(self.logits, uniform)
        index = component[..., None, None].expand(*component.shape, 1, self.means.shape[-1])
        means, log_scales = self.means, self.log_scales
        if component.shape != self.batch_shape:  # several draws from each
            means = means.expand(*component.shape, *means.shape[-2:])
            log_scales = log_scales.expand(*component.shape, *log_scales.shape[-2:])
        mean, log_scale = means.gather(-2, index).squeeze(-2), log_scales.gather(-2, index).squeeze(-2)
        return torch.addcmul(mean, log_scale.exp(), normal)

    @torch.no_grad()
    def sample(  # type: ignore[override]
        self, sample_shape: torch.Size | tuple[int, ...] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw points, shape (*sample_shape, ..., D)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.empty(shape[:-1], device=self.logits.device, dtype=self.logits.dtype)
        normal = torch.empty(shape, device=self.logits.device, dtype=self.logits.dtype)
        return self.transform(uniform.uniform_(generator=generator), normal.normal_(generator=generator))

    def tempered(self, temperature: float, scale_temperature: float | None = None) -> GaussianMixture:
        """A new mixture, sharper below 1 and wilder above.

        Logits are divided by `temperature`; **variances** are multiplied by `scale_temperature` (default: the
        same number), so scales by its square root: Ha and Eck's convention (arXiv:1704.03477, section 3.3).
        Temperature 0 is its limit, the mean of the most probable component: a point mass, to sample from.
        """
        scale_temperature = temperature if scale_temperature is None else scale_temperature
        shift = 0.5 * math.log(scale_temperature) if scale_temperature > 0 else -math.inf
        return GaussianMixture(tempered_logits(self.logits, temperature), self.means, self.log_scales + shift)

    def biased(self, bias: float) -> GaussianMixture:
        """A new mixture with Graves' probability bias (arXiv:1308.0850, section 5.4): logits x (1 + b), log s - b."""
        return GaussianMixture(self.logits * (1 + bias), self.means, self.log_scales - bias)


def pick(logits: Tensor, uniform: Tensor) -> Tensor:
    """The class that each of `uniform` (...), in [0, 1), falls into: those of `logits` (..., K) lie end to end."""
    edges = torch.softmax(logits, -1).cumsum(-1)
    if uniform.shape != edges.shape[:-1]:
        edges = edges.expand(*uniform.shape, -1).contiguous()
    # Rounding can leave the last edge below 1: the clamp keeps such a draw in the last class.
    picked = torch.searchsorted(edges, uniform.unsqueeze(-1), right=True).squeeze(-1)
    return picked.clamp_(max=edges.shape[-1] - 1)


def tempered_logits(logits: Tensor, temperature: float) -> Tensor:
    """Logits / temperature; at 0 all the weight goes to the largest (the first of equals)."""
    if temperature < 0:
        raise ValueError(f"a temperature of {temperature} was received; expected 0 or more")
    if temperature == 0:
        best = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
        return torch.zeros_like(logits).masked_fill(~best, -math.inf)
    return logits / temperature


def _wide(tensor: Tensor) -> Tensor:
    """Float32 or wider: likelihoods are never computed in half precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
