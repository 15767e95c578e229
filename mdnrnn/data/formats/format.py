"""Description of a file format of stroke data, and helpers that several formats share."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.strokes import Start
from mdnrnn.errors import DataError, InputError, quantity

_BLOCK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
"""Number of bytes at the start of a file from which its format is recognized."""


@dataclass(frozen=True)
class StepLayout:
    """Columns, units and grid of the steps of a format, and the pen state before the first step."""

    start: Start = "down"
    """Pen state before the first step: "down" (at the origin) or "up" (the first step moves the lifted pen)."""
    features: tuple[str, ...] = ()
    """Names of the motion columns. (): the offsets (dx, dy). ("dt",): a stream, whose number of columns
    varies."""
    units: str = "px"
    grid: float = 0.0
    """Default spacing of the grid to which positions are rounded. With 0, positions are not rounded."""

    @property
    def is_stream(self) -> bool:
        """Whether the steps are rows (dt, x1, x2, ...) of values over time, without strokes and END events."""
        return self.features == ("dt",)


@dataclass(frozen=True)
class Format:
    """A file format of stroke data."""

    name: str
    extensions: tuple[str, ...]
    """Usual file extensions of the format, in lower case, with the dot."""
    recognizes: Callable[[Path, bytes], bool]
    """Function of a path and the head of the file, see `read_head`; returns whether the file has this format."""
    chunks: Callable[[Path], Iterator[Any]]
    """Function of a path; yields picklable chunks for `parse`, each with up to a few thousand complete records.

    Raises:
        DataError: the file is damaged.
    """
    parse: Callable[[Any], DrawingBatch]
    """Function of a chunk; returns its drawings. Malformed records are listed in `DrawingBatch.dropped`.

    Raises:
        DataError: the file is damaged.
    """
    layout: StepLayout = StepLayout()
    default_label: Literal["folder", "file"] | None = "folder"
    """Source of the class of a drawing whose record contains no class. "folder": the name of its folder. "file": the
    name of its file, for formats with many drawings per file. None: no class."""
    parse_outlines: Callable[[Any], DrawingBatch] | None = None
    """Like `parse`, but the outlines of filled areas become strokes, too. None: the format has no filled areas."""


def single_chunk(path: Path) -> Iterator[Path]:
    """Yield `path` as the only chunk. Formats with small files use this function as `Format.chunks`."""
    yield path


def check_drawing_corpus(corpus: Corpus) -> None:
    """Raise `InputError` if the corpus does not consist of drawings, or has features besides the offsets (dx, dy)."""
    if corpus.motion.shape[1] != 2 or not corpus.metadata.is_drawing:
        features = ", ".join(corpus.metadata.features) or quantity(corpus.motion.shape[1], "features")
        raise InputError(
            f"{corpus.metadata.name} has steps of ({features}); expected drawings with steps of (dx, dy); use --format "
            "corpus"
        )


def read_head(path: Path) -> bytes:
    """Return the first `HEAD_BYTES` bytes of a file, without a byte order mark of UTF-8."""
    with path.open("rb") as file:
        return file.read(len(codecs.BOM_UTF8) + HEAD_BYTES).removeprefix(codecs.BOM_UTF8)[:HEAD_BYTES]


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return all bytes of a file; raise `DataError` if there are more than `max_bytes`."""
    buffer = io.BytesIO()
    with path.open("rb") as file:
        # `file.read(max_bytes)` would allocate `max_bytes` for a small file, too.
        while buffer.tell() <= max_bytes and (block := file.read(_BLOCK_BYTES)):
            buffer.write(block)
    data = buffer.getvalue()
    if len(data) > max_bytes:
        raise DataError(f"{path}: over {max_bytes >> 20} MB; expected at most {max_bytes >> 20} MB; split the file")
    return data


def decode_text(data: bytes) -> str:
    """Decode UTF-8 text, or Latin-1 if the data are invalid UTF-8, and convert line ends to newlines.

    A byte order mark of UTF-8 is removed.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")
