"""Log probability of a bin under a normal distribution; value and gradient are stable for all bin widths.

For a bin of width w whose center is a distance d from the mean of a normal distribution with scale s, let z = |d| / s,
h = w / (2 s), y = z h, a = z - h and b = z + h. The probability of the bin is P = Q(a) - Q(b) with the upper tail
probability of the standard normal distribution, Q(t) = erfc(t / sqrt 2) / 2. If the bin width is 0, the result is the
log density, so that continuous and discretized features can be combined. One of three formulas is used:

narrow  if h < 0.02 and y < 0.5: log P is the log of density times width, plus the next terms of the expansion in h,
        log P = log(2 h) - z^2/2 - log(2 pi)/2 + y^2/6 - y^4/180 - h^2/6
tail    if a > 8: Q(t) = phi(t) S(t) / t with the standard normal density phi and the asymptotic series S (Abramowitz &
        Stegun 26.2.12). The factor phi(a) is taken out of the difference,
        log P = log phi(a) + log((S(a) - exp(-2 y) S(b) a / b) / a)
plain   otherwise: P is the difference of two values of erfc, which in this range has no cancellation or underflow.

The relative error of the result is below 1e-5 in float32 (the tests compare with SciPy's float64).
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from mdnrnn.distributions.function_transforms import is_transformed

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_NARROW_H = 0.02
_NARROW_Y = 0.5
_TAIL_START = 8.0
_FAR = 40.0
"""Number of scales beyond which the standard normal density is 0 in float64."""


def discretized_log_prob(distance: Tensor, log_scale: Tensor, bin_width: Tensor) -> Tensor:
    """Return the log probability of a bin under a normal distribution.

    The center of the bin is at the signed `distance` from the mean. Where `bin_width` is 0, the result is the log
    density at the center. Shapes are broadcast. The result is differentiable with respect to `distance` and
    `log_scale`, any number of times and under the function transforms of PyTorch.
    """
    if is_transformed():
        return _differentiable_log_prob(distance, log_scale, bin_width)
    return _DiscretizedLogProb.apply(distance, log_scale, bin_width)


def _differentiable_log_prob(distance: Tensor, log_scale: Tensor, bin_width: Tensor) -> Tensor:
    """Compute `discretized_log_prob` by differentiable operations without branches that depend on the data.

    All three formulas of the module docstring are evaluated everywhere. A formula that is not selected is evaluated at
    constants instead, so that none of its derivatives is infinite or NaN.
    """
    # `Tensor.abs` would have second derivative 0 at distance 0.
    absolute, inverse = torch.where(distance < 0, -distance, distance), torch.exp(-log_scale)
    a, b = (absolute - 0.5 * bin_width) * inverse, (absolute + 0.5 * bin_width) * inverse
    z, h = absolute * inverse, 0.5 * bin_width * inverse
    y = z * h
    narrow, tail = _is_narrow(y, h), a > _TAIL_START
    plain_a, plain_b = torch.where(narrow | tail, 0.0, a), torch.where(narrow | tail, 1.0, b)
    plain = _plain_prob(plain_a.clamp_min(-_FAR), plain_b.clamp_max(_FAR))
    tail_a, tail_b, tail_y = (torch.where(tail & ~narrow, t, _TAIL_START) for t in (a, b, y))
    narrow_z, narrow_h, narrow_y = (torch.where(narrow, t, 0.0) for t in (z, h, y))
    return torch.where(
        narrow,
        _narrow_log_prob(narrow_z, narrow_h, narrow_y, log_scale, bin_width),
        torch.where(tail, _log_normal(tail_a) + torch.log(_tail_factor(tail_a, tail_b, tail_y)), torch.log(plain)),
    )


def _log_normal(t: Tensor) -> Tensor:
    """Return the standard normal log density at t."""
    return -0.5 * t * t - _HALF_LOG_TWO_PI


def _is_narrow(y: Tensor, h: Tensor) -> Tensor:
    return (h < _NARROW_H) & (y < _NARROW_Y)


def _narrow_log_prob(z: Tensor, h: Tensor, y: Tensor, log_scale: Tensor, bin_width: Tensor) -> Tensor:
    log_width = torch.log(torch.where(bin_width > 0, bin_width, 1.0))
    log_prob = log_width - log_scale - _HALF_LOG_TWO_PI - 0.5 * z * z
    return log_prob + y * y * (1 / 6 - y * y / 180) - h * h / 6


def _plain_prob(a: Tensor, b: Tensor) -> Tensor:
    return 0.5 * (torch.erfc(a * math.sqrt(0.5)) - torch.erfc(b * math.sqrt(0.5)))


def _tail_factor(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """Return the probability of the bin divided by phi(a), for a >= 8; see the module docstring."""
    return (_tail_series(a) - torch.exp(-2 * y) * _tail_series(b) * a / b) / a


def _tail_series(t: Tensor) -> Tensor:
    """Return the asymptotic series S(t), which approximates t Q(t) / phi(t) for t >= 8.

    Q is the upper tail probability and phi the density of the standard normal distribution; see the module docstring.
    """
    r = 1 / (t * t)
    return 1 - r * (1 - r * (3 - r * (15 - r * 105)))


def _plain_or_tail(a: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return two terms whose sum is the log probability of the bin.

    The module docstring defines the arguments and the two formulas. If a > 8, the tail formula is used, and the first
    term is log phi(a), the standard normal log density at a. Otherwise, the plain formula is used, and the first term
    is 0.
    """
    prob, tail = _plain_prob(a, b), a > _TAIL_START
    if not bool(tail.any()):
        return torch.zeros_like(a), torch.log(prob)
    prob = torch.where(tail, _tail_factor(a.clamp_min(_TAIL_START), b.clamp_min(_TAIL_START), y), prob)
    return torch.where(tail, _log_normal(a), 0.0), torch.log(prob)


