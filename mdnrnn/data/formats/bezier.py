"""Lines, arcs and Bézier curves as SVG writes them: drawn as cubics, flattened to polylines within a tolerance."""

from __future__ import annotations

import cmath
import math
import re
from array import array
from typing import NamedTuple

import numpy as np

from mdnrnn.errors import DataError

_MOST_PIECES = 1000
"""Of one curve. A curve within its drawing's box needs fewer; rounding far from the origin can ask for more."""

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_TOKEN = re.compile(rf"{_NUMBER}|[^\s,]", re.ASCII)
"""A number, or one character of what is none."""
_FLAG = re.compile(r"[\s,]*([01])", re.ASCII)
_NEXT_NUMBER = re.compile(rf"[\s,]*({_NUMBER})", re.ASCII)
_COMMAND = re.compile(r"([MmZzLlHhVvCcSsQqTtAa])([^MmZzLlHhVvCcSsQqTtAa]*)")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7}
_TRANSFORM = re.compile(r"[\s,]*([a-zA-Z]+)\s*\(([^()]*)\)[\s,]*", re.ASCII)
_PX, _DEG = (re.compile(rf"(?<=[0-9.]){unit}(?![^\s,])", re.ASCII | re.IGNORECASE) for unit in ("px", "deg"))
_UNIT_OF = {"translate": _PX, "rotate": _DEG, "skewX": _DEG, "skewY": _DEG}
"""What CSS writes behind the numbers of a transform, where it is the unit that SVG has anyway."""

