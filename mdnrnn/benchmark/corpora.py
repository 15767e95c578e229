"""Small corpora for the benchmarks: the bundled doodles, and generated data for presets of other kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.synthetic.corpora import make_pen_text, make_rollouts
from mdnrnn.runs.presets import KINDS, PRESETS

_STREAMS = 64
_STREAM_STEPS = 800


def benchmark_corpus(preset: str, small: bool = False) -> Corpus:
    """Return a corpus that suits a preset: handwriting, rollouts, gestures, touch performances or drawings.

    Args:
        preset: name of the preset.
        small: whether to return only a few sequences, for tests.
    """
    if KINDS[PRESETS[preset].kind].model_class.uses_text or preset.startswith("handwriting"):
        return make_pen_text(5, {"train": 2 if small else 64, "valid": 1, "test": 1})
    if preset == "world":
        return make_rollouts({"train": 6 if small else 400, "valid": 1, "test": 1})
    if preset.startswith("gesture"):
        return _streams(2 if small else _STREAMS)
    doodles = open_corpus("doodles")
    if small:
        doodles = replace(doodles, splits={**doodles.splits, "train": (0, 20)})
    return _performed(doodles) if preset == "touch" else doodles


def _streams(count: int) -> Corpus:
    """Return `count` gesture streams: random time intervals and three slowly varying controls on a grid of 1/128."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(count):
        drift = np.cumsum(rng.normal(0, 3, (_STREAM_STEPS, 3)), axis=0)
        values = np.rint(64 + 60 * np.sin(drift / 40)) / 128
        motion = np.hstack([rng.lognormal(-3, 0.5, (_STREAM_STEPS, 1)), values]).astype(np.float32)
        sequences.append(Sequence(motion, np.zeros(_STREAM_STEPS, np.uint8)))
    metadata = Metadata(name="streams", bin_width=1 / 128, features=("dt", "x1", "x2", "x3"))
    return pack(metadata, {"train": sequences, "valid": sequences[:1], "test": sequences[:1]})


def _performed(doodles: Corpus) -> Corpus:
    """Convert doodles to touch performances: offsets are divided by 256, and times between touches are random."""
    rng = np.random.default_rng(0)
    dt = rng.lognormal(-3, 0.5, len(doodles.event))
    dt[doodles.offsets[:-1]] = 0
    motion = np.column_stack([np.asarray(doodles.motion) / 256, dt]).astype(np.float32)
    metadata = Metadata(name="touches", start="up", bin_width=1 / 256, features=("dx", "dy", "dt"))
    return replace(doodles, metadata=metadata, motion=motion, label=None)
