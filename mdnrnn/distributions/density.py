"""The log density of a mixture of independent normals, with its own gradient: fewer passes over less memory.

    log p = logsumexp_k(log w_k - sum_d (z_kd^2 / 2 + log s_kd)) - D log(2 pi) / 2,    z = (x - mean) / s

With responsibilities r_k = p(k | x), the gradient is r for the log weights, r z / s for the means and r (z^2 - 1) for
the log scales (Bishop 1994, section 3).
"""

import math
from typing import Any

import torch
from torch import Tensor

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


_FEW = 8


def sum_features(values: Tensor) -> Tensor:
    """Sum over the last axis, (..., D) to (...): a few slices are added eight times as fast as they are reduced."""
    if values.shape[-1] > _FEW:
        return values.sum(-1)
    total, *rest = values.unbind(-1)
    for part in rest:
        total = total + part
    return total


def log_components(distance: Tensor, log_scales: Tensor) -> Tensor:
    """Log density of each component, shape (..., K), at a `distance` (..., K, D) from the means."""
    z = distance * torch.exp(-log_scales)
    return -sum_features(0.5 * z.square() + log_scales) - distance.shape[-1] * HALF_LOG_TWO_PI


def log_density(log_weights: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    """Log density (...) at `value` (..., D); log_weights (..., K), means and log_scales (..., K, D), of one `...`."""
    if torch.compiler.is_compiling():  # a compiler uses_kernel the formula better than we do
        return _formula(log_weights, means, log_scales, value)
    result: Tensor = _LogDensity.apply(log_weights, means, log_scales, value)[0]
    return result


def _formula(log_weights: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    return torch.logsumexp(log_weights + log_components(value.unsqueeze(-2) - means, log_scales), -1)


class _LogDensity(torch.autograd.Function):
    """Keeps z / s and the log joint, from which the gradient takes a few passes over (..., K, D)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(log_weights: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        distance = value.unsqueeze(-2) - means
        pull = distance * (-2 * log_scales).exp_()
        log_joint = log_weights - sum_features(torch.addcmul(log_scales, distance, pull, value=0.5))
        return torch.logsumexp(log_joint, -1) - means.shape[-1] * HALF_LOG_TWO_PI, log_joint, pull

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        log_weights, means, log_scales, value, log_prob, log_joint, pull = ctx.saved_tensors
        distance = value.unsqueeze(-2) - means
        if torch.is_grad_enabled():  # the gradient's own gradient is wanted: from the arguments, not from what was kept
            pull = distance * torch.exp(-2 * log_scales)
            share = torch.softmax(log_weights + log_components(distance, log_scales), -1) * grad.unsqueeze(-1)
        else:
            log_total = log_prob.unsqueeze(-1) + means.shape[-1] * HALF_LOG_TWO_PI
            share = (log_joint - log_total).exp_() * grad.unsqueeze(-1)
        pulled = share.unsqueeze(-1)
        excess = torch.addcmul(distance.new_full((), -1.0), pull, distance)  # z^2 - 1
        del distance  # its memory is wanted below
        by_log_scales = pulled * excess
        del excess
        by_means = pulled * pull
        return share, by_means, by_log_scales, -by_means.sum(-2) if ctx.needs_input_grad[3] else None
