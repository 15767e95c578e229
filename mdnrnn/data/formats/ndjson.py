"""Quick, Draw! simplified `.ndjson`: one JSON object a line, its drawing as strokes [xs, ys], y down."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.files import write_atomically


def write(corpus: Corpus, path: Path) -> None:
    """All sequences of a corpus of strokes, each moved so that its least x and y are 0."""
    write_atomically(
        path,
        lambda file: file.writelines(f"{json.dumps(_record(corpus, i))}\n".encode() for i in range(len(corpus))),
    )


def _record(corpus: Corpus, index: int) -> dict[str, Any]:
    strokes = corpus.drawing(index)
    corner = np.concatenate(strokes).min(0)
    label = None if corpus.label is None else int(corpus.label[index])
    return {
        "key_id": str(index),
        "word": corpus.facts.name if label is None else corpus.facts.classes[label],
        "recognized": True,
        "drawing": [[_numbers(axis) for axis in (stroke - corner).T] for stroke in strokes],
    }


def _numbers(values: np.ndarray) -> list[int] | list[float]:
    whole = np.rint(values)
    return whole.astype(int).tolist() if np.array_equal(whole, values) else values.round(3).tolist()
