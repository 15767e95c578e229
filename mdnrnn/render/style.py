"""How drawings look: the colors of their strokes, the weight of the line, the space around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from mdnrnn.errors import InputError

Color = Literal["ink", "stroke", "order"]

INK = "#1f2430"
PALETTE = (
    "#2563c9", "#d1332e", "#22863a", "#8b46c1", "#c2620a",
    "#0b7f8f", "#c2277d", "#6a6f12", "#7a4a2b", "#4d5a6e",
)  # fmt: skip
"""Colours told apart at a glance, each with a contrast of more than 3 on white."""
PLASMA = ("#0d0887", "#48039f", "#7701a8", "#a21d9a", "#c6417d", "#e26561")
"""The part of matplotlib's `plasma` that is readable on white, from the first stroke to the last."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How drawings look, the same in every format."""

    color: Color = "ink"
    """ink: one dark color; stroke: a color for each stroke; order: from blue to red in pen order"""
    width: float = 0.012
    """width of the line, as a fraction of the cell that a drawing stands in"""
    margin: float = 0.1
    """space left free on each side of a cell, as a fraction of its shorter side"""
    same_scale: bool = False
    """keep all drawings in one scale, instead of fitting each to its cell"""
    groups: tuple[tuple[int, ...], ...] = ()
    """of each drawing, a number for each stroke: with color "stroke", those of one number have one color"""

    def __post_init__(self) -> None:
        colors = get_args(Color)
        if self.color not in colors:
            raise InputError(f"color: received {self.color!r}, expected one of {', '.join(colors)}")
        if not 0 < self.width <= 0.05:
            raise InputError(f"width: received {self.width}, expected a fraction above 0, at most 0.05")
        if not 0 <= self.margin <= 0.3:
            raise InputError(f"margin: received {self.margin}, expected a fraction from 0 to 0.3")


PLAIN = Style()
"""The look of a picture for which none is asked."""


def stroke_colors(color: Color, strokes: int, groups: Sequence[int] = ()) -> list[str]:
    """The color of each stroke of a drawing, as `#rrggbb`; with "stroke", of each of their groups where there are."""
    if color == "ink":
        return [INK] * strokes
    if color == "stroke":
        return [PALETTE[number % len(PALETTE)] for number in groups or range(strokes)]
    return [along_plasma(number / max(strokes - 1, 1)) for number in range(strokes)]


def along_plasma(place: float) -> str:
    """The color at a place from 0 to 1, linear between its two neighbors."""
    position = place * (len(PLASMA) - 1)
    index = min(int(position), len(PLASMA) - 2)
    share = position - index
    before, after = (bytes.fromhex(color[1:]) for color in PLASMA[index : index + 2])
    return "#" + bytes(round((1 - share) * a + share * b) for a, b in zip(before, after, strict=True)).hex()
