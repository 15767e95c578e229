"""InkML, W3C's XML of pen strokes (https://www.w3.org/TR/InkML): read as drawings, written from a corpus.

A file is one drawing, its strokes all the traces in it that are not pen-up, in the order of the file; its text is the
annotation `truth`, `transcription` or `text` of the root, its label `label` or `class`, its split `split`. Of
MathWriting, known by `splitTagOriginal` and `sampleId`, the text is `normalizedLabel`, or `label` where there is none.
A traceGroup that has an annotation of type `drawing` is a drawing by itself, with annotations of its own: so `write`
keeps many apart. Other groups divide one drawing, as the symbols of a CROHME formula do, and traceViews only refer.

The columns X and Y are found by the names in traceFormat: that of the context that a trace or a group refers to, else
of the last context or traceFormat before it outside of definitions, else the first before any trace; without any they
are the first two. X grows to the right and Y downwards unless a channel's orientation is -ve. Values may be
differences: ' of the first and " of the second order, ! absolute; a prefix holds until the next one in its channel.
* is the value before, and a point with ? for X or Y is left out. Time and all else are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import numpy as np

from mdnrnn.data.corpus import SPLITS, Corpus
from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, check_drawing_corpus, single_chunk
from mdnrnn.data.formats.xml import MOST_MARKS, identity, marks_of, name_of, near, parse_xml, root_name
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError, InputError
from mdnrnn.files import atomic_file

_MOST_BYTES = 64 << 20
_MOST_TRACE = 16 << 20
"""Characters of one trace: a million points."""
_TEXT, _LABEL, _SPLIT = ("truth", "transcription", "text"), ("label", "class"), ("split", "splittagoriginal")
_MATHWRITING = {"normalizedlabel", "splittagoriginal", "sampleid"}
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


_Formats = dict[str | Element | None, _Axes]
"""Axes by the element that has them and by what refers to it; under None those of traces before any current context."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether its root is <ink>."""
    return root_name(head) == "ink"


def _parse(path: Path) -> DrawingBatch:
    root = parse_xml(path, _MOST_BYTES)
    if name_of(root) != "ink":
        raise DataError(f"{path}: its root is <{name_of(root)}>; expected <ink>")
    owned = _owned(root, _formats(root, path))
    alone = len(owned) == 1 and root in owned
    drawings: list[tuple[list[Polyline], Record]] = []
    drops: list[Remark] = []
    mends: list[Remark] = []
    for number, (owner, traces) in enumerate(owned.items()):
        where = str(path) if alone else f"{path}, drawing {number}"
        try:
            strokes = _strokes(traces, where, mends)
        except ValueError as error:
            drops.append(Remark("malformed trace", str(error)))
            continue
        drawings.append((strokes, _record(_annotations(owner), where)))
    return DrawingBatch.from_polylines(drawings, drops, mends)


def _owned(root: Element, formats: _Formats) -> dict[Element, list[tuple[Element, _Axes]]]:
    """The traces of each drawing, with their axes; the key is the root, or the group that is the drawing."""
    owned: dict[Element, list[tuple[Element, _Axes]]] = {}
    first = current = formats[None]
    # With each element: whose traces are in it, and the axes that they refer to; None: those that are current.
    waiting: list[tuple[Element, Element, _Axes | None]] = [(root, root, None)]
    while waiting:
        element, owner, named = waiting.pop()
        name = name_of(element)
        if name == "definitions":
            named = first  # and so nothing in them becomes current
        elif name in ("context", "traceFormat"):
            current = formats.get(element, current) if named is None else current
        elif "contextRef" in element.attrib:
            named = formats.get(element.get("contextRef"), first)
        if name == "trace":
            if element.get("type", "").lower() != "penup":
                owned.setdefault(owner, []).append((element, named or current))
            continue
        if name == "traceGroup" and "drawing" in _annotations(element):
            owner = element
            owned.setdefault(owner, [])
        waiting += [(child, owner, named) for child in reversed(element)]
    return owned or {root: []}


