"""Reduced sizes for the tests of benchmarks: reference operations without pauses, and short sequences."""

import numpy as np
import pytest

from mdnrnn.benchmark import limits
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.metadata import SPLITS


def shrink_benchmarks(patch: pytest.MonkeyPatch) -> None:
    """Reduce what benchmarks run beside the measured functions: pauses, warm-up, the matrix product, many drawings."""
    patch.setattr("mdnrnn.benchmark.timing._PAUSE", 0.0)
    patch.setitem(limits._SIDE, "cpu", 256)
    patch.setattr("mdnrnn.benchmark.live._WARM_UP", 200)
    patch.setattr("mdnrnn.benchmark.generate._SHEEP", 20)


def shorten(corpus: Corpus, steps: int) -> Corpus:
    """Return the corpus with `steps` or slightly fewer steps per sequence; the last event of a sequence is kept."""

    def cut(index: int) -> Sequence:
        sequence = corpus[index]
        n = min(len(sequence.event), steps - index % 5)
        event = np.append(sequence.event[: n - 1], sequence.event[-1]).astype(np.uint8)
        inputs = None if sequence.inputs is None else sequence.inputs[:n]
        return sequence._replace(motion=sequence.motion[:n], event=event, inputs=inputs)

    splits = {split: [cut(i) for i in corpus.indices(split)] for split in SPLITS if split in corpus.splits}
    return pack(corpus.metadata, splits)
