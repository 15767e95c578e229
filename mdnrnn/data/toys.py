"""The static toy problems of mixture density networks, each with its exact conditional entropy.

The entropy h(y|x) = -E[log p(y|x)], in nats a point, is the floor that no model can pass on fresh data. Where the
data are scaled by the minimum and maximum that were drawn, h(y|x) moves by the log of the target's scale.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from mdnrnn.data.static import Points
from mdnrnn.errors import InputError

_REACH = 10.5  # the waves' argument runs from -10.5 to 10.5
_SPIRAL_NOISE = 0.2
_SPIRAL_BOX = (0.0, 5.0)
_JITTER = 0.1
_JITTER_STEPS = 1000  # points of one spiral
_JITTER_BOX = (-5.0, 5.0)
_TAIL = 8.0  # standard deviations of noise that a grid reaches beyond the curve


class Scale(NamedTuple):
    """The raw minima and maxima that scaled both columns, low and high (S, 2): a row for each set scaled on its own.

    Problems that are not scaled have 0 and 1.
    """

    low: np.ndarray
    high: np.ndarray


_UNSCALED = Scale(np.zeros((1, 2)), np.ones((1, 2)))
_Draw = Callable[[np.random.Generator, int, Scale | None], tuple[np.ndarray, Scale]]
_Floor = Callable[[Scale, int], float]


@dataclass(frozen=True)
class Toy:
    """A kind of problem: one input x, one or two targets y."""

    name: str
    title: str
    size: int
    """Points of the published data set."""
    source: str
    """Whose problem it is."""
    _draw: _Draw = field(repr=False)  # points (n, 1 + D), the input first, in a scale; None: in one of their own
    _floor: _Floor = field(repr=False)  # h(y|x) in a scale, on grids so many times as fine

    def problem(self, n: int | None = None, seed: int = 0) -> "Problem":
        """A data set of `n` points (as many as published), the same for the same seed."""
        points, scale = self._draw(_stream(seed, 0), _checked(self.size if n is None else n), None)
        return Problem(self, _points(points), scale)


@dataclass(frozen=True, eq=False)
class Problem:
    """A data set that was drawn: points to train on, and all there is to know of where they come from."""

    toy: Toy
    points: Points
    scale: Scale

    def fresh(self, n: int, seed: int = 0) -> Points:
        """`n` new points of the same distribution, in the scale of the points to train on; other ones at any seed."""
        return _points(self.toy._draw(_stream(seed, 1), _checked(n), self.scale)[0])

    def entropy(self) -> float:
        """h(y|x) of fresh points in nats, to better than 1e-3."""
        return self.toy._floor(self.scale, 1)


def _checked(n: int) -> int:
    if n < 1:
        raise InputError(f"{n} points were asked for; expected 1 or more")
    return n


def _stream(seed: int, stream: int) -> np.random.Generator:
    """Random numbers to train on (0) or fresh ones (1)."""
    if seed < 0:
        raise InputError(f"the seed is {seed}; expected 0 or more")
    return np.random.default_rng([seed, stream])


def _points(columns: np.ndarray) -> Points:
    x, y = torch.from_numpy(columns.astype(np.float32)).split([1, columns.shape[1] - 1], dim=1)
    return Points(x.contiguous(), y.contiguous())


def _scaled(raw: np.ndarray, scale: Scale, box: tuple[float, float]) -> np.ndarray:
    """Raw columns (..., 2) moved so that a scale's low and high come to lie on the sides of the box."""
    return (raw - scale.low) / (scale.high - scale.low) * (box[1] - box[0]) + box[0]


def _conditional_entropy(density: np.ndarray, width: float) -> float:
    """h(b|a) in nats of a joint density (I, J), not normalized, on equal cells of a and b; b's are `width` wide."""
    mass = density / density.sum()
    given = mass / mass.sum(axis=1, keepdims=True)
    return float(-(mass * np.log(np.maximum(given, 1e-300) / width)).sum())


def _centers(low: float, high: float, cells: int) -> np.ndarray:
    return low + (high - low) * (np.arange(cells) + 0.5) / cells


def _bell(grid: np.ndarray, mean: np.ndarray, sigma: float) -> np.ndarray:
    """Normal densities up to a factor: at each point of the grid (I,) around each mean (J,), shape (I, J)."""
    return np.exp(-0.5 * ((grid[:, None] - mean) / sigma) ** 2)


# the waves: 7 sin(0.75 t) + 0.5 t + N(0, 1), t ~ U(-10.5, 10.5)


def _wave(t: np.ndarray) -> np.ndarray:
    return 7 * np.sin(0.75 * t) + 0.5 * t


