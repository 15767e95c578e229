"""Reader of IAM-OnDB: handwriting from a whiteboard, one XML file per line of a form, with separate transcripts.

Points are in units of the whiteboard, y down. For example, the strokes of line 2 of form a01-000u are in
`lineStrokes/a01/a01-000/a01-000u-02.xml`. The transcript of the form is `ascii/a01/a01-000/a01-000u.txt`, or
`a01-000u.txt` in the folder of the XML file. The folder `ascii` is beside `lineStrokes` or beside a parent of
`lineStrokes`; it can also be called `ascii-all` or `ascii-all/ascii`. The transcripts of an archive are in the same
archive, or in folders where they would be after unpacking.

A transcript has two blocks: `OCR:` contains the printed text that the writer copied, and `CSR:` contains the text as
written. The text of line 2 is the second line below `CSR:`. Blank lines are not counted. A row of more than ten % is
read as a line break. Transcripts contain no escaped characters.

The XML file of a whole form (`original/a01/a01-000/strokesu.xml`) contains the text of the form. Special characters in
this text are escaped twice.
"""

from __future__ import annotations

import html
import os.path
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.archives import ArchivePath
from mdnrnn.data.formats.format import Format, read_bounded, single_chunk
from mdnrnn.data.formats.xml import parse_xml_tree, root_name
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import DataError, quantity

_ROOT = "WhiteboardCaptureSession"
_MAX_BYTES = 64 << 20
_MAX_TRANSCRIPT_BYTES = 1 << 20
_LINE = re.compile(r"([a-z]\d\d-\d{3}[a-z]?)-(\d{2,3})")
_WHOLE_FORM = re.compile(r"strokes([a-z]?)")
_FORM = re.compile(r"[a-z]\d\d-\d{3}")
_TRANSCRIPT_FOLDERS = {"lineStrokes": "ascii", "lineStrokes-all": "ascii-all"}
_SEARCHED_FOLDERS = ("ascii", "ascii-all", "ascii-all/ascii")
_MAX_PARENTS = 4
"""Number of levels above the folder of an XML file at which `_SEARCHED_FOLDERS` are searched."""
_LINE_END = re.compile(r"[\r\n]+|%{11,}")


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the root element is <WhiteboardCaptureSession>."""
    return root_name(head) == _ROOT


def _parse(path: Path) -> DrawingBatch:
    root = parse_xml_tree(path, _MAX_BYTES)
    if root.tag != _ROOT:
        raise DataError(f"{path}: its root is <{root.tag}>; expected <{_ROOT}>")
    form, line = _form_and_line(path)
    text, repaired = _find_text(root, path, form, line)
    try:
        strokes = [_parse_stroke(stroke) for stroke in root.iter("Stroke")]
    except (KeyError, ValueError) as error:
        problem = f"{path} has a point without a number for x or y ({error}); expected <Point x= y=>"
        return DrawingBatch.from_polylines([], [Remark("malformed point", problem)])
    return DrawingBatch.from_polylines([(strokes, Record(str(path), form, text=text))], repaired=repaired)


def _parse_stroke(stroke: Element) -> Polyline:
    points = [[point.attrib["x"], point.attrib["y"]] for point in stroke.findall("Point")]
    return np.array(points, np.float64).reshape(-1, 2)


def _form_and_line(path: Path) -> tuple[str | None, int | None]:
    """Return the form and the line number (from 1) that the path of a file states; None for a value that is missing."""
    line = _LINE.fullmatch(path.stem)
    if line:
        return line[1], int(line[2])
    whole_form = _WHOLE_FORM.fullmatch(path.stem)
    if whole_form and _FORM.fullmatch(path.absolute().parent.name):
        return path.absolute().parent.name + whole_form[1], None
    return None, None


def _find_text(root: Element, path: Path, form: str | None, line: int | None) -> tuple[str | None, list[Remark]]:
    """Return the text of the line or form in a file, and a list of remarks.

    If the transcript is missing or does not contain the line, the text is None and the list has one remark.
    """
    embedded = root.findtext("Transcription/Text")
    if embedded is not None:
        lines = [part.strip() for part in html.unescape(embedded).splitlines()]
        return "\n".join(filter(None, lines)) or None, []
    transcript = None if form is None or line is None else _find_transcript(path, form)
    if transcript is None or line is None:
        expected = f"expected it in this file, or in ascii/{_transcript_path(form or 'a01-000u')} beside lineStrokes"
        problem = f"{path}: received no transcript; {expected}; imported without a text"
        return None, [Remark("no transcript", problem)]
    lines = _transcript_lines(read_bounded(transcript, _MAX_TRANSCRIPT_BYTES).decode("utf-8", "replace"))
    if not 1 <= line <= len(lines):
        problem = (
            f"{path}: {transcript} has {quantity(len(lines), 'lines')} below CSR:; expected at least {line}; imported "
            "without a text"
        )
        return None, [Remark("no transcript line", problem)]
    return lines[line - 1], []


def _find_transcript(path: Path, form: str) -> Path | None:
    """Return the transcript of a form, from a transcript folder or from the folder of the XML file; None if missing."""
    path = path.absolute()
    for candidate in _candidates(path.as_unpacked() if isinstance(path, ArchivePath) else path, form):
        if isinstance(path, ArchivePath) and (member := path.find_member(candidate)):
            return member
        if os.path.isfile(candidate):  # Path.is_file raises PermissionError in folders that cannot be read
            return candidate
    return None


def _candidates(path: Path, form: str) -> Iterator[Path]:
    """Yield the possible paths of the transcript of a form, in the order in which they are searched.

    Args:
        path: absolute path of the XML file.
        form: name of the form.
    """
    yield Path(*(_TRANSCRIPT_FOLDERS.get(part, part) for part in path.parts[:-1]), f"{form}.txt")
    yield path.parent / f"{form}.txt"
    for parent in path.parents[1 : _MAX_PARENTS + 1]:
        yield from (parent / folder / _transcript_path(form) for folder in _SEARCHED_FOLDERS)


def _transcript_path(form: str) -> str:
    """Return the path of a form's transcript inside a transcript folder."""
    return f"{form[:3]}/{form[:7]}/{form}.txt"


def _transcript_lines(text: str) -> list[str]:
    """Return the non-blank lines of the block `CSR:` in a transcript."""
    lines = [part.strip() for part in _LINE_END.split(text)]
    if "CSR:" not in lines:
        return []
    block = lines[lines.index("CSR:") + 1 :]
    return [part for part in block[: block.index("OCR:") if "OCR:" in block else None] if part]


FORMAT = Format("IAM-OnDB", (".xml",), _recognizes, single_chunk, _parse, default_label=None)
