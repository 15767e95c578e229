"""A corpus: many sequences packed flat, memory-mapped, saved without pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.memmap import mapping_of
from mdnrnn.data.strokes import Polyline, Start, to_polylines, traces
from mdnrnn.errors import InputError
from mdnrnn.events import END, UP

SPLITS = ("train", "valid", "test")
_HEADER_NAMES = {"bin_width": "quantum", "license": "licence"}
"""Fields that version 1 of the corpus format stores under other names."""


class Sequence(NamedTuple):
    """One sequence: motion (T, D), raw units; event (T,), the last one END; label or None; inputs (T, A) or None;
    what is written in it, or None; the number of who wrote it, or None; of latents the log variances of their
    posteriors, (T, D), or None."""

    motion: np.ndarray
    event: np.ndarray
    label: int | None = None
    inputs: np.ndarray | None = None
    text: str | None = None
    writer: int | None = None
    logvar: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a corpus says of itself: kept in its header, and in the config of every run trained on it."""

    name: str
    start: Start = "down"
    """Where the first step draws from: "down", the origin, or "up", nowhere yet."""
    bin_width: float | None = None
    """Spacing of the grid that all features but times lie on, in raw units; none: they are continuous."""
    units: str = "px"
    license: str = "unknown"
    source: str = ""
    classes: tuple[str, ...] = ()
    """Names of the labels; empty where there are none."""
    features: tuple[str, ...] = ()
    """Names of the columns of motion; empty: dx and dy. dt is the time since the row before, in seconds: above 0, but
    in a sequence's first row, which has none before it. What begins with dt is a stream without strokes or end; what
    begins with z1, the latents z1, z2 and so on of a world, which may end, and maybe a reward."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "features", tuple(self.features))
        if self.start not in ("down", "up"):
            raise InputError(f"corpus {self.name}: start is {self.start!r}; expected 'down' or 'up'")
        if self.bin_width is not None and not (np.isfinite(self.bin_width) and self.bin_width > 0):
            raise InputError(f"corpus {self.name}: bin_width is {self.bin_width}; expected a positive number or none")

    @property
    def is_stream(self) -> bool:
        """Whether there are no strokes and no end."""
        return self.features[:1] == ("dt",)

    @property
    def is_touch(self) -> bool:
        """Whether these are performances on a touch screen."""
        return self.features == ("dx", "dy", "dt") and self.start == "up"

    @property
    def is_world(self) -> bool:
        """Whether steps are the latents of a world: nothing is drawn, it goes on or ends."""
        return self.features[:1] == ("z1",)

    def offset_features(self, features: int) -> tuple[int, ...]:
        """Which of so many features are offsets, whose sums are a place: all where they have no names."""
        names = self.features or ("dx",) * features
        return tuple(i for i, name in enumerate(names) if name in ("dx", "dy"))

    @property
    def is_drawing(self) -> bool:
        """Whether motion begins with a pen's dx and dy: else it is values over time, or over steps."""
        return self.features[:2] in ((), ("dx", "dy"))

    @property
    def time_features(self) -> tuple[int, ...]:
        """Which features are times."""
        return tuple(i for i, name in enumerate(self.features) if name == "dt")

    def bin_widths(self, features: int) -> np.ndarray:
        """Spacing (D,) of what each of so many features lies on, in raw units; 0: it is continuous."""
        grid = np.full(features, self.bin_width or 0.0)
        grid[list(self.time_features)] = 0
        return grid

    def to_header(self) -> dict[str, Any]:
        """Return the fields under their names in a corpus file; `features` only if there are any."""
        fields = {_HEADER_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        return fields if self.features else {name: value for name, value in fields.items() if name != "features"}

    @classmethod
    def from_header(cls, fields: Mapping[str, Any]) -> Metadata:
        """Return the metadata that a corpus file holds; the inverse of `to_header`."""
        names = {written: name for name, written in _HEADER_NAMES.items()}
        return cls(**{names.get(name, name): value for name, value in fields.items()})

    def label(self, name: str) -> int:
        """The number of the class called `name`."""
        if not self.classes:
            raise InputError(f"label {name!r} was asked for; {self.name} has no labels; leave the label out")
        if name not in self.classes:
            raise InputError(f"unknown label {name!r}; expected one of {', '.join(self.classes)}")
        return self.classes.index(name)


@dataclass(frozen=True)
class Corpus:
    """Sequences packed flat; sequence i is rows offsets[i] to offsets[i+1]. Arrays may be memory maps.

    motion (N, D), raw units; event (N,), integers; offsets (M+1,); splits name -> (first, last + 1) sequences;
    label (M,) or None; inputs (N, A) or None: what is known beside the step before when this one is predicted;
    text, all texts end to end in UTF-8 (bytes,), and text_offsets (M+1,), or None and None; writer (M,) or None: who
    made each, which no model is told; logvar (N, D) or None: where the motions are means of posteriors, the logs of
    their variances, which every batch is drawn anew from.
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
    """Records left out when it was read: reason -> count."""

    def __post_init__(self) -> None:
        rows, sequences = self.motion.shape[0] if self.motion.ndim else 0, self.offsets.size - 1
        problem = None
        kinds = self.motion.dtype.kind + self.event.dtype.kind + self.offsets.dtype.kind
        if self.motion.ndim != 2 or self.event.shape != (rows,) or self.offsets.ndim != 1:
            problem = f"motion {self.motion.shape} and event {self.event.shape}; expected (N, D) and (N,)"
        elif kinds[0] not in "iuf" or kinds[1] not in "iu" or kinds[2] not in "iu":
            problem = f"arrays of kinds {kinds}; expected numbers, events and offsets integers"
        elif sequences < 0 or self.offsets[0] != 0 or self.offsets[-1] != rows:
            problem = f"offsets that do not run from 0 to {rows}"
        elif self.label is not None and self.label.shape != (sequences,):
            problem = f"label {self.label.shape}; expected ({sequences},)"
        elif self.inputs is not None and (self.inputs.ndim != 2 or len(self.inputs) != rows):
            problem = f"inputs {self.inputs.shape}; expected ({rows}, A)"
        elif self.metadata.features and len(self.metadata.features) != self.motion.shape[1]:
            problem = f"{self.motion.shape[1]} features; expected {', '.join(self.metadata.features)}"
        elif self.text is not None and not _fit(self.text, self.text_offsets, sequences):
            problem = "texts that do not fit their offsets"
        elif self.writer is not None and (self.writer.shape != (sequences,) or self.writer.dtype.kind not in "iu"):
            problem = f"writer {self.writer.shape}; expected integers ({sequences},)"
        elif self.logvar is not None and self.logvar.shape != self.motion.shape:
            problem = f"logvar {self.logvar.shape}; expected {self.motion.shape}"
        elif any(not 0 <= first <= last <= sequences for first, last in self.splits.values()):
            problem = f"splits {dict(self.splits)} beyond its {sequences} sequences"
        if problem:
            raise InputError(f"corpus {self.metadata.name} has {problem}; import it again")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Sequence:
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} was asked for; expected 0 to {len(self) - 1}")
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
    def characters(self) -> np.ndarray:
        """How many characters every text has, (M,); (0,) where there are no texts."""
        if self.text is None or self.text_offsets is None:
            return np.zeros(0, np.int64)
        first = (np.asarray(self.text) & 0xC0) != 0x80  # of a character's bytes, in UTF-8
        return np.diff(np.concatenate([[0], np.cumsum(first)])[self.text_offsets])

    @property
    def steps_per_character(self) -> float:
        """The most of any sequence with a text; 0 where there are none."""
        characters = self.characters
        written = characters > 0
        return float((self.lengths[: len(characters)][written] / characters[written]).max(initial=0))

    @property
    def alphabet(self) -> str:
        """The characters of all texts, in order; empty where there are no texts."""
        return "" if self.text is None else "".join(sorted(set(bytes(self.text).decode(errors="replace"))))

    @cached_property
    def events(self) -> int:
        """How many kinds of event there are: 3, of strokes; 2, of worlds that end; 0, of what never ends."""
        if self.metadata.is_stream:
            return 0
        if not self.metadata.is_world:
            return 3
        return 2 if any((self.event[rows] == END).any() for rows in self.pieces(slice(0, len(self.event)))) else 0

    def indices(self, split: str) -> range:
        """The numbers of the sequences in a split; an error where it is empty or unknown."""
        if split not in self.splits:
            raise InputError(f"split {split!r} is not in {self.metadata.name}; it has {', '.join(self.splits)}")
        first, last = self.splits[split]
        if first == last:
            raise InputError(
                f"split {split!r} of {self.metadata.name} is empty, {len(self)} sequences in all; give it a larger share "
                "when they are imported: mdnrnn data import ... --split 0.8,0.1,0.1"
            )
        return range(first, last)

    def rows(self, split: str) -> slice:
        """The flat rows of a split."""
        indices = self.indices(split)
        return slice(int(self.offsets[indices.start]), int(self.offsets[indices.stop]))

    def pieces(self, rows: slice) -> Iterator[slice]:
        """Rows in pieces of at most a million, whose memory is given back after each: what passes over a whole corpus
        holds no more of it."""
        for first in range(rows.start, rows.stop, 1 << 20):
            yield slice(first, min(first + (1 << 20), rows.stop))
            self.release()

    def release(self) -> None:
        """Give back the memory of what has been read of large arrays; being mapped, they are read again when needed."""
        for array in (self.motion, self.event, self.inputs, self.text, self.logvar):
            mapped = mapping_of(array)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    @property
    def lengths(self) -> np.ndarray:
        """T of every sequence, shape (M,)."""
        return np.diff(self.offsets)

    def drawing(self, index: int) -> list[Polyline]:
        """Sequence `index` as polylines (n, 2), raw units: where the pen went, or the curves of values over time or, of
        those without times, over steps."""
        motion, event = self[index][:2]
        if not self.metadata.is_drawing:
            return traces(motion if self.metadata.is_stream else np.insert(motion.astype(np.float64), 0, 1.0, axis=1))
        if motion.shape[1] != 2 and not self.metadata.features:
            raise InputError(f"{self.metadata.name} has {motion.shape[1]} features a step; only dx and dy can be drawn")
        return to_polylines(motion[:, :2], event, self.metadata.start)

    def part(self, split: str) -> Corpus:
        """The sequences of one split alone."""
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

    def renamed(self, name: str | None = None, license: str | None = None) -> Corpus:
        """The same corpus under another name or license, where they are given."""
        metadata = dataclasses.replace(
            self.metadata, name=name or self.metadata.name, license=license or self.metadata.license
        )
        return dataclasses.replace(self, metadata=metadata)

    def check(self) -> None:
        """Read all of it once: an error where a motion is not finite or off the grid, an event unknown, a sequence
        empty."""
        empty = np.flatnonzero(self.lengths < 1)
        if len(empty):
            raise InputError(f"{self.metadata.name}: sequence {empty[0]} has no steps; expected at least one")
        for rows in self.pieces(slice(0, len(self.event))):
            motion, event = np.asarray(self.motion[rows]), np.asarray(self.event[rows])
            bad = ~np.isfinite(motion).all(1) | (event < 0) | (event > END) | self._off_grid(motion)
            bad |= self._standing(motion, rows) | (self.metadata.is_world & (event == UP))
            if bad.any():
                row = rows.start + int(bad.argmax())
                number = self._sequence_of(row)
                grid = "" if self.metadata.bin_width is None else f" on a grid of {self.metadata.bin_width:g}"
                times = ", times above 0 (in a first row 0 or more)" if self.metadata.time_features else ""
                raise InputError(
                    f"{self.metadata.name}: sequence {number} has motion {self.motion[row]} and event {self.event[row]} "
                    f"in row {row - self.offsets[number]}; expected finite numbers{grid}{times} and an event of 0 to "
                    f"{END}"
                )
            # A generated sequence may have been cut short: END need not be there, but nothing may follow it.
            ends = rows.start + np.flatnonzero(event == END) + 1
            early = ends[self.offsets[np.searchsorted(self.offsets, ends)] != ends]
            if len(early):
                number = self._sequence_of(int(early[0]) - 1)
                raise InputError(
                    f"{self.metadata.name}: sequence {number} goes on after END; expected END last, if at all"
                )
        for name, array in (("inputs", self.inputs), ("log variances", self.logvar)):
            self._check_finite(name, array)
        if self.label is not None and not np.isin(self.label, np.arange(len(self.metadata.classes))).all():
            raise InputError(f"{self.metadata.name}: labels beyond its {len(self.metadata.classes)} classes")

    def _check_finite(self, name: str, array: np.ndarray | None) -> None:
        for rows in self.pieces(slice(0, 0 if array is None else len(array))):
            bad = ~np.isfinite(np.asarray(array)[rows]).all(1)
            if bad.any():
                row = rows.start + int(bad.argmax())
                number = self._sequence_of(row)
                raise InputError(
                    f"{self.metadata.name}: sequence {number} has {name} {np.asarray(array)[row]} in row "
                    f"{row - self.offsets[number]}; expected finite numbers"
                )

    def _sequence_of(self, row: int) -> int:
        return int(np.searchsorted(self.offsets, row, side="right")) - 1

    def _off_grid(self, motion: np.ndarray) -> np.ndarray:
        """Which rows of motion (n, D) are no multiples of the bin_width, shape (n,)."""
        if self.metadata.bin_width is None or (motion.dtype.kind in "iu" and self.metadata.bin_width == 1):
            return np.zeros(len(motion), bool)
        on_grid = self.metadata.bin_widths(motion.shape[1]) > 0
        steps = motion[:, on_grid].astype(np.float64) / self.metadata.bin_width
        rounding = np.finfo(np.float32).eps * np.abs(steps)  # what float32 cannot tell apart
        return np.asarray((np.abs(steps - np.rint(steps)) > 1e-3 + rounding).any(1))

    def _standing(self, motion: np.ndarray, rows: slice) -> np.ndarray:
        """In which of these rows, motion (n, D), time does not go on, shape (n,)."""
        times = motion[:, list(self.metadata.time_features)]
        return np.asarray(np.where(self.begins(rows)[:, None], times < 0, times <= 0).any(1))

    def begins(self, rows: slice) -> np.ndarray:
        """Which of these rows begin a sequence, shape (n,)."""
        found = np.zeros(rows.stop - rows.start, bool)
        firsts = self.offsets[:-1]
        within = slice(*np.searchsorted(firsts, [rows.start, rows.stop]))
        found[firsts[within] - rows.start] = True
        return found

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of its metadata and arrays: a run knows by it whether it sees the data that it was trained on."""
        digest = hashlib.sha256(json.dumps([self.metadata.to_header(), dict(self.splits)]).encode())
        texts = (self.text, self.text_offsets, self.writer, self.logvar)
        for array in (self.motion, self.event, self.offsets, self.label, self.inputs, *texts):
            if array is not None:
                digest.update(str((array.dtype.str, array.shape)).encode())
                for rows in self.pieces(slice(0, len(array))):
                    digest.update(np.ascontiguousarray(array[rows]).data)
        return digest.hexdigest()


def _fit(text: np.ndarray, offsets: np.ndarray | None, sequences: int) -> bool:
    """Whether offsets cut a text of this many sequences."""
    if offsets is None or offsets.shape != (sequences + 1,) or offsets.dtype.kind not in "iu":
        return False
    ends = offsets[[0, -1]].tolist() == [0, len(text)]
    return text.dtype == np.uint8 and text.ndim == 1 and ends and bool((np.diff(offsets) >= 0).all())


def pack(
    metadata: Metadata,
    by_split: Mapping[str, Iterable[Sequence]],
    skipped: Mapping[str, int] | None = None,
) -> Corpus:
    """A corpus of the sequences of each split, in the order given. All or none of them have label, inputs, text,
    writer, logvar."""
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


def finished(event: np.ndarray) -> np.ndarray:
    """A copy of events (T,), uint8, whose last is END."""
    event = np.array(event, dtype=np.uint8)
    event[-1] = END
    return event
