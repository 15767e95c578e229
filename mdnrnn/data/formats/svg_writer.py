"""Writer of SVG: one file per drawing. `svg_reader.py` restores the polylines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.folder_names import to_folder_name
from mdnrnn.data.formats.format import check_drawing_corpus
from mdnrnn.data.formats.xml import escape_text, replace_invalid_characters
from mdnrnn.data.metadata import SPLITS
from mdnrnn.data.strokes import Drawing, Polyline
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import atomic_path


def write(corpus: Corpus, folder: Path) -> None:
    """Write one file per drawing to a new folder, atomically.

    If there are several splits, each split has a subfolder. If there are classes, each class has a subfolder, whose
    name is given by `to_folder_name`. An example of a file is train/cat/000000.svg. Coordinates are written exactly.

    Raises:
        InputError: the corpus does not consist of drawings, or the folder exists or cannot be written.
    """
    check_drawing_corpus(corpus)
    if folder.exists():
        raise InputError(f"{folder} exists; use another path")
    with atomic_path(folder) as unfinished:
        unfinished.mkdir()
        for index, subfolder in enumerate(_subfolders(corpus)):
            (unfinished / subfolder).mkdir(parents=True, exist_ok=True)
            svg = format_svg(corpus.drawing(index), corpus[index].text)
            (unfinished / subfolder / f"{index:06d}.svg").write_bytes(svg.encode())


def _subfolders(corpus: Corpus) -> list[Path]:
    """Return the subfolder of each drawing, for example train/cat."""
    subfolders = [Path()] * len(corpus)
    splits = {name: bounds for name, bounds in corpus.splits.items() if name in SPLITS and bounds[0] < bounds[1]}
    if len(splits) > 1:
        for name, (first, last) in splits.items():
            subfolders[first:last] = [Path(name)] * (last - first)
    if corpus.label is not None:
        classes = [to_folder_name(name) for name in corpus.metadata.classes]
        subfolders = [
            subfolder / classes[label] for subfolder, label in zip(subfolders, corpus.label.tolist(), strict=True)
        ]
    return subfolders


def format_svg(drawing: Drawing, text: str | None) -> str:
    """Return an SVG document of a drawing; the text of the drawing becomes its title."""
    points = np.concatenate(drawing)
    minimum, extent = points.min(0), np.ptp(points, axis=0)
    width = float(extent.max()) / 100 or 0.01
    view_box = _format_numbers(np.concatenate([minimum - width, extent + 2 * width]))
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view_box}">']
    if text is not None:
        lines.append(f'<title class="text">{escape_text(replace_invalid_characters(text))}</title>')
    style = f'fill="none" stroke="#000" stroke-width="{width!r}" stroke-linecap="round" stroke-linejoin="round"'
    lines.append(f"<g {style}>")
    lines += map(_format_stroke, drawing)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _format_stroke(stroke: Polyline) -> str:
    if len(stroke) > 1 and (stroke == stroke[0]).all():
        return f'<polyline points="{_format_numbers(stroke)}"/>'  # a path of equal points is read as one point
    # A dot is a line of length 0, because a move alone is not rendered.
    line_ends = stroke[1:] if len(stroke) > 1 else stroke
    return f'<path d="M {_format_numbers(stroke[:1])} L {_format_numbers(line_ends)}"/>'


def _format_numbers(values: np.ndarray) -> str:
    """Format values as the shortest decimal numbers that restore them exactly, separated by spaces."""
    return " ".join(repr(value).removesuffix(".0") for value in values.ravel().tolist())
