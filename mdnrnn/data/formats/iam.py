"""IAM-OnDB: handwriting from a whiteboard, an XML file for each line of a form, its transcript in a text file apart.

Points are in units of the whiteboard, y down. Line 2 of form a01-000u is `lineStrokes/a01/a01-000/a01-000u-02.xml`; its
text is the second line below `CSR:` (what was written; `OCR:` is the printed text that was to be copied) in
`ascii/a01/a01-000/a01-000u.txt`, or in `a01-000u.txt` beside the XML; `ascii` stands beside `lineStrokes` or a folder
above it, and is called `ascii-all` or `ascii-all/ascii` too. Blank lines do not count, and a row of % is a line's end:
both occur. A whole form (`original/a01/a01-000/strokesu.xml`) brings its text with it, its quotation marks escaped once
too often; the transcripts apart hold none that are escaped, and stay as they are.
"""

from __future__ import annotations

import html
import os.path
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import Format, read_bounded, single_chunk
from mdnrnn.data.formats.xml import parse_xml, root_name
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError

_ROOT = "WhiteboardCaptureSession"
_MOST_BYTES = 64 << 20
_MOST_TRANSCRIPT_BYTES = 1 << 20
_LINE = re.compile(r"([a-z]\d\d-\d{3}[a-z]?)-(\d{2,3})")
_WHOLE_FORM = re.compile(r"strokes([a-z]?)")
_FORM = re.compile(r"[a-z]\d\d-\d{3}")
_TRANSCRIPT_FOLDERS = {"lineStrokes": "ascii", "lineStrokes-all": "ascii-all"}
_FOLDERS_ABOVE = 4
_LINE_END = re.compile(r"[\r\n]+|%{11,}")


def _recognizes(path: Path, head: bytes) -> bool:
    """Whether its root is a whiteboard session."""
    return root_name(head) == _ROOT


def _parse(path: Path) -> DrawingBatch:
    root = parse_xml(path, _MOST_BYTES)
    if root.tag != _ROOT:
        raise DataError(f"{path}: its root is <{root.tag}>; expected <{_ROOT}>")
    form, line = _place(path)
    text, mends = _text(root, path, form, line)
    try:
        strokes = [_points(stroke) for stroke in root.iter("Stroke")]
    except (KeyError, ValueError) as error:
        fault = f"{path} has a point without a number for x or y ({error}); expected <Point x= y=>"
        return DrawingBatch.from_polylines([], [Remark("malformed point", fault)])
    return DrawingBatch.from_polylines([(strokes, Record(str(path), form, text=text))], repaired=mends)


def _points(stroke: Element) -> Polyline:
    points = [[point.attrib["x"], point.attrib["y"]] for point in stroke.findall("Point")]
    return np.array(points, np.float64).reshape(-1, 2)


def _place(path: Path) -> tuple[str | None, int | None]:
    """The form that a file belongs to, by its name, and the number of its line, from 1; None where it is no line."""
    line = _LINE.fullmatch(path.stem)
    if line:
        return line[1], int(line[2])
    whole = _WHOLE_FORM.fullmatch(path.stem)
    if whole and _FORM.fullmatch(path.absolute().parent.name):
        return path.absolute().parent.name + whole[1], None
    return None, None


def _text(root: Element, path: Path, form: str | None, line: int | None) -> tuple[str | None, list[Remark]]:
    """What is written, and a remark where there is no transcript, or it lacks the line."""
    within = root.findtext("Transcription/Text")
    if within is not None:
        lines = [part.strip() for part in html.unescape(within).splitlines()]
        return "\n".join(filter(None, lines)) or None, []
    transcript = None if form is None or line is None else _transcript(path, form)
    if transcript is None or line is None:
        expected = f"{_filed(form or 'a01-000u')} beside lineStrokes"
        lacks = f"{path}: no transcript in it or apart; expected one such as ascii/{expected}; read without text"
        return None, [Remark("no transcript", lacks)]
    lines = _lines(read_bounded(transcript, _MOST_TRANSCRIPT_BYTES).decode("utf-8", "replace"))
    if not 1 <= line <= len(lines):
        lacks = (
            f"{path}: {transcript} has {len(lines)} lines below CSR:; expected one for line {line}; read without text"
        )
        return None, [Remark("no transcript line", lacks)]
    return lines[line - 1], []


def _transcript(path: Path, form: str) -> Path | None:
    """The file of a form's transcript: in the tree of transcripts, or beside the strokes."""
    mirrored = Path(*(_TRANSCRIPT_FOLDERS.get(part, part) for part in path.absolute().parts[:-1]))
    places = [folder / f"{form}.txt" for folder in (mirrored, path.parent)]
    # Not Path.is_file, which fails on folders of others that cannot be read.
    return next((place for place in chain(places, _filings(path, form)) if os.path.isfile(place)), None)


def _filings(path: Path, form: str) -> Iterator[Path]:
    """Where a transcript may be in the trees of transcripts that stand beside a folder of the strokes."""
    for folder in path.absolute().parents[1 : _FOLDERS_ABOVE + 1]:
        for tree in sorted(folder.glob("ascii*")):
            yield from (inner / _filed(form) for inner in (tree, *sorted(tree.glob("ascii*"))))


def _filed(form: str) -> str:
    """The file of a form's transcript in a tree of transcripts."""
    return f"{form[:3]}/{form[:7]}/{form}.txt"


def _lines(text: str) -> list[str]:
    """The lines of the block CSR, those that are blank left out."""
    lines = [part.strip() for part in _LINE_END.split(text)]
    if "CSR:" not in lines:
        return []
    block = lines[lines.index("CSR:") + 1 :]
    return [part for part in block[: block.index("OCR:") if "OCR:" in block else None] if part]


FORMAT = Format("IAM-OnDB", (".xml",), _recognizes, single_chunk, _parse, default_label=None)
