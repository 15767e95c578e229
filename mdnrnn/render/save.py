"""Saving drawings and performances as whatever the ending of the file asks for: a picture, a corpus, a format."""

from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np

from mdnrnn import render
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import WRITERS
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN
from mdnrnn.files import write_bytes

_WRITERS = {f".{name}": WRITERS[name] for name in ("ndjson", "inkml")} | {".npz": WRITERS["corpus"]}
_LONGEST_CAPTION = 18
ENDINGS = (*render.ENDINGS, *_WRITERS)
_PERFORMANCE_WRITERS = {".csv": WRITERS["microjam"], ".npz": WRITERS["corpus"]}
PERFORMANCE_ENDINGS = (*render.ENDINGS, ".json", *_PERFORMANCE_WRITERS)


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
    color: render.Color = "ink",
    columns: int | None = None,
    labels: bool | Items[str] = False,
    animate: bool = False,
) -> None:
    """Write all the drawings of a corpus; the options are for pictures, as in `draw`."""
    check_out(path)
    if writer := _WRITERS.get(path.suffix.lower()):
        writer(corpus, path)
    else:
        draw(corpus, range(len(corpus)), path, color=color, columns=columns, labels=labels, animate=animate)


def draw(
    corpus: Corpus,
    indices: Items[int],
    path: Path,
    *,
    color: render.Color = "ink",
    columns: int | None = None,
    labels: bool | Items[str] = False,
    animate: bool = False,
) -> None:
    """A picture of the drawings `indices`. `labels`: what stands below each; True: class names or texts, if any."""
    names = [_caption(corpus, i) for i in indices] if labels is True else labels or None
    drawings = [corpus.drawing(i) for i in indices]
    render.save_picture(
        drawings,
        path,
        style=render.Style(color=color),
        columns=columns,
        labels=names if names and any(names) else None,
        animate=animate,
    )


def save_morph(corpus: Corpus, path: Path, *, color: render.Color = "ink") -> None:
    """A GIF of the drawings of a corpus, one after the other in one place, forth and back again."""
    check_out(path, (".gif",))
    drawings = [corpus.drawing(i) for i in range(len(corpus))]
    write_bytes(path, render.to_morph(drawings, render.Style(color=color)))


def save_performances(
    corpus: Corpus,
    path: Path | str,
    *,
    labels: bool | Items[str] = False,
    columns: int | None = None,
    animate: bool = False,
) -> None:
    """Write all the touch performances of a corpus: .svg .png .pdf .gif, pictures in colors of the time; .json, with
    a line for each touch; .csv, as MicroJam writes one performance; .npz, a corpus.

    `labels`: what each is called in pictures and JSON; True: class names or texts, if any. `animate`: an SVG that
    plays in real time, as a .gif does anyway.
    """
    path = Path(path)
    check_out(path, PERFORMANCE_ENDINGS)
    _check_touches(corpus)
    ending = path.suffix.lower()
    if ending == ".csv" and len(corpus) != 1:
        raise InputError(
            f"{path}: a .csv is one performance, {corpus.metadata.name} holds {len(corpus)}; save one alone, or all of "
            "them as .json or .npz"
        )
    if writer := _PERFORMANCE_WRITERS.get(ending):
        writer(corpus, path)
    elif ending == ".json":
        names = [_name(corpus, i) for i in range(len(corpus))] if labels is True else labels or None
        write_bytes(path, render.to_json(performances(corpus), corpus.metadata.name, names).encode())
    else:
        draw_performances(corpus, range(len(corpus)), path, labels=labels, columns=columns, animate=animate)


def draw_performances(
    corpus: Corpus,
    indices: Items[int],
    path: Path,
    *,
    labels: bool | Items[str] = False,
    columns: int | None = None,
    animate: bool = False,
) -> None:
    """A picture of the touch performances `indices`; the options are those of `save_performances`."""
    ending = path.suffix.lower()
    if animate and ending not in render.MOVING:
        raise InputError(f"{path}: its ending is {ending!r}; to animate, expected {' or '.join(render.MOVING)}")
    names = [_caption(corpus, i) for i in indices] if labels is True else labels or None
    picture = render.render_performances(
        performances(corpus, indices),
        ending,
        columns=columns,
        labels=names if names and any(names) else None,
        animate=animate,
    )
    write_bytes(path, picture)


def performances(corpus: Corpus, indices: Items[int] | None = None) -> list[render.Performance]:
    """The touch performances `indices` of a corpus, by default all."""
    _check_touches(corpus)
    chosen = [corpus[i] for i in (range(len(corpus)) if indices is None else indices)]
    return [render.Performance.of(sequence.motion, np.asarray(sequence.event) != DOWN) for sequence in chosen]


def _check_touches(corpus: Corpus) -> None:
    if not corpus.metadata.is_touch:
        features, start = ", ".join(corpus.metadata.features or ("dx", "dy")), corpus.metadata.start
        raise InputError(
            f"{corpus.metadata.name} holds no touch performances: its features are {features} and its start is {start}; "
            "expected dx, dy, dt and start up; draw it as drawings"
        )


def _name(corpus: Corpus, index: int) -> str:
    """Its class or its text."""
    sequence = corpus[index]
    return sequence.text or "" if sequence.label is None else corpus.metadata.classes[sequence.label]


def _caption(corpus: Corpus, index: int) -> str:
    name = _name(corpus, index)
    return name if len(name) <= _LONGEST_CAPTION else f"{name[: _LONGEST_CAPTION - 1]}…"
