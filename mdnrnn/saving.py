"""Saving drawings as whatever the ending of the file asks for: a picture, a corpus, or one of the outside formats."""

from collections.abc import Sequence as Items
from pathlib import Path

from mdnrnn import render
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import WRITERS
from mdnrnn.errors import InputError
from mdnrnn.files import write_bytes

_WRITERS = {f".{name}": WRITERS[name] for name in ("ndjson", "inkml")} | {".npz": WRITERS["corpus"]}
_LONGEST_CAPTION = 18
ENDINGS = (*render.ENDINGS, *_WRITERS)


def check_out(path: Path, endings: Items[str] = ENDINGS) -> None:
    """An error where nothing can be written to `path`: to be called before the work is done."""
    if path.suffix.lower() not in endings:
        raise InputError(f"{path}: its ending is {path.suffix!r}; expected one of {', '.join(endings)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or choose another place")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file")


def save_drawings(
    corpus: Corpus,
    path: Path,
    *,
    colour: render.Colour = "ink",
    columns: int | None = None,
    labels: bool | Items[str] = False,
    animate: bool = False,
) -> None:
    """Write all the drawings of a corpus; the options are for pictures, as in `draw`."""
    check_out(path)
    if writer := _WRITERS.get(path.suffix.lower()):
        writer(corpus, path)
    else:
        draw(corpus, range(len(corpus)), path, colour=colour, columns=columns, labels=labels, animate=animate)


def draw(
    corpus: Corpus,
    indices: Items[int],
    path: Path,
    *,
    colour: render.Colour = "ink",
    columns: int | None = None,
    labels: bool | Items[str] = False,
    animate: bool = False,
) -> None:
    """A picture of the drawings `indices`. `labels`: what stands below each; True: class names or texts, if any."""
    names = [_caption(corpus, i) for i in indices] if labels is True else labels or None
    drawings = [corpus.drawing(i) for i in indices]
    render.save(
        drawings,
        path,
        style=render.Style(colour=colour),
        columns=columns,
        labels=names if names and any(names) else None,
        animate=animate,
    )


def save_morph(corpus: Corpus, path: Path, *, colour: render.Colour = "ink") -> None:
    """A GIF of the drawings of a corpus, one after the other in one place, forth and back again."""
    check_out(path, (".gif",))
    drawings = [corpus.drawing(i) for i in range(len(corpus))]
    write_bytes(path, render.to_morph(drawings, render.Style(colour=colour)))


def _caption(corpus: Corpus, index: int) -> str:
    sequence = corpus[index]
    name = sequence.text or "" if sequence.label is None else corpus.facts.classes[sequence.label]
    return name if len(name) <= _LONGEST_CAPTION else f"{name[: _LONGEST_CAPTION - 1]}…"
