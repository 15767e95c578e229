"""Building a corpus on disk from blocks of steps, one after the other, in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdnrnn.data.corpus import SPLITS
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError
from mdnrnn.files import write_json

_MOST_CLASSES = 1 << 16
_COPY_ROWS = 1 << 18
_FILES = ("motion", "event", "lengths", "labels", "text", "text_lengths", "writers")
UNLABELED = "unlabeled"
"""The class of drawings that have none, in a corpus where others have one."""


@dataclass(frozen=True)
class Block:
    """M sequences of N steps, in order.

    motion (N, D); event (N,); lengths (M,); split (M,), numbers into SPLITS; labels and texts, one or None for each;
    writers too, or no list at all.
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
        """The sequences where keep (M,) is true."""
        if keep.all():
            return self
        rows = keep.repeat(self.lengths)
        return Block(
            self.motion[rows],
            self.event[rows],
            self.lengths[keep],
            self.split[keep],
            [label for label, kept in zip(self.labels, keep, strict=True) if kept],
            [text for text, kept in zip(self.texts, keep, strict=True) if kept],
            self.writers and [writer for writer, kept in zip(self.writers, keep, strict=True) if kept],
        )


def smallest(motion: np.ndarray) -> np.ndarray:
    """The same numbers as int16 or int32 where they are integers, else as they are."""
    with np.errstate(invalid="ignore"):
        whole = motion.astype(np.int32)
    if motion.dtype.kind == "f" and not np.array_equal(whole, motion):
        return motion
    return whole.astype(np.int16) if _largest(whole) < 2**15 else whole


def _largest(motion: np.ndarray) -> float:
    return max(-float(motion.min()), float(motion.max())) if motion.size else 0.0


@dataclass
class _Part:
    """The files of one split; motion in runs of rows of one dtype."""

    files: dict[str, IO[bytes]]
    runs: list[tuple[np.dtype[Any], int]] = field(default_factory=list)
    sequences: int = 0
    rows: int = 0
    text_bytes: int = 0


