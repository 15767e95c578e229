"""Quick, Draw! `.ndjson`: one JSON object per line.

The field `drawing` is a list of strokes [xs, ys] or [xs, ys, ts], with y pointing down. The field `word` is the class.
Quick, Draw! publishes two kinds of files. Simplified files have integer coordinates of 0 to 255. Raw files have pixel
coordinates of any range, and the times ts of the points in milliseconds; the times are ignored. Files with other keys
and other layouts of strokes are also read, as described in `json_records.py` and `json_strokes.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats.format import Format, check_drawing_corpus
from mdnrnn.data.formats.json_records import (
    MAX_RECORD_BYTES,
    STROKES_IN_JSON,
    RecordChunk,
    group_records,
    parse_records,
    top_level_keys,
)
from mdnrnn.data.formats.json_strokes import STROKE_KEYS
from mdnrnn.files.atomic import atomic_file

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = MAX_RECORD_BYTES
_LINE_OBJECT = re.compile(rb"^\{.*(?:\}[ \t\r]*$|\Z)", re.MULTILINE)
"""Pattern of a line that contains one JSON object. The last line of the text may be an incomplete object."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the file has one JSON object per line.

    In an `.ndjson` or `.jsonl` file, one line with an object is enough. In other files, the first line must be an
    object with strokes. Objects with the key `medians` are left to `medians.py`.
    """
    is_ndjson = path.suffix.lower() in (".ndjson", ".jsonl")
    line = _LINE_OBJECT.search(head) if is_ndjson else _LINE_OBJECT.match(head.lstrip())
    if line is None or not (is_ndjson or STROKES_IN_JSON.search(line[0])):
        return False
    keys = top_level_keys(line[0])
    return "medians" not in keys and (is_ndjson or any(key in STROKE_KEYS for key in keys))


def _chunks(path: Path) -> Iterator[RecordChunk]:
    with path.open("rb") as file:
        yield from read_chunks(file, str(path))


def read_chunks(file: BinaryIO, name: str) -> Iterator[RecordChunk]:
    """Yield the lines of an open file in chunks of about `CHUNK_BYTES`.

    Args:
        file: file or pipe, opened in binary mode.
        name: name of the file, for messages.
    """
    return group_records(_read_lines(file), f"{name}, line", CHUNK_BYTES)


def _read_lines(file: BinaryIO) -> Iterator[bytes | None]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            yield None
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
        else:
            yield line


def write(corpus: Corpus, path: Path) -> None:
    """Write all drawings of a corpus in the layout of simplified Quick, Draw! files.

    Each drawing is translated so that its minimum x and y are 0. Two fields are additions to the Quick, Draw! format:
    `split` and `text`. The field `text` is written only if the drawing has a text.

    Raises:
        InputError: the corpus does not consist of drawings.
    """
    check_drawing_corpus(corpus)
    with atomic_file(path) as file:
        file.writelines(f"{json.dumps(to_json_object(corpus, i))}\n".encode() for i in range(len(corpus)))


def to_json_object(corpus: Corpus, index: int) -> dict[str, Any]:
    """Return the JSON object of drawing `index`."""
    strokes = corpus.drawing(index)
    corner = np.concatenate(strokes).min(0)
    sequence, splits = corpus[index], corpus.splits.items()
    return {
        "key_id": str(index),
        "word": "" if sequence.label is None else corpus.metadata.classes[sequence.label],
        "recognized": True,
        "split": next((name for name, (first, last) in splits if first <= index < last), ""),
        **({} if sequence.text is None else {"text": sequence.text}),
        "drawing": [[_to_numbers(axis) for axis in (stroke - corner).T] for stroke in strokes],
    }


def _to_numbers(values: np.ndarray) -> list[int] | list[float]:
    integers = np.rint(values)
    return integers.astype(int).tolist() if np.array_equal(integers, values) else values.tolist()


FORMAT = Format(
    "Quick, Draw! .ndjson", (".ndjson", ".jsonl"), _recognizes, _chunks, parse_records, default_label="file"
)
