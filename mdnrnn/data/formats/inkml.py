"""Reader of InkML, the W3C format of digital ink in XML (https://www.w3.org/TR/InkML).

Drawings. A file is one drawing. Each trace is a stroke, in file order. Traces of type penUp are left out, and a trace
that continues an earlier trace extends the stroke of the earlier trace. Annotations of the root element contain the
text of the drawing (type `truth`, `transcription` or `text`), its label (`label` or `class`) and its split (`split` or
`splitTagOriginal`). MathWriting files are recognized by an annotation `normalizedLabel`, `splitTagOriginal` or
`sampleId`. In these files, `normalizedLabel` is the text, or `label` if `normalizedLabel` is missing. A traceGroup with
an annotation of type `drawing` is a separate drawing with its own annotations: `inkml_writer.py` stores many drawings
in one file this way. Other traceGroups, such as the symbols of a CROHME formula, are parts of a drawing. traceView
elements, which refer to traces, are ignored.

Channels. A traceFormat lists the channels of a point, in the order of the point's values. X and Y are among the
channels. If a trace or its group refers to a context, the trace uses the traceFormat of this context. A trace without
such a reference uses the last context or traceFormat that precedes the trace outside of `definitions`. If this
gives no traceFormat, and the first traceFormat of the file precedes all traces, that first traceFormat is used. In the
remaining cases, X and Y are the first two values of each point. X points to the right and Y down. The orientation -ve
of a channel inverts the direction of the channel.

Values. A value can have a prefix: ! for an absolute value, ' for a first difference, " for a second difference. The
prefix also applies to the following values of the channel, until the next prefix. The value * repeats the previous
value. A point with the value ? for X or Y is left out. Values of other channels, such as time and force, are not read;
their number is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.ink_channels import channel_kind
from mdnrnn.data.formats.xml import element_id, local_name, parse_xml_tree, root_name
from mdnrnn.data.metadata import SPLITS
from mdnrnn.data.strokes import Drawing, Polyline
from mdnrnn.errors import DataError, quantity

MAX_BYTES = 64 << 20
MAX_TRACE = 16 << 20
"""Maximum number of characters of one trace, enough for a million points."""
_TEXT, _LABEL, _SPLIT = ("truth", "transcription", "text"), ("label", "class"), ("split", "splittagoriginal")
_MATHWRITING = {"normalizedlabel", "splittagoriginal", "sampleid"}
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_VALUE = re.compile(
    r"""(?P<all>(?:(?P<order>[!'"])\s*)?"""
    r"""(?P<value>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?\#[+-]?[0-9A-Fa-f]{1,13}|[*?TF])\s*)"""
)


class _TraceFormat(NamedTuple):
    """Channels of the points of a trace.

    Args:
        names: name of each channel.
        columns: index of X and index of Y in the names.
        signs: signs of X and Y: 1 if X points to the right or Y down, -1 if X points to the left or Y up.
    """

    names: tuple[str, ...] = ("X", "Y")
    columns: tuple[int, int] = (0, 1)
    signs: tuple[int, int] = (1, 1)


_TraceFormats = dict[str | Element | None, _TraceFormat]
"""Trace formats, by the element that defines each format and by a reference to this element (#id).

The key None gives the format of a trace that has no reference and no preceding context or traceFormat.
"""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the root element is <ink>."""
    return root_name(head) == "ink"


def _parse(path: Path) -> DrawingBatch:
    root = parse_xml_tree(path, MAX_BYTES)
    if local_name(root) != "ink":
        raise DataError(f"{path}: its root is <{local_name(root)}>; expected <ink>")
    traces_by_owner = _traces_by_drawing(root, _find_trace_formats(root, path))
    is_single = len(traces_by_owner) == 1 and root in traces_by_owner
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    repaired: list[Remark] = []
    lost: Counter[str] = Counter()
    for number, (owner, traces) in enumerate(traces_by_owner.items()):
        location = str(path) if is_single else f"{path}, drawing {number}"
        channels: Counter[str] = Counter()
        try:
            strokes = _parse_strokes(traces, location, repaired, channels)
        except ValueError as error:
            dropped.append(Remark("malformed trace", str(error)))
            continue
        lost.update(channels)
        drawings.append((strokes, _make_record(_annotations(owner), location)))
    return DrawingBatch.from_polylines(drawings, dropped, repaired, lost_remarks(lost, str(path)))


def _traces_by_drawing(
    root: Element, trace_formats: _TraceFormats
) -> dict[Element, list[tuple[Element, _TraceFormat]]]:
    """Return a dictionary: element of a drawing -> traces of the drawing, each with its format.

    The element of a drawing is the root or a traceGroup.
    """
    traces: dict[Element, list[tuple[Element, _TraceFormat]]] = {}
    first = current = trace_formats[None]
    # Elements to visit, each with the element of its drawing and the format of the context to which it refers (None: no
    # reference, the current format applies).
    stack: list[tuple[Element, Element, _TraceFormat | None]] = [(root, root, None)]
    while stack:
        element, owner, referenced = stack.pop()
        name = local_name(element)
        if name == "definitions":
            referenced = first  # so that contexts in definitions do not become current
        elif name in ("context", "traceFormat"):
            current = trace_formats.get(element, current) if referenced is None else current
        elif "contextRef" in element.attrib:
            referenced = trace_formats.get(element.get("contextRef"), first)
        if name == "trace":
            if element.get("type", "").lower() != "penup":
                traces.setdefault(owner, []).append((element, referenced or current))
            continue
        if name == "traceGroup" and "drawing" in _annotations(element):
            owner = element
            traces.setdefault(owner, [])
        stack += [(child, owner, referenced) for child in reversed(element)]
    return traces or {root: []}


def _annotations(element: Element) -> dict[str, str]:
    """Return the annotations of an element: lower-case type -> text of the first non-empty annotation of this type."""
    annotations: dict[str, str] = {}
    for child in element:
        if local_name(child) == "annotation" and child.text:
            text = child.text if child.get(_SPACE) == "preserve" else child.text.strip()
            if text:
                annotations.setdefault(child.get("type", "").lower(), text)
    return annotations


def _make_record(annotations: dict[str, str], location: str) -> Record:
    text, label, split = (next(filter(None, map(annotations.get, types)), None) for types in (_TEXT, _LABEL, _SPLIT))
    if _MATHWRITING & annotations.keys():
        text, label = text or annotations.get("normalizedlabel", label), None  # `label` is not normalized
    return Record(location, label=label, text=text, split=split if split in SPLITS else None)


def _find_trace_formats(root: Element, path: Path) -> _TraceFormats:
    """Return the formats of all traceFormat, inkSource and context elements."""
    trace_formats: _TraceFormats = {}
    for element in root.iter():
        name = local_name(element)
        if name == "trace":
            trace_formats.setdefault(None, _TraceFormat())  # later formats do not apply to this trace
        if name not in ("traceFormat", "inkSource", "context"):
            continue
        inner = [element] if name == "traceFormat" else _find_nested(element, "traceFormat")
        references = (element.get(kind, "") for kind in ("traceFormatRef", "inkSourceRef", "contextRef"))
        trace_format = (
            _parse_trace_format(inner[0], path)
            if inner
            else next(filter(None, map(trace_formats.get, references)), None)
        )
        if trace_format is not None:
            trace_formats.setdefault(None, trace_format)
            trace_formats[element] = trace_formats[f"#{element_id(element)}"] = trace_format
    trace_formats.setdefault(None, _TraceFormat())
    return trace_formats


def _parse_trace_format(element: Element, path: Path) -> _TraceFormat:
    channels = _find_nested(element, "channel")
    names = [channel.get("name", "").upper() for channel in channels]
    if not names:
        return _TraceFormat()
    if "X" not in names or "Y" not in names:
        raise DataError(f"{path}: its traceFormat has the channels {' '.join(names)[:80]}; expected X and Y among them")
    columns = names.index("X"), names.index("Y")
    negative = [channels[column].get("orientation") == "-ve" for column in columns]
    return _TraceFormat(tuple(names), columns, (-1 if negative[0] else 1, -1 if negative[1] else 1))


def _find_nested(element: Element, name: str) -> list[Element]:
    """Return the children and grandchildren with the local name `name`, in file order."""
    nested = (inner for child in element for inner in (child, *child))
    return [inner for inner in nested if local_name(inner) == name]


def _parse_strokes(
    traces: list[tuple[Element, _TraceFormat]], location: str, repaired: list[Remark], lost: Counter[str]
) -> Drawing:
    """Return the strokes of one drawing. A trace that continues an earlier trace is appended to the earlier stroke.

    Args:
        traces: traces of the drawing, and their formats.
        location: file and drawing, for messages.
        repaired: list to which remarks on repairs are appended.
        lost: counter by kind of channel, to which the numbers of values of channels other than X and Y are added.

    Raises:
        ValueError: a trace is malformed.
    """
    strokes: list[list[Polyline]] = []
    stroke_by_id: dict[str, int] = {}
    for number, (trace, trace_format) in enumerate(traces):
        try:
            points, missing, widths = _parse_points(trace.text or "", trace_format)
        except ValueError as error:
            raise ValueError(f"{location}, trace {number} {error}") from error
        lost.update(_count_lost(widths, trace_format))
        if missing:
            points_without = quantity(missing, "points without X or Y")
            repaired.append(Remark("no value", f"{location}, trace {number}: {points_without}; ignored"))
        index = len(strokes)
        if trace.get("continuation") in ("middle", "end"):
            prior = trace.get("priorRef", "").removeprefix("#")
            index = stroke_by_id.get(prior, index)
            if prior not in stroke_by_id:
                repaired.append(
                    Remark("no prior trace", f"{location}, trace {number} continues {prior!r}, which does not exist")
                )
        if index == len(strokes):
            strokes.append([])
        strokes[index].append(points)
        name = element_id(trace)
        if name:
            stroke_by_id[name] = index
    return [np.concatenate(parts) for parts in strokes]


def _count_lost(widths: Counter[int], trace_format: _TraceFormat) -> Counter[str]:
    """Count the values of channels other than X and Y, by kind of channel.

    Args:
        widths: number of values per point -> number of points with this many values.
        trace_format: format of the points.
    """
    lost: Counter[str] = Counter()
    names = trace_format.names
    for width, count in widths.items():
        lost[channel_kind("")] += max(width - len(names), 0) * count
        for column, name in enumerate(names[:width]):
            if column not in trace_format.columns:
                lost[channel_kind(name)] += count
    return lost


def _parse_points(text: str, trace_format: _TraceFormat) -> tuple[Polyline, int, Counter[int]]:
    """Parse a trace.

    Returns:
        Points (n, 2), number of points that are left out because X or Y is unknown, and a counter: number of values per
        point -> number of points with this many values.

    Raises:
        ValueError: the trace is malformed.
    """
    if len(text) > MAX_TRACE or text.count(",") >= MAX_POINTS:
        raise ValueError(f"has over {MAX_POINTS} points or over {MAX_TRACE >> 20} MB; split the trace")
    parts = text.strip().rstrip(",").split(",")
    if parts == [""]:
        return np.zeros((0, 2)), 0, Counter()
    channels = len(trace_format.names)
    try:
        values = np.array([part.split() for part in parts], np.float64)
        if len(values) == 1 and values.size >= 2 * channels and values.size % channels == 0:
            values = values.reshape(-1, channels)  # drafts of InkML had no commas between points
        points = values[:, trace_format.columns]
        widths = Counter({values.shape[1]: len(values)})
    except (ValueError, IndexError):  # prefixes, intermittent channels, or invalid numbers
        x, y, widths = _decode_points(parts, trace_format)
        points = np.stack([x, y], axis=1)
    known = np.flatnonzero(~np.isnan(points).any(axis=1)) if "?" in text else np.arange(len(points))
    return points[known] * trace_format.signs, len(points) - len(known), widths


def _decode_points(parts: list[str], trace_format: _TraceFormat) -> tuple[np.ndarray, np.ndarray, Counter[int]]:
    """Parse points whose values can have prefixes; the value ? becomes NaN.

    Returns:
        X (n,), Y (n,), and a counter: number of values per point -> number of points with this many values.

    Raises:
        ValueError: a point is malformed.
    """
    x: list[tuple[str, str]] = []
    y: list[tuple[str, str]] = []
    widths: Counter[int] = Counter()
    last_column = max(trace_format.columns)
    for part in parts:
        part = part.strip()
        values = _VALUE.findall(part)
        if sum(len(value[0]) for value in values) < len(part) or len(values) <= last_column:
            raise ValueError(
                f"has a point {part[:40]!r}; expected at least {last_column + 1} values, and points separated by commas"
            )
        for channel, column in zip((x, y), trace_format.columns, strict=True):
            channel.append(values[column][1:])
        widths[len(values)] += 1
    return _integrate(x), _integrate(y), widths


def _integrate(values: list[tuple[str, str]]) -> np.ndarray:
    """Return the absolute values of a channel, (n,), from the prefix and text of each value."""
    channel = np.empty(len(values))
    order, last, velocity = "!", 0.0, 0.0
    for i, (prefix, text) in enumerate(values):
        order = prefix or order
        if text == "?":
            channel[i] = np.nan
            continue
        value = last if text == "*" else _parse_value(text)
        if order == "'" and text != "*":
            value += last
        elif order == '"' and text != "*":
            value += last + velocity
        velocity, last = value - last, value
        channel[i] = value
    return channel


def _parse_value(text: str) -> float:
    if text in "TF":
        raise ValueError(f"has {text} for X or Y; expected a number")
    if "#" in text:
        return float(int(text.replace("#", ""), 16))
    return float(text)


FORMAT = Format("InkML", (".inkml",), _recognizes, single_chunk, _parse, default_label="folder")
