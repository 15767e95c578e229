"""Drawings as SVG files, one each, that are read again as they were."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from mdnrnn.data.corpus import SPLITS, Corpus
from mdnrnn.data.formats.format import check_drawing_corpus
from mdnrnn.data.strokes import Polyline
from mdnrnn.errors import InputError
from mdnrnn.files import atomic_path

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f/\\:*?"<>|%\ud800-\udfff]|^\.')


def write(corpus: Corpus, folder: Path) -> None:
    """One file a drawing, in a new folder; whole or not at all.

    They lie under folders of their splits if there are several, and in these under folders of their classes if there
    are classes: train/cat/000000.svg. Coordinates stand as they are: read again, the polylines are the same, where no
    stroke of several points stays in place.
    """
    check_drawing_corpus(corpus)
    if folder.exists():
        raise InputError(f"{folder} is there already; expected a new folder; choose another name")
    with atomic_path(folder) as unfinished:
        unfinished.mkdir()
        for index, place in enumerate(_places(corpus)):
            (unfinished / place).mkdir(parents=True, exist_ok=True)
            text = document(corpus.drawing(index), corpus[index].text)
            (unfinished / place / f"{index:06d}.svg").write_bytes(text.encode())


def _places(corpus: Corpus) -> list[Path]:
    """The folder of each drawing, in the folder that is written."""
    places = [Path()] * len(corpus)
    splits = {name: ends for name, ends in corpus.splits.items() if name in SPLITS and ends[0] < ends[1]}
    if len(splits) > 1:
        for name, (first, last) in splits.items():
            places[first:last] = [Path(name)] * (last - first)
    if corpus.label is not None:
        classes = [_file_name(name) for name in corpus.metadata.classes]
        places = [place / classes[label] for place, label in zip(places, corpus.label.tolist(), strict=True)]
    return places


def _file_name(name: str) -> str:
    """A class as a folder: what would be a path, or is none of a file, as %hexadecimal."""
    return _NOT_IN_NAMES.sub(lambda found: f"%{ord(found[0]):02x}", name) or "%"


def document(strokes: list[Polyline], text: str | None) -> str:
    """A drawing, with what is written in it, as the text of an SVG file."""
    points = np.concatenate(strokes)
    least, extent = points.min(0), np.ptp(points, axis=0)
    width = float(extent.max()) / 100 or 0.01
    box = _numbers(np.concatenate([least - width, extent + 2 * width]))
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">']
    if text is not None:
        lines.append(f'<title class="text">{escape(_NOT_XML.sub("?", text), {chr(13): "&#13;"})}</title>')
    pen = f'fill="none" stroke="#000" stroke-width="{width!r}" stroke-linecap="round" stroke-linejoin="round"'
    lines.append(f"<g {pen}>")
    for stroke in strokes:
        # A dot is a line to where it stands: a move alone draws nothing.
        further = stroke[1:] if len(stroke) > 1 else stroke
        lines.append(f'<path d="M {_numbers(stroke[:1])} L {_numbers(further)}"/>')
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _numbers(values: np.ndarray) -> str:
    """As short as they are exact."""
    return " ".join(repr(value).removesuffix(".0") for value in values.ravel().tolist())
