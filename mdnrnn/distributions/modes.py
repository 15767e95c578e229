"""The highest point of a Gaussian mixture, by an ascent from the mean of every component.

Each step is Newton's where the log density curves down and the step climbs, else that of the fixed point
x = (sum_k r_k P_k)^-1 sum_k r_k P_k mean_k, which always climbs (Carreira-Perpinan, "Mode-finding for mixtures of
Gaussian distributions", IEEE TPAMI 22, 2000). In more than one dimension two long components can cross in a peak that
no mean's ascent ends at: there one more ascent starts from the highest point where two of them meet.
"""

import torch
from torch import Tensor

_MOST_STEPS = 100


def highest_point(log_weights: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """The mode (..., D), in float64: log_weights (..., K), means (..., K, D), inverse covariances (..., K, D, D)."""
    *batch, k, d = means.shape
    means, precision = means.double().reshape(-1, k, d), precision.double().reshape(-1, k, d, d)
    constants = log_weights.double().reshape(-1, k) + 0.5 * torch.linalg.slogdet(precision).logabsdet
    scales = precision.diagonal(dim1=-2, dim2=-1).amax(-2).rsqrt()
    starts = means if d == 1 or k == 1 else torch.cat([means, _crossing(constants, means, precision)], 1)
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
    return _highest(x.view(-1, ascents, d), constants, means, precision).view(*batch, d)


def _crossing(constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """The highest, (N, 1, D), of the points (P_i + P_j)^-1 (P_i mean_i + P_j mean_j): where i and j meet."""
    heads = precision @ means.unsqueeze(-1)
    best = [
        _highest(
            torch.linalg.solve(precision + precision[:, i, None], heads + heads[:, i, None]).squeeze(-1),
            constants, means, precision,
        )
        for i in range(means.shape[1])
    ]  # fmt: skip
    return _highest(torch.cat(best, 1), constants, means, precision)


def _highest(x: Tensor, constants: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Of points (N, S, D) that of the highest density, (N, 1, D)."""
    heights = torch.stack([_log_density(part, constants, means, precision) for part in x.unbind(1)], 1)
    return x.gather(1, heights.argmax(-1)[:, None, None].expand(-1, 1, x.shape[-1]))


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
    climbs = _log_density(x + newton, constants, means, precision) > torch.logsumexp(joint, -1)
    return torch.where(climbs.unsqueeze(-1), newton, fixed_point)
