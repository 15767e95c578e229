"""Figures of a mixture density network and its data: samples, components, conditional density, calibration.

Shapes: N points, G values of x, H values of y, K components, D target features, Q quantiles. D is always the last
dimension. The argument `labels` contains the name of x, followed by the name of each target. `components_figure`,
`density_figure` and `pit_figure` have one panel per target. All functions raise `InputError` if the shape of an array
or the number of labels is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.figures.panels import add_legend, finite_rows, label_axes, make_panels, scatter, set_limits
from mdnrnn.render.style import INK

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Labels = Sequence[str] | None
Sizes = dict[str, int]
"""Sizes of array dimensions by letter, for example {"N": 1000, "D": 2}."""

BLUE, PALE, ORANGE = "#0072b2", "#a9c9ea", "#d55e00"
"""Colors that color-blind readers can distinguish: blue for samples, pale for the background, orange for curves."""
OPACITY_LEVELS = 25
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Default probabilities of the quantiles."""
BINS = 20
"""Number of bars of a calibration histogram."""
BAND = 0.99
"""Probability that a bar of a calibration histogram lies in the shaded band if the model is calibrated."""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Inputs and targets of N points."""

    x: np.ndarray
    """(N,)"""
    y: np.ndarray
    """(N, D)"""


def samples_figure(
    data: PointCloud, baseline: PointCloud | None, samples: PointCloud, *, labels: Labels = None, title: str = ""
) -> Figure:
    """Return a figure with three panels: data, predictions of a squared-error network, and samples of the mixture.

    If D = 1, the panels show y over x; if D = 2, the second target over the first. The axis limits cover all data
    points and, along each axis, the range of the samples from the 0.2% to the 99.8% quantile.

    Args:
        data: the data.
        baseline: predictions of the squared-error network, in the order in which a curve connects them. With None,
            the figure has no panel of this network.
        samples: samples of the mixture.
        labels: names of x and of the targets; by default x and y, or x, y1 and y2.
        title: title of the figure.
    """
    sizes: Sizes = {}
    known, sampled = (_table(name, cloud, sizes)[:, -2:] for name, cloud in (("data", data), ("samples", samples)))
    curve = None if baseline is None else _table("baseline", baseline, sizes)[:, -2:]
    if sizes["D"] > 2:
        raise InputError(f"data.y: received {sizes['D']} target features, expected 1 or 2")
    names = _names(labels, sizes["D"])[-2:]
    titles = ["data", *([] if curve is None else ["squared-error network"]), "samples of the mixture"]
    figure, panels = make_panels(len(titles), len(titles), 2.8, title, shared=True)
    for axes, name in zip(panels, titles, strict=True):
        axes.set_title(name, fontsize=10)
        label_axes(axes, names[0], names[1] if axes is panels[0] else "")
    scatter(panels[0], known, INK)
    if curve is not None:
        scatter(panels[1], known, PALE)
        panels[1].plot(*curve.T, color=ORANGE, linewidth=2)
    scatter(panels[-1], finite_rows(sampled), BLUE)
    inner = np.quantile(finite_rows(sampled), [0.002, 0.998], axis=0) if len(finite_rows(sampled)) else np.empty((0, 2))
    set_limits(panels[0], np.concatenate([finite_rows(known), inner]))
    return figure


def components_figure(
    data: PointCloud,
    x: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    *,
    labels: Labels = None,
    title: str = "means of the components",
) -> Figure:
    """Return a figure of the component means as curves over x, drawn over the data.

    The opacity of a curve is the mixture weight of its component.

    Args:
        data: the data.
        x: values of x, (G,).
        weights: mixture weights (G, K).
        means: component means (G, K, D).
        labels: names of x and of the targets; by default x and y, or x, y1, y2, ...
        title: title of the figure.
    """
    from matplotlib.lines import Line2D

    sizes: Sizes = {}
    known = _table("data", data, sizes)
    x, weights = _array("x", x, "G", sizes), _array("weights", weights, "GK", sizes)
    means = _array("means", means, "GKD", sizes)
    names = _names(labels, sizes["D"])
    figure, panels = make_panels(sizes["D"], 2, 3.9, title)
    for target, axes in enumerate(panels):
        pairs = finite_rows(known[:, [0, target + 1]])
        scatter(axes, pairs, PALE)
        for component in range(sizes["K"]):
            _fading_line(axes, np.stack([x, means[:, component, target]], axis=1), weights[:, component])
        label_axes(axes, names[0], names[target + 1])
        set_limits(axes, pairs)
    handles = [Line2D([], [], color=INK, linewidth=2.8, alpha=opacity) for opacity in (0.1, 0.5, 1)]
    add_legend(figure, handles, ["10%", "50%", "100%"], "opacity = weight of the component")
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
    """Return a figure of the conditional density of each target, with its quantiles as lines over x.

    The density is shown as shades on a square-root scale.

    Args:
        x: values of x, (G,), increasing.
        y: values of each target, (H, D), increasing.
        density: density of each target given x, (H, G, D).
        quantiles: quantiles of each target given x, (Q, G, D). None omits the lines.
        levels: probabilities of the quantiles, (Q,).
        labels: names of x and of the targets; by default x and y, or x, y1, y2, ...
        title: title of the figure.
    """
    sizes: Sizes = {}
    x, y = _array("x", x, "G", sizes), _array("y", y, "HD", sizes)
    density = _array("density", density, "HGD", sizes)
    for name, grid in (("x", x[:, None]), ("y", y)):
        if not (np.isfinite(grid).all() and (np.diff(grid, axis=0) > 0).all()):
            raise InputError(
                f"{name}: received values that do not increase or are not finite, expected increasing numbers"
            )
    sizes["Q"] = len(levels)
    lines = None if quantiles is None else _array("quantiles", quantiles, "QGD", sizes)
    names = _names(labels, sizes["D"])
    figure, panels = make_panels(sizes["D"], 1, 3.9 if sizes["D"] == 1 else 2.9, title)
    for target, axes in enumerate(panels):
        label_axes(axes, names[0], names[target + 1])
        _map(axes, x, y[:, target], density[..., target], f"density p({names[target + 1]} | {names[0]})")
        handles = [] if lines is None else _quantile_lines(axes, x, lines[..., target], levels)
    if handles:
        add_legend(figure, handles, [str(line.get_label()) for line in handles], "quantiles")
    return figure


def pit_figure(
    values: np.ndarray,
    *,
    coverage: Sequence[float] | None = None,
    labels: Labels = None,
    title: str = "calibration: where the targets fall in their predicted distributions",
) -> Figure:
    """Return a figure with a histogram of the probability integral transforms of each target.

    If the model is calibrated, each bar lies in the shaded band with probability `BAND`.

    Args:
        values: probability integral transforms, (N, D), from 0 to 1.
        coverage: fraction of each target's values inside the central 90% intervals, (D,), shown in the panel titles.
        labels: names of x and of the targets; by default x and y, or x, y1, y2, ...
        title: title of the figure.
    """
    sizes: Sizes = {}
    values = _array("values", values, "ND", sizes)
    fractions = None if coverage is None else _array("coverage", coverage, "D", sizes)
    if np.any((values < -1e-6) | (values > 1 + 1e-6)):
        raise InputError(f"values: received {np.nanmin(values):g} to {np.nanmax(values):g}, expected 0 to 1")
    names = _names(labels, sizes["D"])[1:]
    figure, panels = make_panels(sizes["D"], 2, 3.4, title)
    for target, (axes, name) in enumerate(zip(panels, names, strict=True)):
        column = values[:, target]
        handles = _histogram(axes, np.clip(column[np.isfinite(column)], 0, 1))
        label_axes(axes, f"cumulative probability of {name}", "density" if axes is panels[0] else "")
        if fractions is not None:
            axes.set_title(f"{name}: 90% intervals hold {fractions[target]:.1%}", fontsize=10, parse_math=False)
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    add_legend(figure, handles, ["targets", "calibrated", f"where {BAND:.0%} of a calibrated model's bars lie"])
    return figure


def calibrated_band(count: int) -> tuple[int, int]:
    """Return the interval that contains the number of values in one histogram bin with probability `BAND`.

    The values are `count` uniform random numbers. Their number in a bin is binomial, with `count` trials and success
    probability 1 / `BINS`. The interval is central: the probabilities below and above the interval are about equal.
    """
    numbers = np.arange(1, count + 1)
    log_coefficients = np.concatenate([[0.0], np.cumsum(np.log((count - numbers + 1) / numbers))])
    inside = np.arange(count + 1)
    probability = np.exp(log_coefficients - inside * np.log(BINS) + (count - inside) * np.log1p(-1 / BINS))
    low, high = np.searchsorted(np.cumsum(probability), [(1 - BAND) / 2, (1 + BAND) / 2])
    return int(low), int(high)


def _histogram(axes: Axes, values: np.ndarray) -> list[Artist]:
    """Draw bars of total area 1, the uniform density as a line, and the calibrated band; return the legend handles."""
    per_count = BINS / max(len(values), 1)
    counts, edges = np.histogram(values, bins=BINS, range=(0, 1))
    bars = axes.bar(edges[:-1], counts * per_count, width=1 / BINS, align="edge", color=PALE, edgecolor="white")
    low, high = (count * per_count for count in calibrated_band(len(values)))
    band = axes.axhspan(low, high, color=INK, alpha=0.16, linewidth=0)
    level = axes.axhline(1, color=INK, linewidth=1.2)
    axes.set(xlim=(0, 1), ylim=(0, 1.12 * max(1, high, *counts * per_count)))
    return [bars.patches[0], level, band]


def _map(axes: Axes, x: np.ndarray, y: np.ndarray, density: np.ndarray, name: str) -> None:
    """Draw a density (H, G) as shades on a square-root scale, clipped at its 99.5% quantile, with a color bar."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    known = density[np.isfinite(density)]
    top = float(np.quantile(known, 0.995)) if known.size else 0.0
    clipped = bool(top > 0 and known.max() > top)
    norm = PowerNorm(0.5, vmin=0, vmax=top or 1)
    if density.size:
        mesh = axes.pcolormesh(x, y, density, cmap="Blues", norm=norm, shading="nearest", rasterized=True)
        bar = axes.figure.colorbar(
            mesh, ax=axes, extend="max" if clipped else "neither", ticks=MaxNLocator(5), pad=0.02, aspect=30
        )
        scale = f"square-root scale, clipped at {top:.2g}" if clipped else "square-root scale"
        bar.set_label(f"{name}\n{scale}", fontsize=9, labelpad=6, parse_math=False)
        bar.ax.tick_params(labelsize=9)
        bar.outline.set_visible(False)


