"""Static toy problems for mixture density networks, each with its conditional entropy.

The entropy h(y|x) = -E[log p(y|x)], in nats per point, is the lower bound of the expected negative log-likelihood on
new data. Scaling y by a factor s adds log |s| to h(y|x). The entropy of problems with min-max scaling therefore depends
on the minimum and maximum of the sampled points.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from mdnrnn.data.static import Points
from mdnrnn.errors import InputError

_WAVE_RANGE = 10.5
"""Bound of the argument t of the waves: t is uniform on (-10.5, 10.5)."""
_SPIRAL_NOISE = 0.2
_SPIRAL_BOX = (0.0, 5.0)
_JITTER = 0.1
_JITTER_STEPS = 1000
"""Number of points per jittered spiral."""
_JITTER_BOX = (-5.0, 5.0)
_TAIL = 8.0
"""Margin of the integration grids around the curve, in standard deviations of the noise."""


class Scale(NamedTuple):
    """Minimum and maximum of the columns x and y before min-max scaling.

    A data set has S parts that are scaled separately. Problems without scaling have S = 1, minimum 0 and maximum 1.
    """

    low: np.ndarray
    """(S, 2), minimum of each column."""
    high: np.ndarray
    """(S, 2), maximum of each column."""


_UNSCALED = Scale(np.zeros((1, 2)), np.ones((1, 2)))
_Sample = Callable[[np.random.Generator, int, Scale | None], tuple[np.ndarray, Scale]]
_Entropy = Callable[[Scale, int], float]


@dataclass(frozen=True)
class ToyProblem:
    """Joint distribution of one input x and one or two targets y."""

    name: str
    title: str
    size: int
    """Number of points in the published data set."""
    source: str
    """Authors or libraries that published the problem."""
    _sample: _Sample = field(repr=False)
    """Function (rng, n, scale) -> (points, scale). Points have shape (n, 1 + D), with the input in column 0. If `scale`
    is None, the scale is computed from the sampled points."""
    _entropy: _Entropy = field(repr=False)
    """Function (scale, refine) -> h(y|x) in nats, for points with this scale. `refine` multiplies the number of grid
    points per axis in numerical integrals."""

    def make_dataset(self, n: int | None = None, seed: int = 0) -> "ToyDataset":
        """Sample a data set of `n` points (default: `size`)."""
        points, scale = self._sample(_make_rng(seed, 0), _check_size(self.size if n is None else n), None)
        return ToyDataset(self, _to_points(points), scale)


@dataclass(frozen=True, eq=False)
class ToyDataset:
    """Training points of a toy problem. New points and the entropy are returned in the scale of the training points."""

    toy: ToyProblem
    points: Points
    """Points for training."""
    scale: Scale

    def sample(self, n: int, seed: int = 0) -> Points:
        """Sample `n` new points in the scale of the training points.

        The new points are independent of the training points, even with the same seed.
        """
        return _to_points(self.toy._sample(_make_rng(seed, 1), _check_size(n), self.scale)[0])

    def entropy(self) -> float:
        """Return h(y|x) in nats per point, in the scale of the training points. The numerical error is below 1e-3."""
        return self.toy._entropy(self.scale, 1)


def _check_size(n: int) -> int:
    if n < 1:
        raise InputError(f"n: received {n} points, expected 1 or more")
    return n


def _make_rng(seed: int, stream: int) -> np.random.Generator:
    """Return the random generator for training points (stream 0) or for new points (stream 1)."""
    if seed < 0:
        raise InputError(f"seed: received {seed}, expected 0 or more")
    return np.random.default_rng([seed, stream])


def _to_points(columns: np.ndarray) -> Points:
    x, y = torch.from_numpy(columns.astype(np.float32)).split([1, columns.shape[1] - 1], dim=1)
    return Points(x.contiguous(), y.contiguous())


def _rescale(raw: np.ndarray, scale: Scale, box: tuple[float, float]) -> np.ndarray:
    """Map raw columns (..., 2) linearly from the interval [scale.low, scale.high] to the interval `box`."""
    return (raw - scale.low) / (scale.high - scale.low) * (box[1] - box[0]) + box[0]


def _conditional_entropy(density: np.ndarray, width: float) -> float:
    """Return the conditional entropy h(b|a) in nats.

    Args:
        density: (I, J), unnormalized joint density on a regular grid with I values of a and J values of b.
        width: grid spacing of b.
    """
    mass = density / density.sum()
    conditional = mass / mass.sum(axis=1, keepdims=True)
    return float(-(mass * np.log(np.maximum(conditional, 1e-300) / width)).sum())


def _grid_centers(low: float, high: float, count: int) -> np.ndarray:
    return low + (high - low) * (np.arange(count) + 0.5) / count


def _normal_kernel(grid: np.ndarray, mean: np.ndarray, sigma: float) -> np.ndarray:
    """Return unnormalized normal densities (I, J) at each grid point (I,) for each mean (J,)."""
    return np.exp(-0.5 * ((grid[:, None] - mean) / sigma) ** 2)


# Waves: 7 sin(0.75 t) + 0.5 t + N(0, 1), t ~ U(-10.5, 10.5).


def _wave(t: np.ndarray) -> np.ndarray:
    return 7 * np.sin(0.75 * t) + 0.5 * t


def _sample_forward(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    t = rng.uniform(-_WAVE_RANGE, _WAVE_RANGE, n)
    return np.stack([t, _wave(t) + rng.normal(size=n)], axis=1), _UNSCALED


def _sample_inverse(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    points, scale = _sample_forward(rng, n, scale)
    return points[:, ::-1], scale


def _sample_two_waves(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    t = rng.uniform(-_WAVE_RANGE, _WAVE_RANGE, n)
    curve = np.stack([t, _wave(t), 6.5 * np.cos(0.8 * t) + 0.5 * t], axis=1)
    return curve + rng.normal(size=(n, 3)) * [0, 1, 1], _UNSCALED


def _inverse_entropy(scale: Scale, refine: int) -> float:
    y = _grid_centers(-_WAVE_RANGE, _WAVE_RANGE, 1000 * refine)
    curve = _wave(y)
    x = _grid_centers(curve.min() - _TAIL, curve.max() + _TAIL, 500 * refine)
    return _conditional_entropy(_normal_kernel(x, curve, 1.0), y[1] - y[0])


def _noise_entropy(dimensions: int) -> _Entropy:
    """Return a function that computes the entropy of standard normal noise in `dimensions` dimensions."""
    return lambda scale, refine: 0.5 * dimensions * float(np.log(2 * np.pi * np.e))


# Spiral with normal noise: (t cos t, t sin t) + N(0, 0.2^2), t ~ U(0, 4 pi). Both columns have the same scale.


def _spiral(t: np.ndarray) -> np.ndarray:
    return np.stack([t * np.cos(t), t * np.sin(t)], axis=-1)


def _sample_spiral(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    raw = _spiral(rng.uniform(0, 4 * np.pi, n)) + rng.normal(0, _SPIRAL_NOISE, (n, 2))
    if scale is None:
        scale = Scale(np.full((1, 2), raw.min()), np.full((1, 2), raw.max()))
    return _rescale(raw, scale, _SPIRAL_BOX), scale


def _spiral_entropy(scale: Scale, refine: int) -> float:
    curve = _rescale(_spiral(_grid_centers(0, 4 * np.pi, 2000 * refine)), scale, _SPIRAL_BOX)
    sigma = _SPIRAL_NOISE * (_SPIRAL_BOX[1] - _SPIRAL_BOX[0]) / (scale.high - scale.low)[0]
    low, high = curve.min(axis=0) - _TAIL * sigma, curve.max(axis=0) + _TAIL * sigma
    grids = [_grid_centers(low[i], high[i], 400 * refine) for i in (0, 1)]
    a, b = (_normal_kernel(grids[i], curve[:, i], sigma[i]) for i in (0, 1))
    return _conditional_entropy(a @ b.T, grids[1][1] - grids[1][0])


# Spirals with uniform noise: 5 (u cos 4 pi u, u sin 4 pi u) + U(-0.1, 0.1)^2, u = i / 1000, i = 0, ..., 999. The
# density is a mixture of uniform densities on boxes, one box per step i of each spiral. Each column of each spiral is
# scaled separately, so the entropy depends on the sampled scales. For 40 data sets of ten spirals each, the entropy is
# 0.200 to 0.236 nats. With one common scale it would be 0.171 nats.

_STEPS = 5 / (4 * np.pi) * _spiral(4 * np.pi * np.arange(_JITTER_STEPS) / _JITTER_STEPS)


def _sample_jittered(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    """Sample n points of jittered spirals.

    Without `scale`, complete spirals are sampled, and n of their points are returned. With `scale`, the points are
    sampled independently from the S spirals of `scale`.
    """
    if scale is None:
        spiral, step = np.divmod(np.arange(-(-n // _JITTER_STEPS) * _JITTER_STEPS), _JITTER_STEPS)
    else:
        spiral, step = rng.integers(len(scale.low), size=n), rng.integers(_JITTER_STEPS, size=n)
    raw = _STEPS[step] + rng.uniform(-_JITTER, _JITTER, (len(step), 2))
    if scale is None:
        spirals = raw.reshape(-1, _JITTER_STEPS, 2)
        scale = Scale(spirals.min(axis=1), spirals.max(axis=1))
    points = _rescale(raw, Scale(scale.low[spiral], scale.high[spiral]), _JITTER_BOX)
    return rng.permutation(points)[:n], scale


def _jittered_entropy(scale: Scale, refine: int) -> float:
    """Return the conditional entropy h(b|a) of the second column b given the first column a.

    For each value of a on a grid, the density of b is a step function, whose entropy is computed exactly. The result is
    the mean of these entropies, weighted by the density of a.
    """
    scales = Scale(scale.low[:, None], scale.high[:, None])
    low, high = (_rescale(_STEPS + side, scales, _JITTER_BOX).reshape(-1, 2) for side in (-_JITTER, _JITTER))
    weight = 1 / (high - low)
    total = mass = 0.0
    for a in _grid_centers(low[:, 0].min(), high[:, 0].max(), 6000 * refine):
        boxes = np.flatnonzero((low[:, 0] < a) & (a < high[:, 0]))
        density = weight[boxes, 0].sum()
        total += density * _step_function_entropy(low[boxes, 1], high[boxes, 1], weight[boxes].prod(axis=1) / density)
        mass += density
    return float(total / mass)


def _step_function_entropy(low: np.ndarray, high: np.ndarray, height: np.ndarray) -> float:
    """Return the entropy in nats of a density that is a sum of n boxes of total area 1.

    Args:
        low: (n,), lower bound of each box.
        high: (n,), upper bound of each box.
        height: (n,), density of each box.
    """
    edges = np.concatenate([low, high])
    order = np.argsort(edges)
    density = np.cumsum(np.concatenate([height, -height])[order])[:-1]
    is_gap = density < 1e-9  # between boxes the density is 0
    return float(-(density * np.log(np.where(is_gap, 1, density)) * np.diff(edges[order])).sum())


_KERAS = "Keras example on non-function mappings"
TOYS: dict[str, ToyProblem] = {
    toy.name: toy
    for toy in (
        ToyProblem(
            "sine", "Inverse sine", 2500, "Ha; Edward, InferPy, keras-mdn-layer", _sample_inverse, _inverse_entropy
        ),
        ToyProblem("forward-sine", "Forward sine", 1000, "Ha", _sample_forward, _noise_entropy(1)),
        ToyProblem(
            "arcsine", "Arcsine", 2500, "Martin's lecture (size of Ha's data)", _sample_inverse, _inverse_entropy
        ),
        ToyProblem("spiral", "Noisy spiral", 10_000, _KERAS, _sample_spiral, _spiral_entropy),
        ToyProblem(
            "spiral-jitter", "Jittered spirals", 10_000, f"{_KERAS}, other text", _sample_jittered, _jittered_entropy
        ),
        ToyProblem("spiral-2d", "Spiral in space", 5000, "keras-mdn-layer", _sample_two_waves, _noise_entropy(2)),
    )
}
"""Toy problems by name."""
