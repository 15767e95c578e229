"""InkML, W3C's XML of pen strokes (https://www.w3.org/TR/InkML): read as drawings, written from a corpus.

A file is one drawing, its strokes all the traces in it that are not pen-up, in the order of the file; its text is the
annotation `truth`, `transcription` or `text` of the root, its label `label` or `class`. A traceGroup that has an
annotation of type `drawing` is a drawing by itself, with annotations of its own: so `write` keeps many apart. Other
groups divide one drawing, as the symbols of a CROHME formula do, and traceViews only refer.

The columns X and Y are found by the names in traceFormat, that of the trace's context where it has one, else the
first; without any they are the first two. X grows to the right and Y downwards unless a channel's orientation is -ve.
Values may be differences: ' of the first and " of the second order, ! absolute; a prefix holds until the next one in
its channel. * is the value before, and a point with ? for X or Y is left out. Time and all else are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import MOST_POINTS, Drawings, Record, Remark
from mdnrnn.data.formats.format import Format, check_strokes, whole_file
from mdnrnn.data.formats.xml import identity, name_of, near, parse_xml, root_name
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError, InputError
from mdnrnn.files import write_atomically

_MOST_BYTES = 64 << 20
_MOST_TRACE = 16 << 20
"""Characters of one trace: a million points."""
_TEXT, _LABEL, _DRAWING = ("truth", "transcription", "text"), ("label", "class"), ("drawing",)
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_VALUE = re.compile(
    r"""(?P<all>(?:(?P<order>[!'"])\s*)?"""
    r"""(?P<value>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?\#[+-]?[0-9A-Fa-f]{1,13}|[*?TF])\s*)"""
)


class _Axes(NamedTuple):
    """Where X and Y stand among the values of a point, and whether they grow to the right and down, 1, or not, -1."""

    columns: tuple[int, int] = (0, 1)
    signs: tuple[int, int] = (1, 1)
    channels: int = 2


def _recognises(path: Path, head: bytes) -> bool:
    """Whether its root is <ink>."""
    return root_name(head) == "ink"


def _parse(path: Path) -> Drawings:
    root = parse_xml(path, _MOST_BYTES)
    if name_of(root) != "ink":
        raise DataError(f"{path}: its root is <{name_of(root)}>; expected <ink>")
    formats = _formats(root, path)
    owned = _owned(root)
    alone = len(owned) == 1 and root in owned
    drawings: list[tuple[list[Polyline], Record]] = []
    drops: list[Remark] = []
    mends: list[Remark] = []
    for number, (owner, traces) in enumerate(owned.items()):
        where = str(path) if alone else f"{path}, drawing {number}"
        try:
            strokes = _strokes(traces, formats, where, mends)
        except ValueError as error:
            drops.append(Remark("malformed trace", str(error)))
            continue
        text, label = _annotation(owner, _TEXT), _annotation(owner, _LABEL)
        drawings.append((strokes, Record(where, label=label, text=text)))
    return Drawings.of(drawings, drops, mends)


def _owned(root: Element) -> dict[Element, list[tuple[Element, str | None]]]:
    """The traces of each drawing, with their contexts; the key is the root, or the group that is the drawing."""
    owned: dict[Element, list[tuple[Element, str | None]]] = {}
    waiting: list[tuple[Element, Element, str | None]] = [(root, root, None)]
    while waiting:
        element, owner, context = waiting.pop()
        name, context = name_of(element), element.get("contextRef", context)
        if name == "trace":
            if element.get("type", "").lower() != "penup":
                owned.setdefault(owner, []).append((element, context))
            continue
        if name == "traceGroup" and _annotation(element, _DRAWING) is not None:
            owner = element
            owned.setdefault(owner, [])
        waiting += [(child, owner, context) for child in reversed(element)]
    return owned or {root: []}


def _annotation(element: Element, types: tuple[str, ...]) -> str | None:
    """What the first annotation of one of these types says, if it says anything."""
    for child in element:
        if name_of(child) == "annotation" and child.get("type", "").lower() in types and child.text:
            return child.text if child.get(_SPACE) == "preserve" else child.text.strip() or None
    return None


def _formats(root: Element, path: Path) -> dict[str | None, _Axes]:
    """The axes of every trace format, by what a trace's context refers to; under None those of all other traces."""
    formats: dict[str | None, _Axes] = {}
    for element in root.iter():
        name = name_of(element)
        if name not in ("traceFormat", "inkSource", "context"):
            continue
        inside = [element] if name == "traceFormat" else [e for e in near(element) if name_of(e) == "traceFormat"]
        reference = element.get("traceFormatRef") or element.get("inkSourceRef") or ""
        axes = _axes(inside[0], path) if inside else formats.get(reference)
        if axes is not None:
            formats.setdefault(None, axes)
            formats[f"#{identity(element)}"] = axes
    formats.setdefault(None, _Axes())
    return formats


def _axes(form: Element, path: Path) -> _Axes:
    channels = [element for element in near(form) if name_of(element) == "channel"]
    names = [channel.get("name", "").upper() for channel in channels]
    if not names:
        return _Axes()
    if "X" not in names or "Y" not in names:
        raise DataError(f"{path}: its traceFormat has the channels {' '.join(names)[:80]}; expected X and Y among them")
    columns = names.index("X"), names.index("Y")
    turned = [channels[column].get("orientation") == "-ve" for column in columns]
    return _Axes(columns, (-1 if turned[0] else 1, -1 if turned[1] else 1), len(channels))


def _strokes(
    traces: list[tuple[Element, str | None]],
    formats: dict[str | None, _Axes],
    where: str,
    mends: list[Remark],
) -> list[Polyline]:
    """The polylines of one drawing; traces that continue others are joined to them."""
    strokes: list[list[Polyline]] = []
    places: dict[str, int] = {}
    for number, (trace, context) in enumerate(traces):
        try:
            points, missing = _points(trace.text or "", formats.get(context, formats[None]))
        except ValueError as error:
            raise ValueError(f"{where}, trace {number} {error}") from error
        if missing:
            mends.append(Remark("no value", f"{where}, trace {number}: {missing} points without X or Y left out"))
        place = len(strokes)
        if trace.get("continuation") in ("middle", "end"):
            prior = trace.get("priorRef", "").removeprefix("#")
            place = places.get(prior, place)
            if prior not in places:
                mends.append(
                    Remark("no prior trace", f"{where}, trace {number} continues {prior!r}, which is not there")
                )
        if place == len(strokes):
            strokes.append([])
        strokes[place].append(points)
        name = identity(trace)
        if name:
            places[name] = place
    return [np.concatenate(parts) for parts in strokes]


def _points(text: str, axes: _Axes) -> tuple[Polyline, int]:
    """The points of a trace (n, 2), and how many are left out because they have no value."""
    if len(text) > _MOST_TRACE or text.count(",") >= MOST_POINTS:
        raise ValueError(f"has over {MOST_POINTS} points, or is over {_MOST_TRACE >> 20} MB; split it")
    parts = text.strip().rstrip(",").split(",")
    if parts == [""]:
        return np.zeros((0, 2)), 0
    try:
        values = np.array([part.split() for part in parts], np.float64)
        if len(values) == 1 and values.size >= 2 * axes.channels and values.size % axes.channels == 0:
            values = values.reshape(-1, axes.channels)  # the drafts of InkML had no commas
        points = values[:, axes.columns]
    except (ValueError, IndexError):  # prefixes, channels that come and go, or no numbers at all
        points = np.stack(_decoded(parts, axes), axis=1)
    known = np.flatnonzero(~np.isnan(points).any(axis=1)) if "?" in text else np.arange(len(points))
    return points[known] * axes.signs, len(points) - len(known)


def _decoded(parts: list[str], axes: _Axes) -> tuple[np.ndarray, np.ndarray]:
    """X (n,) and Y (n,) of points whose values have prefixes; NaN where there is no value."""
    found: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for part in parts:
        part = part.strip()
        values = _VALUE.findall(part)
        if sum(len(value[0]) for value in values) < len(part) or len(values) <= max(axes.columns):
            expected = f"expected at least {max(axes.columns) + 1} values, and points apart by commas"
            raise ValueError(f"has a point {part[:40]!r}; {expected}")
        for channel, column in zip(found, axes.columns, strict=True):
            channel.append(values[column][1:])
    return _integrated(found[0]), _integrated(found[1])


def _integrated(values: list[tuple[str, str]]) -> np.ndarray:
    """A channel (n,) from the prefixes and texts of its values."""
    channel = np.empty(len(values))
    order, last, velocity = "!", 0.0, 0.0
    for i, (prefix, text) in enumerate(values):
        order = prefix or order
        if text == "?":
            channel[i] = np.nan
            continue
        value = last if text == "*" else _number(text)
        if order == "'" and text != "*":
            value += last
        elif order == '"' and text != "*":
            value += last + velocity
        velocity, last = value - last, value
        channel[i] = value
    return channel


def _number(text: str) -> float:
    if text in "TF":
        raise ValueError(f"has {text} for X or Y; expected a number")
    if "#" in text:
        return float(int(text.replace("#", ""), 16))
    return float(text)


def write(corpus: Corpus, path: Path) -> None:
    """All sequences of a corpus of strokes, each a group marked as a drawing, with its label and its text."""
    check_strokes(corpus)
    write_atomically(path, lambda file: file.writelines(line.encode() for line in _lines(corpus)))


def _lines(corpus: Corpus) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<ink xmlns="http://www.w3.org/2003/InkML">\n<traceFormat>'
    yield '<channel name="X" type="decimal"/><channel name="Y" type="decimal"/></traceFormat>\n'
    for i in range(len(corpus)):
        yield f'<traceGroup xml:id="drawing{i}">\n<annotation type="drawing">{i}</annotation>\n'
        if corpus.label is not None:
            yield _written("label", corpus.facts.classes[int(corpus.label[i])], i)
        text = getattr(corpus[i], "text", None)
        if text:
            yield _written("text", text, i)
        for stroke in corpus.drawing(i):
            yield f"<trace>{', '.join(f'{_decimal(x)} {_decimal(y)}' for x, y in stroke.tolist())}</trace>\n"
        yield "</traceGroup>\n"
    yield "</ink>\n"


def _written(kind: str, text: str, index: int) -> str:
    wrong = _NOT_XML.search(text)
    if wrong:
        raise InputError(f"the {kind} of sequence {index} holds {wrong[0]!r}, which XML cannot; take it out")
    return f'<annotation type="{kind}" xml:space="preserve">{escape(text, {chr(13): "&#13;"})}</annotation>\n'


def _decimal(value: float) -> str:
    """A number to nine digits, all that float32 holds, without an exponent: InkML has none."""
    if value.is_integer():
        return f"{value:.0f}"
    text = f"{value:.9g}"
    return np.format_float_positional(float(text), trim="-") if "e" in text else text


FORMAT = Format("InkML", (".inkml",), _recognises, whole_file, _parse, group="folder")