Matrix = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x' = a x + c y + e, y' = b x + d y + f."""
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


class Outline(NamedTuple):
    """Subpaths, one after the other, as cubic Bézier curves.

    curves (K, 4, 2): a straight line has its ends twice; moves (S,): the rows where subpaths start, which hold the
    start four times.
    """

    curves: np.ndarray
    moves: np.ndarray

    def moved(self, matrix: Matrix) -> Outline:
        """Under an affine map."""
        if matrix == IDENTITY:
            return self
        a, b, c, d, e, f = matrix
        return Outline(self.curves @ np.array([[a, b], [c, d]]) + (e, f), self.moves)


class Pen:
    """Draws curves from where it stands. A subpath begins with the first curve after a move."""

    def __init__(self) -> None:
        self.x = self.y = 0.0
        self._start = (0.0, 0.0)
        self._rows = array("d")
        self._moves: list[int] = []
        self._down = False
        self._moved = False

    def __len__(self) -> int:
        return len(self._rows) // 8

    def outline(self) -> Outline:
        """What it has drawn."""
        return Outline(np.array(self._rows).reshape(-1, 4, 2), np.array(self._moves, np.int64))

    def move(self, x: float, y: float) -> None:
        self.x, self.y = self._start = (x, y)
        self._down, self._moved = False, True

    def line(self, x: float, y: float) -> None:
        self._curve(self.x, self.y, x, y, x, y)

    def cubic(self, x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> None:
        self._curve(x1, y1, x2, y2, x, y)

    def quadratic(self, x1: float, y1: float, x: float, y: float) -> None:
        third = 2 / 3
        x0, y0 = self.x, self.y
        self._curve(x0 + third * (x1 - x0), y0 + third * (y1 - y0), x + third * (x1 - x), y + third * (y1 - y), x, y)

    def arc(self, rx: float, ry: float, degrees: float, large: float, sweep: float, x: float, y: float) -> None:
        """Of an ellipse with these radii, turned by `degrees`; a straight line where there is no such ellipse.

        SVG 1.1, appendix F.6: in the coordinates where the ellipse is a circle of radius 1 around 0, as complex
        numbers; pieces of 45 degrees are cubics to 4e-6 of the radius.
        """
        if (x, y) == (self.x, self.y):
            self._land()
            return
        try:
            rows = self._arc(abs(rx), abs(ry), math.radians(degrees), bool(large), bool(sweep), x, y)
        except (ArithmeticError, ValueError):  # radii of 0, numbers beyond all measure
            self.line(x, y)
            return
        for row in rows:
            self._curve(*row)

    def _arc(
        self, rx: float, ry: float, turn: float, large: bool, sweep: bool, x: float, y: float
    ) -> list[tuple[float, float, float, float, float, float]]:
        cos, sin = math.cos(turn), math.sin(turn)
        dx, dy = (self.x - x) / 2, (self.y - y) / 2
        half = complex((dx * cos + dy * sin) / rx, (dy * cos - dx * sin) / ry)
        reach = abs(half)
        if reach > 1:  # The ellipse is too small to touch both ends: it grows.
            rx, ry, half, reach = rx * reach, ry * reach, half / reach, 1.0
        center = half * complex(0, -1 if large != sweep else 1) * math.sqrt(1 - reach * reach) / reach
        first = half - center
        angle = cmath.phase((-half - center) / first)
        if sweep and angle < 0:
            angle += 2 * math.pi
        elif not sweep and angle > 0:
            angle -= 2 * math.pi
        pieces = max(1, math.ceil(abs(angle) / (math.pi / 4) - 1e-9))
        step = angle / pieces
        handle = complex(1, 4 / 3 * math.tan(step / 4))
        middle_x, middle_y = (self.x + x) / 2, (self.y + y) / 2

        def back(point: complex) -> tuple[float, float]:
            across, along = (point + center).real * rx, (point + center).imag * ry
            return middle_x + across * cos - along * sin, middle_y + across * sin + along * cos

        rows = []
        for piece in range(pieces):
            here, there = first * cmath.rect(1, piece * step), first * cmath.rect(1, (piece + 1) * step)
            end = (x, y) if piece == pieces - 1 else back(there)
            rows.append((*back(here * handle), *back(there * handle.conjugate()), *end))
        return rows

    def close(self) -> None:
        """Back to where the subpath began; a move that is closed at once is a dot."""
        if self._moved:
            self._land()
        if (self.x, self.y) != self._start:
            self.line(*self._start)
        self._down = self._moved = False

    def _land(self) -> None:
        if not self._down:
            self._moves.append(len(self))
            self._rows.extend((self.x, self.y) * 4)
            self._down, self._moved = True, False

    def _curve(self, x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> None:
        if not self._down:
            self._land()
        self._rows.extend((self.x, self.y, x1, y1, x2, y2, x, y))
        self.x, self.y = x, y


def numbers(text: str) -> tuple[list[float], bool]:
    """The numbers before anything that is none, and whether that is all."""
    tokens = _TOKEN.findall(text)
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


def draw_path(pen: Pen, data: str, where: str, most: int) -> str:
    """Draw path data as far as it is right, at most `most` curves; what stands where it is wrong, or ""."""
    data = data.strip()
    if data and data[0] not in "Mm":
        return data
    smooth = "", 0.0, 0.0
    for command in _COMMAND.finditer(data):
        letter, text = command.groups()
        if letter in "Zz":
            pen.close()
            if text and not text.isspace():
                return command.group()
            continue
        values, whole = _arc_numbers(text) if letter in "Aa" else numbers(text)
        size = _ARGUMENTS[letter.upper()]
        count = len(values) // size
        if len(pen) + 8 * count * (letter in "Aa") + count > most:
            raise DataError(f"{where}: over {most} points; no hand drew so many; simplify the drawing")
        smooth = _run(pen, letter, values[: count * size], smooth)
        if not whole or not count or len(values) % size:
            return command.group()
    return ""


def _run(pen: Pen, letter: str, values: list[float], smooth: tuple[str, float, float]) -> tuple[str, float, float]:
    """One letter and its numbers; `smooth` is the kind of the curve before, C or Q, and its last handle."""
    kind, relative = letter.upper(), letter.islower()
    size = _ARGUMENTS[kind]
    for i in range(0, len(values), size):
        v = values[i : i + size]
        x, y = (pen.x, pen.y) if relative else (0.0, 0.0)
        before, smooth = smooth, ("", 0.0, 0.0)
        if kind == "C":
            smooth = "C", x + v[2], y + v[3]
            pen.cubic(x + v[0], y + v[1], x + v[2], y + v[3], x + v[4], y + v[5])
        elif kind == "L":
            pen.line(x + v[0], y + v[1])
        elif kind == "S":
            smooth = "C", x + v[0], y + v[1]
            pen.cubic(*_mirrored(pen, before, "C"), x + v[0], y + v[1], x + v[2], y + v[3])
        elif kind == "H":
            pen.line(x + v[0], pen.y)
        elif kind == "V":
            pen.line(pen.x, y + v[0])
        elif kind == "Q":
            smooth = "Q", x + v[0], y + v[1]
            pen.quadratic(x + v[0], y + v[1], x + v[2], y + v[3])
        elif kind == "T":
            handle = _mirrored(pen, before, "Q")
            smooth = "Q", *handle
            pen.quadratic(*handle, x + v[0], y + v[1])
        elif kind == "A":
            pen.arc(v[0], v[1], v[2], v[3], v[4], x + v[5], y + v[6])
        else:
            pen.move(x + v[0], y + v[1])
            kind = "L"
    return smooth


def _mirrored(pen: Pen, smooth: tuple[str, float, float], kind: str) -> tuple[float, float]:
    if smooth[0] != kind:
        return pen.x, pen.y
    return 2 * pen.x - smooth[1], 2 * pen.y - smooth[2]


def _arc_numbers(text: str) -> tuple[list[float], bool]:
    """As `numbers`; the flags, the fourth and fifth of seven, may be glued to what follows: "0110" is 0, 1, 10."""
    values: list[float] = []
    place = 0
    while found := (_FLAG if len(values) % 7 in (3, 4) else _NEXT_NUMBER).match(text, place):
        values.append(float(found[1]))
        place = found.end()
    return values, not text[place:].strip(" \t\r\n\f,")


def multiply(outer: Matrix, inner: Matrix) -> Matrix:
    """The map that does `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, l = inner  # noqa: E741
    return a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * l + e, b * k + d * l + f


def read_transform(text: str) -> Matrix:
    """Of a transform attribute, or a ValueError."""
    matrix, place = IDENTITY, 0
    text = text.strip()
    while place < len(text) and text != "none":
        found = _TRANSFORM.match(text, place)
        if not found:
            raise ValueError(text)
        name, arguments = found.groups()
        values, whole = numbers(_UNIT_OF[name].sub("", arguments) if name in _UNIT_OF else arguments)
        if not whole:
            raise ValueError(text)
        matrix = multiply(matrix, _one_transform(name, values))
        place = found.end()
    return matrix


def _one_transform(name: str, values: list[float]) -> Matrix:
    count = len(values)
    if name == "matrix" and count == 6:
        a, b, c, d, e, f = values
        return a, b, c, d, e, f
    if name == "translate" and count in (1, 2):
        return 1.0, 0.0, 0.0, 1.0, values[0], values[1] if count == 2 else 0.0
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


def longer_side(curves: np.ndarray) -> float:
    """Of the box around curves (K, 4, 2), seen at their ends and quarters: at most the true one."""
    points = (_weights(np.arange(5) / 4) @ curves).reshape(-1, 2)
    return float(np.ptp(points, axis=0).max())


def pieces(curves: np.ndarray, tolerance: float) -> np.ndarray:
    """How many chords of each curve (K, 4, 2) stay within the tolerance of it, (K,), at least 1.

    Wang's formula (Goldman, Pyramid Algorithms, 2003): a chord over 1/n of the parameter is off by at most
    max|B''| / (8 n^2), and |B''| is at most 6 times the larger second difference of the control points.
    """
    bends = np.hypot(*np.moveaxis(np.diff(curves, 2, axis=1), 2, 0)).max(1)
    straight = (curves[:, 0] == curves[:, 1]).all(1) & (curves[:, 2] == curves[:, 3]).all(1)
    wanted = np.where(straight, 1, np.ceil(np.sqrt(0.75 * bends / tolerance)))
    return np.nan_to_num(wanted, nan=1, posinf=1).clip(1, _MOST_PIECES).astype(np.int64)


def evaluate(curves: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The ends of `counts` (K,) chords of each curve (K, 4, 2), without the curve's start: points (P, 2)."""
    starts = np.cumsum(counts) - counts
    t = (np.arange(counts.sum()) - starts.repeat(counts) + 1) / counts.repeat(counts)
    return np.asarray(np.einsum("pk,pkd->pd", _weights(t), curves.repeat(counts, axis=0)))


def _weights(t: np.ndarray) -> np.ndarray:
    """Bernstein's, (P, 4), of the control points at parameters (P,)."""
    s = 1 - t
    return np.stack([s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t], axis=-1)
