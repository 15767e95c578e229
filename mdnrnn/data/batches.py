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
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.strokes import drop_points
from mdnrnn.distributions.step import START, Step
from mdnrnn.errors import InputError

_LENGTH_JITTER = 0.01
_RELEASE = 512
"""Sequences: about 64 MB of a large corpus."""


class Piece(NamedTuple):
    """Rows of a sequence, from `first` up to, not with, `last`."""

    sequence: int
    first: int
    last: int


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
    """B sequences, their S real steps flat, one sequence after the other. Motions are normalised.

    target: the steps to predict, motion (S, D) and event (S,); previous: the steps before them, motion zero and
    event START at each sequence's first, with inputs (S, A) or None; cell (S, D), the widths of the targets'
    cells, 0 where a feature is continuous, or None where all are; lengths (B,), every T; label (B,) or None;
    indices (B,): the sequences' numbers in the corpus; text (B, U), code points of what is written, zeros after the end
    of each, or None; goes_on (B,), of windows: whether one follows what stood in its row of the batch before, or None.
    """

    target: Step
    previous: Step
    cell: Tensor | None
    lengths: Tensor
    label: Tensor | None
    indices: Tensor
    slots: Tensor
    """Where row s stands in a padded (T, B) layout: t * B + b, shape (S,)."""
    steps: int
    """T of the longest sequence."""
    text: Tensor | None = None
    goes_on: Tensor | None = None

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
            cell=_move(self.cell, device),
            lengths=_move(self.lengths, device),
            label=_move(self.label, device),
            indices=_move(self.indices, device),
            slots=_move(self.slots, device),
            text=_move(self.text, device),
            goes_on=_move(self.goes_on, device),
        )


def _move(tensor: Any, device: torch.device) -> Any:
    return None if tensor is None else tensor.pin_memory().to(device, non_blocking=True)


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

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number`, from batch `start` on: all that is random comes from (seed, epoch, batch)."""
        rng = np.random.default_rng([self.seed, number])
        # Sorting by slightly blurred lengths: batches mix anew each epoch and stay almost free of padding.
        chunks = self._chunks(rng)
        for taken, position in enumerate(rng.permutation(len(chunks))[start:], 1):
            self._release(taken)
            yield self.batch(chunks[position], np.random.default_rng([self.seed, number, int(position)]))

    def __iter__(self) -> Iterator[Batch]:
        for taken, chunk in enumerate(self._chunks(None), 1):
            self._release(taken)
            yield self.batch(chunk)

    def _release(self, taken: int) -> None:
        """Give back now and then what was read of a mapped corpus: each sequence touches pages around it."""
        if taken % max(1, _RELEASE // self.batch_size) == 0:
            self.corpus.release()

    def indices(self) -> np.ndarray:
        """Numbers of the sequences taken, shape (M,), in the order of the corpus."""
        indices = np.asarray(self.corpus.indices(self.split))
        if self.most is not None and self.most < len(indices):
            indices = indices[np.arange(self.most) * len(indices) // self.most]
        return indices

    def _chunks(self, rng: np.random.Generator | None) -> list[np.ndarray]:
        indices = self.indices()
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
        lengths = self.corpus.offsets[indices + 1] - self.corpus.offsets[indices]
        pieces = [Piece(i, 0, length) for i, length in zip(indices.tolist(), lengths.tolist(), strict=True)]
        return self.of_pieces(pieces, rng)

    def of_pieces(self, pieces: list[Piece], rng: np.random.Generator | None = None) -> Batch:
        """The batch of these pieces of sequences; the step before a piece's first is the one that it follows."""
        corpus, augment = self.corpus, self.augment if rng is not None else None
        leads = np.array([piece.first > 0 for piece in pieces])
        rows = [self._rows(piece, lead) for piece, lead in zip(pieces, leads.tolist(), strict=True)]
        motions, events = [self._drawn(row, rng) for row in rows], [corpus.event[row] for row in rows]
        inputs = None if corpus.inputs is None else np.concatenate([corpus.inputs[row] for row in rows])
        if augment and augment.drop and rng is not None and inputs is None and corpus.facts.drawn:
            start = corpus.facts.start
            pairs = [drop_points(m, e, augment.drop, rng, start) for m, e in zip(motions, events, strict=True)]
            motions, events = [motion for motion, _ in pairs], [event for _, event in pairs]
        lengths = np.array([len(event) for event in events])
        tops = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        begins = tops[~leads]
        motion, event = self.normalizer.normalise(np.concatenate(motions), begins), np.concatenate(events)
        cells = self._cells(motion.shape, begins)
        offsets = list(corpus.facts.offsets(motion.shape[1]))
        if augment and augment.scale and rng is not None and offsets:
            # Stretching moves the grid too: the cells stretch alike.
            stretch = np.ones((len(pieces), motion.shape[1]), np.float32)
            stretch[:, offsets] = rng.uniform(1 - augment.scale, 1 + augment.scale, (len(pieces), len(offsets)))
            stretch = stretch.repeat(lengths, axis=0)
            motion, cells = motion * stretch, None if cells is None else cells * stretch
        indices = np.array([piece.sequence for piece in pieces])
        text = None if corpus.text is None else code_points([corpus[piece.sequence].text or "" for piece in pieces])
        return _assemble(motion, event, cells, lengths, leads, inputs, self._labels(indices), indices, text)

    def _rows(self, piece: Piece, lead: bool) -> slice:
        """Of the corpus: those of a piece, and the one before, where it does not begin its sequence."""
        first = int(self.corpus.offsets[piece.sequence])
        return slice(first + piece.first - lead, first + piece.last)

    def _drawn(self, rows: slice, rng: np.random.Generator | None) -> np.ndarray:
        """Motions (n, D), raw; where they are means of posteriors, a draw of each, the same for the same rows where no
        generator is given."""
        motion, logvar = self.corpus.motion[rows], self.corpus.logvar
        if logvar is None:
            return motion
        rng = rng or np.random.default_rng([self.seed, rows.start])
        noise = rng.standard_normal(motion.shape)
        return motion + np.exp(0.5 * logvar[rows].astype(np.float64)) * noise

    def _cells(self, shape: tuple[int, ...], firsts: np.ndarray) -> np.ndarray | None:
        """The cells (S, D) of the rows of a batch, `firsts` those that begin a sequence."""
        cell = self.normalizer.cells(self.corpus.facts)
        if cell is None or not self.normalizer.logs:
            return None if cell is None else np.broadcast_to(cell, shape)
        cells = np.tile(cell, (shape[0], 1))
        cells[firsts] = self.normalizer.cells(self.corpus.facts, first=True)
        return cells

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
    cells: np.ndarray | None,
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
        cells, inputs = (None if part is None else part[kept] for part in (cells, inputs))
        lengths = lengths - leads
        tops = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    time = np.arange(len(event)) - tops.repeat(lengths)
    slots = time * len(indices) + np.arange(len(indices)).repeat(lengths)
    rows = None if inputs is None else torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
    return Batch(
        target=Step(torch.from_numpy(motion), torch.from_numpy(event.astype(np.int64))),
        previous=Step(torch.from_numpy(before), torch.from_numpy(event_before), rows),
        cell=None if cells is None else torch.from_numpy(np.array(cells)),
        lengths=torch.from_numpy(lengths),
        label=None if label is None else torch.from_numpy(label),
        indices=torch.from_numpy(np.asarray(indices, dtype=np.int64)),
        slots=torch.from_numpy(slots),
        steps=int(lengths.max()),
        text=text,
    )
