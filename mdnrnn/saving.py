"""Saving drawings as whatever the ending of the file asks for: a picture, a corpus, or Quick, Draw! lines."""

from collections.abc import Sequence as Items
from pathlib import Path

from mdnrnn import render
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native, ndjson
from mdnrnn.errors import InputError

_WRITERS = {".npz": native.write, ".ndjson": ndjson.write}
ENDINGS = (*render.ENDINGS, *_WRITERS)


def check_ending(path: Path) -> None:
    """An error where `path` has no known ending: to be called before the work is done."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: its ending {path.suffix!r} is unknown; expected one of {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or choose another place")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file")


def save_drawings(
    corpus: Corpus,
    path: Path,
    indices: Items[int] | None = None,
    *,
    colour: render.Colour = "ink",
    columns: int | None = None,
    labels: bool = False,
    animate: bool = False,
) -> None:
    """Write the drawings `indices` (all by default); the options are for pictures. `labels`: class names below."""
    check_ending(path)
    if writer := _WRITERS.get(path.suffix.lower()):
        writer(corpus, path)
        return
    chosen = list(range(len(corpus)) if indices is None else indices)
    names = None
    if labels and corpus.label is not None:
        names = [corpus.facts.classes[int(corpus.label[i])] for i in chosen]
    drawings = [corpus.drawing(i) for i in chosen]
    render.save(drawings, path, style=render.Style(colour=colour), columns=columns, labels=names, animate=animate)
