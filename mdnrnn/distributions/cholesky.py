"""Covariance matrices parameterized by modified Cholesky factors.

The matrices are positive definite for all parameter values. The likelihood is computed without solving a linear system.
A component has scales s and slopes c. The slopes are a strictly lower triangular matrix of regression coefficients.
Each dimension is a linear regression on the preceding dimensions:

    x_i = mean_i + sum_{j<i} c_ij (x_j - mean_j) + s_i e_i,    e_i standard normal and independent.

The covariance is L L^T with L = (I - c)^-1 diag(s), and log |L| is the sum of the log scales (Pourahmadi, "Joint
mean-covariance models", Biometrika 1999). The products s_i e_i are called innovations. An innovation is the deviation
of a dimension from its conditional mean, given the preceding dimensions. If all slopes are 0, the covariance is
diagonal.
"""

import torch
from torch import Tensor


def innovations(distance: Tensor, slopes: Tensor) -> Tensor:
    """Return the deviation of each dimension from its conditional mean, given the preceding dimensions.

    These deviations are called innovations, shape (..., K, D); see the module docstring.

    Args:
        distance: x - mean, shape (..., K, D).
        slopes: regression coefficients, strictly lower triangular, shape (..., K, D, D).
    """
    return distance - (slopes * distance.unsqueeze(-2)).sum(-1)


def invert_innovations(innovation: Tensor, slopes: Tensor) -> Tensor:
    """Return x - mean, shape (..., D), from innovations, shape (..., D), and slopes, shape (..., D, D).

    This is the inverse of `innovations`, for one component.
    """
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
        slopes: regression coefficients, shape (..., D, D); None for a diagonal covariance.
        normal: standard normal noise, shape (..., D).
        bin_width: bin width of each dimension, shape (D,) or (..., D). The sample is rounded to a multiple of the bin
            width; dimensions with bin width 0 are not rounded. None: no dimension is rounded.
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
    """Round `point` to the nearest multiple of `bin_width`. Elements with bin width 0 are returned unchanged.

    If `all_positive`, the caller guarantees that every bin width is positive, and the check for 0 is skipped.
    """
    rounded = (point / bin_width).round_().mul_(bin_width)
    return rounded if all_positive else torch.where(bin_width > 0, rounded, point)


def invert_innovations_on_grid(
    mean: Tensor, innovation: Tensor, slopes: Tensor, bin_width: Tensor, all_positive: bool = False
) -> Tensor:
    """Return points, shape (..., D), computed from innovations and rounded to multiples of the bin widths.

    The innovation of a dimension is its deviation from the conditional mean given the earlier dimensions. The
    dimensions are computed one after the other. The value of a dimension is the conditional mean plus the innovation,
    rounded. The conditional mean is computed from the rounded values of the earlier dimensions.

    Args:
        mean: shape (..., D).
        innovation: shape (..., D).
        slopes: regression coefficients, zero on and above the diagonal, shape (..., D, D).
        bin_width: shape (D,) or (..., D).
        all_positive: whether the caller guarantees that all bin widths are positive.
    """
    points: list[Tensor] = []
    distances: list[Tensor] = []
    for i in range(mean.shape[-1]):
        expected = mean[..., i]
        if distances:
            expected = expected + (slopes[..., i, :i] * torch.stack(distances, -1)).sum(-1)
        points.append(round_to_grid(expected + innovation[..., i], bin_width[..., i], all_positive))
        distances.append(points[i] - mean[..., i])
    return torch.stack(points, -1)


def scale_tril(log_scales: Tensor, slopes: Tensor) -> Tensor:
    """Return the Cholesky factor of the covariance, shape (..., D, D), from log scales (..., D) and slopes (..., D, D).

    The module docstring defines scales and slopes.
    """
    return torch.linalg.solve_triangular(
        _unit_lower(slopes), torch.diag_embed(log_scales.exp()), upper=False, unitriangular=True
    )


def from_scale_tril(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return log scales (..., D) and slopes (..., D, D) from a Cholesky factor (..., D, D) with positive diagonal.

    This is the inverse of `scale_tril`. The module docstring defines scales and slopes.
    """
    scales = factor.diagonal(dim1=-2, dim2=-1)
    unit = factor / scales.unsqueeze(-2)
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse = torch.linalg.solve_triangular(unit, eye.expand_as(unit), upper=False, unitriangular=True)
    return scales.log(), (eye - inverse).tril(-1)


def select_dimensions(factor: Tensor, dims: list[int]) -> Tensor:
    """Return the Cholesky factor of the covariance of the dimensions `dims`, in the given order.

    `factor` is the Cholesky factor of the covariance of all dimensions, shape (..., D, D). The result is computed by a
    QR decomposition of the rows `dims` of `factor`. Forming the covariance would square the condition number.
    """
    upper = torch.linalg.qr(factor[..., dims, :].mT).R
    return (upper * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-1)).mT


def precision_matrix(log_scales: Tensor, slopes: Tensor | None) -> Tensor:
    """Return inverse covariances, shape (..., D, D).

    Args:
        log_scales: shape (..., D).
        slopes: regression coefficients, shape (..., D, D); None for diagonal covariances.
    """
    inverse_scales = torch.exp(-log_scales)
    if slopes is None:
        return torch.diag_embed(inverse_scales.square())
    whitening = inverse_scales.unsqueeze(-1) * _unit_lower(slopes)
    return whitening.mT @ whitening


def _unit_lower(slopes: Tensor) -> Tensor:
    """Return I - slopes, shape (..., D, D)."""
    return torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device) - slopes
