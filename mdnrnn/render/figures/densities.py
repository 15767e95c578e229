"""What a mixture density network makes of its data: samples, components, conditional density, calibration.

Shapes: N points, G places of x, H places of y, K components, D target features, Q quantiles; D comes last.
Labels name x and then each target. Where D > 1, each target has a panel of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.figures.panels import finite, legend, make_panels, name_axes, scatter, set_limits
from mdnrnn.render.style import INK

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Labels = Sequence[str] | None
Sizes = dict[str, int]

BLUE, PALE, ORANGE = "#0072b2", "#a9c9ea", "#d55e00"
"""Told apart by the color-blind too: pale for data behind, orange for curves above it."""
SHADES = 25
"""Steps of opacity between none and full."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20
BAND = 0.99


@dataclass(frozen=True, eq=False)
class Cloud:
    """Inputs x, shape (N,), and their targets y, shape (N, D)."""

    x: np.ndarray
    y: np.ndarray


def samples_figure(
    data: Cloud, baseline: Cloud | None, samples: Cloud, *, labels: Labels = None, title: str = ""
) -> Figure:
    """The data, the curve of a squared-error network if there is one, samples: y over x, or the plane where D = 2.

    The points of the baseline are in the order of its curve. All data is in view, and all but the wildest samples.
    """
    sizes: Sizes = {}
    known, drawn = (_table(name, cloud, sizes)[:, -2:] for name, cloud in (("data", data), ("samples", samples)))
    curve = None if baseline is None else _table("baseline", baseline, sizes)[:, -2:]
    if sizes["D"] > 2:
        raise InputError(f"data.y: received {sizes['D']} target features, expected 1 or 2")
    names = _names(labels, sizes["D"])[-2:]
    titles = ["data", *([] if curve is None else ["squared-error network"]), "samples of the mixture"]
    figure, panels = make_panels(len(titles), len(titles), 2.8, title, shared=True)
    for axes, name in zip(panels, titles, strict=True):
        axes.set_title(name, fontsize=10)
        name_axes(axes, names[0], names[1] if axes is panels[0] else "")
    scatter(panels[0], known, INK)
    if curve is not None:
        scatter(panels[1], known, PALE)
        panels[1].plot(*curve.T, color=ORANGE, linewidth=2)
    scatter(panels[-1], finite(drawn), BLUE)
    inner = np.quantile(finite(drawn), [0.002, 0.998], axis=0) if len(finite(drawn)) else np.empty((0, 2))
    set_limits(panels[0], np.concatenate([finite(known), inner]))
    return figure


def components_figure(
    data: Cloud,
    x: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    *,
    labels: Labels = None,
    title: str = "means of the components",
) -> Figure:
    """The mean of each component over x, as opaque as the component has weight there; the data behind.

    x: shape (G,); weights: shape (G, K); means: shape (G, K, D).
    """
    from matplotlib.lines import Line2D

    sizes: Sizes = {}
    known = _table("data", data, sizes)
    x, weights = _array("x", x, "G", sizes), _array("weights", weights, "GK", sizes)
    means = _array("means", means, "GKD", sizes)
    names = _names(labels, sizes["D"])
    figure, panels = make_panels(sizes["D"], 2, 3.9, title)
    for target, axes in enumerate(panels):
        pairs = finite(known[:, [0, target + 1]])
        scatter(axes, pairs, PALE)
        for component in range(sizes["K"]):
            _fading_line(axes, np.stack([x, means[:, component, target]], axis=1), weights[:, component])
        name_axes(axes, names[0], names[target + 1])
        set_limits(axes, pairs)
    shades = [Line2D([], [], color=INK, linewidth=2.8, alpha=share) for share in (0.1, 0.5, 1)]
    legend(figure, shades, ["10%", "50%", "100%"], "opacity = weight of the component")
    return figure


