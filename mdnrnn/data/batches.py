"""Batches of sequences of like length: shuffled each epoch, augmented, the same for the same seed.

Everything that a batch needs is computed here, from flat rows: a model pads inside its LSTM call and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.memmap import rows_in_runs
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.strokes import drop_points
from mdnrnn.distributions.step import Step
from mdnrnn.errors import InputError
from mdnrnn.events import START

_LENGTH_JITTER = 0.01


class Segments(NamedTuple):
    """Rows of B sequences, arrays (B,): the sequences' numbers, and their rows from `first` up to, not with, `last`."""

    sequence: np.ndarray
    first: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Augment:
    """Random changes of a training sequence, drawn anew each epoch, where its steps are offsets."""

    scale: float = 0.15
    """Each axis is stretched by a factor from U(1 - scale, 1 + scale)."""
    drop: float = 0.0
    """Share of the points that are left out, from inside strokes."""

    def __post_init__(self) -> None:
        if not (0 <= self.scale < 1 and 0 <= self.drop < 1):
            raise InputError(f"augmentation scale {self.scale} and drop {self.drop}; expected 0 up to, not with, 1")


@dataclass(frozen=True)
class Batch:
    """B sequences, their S real steps flat, one sequence after the other. Motions are normalized.

    target: the steps to predict, motion (S, D) and event (S,); previous: the steps before them, motion zero and
    event START at each sequence's first, with inputs (S, A) or None; bin_width (S, D), the widths of the targets'
    bin_widths, 0 where a feature is continuous, or None where all are; lengths (B,), every T; label (B,) or None;
    indices (B,): the sequences' numbers in the corpus; text (B, U), code points of what is written, zeros after the end
    of each, or None; continues (B,), of windows: whether one follows what stood in its row of the batch before, or None.
    """

    target: Step
    previous: Step
    bin_width: Tensor | None
    lengths: Tensor
    label: Tensor | None
    indices: Tensor
    slots: Tensor
    """Where row s stands in a padded (T, B) layout: t * B + b, shape (S,)."""
    steps: int
    """T of the longest sequence."""
    text: Tensor | None = None
    continues: Tensor | None = None
    idle: bool = False
    """Whether it is a stand-in, of a process that has no sequence in a batch of fewer than there are processes."""

    @property
    def size(self) -> int:
        """B."""
        return len(self.indices)

    @property
    def points(self) -> int:
        """S."""
        return len(self.slots)

    def sequence_of_row(self) -> Tensor:
        """b of every row, shape (S,)."""
        return self.slots % self.size

    def backward_slots(self) -> Tensor:
        """Where row s stands in a padded layout of the sequences from their ends to their starts, shape (S,)."""
        sequence = self.sequence_of_row()
        return (self.lengths[sequence] - 1) * self.size + 2 * sequence - self.slots

    def last_slots(self) -> Tensor:
        """Where each sequence's last row stands in a padded layout from its start or its end, shape (B,)."""
        return (self.lengths - 1) * self.size + torch.arange(self.size, device=self.lengths.device)

    def pad(self, rows: Tensor, slots: Tensor | None = None) -> Tensor:
        """Rows (S, F) laid out as (T, B, F), zeros after each sequence's end; by other slots than the batch's."""
        padded = rows.new_zeros(self.steps * self.size, rows.shape[-1])
        slots = self.slots if slots is None else slots
        return padded.index_copy(0, slots, rows).view(self.steps, self.size, -1)

    def unpad(self, padded: Tensor) -> Tensor:
        """The real rows (S, F) of a (T, B, F) layout: the inverse of `pad`."""
        return padded.flatten(0, 1).index_select(0, self.slots)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; from pinned memory the copy runs beside the computation."""
        if device.type == "cpu":
            return self
        return replace(
            self,
            target=Step(*(_move(part, device) for part in self.target)),
            previous=Step(*(_move(part, device) for part in self.previous)),
            bin_width=_move(self.bin_width, device),
            lengths=_move(self.lengths, device),
            label=_move(self.label, device),
            indices=_move(self.indices, device),
            slots=_move(self.slots, device),
            text=_move(self.text, device),
            continues=_move(self.continues, device),
        )


def _move(tensor: Any, device: torch.device) -> Any:
    return None if tensor is None else tensor.pin_memory().to(device, non_blocking=True)


class _Chance(NamedTuple):
    """What is random in a batch: uniform numbers by sequence, (B, D) and (B,), and by row, (N,); normal ones by row,
    (N, D), where motions are posteriors."""

    stretch: np.ndarray
    rounding: np.ndarray
    rows: np.ndarray
    normal: np.ndarray


@dataclass(frozen=True)
class Batches:
    """The batches of one split: `epoch(e)` to train on, iterating for one plain pass in order of length."""

    corpus: Corpus
    split: str
    normalizer: Normalizer
    batch_size: int = 100
    seed: int = 0
    augment: Augment | None = None
    most: int | None = None
    """Sequences to take, evenly spread over the split; by default all."""
    by_points: bool = False
    """Whether all batches have about as many points, those of short sequences more sequences than `batch_size`."""
    pool: int = 1 << 17
    """Sequences that are put in order of length together; an epoch of more goes through one such pool after the other,
    so that millions cost neither memory nor a pause."""
    rank: int = 0
    """Which process this is of so many, `processes`, that share the batches: see `shared`."""
    processes: int = 1

    def shared(self, rank: int, processes: int) -> Batches:
        """This process's share: of each batch of an epoch every so many-th sequence, so that all have like lengths; of
        a plain pass every so many-th batch."""
        return replace(self, rank=rank, processes=processes)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number`, from batch `start` on: all that is random comes from (seed, epoch, batch)."""
        first = 0
        for rng, pool in self._pools(number):
            # Sorting by slightly blurred lengths: batches mix anew each epoch and stay almost free of padding.
            chunks = self._chunks(pool, rng)
            for position in rng.permutation(len(chunks))[max(0, start - first) :].tolist():
                yield self.batch(chunks[position], np.random.default_rng([self.seed, number, first + position]))
            first += len(chunks)

    def __iter__(self) -> Iterator[Batch]:
        alone = replace(self, rank=0, processes=1)
        for chunk in self._chunks(self.indices(), None)[self.rank :: self.processes]:
            yield alone.batch(chunk)

    def indices(self) -> np.ndarray:
        """Numbers of the sequences taken, shape (M,), in the order of the corpus."""
        numbers = self.corpus.indices(self.split)
        indices = np.arange(numbers.start, numbers.stop, dtype=np.int32 if len(self.corpus) < 2**31 else np.int64)
        if self.most is not None and self.most < len(indices):
            indices = indices[np.arange(self.most) * len(indices) // self.most]
        return indices

    def _pools(self, number: int) -> Iterator[tuple[np.random.Generator, np.ndarray]]:
        """The sequences of an epoch, in parts that are divided into batches by themselves, each with its generator."""
        rng, indices = np.random.default_rng([self.seed, number]), self.indices()
        if len(indices) <= self.pool:
            yield rng, indices
            return
        rng.shuffle(indices)
        for part in range(-(-len(indices) // self.pool)):
            rows = slice(part * self.pool, (part + 1) * self.pool)
            yield np.random.default_rng([self.seed, number, part, 1]), indices[rows]

    def _chunks(self, indices: np.ndarray, rng: np.random.Generator | None) -> list[np.ndarray]:
        lengths = (self.corpus.offsets[indices + 1] - self.corpus.offsets[indices]).astype(np.float64)
        if rng is not None:
            order = rng.permutation(len(indices))
            indices, lengths = indices[order], lengths[order]
            lengths = lengths * rng.uniform(1 - _LENGTH_JITTER, 1 + _LENGTH_JITTER, len(lengths))
        order = np.argsort(lengths, kind="stable")
        ordered, lengths = indices[order], lengths[order]
        if not self.by_points:
            return [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]
        batches = -(-len(ordered) // self.batch_size)
        middles = (lengths.cumsum() - lengths / 2) / lengths.sum()
        number = np.minimum((middles * batches).astype(np.int64), batches - 1)
        return np.split(ordered, np.flatnonzero(np.diff(number)) + 1)

    def batch(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """The batch of these sequences; augmented from `rng` if there is one and an augmentation is set."""
        indices = np.asarray(indices)
        lengths = self.corpus.offsets[indices + 1] - self.corpus.offsets[indices]
        return self.from_segments(Segments(indices, np.zeros_like(lengths), lengths), rng)

    def from_segments(self, pieces: Segments, rng: np.random.Generator | None = None) -> Batch:
        """The batch of these pieces of sequences, or of this process's share of them; the step before a piece's first
        is the one that it follows. What is random is drawn for all of them, whoever takes them."""
        corpus, augment = self.corpus, self.augment if rng is not None else None
        own, counts = self.own(len(pieces.sequence)), pieces.last - pieces.first + (pieces.first > 0)
        chance = self._chance(counts, own, rng)
        indices, leads, lengths = pieces.sequence[own], pieces.first[own] > 0, counts[own]
        firsts = corpus.offsets[indices] + pieces.first[own] - leads
        arrays = (corpus.motion, corpus.event, corpus.inputs, corpus.logvar)
        read: list[Any] = [None if array is None else rows_in_runs(array, firsts, lengths) for array in arrays]
        motion, event, inputs, logvar = read
        if logvar is not None:
            noise = self._own_noise(firsts, lengths) if chance is None else chance.normal
            motion = motion + np.exp(0.5 * logvar.astype(np.float64)) * noise
        if augment and augment.drop and chance and inputs is None and corpus.metadata.is_drawing:
            which = chance.rounding, chance.rows
            motion, event, lengths = drop_points(motion, event, lengths, augment.drop, which, corpus.metadata.start)
        begins = (np.cumsum(lengths) - lengths)[~leads]
        motion = self.normalizer.normalize(motion, begins)
        bin_widths = self._cells(motion.shape, begins)
        offsets = list(corpus.metadata.offset_features(motion.shape[1]))
        if augment and augment.scale and chance and offsets:
            # Stretching moves the grid too: the bin_widths stretch alike.
            stretch = np.ones((len(own), motion.shape[1]), np.float32)
            stretch[:, offsets] = 1 + augment.scale * (2 * chance.stretch[:, offsets] - 1)
            stretch = stretch.repeat(lengths, axis=0)
            motion, bin_widths = motion * stretch, None if bin_widths is None else bin_widths * stretch
        text = None if corpus.text is None else code_points([corpus[i].text or "" for i in indices.tolist()])
        batch = _assemble(motion, event, bin_widths, lengths, leads, inputs, self._labels(indices), indices, text)
        return replace(batch, idle=True) if self.rank >= len(counts) else batch

    def own(self, count: int) -> np.ndarray:
        """This process's share of so many sequences: their places among them; where it has none, the first's."""
        return np.arange(self.rank, count, self.processes) if self.rank < count else np.zeros(1, np.int64)

    def _chance(self, counts: np.ndarray, own: np.ndarray, rng: np.random.Generator | None) -> _Chance | None:
        """Noise for pieces of so many rows, counts (B,), of which the `own` ones' is kept."""
        if rng is None:
            return None
        kept, width = np.zeros(len(counts), bool), self.corpus.motion.shape[1]
        kept[own] = True
        of_rows, total = kept.repeat(counts), int(counts.sum())
        stretch, rounding, rows = rng.random((len(counts), width)), rng.random(len(counts)), rng.random(total)
        normal = np.zeros(0) if self.corpus.logvar is None else rng.standard_normal((total, width))[of_rows]
        return _Chance(stretch[kept], rounding[kept], rows[of_rows], normal)

    def _own_noise(self, firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Normal numbers (n, D) of rows in runs, lengths (b,), from each of `firsts` on: the same for the same runs."""
        width = self.corpus.motion.shape[1]
        runs = zip(firsts.tolist(), lengths.tolist(), strict=True)
        draws = [np.random.default_rng([self.seed, first]).standard_normal((length, width)) for first, length in runs]
        return np.concatenate(draws)

    def _cells(self, shape: tuple[int, ...], firsts: np.ndarray) -> np.ndarray | None:
        """The bin_widths (S, D) of the rows of a batch, `firsts` those that begin a sequence."""
        bin_width = self.normalizer.bin_widths(self.corpus.metadata)
        if bin_width is None or not self.normalizer.logs:
            return None if bin_width is None else np.broadcast_to(bin_width, shape)
        bin_widths = np.tile(bin_width, (shape[0], 1))
        bin_widths[firsts] = self.normalizer.bin_widths(self.corpus.metadata, first=True)
        return bin_widths

    def _labels(self, indices: np.ndarray) -> np.ndarray | None:
        return None if self.corpus.label is None else np.asarray(self.corpus.label[indices], dtype=np.int64)


def code_points(texts: list[str]) -> Tensor:
    """Texts as integers (B, U), zeros after the end of each."""
    codes = np.zeros((len(texts), max(map(len, texts), default=0)), np.int64)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = [ord(letter) for letter in text]
    return torch.from_numpy(codes)


def _assemble(
    motion: np.ndarray,
    event: np.ndarray,
    bin_widths: np.ndarray | None,
    lengths: np.ndarray,
    leads: np.ndarray,
    inputs: np.ndarray | None,
    label: np.ndarray | None,
    indices: np.ndarray,
    text: Tensor | None,
) -> Batch:
    """Of rows one piece after the other, lengths (B,); where `leads` (B,), a piece's first is there to go on from."""
    tops = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    before, event_before = np.roll(motion, 1, axis=0), np.roll(event.astype(np.int64), 1)
    before[tops], event_before[tops] = 0, START
    if leads.any():
        kept = np.delete(np.arange(len(event)), tops[leads])
        motion, event, before, event_before = (part[kept] for part in (motion, event, before, event_before))
        bin_widths, inputs = (None if part is None else part[kept] for part in (bin_widths, inputs))
        lengths = lengths - leads
        tops = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    time = np.arange(len(event)) - tops.repeat(lengths)
    slots = time * len(indices) + np.arange(len(indices)).repeat(lengths)
    rows = None if inputs is None else torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
    return Batch(
        target=Step(torch.from_numpy(motion), torch.from_numpy(event.astype(np.int64))),
        previous=Step(torch.from_numpy(before), torch.from_numpy(event_before), rows),
        bin_width=None if bin_widths is None else torch.from_numpy(np.array(bin_widths)),
        lengths=torch.from_numpy(lengths),
        label=None if label is None else torch.from_numpy(label),
        indices=torch.from_numpy(np.asarray(indices, dtype=np.int64)),
        slots=torch.from_numpy(slots),
        steps=int(lengths.max()),
        text=text,
    )
