"""Log density of a mixture of diagonal Gaussians, with a hand-written gradient that uses little memory.

    log p = logsumexp_k(log w_k - sum_d (z_kd^2 / 2 + log s_kd)) - D log(2 pi) / 2,    z = (x - mean) / s

With responsibilities r_k = p(k | x), the gradient is r for the log weights, r z / s for the means and r (z^2 - 1) for
the log scales (Bishop 1994, section 3).
"""

import math
from typing import Any

import torch
from torch import Tensor

from mdnrnn.distributions.function_transforms import is_transformed

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

_MAX_UNROLLED = 8
"""Largest D for which `sum_features` adds slices instead of calling `Tensor.sum`."""


def sum_features(values: Tensor) -> Tensor:
    """Return the sum of values (..., D) over the last dimension, shape (...).

    For D <= 8, the D slices are added one by one, which is about eight times as fast as `Tensor.sum`.
    """
    if values.shape[-1] > _MAX_UNROLLED:
        return values.sum(-1)
    total, *rest = values.unbind(-1)
    for part in rest:
        total = total + part
    return total


def component_log_density(distance: Tensor, log_scales: Tensor) -> Tensor:
    """Return the log density of each Gaussian component, shape (..., K).

    Args:
        distance: x - mean for diagonal covariances, innovations (see cholesky.py) for full covariances, shape
            (..., K, D).
        log_scales: shape (..., K, D).
    """
    z = distance * torch.exp(-log_scales)
    return -sum_features(0.5 * z.square() + log_scales) - distance.shape[-1] * HALF_LOG_TWO_PI


def log_density(log_weights: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    """Return the log density of a mixture of diagonal Gaussians at `value`, shape (...).

    The leading dimensions of all arguments must be equal; they are not broadcast.

    Args:
        log_weights: shape (..., K).
        means: shape (..., K, D).
        log_scales: shape (..., K, D).
        value: shape (..., D).
    """
    if is_transformed():
        return _log_density_formula(log_weights, means, log_scales, value)
    result: Tensor = _LogDensity.apply(log_weights, means, log_scales, value)[0]
    return result


def _log_density_formula(log_weights: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    return torch.logsumexp(log_weights + component_log_density(value.unsqueeze(-2) - means, log_scales), -1)


class _LogDensity(torch.autograd.Function):
    """Autograd function of `log_density`.

    The forward pass saves z / s, shape (..., K, D), and log(w_k p_k(value)) up to a constant, shape (..., K), so that
    the backward pass does not recompute these tensors. w_k is the weight and p_k the density of component k.
    """

    @staticmethod
    def forward(log_weights: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        distance = value.unsqueeze(-2) - means
        scaled = distance * (-2 * log_scales).exp_()  # z / s
        log_joint = log_weights - sum_features(torch.addcmul(log_scales, distance, scaled, value=0.5))
        return torch.logsumexp(log_joint, -1) - means.shape[-1] * HALF_LOG_TWO_PI, log_joint, scaled

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        log_weights, means, log_scales, value, log_prob, log_joint, scaled = ctx.saved_tensors
        distance = value.unsqueeze(-2) - means
        if torch.is_grad_enabled():  # a second derivative is requested: recompute differentiably
            scaled = distance * torch.exp(-2 * log_scales)
            log_components = log_weights + component_log_density(distance, log_scales)
            by_log_weights = torch.softmax(log_components, -1) * grad.unsqueeze(-1)
        else:
            log_total = log_prob.unsqueeze(-1) + means.shape[-1] * HALF_LOG_TWO_PI
            by_log_weights = (log_joint - log_total).exp_() * grad.unsqueeze(-1)
        weight = by_log_weights.unsqueeze(-1)
        excess = torch.addcmul(distance.new_full((), -1.0), scaled, distance)  # z^2 - 1
        del distance  # free its memory before the next tensors are allocated
        by_log_scales = weight * excess
        del excess
        by_means = weight * scaled
        return by_log_weights, by_means, by_log_scales, -by_means.sum(-2) if ctx.needs_input_grad[3] else None
