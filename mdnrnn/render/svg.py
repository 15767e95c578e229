"""Convert a sheet to SVG.

Each stroke is an unfilled path. The SVG has no background shape, because plotters would draw this shape.
"""

from __future__ import annotations

import svgwrite
from svgwrite.path import Path

from mdnrnn.data.strokes import Polyline
from mdnrnn.render.geometry import is_dot
from mdnrnn.render.layout import Sheet
from mdnrnn.render.style import INK


def to_svg(sheet: Sheet) -> str:
    """Return the text of an SVG file without animation. A page unit is one pixel."""
    document, _ = svg_document(sheet)
    return str(document.tostring())


def svg_document(sheet: Sheet) -> tuple[svgwrite.Drawing, list[list[Path]]]:
    """Return an SVG document, and the paths of the strokes of each cell.

    A CSS style of the root element makes the background white. Viewers apply the style, even in dark mode; plotters
    ignore the style.
    """
    document = svgwrite.Drawing(
        size=(_round(sheet.width), _round(sheet.height)),
        viewBox=f"0 0 {_round(sheet.width)} {_round(sheet.height)}",
        style="background:#fff",
        debug=False,
    )
    lines = document.g(
        fill="none",
        stroke=INK,
        stroke_width=_round(sheet.line_width),
        stroke_linecap="round",
        stroke_linejoin="round",
    )
    paths = []
    for cell in sheet.cells:
        styled = zip(cell.strokes, cell.colors, cell.line_widths, strict=True)
        paths.append([_path(stroke, color, width, sheet.line_width) for stroke, color, width in styled])
        group = document.g()
        group.elements.extend(paths[-1])
        lines.add(group)
    document.add(lines)
    if sheet.font_size:
        document.add(_labels(document, sheet))
    return document, paths


def _path(stroke: Polyline, color: str, width: float, default_width: float) -> Path:
    color_attribute = {} if color == INK else {"stroke": color}
    width_attribute = {} if width == default_width else {"stroke_width": _round(width)}
    return Path(_path_data(stroke), debug=False, **color_attribute, **width_attribute)


def _path_data(stroke: Polyline) -> str:
    """Return the path data of a stroke. A dot is a line of length 0.1, because plotter tools drop lines of length 0."""
    first, *others = [f"{x},{y}" for x, y in stroke.tolist()]
    return f"M {first} h 0.1" if is_dot(stroke) else f"M {first} L {' '.join(others)}"


def _labels(document: svgwrite.Drawing, sheet: Sheet) -> svgwrite.container.Group:
    group = document.g(fill=INK, font_size=_round(sheet.font_size), font_family="sans-serif", text_anchor="middle")
    for cell in sheet.cells:
        if cell.label:
            x, y = cell.label_position
            group.add(document.text(cell.label, x=[_round(x)], y=[_round(y)]))
    return group


def _round(value: float) -> float:
    return round(value, 2)
