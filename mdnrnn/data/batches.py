"""Batches of sequences of similar length, with shuffling and augmentation that are reproducible from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from mdnrnn.data.batch import Batch, assemble, to_code_points
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.memmap import read_row_ranges
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.strokes import drop_points
from mdnrnn.errors import InputError

_LENGTH_JITTER = 0.01


class Segments(NamedTuple):
    """B segments, each a range of consecutive rows of one sequence."""

    sequence: np.ndarray
    """(B,), indices of the sequences in the corpus."""
    first: np.ndarray
    """(B,), first row of each segment, counted from the start of its sequence."""
    last: np.ndarray
    """(B,), row after the last row of each segment, counted from the start of its sequence."""


@dataclass(frozen=True)
class Augment:
    """Random augmentation of training sequences: scale the offsets and drop points, differently in each epoch."""

    scale: float = 0.15
    """Range of the random scale: the offsets of a sequence are multiplied by random factors, one per axis, from
    U(1 - scale, 1 + scale)."""
    drop: float = 0.0
    """Share of the points to drop; the first and last point of each stroke are kept. Points are dropped only if the
    data are drawings or touch performances and have no model inputs."""

    def __post_init__(self) -> None:
        if not (0 <= self.scale < 1 and 0 <= self.drop < 1):
            raise InputError(
                f"augment: received scale {self.scale} and drop {self.drop}, expected numbers >= 0 and < 1"
            )


class _Noise(NamedTuple):
    """Random numbers for this rank's part of a batch: B sequences with N rows in total."""

    stretch: np.ndarray
    """(B, D), uniform on [0, 1), for the random scale of each feature."""
    rounding: np.ndarray
    """(B,), uniform on [0, 1), for the random rounding of the number of dropped points."""
    rows: np.ndarray
    """(N,), uniform on [0, 1), for the choice of the dropped points."""
    normal: np.ndarray
    """(N, D), standard normal, for sampling the posteriors; (0,) if the corpus has no posteriors."""