def _draw_forward(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    t = rng.uniform(-_REACH, _REACH, n)
    return np.stack([t, _wave(t) + rng.normal(size=n)], axis=1), _UNSCALED


def _draw_inverse(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    points, scale = _draw_forward(rng, n, scale)
    return points[:, ::-1], scale


def _draw_two(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    t = rng.uniform(-_REACH, _REACH, n)
    curve = np.stack([t, _wave(t), 6.5 * np.cos(0.8 * t) + 0.5 * t], axis=1)
    return curve + rng.normal(size=(n, 3)) * [0, 1, 1], _UNSCALED


def _inverse_floor(scale: Scale, refine: int) -> float:
    y = _centers(-_REACH, _REACH, 1000 * refine)
    curve = _wave(y)
    x = _centers(curve.min() - _TAIL, curve.max() + _TAIL, 500 * refine)
    return _conditional_entropy(_bell(x, curve, 1.0), y[1] - y[0])


def _noise_floor(dimensions: int) -> _Floor:
    """The entropy of standard normal noise."""
    return lambda scale, refine: 0.5 * dimensions * float(np.log(2 * np.pi * np.e))


# the spiral with normal noise: t ~ U(0, 4 pi), (t cos t, t sin t) + N(0, 0.2^2), one scale for both columns


def _spiral(t: np.ndarray) -> np.ndarray:
    return np.stack([t * np.cos(t), t * np.sin(t)], axis=-1)


def _draw_spiral(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    raw = _spiral(rng.uniform(0, 4 * np.pi, n)) + rng.normal(0, _SPIRAL_NOISE, (n, 2))
    if scale is None:
        scale = Scale(np.full((1, 2), raw.min()), np.full((1, 2), raw.max()))
    return _scaled(raw, scale, _SPIRAL_BOX), scale


def _spiral_floor(scale: Scale, refine: int) -> float:
    curve = _scaled(_spiral(_centers(0, 4 * np.pi, 2000 * refine)), scale, _SPIRAL_BOX)
    sigma = _SPIRAL_NOISE * (_SPIRAL_BOX[1] - _SPIRAL_BOX[0]) / (scale.high - scale.low)[0]
    low, high = curve.min(axis=0) - _TAIL * sigma, curve.max(axis=0) + _TAIL * sigma
    grids = [_centers(low[i], high[i], 400 * refine) for i in (0, 1)]
    a, b = (_bell(grids[i], curve[:, i], sigma[i]) for i in (0, 1))
    return _conditional_entropy(a @ b.T, grids[1][1] - grids[1][0])


# spirals with uniform noise: u = i / 1000, 5 (u cos 4 pi u, u sin 4 pi u) + U(-0.1, 0.1)^2, each column of each
# spiral scaled on its own. So a point has a mixture of boxes, one around each step of each spiral, and its floor
# depends on what was drawn: 0.200 to 0.236 over 40 draws of ten spirals, 0.171 had they one scale together.

_STEPS = 5 / (4 * np.pi) * _spiral(4 * np.pi * np.arange(_JITTER_STEPS) / _JITTER_STEPS)


def _draw_boxes(rng: np.random.Generator, n: int, scale: Scale | None) -> tuple[np.ndarray, Scale]:
    """Whole spirals, enough for n points, and n of their points; in a given scale, single points of its spirals."""
    if scale is None:
        spiral, step = np.divmod(np.arange(-(-n // _JITTER_STEPS) * _JITTER_STEPS), _JITTER_STEPS)
    else:
        spiral, step = rng.integers(len(scale.low), size=n), rng.integers(_JITTER_STEPS, size=n)
    raw = _STEPS[step] + rng.uniform(-_JITTER, _JITTER, (len(step), 2))
    if scale is None:
        whole = raw.reshape(-1, _JITTER_STEPS, 2)
        scale = Scale(whole.min(axis=1), whole.max(axis=1))
    points = _scaled(raw, Scale(scale.low[spiral], scale.high[spiral]), _JITTER_BOX)
    return rng.permutation(points)[:n], scale


def _boxes_floor(scale: Scale, refine: int) -> float:
    """The mean of h(b|a) over slices of a; within a slice the density of b is a staircase, its entropy exact."""
    each = Scale(scale.low[:, None], scale.high[:, None])
    low, high = (_scaled(_STEPS + side, each, _JITTER_BOX).reshape(-1, 2) for side in (-_JITTER, _JITTER))
    weight = 1 / (high - low)
    total = mass = 0.0
    for a in _centers(low[:, 0].min(), high[:, 0].max(), 6000 * refine):
        cut = np.flatnonzero((low[:, 0] < a) & (a < high[:, 0]))
        density = weight[cut, 0].sum()
        total += density * _staircase_entropy(low[cut, 1], high[cut, 1], weight[cut].prod(axis=1) / density)
        mass += density
    return float(total / mass)


def _staircase_entropy(low: np.ndarray, high: np.ndarray, height: np.ndarray) -> float:
    """The entropy in nats of a density that is a sum of boxes (n,), of total area 1."""
    edges = np.concatenate([low, high])
    order = np.argsort(edges)
    density = np.cumsum(np.concatenate([height, -height])[order])[:-1]
    gap = density < 1e-9  # between boxes
    return float(-(density * np.log(np.where(gap, 1, density)) * np.diff(edges[order])).sum())


_KERAS = "Keras example on non-function mappings"
TOYS = {
    toy.name: toy
    for toy in (
        Toy("sine", "Inverse sine", 2500, "Ha; Edward, InferPy, keras-mdn-layer", _draw_inverse, _inverse_floor),
        Toy("forward-sine", "Forward sine", 1000, "Ha", _draw_forward, _noise_floor(1)),
        Toy("arcsine", "Arcsine", 2500, "Martin's lecture; its size untold, Ha's", _draw_inverse, _inverse_floor),
        Toy("spiral", "Noisy spiral", 10_000, _KERAS, _draw_spiral, _spiral_floor),
        Toy("spiral-jitter", "Jittered spirals", 10_000, f"{_KERAS}, other text", _draw_boxes, _boxes_floor),
        Toy("spiral-2d", "Spiral in space", 5000, "keras-mdn-layer", _draw_two, _noise_floor(2)),
    )
}
