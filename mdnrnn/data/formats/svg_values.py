"""Values of SVG attributes: lists of numbers, lengths with units, and transforms."""

from __future__ import annotations

import math
import re

NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
NUMBER_OR_CHARACTER = re.compile(rf"{NUMBER}|[^\s,]", re.ASCII)
_LENGTH = re.compile(rf"({NUMBER})\s*([a-zA-Z]*|%)", re.ASCII)
_MAX_LENGTH_CHARACTERS = 100
_PX_PER_UNIT = {"": 1, "px": 1, "in": 96, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 4 / 3, "pc": 16}
_PHYSICAL_UNITS = _PX_PER_UNIT.keys() - {"", "px"}
_PX_PER_UNIT = _PX_PER_UNIT | {"em": 16, "rem": 16, "ex": 8}
_TRANSFORM = re.compile(r"[\s,]*([a-zA-Z]+)\s*\(([^()]*)\)[\s,]*", re.ASCII)
_PX, _DEG = (re.compile(rf"(?<=[0-9.]){unit}(?![^\s,])", re.ASCII | re.IGNORECASE) for unit in ("px", "deg"))
_UNIT_OF_TRANSFORM = {"translate": _PX, "rotate": _DEG, "skewX": _DEG, "skewY": _DEG}
"""Units that CSS writes after the arguments of a transform. They are removed, because SVG implies the same units."""

Matrix = tuple[float, float, float, float, float, float]
"""Affine map (a, b, c, d, e, f): x' = a x + c y + e, y' = b x + d y + f."""
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def parse_numbers(text: str) -> tuple[list[float], bool]:
    """Return the numbers before the first invalid character, and whether all of `text` was read."""
    tokens = NUMBER_OR_CHARACTER.findall(text)
    try:
        return list(map(float, tokens)), True
    except ValueError:
        values: list[float] = []
        for token in tokens:
            try:
                values.append(float(token))
            except ValueError:
                break
        return values, False


def parse_length(text: str, full: float) -> float | None:
    """Return a length in user units, or None if `text` is not a length.

    Args:
        full: length of 100% in user units.
    """
    match = _LENGTH.fullmatch(text.strip()) if len(text) < _MAX_LENGTH_CHARACTERS else None
    if not match:
        return None
    number, unit = match.groups()
    if unit == "%":
        return float(number) / 100 * full
    scale = _PX_PER_UNIT.get(unit.lower())
    return None if scale is None else float(number) * scale


def physical_unit(text: str) -> str:
    """Return the unit of a length if it is a physical unit, such as mm; else return ""."""
    match = _LENGTH.fullmatch(text.strip()) if len(text) < _MAX_LENGTH_CHARACTERS else None
    return match[2] if match and match[2].lower() in _PHYSICAL_UNITS else ""


def multiply(outer: Matrix, inner: Matrix) -> Matrix:
    """Return the affine map that applies `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, l = inner  # noqa: E741
    return a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * l + e, b * k + d * l + f


def translation(x: float, y: float) -> Matrix:
    """Return the translation by (x, y)."""
    return 1.0, 0.0, 0.0, 1.0, x, y


def parse_transform(text: str) -> Matrix:
    """Return the affine map of the text of a transform attribute.

    Raises:
        ValueError: `text` is not a list of transforms.
    """
    matrix, position = IDENTITY, 0
    text = text.strip()
    while position < len(text) and text != "none":
        match = _TRANSFORM.match(text, position)
        if not match:
            raise ValueError(text)
        name, arguments = match.groups()
        values, complete = parse_numbers(
            _UNIT_OF_TRANSFORM[name].sub("", arguments) if name in _UNIT_OF_TRANSFORM else arguments
        )
        if not complete:
            raise ValueError(text)
        matrix = multiply(matrix, _transform_matrix(name, values))
        position = match.end()
    return matrix


def _transform_matrix(name: str, values: list[float]) -> Matrix:
    count = len(values)
    if name == "matrix" and count == 6:
        a, b, c, d, e, f = values
        return a, b, c, d, e, f
    if name == "translate" and count in (1, 2):
        return translation(values[0], values[1] if count == 2 else 0.0)
    if name == "scale" and count in (1, 2):
        return values[0], 0.0, 0.0, values[-1], 0.0, 0.0
    if name == "rotate" and count in (1, 3):
        cos, sin = math.cos(math.radians(values[0])), math.sin(math.radians(values[0]))
        x, y = values[1:] or (0.0, 0.0)
        return cos, sin, -sin, cos, x - x * cos + y * sin, y - x * sin - y * cos
    if name == "skewX" and count == 1:
        return 1.0, 0.0, math.tan(math.radians(values[0])), 1.0, 0.0, 0.0
    if name == "skewY" and count == 1:
        return 1.0, math.tan(math.radians(values[0])), 0.0, 1.0, 0.0, 0.0
    raise ValueError(name)
