"""Panels of a figure, side by side, and what stands in them: points, limits, names, a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Of every figure, in inches: its words can be read when it is shown 700 pixels wide."""
SHOWN = 5000
"""About the most points that a scatter draws: of more, every second, third and so on."""


def scatter(axes: Axes, points: np.ndarray, color: str) -> None:
    """The finite points, or every k-th where they are many: the more, the smaller and the fainter."""
    points = finite(points)
    points = points[:: max(-(-len(points) // SHOWN), 1)]
    size = np.clip(9000 / max(len(points), 1), 2.5, 14)
    opacity = np.clip(1200 / max(len(points), 1), 0.3, 0.9)
    axes.scatter(points[:, 0], points[:, 1], s=size, color=color, alpha=opacity, linewidths=0, rasterized=True)


def set_limits(axes: Axes, points: np.ndarray) -> None:
    """All of the finite points in view, with a little space around them."""
    if len(points):
        low, high = points.min(axis=0), points.max(axis=0)
        space = np.where(high > low, 0.05 * (high - low), 0.5)
        axes.set(xlim=(low[0] - space[0], high[0] + space[0]), ylim=(low[1] - space[1], high[1] + space[1]))


def make_panels(count: int, columns: int, height: float, title: str, shared: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of as many panels, at most so many in a row; `height` of a row in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(count, columns)
    rows = -(-count // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(WIDTH, rows * height), dpi=144, facecolor="white", layout=layout)
    figure.suptitle(title, fontsize=11, parse_math=False)
    panels: list[Axes] = []
    for number in range(count):
        beside = panels[0] if shared and panels else None
        panels.append(figure.add_subplot(rows, columns, number + 1, sharex=beside, sharey=beside))
        panels[-1].spines[["top", "right"]].set_visible(False)
        panels[-1].tick_params(labelsize=9, labelleft=beside is None)
    return figure, panels


def name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=10, parse_math=False)
    axes.set_ylabel(y, fontsize=10, parse_math=False)


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], title: str | None = None) -> None:
    """One line below all panels."""
    figure.legend(
        handles, names, title=title, loc="outside lower center", ncols=len(names), frameon=False,
        fontsize=9, title_fontsize=9,
    )  # fmt: skip


def finite(points: np.ndarray) -> np.ndarray:
    """The rows without NaN."""
    return points[np.isfinite(points).all(axis=1)]
