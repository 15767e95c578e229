"""Formats of stroke data, and which one a file is of: by what stands in it first, by its ending second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import (
    iam,
    impsy,
    inkml,
    inkml_writer,
    microjam,
    native,
    ndjson,
    quickdraw_bin,
    sketchrnn,
    streams,
    svg_reader,
    svg_writer,
    unipen,
)
from mdnrnn.data.formats.format import HEAD_BYTES, Format
from mdnrnn.errors import DataError, InputError

FORMATS: dict[str, Format] = {
    "sketchrnn": sketchrnn.FORMAT,
    "ndjson": ndjson.FORMAT,
    "quickdraw-bin": quickdraw_bin.FORMAT,
    "svg": svg_reader.FORMAT,
    "inkml": inkml.FORMAT,
    "iam": iam.FORMAT,
    "unipen": unipen.FORMAT,
    "microjam": microjam.CSV,
    "microjam-arrays": microjam.ARRAYS,
    "impsy": impsy.LOG,
    "impsy-arrays": impsy.ARRAYS,
    "lightpad": streams.FORMAT,
}
"""By the name that `--format` takes; asked in this order whether they recognize a file."""

WRITERS: dict[str, Callable[[Corpus, Path], None]] = {
    "corpus": native.write,
    "sketchrnn": sketchrnn.write,
    "ndjson": ndjson.write,
    "svg": svg_writer.write,
    "inkml": inkml_writer.write,
    "microjam": microjam.write,
}
"""The formats that a corpus can be written in; what is read again is the same."""


def find_format(name: str) -> Format:
    """The format of a name."""
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def recognize_format(path: Path) -> Format | None:
    """The format of a file, or of a folder that is a corpus; None where no format knows it."""
    head = b""
    if not path.is_dir():
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    if native.recognizes(path, head):
        return native.corpus_format(path)
    return next((form for form in FORMATS.values() if form.recognizes(path, head)), None)


def unknown_format_error(path: Path) -> DataError:
    """Says what is wrong with a file that no format knows."""
    if path.stat().st_size == 0:
        return DataError(f"{path}: the file is empty; expected drawings in one of the formats {', '.join(FORMATS)}")
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    found = "an .npz that is cut short, or has none of the keys train, valid, test" if zipped else "not a known format"
    if not zipped and path.suffix.lower() == ".npz":
        found = "not an .npz file"
    return DataError(f"{path}: {found}; expected one of {', '.join(FORMATS)}")
