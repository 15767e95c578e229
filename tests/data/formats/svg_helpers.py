"""Functions that build, read and compare SVG files."""

from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats.svg_reader import parse
from mdnrnn.data.strokes import Drawing

VIEW_BOX = 'viewBox="0 0 100 50"'


def svg_document(body: str, attributes: str = VIEW_BOX) -> str:
    """Return an SVG document with the given elements."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{body}</svg>'
    )


def parse_svg(path: Path, content: str | bytes, outlines: bool = False) -> DrawingBatch:
    """Write `content` to `path` and parse it."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return parse(path, outlines)


def parse_strokes(path: Path, body: str, attributes: str = VIEW_BOX) -> Drawing:
    """Parse a document with the given elements, which needs no repairs, and return its strokes and outlines."""
    drawings = parse_svg(path, svg_document(body, attributes), outlines=True)
    assert len(drawings) == 1
    assert not drawings.repaired
    return drawings.polylines(0)


def distances(points: np.ndarray, polyline: np.ndarray) -> np.ndarray:
    """Return the distances of points (n, 2) from a polyline (m, 2), shape (n,)."""
    start, chord = polyline[:-1], np.diff(polyline, axis=0)
    offset = points[:, None] - start
    squared_length = (chord**2).sum(1)
    position = np.clip((offset * chord).sum(2) / np.where(squared_length > 0, squared_length, 1), 0, 1)
    return np.asarray(np.hypot(*np.moveaxis(offset - position[..., None] * chord, 2, 0)).min(1))