@dataclass(frozen=True)
class Batches:
    """Batches of the sequences of one split.

    `epoch(e)` yields shuffled and augmented training batches. Iteration yields evaluation batches, sorted by length and
    without augmentation.
    """

    corpus: Corpus
    split: str
    normalizer: Normalizer
    batch_size: int = 100
    """Number of sequences per batch; with `by_points`, the average number."""
    seed: int = 0
    """Random seed of the shuffling, the augmentation and the posterior samples."""
    augment: Augment | None = None
    max_sequences: int | None = None
    """Maximum number of sequences. From a larger split, sequences are selected at equal intervals. None: no limit."""
    by_points: bool = False
    """Whether all batches have about the same number of points. Batches of short sequences then contain more than
    `batch_size` sequences."""
    pool: int = 1 << 17
    """Maximum number of sequences that are sorted by length together. An epoch of more sequences is divided into pools
    of this size, to limit memory use and start-up time."""
    rank: int = 0
    """Rank of this process, 0 to world_size - 1."""
    world_size: int = 1
    """Number of processes that share the batches; see `shard`."""

    def shard(self, rank: int, world_size: int) -> Batches:
        """Return a copy that yields the data of one rank.

        In an epoch, each rank takes every `world_size`-th sequence of each batch, so that sequence lengths are similar
        on all ranks. In an evaluation pass, each rank takes every `world_size`-th batch.
        """
        return replace(self, rank=rank, world_size=world_size)

    def epoch(self, number: int, start: int = 0, step: int = 1) -> Iterator[Batch]:
        """Yield every `step`-th batch of epoch `number`, beginning with batch `start`.

        A batch depends only on the seed, the epoch number and its position in the epoch, not on `start` and `step`.
        """
        first = 0
        for rng, pool in self._pools(number):
            # Sorting by length keeps the batches almost free of padding. Random jitter of the lengths makes the batches
            # of each epoch different.
            chunks = self._chunks(pool, rng)
            for place, position in enumerate(rng.permutation(len(chunks)).tolist(), first):
                if place >= start and (place - start) % step == 0:
                    yield self.batch(chunks[position], np.random.default_rng([self.seed, number, first + position]))
            first += len(chunks)

    def __iter__(self) -> Iterator[Batch]:
        unsharded = replace(self, rank=0, world_size=1)
        for chunk in self._chunks(self.indices(), None)[self.rank :: self.world_size]:
            yield unsharded.batch(chunk)

    def indices(self) -> np.ndarray:
        """Return the corpus indices of the sequences in use (see `max_sequences`), shape (M,), in ascending order."""
        split = self.corpus.indices(self.split)
        indices = np.arange(split.start, split.stop, dtype=np.int32 if len(self.corpus) < 2**31 else np.int64)
        if self.max_sequences is not None and self.max_sequences < len(indices):
            indices = indices[np.arange(self.max_sequences) * len(indices) // self.max_sequences]
        return indices

    def _pools(self, number: int) -> Iterator[tuple[np.random.Generator, np.ndarray]]:
        """Divide an epoch into pools (see `pool`); yield a random generator and the sequence indices of each pool."""
        rng, indices = np.random.default_rng([self.seed, number]), self.indices()
        if len(indices) <= self.pool:
            yield rng, indices
            return
        rng.shuffle(indices)
        for part in range(-(-len(indices) // self.pool)):
            members = slice(part * self.pool, (part + 1) * self.pool)
            yield np.random.default_rng([self.seed, number, part, 1]), indices[members]

    def _chunks(self, indices: np.ndarray, rng: np.random.Generator | None) -> list[np.ndarray]:
        """Sort sequences by length and divide them into batches; return the sequence indices of each batch.

        With `rng`, the lengths are multiplied by random factors close to 1 before sorting.
        """
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
        midpoints = (lengths.cumsum() - lengths / 2) / lengths.sum()
        number = np.minimum((midpoints * batches).astype(np.int64), batches - 1)
        return np.split(ordered, np.flatnonzero(np.diff(number)) + 1)

    def batch(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Return the batch of the sequences with the corpus indices `indices` (B,).

        If several processes share the batch, return the part of this process.

        With `rng`, the sequences are augmented. Without `rng`, they are not.

        A corpus for world models can store a Gaussian (mean and variance) for each latent vector. The motions are then
        samples of these Gaussians: new samples in every call with `rng`, the same samples in every call without it.
        """
        indices = np.asarray(indices)
        lengths = self.corpus.offsets[indices + 1] - self.corpus.offsets[indices]
        return self.from_segments(Segments(indices, np.zeros_like(lengths), lengths), rng)

    def from_segments(self, segments: Segments, rng: np.random.Generator | None = None) -> Batch:
        """Return this rank's part of a batch of segments; see `batch` for `rng`.

        If a segment does not start at the first step of its sequence, the sequence contains a step before the segment.
        This step is then `Batch.previous` of the first step of the segment.

        Random numbers are generated for all segments, including the segments of other ranks. A segment's random numbers
        therefore do not depend on the number of ranks.
        """
        corpus, augment = self.corpus, self.augment if rng is not None else None
        # If a segment does not start at row 0, the preceding row is also read, for `Batch.previous` only.
        local, counts = self.local_rows(len(segments.sequence)), segments.last - segments.first + (segments.first > 0)
        noise = self._draw_noise(counts, local, rng)
        indices, has_previous, lengths = segments.sequence[local], segments.first[local] > 0, counts[local]
        firsts = corpus.offsets[indices] + segments.first[local] - has_previous
        arrays = (corpus.motion, corpus.event, corpus.inputs, corpus.logvar)
        rows: list[Any] = [None if array is None else read_row_ranges(array, firsts, lengths) for array in arrays]
        motion, event, inputs, logvar = rows
        if logvar is not None:
            normal = self._fixed_noise(firsts, lengths) if noise is None else noise.normal
            motion = motion + np.exp(0.5 * logvar.astype(np.float64)) * normal
        if augment and augment.drop and noise and inputs is None and corpus.metadata.is_drawing:
            uniform = noise.rounding, noise.rows
            motion, event, lengths = drop_points(motion, event, lengths, augment.drop, uniform, corpus.metadata.start)
        # Positions of rows that are row 0 of their sequence. For a segment that starts at row 1, row 0 is read as well.
        first_rows = (np.cumsum(lengths) - lengths)[segments.first[local] <= 1]
        motion = self.normalizer.normalize(motion, first_rows)
        bin_widths = self._bin_widths(motion.shape, first_rows)
        offsets = list(corpus.metadata.offset_features(motion.shape[1]))
        if augment and augment.scale and noise and offsets:
            stretch = np.ones((len(local), motion.shape[1]), np.float32)
            stretch[:, offsets] = 1 + augment.scale * (2 * noise.stretch[:, offsets] - 1)
            stretch = stretch.repeat(lengths, axis=0)
            motion, bin_widths = motion * stretch, None if bin_widths is None else bin_widths * stretch
        text = None if corpus.text is None else to_code_points([corpus[i].text or "" for i in indices.tolist()])
        labels = self._labels(indices)
        batch = assemble(motion, event, bin_widths, lengths, has_previous, inputs, labels, indices, text)
        context = None if corpus.context is None else torch.from_numpy(np.asarray(corpus.context[indices], np.float32))
        return replace(batch, context=context, idle=self.rank >= len(counts))

    def local_rows(self, count: int) -> np.ndarray:
        """Return the positions of this rank's sequences in a batch of `count` sequences.

        If the rank has no sequence, return the position 0 as a placeholder.
        """
        return np.arange(self.rank, count, self.world_size) if self.rank < count else np.zeros(1, np.int64)

    def _draw_noise(self, counts: np.ndarray, local: np.ndarray, rng: np.random.Generator | None) -> _Noise | None:
        """Generate noise for all segments of a batch and return the part for this rank; None without `rng`.

        Args:
            counts: (B,), number of rows of each segment.
            local: positions of this rank's segments in the batch.
            rng: random generator.
        """
        if rng is None:
            return None
        is_local, width = np.zeros(len(counts), bool), self.corpus.motion.shape[1]
        is_local[local] = True
        is_local_row, total = is_local.repeat(counts), int(counts.sum())
        stretch, rounding, rows = rng.random((len(counts), width)), rng.random(len(counts)), rng.random(total)
        normal = np.zeros(0) if self.corpus.logvar is None else rng.standard_normal((total, width))[is_local_row]
        return _Noise(stretch[is_local], rounding[is_local], rows[is_local_row], normal)

    def _fixed_noise(self, firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return standard normal noise (N, D) for the N rows of segments.

        The noise of a segment depends only on the seed and the corpus row at which the segment starts.

        Args:
            firsts: (B,), corpus row at which each segment starts.
            lengths: (B,), number of rows of each segment.
        """
        width = self.corpus.motion.shape[1]
        segments = zip(firsts.tolist(), lengths.tolist(), strict=True)
        draws = [np.random.default_rng([self.seed, first]).standard_normal((count, width)) for first, count in segments]
        return np.concatenate(draws)

    def _bin_widths(self, shape: tuple[int, ...], firsts: np.ndarray) -> np.ndarray | None:
        """Return the normalized bin widths of motions of this shape (N, D); None if all features are continuous.

        `firsts` are the positions of the rows that start a sequence.
        """
        bin_width = self.normalizer.bin_widths(self.corpus.metadata)
        if bin_width is None or not self.normalizer.logs:
            return None if bin_width is None else np.broadcast_to(bin_width, shape)
        bin_widths = np.tile(bin_width, (shape[0], 1))
        bin_widths[firsts] = self.normalizer.bin_widths(self.corpus.metadata, first=True)
        return bin_widths

    def _labels(self, indices: np.ndarray) -> np.ndarray | None:
        return None if self.corpus.label is None else np.asarray(self.corpus.label[indices], dtype=np.int64)
