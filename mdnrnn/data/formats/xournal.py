"""Reader of Xournal++ and Xournal documents (.xopp, .xoj): XML. Most files are compressed with gzip, see archives.py.

Each page is a drawing. Coordinates are in units of 1/72 inch, with y pointing down. The root <xournal> contains
elements <page>, a page contains elements <layer>, and a layer contains elements <stroke>. The text of a <stroke> is its
center line, `x y x y ...`. Strokes of the tool `pen` are imported. The following content is counted as lost: strokes of
other tools (highlighter, eraser), elements <text>, <image> and <teximage>, background pictures, and varying widths,
which represent the pressure. A page without pen strokes is dropped.

Source: https://github.com/xournalpp/xournalpp, src/core/control/xojfile/SaveHandler.cpp and LoadHandler.cpp.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats.format import Format, single_chunk
from mdnrnn.data.formats.xml import local_name, parse_xml_tree, root_name
from mdnrnn.data.strokes import Drawing, Polyline
from mdnrnn.errors import DataError

_MAX_BYTES = 64 << 20
_LOST_ELEMENTS = {"text": "text elements", "image": "images", "teximage": "formulas"}


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the root element is <xournal>."""
    return root_name(head) == "xournal"


def _parse(path: Path) -> DrawingBatch:
    root = parse_xml_tree(path, _MAX_BYTES)
    if local_name(root) != "xournal":
        raise DataError(f"{path}: its root is <{local_name(root)[:40]}>; expected <xournal>")
    lost: Counter[str] = Counter()
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    pages = [page for page in root if local_name(page) == "page"]
    for number, page in enumerate(pages, 1):
        location = str(path) if len(pages) == 1 else f"{path}, page {number}"
        try:
            strokes = _parse_page(page, lost)
        except ValueError as error:
            dropped.append(Remark("malformed stroke", f"{location} {error}"))
            continue
        drawings.append((strokes, Record(location)))
    return DrawingBatch.from_polylines(drawings, dropped, lost=lost_remarks(lost, str(path)))


def _parse_page(page: Element, lost: Counter[str]) -> Drawing:
    """Return the pen strokes of a page; raise `ValueError` if a stroke is malformed.

    Args:
        page: element <page>.
        lost: counter by kind, to which the lost content of the page is added.
    """
    strokes: Drawing = []
    for element in page.iter():
        name = local_name(element)
        if name == "stroke" and element.get("tool", "pen") == "pen":
            strokes.append(_parse_stroke(element.text or "", len(strokes)))
            widths = element.get("width", "").split()
            if len(widths) > 1:
                lost["pressure values"] += len(widths) - 1  # the first width is that of the whole stroke
        elif name == "stroke":
            lost[f"strokes of the {element.get('tool', '')[:20]}"] += 1
        elif name in _LOST_ELEMENTS:
            lost[_LOST_ELEMENTS[name]] += 1
        elif name == "background" and element.get("type") in ("pixmap", "pdf"):
            lost["background pictures"] += 1
    return strokes


def _parse_stroke(text: str, number: int) -> Polyline:
    """Return the points of a stroke, (n, 2); raise `ValueError` if its text is malformed."""
    if len(text) > 16 * MAX_POINTS:
        raise ValueError(f"has a stroke {number} of over {MAX_POINTS} points; split it")
    try:
        return np.array(text.split(), np.float64).reshape(-1, 2)
    except ValueError as error:
        start = " ".join(text[:200].split())[:40]
        raise ValueError(f"has a stroke {number} that begins {start!r}; expected pairs of numbers x y") from error


FORMAT = Format("Xournal++", (".xopp", ".xoj"), _recognizes, single_chunk, _parse, default_label="folder")
