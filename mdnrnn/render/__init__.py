"""Pictures of drawings: SVG, PNG, PDF and GIF, told apart by the ending of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mdnrnn.errors import InputError
from mdnrnn.files import write_bytes
from mdnrnn.render.animation import to_animated_svg, to_gif, to_morph
from mdnrnn.render.drawing import Bounds, Drawing, bounds, partial
from mdnrnn.render.figures.attention import attention_figure
from mdnrnn.render.figures.losses import loss_figure
from mdnrnn.render.figures.scatter import map_figure
from mdnrnn.render.layout import CELL
from mdnrnn.render.performance import Performance, to_json
from mdnrnn.render.playing import to_played_gif, to_played_svg
from mdnrnn.render.raster import figure_bytes, page_figure, to_figure
from mdnrnn.render.style import PLAIN, Color, Style
from mdnrnn.render.svg import page_svg, to_svg
from mdnrnn.render.touches import lay_out_performances

ENDINGS = (".svg", ".png", ".pdf", ".gif")
MOVING = (".svg", ".gif")

__all__ = [
    "CELL", "ENDINGS", "Bounds", "Color", "Drawing", "Performance", "Style", "attention_figure", "bounds",
    "figure_bytes", "loss_figure", "map_figure", "partial", "render", "render_performances", "save_picture",
    "to_animated_svg", "to_figure", "to_gif", "to_json", "to_morph", "to_svg",
]  # fmt: skip


def render(
    drawings: Sequence[Drawing],
    ending: str,
    *,
    style: Style = PLAIN,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    animate: bool = False,
    size: float = CELL,
) -> bytes:
    """The contents of a picture file with this ending; a .gif always moves, an .svg where asked to.

    `size`: the side of a cell, pixels of an SVG, points of a PDF.
    """
    _check_ending(ending, animate, "a picture")
    if ending == ".gif":
        return to_gif(drawings, style, columns, labels, size)
    if ending == ".svg":
        draw = to_animated_svg if animate else to_svg
        return draw(drawings, style, columns, labels, size).encode()
    return figure_bytes(to_figure(drawings, style, columns, labels, size), ending)


def save_picture(
    drawings: Sequence[Drawing],
    path: Path | str,
    *,
    style: Style = PLAIN,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    animate: bool = False,
    size: float = CELL,
) -> None:
    """Write the picture as a whole or not at all, in the format that the ending of the path names."""
    ending = Path(path).suffix.lower()
    _check_ending(ending, animate, str(path))
    write_bytes(path, render(drawings, ending, style=style, columns=columns, labels=labels, animate=animate, size=size))


def render_performances(
    performances: Sequence[Performance],
    ending: str,
    *,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    animate: bool = False,
    size: float = CELL,
) -> bytes:
    """The contents of a picture of touch performances, in colors of the time; moving as in `render`, in real time."""
    _check_ending(ending, animate, "a picture")
    page = lay_out_performances(performances, columns, labels, size)
    if ending == ".gif":
        return to_played_gif(page)
    if ending == ".svg":
        return (to_played_svg(page) if animate else page_svg(page)).encode()
    return figure_bytes(page_figure(page)[0], ending)


def _check_ending(ending: str, animate: bool, what: str) -> None:
    """Before anything is drawn."""
    endings = MOVING if animate else ENDINGS
    if ending not in endings:
        purpose = " to animate" if animate else ""
        raise InputError(f"{what}: received ending {ending!r}{purpose}, expected one of {', '.join(endings)}")
