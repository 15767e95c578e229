"""Mode of a Gaussian mixture, found by ascents (iterations that increase the density) from the means of all components.

Each iteration takes a Newton step if the Hessian of the log density is negative definite and the step increases the
density. Otherwise, the iteration takes the fixed-point step x = (sum_k r_k P_k)^-1 sum_k r_k P_k mean_k with
responsibilities r and precision matrices P. The fixed-point step always increases the density (Carreira-Perpinan,
"Mode-finding for mixtures of Gaussian distributions", IEEE TPAMI 22, 2000).

In more than one dimension, two elongated components that cross can have a peak at the crossing. It is possible that no
ascent from a mean reaches this peak. Therefore up to K additional ascents start from the crossings of highest density.
The crossing of two components is defined as the mode of the product of their densities.
"""

import torch
from torch import Tensor

from mdnrnn.distributions.function_transforms import opaque

_MAX_ITERATIONS = 100
_ROUNDING = 1e-14


@opaque("find_mode", lambda log_weights, means, precision: torch.empty_like(means[..., 0, :], dtype=torch.float64))
def find_mode(log_weights: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Return the point of highest density of a Gaussian mixture, shape (..., D); all tensors are in float64.

    Args:
        log_weights: shape (..., K).
        means: shape (..., K, D).
        precision: inverse covariances, shape (..., K, D, D).
    """
    *batch, k, d = means.shape
    means, precision = means.reshape(-1, k, d), precision.reshape(-1, k, d, d)
    constants = log_weights.reshape(-1, k) + 0.5 * torch.linalg.slogdet(precision).logabsdet
    scales = precision.diagonal(dim1=-2, dim2=-1).amax(-2).rsqrt()
    starts = means if d == 1 or k == 1 else torch.cat([means, _find_crossings(constants, means, precision)], 1)
    x, ascents = starts.reshape(-1, d).clone(), starts.shape[1]
    active = torch.arange(len(x), device=x.device)  # ascents that have not converged
    for _ in range(_MAX_ITERATIONS):
        mixture = active // ascents
        step = _ascent_step(x[active], constants[mixture], means[mixture], precision[mixture])
        x[active] += step
        moving = step.abs() > 1e-9 * scales[mixture] + 4e-16 * x[active].abs()
        active = active[moving.any(-1)]
        if not len(active):
            break
    return _select_highest(x.view(-1, ascents, d), 1, constants, means, precision).view(*batch, d)


def _find_crossings(constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Return the crossings of highest density of each of N mixtures, shape (N, min(K, K (K - 1) / 2), D).

    The crossing of components i and j is the mode of the product of their densities,
    (P_i + P_j)^-1 (P_i mean_i + P_j mean_j) with precision matrices P. For the arguments, see `_select_highest`.
    """
    weighted_means, k = precision @ means.unsqueeze(-1), means.shape[1]
    points = [
        torch.linalg.solve(
            precision[:, i + 1 :] + precision[:, i, None], weighted_means[:, i + 1 :] + weighted_means[:, i, None]
        )
        for i in range(k - 1)
    ]
    return _select_highest(torch.cat(points, 1).squeeze(-1), k, constants, means, precision)


def _select_highest(x: Tensor, count: int, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Return the candidate points of highest density of each of N mixtures, shape (N, count, D).

    Args:
        x: M candidate points for each mixture, shape (N, M, D).
        count: number of points to return for each mixture; if M is smaller, all M are returned.
        constants: log weights plus half the log determinants of the precision matrices, shape (N, K).
        means: shape (N, K, D).
        precision: shape (N, K, D, D).
    """
    heights = torch.stack([_log_density(candidate, constants, means, precision) for candidate in x.unbind(1)], 1)
    best = heights.topk(min(count, x.shape[1]), 1).indices
    return x.gather(1, best.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _log_joint(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    """Return log(w_k p_k(x)), shape (..., K), up to a common constant, and the gradients of log p_k, (..., K, D).

    w_k is the weight and p_k the density of component k. The gradient of log p_k is P_k (mean_k - x).
    """
    distance = means - x.unsqueeze(-2)
    score = (precision @ distance.unsqueeze(-1)).squeeze(-1)
    return constants - 0.5 * (distance * score).sum(-1), score


def _log_density(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    return torch.logsumexp(_log_joint(x, constants, means, precision)[0], -1)


def _ascent_step(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Return the Newton or fixed-point step at x, shape (N, D); see the module docstring."""
    log_joint, score = _log_joint(x, constants, means, precision)
    responsibilities = torch.softmax(log_joint, -1)
    gradient = (responsibilities.unsqueeze(-1) * score).sum(-2)
    inner = torch.einsum("nk,nkij->nij", responsibilities, precision)
    outer = (responsibilities.unsqueeze(-1) * score).mT @ score - gradient.unsqueeze(-1) * gradient.unsqueeze(-2)
    fixed_point = torch.linalg.solve(inner, gradient.unsqueeze(-1)).squeeze(-1)
    factor, failed = torch.linalg.cholesky_ex(inner - outer)
    newton = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
    newton = torch.where((failed == 0).unsqueeze(-1), newton, 0.0)
    # Near the peak, the density increases by less than the rounding error. The tolerance accepts Newton steps there.
    current = torch.logsumexp(log_joint, -1)
    increases = _log_density(x + newton, constants, means, precision) > current - _ROUNDING * (1 + current.abs())
    return torch.where(increases.unsqueeze(-1) & (failed == 0).unsqueeze(-1), newton, fixed_point)
