"""Drawings as SVG that plotters can follow: one path a stroke, nothing filled, nothing behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import svgwrite
from svgwrite.path import Path

from mdnrnn.render.drawing import Drawing, is_dot
from mdnrnn.render.layout import CELL, Page, lay_out
from mdnrnn.render.style import INK, PLAIN, Style


def to_svg(
    drawings: Sequence[Drawing],
    style: Style = PLAIN,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    size: float = CELL,
) -> str:
    """One drawing or a grid of them; `size` is the side of a cell in pixels."""
    return page_svg(lay_out(drawings, style, columns, labels, size))


def page_svg(page: Page) -> str:
    """The page as it is, without animation."""
    document, _ = svg_document(page)
    return str(document.tostring())


def svg_document(page: Page) -> tuple[svgwrite.Drawing, list[list[Path]]]:
    """The document, and in it the paths of each drawing, one a stroke.

    The white of the page is CSS on the root: viewers in dark mode see it, plotters have nothing to draw.
    """
    document = svgwrite.Drawing(
        size=(_number(page.width), _number(page.height)),
        viewBox=f"0 0 {_number(page.width)} {_number(page.height)}",
        style="background:#fff",
        debug=False,
    )
    lines = document.g(
        fill="none",
        stroke=INK,
        stroke_width=_number(page.line_width),
        stroke_linecap="round",
        stroke_linejoin="round",
    )
    paths = []
    for cell in page.cells:
        looks = zip(cell.strokes, cell.colors, cell.widths, strict=True)
        paths.append([_path(stroke, color, width, page.line_width) for stroke, color, width in looks])
        group = document.g()
        group.elements.extend(paths[-1])
        lines.add(group)
    document.add(lines)
    if page.font_size:
        document.add(_labels(document, page))
    return document, paths


def _path(stroke: np.ndarray, color: str, width: float, usual_width: float) -> Path:
    own_color = {} if color == INK else {"stroke": color}
    own_width = {} if width == usual_width else {"stroke_width": _number(width)}
    return Path(_path_data(stroke), debug=False, **own_color, **own_width)


def _path_data(stroke: np.ndarray) -> str:
    """The stroke as one polyline; a dot as a line of no length, which its round ends make visible."""
    first, *others = [f"{x},{y}" for x, y in stroke.tolist()]
    return f"M {first} h 0" if is_dot(stroke) else f"M {first} L {' '.join(others)}"


def _labels(document: svgwrite.Drawing, page: Page) -> svgwrite.container.Group:
    group = document.g(fill=INK, font_size=_number(page.font_size), font_family="sans-serif", text_anchor="middle")
    for cell in page.cells:
        if cell.label:
            x, y = cell.label_place
            group.add(document.text(cell.label, x=[_number(x)], y=[_number(y)]))
    return group


def _number(value: float) -> float:
    return round(value, 2)
