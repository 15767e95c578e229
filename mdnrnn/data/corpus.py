"""A corpus: sequences packed end to end in arrays, which may be memory-mapped."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mdnrnn.data.array_arguments import (
    check_context,
    check_events,
    check_lengths,
    check_matrices,
    check_strings,
    divide_into_splits,
    unpad,
)
from mdnrnn.data.memmap import find_large_mapping, keep_open
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Drawing, to_curves, to_polylines
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.data.validation import check_arrays, check_values
from mdnrnn.errors import InputError, quantity
from mdnrnn.pen_events import DOWN, END

_BLOCK_ROWS = 1 << 20


class Sequence(NamedTuple):
    """One sequence of T steps."""

    motion: np.ndarray
    """(T, D), motion features in raw units."""
    event: np.ndarray
    """(T,), event codes DOWN (0), UP (1) and END (2); only the last event can be END."""
    label: int | None = None
    """Class index in `Metadata.classes`."""
    inputs: np.ndarray | None = None
    """(T, A), model inputs for the prediction of each step, for example actions."""
    text: str | None = None
    """Transcription of the handwriting."""
    writer: int | None = None
    """Index of the writer."""
    logvar: np.ndarray | None = None
    """(T, D), log variances of Gaussian posteriors whose means are in `motion`."""
    context: np.ndarray | None = None
    """(C,), context vector: numbers on which the model is conditioned at every step."""


@dataclass(frozen=True)
class Corpus:
    """M sequences with N steps in total, packed end to end.

    Args:
        metadata: metadata of the corpus, such as its name, classes and features.
        motion: (N, D), motion features in raw units.
        event: (N,), event codes DOWN (0), UP (1) and END (2).
        offsets: (M + 1,), row at which each sequence starts, then N. Sequence i is rows offsets[i] to
            offsets[i + 1] - 1.
        splits: for each split name, the range (first, last + 1) of the indices of its sequences.
        label: (M,), class indices, or None.
        inputs: (N, A), model inputs for the prediction of each step, for example actions, or None.
        text: (number of bytes,), uint8, all texts end to end in UTF-8, or None.
        text_offsets: (M + 1,), byte offsets of the texts in `text`, or None.
        writer: (M,), index of the writer of each sequence, or None. Models do not use the writers.
        logvar: (N, D), log variances of Gaussian posteriors whose means are in `motion`, or None. The posteriors are
            sampled again for every training batch.
        context: (M, C), context vector of each sequence, or None. Models read it beside every step.
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
    context: np.ndarray | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of records that were dropped while reading, by reason."""

    def __post_init__(self) -> None:
        check_arrays(self)
        self._merge_equal_classes()

    def _merge_equal_classes(self) -> None:
        """Merge classes of the same name. Names that look the same can differ in a file and be equal in form NFC."""
        names = self.metadata.classes
        if self.label is None or len(set(names)) == len(names):
            return
        distinct = tuple(dict.fromkeys(names))
        is_class = (self.label >= 0) & (self.label < len(names))  # `check` reports other labels
        merged = np.array([distinct.index(name) for name in names], np.int32)
        label = np.where(is_class, merged[np.where(is_class, self.label, 0)], len(distinct)).astype(np.int32)
        object.__setattr__(self, "metadata", replace(self.metadata, classes=distinct))
        object.__setattr__(self, "label", label)

    @classmethod
    def from_arrays(
        cls,
        motions: Iterable[ArrayLike],
        events: Iterable[ArrayLike] | None = None,
        labels: Iterable[str] | None = None,
        *,
        lengths: ArrayLike | None = None,
        texts: Iterable[str] | None = None,
        inputs: Iterable[ArrayLike] | None = None,
        context: ArrayLike | None = None,
        splits: SequenceOf[float] | SequenceOf[str] = (0.9, 0.05, 0.05),
        seed: int = 0,
        metadata: Metadata | None = None,
    ) -> Corpus:
        """Build a corpus from NumPy arrays and check it.

        Args:
            motions: M arrays (T, D) in raw units, or a padded array (M, T, D). For drawings, each row is the offset
                from a point to the next.
            events: M arrays (T,) of DOWN (0), UP (1) and END (2), or of booleans that are True if the pen lifts after
                the point. By default all events are DOWN. In drawings and touch performances, the last event of each
                sequence is always replaced by END.
            labels: M class names, one per sequence, from `metadata.classes`. If the metadata contain no classes, the
                classes are the distinct names in alphabetical order.
            lengths: (M,), number of real steps of each sequence, if motions, events and inputs are padded.
            texts: M texts, one per sequence, for text-conditional models.
            inputs: M arrays (T, A), model inputs for the prediction of each step, for example actions.
            context: (M, C), one context vector per sequence, for example an embedding of an image.
            splits: shares of train, valid and test for a random division, or M split names, one per sequence.
            seed: random seed of the division.
            metadata: metadata of the corpus. By default, the name is "arrays", the data are drawings that start with
                the pen down, and the bin width is 1 if all motions are integers, else None.

        Raises:
            InputError: if an argument has a wrong length, shape, type or value.
        """
        if lengths is not None:
            motions = list(motions)
            real = check_lengths(lengths, len(motions))
            motions = unpad("motions", motions, real)
            events, inputs = (
                None if values is None else unpad(name, values, real)
                for name, values in (("events", events), ("inputs", inputs))
            )
        matrices = check_matrices("motions", motions)
        count = len(matrices)
        if metadata is None:
            is_integer = all(motion.dtype.kind in "iu" for motion in matrices)
            metadata = Metadata(name="arrays", bin_width=1.0 if is_integer else None)
        names = None if labels is None else list(map(to_nfc, check_strings("labels", labels, count)))
        if names is not None and not metadata.classes:
            metadata = replace(metadata, classes=tuple(sorted(set(names))))
        columns = (
            matrices,
            [np.full(len(motion), DOWN) for motion in matrices] if events is None else check_events(events, matrices),
            [None] * count if names is None else [metadata.class_index(name) for name in names],
            [None] * count if inputs is None else check_matrices("inputs", inputs, matrices),
            [None] * count if texts is None else check_strings("texts", texts, count),
        )
        sequences = [Sequence(*fields) for fields in zip(*columns, strict=True)]
        if context is not None:
            vectors = check_context(context, count)
            sequences = [sequence._replace(context=row) for sequence, row in zip(sequences, vectors, strict=True)]
        if metadata.is_drawing:
            sequences = [sequence._replace(event=mark_end(sequence.event)) for sequence in sequences]
        members = divide_into_splits(count, splits, seed)
        corpus = pack(metadata, {split: [sequences[i] for i in indices] for split, indices in members.items()})
        corpus.check()
        return corpus

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Sequence:
        if not 0 <= index < len(self):
            raise IndexError(f"index: received {index}, expected 0 to {len(self) - 1}")
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Sequence(
            self.motion[rows],
            self.event[rows],
            None if self.label is None else int(self.label[index]),
            None if self.inputs is None else self.inputs[rows],
            self._text(index),
            None if self.writer is None else int(self.writer[index]),
            None if self.logvar is None else self.logvar[rows],
            None if self.context is None else self.context[index],
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
        """Number of event classes E.

        E is 3 for drawings and touch performances, and 0 for streams. For a corpus of episodes, E is 2 if at least one
        episode contains END, else 0.
        """
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
        is_first_byte = (np.asarray(self.text) & 0xC0) != 0x80  # further bytes of a UTF-8 character are 0b10xxxxxx
        return np.diff(np.concatenate([[0], np.cumsum(is_first_byte)])[self.text_offsets])

    @property
    def max_steps_per_character(self) -> float:
        """Maximum ratio of steps to characters over all sequences with a text; 0 if no sequence has a text."""
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
            raise InputError(
                f"split {split!r} is not in {self.metadata.name}; expected one of {', '.join(self.splits)}"
            )
        first, last = self.splits[split]
        if first == last:
            raise InputError(
                f"split {split!r} of {self.metadata.name} is empty ({quantity(len(self), 'sequences')} in total); "
                "import it again with a larger share: mdnrnn data import ... --split 0.8,0.1,0.1"
            )
        return range(first, last)

    def rows(self, split: str) -> slice:
        """Return the rows of a split in `motion`, `event`, `inputs` and `logvar`, as a slice."""
        indices = self.indices(split)
        return slice(int(self.offsets[indices.start]), int(self.offsets[indices.stop]))

    def row_blocks(self, rows: slice) -> Iterator[slice]:
        """Divide `rows` into blocks of at most 2**20 rows and yield each block as a slice.

        After each block, the pages of large memory-mapped arrays are released. A whole corpus can thus be read with at
        most one block in memory.
        """
        for first in range(rows.start, rows.stop, _BLOCK_ROWS):
            yield slice(first, min(first + _BLOCK_ROWS, rows.stop))
            self.release_memory()

    def release_memory(self) -> None:
        """Release the resident pages of large memory-mapped arrays. The next access reads the pages again."""
        for array in self._row_arrays():
            mapped = find_large_mapping(array)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def keep_open(self) -> None:
        """Keep the files of large memory-mapped arrays open, so that the corpus can be read after they are deleted."""
        for array in self._row_arrays():
            keep_open(array)

    def _row_arrays(self) -> tuple[np.ndarray | None, ...]:
        return self.motion, self.event, self.inputs, self.text, self.logvar

    def is_first_row(self, rows: slice) -> np.ndarray:
        """Return a mask (n,) for a slice of n rows: True for each row that is the first of its sequence."""
        is_first = np.zeros(rows.stop - rows.start, bool)
        firsts = self.offsets[:-1]
        in_range = slice(*np.searchsorted(firsts, [rows.start, rows.stop]))
        is_first[firsts[in_range] - rows.start] = True
        return is_first

    def drawing(self, index: int) -> Drawing:
        """Return sequence `index` as a list of polylines (n, 2). Notebooks show the list as a picture.

        For drawings and touch performances, the polylines are the strokes, in raw units. For streams, the polylines are
        curves over time, one per feature except dt. For world-model latents, the polylines are curves over the steps,
        one per feature. See `strokes.to_curves`.
        """
        motion, event = self[index][:2]
        if not self.metadata.is_drawing:
            rows = motion if self.metadata.is_stream else np.insert(motion.astype(np.float64), 0, 1.0, axis=1)
            return to_curves(rows)
        if motion.shape[1] != 2 and not self.metadata.features:
            raise InputError(
                f"{self.metadata.name} has {quantity(motion.shape[1], 'features')} per step, expected 2: only dx and "
                "dy can be drawn"
            )
        return to_polylines(motion[:, :2], event, self.metadata.start)

    def select_split(self, split: str) -> Corpus:
        """Return a corpus that contains only the sequences of one split. Its arrays are views."""
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
            None if self.context is None else self.context[first:last],
        )

    def check(self) -> None:
        """Read all rows once and raise `InputError` if a value is invalid; see `check_values`."""
        check_values(self)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 hash of metadata, splits and arrays. A run compares hashes to detect changes of its training data."""
        digest = hashlib.sha256(json.dumps([self.metadata.to_header(), dict(self.splits)]).encode())
        optional = (self.text, self.text_offsets, self.writer, self.logvar, self.context)
        for array in (self.motion, self.event, self.offsets, self.label, self.inputs, *optional):
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
    """Pack the sequences of each split into a corpus, in the given order. Texts are converted to Unicode form NFC.

    Raises:
        InputError: there are no sequences; or label, inputs, text, writer, logvar or context is present in some
            sequences, but not in all.
    """
    sequences: list[Sequence] = []
    splits: dict[str, tuple[int, int]] = {}
    for name, members in by_split.items():
        first = len(sequences)
        sequences += members
        splits[name] = (first, len(sequences))
    if not sequences:
        raise InputError(f"{metadata.name} contains no sequences; expected at least one")
    check_optional_fields(metadata.name, sequences)
    lengths = [len(sequence.event) for sequence in sequences]
    labels = [sequence.label for sequence in sequences]
    inputs = [sequence.inputs for sequence in sequences]
    writers = [sequence.writer for sequence in sequences]
    logvars = [sequence.logvar for sequence in sequences]
    contexts = [sequence.context for sequence in sequences if sequence.context is not None]
    texts = [to_nfc(text).encode() for sequence in sequences if (text := sequence.text) is not None]
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
        np.stack(contexts).astype(np.float32) if contexts else None,
        dict(skipped or {}),
    )


