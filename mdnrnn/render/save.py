"""Write drawings and touch performances to files. The extension of the file selects the format.

To add a picture format, add its encoders to `PICTURE_FORMATS`; to add a data format, add its writer to
`DRAWING_FORMATS` or `PERFORMANCE_FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import WRITERS
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import write_bytes
from mdnrnn.pen_events import DOWN
from mdnrnn.render.animation import to_animated_svg, to_gif, to_morph_gif
from mdnrnn.render.layout import Sheet, lay_out
from mdnrnn.render.raster import figure_bytes, to_figure
from mdnrnn.render.style import DEFAULT_OPTIONS, DrawingOptions, PictureOptions
from mdnrnn.render.svg import to_svg
from mdnrnn.render.touch_animation import to_performance_gif, to_performance_svg
from mdnrnn.render.touch_performance import Performance, lay_out_performances, to_json


class PictureFormat(NamedTuple):
    """Functions that encode a sheet in one picture format, one function per kind of picture.

    A function is None if the format does not support the kind of picture.
    """

    still: Callable[[Sheet], bytes] | None = None
    drawing_animation: Callable[[Sheet, float], bytes] | None = None
    """Encoder of an animated drawing; its arguments are the sheet and the duration in seconds."""
    performance_animation: Callable[[Sheet], bytes] | None = None


PICTURE_FORMATS = {
    ".svg": PictureFormat(
        still=lambda sheet: to_svg(sheet).encode(),
        drawing_animation=lambda sheet, seconds: to_animated_svg(sheet, seconds).encode(),
        performance_animation=lambda sheet: to_performance_svg(sheet).encode(),
    ),
    ".png": PictureFormat(still=lambda sheet: figure_bytes(to_figure(sheet), ".png")),
    ".pdf": PictureFormat(still=lambda sheet: figure_bytes(to_figure(sheet), ".pdf")),
    ".gif": PictureFormat(drawing_animation=to_gif, performance_animation=to_performance_gif),
}


def _write_json(corpus: Corpus, path: Path, labels: Sequence[str] | None) -> None:
    write_bytes(path, to_json(to_performances(corpus), corpus.metadata.name, labels).encode())


def _write_csv(corpus: Corpus, path: Path, _labels: Sequence[str] | None) -> None:
    if len(corpus) != 1:
        raise InputError(
            f"{path}: received {len(corpus)} performances, expected 1 for .csv; save them as .json or .npz"
        )
    WRITERS["microjam"](corpus, path)


DRAWING_FORMATS: dict[str, Callable[[Corpus, Path], None]] = {
    ".ndjson": WRITERS["ndjson"],
    ".inkml": WRITERS["inkml"],
    ".npz": WRITERS["corpus"],
}
"""Functions that write a corpus of drawings, by file extension."""
PERFORMANCE_FORMATS: dict[str, Callable[[Corpus, Path, Sequence[str] | None], None]] = {
    ".json": _write_json,
    ".csv": _write_csv,
    ".npz": lambda corpus, path, _: WRITERS["corpus"](corpus, path),
}
"""Functions that write a corpus of touch performances, by file extension. The arguments are corpus, path and labels."""

PICTURE_EXTENSIONS = tuple(PICTURE_FORMATS)
ANIMATION_EXTENSIONS = tuple(extension for extension, entry in PICTURE_FORMATS.items() if entry.drawing_animation)
DRAWING_EXTENSIONS = (*PICTURE_EXTENSIONS, *DRAWING_FORMATS)
PERFORMANCE_EXTENSIONS = (*PICTURE_EXTENSIONS, *PERFORMANCE_FORMATS)
MAX_LABEL = 18
"""Default maximum number of characters of a label below a picture; longer labels are shortened."""


def check_output_path(
    path: Path | str, extensions: Sequence[str] = DRAWING_EXTENSIONS, *, animate: bool = False
) -> None:
    """Raise `InputError` if `path` has a wrong extension, is a folder, or is in a folder that does not exist.

    Commands call this function before a long computation.

    Args:
        path: path of the output file.
        extensions: accepted extensions.
        animate: whether to accept only formats that support animation.
    """
    path = Path(path)
    _check_extension(path.suffix.lower(), extensions, animate, str(path))
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it, or choose another path")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file name")


def render(drawings: Sequence[Drawing], extension: str, options: DrawingOptions = DEFAULT_OPTIONS) -> bytes:
    """Return the content of a picture file that shows drawings in a grid.

    Args:
        drawings: the drawings.
        extension: one of `PICTURE_EXTENSIONS`; with `options.animate`, one of `ANIMATION_EXTENSIONS`.
        options: picture options.

    Raises:
        InputError: the extension, a drawing or the number of labels is invalid.
    """
    _check_extension(extension, PICTURE_EXTENSIONS, options.animate, "picture")
    encoders, sheet = PICTURE_FORMATS[extension], lay_out(drawings, options)
    if encoders.drawing_animation and (options.animate or not encoders.still):
        return encoders.drawing_animation(sheet, options.seconds)
    assert encoders.still is not None
    return encoders.still(sheet)


def render_performances(
    performances: Sequence[Performance], extension: str, options: PictureOptions = DEFAULT_OPTIONS
) -> bytes:
    """Return the content of a picture file that shows touch performances in a grid.

    An animation plays in real time.

    Args:
        performances: the performances.
        extension: one of `PICTURE_EXTENSIONS`; with `options.animate`, one of `ANIMATION_EXTENSIONS`.
        options: picture options.

    Raises:
        InputError: there are no performances, or the extension, a performance or the number of labels is invalid.
    """
    _check_extension(extension, PICTURE_EXTENSIONS, options.animate, "picture")
    encoders, sheet = PICTURE_FORMATS[extension], lay_out_performances(performances, options)
    if encoders.performance_animation and (options.animate or not encoders.still):
        return encoders.performance_animation(sheet)
    assert encoders.still is not None
    return encoders.still(sheet)


def save_picture(drawings: Sequence[Drawing], path: Path | str, options: DrawingOptions = DEFAULT_OPTIONS) -> None:
    """Write a picture of drawings, atomically. The extension of `path` selects the format.

    Raises:
        InputError: an argument is invalid (see `render`), or `path` cannot be written.
    """
    extension = Path(path).suffix.lower()
    _check_extension(extension, PICTURE_EXTENSIONS, options.animate, str(path))
    write_bytes(path, render(drawings, extension, options))


def save_performance_picture(
    performances: Sequence[Performance], path: Path | str, options: PictureOptions = DEFAULT_OPTIONS
) -> None:
    """Write a picture of touch performances, atomically. The extension of `path` selects the format.

    Raises:
        InputError: an argument is invalid (see `render_performances`), or `path` cannot be written.
    """
    extension = Path(path).suffix.lower()
    _check_extension(extension, PICTURE_EXTENSIONS, options.animate, str(path))
    write_bytes(path, render_performances(performances, extension, options))


def save_morph(corpus: Corpus, path: Path | str, options: DrawingOptions = DEFAULT_OPTIONS) -> None:
    """Write a GIF that shows the drawings of a corpus one after the other, forward and then backward."""
    check_output_path(path, (".gif",))
    write_bytes(path, to_morph_gif([corpus.drawing(i) for i in range(len(corpus))], options))


def save_drawings(corpus: Corpus, path: Path | str, options: DrawingOptions = DEFAULT_OPTIONS) -> None:
    """Write all drawings of a corpus to a picture (.svg .png .pdf .gif) or to a data file (.ndjson .inkml .npz).

    Args:
        corpus: the drawings.
        path: output file; its extension selects the format.
        options: picture options; ignored for data files.

    Raises:
        InputError: the extension or an option is invalid, or `path` cannot be written.
    """
    path = Path(path)
    check_output_path(path)
    if write := DRAWING_FORMATS.get(path.suffix.lower()):
        write(corpus, path)
    else:
        save_picture([corpus.drawing(i) for i in range(len(corpus))], path, options)


def save_performances(corpus: Corpus, path: Path | str, options: PictureOptions = DEFAULT_OPTIONS) -> None:
    """Write all touch performances of a corpus to a picture or to a data file.

    Pictures (.svg .png .pdf .gif) show times as colors. A .json file has one line per touch. A .csv file has the format
    of MicroJam and contains a single performance. A .npz file is a corpus.

    Args:
        corpus: the performances.
        path: output file; its extension selects the format.
        options: picture options. For .json only the labels are used; .csv and .npz ignore the options.

    Raises:
        InputError: the corpus does not contain touch performances, the extension or an option is invalid, or `path`
            cannot be written.
    """
    path = Path(path)
    check_output_path(path, PERFORMANCE_EXTENSIONS)
    _check_touch_corpus(corpus)
    if write := PERFORMANCE_FORMATS.get(path.suffix.lower()):
        write(corpus, path, options.labels)
    else:
        save_performance_picture(to_performances(corpus), path, options)


def to_performances(corpus: Corpus, indices: Sequence[int] | None = None) -> list[Performance]:
    """Return sequences of a corpus as touch performances.

    Args:
        corpus: a corpus of touch performances.
        indices: indices of the sequences; by default all.

    Raises:
        InputError: the corpus does not contain touch performances.
    """
    _check_touch_corpus(corpus)
    sequences = [corpus[i] for i in (range(len(corpus)) if indices is None else indices)]
    return [Performance.from_steps(each.motion, np.asarray(each.event) != DOWN) for each in sequences]


def sequence_labels(
    corpus: Corpus, indices: Sequence[int] | None = None, max_length: int = MAX_LABEL
) -> list[str] | None:
    """Return a label for each sequence: its class name or, if it has no class, its text.

    If no sequence has a class or a text, return None.

    Args:
        corpus: the corpus.
        indices: indices of the sequences; by default all.
        max_length: maximum number of characters per label; longer labels are shortened.
    """
    labels = []
    for i in range(len(corpus)) if indices is None else indices:
        sequence = corpus[i]
        label = sequence.text or "" if sequence.label is None else corpus.metadata.classes[sequence.label]
        labels.append(label if len(label) <= max_length else f"{label[: max_length - 1]}…")
    return labels if any(labels) else None


def _check_extension(extension: str, extensions: Sequence[str], animate: bool, name: str) -> None:
    """Raise `InputError` if the extension is not one of `extensions`.

    With `animate`, only formats that support animation are accepted. The error message starts with `name`.
    """
    purpose = ""
    if animate:
        extensions = [each for each in extensions if each in ANIMATION_EXTENSIONS]
        purpose = " to animate"
    if extension not in extensions:
        raise InputError(f"{name}: received extension {extension!r}{purpose}, expected one of {', '.join(extensions)}")


def _check_touch_corpus(corpus: Corpus) -> None:
    metadata = corpus.metadata
    if not metadata.is_touch:
        features = ", ".join(metadata.features or ("dx", "dy"))
        raise InputError(
            f"{metadata.name}: received features {features} and the pen {metadata.start} at the start, expected touch "
            "performances (features dx, dy, dt; pen up at the start); save it as drawings"
        )
