"""Scatter plot that shows small drawings, colored by class, at given positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError
from mdnrnn.render.figures.panels import WIDTH, label_axes, make_panels
from mdnrnn.render.geometry import bounds, check_drawing
from mdnrnn.render.raster import POINTS_PER_INCH, visible_lines
from mdnrnn.render.style import INK, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_DISTANCE = 0.8
"""Minimum distance between the centers of two drawings. The unit is the side of the square that a drawing fits in."""
MAX_LEGEND_ENTRIES = 30
"""Maximum number of legend entries. With more classes the legend is omitted: it would be larger than the plot."""
_MIN_ASPECT = 0.3
_TINTS = ((0.0, 0), (0.5, 0), (0.45, 255))
"""Pairs (fraction, level) of the gray that is mixed with the palette's colors; level 0 is black and 255 is white.

The three pairs apply to the first, second and third use of the palette.
"""


def map_figure(
    positions: np.ndarray,
    draw: Callable[[int], Drawing],
    label: np.ndarray | None = None,
    classes: Sequence[str] = (),
    *,
    max_drawings: int = 200,
    axis_labels: Sequence[str] = ("", ""),
) -> Figure:
    """Return a scatter plot of M drawings.

    Up to `max_drawings` drawings with little overlap are drawn (see `select_distant`). The other drawings are shown as
    dots.

    Args:
        positions: positions of the drawings, (M, 2).
        draw: function that returns drawing i. It is not called for drawings that are shown as dots.
        label: class index of each drawing, (M,). Each class has a color; there is a legend for up to 30 classes.
        classes: names of the classes.
        max_drawings: maximum number of drawings that are not shown as dots.
        axis_labels: labels of the horizontal and of the vertical axis.

    Raises:
        InputError: `positions` has a wrong shape, M is 0, or a position is NaN or infinite.
    """
    from matplotlib.collections import LineCollection

    positions = np.asarray(positions, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2 or not len(positions) or not np.isfinite(positions).all():
        raise InputError(
            f"positions: received an array of shape {positions.shape}, expected finite numbers (M, 2), M >= 1"
        )
    low, high = positions.min(0), positions.max(0)
    extent = np.maximum(high - low, _MIN_ASPECT * (high - low).max() or 1.0)
    # Assume that the points fill about half of their bounding box; divide this area among the drawings.
    side = float(np.sqrt(extent.prod() / max(2 * min(max_drawings, len(positions)), 20)))
    selected = select_distant(positions, max_drawings, MIN_DISTANCE * side)
    dots = np.setdiff1d(np.arange(len(positions)), selected)
    numbers = np.zeros(len(positions), int) if label is None else np.asarray(label)
    palette = [INK] if label is None else class_colors(len(classes))
    center, view = (low + high) / 2, extent + 1.4 * side
    figure, (panel,) = make_panels(1, 1, min(WIDTH * view[1] / view[0] + 0.6, 1.4 * WIDTH), "")
    (left, bottom), (right, top) = center - view / 2, center + view / 2
    panel.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    label_axes(panel, *axis_labels)
    dot_colors = [palette[number] for number in numbers[dots]]
    panel.scatter(positions[dots, 0], positions[dots, 1], s=4, c=dot_colors, alpha=0.4, linewidths=0, rasterized=True)
    strokes: Drawing = []
    colors: list[str] = []
    for index in selected:
        strokes += _fit_to_square(draw(index), side, positions[index])
        colors += [palette[numbers[index]]] * (len(strokes) - len(colors))
    width = float(np.clip(0.03 * POINTS_PER_INCH * WIDTH * side / view[0], 0.5, 1.5))
    ends: Any = {"capstyle": "round", "joinstyle": "round"}
    panel.add_collection(LineCollection(visible_lines(strokes), colors=colors, linewidths=width, **ends), autolim=False)
    if label is not None:
        _add_legend(figure, [(classes[number], palette[number]) for number in np.unique(numbers)])
    return figure


def select_distant(positions: np.ndarray, max_count: int, min_distance: float) -> list[int]:
    """Return the indices of up to `max_count` positions (M, 2) whose distances are at least `min_distance`.

    The method is farthest-point traversal (Gonzalez 1985). The first selected position is the position nearest to
    the mean. Each further selected position has the largest distance to its nearest selected position.
    """
    selected: list[int] = []
    distance = np.full(len(positions), np.inf)
    index = int(np.hypot(*(positions - positions.mean(0)).T).argmin())
    while len(selected) < max_count and distance[index] >= min_distance:
        selected.append(index)
        distance = np.minimum(distance, np.hypot(*(positions - positions[index]).T))
        distance[index] = -1.0
        index = int(distance.argmax())
    return selected


def class_colors(count: int) -> list[str]:
    """Return `count` colors: the palette, a darker palette, a lighter palette, and then the same colors again."""
    colors = []
    for number in range(count):
        fraction, gray = _TINTS[number // len(PALETTE) % len(_TINTS)]
        channels = bytes.fromhex(PALETTE[number % len(PALETTE)][1:])
        colors.append("#" + bytes(round(value + fraction * (gray - value)) for value in channels).hex())
    return colors


def _fit_to_square(drawing: Drawing, side: float, center: np.ndarray) -> Drawing:
    """Return the strokes of a drawing, scaled to fit in a square with the given side and center.

    y is negated, because y points down in a drawing and up in the plot.
    """
    left, top, width, height = bounds(drawing)
    scale = side / (max(width, height) or 1.0)
    middle = np.array([left + width / 2, top + height / 2])
    return [(stroke - middle) * [scale, -scale] + center for stroke in check_drawing(drawing)]


def _add_legend(figure: Figure, entries: Sequence[tuple[str, str]]) -> None:
    """Add a legend below the plot if there are at most `MAX_LEGEND_ENTRIES` entries (name, color)."""
    from matplotlib.lines import Line2D

    if not 0 < len(entries) <= MAX_LEGEND_ENTRIES:
        return
    longest = max(len(name) for name, _ in entries)
    handles = [Line2D([], [], color=color, linewidth=2.5) for _, color in entries]
    legend = figure.legend(
        handles, ["·"] * len(entries), loc="outside lower center", ncols=int(np.clip(96 // (longest + 5), 1, 8)),
        frameon=False, fontsize=9, handlelength=1.2,
    )  # fmt: skip
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name, parse_math=False)  # if passed as labels, names with a leading "_" would be omitted
