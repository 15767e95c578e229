"""Drawings in a plane: small, each at its place, in the color of its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.drawing import Drawing, bounds, checked
from mdnrnn.render.figures.panels import WIDTH, make_panels, name_axes
from mdnrnn.render.raster import POINTS_PER_INCH, visible_lines
from mdnrnn.render.style import INK, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

APART = 0.8
"""The least distance between two drawings, of the side of the square that each is drawn in."""
MOST_NAMES = 30
"""A legend of more would be larger than its map."""
_FLATTEST = 0.3
_TINTS = ((0.0, 0), (0.5, 0), (0.45, 255))
"""How much of black, or of white, is mixed into the palette when it has been used up."""


def map_figure(
    places: np.ndarray,
    draw: Callable[[int], Drawing],
    label: np.ndarray | None = None,
    names: Sequence[str] = (),
    *,
    most: int = 200,
    axes: Sequence[str] = ("", ""),
) -> Figure:
    """Up to `most` drawings at their places (M, 2), as they do not overlap much; the others as dots.

    Args:
        draw: drawing i; asked for those that are drawn.
        label: (M,), numbers of `names`: classes have colors, and where there are at most 30, a legend.
        axes: what stands along the horizontal axis, and along the vertical.
    """
    from matplotlib.collections import LineCollection

    places = np.asarray(places, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or not np.isfinite(places).all():
        raise InputError(f"places: received an array of shape {places.shape}, expected finite numbers (M, 2), M >= 1")
    low, high = places.min(0), places.max(0)
    extent = np.maximum(high - low, _FLATTEST * (high - low).max() or 1.0)
    # A cloud fills about half its box.
    side = float(np.sqrt(extent.prod() / max(2 * min(most, len(places)), 20)))
    shown = spread(places, most, APART * side)
    hidden = np.setdiff1d(np.arange(len(places)), shown)
    numbers = np.zeros(len(places), int) if label is None else np.asarray(label)
    of_class = [INK] if label is None else class_colors(len(names))
    middle, view = (low + high) / 2, extent + 1.4 * side
    figure, (panel,) = make_panels(1, 1, min(WIDTH * view[1] / view[0] + 0.6, 1.4 * WIDTH), "")
    (left, bottom), (right, top) = middle - view / 2, middle + view / 2
    panel.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    name_axes(panel, *axes)
    dots = [of_class[number] for number in numbers[hidden]]
    panel.scatter(places[hidden, 0], places[hidden, 1], s=4, c=dots, alpha=0.4, linewidths=0, rasterized=True)
    strokes: Drawing = []
    colors: list[str] = []
    for index in shown:
        strokes += _small(draw(index), side, places[index])
        colors += [of_class[numbers[index]]] * (len(strokes) - len(colors))
    width = float(np.clip(0.03 * POINTS_PER_INCH * WIDTH * side / view[0], 0.5, 1.5))
    ends: Any = {"capstyle": "round", "joinstyle": "round"}
    panel.add_collection(LineCollection(visible_lines(strokes), colors=colors, linewidths=width, **ends), autolim=False)
    if label is not None:
        _add_legend(figure, [(names[number], of_class[number]) for number in np.unique(numbers)])
    return figure


def spread(places: np.ndarray, most: int, apart: float) -> list[int]:
    """Numbers of up to `most` of the places (M, 2), each at least `apart` from all others.

    The one nearest the middle, then always the farthest from those taken (Gonzalez 1985).
    """
    taken: list[int] = []
    gap = np.full(len(places), np.inf)
    next_one = int(np.hypot(*(places - places.mean(0)).T).argmin())
    while len(taken) < most and gap[next_one] >= apart:
        taken.append(next_one)
        gap = np.minimum(gap, np.hypot(*(places - places[next_one]).T))
        gap[next_one] = -1.0
        next_one = int(gap.argmax())
    return taken


def class_colors(count: int) -> list[str]:
    """A color for each class: the palette, then the palette darker, then lighter, then all of them again."""
    colors = []
    for number in range(count):
        tint, towards = _TINTS[number // len(PALETTE) % len(_TINTS)]
        parts = bytes.fromhex(PALETTE[number % len(PALETTE)][1:])
        colors.append("#" + bytes(round(part + tint * (towards - part)) for part in parts).hex())
    return colors


def _small(drawing: Drawing, side: float, place: np.ndarray) -> Drawing:
    """The strokes scaled to fit a square of this side around their place; y goes up, as it does on axes."""
    left, top, width, height = bounds(drawing)
    scale = side / (max(width, height) or 1.0)
    middle = np.array([left + width / 2, top + height / 2])
    return [(stroke - middle) * [scale, -scale] + place for stroke in checked(drawing)]


def _add_legend(figure: Figure, entries: Sequence[tuple[str, str]]) -> None:
    """Names in their colors below the figure, in as many columns as there is room for."""
    from matplotlib.lines import Line2D

    if not 0 < len(entries) <= MOST_NAMES:
        return
    longest = max(len(name) for name, _ in entries)
    handles = [Line2D([], [], color=color, linewidth=2.5) for _, color in entries]
    legend = figure.legend(
        handles, ["·"] * len(entries), loc="outside lower center", ncols=int(np.clip(96 // (longest + 5), 1, 8)),
        frameon=False, fontsize=9, handlelength=1.2,
    )  # fmt: skip
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name, parse_math=False)  # a name may begin with _, or hold a $
