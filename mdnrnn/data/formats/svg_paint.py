"""Paint of SVG elements: whether an element has a visible stroke or fill. Elements inherit the paint of ancestors.

Source: Scalable Vector Graphics (SVG) 2, chapter 13 (https://www.w3.org/TR/SVG2/painting.html).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from PIL import ImageColor

from mdnrnn.data.formats.svg_tree import Element
from mdnrnn.data.formats.svg_values import parse_length

_ZERO = r"(?:0+(?:\.0*)?|\.0+)%?\s*\)"
_TRANSPARENT = re.compile(
    r"\s*(?:none|transparent|#[0-9a-f]{3}0|#[0-9a-f]{6}00"
    rf"|(?:rgb|hsl)a?\((?:[^,)/]*,){{3}}\s*{_ZERO}|(?:rgb|hsl)a?\([^,)/]*/\s*{_ZERO})\s*",
    re.IGNORECASE,
)
_MAX_COLOR = 100
"""Maximum characters of a color. A longer text is not parsed and counts as a visible color."""
_CACHED = 128
"""Number of results that each cached function keeps. Most files contain few different colors."""
_INITIAL = {
    "fill": "black", "stroke": "none", "visibility": "visible",
    "fill-opacity": "1", "stroke-opacity": "1", "stroke-width": "1",
}  # fmt: skip
"""Initial values of the inherited properties."""


class Paint(NamedTuple):
    """Properties of an element that its descendants inherit."""

    fill: str = _INITIAL["fill"]
    stroke: str = _INITIAL["stroke"]
    visibility: str = _INITIAL["visibility"]
    fill_opacity: str = _INITIAL["fill-opacity"]
    stroke_opacity: str = _INITIAL["stroke-opacity"]
    stroke_width: str = _INITIAL["stroke-width"]
    is_declared: bool = False
    """Whether the file sets fill or stroke for the element or for one of its ancestors."""

    def enter(self, element: Element) -> Paint:
        """Return the paint of an element whose parent has this paint."""
        changes: dict[str, str] = {}
        for name, initial in _INITIAL.items():
            value = element.get_property(name)
            if value is not None and value.lower() not in ("inherit", "unset", "revert"):
                changes[name.replace("-", "_")] = initial if value.lower() == "initial" else value
        if not changes:
            return self
        return self._replace(**changes, is_declared=self.is_declared or "fill" in changes or "stroke" in changes)

    @property
    def is_visible(self) -> bool:
        """Whether the property `visibility` is "visible"."""
        return self.visibility.lower() == "visible"

    @property
    def has_stroke(self) -> bool:
        """Whether the stroke is visible."""
        return not (is_transparent(self.stroke) or is_zero(self.stroke_opacity) or is_zero(self.stroke_width))

    @property
    def has_fill(self) -> bool:
        """Whether the fill is visible."""
        return not (is_transparent(self.fill) or is_zero(self.fill_opacity))

    @property
    def is_none(self) -> bool:
        """Whether stroke and fill are both "none"."""
        return self.stroke.lower() == self.fill.lower() == "none"


@lru_cache(_CACHED)
def is_transparent(color: str) -> bool:
    """Return whether a paint is none, or a color with opacity 0."""
    return len(color) <= _MAX_COLOR and _TRANSPARENT.fullmatch(color) is not None


@lru_cache(_CACHED)
def is_zero(text: str) -> bool:
    """Return whether an opacity or a width is zero or negative."""
    number = parse_length(text, 1.0)
    return number is not None and number <= 0


@lru_cache(_CACHED)
def normalize_color(color: str) -> str:
    """Return a text that is equal for equal colors, such as "black" and "#000"."""
    try:
        return str(ImageColor.getrgb(color.strip().lower()))
    except ValueError:
        return color.strip().lower()
