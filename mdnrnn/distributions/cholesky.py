"""Covariance matrices parameterized by modified Cholesky factors.

The matrices are positive definite for all parameter values. The likelihood is computed without solving a linear system.
In a component with scales s and slopes c (strictly lower triangular), each dimension is a regression on the preceding
dimensions:

    x_i = mean_i + sum_{j<i} c_ij (x_j - mean_j) + s_i e_i,    e_i standard normal and independent.

The covariance is L L^T with L = (I - c)^-1 diag(s), and log |L| is the sum of the log scales (Pourahmadi, "Joint
mean-covariance models", Biometrika 1999). The products s_i e_i are the innovations. If all slopes are 0, the covariance
is diagonal.
"""

import torch
from torch import Tensor


def innovations(distance: Tensor, slopes: Tensor) -> Tensor:
    """Return the innovations, the products s_i e_i of scale and standard normal noise, shape (..., K, D).

    Args:
        distance: x - mean, shape (..., K, D).
        slopes: shape (..., K, D, D), strictly lower triangular.
    """
    return distance - (slopes * distance.unsqueeze(-2)).sum(-1)


def invert_innovations(innovation: Tensor, slopes: Tensor) -> Tensor:
    """Return x - mean, shape (..., D), from innovations, shape (..., D), and slopes, shape (..., D, D)."""
    return torch.linalg.solve_triangular(
        _unit_lower(slopes), innovation.unsqueeze(-1), upper=False, unitriangular=True
    ).squeeze(-1)


def transform_noise(
    mean: Tensor,
    log_scale: Tensor,
    slopes: Tensor | None,
    normal: Tensor,
    bin_width: Tensor | None,
    all_positive: bool = False,
) -> Tensor:
    """Transform standard normal noise into a sample of one component.

    Args:
        mean: shape (..., D).
        log_scale: shape (..., D).
        slopes: shape (..., D, D); None for a diagonal covariance.
        normal: standard normal noise, shape (..., D).
        bin_width: spacing of the grid that the sample is rounded to, shape (D,) or (..., D), 0 for a dimension without
            a grid; None for a continuous sample.
        all_positive: whether the caller guarantees that all bin widths are positive.

    Returns:
        Samples, shape (..., D).
    """
    if slopes is None:
        sample = torch.addcmul(mean, log_scale.exp(), normal)
        return sample if bin_width is None else round_to_grid(sample, bin_width, all_positive)
    innovation = log_scale.exp() * normal
    if bin_width is None:
        return mean + invert_innovations(innovation, slopes)
    return invert_innovations_on_grid(mean, innovation, slopes, bin_width, all_positive)


def round_to_grid(point: Tensor, bin_width: Tensor, all_positive: bool = False) -> Tensor:
    """Return the nearest multiple of `bin_width`; where the bin width is 0, return `point` unchanged.

    If `all_positive`, the check for zeros is skipped: the caller guarantees that every bin width is positive.
    """
    rounded = (point / bin_width).round_().mul_(bin_width)
    return rounded if all_positive else torch.where(bin_width > 0, rounded, point)


def invert_innovations_on_grid(
    mean: Tensor, innovation: Tensor, slopes: Tensor, bin_width: Tensor, all_positive: bool = False
) -> Tensor:
    """Return points, shape (..., D), rounded to multiples of the bin widths, for given innovations.

    The innovation of a dimension is its deviation from the conditional mean given the earlier dimensions. The
    dimensions are computed in order: each is the conditional mean plus the innovation, rounded. The conditional mean is
    computed from the rounded values of the earlier dimensions.

    Args:
        mean: shape (..., D).
        innovation: shape (..., D).
        slopes: shape (..., D, D), zero on and above the diagonal.
        bin_width: shape (D,) or (..., D).
        all_positive: whether the caller guarantees that all bin widths are positive.
    """
    point = mean.clone()
    for i in range(mean.shape[-1]):  # slopes[..., i, j] is 0 for dimensions j >= i, which are not computed yet
        expected = mean[..., i] + (slopes[..., i, :] * (point - mean)).sum(-1)
        point[..., i] = round_to_grid(expected + innovation[..., i], bin_width[..., i], all_positive)
    return point


def scale_tril(log_scales: Tensor, slopes: Tensor) -> Tensor:
    """Return the Cholesky factor L, shape (..., D, D), given log scales (..., D) and slopes (..., D, D)."""
    return torch.linalg.solve_triangular(
        _unit_lower(slopes), torch.diag_embed(log_scales.exp()), upper=False, unitriangular=True
    )


def from_scale_tril(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return log scales (..., D) and slopes (..., D, D), given a Cholesky factor (..., D, D) with positive diagonal."""
    scales = factor.diagonal(dim1=-2, dim2=-1)
    unit = factor / scales.unsqueeze(-2)
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse = torch.linalg.solve_triangular(unit, eye.expand_as(unit), upper=False, unitriangular=True)
    return scales.log(), (eye - inverse).tril(-1)


def select_dimensions(factor: Tensor, dims: list[int]) -> Tensor:
    """Return the Cholesky factor of the covariance of the dimensions `dims`, in that order.

    `factor` is the Cholesky factor of the covariance of all dimensions, shape (..., D, D). The result is computed by a
    QR decomposition of its selected rows, because forming the covariance would square the condition number.
    """
    upper = torch.linalg.qr(factor[..., dims, :].mT).R
    return (upper * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-1)).mT


def precision_matrix(log_scales: Tensor, slopes: Tensor | None) -> Tensor:
    """Return inverse covariances, shape (..., D, D).

    Args:
        log_scales: shape (..., D).
        slopes: shape (..., D, D); None for diagonal covariances.
    """
    inverse_scales = torch.exp(-log_scales)
    if slopes is None:
        return torch.diag_embed(inverse_scales.square())
    whitening = inverse_scales.unsqueeze(-1) * _unit_lower(slopes)
    return whitening.mT @ whitening


def _unit_lower(slopes: Tensor) -> Tensor:
    """Return I - slopes, shape (..., D, D)."""
    return torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device) - slopes
