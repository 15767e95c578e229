"""Parser of SVG path data: the commands in the attribute d of a <path>."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from mdnrnn.data.formats.bezier import MAX_ARC_SEGMENTS, PathBuilder
from mdnrnn.data.formats.svg_values import NUMBER, NUMBER_OR_CHARACTER, parse_numbers
from mdnrnn.errors import DataError

_FLAG = re.compile(r"[\s,]*([01])", re.ASCII)
_NEXT_NUMBER = re.compile(rf"[\s,]*({NUMBER})", re.ASCII)
_COMMAND = re.compile(r"([MmZzLlHhVvCcSsQqTtAa])([^MmZzLlHhVvCcSsQqTtAa]*)")
_BLOCK = re.compile(
    r"(?:[MmZzLlHhVvCcSsQqTt][^MmZzLlHhVvCcSsQqTtAa]*){1,4096}|(?:[Aa][^MmZzLlHhVvCcSsQqTtAa]*){1,4096}"
)
"""Consecutive commands that are parsed together. Arcs form blocks of their own, as their flags need no separators."""
_LETTERS = frozenset("MmZzLlHhVvCcSsQqTt")
_COMMA_AFTER_CLOSE = re.compile(r"[Zz]\s*,")
_SEPARATOR, _WHOLE_NUMBER = r"[\s,]*", rf"({NUMBER})(?![0-9.eE])"
_ARC = re.compile(_SEPARATOR.join(["", *[_WHOLE_NUMBER] * 3, "([01])", "([01])", *[_WHOLE_NUMBER] * 2]), re.ASCII)
"""The arguments of one arc. The lookahead prevents a group from matching only the first part of a number."""
_LINES = {"l": 2, "L": 2, "h": 1, "H": 1, "v": 1, "V": 1}
"""Number of arguments of one straight line, by command. `parse_path` has a fast path for these frequent commands."""
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}


class _LastControl(NamedTuple):
    """Last control point (x, y) of the preceding command.

    `kind` is the kind of the preceding command: "C" for a cubic curve, "Q" for a quadratic curve, "" for no curve.
    """

    kind: str = ""
    x: float = 0.0
    y: float = 0.0


_NO_CURVE = _LastControl()


def parse_path(builder: PathBuilder, data: str, location: str, max_segments: int) -> str:
    """Parse path data and append the segments to a builder, up to the first error.

    Args:
        builder: builder of the path.
        data: attribute d of a <path>.
        location: file name for error messages.
        max_segments: maximum number of segments.

    Returns:
        The text at the first error, or "" if all of `data` is valid.

    Raises:
        DataError: the path has more than `max_segments` segments.
    """
    data = data.strip()
    if data and data[0] not in "Mm":
        return data
    last = _NO_CURVE
    for block in _BLOCK.finditer(data):
        for number, (letter, values, complete) in enumerate(_split_commands(block[0])):
            if complete and len(values) == _LINES.get(letter) and len(builder) < max_segments:
                _draw_line(builder, letter, values)
                last = _NO_CURVE
                continue
            size = _ARGUMENTS[letter.upper()]
            count = len(values) // size if size else 0
            if len(builder) + MAX_ARC_SEGMENTS * count * (size == 7) + count > max_segments:
                raise too_many_points(location, max_segments)
            last = _run_command(builder, letter, values[: count * size], last)
            if not complete or len(values) != count * size or (size and not count):
                return next(islice(_COMMAND.finditer(block[0]), number, None)).group()
    return ""


def _split_commands(block: str) -> Iterator[tuple[str, list[float], bool]]:
    """Yield the letter of each command, its numbers, and whether all of its text was read."""
    values = _parse_block(block)
    if values is not None:
        starts = [i for i, value in enumerate(values) if isinstance(value, str)]
        for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
            yield values[start], values[start + 1 : end], True
        return
    for letter, text in _COMMAND.findall(block):
        if letter in "Zz":
            yield letter, [], not text or text.isspace()
        else:
            yield letter, *(_parse_arc_arguments(text) if letter in "Aa" else parse_numbers(text))


def _parse_block(block: str) -> list[Any] | None:
    """Return the letters and numbers of a block in order; None if the block has arcs or an invalid character."""
    if block[0] in "Aa" or _COMMA_AFTER_CLOSE.search(block):
        return None
    try:
        return [token if token in _LETTERS else float(token) for token in NUMBER_OR_CHARACTER.findall(block)]
    except ValueError:
        return None


def too_many_points(location: str, limit: int) -> DataError:
    """Return the exception for a drawing with more than `limit` points."""
    return DataError(f"{location}: received over {limit} points, expected at most {limit}; simplify the drawing")


def _draw_line(builder: PathBuilder, letter: str, values: list[float]) -> None:
    """Execute a command that draws one straight line."""
    if letter == "h":
        builder.line_to(builder.x + values[0], builder.y)
    elif letter == "v":
        builder.line_to(builder.x, builder.y + values[0])
    elif letter == "l":
        builder.line_to(builder.x + values[0], builder.y + values[1])
    elif letter == "H":
        builder.line_to(values[0], builder.y)
    elif letter == "V":
        builder.line_to(builder.x, values[0])
    else:
        builder.line_to(values[0], values[1])


def _run_command(builder: PathBuilder, letter: str, values: list[float], last: _LastControl) -> _LastControl:
    """Execute a command once per group of its arguments; return the last control point.

    Args:
        builder: builder of the path.
        letter: letter of the command.
        values: arguments of the command.
        last: last control point of the preceding command.
    """
    kind, relative = letter.upper(), letter.islower()
    size = _ARGUMENTS[kind]
    if kind == "Z":
        builder.close()
        return _NO_CURVE
    for i in range(0, len(values), size):
        v = values[i : i + size]
        x, y = (builder.x, builder.y) if relative else (0.0, 0.0)
        previous, last = last, _NO_CURVE
        if kind == "C":
            last = _LastControl("C", x + v[2], y + v[3])
            builder.cubic_to(x + v[0], y + v[1], x + v[2], y + v[3], x + v[4], y + v[5])
        elif kind == "L":
            builder.line_to(x + v[0], y + v[1])
        elif kind == "S":
            last = _LastControl("C", x + v[0], y + v[1])
            builder.cubic_to(*_reflect_control(builder, previous, "C"), x + v[0], y + v[1], x + v[2], y + v[3])
        elif kind == "H":
            builder.line_to(x + v[0], builder.y)
        elif kind == "V":
            builder.line_to(builder.x, y + v[0])
        elif kind == "Q":
            last = _LastControl("Q", x + v[0], y + v[1])
            builder.quadratic_to(x + v[0], y + v[1], x + v[2], y + v[3])
        elif kind == "T":
            control = _reflect_control(builder, previous, "Q")
            last = _LastControl("Q", *control)
            builder.quadratic_to(*control, x + v[0], y + v[1])
        elif kind == "A":
            builder.arc_to(v[0], v[1], v[2], v[3], v[4], x + v[5], y + v[6])
        else:
            builder.move_to(x + v[0], y + v[1])
            kind = "L"  # further coordinate pairs of a move are lines
    return last


def _reflect_control(builder: PathBuilder, last: _LastControl, kind: str) -> tuple[float, float]:
    """Return the first control point of a smooth curve: the reflection of `last` at the current point.

    If the preceding command was not a curve of the given kind, return the current point.
    """
    if last.kind != kind:
        return builder.x, builder.y
    return 2 * builder.x - last.x, 2 * builder.y - last.y


def _parse_arc_arguments(text: str) -> tuple[list[float], bool]:
    """Return the numbers in the arguments of arcs, seven per arc, and whether all of `text` was read.

    The fourth and fifth number of an arc are flags, which need no separator: "0110" is 0, 1, 10.
    """
    values: list[float] = []
    position = 0
    while match := _ARC.match(text, position):
        values += map(float, match.groups())
        position = match.end()
    while match := (_FLAG if len(values) % 7 in (3, 4) else _NEXT_NUMBER).match(text, position):
        values.append(float(match[1]))
        position = match.end()
    return values, not text[position:].strip(" \t\r\n\f,")