def density_figure(
    x: np.ndarray,
    y: np.ndarray,
    density: np.ndarray,
    quantiles: np.ndarray | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    labels: Labels = None,
    title: str = "conditional density and its quantiles",
) -> Figure:
    """The density of each target given x as a map, on a scale that shows its low parts too; quantiles as lines.

    x: shape (G,) and y: shape (H, D), increasing; density: shape (H, G, D); quantiles: shape (Q, G, D).
    """
    sizes: Sizes = {}
    x, y = _array("x", x, "G", sizes), _array("y", y, "HD", sizes)
    density = _array("density", density, "HGD", sizes)
    for name, grid in (("x", x[:, None]), ("y", y)):
        if not (np.isfinite(grid).all() and (np.diff(grid, axis=0) > 0).all()):
            raise InputError(f"{name}: received values out of order or not finite, expected increasing ones")
    sizes["Q"] = len(levels)
    lines = None if quantiles is None else _array("quantiles", quantiles, "QGD", sizes)
    names = _names(labels, sizes["D"])
    figure, panels = make_panels(sizes["D"], 1, 3.9 if sizes["D"] == 1 else 2.9, title)
    for target, axes in enumerate(panels):
        name_axes(axes, names[0], names[target + 1])
        _map(axes, x, y[:, target], density[..., target], f"density p({names[target + 1]} | {names[0]})")
        handles = [] if lines is None else _quantile_lines(axes, x, lines[..., target], levels)
    if handles:
        legend(figure, handles, [str(line.get_label()) for line in handles], "quantiles")
    return figure


def pit_figure(
    values: np.ndarray,
    *,
    coverage: Sequence[float] | None = None,
    labels: Labels = None,
    title: str = "calibration: where the targets fall in their predicted distributions",
) -> Figure:
    """Histograms of probability integral transforms, shape (N, D), and the band of a calibrated model's bars.

    coverage: the share of each target's values that its central 90% intervals hold, shape (D,).
    """
    sizes: Sizes = {}
    values = _array("values", values, "ND", sizes)
    shares = None if coverage is None else _array("coverage", coverage, "D", sizes)
    if np.any((values < -1e-6) | (values > 1 + 1e-6)):
        raise InputError(f"values: received {np.nanmin(values):g} to {np.nanmax(values):g}, expected 0 to 1")
    names = _names(labels, sizes["D"])[1:]
    figure, panels = make_panels(sizes["D"], 2, 3.4, title)
    for target, (axes, name) in enumerate(zip(panels, names, strict=True)):
        column = values[:, target]
        handles = _histogram(axes, np.clip(column[np.isfinite(column)], 0, 1))
        name_axes(axes, f"cumulative probability of {name}", "density" if axes is panels[0] else "")
        if shares is not None:
            axes.set_title(f"{name}: 90% intervals hold {shares[target]:.1%}", fontsize=10, parse_math=False)
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    legend(figure, handles, ["targets", "calibrated", f"where {BAND:.0%} of a calibrated model's bars lie"])
    return figure


def calibrated_band(count: int) -> tuple[int, int]:
    """Fewest and most of `count` uniform values in one of the bins, each tail cut at half of 1 - BAND."""
    chosen = np.arange(1, count + 1)
    log_ways = np.concatenate([[0.0], np.cumsum(np.log((count - chosen + 1) / chosen))])
    inside = np.arange(count + 1)
    probability = np.exp(log_ways - inside * np.log(BINS) + (count - inside) * np.log1p(-1 / BINS))
    low, high = np.searchsorted(np.cumsum(probability), [(1 - BAND) / 2, (1 + BAND) / 2])
    return int(low), int(high)


def _histogram(axes: Axes, values: np.ndarray) -> list[Artist]:
    """Bars whose areas sum to 1, the level of a uniform distribution, and the band around it."""
    per_count = BINS / max(len(values), 1)
    counts, edges = np.histogram(values, bins=BINS, range=(0, 1))
    bars = axes.bar(edges[:-1], counts * per_count, width=1 / BINS, align="edge", color=PALE, edgecolor="white")
    low, high = (count * per_count for count in calibrated_band(len(values)))
    band = axes.axhspan(low, high, color=INK, alpha=0.16, linewidth=0)
    level = axes.axhline(1, color=INK, linewidth=1.2)
    axes.set(xlim=(0, 1), ylim=(0, 1.12 * max(1, high, *counts * per_count)))
    return [bars.patches[0], level, band]


