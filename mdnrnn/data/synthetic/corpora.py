"""Corpora made, not downloaded: the same seed gives the same corpus."""

from collections.abc import Mapping

import numpy as np

from mdnrnn.data.corpus import SPLITS, Corpus, Metadata, Sequence, pack
from mdnrnn.data.strokes import from_polylines
from mdnrnn.data.synthetic import doodles, pen_text, rollouts, texts
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, END

DOODLES_PER_CLASS = 500
DOODLES_SEED = 0
PEN_TEXT_WRITERS = {"train": 600, "valid": 30, "test": 30}
PEN_TEXT_LINES = 20
ROLLOUTS = {"train": 800, "valid": 100, "test": 100}
_HELD_OUT = 0.05


def make_doodles(per_class: int = DOODLES_PER_CLASS, seed: int = DOODLES_SEED) -> Corpus:
    """`per_class` doodles of each class; a twentieth of each are the valid split, another the test split."""
    held_out = max(1, round(per_class * _HELD_OUT))
    counts = {"train": per_class - 2 * held_out, "valid": held_out, "test": held_out}
    metadata = Metadata(
        name="doodles",
        bin_width=1.0,
        license="MIT",
        source=f"made by mdnrnn, {per_class} a class, seed {seed}",
        classes=doodles.CLASSES,
    )
    return pack(
        metadata,
        {
            split: [
                _doodle(label, number, split, seed) for number in range(count) for label in range(len(metadata.classes))
            ]
            for split, count in counts.items()
        },
    )


def make_pen_text(lines: int = PEN_TEXT_LINES, writers: Mapping[str, int] | None = None, seed: int = 0) -> Corpus:
    """`lines` lines of text by each of so many writers of every split: no writer is in two of them."""
    writers = dict(writers or PEN_TEXT_WRITERS)
    firsts = dict(zip(writers, np.cumsum([0, *writers.values()]).tolist(), strict=False))
    metadata = Metadata(
        name="pen-text",
        bin_width=1.0,
        license="MIT",
        source=f"made by mdnrnn from the Hershey fonts, {lines} lines by each of {sum(writers.values())}, seed {seed}",
    )
    by_split = {
        split: [_line(firsts[split] + i, number, seed) for number in range(lines) for i in range(count)]
        for split, count in writers.items()
    }
    return pack(metadata, by_split)


def make_rollouts(episodes: int | Mapping[str, int] | None = None, steps: int = 200, seed: int = 0) -> Corpus:
    """So many episodes of every split, or in all, a tenth of them valid and a tenth test; cut after `steps` rows.

    An episode is the same however many are made with it, and its rows however many steps it may have.
    """
    if isinstance(episodes, int):
        held_out = max(1, round(episodes / 10))
        episodes = {"train": episodes - 2 * held_out, "valid": held_out, "test": held_out}
    counts = dict(ROLLOUTS if episodes is None else episodes)
    if min([steps, *counts.values()]) < 1 or not counts or not set(counts) <= set(SPLITS):
        raise InputError(f"{counts} episodes of {steps} steps; expected 1 or more of each, of {', '.join(SPLITS)}")
    metadata = Metadata(
        name="rollouts",
        units="1",
        license="MIT",
        source=f"made by mdnrnn, {sum(counts.values())} episodes of at most {steps} steps, seed {seed}",
        features=rollouts.FEATURES,
    )
    return pack(metadata, {split: _episodes(split, count, steps, seed) for split, count in counts.items()})


def pen_text_writer(number: int, seed: int = 0) -> pen_text.Writer:
    """The hand that the pen text of a seed calls `number`."""
    return pen_text.Writer.drawn(np.random.default_rng([seed, number]))


def _line(writer: int, number: int, seed: int) -> Sequence:
    rng = np.random.default_rng([seed, writer, 1 + number])  # [seed, writer] is that of the hand: zeros change nothing
    text = texts.line(rng)
    motion, event = from_polylines(pen_text.write(text, pen_text_writer(writer, seed), rng))
    return Sequence(motion.astype(np.int16), event, text=text, writer=writer)


def _doodle(label: int, number: int, split: str, seed: int) -> Sequence:
    rng = np.random.default_rng([seed, label, number, ("train", "valid", "test").index(split)])
    motion, event = from_polylines(doodles.draw(doodles.CLASSES[label], rng))
    return Sequence(motion.astype(np.int16), event, label)


def _episodes(split: str, count: int, steps: int, seed: int) -> list[Sequence]:
    rngs = [np.random.default_rng([seed, SPLITS.index(split), number]) for number in range(count)]
    inputs = rollouts.policy(np.concatenate([rng.normal(size=(1, steps, rollouts.ACTIONS)) for rng in rngs]))
    noises = [rollouts.Noise.drawn(rng, 1, steps) for rng in rngs]
    noise = rollouts.Noise(*(np.concatenate(each) for each in zip(*noises, strict=True)))
    rows, done, _ = rollouts.simulate(inputs, noise)
    lengths = np.where(done.any(1), done.argmax(1) + 1, steps)
    event = np.where(done, END, DOWN)
    return [Sequence(rows[i, :n], event[i, :n], inputs=inputs[i, :n]) for i, n in enumerate(lengths.tolist())]
