"""A corpus: sequences packed end to end in arrays, which may be memory-mapped."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.memmap import find_large_mapping
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Drawing, to_curves, to_polylines
from mdnrnn.data.validation import check_arrays, check_values
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, END, UP

SPLITS = ("train", "valid", "test")
_BLOCK_ROWS = 1 << 20


class Sequence(NamedTuple):
    """One sequence of T steps."""

    motion: np.ndarray
    """(T, D), raw units."""
    event: np.ndarray
    """(T,), integers; END last if the sequence ends."""
    label: int | None = None
    """Index of the class."""
    inputs: np.ndarray | None = None
    """(T, A), inputs that are known when a step is predicted."""
    text: str | None = None
    """Text that the sequence writes."""
    writer: int | None = None
    """Number of the writer."""
    logvar: np.ndarray | None = None
    """(T, D), log variances of the posteriors whose means are in motion."""


@dataclass(frozen=True)
class Corpus:
    """M sequences of N steps in total, packed end to end: sequence i is rows offsets[i] to offsets[i + 1].

    Args:
        metadata: name, classes, features, ...
        motion: (N, D), raw units.
        event: (N,), integers.
        offsets: (M + 1,).
        splits: split name -> (first, last + 1) sequence.
        label: (M,), or None.
        inputs: (N, A), inputs that are known when a step is predicted, or None.
        text: all texts end to end, UTF-8, (bytes,), or None.
        text_offsets: (M + 1,), byte offsets of the texts, or None.
        writer: (M,), number of each sequence's writer, or None. No model receives it.
        logvar: (N, D), or None. If present, motion holds means of posteriors and logvar their log variances; every
            batch then draws new samples.
    """

    metadata: Metadata
    motion: np.ndarray
    event: np.ndarray
    offsets: np.ndarray
    splits: Mapping[str, tuple[int, int]]
    label: np.ndarray | None = None
    inputs: np.ndarray | None = None
    text: np.ndarray | None = None
    text_offsets: np.ndarray | None = None
    writer: np.ndarray | None = None
    logvar: np.ndarray | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Records that were dropped while reading: reason -> count."""

    def __post_init__(self) -> None:
        check_arrays(self)

    @classmethod
    def from_arrays(
        cls,
        motions: Iterable[np.ndarray],
        events: Iterable[np.ndarray] | None = None,
        labels: Iterable[str] | None = None,
        *,
        texts: Iterable[str] | None = None,
        inputs: Iterable[np.ndarray] | None = None,
        splits: SequenceOf[float] | SequenceOf[str] = (0.9, 0.05, 0.05),
        seed: int = 0,
        metadata: Metadata | None = None,
    ) -> Corpus:
        """Build a corpus from NumPy arrays and check it.

        Args:
            motions: M arrays (T, D) in raw units: for drawings, the offset from each point to the next.
            events: M arrays (T,) of DOWN (0), UP (1) and END (2), or of booleans (True: the pen lifts after this
                point); default: DOWN. In drawings the last event of each sequence is set to END.
            labels: M class names. The classes are those of `metadata`, or the distinct names in alphabetical order.
            texts: M texts, for text-conditional models.
            inputs: M arrays (T, A), the inputs that are known when a step is predicted.
            splits: shares of train, valid and test, by which the sequences are divided at random; or M split names.
            seed: random seed of the division.
            metadata: metadata of the corpus. Default: named "arrays", drawings that start with the pen down, with bin
                width 1 if all motions are integers, continuous otherwise.

        Raises:
            InputError: if numbers, shapes, types or values do not match.
        """
        motions = _check_matrices("motions", motions)
        count = len(motions)
        if metadata is None:
            is_integer = all(motion.dtype.kind in "iu" for motion in motions)
            metadata = Metadata(name="arrays", bin_width=1.0 if is_integer else None)
        names = None if labels is None else _check_count("labels", labels, count)
        if names is not None and not metadata.classes:
            metadata = replace(metadata, classes=tuple(sorted(set(names))))
        columns = (
            motions,
            [np.full(len(motion), DOWN) for motion in motions] if events is None else _check_events(events, motions),
            [None] * count if names is None else [metadata.class_index(name) for name in names],
            [None] * count if inputs is None else _check_matrices("inputs", inputs, motions),
            [None] * count if texts is None else _check_count("texts", texts, count),
        )
        sequences = [Sequence(*fields) for fields in zip(*columns, strict=True)]
        if metadata.is_drawing:
            sequences = [sequence._replace(event=mark_end(sequence.event)) for sequence in sequences]
        members = _divide(count, splits, seed)
        corpus = pack(metadata, {split: [sequences[i] for i in indices] for split, indices in members.items()})
        corpus.check()
        return corpus

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Sequence:
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index}: expected an index from 0 to {len(self) - 1}")
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Sequence(
            self.motion[rows],
            self.event[rows],
            None if self.label is None else int(self.label[index]),
            None if self.inputs is None else self.inputs[rows],
            self._text(index),
            None if self.writer is None else int(self.writer[index]),
            None if self.logvar is None else self.logvar[rows],
        )

    def _text(self, index: int) -> str | None:
        if self.text is None or self.text_offsets is None:
            return None
        return bytes(self.text[self.text_offsets[index] : self.text_offsets[index + 1]]).decode(errors="replace")

    @property
    def lengths(self) -> np.ndarray:
        """Number of steps T of every sequence, shape (M,)."""
        return np.diff(self.offsets)

    @cached_property
    def events(self) -> int:
        """Number of event classes E: 3 for strokes, 2 for worlds with episodes that end, 0 without events."""
        if self.metadata.is_stream:
            return 0
        if not self.metadata.is_world:
            return 3
        return 2 if any((self.event[rows] == END).any() for rows in self.row_blocks(slice(0, len(self.event)))) else 0

    @property
    def text_lengths(self) -> np.ndarray:
        """Number of characters of every text, shape (M,); shape (0,) if there are no texts."""
        if self.text is None or self.text_offsets is None:
            return np.zeros(0, np.int64)
        is_first_byte = (np.asarray(self.text) & 0xC0) != 0x80  # of a character in UTF-8
        return np.diff(np.concatenate([[0], np.cumsum(is_first_byte)])[self.text_offsets])

    @property
    def max_steps_per_character(self) -> float:
        """Maximum ratio of steps to characters over all sequences with a text; 0 if there are none."""
        characters = self.text_lengths
        has_text = characters > 0
        return float((self.lengths[: len(characters)][has_text] / characters[has_text]).max(initial=0))

    @property
    def alphabet(self) -> str:
        """Distinct characters of all texts, sorted; empty if there are no texts."""
        return "" if self.text is None else "".join(sorted(set(bytes(self.text).decode(errors="replace"))))

    def indices(self, split: str) -> range:
        """Return the indices of the sequences in a split.

        Raises:
            InputError: if the split is empty or unknown.
        """
        if split not in self.splits:
            raise InputError(f"split {split!r} is not in {self.metadata.name}; it has {', '.join(self.splits)}")
        first, last = self.splits[split]
        if first == last:
            raise InputError(
                f"split {split!r} of {self.metadata.name} is empty ({len(self)} sequences in total); import it again "
                "with a larger share: mdnrnn data import ... --split 0.8,0.1,0.1"
            )
        return range(first, last)

    def rows(self, split: str) -> slice:
        """Return the rows of a split in `motion`, `event`, `inputs` and `logvar`."""
        indices = self.indices(split)
        return slice(int(self.offsets[indices.start]), int(self.offsets[indices.stop]))

    def row_blocks(self, rows: slice) -> Iterator[slice]:
        """Yield `rows` in blocks of at most 2**20 rows and release memory-mapped pages after each block.

        A pass over a whole corpus then needs the memory of one block.
        """
        for first in range(rows.start, rows.stop, _BLOCK_ROWS):
            yield slice(first, min(first + _BLOCK_ROWS, rows.stop))
            self.release_memory()

    def release_memory(self) -> None:
        """Release resident pages of large memory-mapped arrays; they are read again on the next access."""
        for array in (self.motion, self.event, self.inputs, self.text, self.logvar):
            mapped = find_large_mapping(array)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def is_first_row(self, rows: slice) -> np.ndarray:
        """Return which of these n rows are the first of a sequence, shape (n,)."""
        is_first = np.zeros(rows.stop - rows.start, bool)
        firsts = self.offsets[:-1]
        in_range = slice(*np.searchsorted(firsts, [rows.start, rows.stop]))
        is_first[firsts[in_range] - rows.start] = True
        return is_first

    def drawing(self, index: int) -> Drawing:
        """Return sequence `index` as polylines (n, 2).

        For drawings and performances these are the strokes, in raw units. For streams and worlds they are one curve
        per value, over time or over steps.
        """
        motion, event = self[index][:2]
        if not self.metadata.is_drawing:
            rows = motion if self.metadata.is_stream else np.insert(motion.astype(np.float64), 0, 1.0, axis=1)
            return to_curves(rows)
        if motion.shape[1] != 2 and not self.metadata.features:
            raise InputError(
                f"{self.metadata.name} has {motion.shape[1]} features per step; only dx and dy can be drawn"
            )
        return to_polylines(motion[:, :2], event, self.metadata.start)

    def select_split(self, split: str) -> Corpus:
        """Return a corpus of the sequences of one split; its arrays are views."""
        indices, rows = self.indices(split), self.rows(split)
        first, last = indices.start, indices.stop
        text, text_offsets = self.text, self.text_offsets
        if text is not None and text_offsets is not None:
            text = text[text_offsets[first] : text_offsets[last]]
            text_offsets = text_offsets[first : last + 1] - text_offsets[first]
        return Corpus(
            self.metadata,
            self.motion[rows],
            self.event[rows],
            self.offsets[first : last + 1] - self.offsets[first],
            {split: (0, last - first)},
            None if self.label is None else self.label[first:last],
            None if self.inputs is None else self.inputs[rows],
            text,
            text_offsets,
            None if self.writer is None else self.writer[first:last],
            None if self.logvar is None else self.logvar[rows],
        )

    def check(self) -> None:
        """Read all rows once and raise `InputError` if a value is invalid; see `check_values`."""
        check_values(self)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of metadata, splits and arrays; a run uses it to recognize its training data."""
        digest = hashlib.sha256(json.dumps([self.metadata.to_header(), dict(self.splits)]).encode())
        texts = (self.text, self.text_offsets, self.writer, self.logvar)
        for array in (self.motion, self.event, self.offsets, self.label, self.inputs, *texts):
            if array is not None:
                digest.update(str((array.dtype.str, array.shape)).encode())
                for rows in self.row_blocks(slice(0, len(array))):
                    digest.update(np.ascontiguousarray(array[rows]).data)
        return digest.hexdigest()


def pack(
    metadata: Metadata,
    by_split: Mapping[str, Iterable[Sequence]],
    skipped: Mapping[str, int] | None = None,
) -> Corpus:
    """Pack the sequences of each split into a corpus, in the given order.

    Label, inputs, text, writer and logvar must each be present in all sequences or in none.
    """
    sequences: list[Sequence] = []
    splits: dict[str, tuple[int, int]] = {}
    for name, members in by_split.items():
        first = len(sequences)
        sequences += members
        splits[name] = (first, len(sequences))
    if not sequences:
        raise InputError(f"{metadata.name} holds no sequence; expected at least one")
    lengths = [len(sequence.event) for sequence in sequences]
    labels = [sequence.label for sequence in sequences]
    inputs = [sequence.inputs for sequence in sequences]
    writers = [sequence.writer for sequence in sequences]
    logvars = [sequence.logvar for sequence in sequences]
    texts = [text.encode() for sequence in sequences if (text := sequence.text) is not None]
    return Corpus(
        metadata,
        np.concatenate([sequence.motion for sequence in sequences]),
        np.concatenate([sequence.event for sequence in sequences]).astype(np.uint8),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits,
        None if labels[0] is None else np.array(labels, np.int32),
        None if inputs[0] is None else np.concatenate([array for array in inputs if array is not None]),
        np.frombuffer(b"".join(texts), np.uint8) if texts else None,
        np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64) if texts else None,
        None if writers[0] is None else np.array(writers, np.int64),
        None if logvars[0] is None else np.concatenate([array for array in logvars if array is not None]),
        dict(skipped or {}),
    )


def mark_end(event: np.ndarray) -> np.ndarray:
    """Return a copy of events (T,) as uint8 with END as the last event."""
    event = np.array(event, dtype=np.uint8)
    event[-1] = END
    return event


def _check_count(name: str, values: Iterable[Any], count: int) -> list[Any]:
    values = list(values)
    if len(values) != count:
        raise InputError(f"{name}: received {len(values)}, expected {count}, one per sequence")
    return values


def _check_matrices(
    name: str, arrays: Iterable[np.ndarray], motions: list[np.ndarray] | None = None
) -> list[np.ndarray]:
    """Return arrays (T, width) of numbers of the same width; T as in `motions`, if given."""
    arrays = [np.asarray(array) for array in arrays]
    if motions is not None:
        _check_count(name, arrays, len(motions))
    for i, array in enumerate(arrays):
        rows = "T" if motions is None else len(motions[i])
        width = arrays[0].shape[1] if i and arrays[0].ndim == 2 else "D"
        if array.ndim != 2 or not array.size or rows not in ("T", len(array)) or width not in ("D", array.shape[1]):
            raise InputError(f"{name}[{i}]: received shape {array.shape}, expected ({rows}, {width}), at least (1, 1)")
        if array.dtype.kind not in "iuf":
            raise InputError(f"{name}[{i}]: received dtype {array.dtype}, expected integers or floats")
    return arrays


def _check_events(events: Iterable[np.ndarray], motions: list[np.ndarray]) -> list[np.ndarray]:
    """Return integer events (T,); booleans are converted to DOWN and UP."""
    arrays = [np.asarray(event) for event in events]
    _check_count("events", arrays, len(motions))
    for i, (event, motion) in enumerate(zip(arrays, motions, strict=True)):
        if event.shape != (len(motion),):
            raise InputError(f"events[{i}]: received shape {event.shape}, expected ({len(motion)},) as in motions")
        if event.dtype.kind not in "iub":
            raise InputError(f"events[{i}]: received dtype {event.dtype}, expected integers or booleans")
        unknown = np.setdiff1d(event, (DOWN, UP, END))
        if len(unknown):
            raise InputError(f"events[{i}]: received {unknown[0]}, expected DOWN (0), UP (1) or END (2)")
    return [np.where(event, UP, DOWN) if event.dtype.kind == "b" else event for event in arrays]


def _divide(count: int, splits: SequenceOf[float] | SequenceOf[str], seed: int) -> dict[str, list[int]]:
    """Return the sequences of each split, from M names or from shares of train, valid and test."""
    splits = list(splits)
    if splits and all(isinstance(split, str) for split in splits):
        names = _check_count("splits", splits, count)
        unknown = set(names) - set(SPLITS)
        if unknown:
            raise InputError(f"splits: received {', '.join(sorted(unknown))}, expected {', '.join(SPLITS)}")
        return {split: [i for i, name in enumerate(names) if name == split] for split in SPLITS}
    is_numeric = all(isinstance(split, (int, float)) for split in splits)
    shares = np.array(splits if is_numeric else [], dtype=np.float64)
    if shares.shape != (len(SPLITS),) or shares.min() < 0 or shares[0] == 0 or not abs(shares.sum() - 1) < 1e-6:
        raise InputError(f"splits: received {splits}, expected shares of {', '.join(SPLITS)} with the sum 1")
    held_out = [max(1, round(float(share) * count)) if share else 0 for share in shares[1:]]
    if sum(held_out) >= count:
        held_out = [0, 0]
    order = np.random.default_rng(seed).permutation(count)
    bounds = np.cumsum([count - sum(held_out), *held_out])[:-1]
    return {split: sorted(part.tolist()) for split, part in zip(SPLITS, np.split(order, bounds), strict=True)}
