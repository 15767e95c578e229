"""Generated corpora. The same seed and sizes give the same corpus."""

from collections.abc import Mapping

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.metadata import SPLITS, Metadata
from mdnrnn.data.strokes import from_polylines
from mdnrnn.data.synthetic import doodles, pen_text, rollouts, texts
from mdnrnn.errors import InputError
from mdnrnn.pen_events import DOWN, END

DOODLES_PER_CLASS = 500
DOODLES_SEED = 0
PEN_TEXT_WRITERS = {"train": 600, "valid": 30, "test": 30}
PEN_TEXT_LINES = 20
ROLLOUTS = {"train": 800, "valid": 100, "test": 100}
_HELD_OUT = 0.05


def make_doodles(per_class: int = DOODLES_PER_CLASS, seed: int = DOODLES_SEED) -> Corpus:
    """Generate a corpus of doodles with `per_class` drawings per class.

    For each class, valid and test receive a twentieth of the drawings each, at least one drawing.
    """
    held_out = max(1, round(per_class * _HELD_OUT))
    counts = {"train": per_class - 2 * held_out, "valid": held_out, "test": held_out}
    metadata = Metadata(
        name="doodles",
        bin_width=1.0,
        license="MIT",
        source=f"made by mdnrnn, {per_class} a class, seed {seed}",  # part of the corpus fingerprint: do not reword
        classes=doodles.CLASSES,
    )
    by_split = {
        split: [
            generate_doodle(label, number, split, seed)
            for number in range(count)
            for label in range(len(metadata.classes))
        ]
        for split, count in counts.items()
    }
    return pack(metadata, by_split)


def generate_doodle(label: int, number: int, split: str, seed: int = DOODLES_SEED) -> Sequence:
    """Return one doodle of the corpus that `make_doodles` generates with the same seed.

    Args:
        label: class index.
        number: index of the doodle in its class and split, from 0.
        split: train, valid or test.
        seed: random seed.
    """
    rng = np.random.default_rng([seed, label, number, SPLITS.index(split)])
    motion, event = from_polylines(doodles.draw(doodles.CLASSES[label], rng))
    return Sequence(motion.astype(np.int16), event, label)


def make_pen_text(lines: int = PEN_TEXT_LINES, writers: Mapping[str, int] | None = None, seed: int = 0) -> Corpus:
    """Generate a corpus of lines of text in simulated handwriting.

    Args:
        lines: number of lines per writer.
        writers: number of writers per split; by default `PEN_TEXT_WRITERS`. Each writer occurs in only one split.
        seed: random seed.
    """
    writers = dict(writers or PEN_TEXT_WRITERS)
    firsts = dict(zip(writers, np.cumsum([0, *writers.values()]).tolist(), strict=False))
    metadata = Metadata(
        name="pen-text",
        bin_width=1.0,
        license="MIT",
        # Part of the corpus fingerprint: do not reword.
        source=f"made by mdnrnn from the Hershey fonts, {lines} lines by each of {sum(writers.values())}, seed {seed}",
    )
    by_split = {
        split: [_line(firsts[split] + i, number, seed) for number in range(lines) for i in range(count)]
        for split, count in writers.items()
    }
    return pack(metadata, by_split)


def make_rollouts(episodes: int | Mapping[str, int] | None = None, steps: int = 200, seed: int = 0) -> Corpus:
    """Generate a corpus of simulated episodes of the system that the module `rollouts` defines.

    The rows of an episode depend only on the seed, its split and its index in the split. A larger maximum number of
    steps only adds rows at the end of an episode.

    Args:
        episodes: number of episodes per split, or the total number. From a total number, valid and test receive a tenth
            each, at least one episode. By default `ROLLOUTS`.
        steps: maximum number of rows per episode.
        seed: random seed.
    """
    if isinstance(episodes, int):
        held_out = max(1, round(episodes / 10))
        episodes = {"train": episodes - 2 * held_out, "valid": held_out, "test": held_out}
    counts = dict(ROLLOUTS if episodes is None else episodes)
    if min([steps, *counts.values()]) < 1 or not counts or not set(counts) <= set(SPLITS):
        raise InputError(
            f"received episodes {counts} and steps {steps}; expected steps >= 1, and episodes >= 1 for one or more of "
            f"the splits {', '.join(SPLITS)}"
        )
    metadata = Metadata(
        name="rollouts",
        units="1",
        license="MIT",
        # Part of the corpus fingerprint: do not reword.
        source=f"made by mdnrnn, {sum(counts.values())} episodes of at most {steps} steps, seed {seed}",
        features=rollouts.FEATURES,
    )
    return pack(metadata, {split: _episodes(split, count, steps, seed) for split, count in counts.items()})


def make_writer(number: int, seed: int = 0) -> pen_text.Writer:
    """Return the handwriting parameters of writer `number` in the corpus of `make_pen_text` with the same seed."""
    return pen_text.Writer.sample(np.random.default_rng([seed, number]))


def _line(writer: int, number: int, seed: int) -> Sequence:
    # 1 + number, because NumPy ignores trailing zeros: [seed, writer, 0] would be the same seed as in `make_writer`.
    rng = np.random.default_rng([seed, writer, 1 + number])
    text = texts.sample_line(rng)
    motion, event = from_polylines(pen_text.write(text, make_writer(writer, seed), rng))
    return Sequence(motion.astype(np.int16), event, text=text, writer=writer)


def _episodes(split: str, count: int, steps: int, seed: int) -> list[Sequence]:
    rngs = [np.random.default_rng([seed, SPLITS.index(split), number]) for number in range(count)]
    inputs = rollouts.smooth_actions(np.concatenate([rng.normal(size=(1, steps, rollouts.ACTIONS)) for rng in rngs]))
    noises = [rollouts.Noise.sample(rng, 1, steps) for rng in rngs]
    noise = rollouts.Noise(*(np.concatenate(parts) for parts in zip(*noises, strict=True)))
    rows, done, _ = rollouts.simulate(inputs, noise)
    lengths = np.where(done.any(1), done.argmax(1) + 1, steps)
    event = np.where(done, END, DOWN)
    return [Sequence(rows[i, :n], event[i, :n], inputs=inputs[i, :n]) for i, n in enumerate(lengths.tolist())]
