"""Maps from the viewBox of an SVG element to its viewport, according to preserveAspectRatio.

Source: Scalable Vector Graphics (SVG) 2, section 8.2 (https://www.w3.org/TR/SVG2/coords.html).
"""

from __future__ import annotations

import math

from mdnrnn.data.formats.svg_tree import Element
from mdnrnn.data.formats.svg_values import IDENTITY, Matrix, parse_length

_ALIGNMENT = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}


def view_box_matrix(
    element: Element, view_box: tuple[float, float, float, float], width: float, height: float
) -> Matrix:
    """Return the map from a viewBox to the viewport (0, 0, width, height)."""
    words = _aspect_ratio(element)
    scale_x, scale_y = width / view_box[2], height / view_box[3]
    if words[0] != "none":
        scale_x = scale_y = max(scale_x, scale_y) if "slice" in words else min(scale_x, scale_y)
    left = (width - scale_x * view_box[2]) * _ALIGNMENT.get(words[0][1:4], 0.5)
    top = (height - scale_y * view_box[3]) * _ALIGNMENT.get(words[0][5:8], 0.5)
    return scale_x, 0.0, 0.0, scale_y, left - scale_x * view_box[0], top - scale_y * view_box[1]


def page_matrix(root: Element) -> Matrix:
    """Return the map from the viewBox to the page, or the identity.

    The identity is returned if the map preserves the aspect ratio, or if the size of the page is not known. In both
    cases, the coordinates of the drawing are those in the file.
    """
    if root.view_box is None or _aspect_ratio(root)[0] != "none":
        return IDENTITY
    # A percentage refers to the window of a browser, whose size is unknown.
    width, height = (parse_length(root.get_property(name) or "", math.nan) for name in ("width", "height"))
    if width is None or height is None or not (0 < width < math.inf and 0 < height < math.inf):
        return IDENTITY
    matrix = view_box_matrix(root, root.view_box, width, height)
    return IDENTITY if math.isclose(matrix[0], matrix[3], rel_tol=1e-6) else matrix


def _aspect_ratio(element: Element) -> list[str]:
    return (element.get_property("preserveAspectRatio") or "").split() or ["xMidYMid"]