def _annotations(element: Element) -> dict[str, str]:
    """What its annotations say, by their types in small letters; of several of a type the first that says anything."""
    said: dict[str, str] = {}
    for child in element:
        if name_of(child) == "annotation" and child.text:
            text = child.text if child.get(_SPACE) == "preserve" else child.text.strip()
            if text:
                said.setdefault(child.get("type", "").lower(), text)
    return said


def _record(said: dict[str, str], where: str) -> Record:
    """What the annotations say of a drawing."""
    text, label, split = (next(filter(None, map(said.get, types)), None) for types in (_TEXT, _LABEL, _SPLIT))
    if _MATHWRITING & said.keys():
        text, label = text or said.get("normalizedlabel", label), None  # there `label` is the formula as it was set
    return Record(where, label=label, text=text, split=split if split in SPLITS else None)


def _formats(root: Element, path: Path) -> _Formats:
    """The axes of every trace format, context and ink source."""
    formats: _Formats = {}
    for element in root.iter():
        name = name_of(element)
        if name == "trace":
            formats.setdefault(None, _Axes())  # what comes later is not of this one
        if name not in ("traceFormat", "inkSource", "context"):
            continue
        inside = [element] if name == "traceFormat" else [e for e in near(element) if name_of(e) == "traceFormat"]
        references = (element.get(kind, "") for kind in ("traceFormatRef", "inkSourceRef", "contextRef"))
        axes = _axes(inside[0], path) if inside else next(filter(None, map(formats.get, references)), None)
        if axes is not None:
            formats.setdefault(None, axes)
            formats[element] = formats[f"#{identity(element)}"] = axes
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
    traces: list[tuple[Element, _Axes]],
    where: str,
    mends: list[Remark],
) -> list[Polyline]:
    """The polylines of one drawing; traces that continue others are joined to them."""
    strokes: list[list[Polyline]] = []
    places: dict[str, int] = {}
    for number, (trace, axes) in enumerate(traces):
        try:
            points, missing = _points(trace.text or "", axes)
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
    if len(text) > _MOST_TRACE or text.count(",") >= MAX_POINTS:
        raise ValueError(f"has over {MAX_POINTS} points, or is over {_MOST_TRACE >> 20} MB; split it")
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
    """All sequences of a corpus of strokes, each a group marked as a drawing, with its label, its text, its split."""
    check_drawing_corpus(corpus)
    with atomic_file(path) as file:
        _write(corpus, file)


def _write(corpus: Corpus, file: BinaryIO) -> None:
    """As much as is read again; an error where there is more."""
    size = marks = 0
    for line in _lines(corpus):
        data = line.encode()
        size, marks = size + len(data), marks + marks_of(data)
        if size > _MOST_BYTES or marks > MOST_MARKS:
            most = f"{_MOST_BYTES >> 20} MB or {MOST_MARKS} tags and attributes"
            raise InputError(
                f"{corpus.metadata.name}: as InkML over {most}, the most that is read; use --format ndjson"
            )
        file.write(data)


def _lines(corpus: Corpus) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<ink xmlns="http://www.w3.org/2003/InkML">\n<traceFormat>'
    yield '<channel name="X" type="decimal"/><channel name="Y" type="decimal"/></traceFormat>\n'
    splits = {split: range(first, last) for split, (first, last) in corpus.splits.items() if split in SPLITS}
    for i in range(len(corpus)):
        yield f'<traceGroup xml:id="drawing{i}">\n<annotation type="drawing">{i}</annotation>\n'
        if corpus.label is not None:
            yield _written("label", corpus.metadata.classes[int(corpus.label[i])], i)
        text = getattr(corpus[i], "text", None)
        if text:
            yield _written("text", text, i)
        yield from (_written("split", split, i) for split, indices in splits.items() if i in indices)
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
    """A number as it is, without an exponent: InkML has none."""
    return f"{value:.0f}" if value.is_integer() else np.format_float_positional(value, trim="-")


FORMAT = Format("InkML", (".inkml",), _recognizes, single_chunk, _parse, default_label="folder")
