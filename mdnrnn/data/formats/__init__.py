"""File formats of stroke data: registry of readers and writers, and recognition of files by content and extension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import (
    excalidraw,
    iam,
    impsy,
    inkml,
    inkml_writer,
    json_file,
    lightpad,
    medians,
    microjam,
    native,
    ndjson,
    omniglot,
    pen_csv,
    quickdraw_bin,
    sketchrnn,
    sketchrnn_writer,
    stroke_arrays,
    svg_reader,
    svg_writer,
    tldraw,
    touch_csv,
    uji,
    unipen,
    xournal,
)
from mdnrnn.data.formats.format import Format, read_head
from mdnrnn.data.formats.unknown import Content, describe_content
from mdnrnn.data.formats.unknown_data import ARCHIVE_KINDS, describe_data
from mdnrnn.errors import DataError, InputError

FORMATS: dict[str, Format] = {
    "sketchrnn": sketchrnn.FORMAT,
    "ndjson": ndjson.FORMAT,
    "excalidraw": excalidraw.FORMAT,
    "tldraw": tldraw.FORMAT,
    "medians": medians.FORMAT,
    "json": json_file.FORMAT,
    "stroke-arrays": stroke_arrays.FORMAT,
    "quickdraw-bin": quickdraw_bin.FORMAT,
    "svg": svg_reader.FORMAT,
    "inkml": inkml.FORMAT,
    "iam": iam.FORMAT,
    "unipen": unipen.FORMAT,
    "uji": uji.FORMAT,
    "omniglot": omniglot.FORMAT,
    "xournal": xournal.FORMAT,
    "touch-csv": touch_csv.FORMAT,
    "microjam": microjam.CSV,
    "microjam-arrays": microjam.ARRAYS,
    "impsy": impsy.LOG,
    "impsy-arrays": impsy.ARRAYS,
    "lightpad": lightpad.FORMAT,
    "pen-csv": pen_csv.FORMAT,
}
"""Readable formats, by value of the option `--format` of `mdnrnn data import`.

Without this option, the first format in this order that recognizes a file reads the file. Corpora of this project are
recognized before all other formats and need no entry here.
"""

WRITERS: dict[str, Callable[[Corpus, Path], None]] = {
    "corpus": native.write,
    "sketchrnn": sketchrnn_writer.write,
    "ndjson": ndjson.write,
    "svg": svg_writer.write,
    "inkml": inkml_writer.write,
    "microjam": microjam.write,
}
"""Functions that write a corpus to a path, by value of the option `--format` of `mdnrnn data export`.

The written files can be imported again.
"""


def find_format(name: str) -> Format:
    """Return the format with a given name; raise `InputError` if there is none."""
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def recognize_format(path: Path) -> Format | None:
    """Return the format of a file or of a corpus folder; None if no format recognizes it."""
    head = b"" if path.is_dir() else read_head(path)
    if native.recognizes(path, head):
        return native.corpus_format(path)
    return next((form for form in FORMATS.values() if form.recognizes(path, head)), None)


def describe_unknown(path: Path) -> Content:
    """Describe the content of a file that no format recognizes."""
    head = read_head(path)
    return describe_data(path, head) or describe_content(path, head)


def unknown_format_error(path: Path) -> DataError:
    """Return the error for a file that no format recognizes."""
    content = describe_unknown(path)
    expected = f"expected one of {', '.join(FORMATS)}"
    if content.kind == "empty file":
        return DataError(f"{path}: the file is empty; {expected}")
    if path.suffix.lower() == ".npz" and content.kind not in ARCHIVE_KINDS:
        return DataError(f"{path}: not an .npz file, but {content.found}; {expected}")
    if content.advice:
        return DataError(f"{path}: {content.found}, which is not a known format; expected strokes; {content.advice}")
    return DataError(f"{path}: {content.found}, not a known format; {expected}")
