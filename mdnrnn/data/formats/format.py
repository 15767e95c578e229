"""What a format of stroke data is: how its files are recognized, cut into chunks, and parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.strokes import Start
from mdnrnn.errors import DataError, InputError

HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class StepLayout:
    """What the rows of a format mean, once they are steps."""

    start: Start = "down"
    features: tuple[str, ...] = ()
    """Names of the columns of motion, as in `Metadata`; of a stream dt alone, the values follow."""
    units: str = "px"
    grid: float = 0.0
    """What places are rounded to, unless somebody says otherwise; 0: not at all."""

    @property
    def is_stream(self) -> bool:
        """Whether its rows are steps as they stand, without strokes or end."""
        return self.features == ("dt",)


@dataclass(frozen=True)
class Format:
    """One outside format.

    recognizes(path, head): whether a file with these first bytes is of this format, by what stands in it.
    chunks(path): the file cut into pieces of a few thousand whole records at most, which cross to another process;
    cheap, in constant memory. parse(chunk): the drawings of one chunk; the work. Of what is wrong with one record a
    `Remark` comes back, among the drops, of what is wrong with the file a `DataError`.
    """

    name: str
    extensions: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    chunks: Callable[[Path], Iterator[Any]]
    parse: Callable[[Any], DrawingBatch]
    layout: StepLayout = StepLayout()
    default_label: Literal["folder", "file"] | None = "folder"
    """What names the class of a drawing that has no label of its own: the folder that its file lies in, or, where a
    file holds many drawings, the file."""


def single_chunk(path: Path) -> Iterator[Path]:
    """The chunks of a format whose files are small: each file is one."""
    yield path


def check_drawing_corpus(corpus: Corpus) -> None:
    """An error where a corpus holds more than strokes, or none: a format of drawings would lose the rest."""
    if corpus.motion.shape[1] != 2 or not corpus.metadata.is_drawing:
        features = ", ".join(corpus.metadata.features) or f"{corpus.motion.shape[1]} features"
        raise InputError(
            f"{corpus.metadata.name} has steps of ({features}); expected drawings; choose the format corpus"
        )


def read_bounded(path: Path, most: int) -> bytes:
    """All bytes of a file that may have at most `most`."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise DataError(f"{path}: over {most >> 20} MB; no drawing of this format is so large; split the file")
    return data
