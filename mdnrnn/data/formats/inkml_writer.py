"""Writer of InkML: it writes all drawings of a corpus to one file.

The reader, `inkml.py`, restores the drawings, labels, texts and splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats.format import check_drawing_corpus
from mdnrnn.data.formats.inkml import MAX_BYTES
from mdnrnn.data.formats.xml import MAX_MARKS, count_marks, escape_text, find_invalid_character
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import atomic_file


def write(corpus: Corpus, path: Path) -> None:
    """Write a corpus of drawings to one file, with their labels, texts and splits.

    Raises:
        InputError: the corpus does not consist of drawings, a label or text contains a character that XML cannot
            represent, or the file would exceed the limits of the reader.
    """
    check_drawing_corpus(corpus)
    with atomic_file(path) as file:
        _write(corpus, file)


def _write(corpus: Corpus, file: BinaryIO) -> None:
    size = marks = 0
    for line in _format_lines(corpus):
        data = line.encode()
        size, marks = size + len(data), marks + count_marks(data)
        if size > MAX_BYTES or marks > MAX_MARKS:
            raise InputError(
                f"{corpus.metadata.name}: the InkML exceeds {MAX_BYTES >> 20} MB or {MAX_MARKS} tags and attributes, "
                "the maximum that can be imported; use --format ndjson"
            )
        file.write(data)


def _format_lines(corpus: Corpus) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<ink xmlns="http://www.w3.org/2003/InkML">\n<traceFormat>'
    yield '<channel name="X" type="decimal"/><channel name="Y" type="decimal"/></traceFormat>\n'
    splits = {split: range(first, last) for split, (first, last) in corpus.splits.items() if split in SPLITS}
    for i in range(len(corpus)):
        yield f'<traceGroup xml:id="drawing{i}">\n<annotation type="drawing">{i}</annotation>\n'
        if corpus.label is not None:
            yield _format_annotation("label", corpus.metadata.classes[int(corpus.label[i])], i)
        text = corpus[i].text
        if text:
            yield _format_annotation("text", text, i)
        yield from (_format_annotation("split", split, i) for split, indices in splits.items() if i in indices)
        for stroke in corpus.drawing(i):
            points = (f"{_format_decimal(x)} {_format_decimal(y)}" for x, y in stroke.tolist())
            yield f"<trace>{', '.join(points)}</trace>\n"
        yield "</traceGroup>\n"
    yield "</ink>\n"


def _format_annotation(kind: str, text: str, index: int) -> str:
    invalid = find_invalid_character(text)
    if invalid:
        raise InputError(f"the {kind} of sequence {index} contains {invalid!r}, which XML cannot represent; remove it")
    return f'<annotation type="{kind}" xml:space="preserve">{escape_text(text)}</annotation>\n'


def _format_decimal(value: float) -> str:
    """Format a number without an exponent, because InkML does not allow exponents."""
    return f"{value:.0f}" if value.is_integer() else np.format_float_positional(value, trim="-")
