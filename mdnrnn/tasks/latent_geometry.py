"""Geometry of latent vectors: interpolation along arcs and in grids, and projection to a plane.

Shapes: Z latent size, M drawings, F numbers per vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mdnrnn.errors import InputError

_MIN_SINE = 1e-6
"""The interpolation is linear if the sine of the angle between the two vectors is below this value."""


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """Interpolate spherically between vectors: (sin((1 - t) w) a + sin(t w) b) / sin(w), with the angle w between them.

    If a and b have the same length, the result describes an arc at constant speed in t. The interpolation is linear if
    sin(w) < 1e-6 (equal or opposite directions) or if a vector is 0.

    Sources: Shoemake (1985); Ha and Eck (arXiv:1704.03477).

    Args:
        a: start, shape (..., Z).
        b: end, shape (..., Z).
        t: fraction of the way from a to b, shape (...).
    """
    a, b, t = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(t, np.float64)[..., None]
    length_a, length_b = (np.linalg.norm(vector, axis=-1, keepdims=True) for vector in (a, b))
    difference, total = a * length_b - b * length_a, a * length_b + b * length_a
    # Kahan's formula is accurate for small angles, unlike the arc cosine.
    angle = 2 * np.arctan2(*(np.linalg.norm(vector, axis=-1, keepdims=True) for vector in (difference, total)))
    is_linear = np.sin(angle) < _MIN_SINE
    sine = np.where(is_linear, 1.0, np.sin(angle))
    return (
        np.where(is_linear, 1 - t, np.sin((1 - t) * angle) / sine) * a
        + np.where(is_linear, t, np.sin(t * angle) / sine) * b
    )


def lerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Interpolate linearly between vectors a and b (..., F) at the fractions t (...)."""
    return (1 - t[..., None]) * a + t[..., None] * b


def interpolate_grid(
    ends: np.ndarray, rows: int, columns: int, interpolate: Callable[..., np.ndarray] = slerp
) -> np.ndarray:
    """Interpolate a row between two vectors (2, F), or a grid between four corners (4, F).

    The corners are in the order top left, top right, bottom left, bottom right. The left and right columns are
    interpolated first, then the rows between them.

    Returns:
        Vectors (rows * columns, F), row by row.
    """
    down, across = np.linspace(0, 1, rows), np.linspace(0, 1, columns)
    left, right = interpolate(ends[0], ends[-2], down), interpolate(ends[1], ends[-1], down)
    return interpolate(left[:, None], right[:, None], across).reshape(rows * columns, -1)


def serpentine_order(rows: int, columns: int) -> list[int]:
    """Return the indices of the cells of a grid in an order in which successive cells are adjacent.

    The order is row by row, and every second row is reversed.
    """
    cells = np.arange(rows * columns).reshape(rows, columns)
    cells[1::2] = cells[1::2, ::-1]
    return cells.ravel().tolist()


class Projection(NamedTuple):
    """Projection of latent vectors onto a plane.

    `latents`: latent vectors, shape (M, Z). `positions`: positions in the plane, shape (M, 2).
    `explained_variance_ratio`: fraction of the variance along each axis, shape (2,).
    """

    latents: np.ndarray
    positions: np.ndarray
    explained_variance_ratio: np.ndarray


def project_to_plane(latents: np.ndarray) -> Projection:
    """Project latent vectors (M, Z) onto their first two principal components.

    The sign of each axis is chosen so that the point farthest from the mean along this axis has a positive coordinate.
    The positions therefore do not change if the latent space is rotated.

    Raises:
        InputError: the shape is not (M, Z) with M >= 2 and Z >= 1.
    """
    latents = np.asarray(latents)
    if latents.ndim != 2 or len(latents) < 2 or not latents.shape[1]:
        raise InputError(f"latents: received shape {latents.shape}, expected (M, Z) with 2 or more drawings")
    centered = latents.astype(np.float64) - latents.mean(0, dtype=np.float64)
    centered = np.pad(centered, ((0, 0), (0, max(2 - latents.shape[1], 0))))  # if Z = 1, add an axis of zeros
    left, scales, _ = np.linalg.svd(centered, full_matrices=False)
    positions, variances = left[:, :2] * scales[:2], np.square(scales)
    distances = np.abs(positions)
    farthest = positions[(distances >= distances.max(0) * (1 - 1e-6)).argmax(0), [0, 1]]
    return Projection(latents, positions * np.where(farthest < 0, -1, 1), variances[:2] / (variances.sum() or 1.0))
