"""The log probability that a normal variable falls in a bin_width, with its gradient, stable for every width.

For a bin_width of width w around a point d away from the mean of a normal of scale s, with z = |d| / s and
h = w / (2 s), the probability is P = Q(z - h) - Q(z + h), Q(t) = erfc(t / sqrt 2) / 2. A width of 0 asks for the log
density instead: of a feature that lies on no grid, beside others that do. Three forms cover it:

narrow  h < 0.02, z h < 0.5: the density times the width, with the next terms of its expansion in h,
        log P = log(2 h) - z^2/2 - log(2 pi)/2 + y^2/6 - y^4/180 - h^2/6,  y = z h
tail    z - h > 8: Q(t) = phi(t) S(t) / t with the asymptotic series S (Abramowitz & Stegun 26.2.12), and phi(z - h)
        taken out of the difference: log P = log phi(a) + log((S(a) - exp(-2 y) S(b) a / b) / a),  a, b = z -+ h
plain   elsewhere: the difference of two erfc, which neither cancels nor underflows there

The relative error of the result is below 1e-5 in float32 (tests compare with SciPy's float64).
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_NARROW = 0.02
_FLAT = 0.5
_TAIL = 8.0


def discretized_log_prob(distance: Tensor, log_scale: Tensor, width: Tensor) -> Tensor:
    """Log probability of a box of `width` around a point `distance` from the mean; shapes broadcast.

    Gradients flow to `distance` and `log_scale`; the width is data.
    """
    return _DiscretizedLogProb.apply(distance, log_scale, width)


def _series(t: Tensor) -> Tensor:
    """S(t) = t Q(t) / phi(t) for t > 8."""
    r = 1 / (t * t)
    return 1 - r * (1 - r * (3 - r * (15 - r * 105)))


def _is_narrow(y: Tensor, h: Tensor) -> Tensor:
    return (h < _NARROW) & (y < _FLAT)


def _plain(a: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """log P beyond the narrow, as a sum of two: log phi(a) in the tail and 0 elsewhere, and the rest."""
    prob = 0.5 * (torch.erfc(a * math.sqrt(0.5)) - torch.erfc(b * math.sqrt(0.5)))
    far = a > _TAIL
    if not bool(far.any()):
        return torch.zeros_like(a), torch.log(prob)
    low, high = a.clamp_min(_TAIL), b.clamp_min(_TAIL)
    prob = torch.where(far, (_series(low) - torch.exp(-2 * y) * _series(high) * low / high) / low, prob)
    return torch.where(far, -0.5 * a * a - _HALF_LOG_TWO_PI, 0.0), torch.log(prob)


class _DiscretizedLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, distance: Tensor, log_scale: Tensor, width: Tensor) -> Tensor:
        inverse, absolute = torch.exp(-log_scale), distance.abs()
        # The walls are subtracted before they are scaled: exact where the point lies near one.
        a, b = (absolute - 0.5 * width) * inverse, (absolute + 0.5 * width) * inverse
        z, h = absolute * inverse, 0.5 * width * inverse
        y = z * h
        narrow = torch.log(torch.where(width > 0, width, 1.0)) - log_scale - _HALF_LOG_TWO_PI - 0.5 * z * z
        narrow = narrow + y * y * (1 / 6 - y * y / 180) - h * h / 6
        offset, rest = _plain(a, b, y)
        ctx.save_for_backward(distance, log_scale, a, b, z, h, rest)
        return torch.where(_is_narrow(y, h), narrow, offset + rest)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        distance, log_scale, a, b, z, h, rest = ctx.saved_tensors  # type: ignore[attr-defined]
        y = z * h
        # d log P = pb db - pa da, with pa and pb the densities at the walls over P; in the tail phi(a) cancels.
        wall = torch.where(a > _TAIL, 0.0, -0.5 * a * a - _HALF_LOG_TWO_PI) - rest
        pa, pb = torch.exp(wall), torch.exp(wall - 2 * y)
        narrow = _is_narrow(y, h)
        by_z = torch.where(narrow, h * y * (1 / 3 - y * y / 45) - z, pb - pa)
        by_log_scale = torch.where(narrow, z * z - 1 - y * y * (2 / 3 - y * y * 2 / 45) + h * h / 3, a * pa - b * pb)
        by_distance = grad * by_z * torch.sign(distance) * torch.exp(-log_scale)
        return (
            by_distance.sum_to_size(distance.shape),
            (grad * by_log_scale).sum_to_size(log_scale.shape),
            None,
        )
