"""Figure of the density of a Gaussian mixture in one or two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.render.figures.densities import BLUE, ORANGE
from mdnrnn.render.figures.panels import label_axes, make_panels
from mdnrnn.render.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mdnrnn.distributions import GaussianMixture

_MIN_WEIGHT, _MAX_COMPONENTS = 1e-3, 20
"""Components that determine the range of the axes: at most 20, with at least this weight."""
_REACH = 4.0
"""Distance of the axis limits from the means, in standard deviations."""


def can_draw(mixture: GaussianMixture) -> bool:
    """Return whether a mixture has no batch shape, one or two dimensions, and finite means and positive scales."""
    if mixture.batch_shape or mixture.event_shape[0] > 2:
        return False
    return bool(mixture.means.isfinite().all() and mixture.log_scales.isfinite().all())


def mixture_figure(mixture: GaussianMixture) -> Figure:
    """Return a figure of the density of a mixture.

    In one dimension, a line shows the density of the mixture, and thin lines the components, multiplied by their
    weights. In two dimensions, shades on a square-root scale show the density, dots the means of the components, and
    ellipses the points at two standard deviations from a mean. Components with larger weights have stronger colors.

    Args:
        mixture: a mixture for which `can_draw` returns True.
    """
    weights = mixture.log_weights.detach().double().exp().cpu().numpy()
    means = mixture.means.detach().double().cpu().numpy()
    factors = mixture.scale_tril.detach().double().cpu().numpy()
    largest = np.argsort(-weights)[:_MAX_COMPONENTS]
    shown = largest[weights[largest] >= min(_MIN_WEIGHT, weights.max())]
    is_plane = means.shape[1] == 2
    figure, (axes,) = make_panels(1, 1, 4.6 if is_plane else 2.8, f"mixture of {len(weights)} Gaussians")
    if is_plane:
        _draw_plane(axes, mixture, means[shown], factors[shown], weights[shown])
    else:
        _draw_line(axes, mixture, means[shown, 0], factors[shown, 0, 0], weights[shown])
    return figure


def _draw_line(
    axes: Axes, mixture: GaussianMixture, means: np.ndarray, scales: np.ndarray, weights: np.ndarray
) -> None:
    """Draw the density and the components. Means, scales and weights have shape (K,)."""
    x = _grid(means, scales, 400, 81)
    density = _density(mixture, x[:, None])
    for mean, scale, weight in zip(means, scales, weights, strict=True):
        component = weight * np.exp(-0.5 * ((x - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
        axes.plot(x, component, color=ORANGE, linewidth=0.9)
    axes.fill_between(x, density, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(x, density, color=BLUE, linewidth=2)
    axes.set(xlim=(x[0], x[-1]), ylim=(0, None))
    label_axes(axes, "x", "density")


def _draw_plane(
    axes: Axes, mixture: GaussianMixture, means: np.ndarray, factors: np.ndarray, weights: np.ndarray
) -> None:
    """Draw the density and the components. Means (K, 2), Cholesky factors (K, 2, 2), weights (K,)."""
    from matplotlib.colors import PowerNorm

    scales = np.sqrt((factors**2).sum(-1))
    x, y = (_grid(means[:, i], scales[:, i], 200, 13) for i in range(2))
    points = np.stack(np.meshgrid(x, y), axis=-1)
    density = _density(mixture, points.reshape(-1, 2)).reshape(points.shape[:2])
    mesh = axes.pcolormesh(x, y, density, cmap="Blues", norm=PowerNorm(0.5, vmin=0), shading="nearest", rasterized=True)
    opacity = np.clip(weights / weights.max(), 0.15, 1)
    angles = np.linspace(0, 2 * np.pi, 100)
    circle = 2 * np.stack([np.cos(angles), np.sin(angles)])
    for mean, factor, alpha in zip(means, factors, opacity, strict=True):
        axes.plot(*(mean[:, None] + factor @ circle), color=ORANGE, linewidth=0.9, alpha=alpha)
    axes.scatter(means[:, 0], means[:, 1], s=18, color=ORANGE, alpha=opacity, edgecolors=INK, linewidths=0.4)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
    bar.set_label("density, square-root scale", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    label_axes(axes, "x1", "x2")


def _grid(means: np.ndarray, scales: np.ndarray, count: int, count_per_component: int) -> np.ndarray:
    """Return increasing values: evenly spaced over the whole range, and around the mean of each component."""
    low, high = (means - _REACH * scales).min(), (means + _REACH * scales).max()
    local = means[:, None] + scales[:, None] * np.linspace(-_REACH, _REACH, count_per_component)
    return np.unique(np.concatenate([np.linspace(low, high, count), local.ravel()]))


def _density(mixture: GaussianMixture, points: np.ndarray) -> np.ndarray:
    """Return the density (N,) at points (N, D)."""
    values = mixture.means.new_tensor(points)
    return mixture.log_prob(values).detach().exp().cpu().numpy()