def _quantile_lines(axes: Axes, x: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> list[Artist]:
    """Draw one line per quantile; return one legend handle per line style.

    Quantiles at the same distance from the median, such as 5% and 95%, share a line style.
    """
    dashes = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
    handles: list[Artist] = []
    distances = [round(abs(level - 0.5), 9) for level in levels]
    for kind, distance in enumerate(sorted(set(distances))):
        numbers = [number for number, other in enumerate(distances) if other == distance]
        lines = axes.plot(x, quantiles[numbers].T, color=ORANGE, linewidth=1.1, linestyle=dashes[min(kind, 2)])
        lines[0].set_label(" and ".join(f"{100 * levels[number]:g}%" for number in numbers))
        handles.append(lines[0])
    return handles


def _fading_line(axes: Axes, path: np.ndarray, weights: np.ndarray) -> None:
    """Draw a line through the points `path` (G, 2), with gaps where y jumps (see `_jumps`).

    The opacity of a segment is the mean of the `weights` (G,) at its two ends. Adjacent segments of equal opacity are
    drawn as one line, because separate antialiased segments have light seams between them.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    opacity = np.clip((weights[:-1] + weights[1:]) / 2, 0, 1)
    known = np.isfinite(path[:-1] + path[1:]).all(axis=1) & np.isfinite(opacity) & ~_jumps(path[:, 1])
    level = np.round(np.where(known, opacity, 0) * OPACITY_LEVELS)
    ends = [0, *np.flatnonzero(np.diff(level)) + 1, len(level)]
    visible = [(first, last) for first, last in pairwise(ends) if level[first:last].any()]
    lines = [path[first : last + 1] for first, last in visible]
    colors = [(*to_rgb(INK), level[first] / OPACITY_LEVELS) for first, _ in visible]
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=2.8, capstyle="butt"), autolim=False)


def _jumps(values: np.ndarray) -> np.ndarray:
    """Return a mask (G - 1,) of the jumps between consecutive values (G,).

    A jump is a difference above 0.1 times the range of the values and above 8 times the median difference.
    """
    differences = np.abs(np.diff(values))
    known = values[np.isfinite(values)]
    if not len(differences) or not np.isfinite(differences).any():
        return np.zeros(len(differences), dtype=bool)
    return (differences > 0.1 * np.ptp(known)) & (differences > 8 * np.nanmedian(differences))


def _names(labels: Labels, targets: int) -> list[str]:
    """Return the names of x and of the targets; the default names are x and y, or x, y1, y2, ..."""
    if labels is None:
        return ["x", "y"] if targets == 1 else ["x", *(f"y{number + 1}" for number in range(targets))]
    if len(labels) != 1 + targets:
        raise InputError(f"labels: received {len(labels)}, expected {1 + targets}, for x and each target")
    return list(labels)


def _table(name: str, points: PointCloud, sizes: Sizes) -> np.ndarray:
    """Return an array (N, 1 + D) of the points: x is the first column, the targets are the other columns."""
    sizes.pop("N", None)
    x, y = _array(f"{name}.x", points.x, "N", sizes), _array(f"{name}.y", points.y, "ND", sizes)
    return np.concatenate([x[:, None], y], axis=1)


def _array(name: str, values: object, shape: str, sizes: Sizes) -> np.ndarray:
    """Check the shape of an array. Return the array as float64, with infinite values replaced by NaN.

    Args:
        name: name of the array, for the error message.
        values: the values.
        shape: one letter per expected dimension, for example "GKD".
        sizes: expected size of each dimension, by letter. If a letter of `shape` is missing in this mapping, the letter
            is added with its size in `values`.

    Raises:
        InputError: the array has a wrong shape, or D is 0.
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