class Builder:
    """Takes blocks, and makes a corpus folder of them: each split in the order of its sequences."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.features: int | None = None
        self.lengths: Counter[int] = Counter()
        self.classes: dict[str | None, int] = {}
        self.texts = False
        self.writers: dict[str | None, int] = {}
        self._written = 0
        self._whole = True
        self._largest = 0.0
        self._parts = {
            split: _Part({name: (folder / f"{split}.{name}").open("w+b", buffering=1 << 18) for name in _FILES})
            for split in SPLITS
        }

    @property
    def sequences(self) -> dict[str, int]:
        """How many each split has."""
        return {split: part.sequences for split, part in self._parts.items()}

    @property
    def whole(self) -> bool:
        """Whether all motions are integers."""
        return self._whole

    def add(self, block: Block) -> None:
        """Append the sequences of a block."""
        if not len(block):
            return
        if self.features not in (None, block.motion.shape[1]):
            raise InputError(
                f"a sequence has {block.motion.shape[1]} features, those before it {self.features}; import them apart"
            )
        self.features = block.motion.shape[1]
        self.lengths.update(block.lengths.tolist())
        for number, split in enumerate(SPLITS):
            self._append(self._parts[split], block.select(block.split == number))

    def _append(self, part: _Part, block: Block) -> None:
        if not len(block):
            return
        motion = smallest(block.motion)
        self._whole &= motion.dtype.kind == "i"
        self._largest = max(self._largest, _largest(motion))
        if part.runs and part.runs[-1][0] == motion.dtype:
            part.runs[-1] = (motion.dtype, part.runs[-1][1] + len(motion))
        else:
            part.runs.append((motion.dtype, len(motion)))
        part.files["motion"].write(np.ascontiguousarray(motion).data)
        part.files["event"].write(block.event.astype(np.uint8).data)
        part.files["lengths"].write(block.lengths.astype(np.int64).data)
        part.files["labels"].write(np.array([self._class(label) for label in block.labels], np.int32).data)
        texts = [(text or "").encode(errors="replace") for text in block.texts]
        self.texts |= any(text is not None for text in block.texts)
        part.files["text"].write(b"".join(texts))
        part.files["text_lengths"].write(np.array([len(text) for text in texts], np.int64).data)
        if block.writers is not None:
            numbers = [self.writers.setdefault(writer, len(self.writers)) for writer in block.writers]
            part.files["writers"].write(np.array(numbers, np.int32).data)
            self._written += len(block)
        part.sequences += len(block)
        part.rows += len(motion)
        part.text_bytes += sum(map(len, texts))

    def _class(self, label: str | None) -> int:
        number = self.classes.setdefault(label, len(self.classes))
        if number == _MOST_CLASSES:
            raise InputError(f"over {_MOST_CLASSES} different labels, {label!r} the last; import with --labels none")
        return number

    def finish(self, metadata: Metadata, *, labeled: bool) -> None:
        """Write the arrays and the header, and remove what they were made from. `labeled`: keep the classes."""
        names = sorted({name or UNLABELED for name in self.classes}) if labeled else []
        parts = self._parts.values()
        dtype: Any = np.float32
        if self._whole:
            dtype = np.int16 if self._largest < 2**15 else np.int32
        rows, sequences = sum(part.rows for part in parts), sum(part.sequences for part in parts)
        self._save("motion", dtype, (rows, self.features or 2), self._motions())
        self._save("event", np.uint8, (rows,), self._blocks("event", np.uint8))
        self._save("offsets", np.int64, (sequences + 1,), _sums(self._blocks("lengths", np.int64)))
        if names:
            order = {name: number for number, name in enumerate(names)}
            place = np.array([order[name or UNLABELED] for name in self.classes], np.int32)
            self._save("label", np.int32, (sequences,), (place[block] for block in self._blocks("labels", np.int32)))
        if self.texts:
            self._save("text", np.uint8, (sum(part.text_bytes for part in parts),), self._blocks("text", np.uint8))
            self._save("text_offsets", np.int64, (sequences + 1,), _sums(self._blocks("text_lengths", np.int64)))
        if sequences and self._written == sequences and None not in self.writers:  # where some have none, none is kept
            self._save("writer", np.int32, (sequences,), self._blocks("writers", np.int32))
        ends = np.cumsum([part.sequences for part in parts]).tolist()
        splits = {
            split: (end - part.sequences, end) for (split, part), end in zip(self._parts.items(), ends, strict=True)
        }
        write_json(self.folder / native.HEADER, native.make_header(replace(metadata, classes=tuple(names)), splits))
        self.close()

    def close(self) -> None:
        """Remove the files of the parts."""
        for part in self._parts.values():
            for file in part.files.values():
                file.close()
                Path(file.name).unlink(missing_ok=True)

    def _motions(self) -> Iterator[np.ndarray]:
        for part in self._parts.values():
            file = part.files["motion"]
            file.seek(0)
            for dtype, rows in part.runs:
                for first in range(0, rows, _COPY_ROWS):
                    count = min(_COPY_ROWS, rows - first) * (self.features or 2)
                    yield np.frombuffer(file.read(count * dtype.itemsize), dtype)

    def _blocks(self, name: str, dtype: Any) -> Iterator[np.ndarray]:
        for part in self._parts.values():
            file = part.files[name]
            file.seek(0)
            while data := file.read(8 * _COPY_ROWS):
                yield np.frombuffer(data, dtype)

    def _save(self, name: str, dtype: Any, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        with (self.folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(block.astype(dtype).data)


def _sums(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Running sums, from 0 on."""
    last = np.zeros(1, np.int64)
    yield last
    for block in blocks:
        sums = last + np.cumsum(block)
        yield sums
        last = sums[-1:]
