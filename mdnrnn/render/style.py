"""Options of pictures, and colors of strokes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from mdnrnn.errors import InputError

Color = Literal["ink", "stroke", "order"]
"""Line color: one dark color (ink), one color per stroke, or a color that shows the order of the strokes."""
HandwritingColor = Literal["ink", "stroke", "order", "character"]
"""Line color of handwriting: as `Color`, or one color per character."""

INK = "#1f2430"
PALETTE = (
    "#2563c9", "#d1332e", "#22863a", "#8b46c1", "#c2620a",
    "#0b7f8f", "#c2277d", "#6a6f12", "#7a4a2b", "#4d5a6e",
)  # fmt: skip
"""Distinct colors with a contrast ratio above 3 on a white background."""
PLASMA = ("#0d0887", "#48039f", "#7701a8", "#a21d9a", "#c6417d", "#e26561")
"""Colors of matplotlib's color map `plasma` from blue to red, without its last colors, which are too light on white."""


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Options of a picture of drawings or touch performances in a grid."""

    columns: int | None = None
    """Number of columns of the grid. With None, the page is about square."""
    labels: Sequence[str] | None = None
    """Text below each cell; empty for no text. None omits all labels."""
    cell_size: float = 160.0
    """Side of a square cell, in pixels (SVG) or points (other formats). A cell that is not square has the same area."""
    animate: bool = False
    """Whether to animate an SVG. A GIF is always animated."""

    def __post_init__(self) -> None:
        if self.columns is not None and self.columns < 1:
            raise InputError(f"columns: received {self.columns}, expected at least 1")
        if not 0 < self.cell_size < math.inf:
            raise InputError(f"cell_size: received {self.cell_size}, expected a positive number")


@dataclass(frozen=True, kw_only=True)
class DrawingOptions(PictureOptions):
    """Options of a picture of drawings, for all picture formats."""

    color: Color = "ink"
    """Line color: "ink", one dark color for all strokes; "stroke", one color per stroke; "order", colors that show the
    order of the strokes, from blue for the first to red for the last."""
    line_width: float = 0.012
    """Line width, as a fraction of the cell size."""
    margin: float = 0.1
    """Margin on each side of a cell, as a fraction of the cell's shorter side."""
    same_scale: bool = False
    """Whether to scale all drawings by the same factor, instead of fitting each drawing to its cell."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Group number of each stroke, one tuple per drawing. With the color "stroke", the strokes of a group have the same
    color. By default each stroke is a group."""
    seconds: float = 4.0
    """Duration of an animation in seconds, excluding the pause at its end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        colors = get_args(Color)
        if self.color not in colors:
            raise InputError(f"color: received {self.color!r}, expected one of {', '.join(colors)}")
        if not 0 < self.line_width <= 0.05:
            raise InputError(f"line_width: received {self.line_width}, expected a fraction above 0, at most 0.05")
        if not 0 <= self.margin <= 0.3:
            raise InputError(f"margin: received {self.margin}, expected a fraction from 0 to 0.3")
        if not 0 < self.seconds < math.inf:
            raise InputError(f"seconds: received {self.seconds}, expected a positive number")


DEFAULT_OPTIONS = DrawingOptions()


def stroke_colors(color: Color, strokes: int, groups: Sequence[int] = ()) -> list[str]:
    """Return the color of each stroke of a drawing as `#rrggbb`.

    Args:
        color: line color, see `DrawingOptions`.
        strokes: number of strokes.
        groups: group number of each stroke, for the color "stroke"; by default each stroke is a group.
    """
    if color == "ink":
        return [INK] * strokes
    if color == "stroke":
        return [PALETTE[number % len(PALETTE)] for number in groups or range(strokes)]
    return [plasma_color(number / max(strokes - 1, 1)) for number in range(strokes)]


def plasma_color(fraction: float) -> str:
    """Return a color of the color map `PLASMA`, interpolated linearly at `fraction` (0 to 1), as `#rrggbb`."""
    position = fraction * (len(PLASMA) - 1)
    index = min(int(position), len(PLASMA) - 2)
    weight = position - index
    first, second = (bytes.fromhex(color[1:]) for color in PLASMA[index : index + 2])
    return "#" + bytes(round((1 - weight) * a + weight * b) for a, b in zip(first, second, strict=True)).hex()