class _DiscretizedLogProb(torch.autograd.Function):
    """Autograd function of `discretized_log_prob`, which skips the tail formula if no element needs it."""

    @staticmethod
    def forward(ctx: FunctionCtx, distance: Tensor, log_scale: Tensor, bin_width: Tensor) -> Tensor:
        inverse, absolute = torch.exp(-log_scale), distance.abs()
        # Subtract before scaling: if the mean lies near an edge of the bin, the difference is exact.
        a, b = (absolute - 0.5 * bin_width) * inverse, (absolute + 0.5 * bin_width) * inverse
        z, h = absolute * inverse, 0.5 * bin_width * inverse
        y = z * h
        log_phi, rest = _plain_or_tail(a, b, y)
        ctx.save_for_backward(distance, log_scale, bin_width, a, b, z, h, rest)
        return torch.where(_is_narrow(y, h), _narrow_log_prob(z, h, y, log_scale, bin_width), log_phi + rest)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        distance, log_scale, bin_width, a, b, z, h, rest = ctx.saved_tensors  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # a second derivative is requested
            inputs = [tensor for tensor in (distance, log_scale) if tensor.requires_grad]
            log_prob = _differentiable_log_prob(distance, log_scale, bin_width)
            gradients = iter(torch.autograd.grad(log_prob, inputs, grad, create_graph=True))
            return *(next(gradients) if tensor.requires_grad else None for tensor in (distance, log_scale)), None
        y = z * h
        # d log P = pb db - pa da, where pa and pb are the standard normal densities at a and b, divided by P. In the
        # tail formula, numerator and denominator have the common factor phi(a), which is omitted from both.
        log_pa = torch.where(a > _TAIL_START, 0.0, _log_normal(a)) - rest
        pa, pb = torch.exp(log_pa), torch.exp(log_pa - 2 * y)
        narrow = _is_narrow(y, h)
        by_z = torch.where(narrow, h * y * (1 / 3 - y * y / 45) - z, pb - pa)
        by_log_scale = torch.where(narrow, z * z - 1 - y * y * (2 / 3 - y * y * 2 / 45) + h * h / 3, a * pa - b * pb)
        by_distance = grad * by_z * torch.sign(distance) * torch.exp(-log_scale)
        return (
            by_distance.sum_to_size(distance.shape),
            (grad * by_log_scale).sum_to_size(log_scale.shape),
            None,
        )
