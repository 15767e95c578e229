"""Covariances by their modified Cholesky factors: positive by construction, nothing to solve for a likelihood.

A component with scales s and slopes c (strictly lower triangular) is the chain of regressions

    x_i = mean_i + sum_{j<i} c_ij (x_j - mean_j) + s_i e_i,    e_i standard normal and independent,

so the covariance is L L^T with L = (I - c)^-1 diag(s), and log |L| is the sum of the log scales (Pourahmadi, "Joint
mean-covariance models", Biometrika 1999). Slopes of zero are a diagonal covariance.
"""

import torch
from torch import Tensor


def innovations(distance: Tensor, slopes: Tensor) -> Tensor:
    """s e of points at a `distance` (..., K, D) from the means, slopes (..., K, D, D): what the chain leaves."""
    return distance - (slopes * distance.unsqueeze(-2)).sum(-1)


def accumulate(innovation: Tensor, slopes: Tensor) -> Tensor:
    """The distance from the means whose innovations (..., D) these are, slopes (..., D, D)."""
    unit = torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device) - slopes
    return torch.linalg.solve_triangular(unit, innovation.unsqueeze(-1), upper=False, unitriangular=True).squeeze(-1)


def transform_noise(
    mean: Tensor,
    log_scale: Tensor,
    slopes: Tensor | None,
    normal: Tensor,
    bin_width: Tensor | None,
    whole: bool = False,
) -> Tensor:
    """What normal noise (..., D) makes of a component, mean and log scale (..., D), slopes (..., D, D) or None; with
    `bin_width`, widths (D,) or (..., D), on that grid. `whole` as in `on_grid`."""
    if slopes is None:
        free = torch.addcmul(mean, log_scale.exp(), normal)
        return free if bin_width is None else on_grid(free, bin_width, whole)
    innovation = log_scale.exp() * normal
    if bin_width is None:
        return mean + accumulate(innovation, slopes)
    return accumulate_on_grid(mean, innovation, slopes, bin_width, whole)


def on_grid(point: Tensor, bin_width: Tensor, whole: bool = False) -> Tensor:
    """The point of a grid of widths `bin_width` nearest to `point`; where the width is 0, the point itself.

    `whole`: no width is 0, which saves looking.
    """
    rounded = (point / bin_width).round_().mul_(bin_width)
    return rounded if whole else torch.where(bin_width > 0, rounded, point)


def accumulate_on_grid(
    mean: Tensor, innovation: Tensor, slopes: Tensor, bin_width: Tensor, whole: bool = False
) -> Tensor:
    """Points (..., D) of the grid of widths `bin_width`, (D,) or (..., D): each dimension is rounded before the next goes on
    from it."""
    point = mean.clone()
    for i in range(mean.shape[-1]):  # slopes (..., D, D) are 0 from the diagonal on
        expected = mean[..., i] + (slopes[..., i, :] * (point - mean)).sum(-1)
        point[..., i] = on_grid(expected + innovation[..., i], bin_width[..., i], whole)
    return point


def scale_tril(log_scales: Tensor, slopes: Tensor) -> Tensor:
    """The Cholesky factor L (..., D, D), from log scales (..., D)."""
    unit = torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device) - slopes
    return torch.linalg.solve_triangular(unit, torch.diag_embed(log_scales.exp()), upper=False, unitriangular=True)


def from_scale_tril(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Log scales (..., D) and slopes (..., D, D) of a Cholesky factor (..., D, D) with a positive diagonal."""
    scales = factor.diagonal(dim1=-2, dim2=-1)
    unit = factor / scales.unsqueeze(-2)
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse = torch.linalg.solve_triangular(unit, eye.expand_as(unit), upper=False, unitriangular=True)
    return scales.log(), (eye - inverse).tril(-1)


def reordered(factor: Tensor, order: list[int]) -> Tensor:
    """The Cholesky factor of the covariance of the features in another order, or of some of them.

    By an orthogonal decomposition of the rows, so the covariance is never formed and its error never squared.
    """
    upper = torch.linalg.qr(factor[..., order, :].mT).R
    return (upper * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-1)).mT


def precision(log_scales: Tensor, slopes: Tensor | None) -> Tensor:
    """Inverse covariances (..., D, D)."""
    inverse = torch.exp(-log_scales)
    if slopes is None:
        return torch.diag_embed(inverse.square())
    unit = torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device) - slopes
    whiten = inverse.unsqueeze(-1) * unit
    return whiten.mT @ whiten
