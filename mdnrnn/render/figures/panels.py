"""Figures with a grid of panels, and functions for scatter plots, axis limits, axis labels and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Width of a figure in inches. With this width the text is readable if the figure is shown 700 pixels wide."""
MAX_POINTS = 5000
"""Maximum number of points in a scatter plot. If there are more points, only every k-th point is drawn."""


def scatter(axes: Axes, points: np.ndarray, color: str) -> None:
    """Draw the points (N, 2) whose coordinates are finite, at most `MAX_POINTS` of them.

    The size and the opacity of a point decrease with the number of points.
    """
    points = finite_rows(points)
    points = points[:: max(-(-len(points) // MAX_POINTS), 1)]
    size = np.clip(9000 / max(len(points), 1), 2.5, 14)
    opacity = np.clip(1200 / max(len(points), 1), 0.3, 0.9)
    axes.scatter(points[:, 0], points[:, 1], s=size, color=color, alpha=opacity, linewidths=0, rasterized=True)


def set_limits(axes: Axes, points: np.ndarray) -> None:
    """Set the axis limits to the range of the points (N, 2), plus a margin of 5% on each side."""
    if len(points):
        low, high = points.min(axis=0), points.max(axis=0)
        space = np.where(high > low, 0.05 * (high - low), 0.5)
        axes.set(xlim=(low[0] - space[0], high[0] + space[0]), ylim=(low[1] - space[1], high[1] + space[1]))


def make_panels(count: int, columns: int, height: float, title: str, shared: bool = False) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its panels, row by row.

    Args:
        count: number of panels.
        columns: maximum number of panels per row.
        height: height of a row in inches.
        title: title of the figure.
        shared: whether all panels have the axis limits of the first panel.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(count, columns)
    rows = -(-count // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(WIDTH, rows * height), dpi=144, facecolor="white", layout=layout)
    figure.suptitle(title, fontsize=11, parse_math=False)
    panels: list[Axes] = []
    for number in range(count):
        first = panels[0] if shared and panels else None
        panels.append(figure.add_subplot(rows, columns, number + 1, sharex=first, sharey=first))
        panels[-1].spines[["top", "right"]].set_visible(False)
        panels[-1].tick_params(labelsize=9, labelleft=first is None)
    return figure, panels


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Set the axis labels. A "$" in a label does not start a formula."""
    axes.set_xlabel(x, fontsize=10, parse_math=False)
    axes.set_ylabel(y, fontsize=10, parse_math=False)


def add_legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], title: str | None = None) -> None:
    """Add a legend below the panels, with all entries in one row."""
    figure.legend(
        handles, labels, title=title, loc="outside lower center", ncols=len(labels), frameon=False,
        fontsize=9, title_fontsize=9,
    )  # fmt: skip


def finite_rows(points: np.ndarray) -> np.ndarray:
    """Return the rows that contain no NaN or infinite value."""
    return points[np.isfinite(points).all(axis=1)]
