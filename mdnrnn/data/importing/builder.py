"""Build a corpus folder from blocks of sequences, in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdnrnn.data.formats import native
from mdnrnn.data.metadata import SPLITS, Metadata
from mdnrnn.errors import InputError, quantity
from mdnrnn.files.atomic import write_json

_MAX_CLASSES = 1 << 16
_COPY_ROWS = 1 << 18
_FILES = ("motion", "event", "lengths", "labels", "text", "text_lengths", "writers")
UNLABELED = "unlabeled"
"""Class name that is assigned to sequences without a class if other sequences of the corpus have one."""


@dataclass(frozen=True)
class Block:
    """M consecutive sequences with N steps in total.

    Args:
        motion: motion features of all steps, (N, D).
        event: pen events of all steps, (N,).
        lengths: number of steps of each sequence, (M,).
        split: index of each sequence's split in `SPLITS`, (M,).
        labels: class name of each sequence; None for a sequence without a class.
        texts: text of each sequence; None for a sequence without a text.
        writers: name of the writer of each sequence; None for an unknown writer. The whole list is None if no writer is
            known.
    """

    motion: np.ndarray
    event: np.ndarray
    lengths: np.ndarray
    split: np.ndarray
    labels: list[str | None]
    texts: list[str | None]
    writers: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def select(self, keep: np.ndarray) -> Block:
        """Return a block of the sequences for which `keep` (M,) is true."""
        if keep.all():
            return self
        keep_row = keep.repeat(self.lengths)
        return Block(
            self.motion[keep_row],
            self.event[keep_row],
            self.lengths[keep],
            self.split[keep],
            [label for label, kept in zip(self.labels, keep, strict=True) if kept],
            [text for text, kept in zip(self.texts, keep, strict=True) if kept],
            self.writers and [writer for writer, kept in zip(self.writers, keep, strict=True) if kept],
        )


def narrow_integers(motion: np.ndarray) -> np.ndarray:
    """Convert an array to int16 or, if int16 is too small, to int32.

    A float array is converted only if all its values are integers in the range of int32; otherwise it is returned
    unchanged.
    """
    with np.errstate(invalid="ignore"):
        integers = motion.astype(np.int32)
    if motion.dtype.kind == "f" and not np.array_equal(integers, motion):
        return motion
    return integers.astype(np.int16) if _max_absolute(integers) < 2**15 else integers


def _max_absolute(motion: np.ndarray) -> float:
    return max(-float(motion.min()), float(motion.max())) if motion.size else 0.0


@dataclass
class _SplitFiles:
    """Temporary files of one split, and counts of their contents."""

    files: dict[str, IO[bytes]]
    runs: list[tuple[np.dtype[Any], int]] = field(default_factory=list)
    """Dtypes of the rows in the file `motion`: one pair (dtype, number of rows) per group of consecutive rows with the
    same dtype."""
    sequences: int = 0
    rows: int = 0
    text_bytes: int = 0


class Builder:
    """Write blocks to temporary files, one set of files per split, and combine the files into a corpus folder.

    The sequences of a split keep the order in which they are added. Always call `close`, even after an error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.features: int | None = None
        self.lengths: Counter[int] = Counter()
        self.classes: dict[str | None, int] = {}
        self._has_texts = False
        self._writers: dict[str | None, int] = {}
        self._sequences_with_writers = 0
        self._all_integers = True
        self._max_absolute = 0.0
        self._splits = {
            split: _SplitFiles({name: (folder / f"{split}.{name}").open("w+b", buffering=1 << 18) for name in _FILES})
            for split in SPLITS
        }

    @property
    def sequences(self) -> dict[str, int]:
        """Number of sequences in each split, by name of the split."""
        return {split: part.sequences for split, part in self._splits.items()}

    @property
    def all_integers(self) -> bool:
        """Whether all motion features that have been added are integers."""
        return self._all_integers

    def add(self, block: Block) -> None:
        """Append the sequences of a block.

        Raises:
            InputError: the number of features D differs from that of the previous blocks, or there are too many
                classes.
        """
        if not len(block):
            return
        if self.features not in (None, block.motion.shape[1]):
            raise InputError(
                f"received a sequence with {quantity(block.motion.shape[1], 'features')} after sequences with "
                f"{self.features}; "
                "import them separately"
            )
        self.features = block.motion.shape[1]
        self.lengths.update(block.lengths.tolist())
        for number, split in enumerate(SPLITS):
            self._append(self._splits[split], block.select(block.split == number))

    def _append(self, part: _SplitFiles, block: Block) -> None:
        if not len(block):
            return
        motion = narrow_integers(block.motion)
        self._all_integers &= motion.dtype.kind == "i"
        self._max_absolute = max(self._max_absolute, _max_absolute(motion))
        if part.runs and part.runs[-1][0] == motion.dtype:
            part.runs[-1] = (motion.dtype, part.runs[-1][1] + len(motion))
        else:
            part.runs.append((motion.dtype, len(motion)))
        part.files["motion"].write(np.ascontiguousarray(motion).data)
        part.files["event"].write(block.event.astype(np.uint8).data)
        part.files["lengths"].write(block.lengths.astype(np.int64).data)
        part.files["labels"].write(np.array([self._class_number(label) for label in block.labels], np.int32).data)
        texts = [(text or "").encode(errors="replace") for text in block.texts]
        self._has_texts |= any(text is not None for text in block.texts)
        part.files["text"].write(b"".join(texts))
        part.files["text_lengths"].write(np.array([len(text) for text in texts], np.int64).data)
        if block.writers is not None:
            numbers = [self._writers.setdefault(writer, len(self._writers)) for writer in block.writers]
            part.files["writers"].write(np.array(numbers, np.int32).data)
            self._sequences_with_writers += len(block)
        part.sequences += len(block)
        part.rows += len(motion)
        part.text_bytes += sum(map(len, texts))

    def _class_number(self, label: str | None) -> int:
        number = self.classes.setdefault(label, len(self.classes))
        if number == _MAX_CLASSES:
            raise InputError(
                f"received over {_MAX_CLASSES} different labels, the last one {label!r}; import with --labels none"
            )
        return number

    def finish(self, metadata: Metadata, *, labeled: bool) -> None:
        """Write the arrays and the header, and remove the temporary files.

        Args:
            metadata: metadata of the corpus; the class names are added.
            labeled: whether to write a class label for each sequence.
        """
        names = sorted({name or UNLABELED for name in self.classes}) if labeled else []
        parts = self._splits.values()
        dtype: Any = np.float32
        if self._all_integers:
            dtype = np.int16 if self._max_absolute < 2**15 else np.int32
        rows, sequences = sum(part.rows for part in parts), sum(part.sequences for part in parts)
        self._save("motion", dtype, (rows, self.features or 2), self._read_motions())
        self._save("event", np.uint8, (rows,), self._read("event", np.uint8))
        self._save("offsets", np.int64, (sequences + 1,), _cumulative_sums(self._read("lengths", np.int64)))
        if names:
            index_by_name = {name: index for index, name in enumerate(names)}
            # The temporary files number the classes in order of appearance; a corpus numbers them alphabetically.
            index_by_number = np.array([index_by_name[name or UNLABELED] for name in self.classes], np.int32)
            labels = (index_by_number[numbers] for numbers in self._read("labels", np.int32))
            self._save("label", np.int32, (sequences,), labels)
        if self._has_texts:
            self._save("text", np.uint8, (sum(part.text_bytes for part in parts),), self._read("text", np.uint8))
            text_offsets = _cumulative_sums(self._read("text_lengths", np.int64))
            self._save("text_offsets", np.int64, (sequences + 1,), text_offsets)
        if sequences and self._sequences_with_writers == sequences and None not in self._writers:
            self._save("writer", np.int32, (sequences,), self._read("writers", np.int32))
        ends = np.cumsum([part.sequences for part in parts]).tolist()
        splits = {
            split: (end - part.sequences, end) for (split, part), end in zip(self._splits.items(), ends, strict=True)
        }
        write_json(self.folder / native.HEADER, native.make_header(replace(metadata, classes=tuple(names)), splits))
        self.close()

    def close(self) -> None:
        """Close and remove the temporary files."""
        for part in self._splits.values():
            for file in part.files.values():
                with suppress(OSError):  # on a full disk, the remaining data of the buffer cannot be written
                    file.close()
                Path(file.name).unlink(missing_ok=True)

    def _read_motions(self) -> Iterator[np.ndarray]:
        for part in self._splits.values():
            file = part.files["motion"]
            file.seek(0)
            for dtype, rows in part.runs:
                for first in range(0, rows, _COPY_ROWS):
                    count = min(_COPY_ROWS, rows - first) * (self.features or 2)
                    yield np.frombuffer(file.read(count * dtype.itemsize), dtype)

    def _read(self, name: str, dtype: Any) -> Iterator[np.ndarray]:
        for part in self._splits.values():
            file = part.files[name]
            file.seek(0)
            while data := file.read(8 * _COPY_ROWS):
                yield np.frombuffer(data, dtype)

    def _save(self, name: str, dtype: Any, shape: tuple[int, ...], arrays: Iterator[np.ndarray]) -> None:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        with (self.folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for array in arrays:
                file.write(array.astype(dtype).data)


def _cumulative_sums(arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the array [0], then an array of cumulative sums for each input array.

    The sums continue from one array to the next.
    """
    last = np.zeros(1, np.int64)
    yield last
    for array in arrays:
        sums = last + np.cumsum(array)
        yield sums
        last = sums[-1:]
