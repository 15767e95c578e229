"""The highest point of a Gaussian mixture, by an ascent from the mean of every component.

Each step is Newton's where the log density curves down and the step climbs, else that of the fixed point
x = (sum_k r_k P_k)^-1 sum_k r_k P_k mean_k, which always climbs (Carreira-Perpinan, "Mode-finding for mixtures of
Gaussian distributions", IEEE TPAMI 22, 2000). In more than one dimension two long components can cross in a peak that
no mean's ascent ends at: there as many ascents again start from the highest points where two of them meet.
"""

import torch
from torch import Tensor

_MOST_STEPS = 100
_ROUNDING = 1e-14


def highest_point(log_weights: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """The mode (..., D), in float64: log_weights (..., K), means (..., K, D), inverse covariances (..., K, D, D)."""
    *batch, k, d = means.shape
    means, precision = means.double().reshape(-1, k, d), precision.double().reshape(-1, k, d, d)
    constants = log_weights.double().reshape(-1, k) + 0.5 * torch.linalg.slogdet(precision).logabsdet
    scales = precision.diagonal(dim1=-2, dim2=-1).amax(-2).rsqrt()
    starts = means if d == 1 or k == 1 else torch.cat([means, _crossings(constants, means, precision)], 1)
    x, ascents = starts.reshape(-1, d).clone(), starts.shape[1]
    climbing = torch.arange(len(x), device=x.device)  # most arrive within ten steps; a few crawl over a plateau
    for _ in range(_MOST_STEPS):
        mixture = climbing // ascents
        step = _step(x[climbing], constants[mixture], means[mixture], precision[mixture])
        x[climbing] += step
        far = step.abs() > 1e-9 * scales[mixture] + 4e-16 * x[climbing].abs()
        climbing = climbing[far.any(-1)]
        if not len(climbing):
            break
    return _highest(x.view(-1, ascents, d), 1, constants, means, precision).view(*batch, d)


def _crossings(constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """The K highest, (N, K, D), of the points (P_i + P_j)^-1 (P_i mean_i + P_j mean_j), where i and j meet."""
    heads, k = precision @ means.unsqueeze(-1), means.shape[1]
    points = [
        torch.linalg.solve(precision[:, i + 1 :] + precision[:, i, None], heads[:, i + 1 :] + heads[:, i, None])
        for i in range(k - 1)
    ]
    return _highest(torch.cat(points, 1).squeeze(-1), k, constants, means, precision)


def _highest(x: Tensor, count: int, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Of points (N, S, D) those of the highest densities, (N, count, D), or all if they are fewer."""
    heights = torch.stack([_log_density(part, constants, means, precision) for part in x.unbind(1)], 1)
    best = heights.topk(min(count, x.shape[1]), 1).indices
    return x.gather(1, best.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _joint(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    """Log joint densities (..., K) without their common constant, and P_k (mean_k - x), (..., K, D)."""
    distance = means - x.unsqueeze(-2)
    pull = (precision @ distance.unsqueeze(-1)).squeeze(-1)
    return constants - 0.5 * (distance * pull).sum(-1), pull


def _log_density(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    return torch.logsumexp(_joint(x, constants, means, precision)[0], -1)


def _step(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """The step (N, D) to take from x (N, D)."""
    joint, pull = _joint(x, constants, means, precision)
    share = torch.softmax(joint, -1)
    gradient = (share.unsqueeze(-1) * pull).sum(-2)
    inner = torch.einsum("nk,nkij->nij", share, precision)
    outer = (share.unsqueeze(-1) * pull).mT @ pull - gradient.unsqueeze(-1) * gradient.unsqueeze(-2)
    fixed_point = torch.linalg.solve(inner, gradient.unsqueeze(-1)).squeeze(-1)
    factor, failed = torch.linalg.cholesky_ex(inner - outer)
    newton = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
    newton = torch.where((failed == 0).unsqueeze(-1), newton, 0.0)
    # Beside the peak a step gains less than rounding hides: it counts as climbing, and the last digits are found.
    here = torch.logsumexp(joint, -1)
    climbs = _log_density(x + newton, constants, means, precision) > here - _ROUNDING * (1 + here.abs())
    return torch.where(climbs.unsqueeze(-1) & (failed == 0).unsqueeze(-1), newton, fixed_point)