def _map(axes: Axes, x: np.ndarray, y: np.ndarray, density: np.ndarray, name: str) -> None:
    """The densities as shades on a square-root scale, beside it the bar that explains them."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    known = density[np.isfinite(density)]
    top = float(np.quantile(known, 0.995)) if known.size else 0.0
    cut = bool(top > 0 and known.max() > top)
    norm = PowerNorm(0.5, vmin=0, vmax=top or 1)
    if density.size:
        mesh = axes.pcolormesh(x, y, density, cmap="Blues", norm=norm, shading="nearest", rasterized=True)
        bar = axes.figure.colorbar(
            mesh, ax=axes, extend="max" if cut else "neither", ticks=MaxNLocator(5), pad=0.02, aspect=30
        )
        scale = f"square-root scale, clipped at {top:.2g}" if cut else "square-root scale"
        bar.set_label(f"{name}\n{scale}", fontsize=9, labelpad=6, parse_math=False)
        bar.ax.tick_params(labelsize=9)
        bar.outline.set_visible(False)


def _quantile_lines(axes: Axes, x: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> list[Artist]:
    """A line for each level, drawn alike at levels equally far from the median; a handle for each kind of line."""
    dashes = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
    handles: list[Artist] = []
    distances = [round(abs(level - 0.5), 9) for level in levels]
    for kind, distance in enumerate(sorted(set(distances))):
        alike = [number for number, other in enumerate(distances) if other == distance]
        lines = axes.plot(x, quantiles[alike].T, color=ORANGE, linewidth=1.1, linestyle=dashes[min(kind, 2)])
        lines[0].set_label(" and ".join(f"{100 * levels[number]:g}%" for number in alike))
        handles.append(lines[0])
    return handles


def _fading_line(axes: Axes, path: np.ndarray, weights: np.ndarray) -> None:
    """A path of G points, each of its segments as opaque as the mean weight of its two ends; no line over a jump.

    Neighbors of one shade are one line: where antialiased segments meet, a light seam shows.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    opacity = np.clip((weights[:-1] + weights[1:]) / 2, 0, 1)
    known = np.isfinite(path[:-1] + path[1:]).all(axis=1) & np.isfinite(opacity) & ~_jumps(path[:, 1])
    shades = np.round(np.where(known, opacity, 0) * SHADES)
    ends = [0, *np.flatnonzero(np.diff(shades)) + 1, len(shades)]
    drawn = [(first, last) for first, last in pairwise(ends) if shades[first:last].any()]
    lines = [path[first : last + 1] for first, last in drawn]
    colors = [(*to_rgb(INK), shades[first] / SHADES) for first, _ in drawn]
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=2.8, capstyle="butt"), autolim=False)


def _jumps(heights: np.ndarray) -> np.ndarray:
    """Which steps between neighbors are far above the others: a tenth of the whole range and 8 typical steps."""
    steps = np.abs(np.diff(heights))
    known = heights[np.isfinite(heights)]
    if not len(steps) or not np.isfinite(steps).any():
        return np.zeros(len(steps), dtype=bool)
    return (steps > 0.1 * np.ptp(known)) & (steps > 8 * np.nanmedian(steps))


def _names(labels: Labels, targets: int) -> list[str]:
    """The name of x, then of each target."""
    if labels is None:
        return ["x", "y"] if targets == 1 else ["x", *(f"y{number + 1}" for number in range(targets))]
    if len(labels) != 1 + targets:
        raise InputError(f"labels: received {len(labels)}, expected {1 + targets}: of x and of each target")
    return list(labels)


def _table(name: str, points: Cloud, sizes: Sizes) -> np.ndarray:
    """Inputs and targets beside each other, shape (N, 1 + D)."""
    sizes.pop("N", None)
    x, y = _array(f"{name}.x", points.x, "N", sizes), _array(f"{name}.y", points.y, "ND", sizes)
    return np.concatenate([x[:, None], y], axis=1)


def _array(name: str, values: object, shape: str, sizes: Sizes) -> np.ndarray:
    """The values as an array of a shape like "GKD"; a letter is the same size each time, noted at the first.

    NaN stands for all that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    expected = ", ".join(f"{letter} = {sizes[letter]}" if letter in sizes else letter for letter in shape)
    fits = array.ndim == len(shape) and all(
        sizes.setdefault(letter, size) == size and (letter != "D" or size > 0)
        for letter, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{name}: received shape {array.shape}, expected ({expected})")
    return np.where(np.isfinite(array), array, np.nan)