def normalize_texts(corpus: Corpus) -> Corpus:
    """Return the corpus with texts in Unicode form NFC. `pack` and imports write this form, other programs may not."""
    if corpus.text is None or np.max(corpus.text, initial=0) < 0x80:
        return corpus
    texts = [corpus[i].text or "" for i in range(len(corpus))]
    normalized = [to_nfc(text) for text in texts]
    if normalized == texts:
        return corpus
    data = [text.encode() for text in normalized]
    text_offsets = np.concatenate([[0], np.cumsum([len(text) for text in data])]).astype(np.int64)
    return replace(corpus, text=np.frombuffer(b"".join(data), np.uint8), text_offsets=text_offsets)


def check_optional_fields(source: str, sequences: list[Sequence]) -> None:
    """Raise `InputError` if an optional field is present in some sequences, but not in all.

    Args:
        source: name of the data, for the error message.
        sequences: the sequences.
    """
    for name in ("label", "inputs", "text", "writer", "logvar", "context"):
        is_missing = [getattr(sequence, name) is None for sequence in sequences]
        if any(is_missing) and not all(is_missing):
            raise InputError(
                f"{source}: received no {name} in sequence {is_missing.index(True)}, but one in sequence "
                f"{is_missing.index(False)}; expected a {name} in all sequences or in none"
            )


def mark_end(event: np.ndarray) -> np.ndarray:
    """Return a copy of the events (T,), as uint8, in which the last event is END."""
    event = np.array(event, dtype=np.uint8)
    event[-1] = END
    return event
