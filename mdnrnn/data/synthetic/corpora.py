"""Corpora made, not downloaded: the same seed gives the same corpus."""

import numpy as np

from mdnrnn.data.corpus import Corpus, Facts, Sequence, pack
from mdnrnn.data.strokes import from_polylines
from mdnrnn.data.synthetic import doodles

DOODLES_PER_CLASS = 500
DOODLES_SEED = 0
_HELD_OUT = 0.05


def make_doodles(per_class: int = DOODLES_PER_CLASS, seed: int = DOODLES_SEED) -> Corpus:
    """`per_class` doodles of each class; a twentieth of each are the valid split, another the test split."""
    held_out = max(1, round(per_class * _HELD_OUT))
    counts = {"train": per_class - 2 * held_out, "valid": held_out, "test": held_out}
    facts = Facts(
        name="doodles",
        quantum=1.0,
        licence="MIT",
        source=f"made by mdnrnn, {per_class} a class, seed {seed}",
        classes=doodles.CLASSES,
    )
    return pack(
        facts,
        {
            split: [
                _doodle(label, number, split, seed) for number in range(count) for label in range(len(facts.classes))
            ]
            for split, count in counts.items()
        },
    )


def _doodle(label: int, number: int, split: str, seed: int) -> Sequence:
    rng = np.random.default_rng([seed, label, number, ("train", "valid", "test").index(split)])
    motion, event = from_polylines(doodles.draw(doodles.CLASSES[label], rng))
    return Sequence(motion.astype(np.int16), event, label)
